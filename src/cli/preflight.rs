//! What stands beside the rules: connections that they would cut, and others who judge the same packets.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::Path;

use crate::cli::failure::Failure;
use crate::cli::render;
use crate::guard::{Need, Session, denied, needs};
use crate::host::foreign::{self, Flushes, ForeignChain};
use crate::host::sessions::{self, LiveConnection, Sockets};
use crate::intent::{Declared, Intent};
use crate::net::{Hook, Transport, Verdict};
use crate::nft::{CHAIN_POLICIES, NETFILTER_HOOKS, TABLE_FAMILIES};
use crate::policy::syntax::{Policy, SSH_PORT};
use crate::resolution::Resolution;
use crate::ruleset::{Ruleset, TABLE};
use crate::site::Target;

/// Connections and chains that a message lists.
const SHOWN: usize = 20;

/// What a look at this host says of rules that are to come.
#[derive(Debug, Default)]
pub(crate) struct Prospect {
    /// What they must not deny, and would.
    pub(crate) dangers: Vec<String>,
    /// What else is worth knowing.
    pub(crate) warnings: Vec<String>,
    /// What was looked at, and found in order.
    pub(crate) notes: Vec<String>,
}

/// What of a policy the checks need; none of it for a ruleset without a policy.
pub(crate) struct Purpose<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) intent: &'a Intent<Declared>,
    pub(crate) resolution: &'a Resolution,
}

/// Looks at what rules would do to this host's connections, and to what its operator depends on.
pub(crate) fn prospect(ruleset: &Ruleset, purpose: Option<&Purpose<'_>>) -> Prospect {
    let mut prospect = Prospect::default();
    let target = match ruleset.base_chain(Hook::Forward) {
        Some(_) => Target::IdcGateway,
        None => Target::EdgeHost,
    };
    if let Some(Purpose { policy, intent, resolution }) = purpose {
        let needs = needs(policy, intent, resolution);
        let lost = denied(ruleset, &needs);
        prospect.dangers.extend(lost.iter().map(|(need, verdict)| danger(need, *verdict)));
    }
    // The gateway's own input and output are not touched.
    if target == Target::IdcGateway {
        prospect.notes.push("this gateway's own connections are not judged, and so not in danger".to_owned());
        return prospect;
    }
    let port = purpose.map_or(SSH_PORT, |purpose| purpose.policy.ssh_port());
    match sessions::sockets() {
        Ok(sockets) => own_connections(ruleset, &sockets, port, &mut prospect),
        Err(error) => prospect.dangers.push(format!("the connections of this host are not known: {error}")),
    }
    prospect
}

fn danger(need: &Need, verdict: Verdict) -> String {
    format!("{} would be met with {}: {}", need.what, verdict.name(), need.packet)
}

fn session(connection: &LiveConnection) -> Session {
    let LiveConnection { local, peer, transport, inbound, .. } = *connection;
    Session { transport, local, peer, inbound: inbound.unwrap_or(false) }
}

fn own_connections(ruleset: &Ruleset, sockets: &Sockets, port: u16, prospect: &mut Prospect) {
    let mut logins: BTreeSet<(std::net::SocketAddr, std::net::SocketAddr)> = BTreeSet::new();
    let remote = sockets.connections.iter().filter(|connection| !connection.loopback);
    // Whether somebody listens there says nothing: sshd may have been stopped, and its sessions go on.
    for connection in remote.clone().filter(|connection| connection.transport == Transport::Tcp) {
        if connection.local.port() == port {
            logins.insert((connection.local, connection.peer));
        }
    }
    match sessions::ssh_connections(sockets) {
        Ok(found) => {
            for login in found.found.iter().filter(|login| login.live == Some(true)) {
                logins.extend(
                    login
                        .ends
                        .map(|(client, server)| (server, client))
                        .filter(|(server, client)| server.ip() != client.ip() && !server.ip().is_loopback()),
                );
            }
        }
        Err(error) => prospect.warnings.push(format!("`SSH_CONNECTION` could not be looked at: {error}")),
    }
    for name in &sockets.unseen {
        prospect.warnings.push(format!("`/proc/net/{name}` is not shown: its connections were not checked"));
    }
    let needs: Vec<Need> = logins
        .iter()
        .map(|(local, peer)| {
            let session = Session { transport: Transport::Tcp, local: *local, peer: *peer, inbound: true };
            Need { what: format!("the live SSH session of {peer} to {local}"), packet: session.opening() }
        })
        .collect();
    let lost = denied(ruleset, &needs);
    prospect.dangers.extend(lost.iter().map(|(need, verdict)| danger(need, *verdict)));
    if logins.is_empty() {
        prospect.notes.push(format!("no live SSH session was found (port {port}, `SSH_CONNECTION`)"));
    }
    if !sockets.mosh.is_empty() {
        let ports: Vec<String> = sockets.mosh.iter().map(|socket| socket.port().to_string()).collect();
        prospect.warnings.push(format!(
            "these UDP ports may be mosh servers, whose clients are not known: {}; see that an `allow` row permits them",
            ports.join(", ")
        ));
    }
    let cut: Vec<&LiveConnection> = remote
        .filter(|connection| !logins.contains(&(connection.local, connection.peer)))
        .filter(|connection| ruleset.evaluate(&session(connection).opening()).verdict != Verdict::Accept)
        .collect();
    prospect.warnings.extend(cut.iter().take(SHOWN).map(|connection| {
        let session = session(connection);
        format!("established, and denied if it were opened anew: {}", session.opening())
    }));
    if let Some(more) = cut.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        prospect.warnings.push(format!("{more} more established connections would be denied if they were opened anew"));
    }
}

/// Others who judge the same packets.
#[derive(Debug, Default)]
pub(crate) struct Others {
    /// Base chains at the hooks of a ruleset, with the hook.
    pub(crate) chains: Vec<(Hook, ForeignChain)>,
    /// Sentences about units, legacy tables, and what could not be looked at.
    pub(crate) warnings: Vec<String>,
}

/// Looks for others who judge the packets that a ruleset judges.
pub(crate) fn others(ruleset: &Ruleset) -> Others {
    let mut others = Others::default();
    let hooks: Vec<Hook> = ruleset.chains.iter().filter_map(|chain| Some(chain.base?.hook)).collect();
    match foreign::chains(TABLE) {
        Ok(chains) => {
            for chain in chains {
                let judged = [Hook::Input, Hook::Output, Hook::Forward].into_iter();
                if let Some(hook) = judged.filter(|hook| hooks.contains(hook)).find(|hook| chain.order(*hook).is_some())
                {
                    others.chains.push((hook, chain));
                }
            }
        }
        Err(error) => others.warnings.push(format!("the chains of other tables are not known: {error}")),
    }
    match foreign::legacy_tables() {
        Ok(legacy) => others.warnings.extend(legacy.tables.iter().map(|(family, table)| {
            format!("legacy iptables has a table `{table}` ({}), whose rules nft does not show", family.name())
        })),
        Err(error) => others.warnings.push(format!("legacy iptables could not be looked at: {error}")),
    }
    match foreign::units(Path::new("/")) {
        Ok(units) => {
            others.warnings.extend(units.iter().filter(|unit| unit.flushes == Flushes::Everything).map(|unit| {
                format!(
                    "`{}` is enabled ({}): it flushes all of nftables when it starts and stops, edgeward's table, too; \
                 `systemctl disable {}`",
                    unit.name,
                    unit.enabled_by.display(),
                    unit.name
                )
            }))
        }
        Err(error) => others.warnings.push(format!("the units of systemd could not be looked at: {error}")),
    }
    others
}

/// When a chain of others sees packets: `before` edgeward, `after` or `beside` it.
pub(crate) fn when(hook: Hook, chain: &ForeignChain) -> &'static str {
    match chain.order(hook) {
        Some(Ordering::Less) => "before",
        Some(Ordering::Greater) => "after",
        _ => "beside",
    }
}

/// A chain of others in a sentence.
pub(crate) fn sentence(hook: Hook, chain: &ForeignChain) -> String {
    let when = when(hook, chain);
    let policy = CHAIN_POLICIES.word(chain.policy);
    let owner = match &chain.owners[..] {
        [] => String::new(),
        owners => format!(", probably of {}", owners.join(", ")),
    };
    format!(
        "`{} {} {}` (hook {}, priority {}, policy {policy}{owner}) sees packets {when} edgeward: it may deny what \
         edgeward permits, and cannot permit what edgeward denies",
        TABLE_FAMILIES.word(chain.family),
        chain.table,
        chain.chain,
        NETFILTER_HOOKS.word(chain.hook),
        chain.priority
    )
}

/// Shows others who judge the same packets.
pub(crate) fn tell(others: &Others) {
    for (hook, chain) in others.chains.iter().take(SHOWN) {
        render::note(&sentence(*hook, chain));
    }
    for warning in &others.warnings {
        render::warning(warning);
    }
}

/// Shows what a look at the host has found; refuses rules that would lock somebody out.
pub(crate) fn judge(prospect: &Prospect, force: bool) -> Result<(), Failure> {
    prospect.notes.iter().for_each(|note| render::note(note));
    prospect.warnings.iter().for_each(|warning| render::warning(warning));
    if prospect.dangers.is_empty() {
        return Ok(());
    }
    if force {
        prospect.dangers.iter().for_each(|danger| render::warning(danger));
        return Ok(());
    }
    Err(Failure::Refused(anyhow::anyhow!(
        "these rules would cut off what they must not; nothing was changed:\n  {}\n`--force` applies them all the same, \
         and with `--confirm-within 2m` they are undone where that was a mistake",
        prospect.dangers.join("\n  ")
    )))
}
