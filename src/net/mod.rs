//! The vocabulary of packets: prefixes, ports, names and sets of them, packets, and what happens to them.

mod decimal;
mod disposition;
mod domain_name;
mod interface;
mod list;
mod nat64;
mod packet;
mod prefix;
mod prefix_set;
mod protocol;
mod ranges;
mod rate;
mod slip;
mod special;
mod traffic;

pub use decimal::Plain;
pub use disposition::{ChainPolicy, Disposition, Verdict};
pub use domain_name::{DomainName, DomainNameError};
pub use interface::{Interface, InterfaceError, InterfacePattern, Interfaces};
pub use list::{ListError, ListProblems, ListReader};
pub use nat64::Nat64Prefix;
pub use packet::{CtDirection, CtState, Hook, Packet, PacketEnd, Payload};
pub use prefix::{Family, Prefix, PrefixError, parse_address};
pub use prefix_set::PrefixSet;
pub use protocol::{Protocol, Transport};
pub use ranges::{Bits, Ranges, within};
pub use rate::{Rate, RateUnit};
pub use slip::{Slip, lookalike, plain};
pub use special::Special;
pub use traffic::{IcmpTypes, PortSet, TRAFFIC_FORMS, Traffic, TrafficError, parse_port};
