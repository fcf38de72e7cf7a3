//! `edgeward routes`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::ValueEnum;

use crate::catalog::{Catalog, Element};
use crate::cli::context::{LoadedPolicy, LockArguments, load_catalog, load_policy};
use crate::cli::failure::{Check, Failure};
use crate::cli::render;
use crate::diag::{Problems, Severity, legible};
use crate::host::streams::{self, STREAM};
use crate::intent::{Declared, Intent, Resolved};
use crate::path::{Basis, Exported, Plan, RouteList, Syntax, Unreachable, Widening};
use crate::policy::{self, syntax::Policy};
use crate::site::{Scope, Target};
use crate::source::Spanned;

/// List the routes that core switch, border router, transit and VPC need for a policy
///
/// Every conversation that crosses the leased line needs a route there and one back on each device. The routes are derived
/// from the flows of the policy, and it is proved that none is missing. The optional section `path` of the policy gives
/// next hops and ids. Nothing is asked of the network or the kernel. The formats of devices are configurations to load;
/// `--undo` prints what takes them away again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward routes policy.yaml
  edgeward routes policy.yaml --element vbr --scope broad
  edgeward routes policy.yaml --names 24 --max-entries 48
  edgeward routes policy.yaml --format csv > routes.csv
  edgeward routes policy.yaml --format iproute2 > routes && ip -batch routes
  edgeward routes policy.yaml --format iproute2 --undo | ip -batch -
  ip -j route | edgeward routes policy.yaml --element core-switch --check -")]
pub(crate) struct Arguments {
    /// The policy file; `-` is standard input
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    lock: LockArguments,
    /// Only one device: core-switch, vbr, transit or vpc
    #[arg(long, value_name = "ELEMENT", value_parser = str::parse::<Element>)]
    element: Option<Element>,
    /// `fine` routes what the flows need, `broad` all of `networks.cloud-services`; in place of the policy's `scope`
    #[arg(long, value_name = "SCOPE", value_parser = str::parse::<Scope>)]
    scope: Option<Scope>,
    /// Widen routes to addresses of names to this prefix length, so that they change less often: 8 to 32
    ///
    /// Routes to IPv6 addresses get as many host bits. A route never holds hosts, pods, Services, management or DNS
    /// servers of the policy: there it is narrower.
    #[arg(long, value_name = "PREFIXLEN", value_parser = clap::value_parser!(u8).range(8..=32))]
    names: Option<u8>,
    /// The most routes of a device: prefixes are merged with as few extra addresses as possible
    #[arg(long, value_name = "N", value_parser = parse_entries)]
    max_entries: Option<usize>,
    /// The shape of the list
    #[arg(long, value_enum, default_value_t)]
    format: RoutesFormat,
    /// Print what takes the routes away again; with a format of a device
    #[arg(long)]
    undo: bool,
    /// Hold a table that the device has against what it needs: exit code 1 if a route is missing or leads elsewhere
    ///
    /// The output of `ip -j route`, of `vtysh -c 'show ip route json'`, or of the cloud's DescribeRouteEntryList. Can be
    /// given several times, as for IPv4 and IPv6, or for the pages of a list; `-` is standard input.
    #[arg(long, value_name = "FILE", requires = "element", conflicts_with = "undo")]
    check: Vec<PathBuf>,
}

fn parse_entries(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=100_000).contains(number));
    number.ok_or_else(|| "expected a number from 1 to 100000".to_owned())
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum RoutesFormat {
    /// A table for people
    #[default]
    Text,
    /// For programs
    Json,
    /// For a spreadsheet
    Csv,
    /// A table of GitHub Flavored Markdown, for a ticket
    Markdown,
    /// The core switch, if it is of H3C; from manuals, parsed by no device
    Comware,
    /// The core switch, if it runs FRR: a file for `vtysh -f`, with its part of BGP if the CNI announces pods
    Frr,
    /// The core switch, if it is of Cisco with IOS; from manuals, parsed by no device
    Ios,
    /// The core switch, if it is a Linux router: a file for `ip -batch`
    Iproute2,
    /// The core switch, if it is of Juniper; from manuals, parsed by no device
    Junos,
    /// The core switch, if it is of Cisco with NX-OS; from manuals, parsed by no device
    Nxos,
    /// VBR, CEN, ECR and VPC: resources of the Terraform provider aliyun/alicloud, as JSON
    Terraform,
    /// The core switch, if it is of Huawei; from manuals, parsed by no device
    Vrp,
}

impl RoutesFormat {
    /// The syntax, if it is a device's.
    fn syntax(self) -> Option<Syntax> {
        match self {
            Self::Text | Self::Json | Self::Csv | Self::Markdown | Self::Terraform => None,
            Self::Comware => Some(Syntax::Comware),
            Self::Frr => Some(Syntax::Frr),
            Self::Ios => Some(Syntax::Ios),
            Self::Iproute2 => Some(Syntax::Iproute2),
            Self::Junos => Some(Syntax::Junos),
            Self::Nxos => Some(Syntax::Nxos),
            Self::Vrp => Some(Syntax::Vrp),
        }
    }
}

pub(crate) fn run(arguments: &Arguments, catalog: Option<&Path>) -> Result<(), Failure> {
    let from_stream = arguments.check.iter().chain([&arguments.policy]).filter(|path| *path == Path::new(STREAM));
    if from_stream.count() > 1 {
        return Err(Failure::usage(anyhow!("standard input can be read once: name a file for the other text")));
    }
    if arguments.undo && arguments.format.syntax().is_none() {
        let formats: Vec<&str> = Syntax::ALL.iter().map(|syntax| syntax.word()).collect();
        let devices =
            format!("`--undo` is for the formats of devices; choose one with `--format`: {}", formats.join(", "));
        let terraform = "`--undo` is not for Terraform: `terraform destroy` removes what the file has";
        let is_terraform = arguments.format == RoutesFormat::Terraform;
        return Err(Failure::usage(anyhow!(if is_terraform { terraform.to_owned() } else { devices })));
    }
    let catalog = load_catalog(catalog)?;
    let loaded = load_policy(&arguments.policy, &catalog, Some(Target::IdcGateway), Severity::Warning)?;
    let resolution = arguments.lock.resolution(&arguments.policy, &loaded)?;
    let scope = arguments.scope.unwrap_or(loaded.policy.scope.value);
    let crossing = crossing(&loaded, &catalog)?;
    let site = policy::site(&crossing.0, &catalog, Target::IdcGateway, &mut Problems::default());
    let (policy, intent) = (&loaded.policy, &crossing.1);
    let basis = Basis { policy, site: &site, catalog: &catalog, intent, resolution: &resolution, scope };
    let widening = Widening { names: arguments.names, max_entries: arguments.max_entries };
    let plan = Plan::of(basis, widening).map_err(Failure::usage)?;
    if !plan.tables.is_empty() {
        // A list without the addresses of a name would be followed anyway.
        let unresolved = |missing| arguments.lock.unresolved(&missing, &arguments.policy);
        prove(&plan, &loaded.policy, &crossing.1.bind(&resolution).map_err(unresolved)?)?;
    }
    let list = RouteList {
        policy: &loaded.policy.name.value.0,
        plan: &plan,
        element: arguments.element,
        evidence: loaded.evidence(&catalog),
    };
    if let (Some(element), [_, ..]) = (arguments.element, &*arguments.check) {
        return check(&list, element, arguments, &catalog);
    }
    render::output(&match (arguments.format.syntax(), arguments.format) {
        (Some(syntax), _) => list.device(syntax, arguments.undo).map_err(Failure::usage)?,
        (_, RoutesFormat::Json) => list.json(None).map_err(Failure::system)?,
        (_, RoutesFormat::Csv) => list.csv(),
        (_, RoutesFormat::Markdown) => list.markdown(),
        (_, RoutesFormat::Terraform) => list.terraform(&loaded.policy).map_err(Failure::usage)?,
        (None, _) => list.text(),
    })
}

/// Holds the table that a device has against the one that it needs.
fn check(list: &RouteList<'_>, element: Element, arguments: &Arguments, catalog: &Catalog) -> Result<(), Failure> {
    let Some(table) = list.plan.tables.iter().find(|table| table.element == element) else {
        return Err(Failure::usage(anyhow!(
            "the path of this policy has no `{element}`, so there is nothing to check"
        )));
    };
    let mut exported = Exported::default();
    for file in &arguments.check {
        let source = streams::read(file)?;
        let name = legible(&source.name);
        exported.add(source.text()).map_err(|error| Failure::usage(anyhow!("`{name}`: {error}")))?;
    }
    let comparison = table.compare(&exported, &catalog.elements.health_checks.addresses());
    match arguments.format {
        RoutesFormat::Text => render::output(&list.check_text(element, &comparison))?,
        RoutesFormat::Json => render::output(&list.json(Some(&comparison)).map_err(Failure::system)?)?,
        _ => return Err(Failure::usage(anyhow!("`--check` prints text or JSON: leave out `--format`, or use `json`"))),
    }
    if comparison.is_complete() { Ok(()) } else { Err(Failure::different()) }
}

/// The policy with the fine scope, and what of it crosses the line.
fn crossing(loaded: &LoadedPolicy, catalog: &Catalog) -> Result<(Policy, Intent<Declared>), Failure> {
    let fine = Policy { scope: Spanned::unwritten(Scope::Fine), ..loaded.policy.clone() };
    let mut problems = Problems::default();
    match policy::check(&fine, catalog, Some(Target::IdcGateway), &mut problems) {
        Some(intent) => Ok((fine, intent)),
        None => Err(Failure::invalid(loaded.source.clone(), problems.into_sorted())),
    }
}

/// Refuses a plan that leaves a conversation without a way.
fn prove(plan: &Plan<'_>, policy: &Policy, intent: &Intent<Resolved>) -> Result<(), Failure> {
    let missing = plan.unreachable(policy, intent);
    let Some(Unreachable { element, direction, flow, destinations }) = missing.first() else { return Ok(()) };
    let message = format!(
        "the routes are wrong, and nothing is printed: on `{element}`, {direction}, `{flow}` has no way to {destinations}; \
         this is a mistake of edgeward, please report it with the policy"
    );
    Err(Failure::refused(Check::Proof, anyhow!(message)))
}
