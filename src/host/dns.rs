//! DNS: queries servers for the addresses of names, and distinguishes the kinds of failure.
//!
//! hickory does the wire format and the sockets. Which server is queried when, and what an answer means, is decided here:
//! hickory's own `Resolver` queries no second server after SERVFAIL, takes a loop for a name without addresses, trusts
//! records of names that were not queried, and does not report which server answered.

mod exchange;
mod meaning;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::stream::{self, StreamExt};
use resolv_conf::ScopedIp;
use tokio::runtime::{self, Runtime};
use tokio::time::Instant;

use super::files;
use crate::resolution::{Answer, Question, Reply};

/// How many questions are in flight by default.
pub const CONCURRENCY: usize = 64;

/// After so many timeouts in a row the server itself may be down, and not only the servers of a few zones.
const MIN_TIMEOUTS_DOWN: u32 = 16;

/// Longer timeouts are typing mistakes.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// How servers are queried.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The servers, the preferred one first.
    pub servers: Vec<SocketAddr>,
    /// How long to wait for one server, its answer over TCP included.
    pub timeout: Duration,
    /// How often every server is queried before a question counts as unanswered.
    pub attempts: u8,
    /// How many questions are in flight.
    pub concurrency: usize,
}

/// Queries DNS; the fake for tests is [`FixedAnswers`].
pub trait Resolver {
    /// Answers in the order of the questions; `progress` gets the number of answers after each.
    fn ask(&self, questions: &[Question], progress: &mut dyn FnMut(usize)) -> Vec<Answer>;
}

/// Fixed answers for tests; other names do not exist.
#[derive(Clone, Debug, Default)]
pub struct FixedAnswers(pub BTreeMap<Question, Reply>);

impl FixedAnswers {
    /// The server that the answers name.
    pub const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53)), 53);
}

impl Resolver for FixedAnswers {
    fn ask(&self, questions: &[Question], progress: &mut dyn FnMut(usize)) -> Vec<Answer> {
        let exists = |question: &Question| self.0.keys().any(|known| known.name == question.name);
        let answer = |(index, question): (usize, &Question)| {
            let known = self.0.get(question).cloned();
            let reply = known.unwrap_or(if exists(question) { Reply::NoData } else { Reply::NxDomain });
            progress(index + 1);
            Answer { server: (reply != Reply::Timeout).then_some(Self::SERVER), reply }
        };
        questions.iter().enumerate().map(answer).collect()
    }
}

/// The DNS servers of the system, from `/etc/resolv.conf`.
///
/// # Errors
/// The file cannot be read, or names no server.
pub fn system_servers() -> anyhow::Result<Vec<SocketAddr>> {
    let path = "/etc/resolv.conf";
    let source = files::read(Path::new(path))?;
    servers_of(source.text()).with_context(|| format!("`{path}` names no usable DNS server"))
}

fn servers_of(text: &str) -> anyhow::Result<Vec<SocketAddr>> {
    // Lines that cannot be read are skipped, as in the C library.
    let (config, problems) = resolv_conf::Config::parse_with_errors(text.as_bytes());
    let servers: Vec<SocketAddr> = config.nameservers.iter().map(socket_address).collect::<anyhow::Result<_>>()?;
    let seen = problems.first().map_or_else(|| "it has no `nameserver` line".to_owned(), ToString::to_string);
    ensure!(!servers.is_empty(), seen);
    Ok(servers)
}

/// A link-local address belongs to one interface, which a socket needs as a number.
fn socket_address(server: &ScopedIp) -> anyhow::Result<SocketAddr> {
    let ScopedIp::V6(address, Some(interface)) = server else {
        return Ok((IpAddr::from(server), 53).into());
    };
    let index = match interface.parse() {
        Ok(index) => index,
        Err(_) => {
            let file = files::read(&Path::new("/sys/class/net").join(interface).join("ifindex"))
                .with_context(|| format!("`{server}` names no interface of this host"))?;
            file.text().trim().parse().with_context(|| format!("`{interface}` has no index"))?
        }
    };
    Ok(SocketAddrV6::new(*address, 53, 0, index).into())
}

/// The real resolver: DNS over UDP, and over TCP where an answer is truncated.
///
/// Names are absolute: no search domains, no hosts file, no cache, no special names.
#[derive(Debug)]
pub struct Hickory {
    settings: Settings,
    runtime: Runtime,
}

impl Hickory {
    /// A resolver with these settings.
    ///
    /// # Errors
    /// A setting is out of range, or the system refuses an event queue.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        ensure!(!settings.servers.is_empty(), "no DNS server to query");
        ensure!(settings.attempts > 0, "the number of DNS attempts must not be zero");
        ensure!(settings.concurrency > 0, "the number of concurrent DNS queries must not be zero");
        let timeout = settings.timeout;
        ensure!(
            !timeout.is_zero() && timeout <= MAX_TIMEOUT,
            "a DNS timeout must be more than zero and at most an hour"
        );
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Self { settings, runtime })
    }
}

/// A server that answered no question, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentServer {
    /// Its address and port.
    pub address: SocketAddr,
    /// The last error; `None` if it did not answer in time.
    pub error: Option<String>,
}

impl Hickory {
    /// As [`Resolver::ask`], with the servers if none of them answered any question.
    ///
    /// # Panics
    /// Inside of another async runtime.
    pub fn ask_noting(
        &self,
        questions: &[Question],
        progress: &mut dyn FnMut(usize),
    ) -> (Vec<Answer>, Option<Vec<SilentServer>>) {
        let servers: Vec<ServerState> = self.settings.servers.iter().copied().map(ServerState::new).collect();
        let answers = self.ask_servers(&servers, questions, progress);
        let is_silent = !questions.is_empty() && !servers.iter().any(|server| server.answered.get());
        let silent =
            servers.into_iter().map(|server| SilentServer { address: server.address, error: server.error.take() });
        (answers, is_silent.then(|| silent.collect()))
    }
}

impl Resolver for Hickory {
    /// A question takes at most `timeout` × `attempts` × servers, and `concurrency` of them run in parallel. Where no server
    /// answers anything, later questions take an eighth.
    ///
    /// # Panics
    /// Inside of another async runtime.
    fn ask(&self, questions: &[Question], progress: &mut dyn FnMut(usize)) -> Vec<Answer> {
        self.ask_noting(questions, progress).0
    }
}

impl Hickory {
    fn ask_servers(
        &self,
        servers: &[ServerState],
        questions: &[Question],
        progress: &mut dyn FnMut(usize),
    ) -> Vec<Answer> {
        let answers = stream::iter(questions.iter().enumerate())
            .map(async |(index, question)| (index, self.settings.answer(question, servers).await))
            .buffer_unordered(self.settings.concurrency)
            .inspect({
                let mut answered = 0;
                move |_| {
                    answered += 1;
                    progress(answered);
                }
            });
        let mut answers: Vec<(usize, Answer)> = self.runtime.block_on(answers.collect());
        answers.sort_unstable_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

/// A server, and its timeouts during one run.
struct ServerState {
    address: SocketAddr,
    /// The timeouts since its last answer.
    timeouts: Cell<u32>,
    /// When the first of these questions was sent.
    since: Cell<Instant>,
    /// Whether it answered any question.
    answered: Cell<bool>,
    /// Why it could not be reached, the last time.
    error: Cell<Option<String>>,
}

impl ServerState {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            timeouts: Cell::new(0),
            since: Cell::new(Instant::now()),
            answered: Cell::new(false),
            error: Cell::new(None),
        }
    }

    /// Counts timeouts. An error such as an unreachable server is not one.
    fn note(&self, answer: &Answer, asked: Instant) {
        if answer.server.is_some() {
            self.answered.set(true);
            self.timeouts.set(0);
        } else if answer.reply == Reply::Timeout {
            if self.timeouts.get() == 0 {
                self.since.set(asked);
            }
            self.timeouts.set(self.timeouts.get().saturating_add(1));
        } else if let Reply::Broken(error) = &answer.reply {
            self.error.set(Some(error.clone()));
        }
    }
}

impl Settings {
    /// Queries one server after the other until one settles the question.
    async fn answer(&self, question: &Question, servers: &[ServerState]) -> Answer {
        let mut failure = Answer { reply: Reply::Timeout, server: None };
        for attempt in 0..self.attempts {
            // An old server may drop a query with EDNS, or refuse it without repeating the question.
            let edns = attempt == 0;
            let mut left: Vec<&ServerState> = servers.iter().collect();
            // Servers that time out come last, so each costs a run one timeout and not one per name.
            while let Some(next) = (0..left.len()).min_by_key(|&index| left[index].timeouts.get()) {
                let server = left.remove(next);
                let asked = Instant::now();
                let answer = exchange::ask(server.address, question, edns, asked + self.patience(server)).await;
                server.note(&answer, asked);
                match weight(&answer.reply) {
                    SETTLED => return answer,
                    weight_now if weight_now > weight(&failure.reply) => failure = answer,
                    _ => {}
                }
            }
        }
        failure
    }

    /// How long to wait for a server.
    ///
    /// A server that has timed out on many questions, for as long as one question may take, seems to be down, and a thousand
    /// names must not wait for it in full. It is still queried: perhaps only the servers of the first zone are down.
    fn patience(&self, server: &ServerState) -> Duration {
        let seems_down = server.timeouts.get() >= MIN_TIMEOUTS_DOWN
            && server.since.get().elapsed() >= self.timeout * u32::from(self.attempts);
        if seems_down { self.timeout / 8 } else { self.timeout }
    }
}

/// The weight of an answer that needs no second server.
const SETTLED: u8 = 5;

/// How much a reply tells about the name: of several failures the one with the greatest weight is reported.
fn weight(reply: &Reply) -> u8 {
    match reply {
        Reply::Timeout => 0,
        Reply::Broken(_) => 1,
        Reply::Refused => 2,
        Reply::ServFail => 3,
        Reply::Truncated => 4,
        Reply::Addresses { .. } | Reply::NoData | Reply::NxDomain | Reply::Loop => SETTLED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_of_the_system_are_read_as_the_c_library_reads_them() {
        let servers = |text: &str| servers_of(text).map_err(|error| error.to_string());
        let text = "# by hand\nsearch a.test\nnameserver 10.0.0.53\noptions nonsense\nnameserver 2001:db8::53\n";
        let expected = ["10.0.0.53:53", "[2001:db8::53]:53"].map(|text| text.parse().unwrap());
        assert_eq!(servers(text), Ok(expected.to_vec()));
        let local: SocketAddr = SocketAddrV6::new("fe80::1".parse().unwrap(), 53, 0, 1).into();
        assert_eq!(servers("nameserver fe80::1%lo"), Ok(vec![local]));
        assert_eq!(servers("nameserver fe80::1%1"), Ok(vec![local]));
        assert!(servers("nameserver fe80::1%nowhere").is_err());
        assert_eq!(servers("search a.test"), Err("it has no `nameserver` line".to_owned()));
        assert!(servers("nameserver nonsense").is_err());
    }
}
