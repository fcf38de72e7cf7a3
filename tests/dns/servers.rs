//! The DNS servers that sites run: dnsmasq of the host, and, with `DNS_SERVERS=FOLDER` (`make test-dns`), BIND, unbound, Knot
//! Resolver, PowerDNS Recursor and dnsmasq of Debian, unpacked in that folder and run in it by chroot(8).

#![allow(clippy::print_stderr, reason = "what is skipped, and what servers differ in")]
#![allow(clippy::disallowed_types, reason = "the servers log to files")]

use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use edgeward::host::dns::{CONCURRENCY, Hickory, Resolver, Settings};
use edgeward::resolution::{Answer, Question, Reply};

use super::{addresses, ask_with, kind, settings, v4, v6};

/// How long a server may take to start on a busy host.
const START: Duration = Duration::from_secs(30);

/// A server, ended with its value.
struct Server {
    address: SocketAddr,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Server {
    /// Starts one on a free port and waits for its first answer; none where it is not installed. The command gets the port.
    fn start(command: impl Fn(u16) -> Command) -> Option<Self> {
        for _ in 0..5 {
            let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let process = match command(address.port()).stdin(Stdio::null()).spawn() {
                Ok(process) => process,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
                Err(error) => panic!("{error}"),
            };
            let mut server = Self { address, process };
            let hickory = Hickory::new(settings(&[address])).unwrap();
            let begin = Instant::now();
            // It ends at once where something else took the port.
            while server.process.try_wait().unwrap().is_none() && begin.elapsed() < START {
                let answer = hickory.ask(&[v4("ready.example.test")], &mut |_| {}).remove(0);
                if answer.server.is_some() && answer.reply != Reply::Refused {
                    return Some(server);
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("a server does not start");
    }

    fn dnsmasq(arguments: &[String]) -> Option<Self> {
        Self::start(|port| {
            let mut command = Command::new("dnsmasq");
            command.args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="]);
            command.args(["--listen-address=127.0.0.1", "--bind-interfaces", &format!("--port={port}")]);
            command.args(arguments).stderr(Stdio::null());
            command
        })
    }

    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        // A resolver asks the authority first, and may repeat that.
        let timeout = Duration::from_secs(10);
        ask_with(Settings { servers: vec![self.address], timeout, attempts: 1, concurrency: CONCURRENCY }, questions)
    }

    fn ask_one(&self, question: Question) -> Reply {
        self.ask(&[question]).remove(0).reply
    }
}

/// What servers with the names of these tests answer.
fn cases() -> Vec<(Question, Reply)> {
    vec![
        (v4("both.example.test"), addresses(&["192.0.2.1"], 77, &[])),
        (v6("both.example.test"), addresses(&["2001:db8::1"], 77, &[])),
        (v4("four.example.test"), addresses(&["192.0.2.4"], 60, &[])),
        (v6("four.example.test"), Reply::NoData),
        (v4("alias.example.test"), addresses(&["192.0.2.1"], 30, &["both.example.test"])),
        (v6("again.example.test"), addresses(&["2001:db8::1"], 30, &["alias.example.test", "both.example.test"])),
        (v4("none.example.test"), Reply::NxDomain),
    ]
}

#[test]
fn dnsmasq_is_understood() {
    let many: Vec<String> = (0..120).map(|number| format!("198.51.100.{number}")).collect();
    let records = [
        "--local=/example.test/",
        "--host-record=both.example.test,192.0.2.1,2001:db8::1,77",
        "--host-record=four.example.test,192.0.2.4,60",
        "--cname=alias.example.test,both.example.test,30",
        "--cname=again.example.test,alias.example.test,300",
        "--address=/wild.test/192.0.2.9",
    ];
    let many_records = many.iter().map(|address| format!("--host-record=many.example.test,{address}"));
    let arguments: Vec<String> = records.iter().map(|text| (*text).to_owned()).chain(many_records).collect();
    let Some(dnsmasq) = Server::dnsmasq(&arguments) else {
        let required = std::env::var_os("REQUIRE_DNSMASQ").is_some_and(|value| value == "1");
        assert!(!required, "dnsmasq is not installed");
        eprintln!("skipped: dnsmasq is not installed");
        return;
    };
    let mut cases = cases();
    cases.push((v4("any.wild.test"), addresses(&["192.0.2.9"], 0, &[])));
    cases.push((v4("elsewhere.test"), Reply::Refused));
    let questions: Vec<Question> = cases.iter().map(|(question, _)| question.clone()).collect();
    let answers = ask_with(settings(&[dnsmasq.address]), &questions);
    for ((question, expected), answer) in cases.into_iter().zip(answers) {
        assert_eq!(answer, Answer { reply: expected, server: Some(dnsmasq.address) }, "{question:?}");
    }
    let answer = ask_with(settings(&[dnsmasq.address]), &[v4("many.example.test")]).remove(0);
    let Reply::Addresses { addresses, .. } = answer.reply else { panic!("{answer:?}") };
    assert_eq!(addresses.len(), 120, "120 addresses do not fit in 1,232 bytes");
}

/// A Debian tree with servers in it.
struct Tree(PathBuf);

impl Tree {
    fn given() -> Option<Self> {
        std::env::var_os("DNS_SERVERS").map(|folder| Self(PathBuf::from(folder).join("root")))
    }

    /// A program of the tree; what it logs is in `/run/NAME.log` of the tree.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let name = Path::new(program).file_name().unwrap().to_str().unwrap();
        let log = File::create(self.0.join("run").join(format!("{name}.log"))).unwrap();
        let mut command = Command::new("chroot");
        command.arg(&self.0).arg(program).args(arguments).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// A server that reads a configuration, which gets the port.
    fn server(&self, program: &str, arguments: &[&str], config: (&str, &dyn Fn(u16) -> String)) -> Server {
        let server = Server::start(|port| {
            self.write(config.0, &config.1(port));
            self.command(program, arguments)
        });
        server.unwrap_or_else(|| panic!("chroot(8) is not installed"))
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join("run").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// BIND as the authority of `example.test`.
    fn authority(&self) -> Server {
        let mut zone =
            "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nready A 192.0.2.99\n\
                        both 77 A 192.0.2.1\nboth 77 AAAA 2001:db8::1\nfour 60 A 192.0.2.4\nalias 30 CNAME both\n\
                        again CNAME alias\nlong20 A 192.0.2.20\n"
                .to_owned();
        zone.extend((0..90).map(|number| format!("many A 198.51.100.{number}\n")));
        zone.extend((0..20).map(|number| format!("long{number} CNAME long{}\n", number + 1)));
        self.write("authority/example.test", &zone);
        let config = |port| {
            format!(
                "options {{ directory \"/run/authority\"; pid-file none; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ \
                 none; }}; recursion no; dnssec-validation no; session-keyfile none; }};\ncontrols {{ }};\nzone \
                 \"example.test\" {{ type primary; file \"example.test\"; }};\n"
            )
        };
        self.server("/usr/sbin/named", &["-g", "-n", "1", "-c", "/run/authority.conf"], ("authority.conf", &config))
    }

    /// unbound in front of an authority.
    fn unbound(&self, authority: &Server, options: &str) -> Server {
        let upstream = authority.address.port();
        let config = |port| {
            format!(
                "server:\n  interface: 127.0.0.1\n  port: {port}\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  \
                 pidfile: \"\"\n  use-syslog: no\n  do-not-query-localhost: no\n  do-ip6: no\n  local-zone: \"test.\" nodefault\n  num-threads: 1\n{options}\
                 remote-control:\n  control-enable: no\nstub-zone:\n  name: \"example.test\"\n  stub-addr: \
                 127.0.0.1@{upstream}\n"
            )
        };
        self.server("/usr/sbin/unbound", &["-c", "/run/unbound.conf"], ("unbound.conf", &config))
    }

    fn knot(&self, authority: &Server) -> Server {
        fs::create_dir_all(self.0.join("run/knot")).unwrap();
        let upstream = authority.address.port();
        let config = |port| {
            format!(
                "net.listen('127.0.0.1', {port}, {{ kind = 'dns' }})\nnet.ipv6 = false\ntrust_anchors.remove('.')\n\
                 cache.size = 10 * MB\npolicy.add(policy.suffix(policy.STUB('127.0.0.1@{upstream}'), \
                 {{ todname('example.test.') }}))\n"
            )
        };
        self.server("/usr/sbin/kresd", &["-n", "-c", "/run/knot.conf", "/run/knot"], ("knot.conf", &config))
    }

    fn powerdns(&self, authority: &Server) -> Server {
        let upstream = authority.address.port();
        let config = |port| {
            format!(
                "local-address=127.0.0.1\nlocal-port={port}\nforward-zones=example.test=127.0.0.1:{upstream}\n\
                 dont-query=\ndnssec=off\nsocket-dir=/run\ndaemon=no\nthreads=1\nquery-local-address=0.0.0.0\n"
            )
        };
        self.server("/usr/sbin/pdns_recursor", &["--config-dir=/run"], ("recursor.conf", &config))
    }
}

/// What a server says of names of the zone. The time of a cached record runs down.
fn understood(what: &str, server: &Server) {
    let cases = cases();
    let questions: Vec<Question> = cases.iter().map(|(question, _)| question.clone()).collect();
    for ((question, expected), answer) in cases.into_iter().zip(server.ask(&questions)) {
        let reply = match (answer.reply, &expected) {
            (Reply::Addresses { addresses, ttl, chain }, Reply::Addresses { ttl: most, .. }) => {
                assert!(ttl <= *most, "{what}: {question:?}");
                Reply::Addresses { addresses, ttl: *most, chain }
            }
            (reply, _) => reply,
        };
        assert_eq!(reply, expected, "{what}: {question:?}");
    }
    let Reply::Addresses { addresses, .. } = server.ask_one(v4("many.example.test")) else { panic!("{what}") };
    assert_eq!(addresses.len(), 90, "{what}");
    // Twenty names in a chain: most resolvers give up, and some say so by an answer without the end.
    let long = server.ask_one(v4("long0.example.test"));
    assert!(!matches!(long, Reply::NoData | Reply::NxDomain), "{what}: {long:?}");
    eprintln!("{what}: a chain of 20 names is: {}", kind(&long));
}

#[test]
fn servers_that_sites_run_are_understood() {
    let Some(tree) = Tree::given() else {
        eprintln!("skipped: DNS_SERVERS is not set (`make test-dns`)");
        return;
    };
    let authority = tree.authority();
    understood("BIND", &authority);
    understood("unbound", &tree.unbound(&authority, "  module-config: \"iterator\"\n"));
    understood("Knot Resolver", &tree.knot(&authority));
    understood("PowerDNS Recursor", &tree.powerdns(&authority));
    let upstream = format!("--server=/example.test/127.0.0.1#{}", authority.address.port());
    understood("dnsmasq", &Server::dnsmasq(&[upstream]).expect("dnsmasq"));

    let small = "  module-config: \"iterator\"\n  max-udp-size: 512\n  edns-buffer-size: 512\n";
    understood("unbound with small packets", &tree.unbound(&authority, small));

    // An answer without the signatures that its parent promises is a failure, not an empty name.
    let signed = "  module-config: \"validator iterator\"\n  trust-anchor: \"example.test. DS 1 8 2 \
                  0000000000000000000000000000000000000000000000000000000000000000\"\n";
    assert_eq!(tree.unbound(&authority, signed).ask_one(v4("four.example.test")), Reply::ServFail);

    let translating = "  module-config: \"dns64 iterator\"\n  dns64-prefix: 64:ff9b::/96\n";
    let translated = tree.unbound(&authority, translating).ask_one(v6("four.example.test"));
    let Reply::Addresses { addresses, .. } = translated else { panic!("{translated:?}") };
    assert_eq!(addresses, ["64:ff9b::192.0.2.4".parse::<std::net::IpAddr>().unwrap()]);
}
