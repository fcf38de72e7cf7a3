//! `edgeward explain`.

mod probes;
mod reasons;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::cli::context::{BoundArguments, ListFormat, LoadedPolicy, load_catalog};
use crate::cli::document::{ExplainDocument, ExplanationDocument, PacketDocument};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::explain::{Meaning, NearMiss, Permission, Rows};
use crate::lower::lower;
use crate::net::{CtState, Hook, Interface, Interfaces, Packet, PrefixSet, Slip, Verdict, parse_address};
use crate::probe::{Place, Probe, ProtocolNumber};
use crate::report::{DocumentVersion, Evidence};
use crate::ruleset::{Label, Ruleset, Trace};
use crate::site::{Mode, Target};

/// Show what happens to a packet, and why; or check a file of packets
///
/// The packet is evaluated against the ruleset of the policy: no packet is sent, and the kernel is not asked. Shows the
/// verdict, the rule, the flow that permits the packet and where that comes from; for a denied packet, the flows that
/// nearly permit it. With `--probes` every packet of a file is checked against the verdict that the file expects. See
/// docs/explain.md.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward explain policy.yaml --from 10.0.0.20 --to 192.168.10.20 --proto tcp --dport 6443
  edgeward explain policy.yaml --from 203.0.113.9 --to 10.0.0.20 --proto tcp --dport 22 --expect drop
  edgeward explain policy.yaml --probes probes.yaml")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: BoundArguments,
    /// A file of packets and their expected verdicts, in place of one packet; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = PACKET)]
    probes: Option<PathBuf>,
    #[command(flatten)]
    packet: PacketArguments,
    /// Fail with exit code 1 unless this is the verdict: accept, drop or reject
    #[arg(long, value_name = "VERDICT")]
    expect: Option<Verdict>,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// The arguments that describe one packet.
const PACKET: [&str; 11] =
    ["hook", "interface", "from", "to", "proto", "sport", "dport", "icmp_type", "state", "ack", "expect"];

#[derive(Debug, clap::Args)]
struct PacketArguments {
    /// The hook that sees the packet: input, output or forward [default: derived from its addresses]
    #[arg(long, value_name = "HOOK")]
    hook: Option<Hook>,
    /// The interface through which it arrives or leaves [default: `lo` if both ends are certainly this host's own]
    #[arg(long, value_name = "NAME")]
    interface: Option<Interface>,
    /// Its source address
    #[arg(long, value_name = "ADDR", value_parser = address, required_unless_present = "probes")]
    from: Option<IpAddr>,
    /// Its destination address
    #[arg(long, value_name = "ADDR", value_parser = address, required_unless_present = "probes")]
    to: Option<IpAddr>,
    /// Its protocol: tcp, udp, sctp, icmp, icmpv6, ipip, gre, esp, ah, vrrp or a number
    #[arg(long, value_name = "PROTOCOL", required_unless_present = "probes")]
    proto: Option<ProtocolNumber>,
    /// Its source port [default: 40000, which no service has]
    #[arg(long, value_name = "PORT")]
    sport: Option<u16>,
    /// Its destination port
    #[arg(long, value_name = "PORT")]
    dport: Option<u16>,
    /// The type of an ICMP message [default: echo request]
    #[arg(long, value_name = "TYPE")]
    icmp_type: Option<u8>,
    /// Its conntrack state: new, established, related, invalid or untracked [default: new]
    #[arg(long, value_name = "STATE")]
    state: Option<CtState>,
    /// A TCP segment with ACK or RST set, which opens no connection [default: set unless the packet is new or untracked]
    #[arg(long)]
    ack: bool,
}

fn address(text: &str) -> Result<IpAddr, String> {
    parse_address(text).map_err(|error| Slip::explain(text, &error))
}

impl PacketArguments {
    /// The packet; `None` where none is described.
    fn probe(&self) -> Option<Probe> {
        Some(Probe {
            hook: self.hook,
            interface: self.interface,
            from: self.from?,
            to: self.to?,
            protocol: self.proto?,
            sport: self.sport,
            dport: self.dport,
            icmp_type: self.icmp_type,
            state: self.state.unwrap_or(CtState::New),
            ack: self.ack.then_some(true),
        })
    }
}

/// What verdicts are explained with.
struct Explainer<'a> {
    evidence: Evidence<'a>,
    loaded: &'a LoadedPolicy,
    meaning: Meaning<'a>,
    rows: Rows<'a>,
    ruleset: &'a Ruleset,
    hosts: PrefixSet,
}

/// What happens to a packet, and why.
struct Explanation<'a> {
    packet: Packet,
    trace: Trace<'a>,
    /// The chains that the packet passed, the base chain first.
    chains: Vec<&'a str>,
    permissions: Vec<Permission<'a>>,
    near_misses: Vec<NearMiss<'a>>,
    /// How many more near misses there are.
    more_misses: usize,
}

/// So many flows are shown that nearly permit a packet.
const MAX_NEAR_MISSES: usize = 3;

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let bound = arguments.policy.load(&catalog)?;
    let ruleset = lower(&bound.resolved);
    let explainer = Explainer {
        evidence: bound.loaded.evidence(&catalog),
        loaded: &bound.loaded,
        meaning: bound.meaning(),
        rows: bound.meaning().rows(),
        ruleset: &ruleset,
        hosts: bound.loaded.policy.networks.value.hosts.iter().map(|prefix| prefix.value).collect(),
    };
    match (&arguments.probes, arguments.packet.probe()) {
        (Some(path), _) => explainer.probes(path, arguments.format),
        (None, Some(probe)) => explainer.one(&probe, arguments.expect, arguments.format),
        // clap requires the arguments of a packet if there is no file.
        (None, None) => Err(Failure::usage(anyhow!("a packet is required: `--from`, `--to` and `--proto`"))),
    }
}

impl<'a> Explainer<'a> {
    fn place(&self) -> Place<'_> {
        match self.meaning.resolved.target {
            Target::EdgeHost => Place::Host(&self.hosts),
            Target::IdcGateway => Place::Gateway,
        }
    }

    /// The packet of a probe; an error if its verdict depends on an interface that the probe does not name.
    fn packet(&self, probe: &Probe) -> Result<Packet, String> {
        let packet = probe.packet(self.place()).map_err(|error| error.to_string())?;
        if probe.interface.is_some() || packet.is_loopback() {
            return Ok(packet);
        }
        let known = self.meaning.resolved.flows.iter().filter_map(|flow| flow.interfaces.as_ref());
        let names: BTreeSet<Interface> = known.flat_map(Interfaces::examples).collect();
        let decides = |interface: &Interface| {
            self.ruleset.evaluate(&Packet { interface: *interface, ..packet }) != self.ruleset.evaluate(&packet)
        };
        match names.into_iter().find(decides) {
            None => Ok(packet),
            Some(name) => Err(format!("the verdict depends on the interface, such as `{name}` or another: give it")),
        }
    }

    fn explain(&self, packet: Packet) -> Explanation<'a> {
        let mut chains: Vec<&str> = Vec::new();
        let trace = self.ruleset.trace(&packet, |chain, _| {
            if !chains.contains(&chain.name.as_str()) {
                chains.push(&chain.name);
            }
        });
        let flow = trace.disposition.flow;
        let permissions = flow.map(|flow| self.meaning.permissions(&self.rows, flow, &packet)).unwrap_or_default();
        let denied = trace.disposition.verdict != Verdict::Accept || denied_if_enforced(&trace);
        let mut near_misses = if denied { self.meaning.near_misses(&packet) } else { Vec::new() };
        let more_misses = near_misses.len().saturating_sub(MAX_NEAR_MISSES);
        near_misses.truncate(MAX_NEAR_MISSES);
        Explanation { packet, trace, chains, permissions, near_misses, more_misses }
    }

    /// Prints what happens to one packet.
    fn one(&self, probe: &Probe, expect: Option<Verdict>, format: ListFormat) -> Result<(), Failure> {
        let packet = self
            .packet(probe)
            .map_err(|error| Failure::usage(anyhow!("{error}; `edgeward explain --help` lists the arguments")))?;
        let explanation = self.explain(packet);
        render::output(&match format {
            ListFormat::Text => self.text(&explanation),
            ListFormat::Json => render::document(&ExplainDocument::Packet {
                version: DocumentVersion,
                explanation: self.document(&explanation),
            })?,
        })?;
        match expect {
            Some(expected) if expected != explanation.trace.disposition.verdict => {
                let found = explanation.trace.disposition.verdict.name();
                Err(Failure::different().with(anyhow!("expected {}, found {found}", expected.name())))
            }
            _ => Ok(()),
        }
    }

    fn text(&self, explanation: &Explanation<'_>) -> String {
        let verdict = explanation.trace.disposition.verdict;
        let word = match verdict {
            Verdict::Accept => render::green(verdict.name()),
            _ => render::red(verdict.name()),
        };
        let flow = explanation.flow().map(|flow| format!(" by {flow}")).unwrap_or_default();
        let mut lines = vec![format!("{word}{flow}: {}", explanation.packet)];
        let reasons = self.reasons(explanation).into_iter();
        lines.extend(reasons.map(|reason| format!("  {:<12}  {}", reason.about.kind(), reason.text)));
        if explanation.more_misses > 0 {
            lines.push(format!("  {:<12}  and {} more", "", explanation.more_misses));
        }
        if self.meaning.resolved.mode == Mode::Audit {
            lines.push(format!("  {:<12}  audit: nothing is denied", "mode"));
        }
        lines.join("\n") + "\n"
    }

    fn document<'b>(&self, explanation: &'b Explanation<'_>) -> ExplanationDocument<'b> {
        ExplanationDocument {
            verdict: explanation.trace.disposition.verdict.name(),
            flow: explanation.flow(),
            chain: explanation.trace.chain.map(|_| explanation.packet.hook.name()),
            packet: PacketDocument::from(&explanation.packet),
            because: self.reasons(explanation),
        }
    }
}

impl Explanation<'_> {
    fn flow(&self) -> Option<&str> {
        self.trace.disposition.flow
    }
}

/// Whether the packet is accepted only because of `mode: audit`.
fn denied_if_enforced(trace: &Trace<'_>) -> bool {
    let label = trace.rule.and_then(|rule| rule.label.as_ref());
    trace.disposition.verdict == Verdict::Accept && matches!(label, Some(Label::Denied | Label::Invalid))
}
