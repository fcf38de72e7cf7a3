//! A network namespace, with the sockets that send probes and see them arrive.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic;
use std::process::{self, Command, Output};
use std::thread;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RawProtocol, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, netlink, recv, send,
    sendto, socket, socket_with,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::{Hook, PORTLESS, Probe, Verdict, wire};

/// The seconds that a command in a namespace may take, as the argument of timeout(1).
const COMMAND_LIMIT: &str = "60";
/// The characters of standard error that are kept: nft repeats the offending line, which may be
/// megabytes.
const STDERR_LIMIT: usize = 4000;

/// The sysctls of a namespace; `all` and `default` are written before an interface exists.
const SYSCTLS: [(&str, &str); 12] = [
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/accept_local", "1"), // the errors of a gateway come from an address that the cloud owns
    ("ipv4/ip_nonlocal_bind", "1"),      // the world's real sockets, too, may have any address
    ("ipv6/ip_nonlocal_bind", "1"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv4/icmp_ratelimit", "0"), // every reject must be seen
    ("ipv4/icmp_ratemask", "0"),
    ("ipv6/icmp/ratelimit", "0"),
    ("ipv6/icmp/ratemask", "2"), // it cannot be empty; type 2 is never limited
];

pub struct Namespace {
    pub(super) fd: OwnedFd,
    send_v4: OwnedFd,
    send_v6: OwnedFd,
    pub taps: Vec<Tap>,
}

impl Namespace {
    pub fn new() -> io::Result<Self> {
        // In a separate thread, because the change is permanent.
        on_thread(|| {
            #[expect(deprecated, reason = "unsound only for CLONE_FILES; its successor is `unsafe`")]
            rustix::thread::unshare(UnshareFlags::NEWNET)?;
            for (name, value) in SYSCTLS {
                set_sysctl(name, value)?;
            }
            let raw = |family, protocol| {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                socket_with(family, SocketType::RAW, flags, Some(protocol))
            };
            let (v4, v6) = (AddressFamily::INET, AddressFamily::INET6);
            let mut taps = Vec::new();
            for (family, icmp) in [(v4, ipproto::ICMP), (v6, ipproto::ICMPV6)] {
                let portless = PORTLESS.iter().filter_map(|(_, number)| RawProtocol::new((*number).into()));
                let portless = portless.map(Protocol::from_raw);
                for protocol in [icmp, ipproto::TCP, ipproto::UDP, ipproto::SCTP].into_iter().chain(portless) {
                    let fd = raw(family, protocol)?;
                    taps.push(Tap { fd, is_v6: family == v6, protocol: protocol.as_raw().get() as u8 });
                }
            }
            // Protocol RAW: the sender writes the IP header, so it may use any source.
            let (send_v4, send_v6) = (raw(v4, ipproto::RAW)?, raw(v6, ipproto::RAW)?);
            Ok(Self { fd: File::open("/proc/thread-self/ns/net")?.into(), send_v4, send_v6, taps })
        })
    }

    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_thread(|| {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.fd.as_fd(), kind).expect("the namespace could not be entered");
            work()
        })
    }

    pub fn enable_forwarding(&self) {
        self.enter(|| {
            set_sysctl("ipv4/ip_forward", "1").unwrap();
            set_sysctl("ipv6/conf/all/forwarding", "1").unwrap();
        });
    }

    pub fn run(&self, argv: &[&str], input: &str) -> Output {
        self.output(argv, input).expect("timeout(1) could not be started")
    }

    fn output(&self, argv: &[&str], input: &str) -> io::Result<Output> {
        // Not a pipe: nft reads malformed JSON a second time, as text, and an empty text is not an error.
        let memory = memfd_create("input", MemfdFlags::CLOEXEC).expect("no memory file");
        let mut stdin = File::from(memory);
        stdin.write_all(input.as_bytes()).and_then(|()| stdin.rewind()).expect("no room for input");
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", COMMAND_LIMIT]).args(argv).stdin(stdin);
        self.enter(|| command.output())
    }

    pub fn succeed(&self, argv: &[&str], input: &str) -> Result<(), String> {
        let output = self.output(argv, input).map_err(|error| format!("timeout(1): {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let beginning: String = stderr.chars().take(STDERR_LIMIT).collect();
        Err(format!("{argv:?}: {}: {beginning}", output.status))
    }

    pub fn ip(&self, commands: &str) {
        self.succeed(&["ip", "-batch", "-"], commands).unwrap();
    }

    pub fn send(&self, probe: &Probe, id: u32) {
        // The range of Linux's own ephemeral ports, 32768 to 60999.
        let sport = probe.sport.unwrap_or((32768 + id % 28232) as u16);
        let packet = wire::packet(probe, sport, id);
        let socket = if probe.to.is_ipv4() { &self.send_v4 } else { &self.send_v6 };
        match sendto(socket, &packet, SendFlags::empty(), &SocketAddr::new(probe.to, 0)) {
            Ok(_) => {}
            // Denied; the error is the same for drop and reject.
            Err(Errno::PERM) if probe.hook == Hook::Output => {}
            Err(error) => panic!("{probe:?} could not be sent: {error}"),
        }
    }
}

/// A raw socket: sees every packet of its protocol that passed the input hook.
pub struct Tap {
    fd: OwnedFd,
    is_v6: bool,
    protocol: u8,
}

impl Tap {
    /// Returns the numbers of the probes that arrived or were answered, and what that means.
    pub fn read(&self) -> Vec<(u32, Verdict)> {
        let mut buffer = [0; 2048];
        let mut seen = Vec::new();
        // More than a receive buffer holds; not endless, for others may send, too.
        for _ in 0..1024 {
            let length = match recv(&self.fd, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => break,
                Err(error) => panic!("a raw socket failed: {error}"),
            };
            // Raw sockets show the IP header of v4 only.
            let payload = match self.is_v6 {
                true => Some(&buffer[..length]),
                false => wire::v4_payload(&buffer[..length]),
            };
            seen.extend(payload.and_then(|bytes| wire::recognise(self.protocol, bytes)));
        }
        seen
    }
}

/// Makes a veth pair; on each end 169.254.0.1 and fe80::1 stand for the other.
///
/// The neighbours are static: the first packets would be lost to ARP and neighbour discovery.
pub fn join(left: (&Namespace, &str), right: (&Namespace, &str)) {
    let (left_mac, right_mac) = ("02:00:00:00:00:01", "02:00:00:00:00:02");
    let ready = |name: &str, peer: &str| {
        format!(
            "link set lo up\n link set {name} up\n\
             neigh add 169.254.0.1 lladdr {peer} dev {name} nud permanent\n\
             neigh add fe80::1 lladdr {peer} dev {name} nud permanent\n"
        )
    };
    let right_path = format!("/proc/{}/fd/{}", process::id(), right.0.fd.as_raw_fd());
    let pair = format!(
        "link add {} address {left_mac} type veth \
         peer name {} address {right_mac} netns {right_path}\n",
        left.1, right.1
    );
    left.0.ip(&(pair + &ready(left.1, right_mac)));
    right.0.ip(&ready(right.1, left_mac));
}

/// Empties the conntrack table of the namespace that the thread is in.
pub fn flush_conntrack() -> rustix::io::Result<()> {
    let length = 20_u32.to_ne_bytes();
    // IPCTNL_MSG_CT_DELETE of NFNL_SUBSYS_CTNETLINK, NLM_F_REQUEST | NLM_F_ACK
    let (kind, flags) = (0x0102_u16.to_ne_bytes(), 5_u16.to_ne_bytes());
    // Zeros: sequence number, sender and the nfgenmsg that means all families.
    let message = [&length[..], &kind, &flags, &[0; 12]].concat();
    let kernel = socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::NETFILTER))?;
    send(&kernel, &message, SendFlags::empty())?;
    let mut answer = [0; 64];
    recv(&kernel, &mut answer, RecvFlags::DONTWAIT)?; // the kernel answers within send
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        error => Err(Errno::from_raw_os_error(-error)),
    }
}

/// Writes a sysctl of the namespace that the thread is in, which is what /proc/sys/net shows.
fn set_sysctl(name: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/{name}"), value)
        .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))
}

/// Runs a closure on a thread that ends with it, and passes a panic on.
fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|payload| panic::resume_unwind(payload)))
}
