//! `security-group`: the rules of the VPC's security group.

use schemars::JsonSchema;
use serde::Serialize;

use super::{BoxDocument, PacketDocument};
use crate::policy::path::GroupType;
use crate::report::{DocumentVersion, Reason};
use crate::security_group::{
    Comparison, Deviation, GroupExport, GroupProblemCode, GroupRules, IpProtocol, Permission, Way, port_range,
};
use crate::site::Scope;

/// What `edgeward security-group --format json` prints: the rules that the security group of the VPC needs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SecurityGroupDocument<'a> {
    /// The version of the document's format.
    version: DocumentVersion,
    /// The name of the policy.
    policy: &'a str,
    /// The type of the group.
    #[serde(rename = "type")]
    #[schemars(with = "GroupType")]
    kind: &'static str,
    /// How much is permitted: what the flows need, or everything.
    #[schemars(with = "Scope")]
    scope: &'static str,
    /// The rules: egress before ingress, in the order of the flows; none over the public network.
    rules: Vec<RuleDocument<'a>>,
    /// Packets that the rules admit and no flow needs: what the API has no words for.
    beyond: Vec<DeviationDocument>,
    /// What an operator has to know or to change.
    problems: Vec<ProblemDocument<'a>>,
    /// A group that exists, held against the policy; `null` without `--check`.
    check: Option<CheckedDocument<'a>>,
}

/// A rule, in the words of the ECS API.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "SecurityGroupRule")]
struct RuleDocument<'a> {
    /// Where its packets go, as seen from the VPC.
    #[schemars(with = "Way")]
    direction: &'static str,
    /// Their protocol.
    #[schemars(with = "IpProtocol")]
    protocol: &'static str,
    /// Their destination ports: `10250/10250`, or `-1/-1` for all of a protocol.
    port_range: String,
    /// The addresses at the other end.
    cidr: String,
    /// What it does with them.
    #[schemars(with = "Permission")]
    policy: &'static str,
    /// Its priority, from 1 to 100; the lowest number decides first.
    priority: u8,
    /// The flow that it is made for.
    flow: &'a str,
    /// All flows that have packets in it, that one first.
    flows: Vec<&'a str>,
    /// Whether no document asks for it in a security group.
    inferred: bool,
    /// Where it comes from.
    because: Vec<Reason>,
}

/// Packets for which a group and a policy differ, of one flow or rule.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Deviation")]
struct DeviationDocument {
    /// Where they go, as seen from the VPC.
    #[schemars(with = "Way")]
    direction: &'static str,
    /// The flow that needs them, or whose rule admits them; `null` where no flow does.
    flow: Option<String>,
    /// The place of the rule that admits them in the file, from 1; `null` where it is no rule of a file.
    rule: Option<usize>,
    /// The packets, as boxes.
    packets: Vec<BoxDocument>,
    /// One of them.
    example: PacketDocument,
}

/// Something that an operator has to know or to change.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "SecurityGroupProblem")]
struct ProblemDocument<'a> {
    /// Its kind.
    #[schemars(with = "GroupProblemCode")]
    code: &'static str,
    /// The flow that it is about; `null` where it is none.
    flow: Option<&'a str>,
    /// The line of the policy, from 1; `null` where there is none.
    line: Option<usize>,
    /// The column in characters, from 1; `null` where there is none.
    column: Option<usize>,
    /// What is wrong.
    message: &'a str,
    /// What to do.
    help: &'a str,
}

/// A group that exists, held against the policy.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "CheckedGroup")]
struct CheckedDocument<'a> {
    /// The file with the group.
    file: &'a str,
    /// Its id; `null` if the file does not have it.
    id: Option<&'a str>,
    /// What it opens beyond the policy, by rule.
    opens: Vec<DeviationDocument>,
    /// What the policy needs and the group shuts, by flow; the exit code is 1 if it shuts something.
    shuts: Vec<DeviationDocument>,
    /// How many of its rules name other groups. They are not compared: no host of the data centre is in one.
    other_groups: usize,
}

/// A group that was read from a file, and what it differs in.
pub(crate) type Checked<'a> = (&'a str, &'a GroupExport, &'a Comparison);

impl<'a> SecurityGroupDocument<'a> {
    pub(crate) fn new(list: &GroupRules<'a>, checked: Option<Checked<'a>>) -> Self {
        let group = list.group;
        let reasons = list.reasons();
        let rules = group.rules.iter().map(|derived| {
            let rule = &derived.rule;
            RuleDocument {
                direction: rule.way.word(),
                protocol: rule.protocol.word(),
                port_range: port_range(rule.ports),
                cidr: rule.cidr(),
                policy: rule.permission.word(),
                priority: rule.priority,
                flow: derived.flow,
                flows: derived.flows.clone(),
                inferred: list.is_inferred(derived),
                because: reasons.of(derived),
            }
        });
        let problems = group.problems.iter().map(|problem| {
            let at = problem.span.map(|span| list.evidence.policy.position(span.start));
            ProblemDocument {
                code: problem.code.word(),
                flow: problem.flow.as_deref(),
                line: at.map(|at| at.line),
                column: at.map(|at| at.column),
                message: &problem.message,
                help: &problem.help,
            }
        });
        let check = checked.map(|(file, export, comparison)| CheckedDocument {
            file,
            id: export.id.as_deref(),
            opens: deviations(&comparison.opens, &export.places),
            shuts: deviations(&comparison.shuts, &export.places),
            other_groups: export.other_groups,
        });
        Self {
            version: DocumentVersion,
            policy: &list.policy.name.value.0,
            kind: group.kind.word(),
            scope: group.scope.word(),
            rules: rules.collect(),
            beyond: deviations(&list.comparison.opens, &[]),
            problems: problems.collect(),
            check,
        }
    }
}

fn deviations(deviations: &[Deviation], places: &[usize]) -> Vec<DeviationDocument> {
    let document = |deviation: &Deviation| DeviationDocument {
        direction: deviation.way.word(),
        flow: deviation.flow.clone(),
        rule: deviation.rule.and_then(|number| places.get(number).copied()),
        packets: deviation.boxes.iter().map(BoxDocument::from).collect(),
        example: PacketDocument::from(&deviation.example),
    };
    deviations.iter().map(document).collect()
}
