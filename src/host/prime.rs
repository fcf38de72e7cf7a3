//! Connections that are older than connection tracking on this host.
//!
//! Where no rule needs connection tracking, conntrack tracks nothing, and takes an open connection for a new one. Its next
//! packet may then be denied, and the session that applies the rules freezes. So before the first rules, a table that only
//! enables tracking is loaded, and the open sockets of this host are added to conntrack. That needs no packets, so it
//! works for idle connections, too.
//!
//! A gateway has no sockets for the packets that it forwards. There, the table tracks for some seconds before the rules
//! are loaded.

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

/// How long to wait until conntrack has seen both directions of a connection that could not be added.
const MAX_WAIT: Duration = Duration::from_secs(3);
/// How long forwarded packets are tracked before rules are loaded.
const FORWARDED_WAIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Why conntrack could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrimeError {
    /// The connections cannot be read.
    #[error(transparent)]
    Sessions(#[from] SessionsError),
    /// The table that enables tracking could not be loaded.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What conntrack tracks after the preparation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Primed {
    /// How many connections it tracks that it did not track before.
    pub added: usize,
    /// The connections that it still does not track.
    pub unknown: Vec<LiveConnection>,
}

/// Whether rules rely on connection tracking.
fn tracks(ruleset: &Ruleset) -> bool {
    let relies =
        |condition: &Match| matches!(condition, Match::State(states) if states.contains(&CtState::Established));
    ruleset.rules().flat_map(|rule| &rule.matches).any(relies)
}

/// Whether a table is the one that only enables tracking, left by an interrupted run.
pub fn only_tracks(live: &Live) -> bool {
    let is_ours = |rule: &Rule| *rule == tracking_rule();
    let meaning = live.meaning();
    meaning.rules().next().is_some() && meaning.rules().all(is_ours)
}

fn tracking_rule() -> Rule {
    let state = Match::State(vec![CtState::New]);
    Rule::new([state], Action::Continue)
}

/// The table that only enables tracking: conntrack tracks packets where a rule matches their state.
fn tracking(target: &Ruleset) -> Vec<Change> {
    let hooks = [Hook::Input, Hook::Output, Hook::Forward];
    let chains = hooks.into_iter().filter_map(|hook| {
        let chain = target.base_chain(hook)?;
        Some((chain.name.clone(), Base { hook, policy: ChainPolicy::Accept }))
    });
    let mut changes = vec![Change::AddTable];
    for (name, base) in chains {
        changes.push(Change::AddChain { name: name.clone(), base: Some(base) });
        changes.push(Change::AddRule { chain: name, rule: Box::new(tracking_rule()) });
    }
    changes
}

/// Prepares conntrack for rules that rely on it, where the rules before them did not.
///
/// Returns `None` where there was nothing to prepare. Otherwise there is a table afterwards; where there was none before,
/// it accepts every packet.
///
/// # Errors
/// The connections cannot be read, or the table cannot be loaded. Where there was no table, there is none.
pub fn prime(kernel: &mut dyn Kernel, before: Option<&Live>, target: &Ruleset) -> Result<Option<Primed>, PrimeError> {
    let is_tracking = before.is_some_and(|live| tracks(&live.meaning()));
    if is_tracking || !tracks(target) {
        return Ok(None);
    }
    let forwards = target.base_chain(Hook::Forward).is_some();
    // The rules of another program may use it already.
    let flows = kernel.flows()?.unwrap_or_default();
    let is_active = match forwards {
        true => !flows.is_empty(),
        false => missing(&kernel.sockets()?, &flows).is_empty(),
    };
    if is_active {
        return Ok(None);
    }
    if before.is_none() {
        kernel.change(&tracking(target), &[])?;
    }
    let prepared = if forwards { wait_for_forwarded(kernel) } else { add_connections(kernel) };
    if prepared.is_err() && before.is_none() {
        // Nothing else is in it. Where this fails, too, the table that stays accepts every packet.
        let _ = kernel.change(&[Change::DeleteTable], &[]);
    }
    prepared.map(Some)
}

fn wait_for_forwarded(kernel: &mut dyn Kernel) -> Result<Primed, PrimeError> {
    thread::sleep(FORWARDED_WAIT);
    let added = kernel.flows()?.map_or(0, |flows| flows.len());
    Ok(Primed { added, unknown: Vec::new() })
}

/// Adds the connections of this host to conntrack, and waits for those that it refuses.
fn add_connections(kernel: &mut dyn Kernel) -> Result<Primed, PrimeError> {
    let untracked = missing(&kernel.sockets()?, &kernel.flows()?.unwrap_or_default());
    // One that is refused is still missing below.
    let accepted = untracked.iter().filter(|connection| kernel.track(open_flow(connection)).is_ok()).count();
    let deadline = clock::since_boot() + MAX_WAIT;
    loop {
        // Where the kernel does not list what it tracks, only its acknowledgements are known.
        let unknown = match kernel.flows()? {
            Some(flows) => missing(&kernel.sockets()?, &flows),
            None if accepted == untracked.len() => Vec::new(),
            None => untracked.clone(),
        };
        if unknown.is_empty() || clock::since_boot() >= deadline {
            return Ok(Primed { added: untracked.len().saturating_sub(unknown.len()), unknown });
        }
        thread::sleep(PAUSE);
    }
}

/// The connections that rules would not find established, except those over loopback.
fn missing(sockets: &Sockets, flows: &[TrackedFlow]) -> Vec<LiveConnection> {
    let ends = |tuple: &Tuple| {
        let (source, destination) = tuple.ports?;
        Some((SocketAddr::new(tuple.source, source), SocketAddr::new(tuple.destination, destination)))
    };
    // The two directions of a flow differ by NAT; a socket of this host is an end of one of them.
    let replied = flows.iter().filter(|flow| flow.replied);
    let known: BTreeSet<(u8, SocketAddr, SocketAddr)> = replied
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
    /// Whether conntrack does not track a connection to a TCP port of this host.
    pub fn lacks_port(&self, port: u16) -> bool {
        self.unknown.iter().any(|connection| connection.transport == Transport::Tcp && connection.local.port() == port)
    }
}
