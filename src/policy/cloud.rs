//! Where a policy reaches the cloud's services: at the prefixes of its region, at those of `overrides`, or inside the
//! VPC.

use super::syntax::Policy;
use super::zones::{prefixes, zone, zone_field};
use crate::catalog::{Catalog, EndKind, RegionPrefixes, RegionRow, ServiceRow, Zone};
use crate::diag::{Code, Problems};
use crate::intent::{Declared, Intent, Origin};
use crate::net::{Prefix, PrefixSet, Special};
use crate::resolution::{Distrust, Resolution, Trust};
use crate::site::{CloudAccess, ClusterKind, Connection, Scope, Site};
use crate::source::Spanned;

/// Where the prefixes of a part of the cloud come from.
pub(super) enum CloudPrefixes<'a> {
    /// That part is reached inside the VPC: it has none.
    InsideVpc,
    /// The policy lists them in `overrides`.
    Policy(&'a [Spanned<Prefix>]),
    /// The catalog has them.
    Catalog(&'a [Prefix], Origin),
    /// Neither has them.
    Missing,
}

/// The prefixes at which a policy reaches a part of the cloud.
pub(super) fn region_prefixes<'a>(
    policy: &'a Policy,
    region: &'a RegionRow,
    which: RegionPrefixes,
) -> CloudPrefixes<'a> {
    if policy.is_inside_vpc() {
        return CloudPrefixes::InsideVpc;
    }
    let service = |row: &'a Option<ServiceRow>| row.as_ref().map(|row| (&row.prefixes, &row.source, &row.retrieved));
    let (overrides, row) = match which {
        RegionPrefixes::Log => (&None, service(&region.log)),
        RegionPrefixes::Monitoring => (&None, service(&region.monitoring)),
        RegionPrefixes::Registry => (&policy.overrides.registry, service(&region.registry)),
        RegionPrefixes::Oss => {
            let row = region.oss(policy.overrides.oss_network).map(|row| (&row.vips, &row.source, &row.retrieved));
            (&policy.overrides.oss, row)
        }
    };
    match (overrides, row) {
        (Some(listed), _) => CloudPrefixes::Policy(&listed.value),
        (None, Some((prefixes, source, retrieved))) => {
            let (source, retrieved) = (source.value.clone(), retrieved.to_string());
            CloudPrefixes::Catalog(prefixes, Origin::Catalog { source, section: None, retrieved, inferred: false })
        }
        (None, None) => CloudPrefixes::Missing,
    }
}

impl Policy {
    /// Whether the cloud's services are reached at endpoints inside the VPC.
    pub(super) fn is_inside_vpc(&self) -> bool {
        self.connection.value == Connection::ExpressConnect && self.cloud_access.value == CloudAccess::PrivateLink
    }

    /// The prefixes of the cloud's services: over a leased line the shared address space (RFC 6598), if none are given.
    pub(super) fn cloud_services(&self) -> Vec<Spanned<Prefix>> {
        let is_line = self.connection.value == Connection::ExpressConnect && !self.is_inside_vpc();
        match &self.networks.value.cloud_services {
            Some(listed) => listed.value.clone(),
            None if is_line => shared().prefixes().map(Spanned::unwritten).collect(),
            None => Vec::new(),
        }
    }
}

/// The shared address space.
pub(super) fn shared() -> PrefixSet {
    Special::addresses(|special| special == Special::Shared)
}

const PRIVATE_LINK: &str = "`cloud-access: private-link`";

/// Checks the fields about the cloud's services against each other.
pub(super) fn check_fields(policy: &Policy, problems: &mut Problems) {
    let overrides = [("registry", &policy.overrides.registry), ("oss", &policy.overrides.oss)];
    for (field, list) in overrides.into_iter().filter_map(|(field, list)| Some((field, list.as_ref()?))) {
        if list.value.is_empty() {
            let message = format!("`overrides.{field}` is empty, and cannot take the catalog's prefixes away");
            let help = format!(
                "list prefixes, or remove it; a site that reaches registry and OSS by PrivateLink writes {PRIVATE_LINK}"
            );
            problems.push_with_help(Code::EmptyList, list.span, message, help);
        } else if policy.is_inside_vpc() {
            let message = format!("`overrides.{field}` has no effect with {PRIVATE_LINK}, which opens no prefixes");
            let help = "remove one of the two; a row of `allow` permits prefixes of your own";
            problems.push_with_help(Code::UnusedField, list.span, message, help);
        }
    }
    let access = policy.cloud_access;
    if access.value == CloudAccess::PrivateLink && policy.connection.value == Connection::Public {
        let message = format!("{PRIVATE_LINK} is used over `{}` only", Connection::ExpressConnect);
        let help = "remove it, or correct `connection`: over the public network no prefixes of the catalog are opened";
        problems.push_with_help(Code::UnusedField, access.span, message, help);
    }
    let services = policy.networks.value.zone(Zone::CloudServices);
    if let Some(first) = services.first().filter(|_| policy.is_inside_vpc()) {
        let message = format!("`networks.cloud-services` has no effect with {PRIVATE_LINK}");
        let help = "remove one of the two: the cloud's names answer inside `networks.vpc`";
        problems.push_with_help(Code::UnusedField, first.span, message, help);
    }
}

/// Prefixes at which the flows of a policy reach the cloud.
struct Reached<'a> {
    which: RegionPrefixes,
    prefixes: Vec<Spanned<Prefix>>,
    /// The region that the catalog has them for; `None` if they are those of `overrides`.
    region: Option<&'a str>,
}

impl Reached<'_> {
    /// One of the prefixes, for messages.
    fn describe(&self, prefix: Prefix) -> String {
        match self.region {
            Some(region) => format!("`{prefix}`, one of the {} of `{region}`", self.which.plural()),
            None => format!("`{prefix}` of `overrides.{}`", self.which),
        }
    }
}

/// The prefixes of the region that the flows of a site open.
fn reached<'a>(policy: &Policy, site: &Site, region: &'a RegionRow, catalog: &Catalog) -> Vec<Reached<'a>> {
    let is_used = |which: &&RegionPrefixes| {
        let mut ends = catalog.flows_of(site).flat_map(|row| row.local.iter().chain(&row.peers));
        ends.any(|end| end.kind == EndKind::Region(**which) && end.when.holds(site))
    };
    let used = RegionPrefixes::ALL.iter().filter(is_used);
    let reached = used.filter_map(|&which| match region_prefixes(policy, region, which) {
        CloudPrefixes::Policy(listed) => Some(Reached { which, prefixes: listed.to_vec(), region: None }),
        CloudPrefixes::Catalog(listed, _) => {
            let prefixes = listed.iter().copied().map(Spanned::unwritten).collect();
            Some(Reached { which, prefixes, region: Some(&region.id.value) })
        }
        CloudPrefixes::InsideVpc | CloudPrefixes::Missing => None,
    });
    reached.collect()
}

/// Checks the zones of a policy against the prefixes at which it reaches the cloud.
pub(super) fn check(policy: &Policy, site: &Site, region: &RegionRow, catalog: &Catalog, problems: &mut Problems) {
    let reached = reached(policy, site, region, catalog);
    check_overlap(policy, site, &reached, problems);
    if site.connection == Connection::ExpressConnect && !policy.is_inside_vpc() {
        check_services(policy, site, &reached, problems);
    }
}

const OVERLAP_HELP: &str = "correct the zone; a site that uses these addresses itself reaches the cloud by PrivateLink: \
                            `cloud-access: private-link`";

/// The prefixes of the site itself and of its VPC.
fn own_prefixes(policy: &Policy) -> Vec<(Zone, Spanned<Prefix>)> {
    let zones = [Zone::Hosts, Zone::Pods, Zone::Services, Zone::Vpc, Zone::Management];
    let prefixes = zones.into_iter().flat_map(|own| zone(policy, own).into_iter().map(move |prefix| (own, prefix)));
    // SSH from everywhere does not say that everything is the site's.
    prefixes.filter(|(own, prefix)| *own != Zone::Management || prefix.value.is_of_a_site()).collect()
}

/// Refuses zones that overlap the cloud's prefixes: what is open to a zone would be open to the cloud, and a gateway would
/// take the cloud for a part of the data centre.
fn check_overlap(policy: &Policy, site: &Site, reached: &[Reached<'_>], problems: &mut Problems) {
    // What the policy lists has checks of its own.
    let default = policy.cloud_services().into_iter().find(|prefix| !prefix.is_written());
    let default = default.filter(|_| !reached.is_empty() || site.scope == Scope::Broad);
    for (own, prefix) in own_prefixes(policy) {
        let set = PrefixSet::from_iter([prefix.value]);
        let meets = |other: Prefix| set.overlaps(&PrefixSet::from_iter([other]));
        // Endpoints inside the VPC may be listed in `overrides`.
        let others = reached.iter().filter(|reached| own != Zone::Vpc || reached.region.is_some());
        let mut twins = others.flat_map(|reached| reached.prefixes.iter().map(move |one| (one.value, reached)));
        let default = default.filter(|_| matches!(own, Zone::Hosts | Zone::Pods | Zone::Services));
        let (twin, help) = match (twins.find(|(one, _)| meets(*one)), default.filter(|one| meets(one.value))) {
            (Some((one, reached)), _) => {
                let help = if reached.region.is_some() { OVERLAP_HELP } else { "correct one of the two" };
                (reached.describe(one), help)
            }
            (None, Some(services)) => (
                format!("`{}`, the default of `networks.cloud-services`", services.value),
                "write the prefixes of the region's services into `networks.cloud-services`; a site that uses all of \
                 these addresses itself reaches the cloud by PrivateLink: `cloud-access: private-link`",
            ),
            (None, None) => continue,
        };
        let message = format!("`{}` of `{}` overlaps {twin}", prefix.value, zone_field(own));
        problems.push_with_help(Code::CatalogOverlap, prefix.span, message, help);
    }
}

/// Checks that answers of the region's names can be accepted.
fn check_services(policy: &Policy, site: &Site, reached: &[Reached<'_>], problems: &mut Problems) {
    let services = policy.cloud_services();
    let inside = prefixes(&services).union(&prefixes(&policy.networks.value.vpc));
    let place = policy.networks.value.cloud_services.as_ref().map_or(policy.networks.span, |listed| listed.span);
    let mut is_outside = false;
    for reached in reached {
        let outside = |prefix: &&Spanned<Prefix>| !PrefixSet::from_iter([prefix.value]).is_subset(&inside);
        let outside: Vec<&Spanned<Prefix>> = reached.prefixes.iter().filter(outside).collect();
        let Some(first) = outside.first() else { continue };
        is_outside = true;
        let (first, more) = (reached.describe(first.value), and_more(outside.len()));
        let message = format!("outside `networks.cloud-services` and `networks.vpc`: {first}{more}");
        let help = "add its prefixes to `networks.cloud-services`: answers outside of it are refused, and `edgeward \
                    routes` has no route for them";
        problems.push_with_help(Code::OutsideCloudServices, place, message, help);
    }
    let uses_cloud = site.cluster == ClusterKind::AckEdge || site.agent;
    if uses_cloud && services.is_empty() && !is_outside {
        let message = "`networks.cloud-services` is empty: the cloud's internal names are accepted only inside the VPC";
        let help = format!("remove the line for `[{}]`, or write the prefixes of your region", shared());
        problems.push_with_help(Code::NoCloudServices, place, message, help);
    }
}

/// Refuses answers in a lockfile that the policy must not open, though a server gave them once.
pub fn check_answers(
    policy: &Policy,
    intent: &Intent<Declared>,
    resolution: &Resolution,
    trust: &Trust,
    problems: &mut Problems,
) {
    let mut outside = Vec::new();
    let own: Vec<(Zone, Spanned<Prefix>)> =
        own_prefixes(policy).into_iter().filter(|(own, _)| *own != Zone::Vpc).collect();
    let site: PrefixSet = own.iter().map(|(_, prefix)| prefix.value).collect();
    let vpc = prefixes(&policy.networks.value.vpc);
    for (name, flow) in intent.names_of_the_catalog() {
        for address in resolution.addresses(name) {
            let answer = || format!("`{address}`, which the lockfile has for `{name}` of the flow `{flow}`");
            if trust.distrusts(name, address) == Some(Distrust::OutsideVpc) {
                outside.push(answer());
            } else if site.contains(address) && !trust.allow_private.contains(name) {
                // Operators may come from where an NTP server is, and from the subnet of the endpoints.
                let is_of_cloud = trust.is_internal(name) && !vpc.contains(address);
                let holds = |(own, prefix): &&(Zone, Spanned<Prefix>)| {
                    prefix.value.net().contains(&address) && (*own != Zone::Management || is_of_cloud)
                };
                let Some((own, prefix)) = own.iter().find(holds) else { continue };
                let message = format!("`{}` of `{}` overlaps {}", prefix.value, zone_field(*own), answer());
                problems.push_with_help(Code::CatalogOverlap, prefix.span, message, OVERLAP_HELP);
            }
        }
    }
    if let Some(first) = outside.first() {
        let message = format!("outside `networks.vpc`: {first}{}", and_more(outside.len()));
        let help = "`edgeward resolve` drops it; if that gives no other address, the DNS server does not know the \
                    endpoints inside the VPC";
        problems.push_with_help(Code::AnswerOutsideVpc, policy.cloud_access.span, message, help);
    }
}

/// How many there are after the first.
fn and_more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}
