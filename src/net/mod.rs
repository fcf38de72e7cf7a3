//! The vocabulary of packets: prefixes, ports, names, and sets of them.

mod decimal;
mod domain_name;
mod list;
mod packet;
mod prefix;
mod prefix_set;
mod ranges;
mod traffic;

pub use decimal::Plain;
pub use domain_name::{DomainName, DomainNameError};
pub use list::{ListError, ListProblems, ListReader};
pub use packet::{CtState, Hook, Packet, PacketEnd, Payload, Protocol, Transport, Verdict};
pub use prefix::{Family, Prefix, PrefixError, parse_address};
pub use prefix_set::PrefixSet;
pub use ranges::{Bits, Ranges, within};
pub use traffic::{IcmpTypes, PortSet, TRAFFIC_FORMS, Traffic, TrafficError};
