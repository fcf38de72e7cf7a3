//! What the fields of `path` are that placeholders and variables name.

const FIELDS: &[(&str, &str)] = &[
    ("path.core-switch.asn", "the autonomous system of the core switch"),
    ("path.core-switch.next-hop", "the IPv4 address that the core switch sends packets for the cloud to"),
    ("path.core-switch.next-hop-v6", "the IPv6 address that the core switch sends packets for the cloud to"),
    ("path.hosts.asn", "the autonomous system of the hosts"),
    ("path.transit.id", "the ECR, the CEN or the VPN gateway"),
    ("path.transit.route-table", "the route table of the transit router"),
    ("path.transit.vbr-attachment", "the attachment of the VBR to the transit router"),
    ("path.transit.vpc-association", "the association of the ECR with the VPC"),
    ("path.transit.vpc-attachment", "the attachment of the VPC to the transit router"),
    ("path.vbr.asn", "the autonomous system of the VBR"),
    ("path.vbr.route-table", "the route table of the VBR"),
    ("path.vpc.id", "the VPC"),
    ("path.vpc.route-table", "the route table of the VPC"),
];

/// A field of the policy, and what it is.
pub(super) fn described(field: &str) -> String {
    let known = FIELDS.iter().find(|(name, _)| *name == field);
    known.map_or_else(|| field.to_owned(), |(name, meaning)| format!("{name} ({meaning})"))
}
