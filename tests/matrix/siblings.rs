//! What one host of a policy may send to another host of the same policy, that one takes, and the other way round.
//!
//! A flow with hosts at both ends needs a row in each direction. One that has only one works in `audit`, where nothing
//! is denied, and fails in `enforce`. Every packet between two hosts is evaluated twice with the same ruleset: as it
//! leaves the first host, and as it reaches the second one.

use super::*;

/// The host of the API server, another one of the control plane, and two others; of each family.
const ROLES: [[&str; 4]; 2] = [
    ["10.1.0.100", "10.3.7.20", "10.1.2.3", "10.3.7.200"],
    ["2001:db8:a::100", "2001:db8:a:1::7", "2001:db8:a::23", "2001:db8:a:ffff::1"],
];

/// Every kind of site that has hosts of its own, as the catalog offers them.
fn sites() -> Vec<Site> {
    let mut sites = Vec::new();
    for row in &CATALOG.cnis {
        let registered = row.cluster == ClusterKind::Registered;
        for connection in &row.connections.value {
            let public = *connection == Connection::Public;
            let site = Site { registered, public, cni: &row.id.value, ..Site::new(region("cn-hangzhou")) };
            for site in times(site) {
                let variants = [(true, false), (false, true)];
                sites.extend(variants.map(|(narrow, own_ntp)| Site { narrow, own_ntp, agent: registered, ..site }));
            }
        }
    }
    sites
}

/// Every port at which a ruleset may change its mind, and one before and after it.
fn ports(ruleset: &Ruleset) -> BTreeSet<u16> {
    let mut ports = BTreeSet::from([1, 22, u16::MAX]);
    let mut add = |(low, high): (u16, u16)| {
        ports.extend([low.saturating_sub(1).max(1), low, high, high.saturating_add(1)]);
    };
    for rule in ruleset.chains.iter().flat_map(|chain| &chain.rules) {
        if let Action::ByPort { chains, .. } = &rule.action {
            chains.iter().for_each(|(range, _)| add(*range));
        }
        for condition in &rule.matches {
            if let Match::Port(_, _, ports) = condition {
                ports.iter().for_each(&mut add);
            }
        }
    }
    ports
}

/// Compares both ends of every packet; returns what differs, and the flows that were met at both.
fn one_sided(site: &Site) -> (Vec<String>, BTreeSet<String>) {
    let ruleset = compile(site, &Model::new(*site).names).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let ported = ports(&ruleset).into_iter().flat_map(|port| [tcp(port), udp(port)]);
    let others = (0..=255).flat_map(|number| [Payload::Icmp { kind: number }, Payload::Other(number)]);
    let is_other = |payload: &Payload| !matches!(payload, Payload::Other(1 | 6 | 17 | 58));
    let payloads: Vec<Payload> = ported.chain(others.filter(is_other)).collect();
    let (mut wrong, mut met) = (Vec::new(), BTreeSet::new());
    for family in ROLES.map(|family| family.map(|address| address.parse::<IpAddr>().unwrap())) {
        let pairs = family.iter().flat_map(|from| family.iter().map(move |to| (*from, *to)));
        for (source, destination) in pairs.filter(|(from, to)| from != to) {
            for &payload in &payloads {
                let packet = |hook| {
                    let state = CtState::New;
                    Packet { hook, interface: Interface::default(), source, destination, payload, state }
                };
                let [sent, taken] = [Hook::Output, Hook::Input].map(|hook| ruleset.trace(&packet(hook), |_, _| ()));
                let is_accepted = |verdict: Verdict| verdict == Verdict::Accept;
                let [leaves, arrives] = [&sent, &taken].map(|trace| is_accepted(trace.disposition.verdict));
                if leaves != arrives {
                    let said = if leaves { "is sent, and not taken" } else { "would be taken, and is not sent" };
                    wrong.push(format!("{payload:?} from {source} to {destination} {said}"));
                }
                if leaves && arrives {
                    met.extend(sent.rule.and_then(|rule| rule.label.as_ref()).map(|label| label.comment().to_owned()));
                }
            }
        }
    }
    (wrong, met)
}

#[test]
fn what_a_host_may_send_to_its_siblings_they_take() {
    let mut met: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for site in sites() {
        let (found, flows) = one_sided(&site);
        met.entry(site.cni).or_default().extend(flows);
        if !found.is_empty() {
            wrong.push(format!("{} packets; the first: {}\n{}", found.len(), found[0], site.policy()));
        }
    }
    none(&wrong);
    // Where nothing is ever permitted, both ends agree as well.
    for (cni, flows) in [
        ("flannel", "flannel-vxlan kubelet node-exporter"),
        ("flannel-vxlan", "flannel-vxlan api-server api-servers kubelet etcd"),
        ("calico-ipip", "calico-ipip api-server api-servers kubelet etcd typha"),
        ("cilium-vxlan", "cilium-vxlan api-server api-servers kubelet etcd cilium-health"),
        ("calico-bgp", "bgp api-server api-servers kubelet etcd typha"),
        ("cilium-bgp", "bgp api-server api-servers kubelet etcd cilium-health"),
    ] {
        for flow in flows.split(' ') {
            assert!(met[cni].contains(flow), "no packet between two hosts of `{cni}` met `{flow}`: {:?}", met[cni]);
        }
    }
    let cnis: BTreeSet<&str> = CATALOG.cni_ids().into_iter().collect();
    assert_eq!(met.keys().copied().collect::<BTreeSet<_>>(), cnis);
}
