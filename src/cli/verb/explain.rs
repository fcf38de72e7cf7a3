//! `edgeward explain`.

mod because;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::context::{BoundArguments, ListFormat, Loaded, load_catalog};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::{Code, Problems, Severity, did_you_mean};
use crate::explain::{Meaning, NearMiss, Permission};
use crate::host::files;
use crate::lower::lower;
use crate::net::{CtState, Hook, Packet, PrefixSet, Verdict, parse_address};
use crate::probe::{Place, Probe, ProbeFile, ProbeRow, ProtocolNumber};
use crate::report::{Evidence, Reason};
use crate::ruleset::{Label, Ruleset, Trace};
use crate::site::{Mode, Target};
use crate::source::Spanned;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: BoundArguments,
    /// A file of packets and what is expected of them, in place of one packet
    #[arg(long, value_name = "FILE", conflicts_with_all = PACKET)]
    probes: Option<PathBuf>,
    #[command(flatten)]
    packet: PacketArguments,
    /// Fail with exit code 1 unless this is the verdict
    #[arg(long, value_name = "VERDICT")]
    expect: Option<Verdict>,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// The arguments that describe one packet.
const PACKET: [&str; 10] = ["hook", "from", "to", "proto", "sport", "dport", "icmp_type", "state", "ack", "expect"];

#[derive(Debug, clap::Args)]
struct PacketArguments {
    /// Where the packet is judged [default: told from its addresses]
    #[arg(long, value_name = "HOOK")]
    hook: Option<Hook>,
    /// Its source address
    #[arg(long, value_name = "ADDR", value_parser = address, required_unless_present = "probes")]
    from: Option<IpAddr>,
    /// Its destination address
    #[arg(long, value_name = "ADDR", value_parser = address, required_unless_present = "probes")]
    to: Option<IpAddr>,
    /// Its protocol: tcp, udp, icmp, icmpv6, ipip or a number
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
    /// What conntrack says of it: new, established, related, invalid or untracked [default: new]
    #[arg(long, value_name = "STATE")]
    state: Option<CtState>,
    /// A TCP segment with ACK or RST set, which opens nothing [default: unless it is new or untracked]
    #[arg(long)]
    ack: bool,
}

fn address(text: &str) -> Result<IpAddr, String> {
    parse_address(text).map_err(|error| error.to_string())
}

impl PacketArguments {
    /// The packet; `None` where none is described.
    fn probe(&self) -> Option<Probe> {
        Some(Probe {
            hook: self.hook,
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

/// All that verdicts are explained with.
struct Case<'a> {
    evidence: Evidence<'a>,
    loaded: &'a Loaded,
    meaning: Meaning<'a>,
    ruleset: &'a Ruleset,
    hosts: PrefixSet,
}

/// Why a packet fares as it does.
struct Answer<'a> {
    packet: Packet,
    trace: Trace<'a>,
    /// The chains that it went through, the base chain first.
    chains: Vec<&'a str>,
    permissions: Vec<Permission<'a>>,
    near_misses: Vec<NearMiss<'a>>,
    /// How many more there are.
    more_misses: usize,
}

/// How many flows are named that nearly permit a packet.
const NEAR_MISSES: usize = 3;

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let bound = arguments.policy.load(&catalog)?;
    let ruleset = lower(&bound.resolved);
    let case = Case {
        evidence: bound.loaded.evidence(&catalog),
        loaded: &bound.loaded,
        meaning: bound.meaning(),
        ruleset: &ruleset,
        hosts: bound.loaded.policy.networks.value.hosts.iter().map(|prefix| prefix.value).collect(),
    };
    match (&arguments.probes, arguments.packet.probe()) {
        (Some(path), _) => case.probes(path, arguments.format),
        (None, Some(probe)) => case.one(&probe, arguments.expect, arguments.format),
        // The arguments that describe a packet are required where there is no file.
        (None, None) => Err(Failure::Usage(anyhow::anyhow!("say which packet: `--from`, `--to` and `--proto`"))),
    }
}

impl<'a> Case<'a> {
    fn place(&self) -> Place<'_> {
        match self.meaning.resolved.target {
            Target::EdgeHost => Place::Host(&self.hosts),
            Target::IdcGateway => Place::Gateway,
        }
    }

    fn answer(&self, packet: Packet) -> Answer<'a> {
        let mut chains: Vec<&str> = Vec::new();
        let trace = self.ruleset.trace(&packet, |chain, _| {
            if !chains.contains(&chain.name.as_str()) {
                chains.push(&chain.name);
            }
        });
        let permissions =
            trace.disposition.flow.map(|flow| self.meaning.permissions(flow, &packet)).unwrap_or_default();
        let denied = trace.disposition.verdict != Verdict::Accept || would_be_denied(&trace);
        let mut near_misses = if denied { self.meaning.near_misses(&packet) } else { Vec::new() };
        let more_misses = near_misses.len().saturating_sub(NEAR_MISSES);
        near_misses.truncate(NEAR_MISSES);
        Answer { packet, trace, chains, permissions, near_misses, more_misses }
    }

    fn one(&self, probe: &Probe, expect: Option<Verdict>, format: ListFormat) -> Result<(), Failure> {
        let packet = probe.packet(self.place()).map_err(|error| {
            Failure::Usage(anyhow::anyhow!("{error}; `edgeward explain --help` lists the arguments"))
        })?;
        let answer = self.answer(packet);
        render::output(&match format {
            ListFormat::Text => self.text(&answer),
            ListFormat::Json => render::document(&self.document(&answer))?,
        })?;
        match expect {
            Some(expected) if expected != answer.trace.disposition.verdict => {
                render::error(&format!(
                    "expected {}, found {}",
                    expected.name(),
                    answer.trace.disposition.verdict.name()
                ));
                Err(Failure::Told(1))
            }
            _ => Ok(()),
        }
    }

    fn probes(&self, path: &Path, format: ListFormat) -> Result<(), Failure> {
        let source = files::read(path)?;
        let mut problems = Problems::default();
        let file = ProbeFile::parse(&source, &mut problems);
        let rows = file.map(|file| file.probes).unwrap_or_default();
        let mut answers = Vec::new();
        for row in &rows {
            self.check_flow(row, &mut problems);
            match row.value.probe().packet(self.place()) {
                Ok(packet) => answers.push((&row.value, self.answer(packet))),
                Err(error) => problems.push(Code::InvalidProbe, row.span, error.to_string()),
            }
        }
        let bad = problems.has_errors();
        render::diagnostics(&source, problems.into_sorted(), Severity::Error);
        if bad {
            return Err(Failure::Told(2));
        }
        let mut failed = 0;
        let (mut lines, mut documents) = (Vec::new(), Vec::new());
        for (row, answer) in &answers {
            let flow = answer.flow();
            let as_expected = row.expect == answer.trace.disposition.verdict
                && row.flow.as_deref().is_none_or(|expected| flow == Some(expected));
            failed += usize::from(!as_expected);
            let by = |flow: Option<&str>| flow.map(|flow| format!(" by {flow}")).unwrap_or_default();
            let found = format!("{}{}", answer.trace.disposition.verdict.name(), by(flow));
            let note = row.note.as_ref().map(|note| format!("  # {note}")).unwrap_or_default();
            lines.push(match as_expected {
                true => format!("ok    {found}: {}{note}\n", answer.packet),
                false => {
                    let expected = format!("{}{}", row.expect.name(), by(row.flow.as_deref()));
                    let because = self
                        .because(answer)
                        .into_iter()
                        .map(|Reason { kind, text, .. }| format!("        {kind:<12}  {text}\n"));
                    let head = format!(
                        "{}  expected {expected}, found {found}: {}{note}\n",
                        render::red("FAIL"),
                        answer.packet
                    );
                    because.fold(head, |all, line| all + &line)
                }
            });
            let mut document = self.document(answer);
            document["expected"] = json!({"verdict": row.expect.name(), "flow": row.flow});
            document["as-expected"] = as_expected.into();
            documents.push(document);
        }
        lines.push(format!("{}, {failed} not as expected\n", render::count(answers.len(), "probe")));
        render::output(&match format {
            ListFormat::Text => lines.concat(),
            ListFormat::Json => render::document(&json!({"probes": documents, "failed": failed}))?,
        })?;
        if failed == 0 { Ok(()) } else { Err(Failure::Told(1)) }
    }

    /// A probe that cannot be met is a mistake in the file.
    fn check_flow(&self, row: &Spanned<ProbeRow>, problems: &mut Problems) {
        let Some(flow) = &row.value.flow else { return };
        if row.value.expect != Verdict::Accept {
            let message = format!(
                "packets of a flow are accepted: `expect: {}` does not go with `flow: {flow}`",
                row.value.expect.name()
            );
            problems.push(Code::InvalidProbe, row.span, message);
        }
        let flows = || self.loaded.intent.flows.iter().map(|flow| flow.id.as_str());
        if !flows().any(|known| known == flow) {
            let message = format!("the policy has no flow `{flow}`");
            let help = did_you_mean(flow, flows())
                .unwrap_or_else(|| "`edgeward compile` lists the flows as counters".to_owned());
            problems.push_with_help(Code::InvalidProbe, row.span, message, help);
        }
    }

    fn text(&self, answer: &Answer<'_>) -> String {
        let verdict = answer.trace.disposition.verdict;
        let word = match verdict {
            Verdict::Accept => render::green(verdict.name()),
            _ => render::red(verdict.name()),
        };
        let flow = answer.flow().map(|flow| format!(" by {flow}")).unwrap_or_default();
        let mut lines = vec![format!("{word}{flow}: {}", answer.packet)];
        lines.extend(self.because(answer).into_iter().map(|Reason { kind, text, .. }| format!("  {kind:<12}  {text}")));
        if answer.more_misses > 0 {
            lines.push(format!("  {:<12}  and {} more", "", answer.more_misses));
        }
        if self.meaning.resolved.mode == Mode::Audit {
            lines.push(format!("  {:<12}  the policy only audits: nothing is denied", "mode"));
        }
        lines.join("\n") + "\n"
    }

    fn document(&self, answer: &Answer<'_>) -> Value {
        let because: Vec<Value> = self.because(answer).into_iter().map(Reason::json).collect();
        json!({
            "verdict": answer.trace.disposition.verdict.name(),
            "flow": answer.flow(),
            "chain": answer.trace.chain.map(|_| answer.packet.hook.name()),
            "packet": render::packet_json(&answer.packet),
            "because": because,
        })
    }
}

impl Answer<'_> {
    fn flow(&self) -> Option<&str> {
        self.trace.disposition.flow
    }
}

/// Whether only audit mode let the packet pass.
fn would_be_denied(trace: &Trace<'_>) -> bool {
    let label = trace.rule.and_then(|rule| rule.label.as_ref());
    trace.disposition.verdict == Verdict::Accept && matches!(label, Some(Label::Denied | Label::Invalid))
}
