//! The meaning of an answer.

use std::net::IpAddr;

use hickory_net::proto::op::{Message, Query, ResponseCode};
use hickory_net::proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::resolution::Reply;

/// The most names in a chain after the queried one; more is a loop. Resolvers give up after 11 (unbound) to 16 (BIND), but a
/// server that has the names itself may follow them further.
const MAX_CHAIN: usize = 32;

/// The reply that an answer to a query stands for.
///
/// Only records on the chain from the queried name count. With others a server could answer for names that were not
/// queried.
pub(super) fn read(query: &Query, message: &Message) -> Reply {
    let exists = match message.response_code {
        ResponseCode::NoError => true,
        ResponseCode::NXDomain => false,
        ResponseCode::ServFail => return Reply::ServFail,
        ResponseCode::Refused => return Reply::Refused,
        code => return Reply::Broken(format!("its answer is an error: {code}")),
    };
    let mut chain = vec![&query.name];
    let mut shortest = u32::MAX;
    let end = loop {
        let end = chain[chain.len() - 1];
        let mut aliases = records_of(end, message).filter_map(alias);
        let Some((target, ttl)) = aliases.next() else { break end };
        if aliases.any(|(other, _)| other != target) {
            return Reply::Broken(format!("it gives more than one CNAME record for {end}"));
        }
        if chain.len() > MAX_CHAIN {
            return Reply::Loop;
        }
        shortest = shortest.min(ttl);
        chain.push(target);
    };
    let mut addresses = Vec::new();
    for (address, ttl) in records_of(end, message).filter_map(|record| address(query.query_type, record)) {
        shortest = shortest.min(ttl);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match (exists, addresses.is_empty()) {
        (true, false) => {
            // A chain may contain names that are not host names (`_a.example.com`); these are left out.
            let chain = chain[1..].iter().filter_map(|name| name.to_ascii().parse().ok()).collect();
            Reply::Addresses { addresses, ttl: shortest, chain }
        }
        (false, false) => {
            Reply::Broken("it gives addresses of a name that does not exist according to its response code".to_owned())
        }
        (false, true) => Reply::NxDomain,
        (true, true) if is_lame(message, chain.len() > 1) => {
            Reply::Broken("it is not responsible for the name and does no recursion (a lame server)".to_owned())
        }
        (true, true) => Reply::NoData,
    }
}

/// Whether an answer without addresses does not prove that there are none: it is a referral (RFC 2308 section 2.2), or comes
/// from a server that is neither authoritative for the end of the chain nor a resolver.
fn is_lame(message: &Message, has_chain: bool) -> bool {
    let has = |expected| message.authorities.iter().any(|record| record.record_type() == expected);
    // The bit AA is about the queried name, not about the names after it (RFC 1035 section 4.1.1).
    let is_authority = message.authoritative && !has_chain;
    !has(RecordType::SOA) && !is_authority && (has(RecordType::NS) || !message.recursion_available)
}

fn records_of<'a>(owner: &'a Name, message: &'a Message) -> impl Iterator<Item = &'a Record> {
    message.answers.iter().filter(move |record| record.dns_class == DNSClass::IN && record.name == *owner)
}

fn alias(record: &Record) -> Option<(&Name, u32)> {
    let RData::CNAME(target) = &record.data else { return None };
    Some((&target.0, time_to_live(record)))
}

fn address(expected: RecordType, record: &Record) -> Option<(IpAddr, u32)> {
    let address = match (expected, &record.data) {
        (RecordType::A, RData::A(address)) => IpAddr::V4(address.0),
        (RecordType::AAAA, RData::AAAA(address)) => IpAddr::V6(address.0),
        _ => return None,
    };
    Some((address, time_to_live(record)))
}

/// A time to live with the highest bit set means zero (RFC 2181 section 8).
fn time_to_live(record: &Record) -> u32 {
    if record.ttl >> 31 == 0 { record.ttl } else { 0 }
}

#[cfg(test)]
mod tests {
    use hickory_net::proto::op::OpCode;
    use hickory_net::proto::rr::rdata::{A, CNAME, NS};
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    /// A chain of two names, an address and a referral.
    fn answer() -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.add_query(Query::query(name("a.example.test."), RecordType::A));
        for (owner, target) in [("a.example.test.", "b.example.test."), ("b.example.test.", "c.test.")] {
            message.add_answer(Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target)))));
        }
        message.add_answer(Record::from_rdata(name("c.test."), 60, RData::A(A::new(192, 0, 2, 1))));
        message.add_authority(Record::from_rdata(name("test."), 60, RData::NS(NS(name("ns.test.")))));
        message
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_answer_causes_a_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            length in any::<prop::sample::Index>(),
            cut in any::<bool>(),
        ) {
            let query = Query::query(name("a.example.test."), RecordType::A);
            let mut bytes = answer().to_vec().unwrap();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cut {
                bytes.truncate(length.index(bytes.len()));
            }
            if let Ok(message) = Message::from_vec(&bytes) {
                // Only what belongs to the queried name counts, however the packet was changed.
                if let Reply::Addresses { addresses, chain, .. } = read(&query, &message) {
                    prop_assert!(addresses.len() == 1 && chain.len() <= 2);
                }
            }
        }
    }

    #[test]
    fn records_of_another_class_do_not_count() {
        let name = name("a.example.test.");
        let query = Query::query(name.clone(), RecordType::A);
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.authoritative = true;
        let mut record = Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1)));
        message.add_answer(record.clone());
        assert!(matches!(read(&query, &message), Reply::Addresses { .. }));
        record.dns_class = DNSClass::CH;
        message.answers = vec![record];
        assert_eq!(read(&query, &message), Reply::NoData);
    }
}
