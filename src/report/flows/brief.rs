//! The list in brief: one line for each conversation, for the plan of a change.

use unicode_width::UnicodeWidthStr;

use super::{no_address, source_ports};
use crate::intent::{Declared, Extent, Intent, MemberKind, Opening, Side};
use crate::net::{PrefixSet, Protocol, Traffic};
use crate::report::table::WIDTH;
use crate::resolution::Resolution;

/// Columns of the flow and of the ports; a longer one moves what follows.
const MAX_FLOW: usize = 24;
const MAX_PORTS: usize = 20;
/// Columns of an end, at least.
const MIN_END: usize = 20;
/// More words never fit into a line.
const MAX_WORDS: usize = 50;

/// How much of a conversation its line has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// At most 100 columns. Lists of ports and addresses are cut short, and say by how many.
    Line,
    /// Everything.
    Whole,
}

impl Length {
    /// A number of columns or words, if there is a bound.
    fn at_most(self, bound: usize) -> usize {
        if self == Self::Line { bound } else { usize::MAX / 2 }
    }
}

/// What is open, one line for each conversation and direction: first what others begin, then what the host or the data
/// centre begins.
pub fn brief(intent: &Intent<Declared>, resolution: &Resolution, length: Length) -> Vec<String> {
    let mut openings: Vec<Opening<'_>> = intent.openings(resolution).collect();
    openings.sort_by_key(|opening| opening.side == Side::Outbound);
    let is_stateless = intent.gateway.as_ref().is_some_and(|gateway| gateway.stateless);
    let ports: Vec<String> = openings.iter().map(|opening| ports(opening, is_stateless, length)).collect();
    let width = |texts: &mut dyn Iterator<Item = &str>, most: usize| {
        texts.map(|text| text.width()).filter(|width| *width <= most).max().unwrap_or(0)
    };
    let flow_width = width(&mut openings.iter().map(|opening| opening.flow), MAX_FLOW);
    let ports_width = width(&mut ports.iter().map(String::as_str), MAX_PORTS);
    let line = |(opening, ports): (&Opening<'_>, &String)| {
        let flow = clipped(opening.flow, length.at_most(MAX_FLOW));
        let head = format!("{:<8}  {flow:<flow_width$}  {ports:<ports_width$}  ", opening.side.name());
        let left = length.at_most(WIDTH.saturating_sub(head.width() + 2).max(2 * MIN_END));
        format!("{head}{}", ends(opening, left, length))
    };
    openings.iter().zip(&ports).map(line).collect()
}

/// Protocols and ports, the ports of a protocol together: `tcp/80,443`, `icmp/0,3,8`, `udp/68 sport 67`.
fn ports(opening: &Opening<'_>, is_stateless: bool, length: Length) -> String {
    let max_ports = length.at_most(MAX_PORTS);
    let through = opening.interfaces.map(|interfaces| format!(" through {interfaces}")).unwrap_or_default();
    let Traffic::Some { icmp, icmpv6, protocols, .. } = &opening.traffic else { return format!("any{through}") };
    let ports = opening.traffic.transports().map(|(transport, ports)| (transport.protocol(), ports.words()));
    let types = [(Protocol::Icmp, icmp.words()), (Protocol::Icmpv6, icmpv6.words())];
    let types = types.into_iter().filter(|(_, words)| !words.is_empty());
    let mut words: Vec<String> = ports
        .chain(types)
        .map(|(protocol, words)| match (protocol, &words[..]) {
            (Protocol::Icmp | Protocol::Icmpv6, [all]) if all == "0-255" => protocol.name().to_owned(),
            _ => format!("{}/{}", protocol.name(), fitting(&words, words.len(), ",", max_ports)),
        })
        .collect();
    words.extend(protocols.iter().map(|number| Traffic::of_protocol(*number).to_string()));
    let mut text = fitting(&words, words.len(), " ", 2 * max_ports);
    if source_ports(opening).is_some() {
        let from = opening.from_ports.map(|ports| ports.words()).unwrap_or_default();
        text += &format!(" sport {}", fitting(&from, from.len(), ",", max_ports));
    }
    text += &through;
    // Where addresses and types do not tell.
    let untold = matches!(opening.peers, Extent::AllBut(_)) && opening.traffic.family().is_none();
    if let Some(family) = opening.family.filter(|_| untold) {
        text += &format!(" IP{}", family.name());
    }
    // Without conntrack, replies are told by their ports. The other direction of a tunnel has a line of its own.
    if is_stateless && !opening.tracked {
        text += " no replies";
    }
    text
}

/// Where the packets that begin the conversation come from and go to. The host itself is not named.
fn ends(opening: &Opening<'_>, width: usize, length: Length) -> String {
    let local = (!matches!(opening.local, Extent::Host(_))).then_some(&opening.local);
    let (from, to) = match opening.side {
        Side::Inbound => (Some(&opening.peers), local),
        Side::Outbound => (local, Some(&opening.peers)),
    };
    let given: Vec<_> = [("from", from), ("to", to)].into_iter().filter_map(|(word, end)| Some((word, end?))).collect();
    // What one end does not need is the other's.
    let needs: Vec<usize> =
        given.iter().map(|(word, end)| word.len() + 1 + words(end, width, length).width()).collect();
    let all: usize = needs.iter().sum::<usize>() + given.len() - 1;
    let parts = given.iter().zip(&needs).map(|((word, end), own)| {
        let others = all - own;
        let room = if all <= width { *own } else { (width - others.min(width)).max(width / given.len()).min(*own) };
        format!("{word} {}", words(end, room.saturating_sub(word.len() + 1), length))
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// The addresses and names of an end, as many as fit.
fn words(extent: &Extent<'_>, width: usize, length: Length) -> String {
    let texts = |set: &PrefixSet| {
        set.prefixes().take(length.at_most(MAX_WORDS)).map(|prefix| prefix.to_string()).collect::<Vec<_>>()
    };
    let (mut words, mut all) = (Vec::new(), 0);
    for member in extent.members() {
        match &member.kind {
            MemberKind::Prefixes(set) => {
                words.extend(texts(set));
                all += set.prefixes().count();
            }
            kind @ MemberKind::Name { name, .. } => {
                let remark = no_address(kind).map(|_| " (no address)").unwrap_or_default();
                words.push(format!("{name}{remark}"));
                all += 1;
            }
        }
    }
    match extent {
        Extent::AllBut(except) if except.is_empty() => "any address".to_owned(),
        Extent::AllBut(except) => {
            let but = "any address but ";
            let room = width.saturating_sub(but.len());
            format!("{but}{}", fitting(&texts(except), except.prefixes().count(), ", ", room))
        }
        _ => fitting(&words, all, ", ", width),
    }
}

/// The words that fit into a width, with the number of the others; the first in any case, clipped if it is too long.
/// `all` is how many there are; a long list need not have the last of them.
fn fitting(words: &[String], all: usize, between: &str, width: usize) -> String {
    let rest = |shown: usize| match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut used = 0;
    let mut count = 0;
    for (index, word) in words.iter().enumerate() {
        used += word.width() + if index == 0 { 0 } else { between.len() };
        if used > width {
            break;
        }
        if used + rest(index + 1).len() <= width {
            count = index + 1;
        }
    }
    match words.first() {
        None => String::new(),
        Some(first) if count == 0 => {
            let rest = rest(1);
            // Without its middle, an address is another one.
            let is_name = first.contains(char::is_alphabetic) && !first.contains([':', '/']);
            let width = if is_name { width.saturating_sub(rest.len()) } else { usize::MAX };
            format!("{}{rest}", clipped(first, width))
        }
        Some(_) => format!("{}{}", words[..count].join(between), rest(count)),
    }
}

/// A word without its middle, if it is too long: the beginning and the end of a name tell most.
fn clipped(word: &str, width: usize) -> String {
    let width = width.max(8);
    if word.width() <= width {
        return word.to_owned();
    }
    // Ids and names are ASCII.
    let (head, tail) = ((width - 1).div_ceil(2), (width - 1) / 2);
    let tail = word.len().saturating_sub(tail);
    format!("{}…{}", &word[..word.floor_char_boundary(head)], &word[word.ceil_char_boundary(tail)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_say_how_many_they_leave_out() {
        let words = ["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16"].map(str::to_owned);
        assert_eq!(fitting(&words, 3, ", ", 100), "10.0.0.0/8, 10.1.0.0/16, 10.2.0.0/16");
        assert_eq!(fitting(&words, 3, ", ", 36), "10.0.0.0/8, 10.1.0.0/16, 10.2.0.0/16");
        assert_eq!(fitting(&words, 3, ", ", 35), "10.0.0.0/8, 10.1.0.0/16 and 1 more");
        assert_eq!(fitting(&words, 3, ", ", 30), "10.0.0.0/8 and 2 more");
        assert_eq!(fitting(&["a-very-long.example.com".to_owned()], 1, ", ", 11), "a-ver…e.com");
        assert_eq!(fitting(&["192.168.100.0/24".to_owned()], 2, ", ", 11), "192.168.100.0/24 and 1 more");
        assert_eq!(fitting(&[], 0, ", ", 10), "");
    }
}
