//! Connections that are older than conntrack's work on this host.
//!
//! Where no rule has asked for tracking, conntrack knows no flow, and takes each that is under way for a new one: its
//! next packet may be one that the rules deny to newcomers, and the session of whoever applies them freezes. So before
//! the first rules judge, a table that only tracks is loaded, and conntrack is told of the sockets that there are.
//! Telling it does not depend on packets, so connections that are silent for hours are no exception.
//!
//! A gateway has no sockets of those whose packets it forwards. There, tracking for a while before judging is all that
//! can be done.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::clock;
use super::kernel::{Kernel, KernelError};
use super::netlink::FlowEnds;
use super::sessions::{LiveConnection, SessionsError, Sockets, TrackedFlow, Tuple};
use crate::live::{Change, Live};
use crate::net::{ChainPolicy, CtState, Hook, Transport};
use crate::ruleset::{Action, Base, Match, Rule, Ruleset};

/// How long conntrack is given to see both sides of a connection, where it cannot be told of it.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long forwarded packets are tracked before they are judged.
const FORWARDED: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Why conntrack could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrimeError {
    /// The connections are not known.
    #[error(transparent)]
    Sessions(#[from] SessionsError),
    /// The tracking table could not be loaded.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Primed {
    /// How many connections conntrack knows that it did not know before.
    pub added: usize,
    /// The connections that it does not know, for all that was tried.
    pub unknown: Vec<LiveConnection>,
}

/// Whether rules rely on what conntrack knows.
fn tracks(ruleset: &Ruleset) -> bool {
    let relies =
        |condition: &Match| matches!(condition, Match::State(states) if states.contains(&CtState::Established));
    ruleset.rules().flat_map(|rule| &rule.matches).any(relies)
}

/// Whether a table is the one that only tracks, which a run that was ended has left.
pub fn only_tracks(live: &Live) -> bool {
    let is_ours = |rule: &Rule| *rule == tracking_rule();
    let meaning = live.meaning();
    meaning.rules().next().is_some() && meaning.rules().all(is_ours)
}

fn tracking_rule() -> Rule {
    let state = Match::State(vec![CtState::New]);
    Rule::new([state], Action::Continue)
}

/// The table that only tracks: to ask for the state of a packet is what makes conntrack look at it.
fn tracking(wanted: &Ruleset) -> Vec<Change> {
    let hooks = [Hook::Input, Hook::Output, Hook::Forward];
    let chains = hooks.into_iter().filter_map(|hook| {
        let chain = wanted.base_chain(hook)?;
        Some((chain.name.clone(), Base { hook, policy: ChainPolicy::Accept }))
    });
    let mut changes = vec![Change::AddTable];
    for (name, base) in chains {
        changes.push(Change::AddChain { name: name.clone(), base: Some(base) });
        changes.push(Change::AddRule { chain: name, rule: Box::new(tracking_rule()) });
    }
    changes
}

/// Prepares conntrack for rules that take the place of others, where those did not track.
///
/// Returns `None` where there was nothing to prepare. Else there is a table afterwards, and if there was none before it
/// accepts every packet.
///
/// # Errors
/// The connections are not known, or the table cannot be loaded; then there is no table where there was none.
pub fn prime(kernel: &mut dyn Kernel, before: Option<&Live>, wanted: &Ruleset) -> Result<Option<Primed>, PrimeError> {
    let is_tracking = before.is_some_and(|live| tracks(&live.meaning()));
    if is_tracking || !tracks(wanted) {
        return Ok(None);
    }
    let forwards = wanted.base_chain(Hook::Forward).is_some();
    // Somebody else's rules may have it at work already.
    let flows = kernel.flows()?.unwrap_or_default();
    let is_at_work = match forwards {
        true => !flows.is_empty(),
        false => missing(&kernel.sockets()?, &flows).is_empty(),
    };
    if is_at_work {
        return Ok(None);
    }
    if before.is_none() {
        kernel.change(&tracking(wanted))?;
    }
    let prepared = if forwards { wait_for_forwarded(kernel) } else { tell(kernel) };
    if prepared.is_err() && before.is_none() {
        // Nothing else is in it. Where even that fails, the next change meets a table that accepts everything.
        let _ = kernel.change(&[Change::DeleteTable]);
    }
    prepared.map(Some)
}

fn wait_for_forwarded(kernel: &mut dyn Kernel) -> Result<Primed, PrimeError> {
    thread::sleep(FORWARDED);
    let added = kernel.flows()?.map_or(0, |flows| flows.len());
    Ok(Primed { added, unknown: Vec::new() })
}

/// Tells conntrack of the connections of this host, and waits for those that it does not take.
fn tell(kernel: &mut dyn Kernel) -> Result<Primed, PrimeError> {
    let untracked = missing(&kernel.sockets()?, &kernel.flows()?.unwrap_or_default());
    // One that is refused shows below: it is still missing.
    let taken = untracked.iter().filter(|connection| kernel.track(open_flow(connection)).is_ok()).count();
    let deadline = clock::since_boot() + PATIENCE;
    loop {
        // Where the kernel does not show what it tracks, its word is all there is.
        let unknown = match kernel.flows()? {
            Some(flows) => missing(&kernel.sockets()?, &flows),
            None if taken == untracked.len() => Vec::new(),
            None => untracked.clone(),
        };
        if unknown.is_empty() || clock::since_boot() >= deadline {
            return Ok(Primed { added: untracked.len().saturating_sub(unknown.len()), unknown });
        }
        thread::sleep(PAUSE);
    }
}

/// The connections, those over loopback aside, that rules would not find established.
fn missing(sockets: &Sockets, flows: &[TrackedFlow]) -> Vec<LiveConnection> {
    let ends = |tuple: &Tuple| {
        let (source, destination) = tuple.ports?;
        Some((SocketAddr::new(tuple.source, source), SocketAddr::new(tuple.destination, destination)))
    };
    // What stands between the two directions of a flow is NAT; a socket of this host is an end of one of them.
    let answered = flows.iter().filter(|flow| flow.replied);
    let known: BTreeSet<(u8, SocketAddr, SocketAddr)> = answered
        .flat_map(|flow| [&flow.original, &flow.reply].map(|tuple| (flow.protocol, ends(tuple))))
        .filter_map(|(protocol, ends)| ends.map(|(source, destination)| (protocol, source, destination)))
        .collect();
    let is_known = |connection: &LiveConnection| {
        let LiveConnection { local, peer, transport, .. } = *connection;
        let protocol = transport.protocol().number();
        known.contains(&(protocol, local, peer)) || known.contains(&(protocol, peer, local))
    };
    let connections = sockets.connections.iter().filter(|connection| !connection.loopback);
    connections.filter(|connection| !is_known(connection)).cloned().collect()
}

fn open_flow(connection: &LiveConnection) -> FlowEnds {
    let (from, to) = match connection.inbound {
        Some(true) => (connection.peer, connection.local),
        Some(false) | None => (connection.local, connection.peer),
    };
    FlowEnds { transport: connection.transport, from, to }
}

impl Primed {
    /// Whether a connection to a TCP port of this host is among those that conntrack does not know.
    pub fn lacks_port(&self, port: u16) -> bool {
        self.unknown.iter().any(|connection| connection.transport == Transport::Tcp && connection.local.port() == port)
    }
}
