//! What FRR on the core switch exchanges over BGP: pods from the hosts, hosts and pods to the virtual border router, and the
//! cloud's prefixes from it. Everything else is filtered, in both directions.

use super::{Slot, Statement};
use crate::net::{Family, Prefix};
use crate::path::bgp::{Accepted, Bgp};
use crate::wording::count;

/// What a core switch is configured with.
pub(super) struct Exchange<'a> {
    /// The name of the policy, which prefix lists and groups of neighbours have in their names.
    policy: &'a str,
    bgp: &'a Bgp,
    sides: Vec<Side>,
}

/// The part of one address family.
struct Side {
    family: Family,
    /// Where hosts open sessions from.
    hosts: Vec<Prefix>,
    /// What they announce.
    pods: Vec<Accepted>,
    /// What the virtual border router announces.
    cloud: Vec<Accepted>,
    /// What is announced to it.
    site: Vec<Accepted>,
    /// Its address.
    vbr: Option<Slot>,
}

/// A group of neighbours.
struct Group {
    name: String,
    /// Their autonomous system.
    asn: Slot,
    /// What is accepted from them, and announced to them: the last words of the names of prefix lists.
    accepted: &'static str,
    announced: &'static str,
    /// How many prefixes one of them may announce, if there is a bound.
    max_prefixes: Option<u32>,
}

const POD_LIST: &str = "pod-network";
const CLOUD_LIST: &str = "cloud";
const SITE_LIST: &str = "site";

/// Words in the names of groups.
const HOSTS: &str = "hosts";
const VBR: &str = "vbr";

impl<'a> Exchange<'a> {
    /// What the routes of the core switch are exchanged by in addition.
    pub(super) fn new(policy: &'a str, bgp: &'a Bgp, routes: &[Statement]) -> Self {
        let side = |family: Family| {
            let of = |list: &[Accepted]| {
                let all = list.iter().copied().filter(|accepted| accepted.prefix.family() == family);
                all.collect::<Vec<_>>()
            };
            let router = bgp.vbr.filter(|address| Family::of(*address) == family);
            let router = router.map(|address| Slot::Known(address.to_string()));
            let up: Vec<&Statement> = routes.iter().filter(|route| route.family() == family).collect();
            let cloud =
                up.iter().map(|route| Accepted { prefix: route.prefix, max_length: route.net().max_prefix_len() });
            Side {
                family,
                hosts: bgp.hosts.only(family).prefixes().collect(),
                pods: of(&bgp.from_hosts),
                cloud: cloud.collect(),
                site: of(&bgp.to_vbr),
                // The session is with the router, regardless of where the static routes lead.
                vbr: up.first().map(|route| router.clone().unwrap_or_else(|| route.hop.clone())),
            }
        };
        let sides = Family::BOTH.map(side).into_iter().filter(|side| !side.pods.is_empty() || side.vbr.is_some());
        Self { policy, bgp, sides: sides.collect() }
    }

    /// The lines that set it up. Sessions begin with the last of them, when the filters are there.
    pub(super) fn add(&self) -> String {
        let mut lines: Vec<String> = self.sides.iter().flat_map(|side| self.lists(side)).collect();
        lines.push(format!("router bgp {}", self.own_asn()));
        for side in &self.sides {
            lines.extend(self.groups(side).map(|group| format!(" neighbor {} peer-group", group.name)));
        }
        for side in &self.sides {
            lines.push(format!(" address-family {} unicast", word(side.family)));
            lines.extend(self.filters(side).iter().map(|line| format!("  {line}")));
            // Neighbours have IPv4 unless they are told otherwise.
            let others = self.sides.iter().filter(|other| side.family == Family::V4 && other.family == Family::V6);
            let without = others.flat_map(|other| self.groups(other));
            lines.extend(without.map(|group| format!("  no neighbor {} activate", group.name)));
            lines.push(" exit-address-family".to_owned());
        }
        for side in &self.sides {
            let system = |Group { name, asn, .. }| format!(" neighbor {name} remote-as {asn}");
            lines.extend(self.groups(side).map(system));
            lines.extend(self.members(side).iter().map(|line| format!(" {line}")));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The lines that take it away.
    pub(super) fn remove(&self) -> String {
        let mut lines = vec![format!("router bgp {}", self.own_asn())];
        for side in &self.sides {
            lines.extend(self.members(side).iter().rev().map(|line| format!(" no {line}")));
            lines.extend(self.groups(side).map(|group| format!(" no neighbor {} peer-group", group.name)));
            lines.push(format!(" address-family {} unicast", word(side.family)));
            lines.extend(networks(side).map(|line| format!("  no {line}")));
            lines.push(" exit-address-family".to_owned());
        }
        for side in &self.sides {
            let used = side.lists().into_iter().filter(|(_, list)| !list.is_empty());
            lines.extend(used.map(|(what, _)| format!("no {} prefix-list {}", ip(side.family), self.name(what))));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// What an operator has to know.
    pub(super) fn notes(&self) -> Vec<String> {
        let most = count(self.bgp.max_prefixes as usize, "prefix");
        let peers: Vec<String> = self.bgp.peers.prefixes().map(|prefix| prefix.to_string()).collect();
        let mut notes = vec![
            format!(
                "The hosts open sessions with {}: these must be addresses of this switch. A host that announces more \
                 than {most} is disconnected. FRR takes 100 such neighbours, unless `bgp listen limit` says otherwise.",
                peers.join(", ")
            ),
            format!("The VBR takes {most}, and drops those beyond: with more hosts, aggregate those of the pods."),
        ];
        if self.sides.iter().any(|side| side.vbr.is_some()) {
            notes.push(
                "What `network` names is announced to the VBR if this switch has a route to exactly it. A static route is \
                 preferred to the same one from the VBR."
                    .to_owned(),
            );
        }
        notes
    }

    fn name(&self, what: &str) -> String {
        format!("edgeward-{}-{what}", self.policy)
    }

    fn own_asn(&self) -> Slot {
        number(self.bgp.asn, "path.core-switch.asn")
    }

    fn group_name(&self, side: &Side, of: &str) -> String {
        self.name(&format!("{of}{}", if side.family == Family::V4 { "" } else { "-v6" }))
    }

    /// The groups of neighbours: hosts that announce pods, and the virtual border router.
    fn groups(&self, side: &Side) -> impl Iterator<Item = Group> + use<> {
        let hosts = (!side.pods.is_empty()).then(|| Group {
            name: self.group_name(side, HOSTS),
            asn: number(self.bgp.hosts_asn, "path.hosts.asn"),
            accepted: POD_LIST,
            announced: POD_LIST,
            max_prefixes: Some(self.bgp.max_prefixes),
        });
        let vbr = side.vbr.as_ref().map(|_| Group {
            name: self.group_name(side, VBR),
            asn: number(self.bgp.vbr_asn, "path.vbr.asn"),
            accepted: CLOUD_LIST,
            announced: SITE_LIST,
            max_prefixes: None,
        });
        hosts.into_iter().chain(vbr)
    }

    /// The prefix lists. What is not in a list is denied.
    fn lists(&self, side: &Side) -> Vec<String> {
        let mut lines = Vec::new();
        for (what, list) in side.lists() {
            for (at, Accepted { prefix, max_length }) in list.iter().enumerate() {
                let net = prefix.net();
                let longer = if *max_length > net.prefix_len() { format!(" le {max_length}") } else { String::new() };
                let (ip, name, number) = (ip(side.family), self.name(what), 5 * (at + 1));
                lines.push(format!("{ip} prefix-list {name} seq {number} permit {net}{longer}"));
            }
        }
        lines
    }

    fn filters(&self, side: &Side) -> Vec<String> {
        let mut lines: Vec<String> = networks(side).collect();
        for Group { name, accepted, announced, max_prefixes, .. } in self.groups(side) {
            lines.push(format!("neighbor {name} activate"));
            lines.push(format!("neighbor {name} prefix-list {} in", self.name(accepted)));
            lines.push(format!("neighbor {name} prefix-list {} out", self.name(announced)));
            lines.extend(max_prefixes.map(|most| format!("neighbor {name} maximum-prefix {most}")));
        }
        lines
    }

    /// The neighbours of the groups.
    fn members(&self, side: &Side) -> Vec<String> {
        let (hosts, vbr) = (self.group_name(side, HOSTS), self.group_name(side, VBR));
        let mut lines = Vec::new();
        if !side.pods.is_empty() {
            let range = |prefix: &Prefix| format!("bgp listen range {} peer-group {hosts}", prefix.net());
            lines.extend(side.hosts.iter().map(range));
        }
        lines.extend(side.vbr.iter().map(|address| format!("neighbor {address} peer-group {vbr}")));
        lines
    }
}

impl Side {
    /// The prefix lists, by the last words of their names.
    fn lists(&self) -> [(&'static str, &[Accepted]); 3] {
        [(POD_LIST, &self.pods), (CLOUD_LIST, &self.cloud), (SITE_LIST, &self.site)]
    }
}

/// The prefixes of hosts, which the core switch announces itself.
fn networks(side: &Side) -> impl Iterator<Item = String> {
    let own = side.vbr.iter().flat_map(|_| &side.hosts);
    own.map(|prefix| format!("network {}", prefix.net()))
}

fn number(asn: Option<u32>, field: &'static str) -> Slot {
    asn.map_or(Slot::Missing(field), |asn| Slot::Known(asn.to_string()))
}

fn ip(family: Family) -> &'static str {
    if family == Family::V4 { "ip" } else { "ipv6" }
}

fn word(family: Family) -> &'static str {
    if family == Family::V4 { "ipv4" } else { "ipv6" }
}
