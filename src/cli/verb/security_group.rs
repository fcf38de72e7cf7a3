//! `edgeward security-group`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::ValueEnum;

use crate::catalog::Catalog;
use crate::cli::context::{LoadedPolicy, LockArguments, check_answers, load_catalog, load_policy};
use crate::cli::document::SecurityGroupDocument;
use crate::cli::failure::{Check, Failure};
use crate::cli::render;
use crate::diag::{Problems, Severity, shown};
use crate::host::streams;
use crate::intent::{Declared, Intent};
use crate::policy::path::GroupType;
use crate::policy::{self, syntax::Policy};
use crate::security_group::{
    Basis, Comparison, GroupExport, GroupRules, Needed, SecurityGroup, addresses_of_the_vpc, as_the_vpc_sees,
};
use crate::site::{Scope, Target};
use crate::source::Spanned;

/// List the rules that the security group of the VPC needs for a policy, or compare them with a group that exists
///
/// The rules come from the flows of the policy as the VPC sees them: what edge hosts take from it is egress, what they send
/// to it is ingress. It is proved that they admit what the hosts' rules permit; what they open beyond, because the API has
/// no words for it, is listed.
///
/// `--check` reads what `aliyun ecs DescribeSecurityGroupAttribute` prints of a group, and lists what the group opens beyond
/// the policy and what it shuts. The exit code is 1 if it shuts something that the policy needs. Nothing is asked of the
/// network or the kernel.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward security-group policy.yaml
  edgeward security-group policy.yaml --format terraform > security-group.tf.json
  edgeward security-group policy.yaml --format aliyun-cli > security-group.sh
  edgeward security-group policy.yaml --check security-group.json")]
pub(crate) struct Arguments {
    /// The policy file; `-` is standard input
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    lock: LockArguments,
    /// The type of the group: `basic` lets everything out; in place of `path.vpc.security-group-type`
    #[arg(long = "type", value_name = "TYPE", value_parser = str::parse::<GroupType>)]
    kind: Option<GroupType>,
    /// `fine` permits what the flows need, `broad` everything to and from the data centre; in place of the policy's `scope`
    #[arg(long, value_name = "SCOPE", value_parser = str::parse::<Scope>)]
    scope: Option<Scope>,
    /// A group that exists, as JSON of `DescribeSecurityGroupAttribute`; `-` is standard input
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// The shape of the list; with `--check` text or json
    #[arg(long, value_enum, default_value_t)]
    format: GroupFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum GroupFormat {
    /// A table for people
    #[default]
    Text,
    /// For programs
    Json,
    /// For a spreadsheet
    Csv,
    /// A table of GitHub Flavored Markdown, for a ticket
    Markdown,
    /// Resources of Terraform's provider `aliyun/alicloud`, as JSON
    Terraform,
    /// A shell script with commands of the Alibaba Cloud CLI
    AliyunCli,
}

pub(crate) fn run(arguments: &Arguments, catalog: Option<&Path>) -> Result<(), Failure> {
    if arguments.check.is_some() && !matches!(arguments.format, GroupFormat::Text | GroupFormat::Json) {
        return Err(Failure::usage(anyhow!("`--check` prints text or JSON: use `--format text` or `--format json`")));
    }
    let catalog = load_catalog(catalog)?;
    let loaded = load_policy(&arguments.policy, &catalog, Some(Target::IdcGateway), Severity::Warning)?;
    let resolution = arguments.lock.resolution(&arguments.policy, &loaded)?;
    check_answers(&loaded, &resolution)?;
    let scope = arguments.scope.unwrap_or(loaded.policy.scope.value);
    let (policy, intent) = seen(&loaded, &catalog, scope)?;
    let site = policy::site(&policy, &catalog, Target::IdcGateway, &mut Problems::default());
    let kind = arguments.kind.unwrap_or(policy.path.vpc.security_group_type);
    let vpc = addresses_of_the_vpc(&policy);
    let (policy, intent) = (&policy, &intent);
    let basis = Basis { policy, site: &site, catalog: &catalog, intent, resolution: &resolution, scope, kind };
    let group = SecurityGroup::of(basis, &vpc);
    let found = arguments.check.as_deref().map(read).transpose()?;
    let (mut comparison, mut checked) = (Comparison::default(), Comparison::default());
    // Where nothing is needed, nothing is compared: hosts do not reach the VPC.
    if !group.is_elsewhere() {
        // A list without the addresses of a name would be followed anyway.
        let unresolved = |missing| arguments.lock.unresolved(&missing, &arguments.policy);
        let resolved = intent.bind(&resolution).map_err(unresolved)?;
        let needed = Needed::of(&resolved, &vpc);
        comparison = needed.held_against(&group);
        prove(&comparison)?;
        checked = found.as_ref().map(|(_, found)| needed.checked(&found.rules, &group)).unwrap_or_default();
    }
    let evidence = loaded.evidence(&catalog);
    let list = GroupRules { policy, vpc: &vpc, group: &group, comparison: &comparison, evidence };
    let found = found.as_ref().map(|(name, found)| (name.as_str(), found, &checked));
    // What machines read has no place for them.
    if matches!(arguments.format, GroupFormat::Csv | GroupFormat::Terraform | GroupFormat::AliyunCli) {
        list.warnings().iter().for_each(|warning| render::warning(warning));
    }
    render::output(&match (arguments.format, found) {
        (GroupFormat::Json, _) => render::document(&SecurityGroupDocument::new(&list, found))?,
        (_, Some((name, found, checked))) => list.checked(name, found, checked),
        (GroupFormat::Text, None) => list.text(),
        (GroupFormat::Csv, None) => list.csv(),
        (GroupFormat::Markdown, None) => list.markdown(),
        (GroupFormat::Terraform, None) => list.terraform().map_err(Failure::system)?,
        (GroupFormat::AliyunCli, None) => list.aliyun_cli(),
    })?;
    if checked.shuts.is_empty() { Ok(()) } else { Err(Failure::different()) }
}

/// The policy with a scope, and what it means as the VPC sees it.
fn seen(loaded: &LoadedPolicy, catalog: &Catalog, scope: Scope) -> Result<(Policy, Intent<Declared>), Failure> {
    let policy = Policy { scope: Spanned { value: scope, ..loaded.policy.scope }, ..loaded.policy.clone() };
    let mut problems = Problems::default();
    match policy::check(&policy, catalog, Some(Target::IdcGateway), &mut problems) {
        Some(intent) => Ok((policy, as_the_vpc_sees(intent))),
        None => Err(Failure::invalid(loaded.source.clone(), problems.into_sorted())),
    }
}

/// A group that exists, with the name of its file.
fn read(path: &Path) -> Result<(String, GroupExport), Failure> {
    let source = streams::read(path)?;
    let error =
        |error| Failure::usage(anyhow::Error::from(error).context(format!("`{}` cannot be compared", shown(path))));
    let export = GroupExport::parse(source.text()).map_err(error)?;
    Ok((source.name, export))
}

/// Refuses rules that shut a conversation of the policy.
fn prove(comparison: &Comparison) -> Result<(), Failure> {
    let Some(shut) = comparison.shuts.first() else { return Ok(()) };
    let (flow, packet) = (shut.flow.as_deref().unwrap_or("-"), &shut.example);
    let message = format!(
        "the rules are wrong, and nothing is printed: `{flow}` needs {packet}, which they shut; this is a mistake of \
         edgeward, please report it with the policy"
    );
    Err(Failure::refused(Check::Proof, anyhow!(message)))
}
