//! Preflight: what the host says before its rules change. Connections that the rules would cut off, and other packet
//! filters that see the same packets.

mod filters;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::anyhow;

use crate::cli::failure::{Check, Failure, Refusal};
use crate::cli::render;
use crate::guard::{InForce, Need, Requirement, Session, denied, denies_management, requirements};
use crate::host::sessions::{self, LiveConnection, Sockets};
use crate::intent::{Declared, Intent, Side};
use crate::net::{Hook, Transport, Verdict};
use crate::policy::syntax::{Policy, SSH_PORT};
use crate::resolution::Resolution;
use crate::ruleset::{Ruleset, Stance};
use crate::wording::count;

pub(crate) use filters::{OtherFilters, describe, order, other_filters, show_filters};

/// A message lists up to so many connections or chains.
const MAX_LISTED: usize = 20;

/// What the checks found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What must not be denied, and would be: they refuse the change.
    blockers: Vec<Refusal>,
    warnings: Vec<String>,
    notes: Vec<String>,
    /// Whether rules in force deny packets already: then it is not news that no session is found.
    is_known: bool,
    /// Whether the rules were checked as if they were enforced, but are in audit mode: nothing refuses them.
    is_audit: bool,
}

/// The policy whose essential connections are checked: SSH, DNS, the API server.
pub(crate) struct GuardedPolicy<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) intent: &'a Intent<Declared>,
    pub(crate) resolution: &'a Resolution,
}

/// Checks what a ruleset would do to this host's connections and to what its operator depends on. Without a policy only
/// the connections of this host are checked.
///
/// Rules in audit mode deny nothing: what they would cut off if they were enforced is a warning.
pub(crate) fn check(ruleset: &Ruleset, guarded: Option<&GuardedPolicy<'_>>, in_force: Option<&Ruleset>) -> Findings {
    let is_known = in_force.is_some_and(|rules| rules.stance() == Stance::Enforce);
    if ruleset.stance() == Stance::Audit {
        let denial = |hook| guarded.map_or(Verdict::Drop, |guarded| guarded.intent.denials.at(hook));
        return Findings { is_audit: true, ..check_enforced(&ruleset.clone().enforced(denial), guarded, is_known) };
    }
    check_enforced(ruleset, guarded, is_known)
}

fn check_enforced(ruleset: &Ruleset, guarded: Option<&GuardedPolicy<'_>>, is_known: bool) -> Findings {
    let mut findings = Findings { is_known, ..Findings::default() };
    if let Some(GuardedPolicy { policy, intent, resolution }) = guarded {
        if denies_management(policy, intent) {
            let port = policy.ssh_port();
            let message = format!(
                "SSH from every address would be denied: `management.from` is empty, and no `allow` row opens tcp/{port}; \
                 fill in `management.from`, or use `--force` if no one logs in to this host over SSH"
            );
            findings.blockers.push(Refusal { check: Check::NoManagement, message });
        }
        findings.add_denied(ruleset, &requirements(policy, intent, resolution), None);
    }
    findings.add_host(ruleset, guarded.map_or(SSH_PORT, |guarded| guarded.policy.ssh_port()), None);
    findings
}

/// Checks what a refresh would newly deny. What the rules in force deny already was decided when they were applied.
pub(crate) fn check_refresh(
    ruleset: &Ruleset,
    guarded: &GuardedPolicy<'_>,
    in_force: &Ruleset,
    known: &Resolution,
) -> Findings {
    let GuardedPolicy { policy, intent, resolution } = guarded;
    let before = requirements(policy, intent, known);
    let before = InForce { ruleset: in_force, requirements: &before };
    let is_known = in_force.stance() == Stance::Enforce;
    let mut findings = Findings { is_known, ..Findings::default() };
    findings.add_denied(ruleset, &requirements(policy, intent, resolution), Some(before));
    findings.add_host(ruleset, policy.ssh_port(), Some(before));
    findings
}

/// Shows the findings, and refuses rules that would cut off what must not be. Returns what is overridden by force.
pub(crate) fn enforce(findings: &Findings, force: bool) -> Result<Vec<Refusal>, Failure> {
    findings.notes.iter().for_each(|note| render::note(note));
    let start = if findings.is_audit { "if this policy is enforced: " } else { "" };
    findings.warnings.iter().for_each(|warning| render::warning(&format!("{start}{warning}")));
    if findings.is_audit {
        findings.blockers.iter().for_each(|blocker| render::warning(&format!("{start}{}", blocker.message)));
        return Ok(Vec::new());
    }
    if findings.blockers.is_empty() {
        return Ok(Vec::new());
    }
    if force {
        findings.blockers.iter().for_each(|blocker| render::warning(&blocker.message));
        return Ok(findings.blockers.clone());
    }
    let sentences: Vec<&str> = findings.blockers.iter().map(|blocker| &*blocker.message).collect();
    let error = anyhow!(
        "these rules would cut off connections that must not be; nothing was changed:\n  {}\n`--force` applies them \
         anyway; with `--confirm-within 2m` they are undone if that was a mistake",
        sentences.join("\n  ")
    );
    Err(Failure::refused_by(findings.blockers.clone(), error))
}

fn session(connection: &LiveConnection) -> Session {
    let LiveConnection { local, peer, transport, inbound, .. } = *connection;
    Session { transport, local, peer, side: if inbound == Some(true) { Side::Inbound } else { Side::Outbound } }
}

/// The two ends of an SSH session: this host, and the client.
type Login = (SocketAddr, SocketAddr);

impl Findings {
    /// Checks the connections of this host.
    fn add_host(&mut self, ruleset: &Ruleset, ssh_port: u16, before: Option<InForce<'_>>) {
        if ruleset.base_chain(Hook::Forward).is_some() {
            let note = "the gateway's own connections are not filtered, so they were not checked";
            self.notes.push(note.to_owned());
            return;
        }
        match sessions::sockets() {
            Ok(sockets) => self.check_connections(ruleset, &sockets, ssh_port, before),
            Err(error) => {
                let message = format!("the connections of this host are not known: {error}");
                self.blockers.push(Refusal { check: Check::Connections, message });
            }
        }
    }

    /// Blocks rules that deny what is needed, and what the rules before them permitted.
    fn add_denied(&mut self, ruleset: &Ruleset, requirements: &[Requirement], before: Option<InForce<'_>>) {
        let denied = denied(ruleset, requirements).into_iter();
        let newly = denied.filter(|(required, _)| before.is_none_or(|before| before.met(required)));
        self.blockers.extend(newly.map(|(required, verdict)| {
            let verdict = match verdict {
                Verdict::Reject => "rejected",
                _ => "dropped",
            };
            let message = format!("{} would be {verdict}: {}", required.what, required.packet);
            Refusal { check: required.need.into(), message }
        }));
    }

    fn check_connections(&mut self, ruleset: &Ruleset, sockets: &Sockets, ssh_port: u16, before: Option<InForce<'_>>) {
        for name in &sockets.unseen {
            self.warnings.push(format!("`/proc/net/{name}` cannot be read: its connections were not checked"));
        }
        let logins = self.logins(sockets, ssh_port);
        if logins.is_empty() && !self.is_known {
            self.notes.push(format!("no live SSH session was found (port {ssh_port}, `SSH_CONNECTION`)"));
        }
        let requirements: Vec<Requirement> = logins
            .iter()
            .map(|(local, peer)| {
                let session = Session { transport: Transport::Tcp, local: *local, peer: *peer, side: Side::Inbound };
                let what = format!("the live SSH session of {peer} to {local}");
                Requirement { need: Need::Session, what, packet: session.opening() }
            })
            .collect();
        self.add_denied(ruleset, &requirements, before);
        if !sockets.mosh.is_empty() {
            let ports: Vec<String> = sockets.mosh.iter().map(|socket| socket.port().to_string()).collect();
            self.warnings.push(format!(
                "these UDP ports may be mosh servers, whose clients are not known: {}; check that an `allow` row \
                 permits them",
                ports.join(", ")
            ));
        }
        self.warn_of_established(ruleset, sockets, &logins, before);
    }

    /// The live SSH sessions to this host.
    fn logins(&mut self, sockets: &Sockets, ssh_port: u16) -> BTreeSet<Login> {
        // By the local port, with or without a listening socket: sessions outlive an sshd that was stopped.
        let is_ssh = |connection: &&LiveConnection| {
            !connection.loopback && connection.transport == Transport::Tcp && connection.local.port() == ssh_port
        };
        let by_port = sockets.connections.iter().filter(is_ssh);
        let mut logins: BTreeSet<Login> = by_port.map(|connection| (connection.local, connection.peer)).collect();
        match sessions::ssh_connections(sockets) {
            Ok(found) => {
                let live = found.found.iter().filter(|login| login.live == Some(true)).filter_map(|login| login.ends);
                let remote = live.filter(|(client, server)| server.ip() != client.ip() && !server.ip().is_loopback());
                logins.extend(remote.map(|(client, server)| (server, client)));
            }
            Err(error) => self.warnings.push(format!("`SSH_CONNECTION` could not be read: {error}")),
        }
        logins
    }

    /// Warns of other connections that conntrack keeps alive, and that could not be opened under the new rules.
    fn warn_of_established(
        &mut self,
        ruleset: &Ruleset,
        sockets: &Sockets,
        logins: &BTreeSet<Login>,
        before: Option<InForce<'_>>,
    ) {
        let others = sockets
            .connections
            .iter()
            .filter(|connection| !connection.loopback && !logins.contains(&(connection.local, connection.peer)));
        let openings: Vec<_> = others
            .map(|connection| session(connection).opening())
            .filter(|opening| ruleset.evaluate(opening).verdict != Verdict::Accept)
            .filter(|opening| before.is_none_or(|before| before.accepts(opening)))
            .collect();
        self.warnings.extend(
            openings
                .iter()
                .take(MAX_LISTED)
                .map(|opening| format!("an established connection could not be opened again: {opening}")),
        );
        if let Some(more) = openings.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
            let connections = count(more, "more established connection");
            self.warnings.push(format!("{connections} could not be opened again"));
        }
    }
}
