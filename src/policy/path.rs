//! The section `path` of the policy file: the devices between the data centre and the cloud, by their ids and addresses.

use std::net::IpAddr;

use crate::diag::Code;
use crate::source::Spanned;
use crate::yaml::{number, record, scalar, words};

record! {
    /// The devices between the data centre and the cloud. What is not given has a placeholder in the outputs.
    pub struct Path {
        /// The hosts.
        pub hosts: Hosts,
        /// The core switch of the data centre.
        pub core_switch: CoreSwitch,
        /// The virtual border router.
        pub vbr: Vbr,
        /// What connects the virtual border router to the VPC.
        pub transit: Transit,
        /// The VPC.
        pub vpc: Vpc,
    }
}

record! {
    /// The hosts, where they announce pods over BGP.
    pub struct Hosts {
        /// Their autonomous system.
        pub asn: Option<Asn>,
    }
}

record! {
    /// The core switch of the data centre.
    pub struct CoreSwitch {
        /// The next hop of its routes to the cloud.
        pub next_hop: Option<Spanned<IpAddr>>,
        /// The same for IPv6.
        pub next_hop_v6: Option<Spanned<IpAddr>>,
        /// Its autonomous system.
        pub asn: Option<Asn>,
    }
}

record! {
    /// The virtual border router.
    pub struct Vbr {
        /// Its id.
        pub id: Option<CloudId>,
        /// Its route table.
        pub route_table: Option<CloudId>,
        /// Its address at the cloud's end of the line.
        pub cloud_ip: Option<Spanned<IpAddr>>,
        /// The address at the data centre's end of the line.
        pub idc_ip: Option<Spanned<IpAddr>>,
        /// Its autonomous system.
        pub asn: Option<Asn>,
        /// How many routes its table takes; the catalog's limit if not given.
        pub max_routes: Option<Spanned<MaxRoutes>>,
    }
}

words! {
    /// What connects the virtual border router to the VPC.
    pub enum TransitKind {
        /// An express connect router.
        Ecr = "ecr",
        /// A transit router of a CEN.
        Cen = "cen",
        /// A CEN without transit router.
        CenBasic = "cen-basic",
        /// Nothing: the VBR is connected to the VPC.
        Direct = "direct",
        /// A VPN gateway of the VPC in place of the leased line.
        Vpn = "vpn",
    }
}

record! {
    /// What connects the virtual border router to the VPC.
    pub struct Transit {
        /// Its kind.
        pub kind: TransitKind = TransitKind::Ecr,
        /// Its id.
        pub id: Option<CloudId>,
        /// The route table of a transit router.
        pub route_table: Option<CloudId>,
        /// The association of an express connect router with the VPC.
        pub vpc_association: Option<CloudId>,
        /// The attachment of the VPC to a transit router.
        pub vpc_attachment: Option<CloudId>,
        /// The attachment of the VBR to a transit router.
        pub vbr_attachment: Option<CloudId>,
    }
}

words! {
    /// The type of a security group.
    pub enum GroupType {
        /// It lets everything out.
        Basic = "basic",
        /// It denies what it does not permit, in both directions.
        Enterprise = "enterprise",
    }
}

record! {
    /// The VPC.
    pub struct Vpc {
        /// Its id.
        pub id: Option<CloudId>,
        /// Its route table.
        pub route_table: Option<CloudId>,
        /// The security group of its hosts.
        pub security_group: Option<CloudId>,
        /// The type of the security group.
        pub security_group_type: GroupType = GroupType::Enterprise,
    }
}

/// The id of a resource of the cloud: letters, digits and hyphens, which is safe in every output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudId(pub String);

const MAX_ID: usize = 64;

scalar!(CloudId, {
    "type": "string",
    "pattern": "^[A-Za-z][A-Za-z0-9-]{0,63}$"
}, "CloudId", |node, problems| {
    let help = "write the id as the console shows it, such as `vtb-bp1abc`: letters, digits and hyphens";
    node.parsed("the id of a resource", (Code::InvalidName, help), problems, |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let valid = plain && text.len() <= MAX_ID && text.starts_with(|c: char| c.is_ascii_alphabetic());
        valid.then(|| CloudId(text.to_owned()))
    })
});

number! {
    /// The number of an autonomous system, 1 to 4294967294 (RFC 7300).
    pub struct Asn(pub u32), 1 to 4_294_967_294u64
}

number! {
    /// How many routes a table takes, 1 to 100,000.
    pub struct MaxRoutes(pub u32), 1 to 100_000
}
