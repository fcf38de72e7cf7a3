//! What flows permit, as products of sets.
//!
//! A flow is a product as it is written: some sources, some destinations, some services. So it is within another one if
//! each of its sets is within the other's, which needs no diagram of packet space.

use std::rc::Rc;

use crate::intent::{Declared, End, Flow, Side};
use crate::net::{Family, PrefixSet, Protocol, Ranges, Traffic, Transport};

/// The dimensions of a product. The first is its kind: the family, and what a hook or a gateway distinguishes. Products
/// of two kinds have no packet in common. The last
/// are the source port and the interface.
pub(super) const AXES: usize = 6;
const SOURCE: usize = 1;
const DESTINATION: usize = 2;
/// The protocol, with the destination port or the ICMP type.
pub(super) const SERVICE: usize = 3;

/// The values on each axis; none of the sets is empty.
pub(super) type Product = [Ranges<u128>; AXES];

/// What a flow permits: products of different kinds, in their order. Equal sets of packets are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Region(pub(super) Vec<Product>);

impl Region {
    /// Whether there is no packet in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all packets of this region are in the other.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        let within =
            |one: &Product| other.0.iter().any(|other| pairs(one, other).all(|(one, other)| one.is_subset(other)));
        self.0.iter().all(within)
    }

    /// Whether the regions have a packet in common.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let meets =
            |one: &Product| other.0.iter().any(|other| pairs(one, other).all(|(one, other)| one.overlaps(other)));
        self.0.iter().any(meets)
    }
}

fn pairs<'a>(one: &'a Product, other: &'a Product) -> impl Iterator<Item = (&'a Ranges<u128>, &'a Ranges<u128>)> {
    one.iter().zip(other)
}

/// What decides which packets are filtered, and where.
pub(super) enum Filter {
    /// An edge host: what arrives and what leaves.
    Hooks,
    /// A gateway that covers everything.
    Everything,
    /// A gateway whose packets have one end inside and one outside.
    Crossing {
        /// What it covers.
        inside: PrefixSet,
        /// All other addresses.
        outside: PrefixSet,
    },
}

/// Every address.
pub(super) fn everywhere() -> PrefixSet {
    PrefixSet::from((Ranges::all(), Ranges::all()))
}

/// The addresses of an end on the axes of products, by family: those inside and those outside of what a gateway covers,
/// or all of them twice where that makes no difference.
pub(super) struct Ends([[Ranges<u128>; 2]; 2]);

impl Ends {
    pub(super) fn new(addresses: &PrefixSet, filter: &Filter) -> Rc<Self> {
        let wide = |set: &PrefixSet| Family::BOTH.map(|family| of_family(set, family));
        let halves = match filter {
            Filter::Hooks | Filter::Everything => {
                let all = wide(addresses);
                [all.clone(), all]
            }
            Filter::Crossing { inside, outside } => [inside, outside].map(|half| wide(&addresses.intersection(half))),
        };
        Rc::new(Self(halves))
    }
}

/// What a flow permits, given its ends.
pub(super) fn region(
    flow: &Flow<Declared>,
    filter: &Filter,
    mut ends: impl FnMut(&End<Declared>) -> Rc<Ends>,
) -> Region {
    let (local, peers) = (ends(&flow.local), ends(&flow.peers));
    let [source, destination] = match flow.side {
        Side::Inbound => [&peers, &local],
        Side::Outbound => [&local, &peers],
    };
    let [in_out, out_in] = [(&source.0[0], &destination.0[1]), (&source.0[1], &destination.0[0])];
    let ways = match filter {
        Filter::Hooks => vec![(u8::from(flow.side == Side::Outbound), in_out)],
        Filter::Everything => vec![(0, in_out)],
        Filter::Crossing { .. } => vec![(0, in_out), (1, out_in)],
    };
    let mut products = Vec::new();
    for (way, (source, destination)) in ways {
        for family in Family::BOTH.into_iter().filter(|family| flow.family.is_none_or(|only| only == *family)) {
            let kind = 2 * way + u8::from(family == Family::V6);
            let ports = flow.from_ports.as_ref().map_or_else(Ranges::all, |ports| ports.clone());
            let product = [
                wide([(kind, kind)]),
                source[usize::from(family == Family::V6)].clone(),
                destination[usize::from(family == Family::V6)].clone(),
                services(flow, family),
                wide(ports.iter()),
                flow.interfaces.as_ref().map_or_else(Ranges::all, |interfaces| interfaces.numbers().clone()),
            ];
            if !product.iter().any(Ranges::is_empty) {
                products.push(product);
            }
        }
    }
    Region(products)
}

/// Ranges of smaller numbers.
fn wide<T: Into<u128>>(ranges: impl IntoIterator<Item = (T, T)>) -> Ranges<u128> {
    ranges.into_iter().map(|(low, high)| (low.into(), high.into())).collect()
}

fn of_family(set: &PrefixSet, family: Family) -> Ranges<u128> {
    match family {
        Family::V4 => wide(set.v4().iter()),
        Family::V6 => set.v6().clone(),
    }
}

/// The services of a flow in a family: each protocol has as many numbers as there are ports. What has types has them
/// there, and the last type stands for the rest.
fn services(flow: &Flow<Declared>, family: Family) -> Ranges<u128> {
    let block = |number: u8, low: u16, high: u16| {
        let first = u128::from(number) << 16;
        (first | u128::from(low), first | u128::from(high))
    };
    let whole = |number: u8| block(number, 0, u16::MAX);
    let services: Ranges<u128> = match &flow.traffic {
        Traffic::Any => [(0, whole(u8::MAX).1)].into_iter().collect(),
        Traffic::Some { icmp, icmpv6, protocols, .. } => {
            let (icmp, types) = match family {
                Family::V4 => (Protocol::Icmp, icmp),
                Family::V6 => (Protocol::Icmpv6, icmpv6),
            };
            let last = |kind: u8| if kind == u8::MAX { u16::MAX } else { kind.into() };
            let ports = flow.traffic.transports().flat_map(|(transport, ports)| {
                ports.iter().map(move |(low, high)| block(transport.protocol().number(), low, high))
            });
            let types = types.iter().map(|(low, high)| block(icmp.number(), low.into(), last(high)));
            ports.chain(types).chain(protocols.iter().map(|number| whole(*number))).collect()
        }
    };
    match flow.from_ports {
        None => services,
        // Only these protocols have source ports.
        Some(_) => {
            let ported = Transport::ALL.map(|transport| whole(transport.protocol().number()));
            services.intersection(&ported.into_iter().collect())
        }
    }
}

/// The axis of a flow's peers.
pub(super) fn peers(side: Side) -> usize {
    match side {
        Side::Inbound => SOURCE,
        Side::Outbound => DESTINATION,
    }
}

/// The lowest and the highest value on each axis.
pub(super) type Bounds = [(u128, u128); AXES];

/// A set of at least so many ranges is represented by fewer, wider ones.
const MAX_BOXES: usize = 4096;
/// So many boxes are worth their memory, if a flow has several peers and several services.
const MIN_BOXES: usize = 32;

/// Boxes that together enclose a product of a flow. They are exact where flows differ, and few: on the axes of the
/// peers and of the services, as far as the product of the two is not much more than what is written.
pub(super) fn boxes(product: &Product, side: Side) -> Vec<Bounds> {
    let hull = |axis: usize| enclosing(&product[axis], 1).first().copied().unwrap_or((0, u128::MAX));
    let peers = peers(side);
    let (long, short) = match product[peers].iter().len() >= product[SERVICE].iter().len() {
        true => (peers, SERVICE),
        false => (SERVICE, peers),
    };
    let longs = enclosing(&product[long], MAX_BOXES);
    let shorts = enclosing(&product[short], (MIN_BOXES / longs.len()).max(1));
    let mut bounds: Bounds = std::array::from_fn(hull);
    let mut boxes = Vec::with_capacity(longs.len() * shorts.len());
    for one in longs {
        for other in &shorts {
            (bounds[long], bounds[short]) = (one, *other);
            boxes.push(bounds);
        }
    }
    boxes
}

/// At most so many ranges that enclose a set.
fn enclosing(set: &Ranges<u128>, at_most: usize) -> Vec<(u128, u128)> {
    let ranges = set.as_slice();
    let several = ranges.chunks(ranges.len().div_ceil(at_most).max(1));
    several.filter_map(|some| Some((some.first()?.0, some.last()?.1))).collect()
}
