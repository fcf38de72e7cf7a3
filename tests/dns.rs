//! Asks real DNS servers on loopback: one of the tests that can be told to misbehave, and those that sites run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests are no part of the core")]

#[path = "dns/servers.rs"]
mod servers;
mod support;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use edgeward::host::dns::{CONCURRENCY, FixedAnswers, Hickory, Resolver, Settings};
use edgeward::net::Family;
use edgeward::resolution::{Answer, Question, Reply};
use hickory_net::proto::op::ResponseCode;
use hickory_net::proto::rr::RecordType;
use support::dns_server::{DnsServer, Entry, FORGED, Manner, Zone};

/// Long enough for a busy host to answer from loopback, short enough to wait for where no answer comes.
const TIMEOUT: Duration = Duration::from_millis(800);

/// Where every question is answered.
const PATIENT: Duration = Duration::from_secs(60);

fn settings(servers: &[SocketAddr]) -> Settings {
    Settings { servers: servers.to_vec(), timeout: TIMEOUT, attempts: 2, concurrency: CONCURRENCY }
}

fn question(name: &str, family: Family) -> Question {
    Question { name: name.parse().unwrap(), family }
}

fn v4(name: &str) -> Question {
    question(name, Family::V4)
}

fn v6(name: &str) -> Question {
    question(name, Family::V6)
}

/// Names that the server's default entry answers.
fn names(prefix: &str, count: usize) -> Vec<Question> {
    (0..count).map(|number| v4(&format!("{prefix}{number}.example.test"))).collect()
}

fn ask_with(settings: Settings, questions: &[Question]) -> Vec<Answer> {
    Hickory::new(settings).unwrap().ask(questions, &mut |_| {})
}

fn ask(servers: &[&DnsServer], questions: &[Question]) -> Vec<Answer> {
    let servers: Vec<SocketAddr> = servers.iter().map(|server| server.address()).collect();
    ask_with(settings(&servers), questions)
}

fn ask_one(servers: &[&DnsServer], question: Question) -> Answer {
    ask(servers, &[question]).remove(0)
}

/// Asks one server about one name.
fn reply(entry: Entry, question: Question) -> Reply {
    let server = Zone::default().name(question.name.as_str(), entry).serve();
    let answer = ask_one(&[&server], question);
    assert!(answer.server == Some(server.address()) || answer.reply == Reply::Timeout, "{answer:?}");
    answer.reply
}

fn addresses(addresses: &[&str], ttl: u32, chain: &[&str]) -> Reply {
    Reply::Addresses {
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        ttl,
        chain: chain.iter().map(|name| name.parse().unwrap()).collect(),
    }
}

fn good() -> Entry {
    Entry::addresses(&["192.0.2.1"], 60)
}

fn is_good(answer: &Answer) -> bool {
    answer.reply == addresses(&["192.0.2.1"], 60, &[])
}

/// What an answer is called where only its kind matters.
fn kind(reply: &Reply) -> &'static str {
    match reply {
        Reply::Addresses { .. } => "addresses",
        Reply::NoData => "nodata",
        Reply::NxDomain => "nxdomain",
        Reply::ServFail => "servfail",
        Reply::Refused => "refused",
        Reply::Timeout => "timeout",
        Reply::Truncated => "truncated",
        Reply::Loop => "loop",
        Reply::Broken(_) => "broken",
    }
}

#[test]
fn the_families_are_asked_apart_and_answered_in_order() {
    let server = Zone::default()
        .name("both.example.test", Entry::addresses(&["192.0.2.1", "2001:db8::1", "192.0.2.2"], 300))
        .name("four.example.test", Entry::addresses(&["192.0.2.3"], 7))
        .name("slow.example.test", good().after(Duration::from_millis(100)))
        .serve();
    let questions = [
        v4("slow.example.test"),
        v6("both.example.test"),
        v4("both.example.test"),
        v6("four.example.test"),
        v4("four.example.test"),
        v4("none.example.test"),
    ];
    let mut heard = Vec::new();
    let answers = Hickory::new(settings(&[server.address()])).unwrap().ask(&questions, &mut |count| heard.push(count));
    let replies: Vec<Reply> = answers.into_iter().map(|answer| answer.reply).collect();
    let expected = [
        addresses(&["192.0.2.1"], 60, &[]),
        addresses(&["2001:db8::1"], 300, &[]),
        addresses(&["192.0.2.1", "192.0.2.2"], 300, &[]),
        Reply::NoData,
        addresses(&["192.0.2.3"], 7, &[]),
        Reply::NxDomain,
    ];
    assert_eq!(replies, expected);
    assert_eq!(heard, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn failures_are_told_apart() {
    let lame = "it is not responsible for the name and does no recursion (a lame server)";
    let cases = [
        ("NXDOMAIN", Entry::code(ResponseCode::NXDomain), Reply::NxDomain),
        ("NXDOMAIN without SOA", Entry::code(ResponseCode::NXDomain).without_soa(), Reply::NxDomain),
        ("NODATA with SOA", Entry::nothing(), Reply::NoData),
        ("NODATA of a resolver without SOA", Entry::nothing().without_soa().not_authoritative(), Reply::NoData),
        ("NODATA of an authority without SOA", Entry::nothing().without_soa().not_recursive(), Reply::NoData),
        ("SERVFAIL", Entry::code(ResponseCode::ServFail), Reply::ServFail),
        ("REFUSED", Entry::code(ResponseCode::Refused), Reply::Refused),
        ("silence", good().sent(Manner::Silent), Reply::Timeout),
        ("the answer comes too late", good().after(TIMEOUT + Duration::from_millis(200)), Reply::Timeout),
        ("cut off over TCP too", good().sent(Manner::TruncatedTwice), Reply::Truncated),
        ("the connection breaks", good().sent(Manner::Cut), Reply::Truncated),
        ("a referral", Entry::nothing().referring(), Reply::Broken(lame.to_owned())),
        (
            "neither authority nor resolver",
            Entry::nothing().without_soa().not_authoritative().not_recursive(),
            Reply::Broken(lame.to_owned()),
        ),
        (
            "another error",
            Entry::code(ResponseCode::NotImp),
            Reply::Broken("its answer is an error: Not Implemented".to_owned()),
        ),
    ];
    for (what, entry, expected) in cases {
        assert_eq!(reply(entry, v4("a.example.test")), expected, "{what}");
    }
}

#[test]
fn chains_are_followed_and_recorded() {
    let ends = |entry: Entry| entry.with("c.example.test", "192.0.2.9", 500);
    let chain = || Entry::chain(&[("b.example.test", 300), ("c.example.test", 30)]);
    let found = addresses(&["192.0.2.9"], 30, &["b.example.test", "c.example.test"]);
    let cases = [
        ("in order", ends(chain()), found.clone()),
        ("in any order", ends(chain()).rotating().losing(1), found),
        ("the end has no address", chain(), Reply::NoData),
        ("the end does not exist", chain().saying(ResponseCode::NXDomain), Reply::NxDomain),
        (
            "a chain that nobody follows",
            chain().not_recursive(),
            Reply::Broken("it is not responsible for the name and does no recursion (a lame server)".to_owned()),
        ),
        ("a loop", Entry::chain(&[("b.example.test", 60), ("a.example.test", 60)]), Reply::Loop),
        ("a loop behind", ends(chain()).with_alias("c.example.test", "b.example.test"), Reply::Loop),
        ("a name that is its own alias", Entry::chain(&[("a.example.test", 60)]), Reply::Loop),
        (
            "a name that is no host name is not recorded",
            Entry::chain(&[("_b.example.test", 60), ("c.example.test", 60)]).with("c.example.test", "192.0.2.1", 60),
            addresses(&["192.0.2.1"], 60, &["c.example.test"]),
        ),
        (
            "the address has the shortest time",
            Entry::chain(&[("b.example.test", 60)]).with("b.example.test", "192.0.2.1", 5),
            addresses(&["192.0.2.1"], 5, &["b.example.test"]),
        ),
        (
            "two ways",
            chain().with_alias("a.example.test", "d.example.test"),
            Reply::Broken("it gives more than one CNAME record for a.example.test.".to_owned()),
        ),
        (
            "a time of 2^31 or more is none",
            Entry::addresses(&["192.0.2.1"], 1 << 31),
            addresses(&["192.0.2.1"], 0, &[]),
        ),
    ];
    for (what, entry, expected) in cases {
        assert_eq!(reply(entry, v4("a.example.test")), expected, "{what}");
    }
    for (length, expected) in [(32, "addresses"), (33, "loop")] {
        let long: Vec<String> = (1..=length).map(|number| format!("n{number}.example.test")).collect();
        let links: Vec<(&str, u32)> = long.iter().map(|name| (name.as_str(), 60)).collect();
        let entry = Entry::chain(&links).with(&long[length - 1], "192.0.2.1", 60);
        assert_eq!(kind(&reply(entry, v4("a.example.test"))), expected, "{length} names");
    }
}

#[test]
fn what_was_not_asked_for_is_not_believed() {
    let addresses_of_a = addresses(&["192.0.2.1"], 60, &[]);
    let cases = [
        ("an address of another name", good().with("b.example.test", FORGED, 9999), addresses_of_a.clone()),
        ("only an address of another name", Entry::nothing().with("b.example.test", FORGED, 9999), Reply::NoData),
        ("an alias of another name", good().with_alias("b.example.test", "c.example.test"), addresses_of_a.clone()),
        (
            "addresses of the other family",
            Entry::addresses(&["2001:db8::66", "192.0.2.1"], 60).unfiltered(),
            addresses_of_a.clone(),
        ),
        ("an address twice", Entry::addresses(&["192.0.2.1", "192.0.2.1"], 60), addresses_of_a.clone()),
        ("another id first", good().sent(Manner::WrongId { then_right: true }), addresses_of_a.clone()),
        ("another id only", good().sent(Manner::WrongId { then_right: false }), Reply::Timeout),
        ("another question first", good().sent(Manner::WrongQuestion { then_right: true }), addresses_of_a.clone()),
        ("another question only", good().sent(Manner::WrongQuestion { then_right: false }), Reply::Timeout),
        ("forged answers over TCP", good().sent(Manner::ForgedOverTcp), addresses_of_a.clone()),
        (
            "addresses of a name that does not exist",
            good().saying(ResponseCode::NXDomain),
            Reply::Broken("it gives addresses of a name that does not exist according to its response code".to_owned()),
        ),
    ];
    for (what, entry, expected) in cases {
        assert_eq!(reply(entry, v4("a.example.test")), expected, "{what}");
    }
}

#[test]
fn a_server_that_changes_the_case_of_a_name_is_believed_over_tcp_only() {
    let zone = || Zone::default().name("a.example.test", good().sent(Manner::Lowered));
    let server = zone().serve();
    assert!(is_good(&ask_one(&[&server], v4("a.example.test"))));
    assert_eq!(server.count_over_tcp(), 1);
    let server = zone().serve_without_tcp();
    let Reply::Broken(why) = ask_one(&[&server], v4("a.example.test")).reply else { panic!("believed") };
    assert!(why.contains("0x20"), "{why}");
}

#[test]
fn answers_that_do_not_fit_come_over_tcp() {
    let many: Vec<String> = (0..200).map(|number| format!("198.51.100.{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let zone = || {
        Zone::default()
            .name("many.example.test", Entry::addresses(&many, 60))
            .name("some.example.test", Entry::addresses(&many[..60], 60))
            .name("a.example.test", good().sent(Manner::Truncated))
    };
    let server = zone().serve();
    assert_eq!(ask_one(&[&server], v4("many.example.test")).reply, addresses(&many, 60, &[]));
    assert!(is_good(&ask_one(&[&server], v4("a.example.test"))));
    assert_eq!(server.count_over_tcp(), 2);
    let some = ask_one(&[&server], v4("some.example.test"));
    assert_eq!(some.reply, addresses(&many[..60], 60, &[]));
    assert_eq!(server.count_over_tcp(), 2, "1,000 bytes go over UDP");

    let closed = zone().serve_without_tcp();
    let answer = ask_one(&[&closed], v4("many.example.test"));
    assert_eq!(answer, Answer { reply: Reply::Truncated, server: Some(closed.address()) });
    let answer = ask_one(&[&closed, &server], v4("many.example.test"));
    assert_eq!(answer, Answer { reply: addresses(&many, 60, &[]), server: Some(server.address()) });
}

#[test]
fn servers_without_edns_are_asked_without() {
    let many: Vec<String> = (0..60).map(|number| format!("198.51.100.{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for refusal in [None, Some(ResponseCode::FormErr), Some(ResponseCode::NotImp)] {
        for repeats in [true, false] {
            let manner = || Manner::WithoutEdns(refusal, repeats);
            let zone = Zone::default().name("a.example.test", good().sent(manner()));
            let server = zone.name("many.example.test", Entry::addresses(&many, 60).sent(manner())).serve();
            assert!(is_good(&ask_one(&[&server], v4("a.example.test"))), "{refusal:?} {repeats}");
            let answer = ask_one(&[&server], v4("many.example.test"));
            assert_eq!(answer.reply, addresses(&many, 60, &[]), "{refusal:?} {repeats}");
            assert_eq!(server.count_over_tcp(), 1);
        }
    }
}

#[test]
fn the_order_of_an_answer_is_kept() {
    let three = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    let server = Zone::default().name("a.example.test", Entry::addresses(&three, 60).rotating()).serve();
    let mut first = Vec::new();
    for _ in 0..3 {
        let Reply::Addresses { addresses, .. } = ask_one(&[&server], v4("a.example.test")).reply else { panic!() };
        assert_eq!(addresses.len(), 3);
        first.push(addresses[0]);
    }
    assert_eq!(first, three.map(|address| address.parse::<IpAddr>().unwrap()), "no cache, and no order of our own");
}

#[test]
fn hostile_packets_are_broken_answers_and_no_more() {
    let header = |counts: [u8; 8]| [&[0x81, 0x80], counts.as_slice()].concat();
    let garbage = |bytes: &[u8]| good().sent(Manner::Raw(bytes.to_vec()));
    let cases = [
        ("an id and no more", garbage(&[])),
        ("half a header", garbage(&[0x81])),
        ("noise", garbage(&[0xff; 300])),
        ("65,535 records that are not there", garbage(&header([0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))),
        (
            "a name that points at itself",
            garbage(&[&header([0, 1, 0, 0, 0, 0, 0, 0])[..], &[0xc0, 12, 0, 1, 0, 1]].concat()),
        ),
        ("noise over TCP", good().sent(Manner::RawOverTcp(vec![0xff; 300]))),
        ("the question, mirrored", good().sent(Manner::Reflected)),
    ];
    for (what, entry) in cases {
        assert_eq!(kind(&reply(entry, v4("a.example.test"))), "broken", "{what}");
    }
}

#[test]
fn questions_on_the_wire_are_absolute_and_hard_to_guess() {
    let server = Zone::default().otherwise(good()).serve();
    let questions = names("a-name-with-many-letters-", 40);
    assert!(ask(&[&server], &questions).iter().all(is_good));
    let seen = server.seen();
    assert_eq!(seen.len(), 40, "no search domains, and nothing is asked twice");
    for seen in &seen {
        let name = seen.name.to_lowercase();
        assert!(questions.iter().any(|question| format!("{}.", question.name) == name), "{name} was asked for");
        let upper = seen.name.bytes().filter(u8::is_ascii_uppercase).count();
        let lower = seen.name.bytes().filter(u8::is_ascii_lowercase).count();
        assert!(upper > 0 && lower > 0, "{} is not in random case", seen.name);
        assert_eq!((seen.record_type, seen.max_payload), (RecordType::A, 1232));
        assert!(seen.recursion_desired && !seen.over_tcp);
    }
    let mut ports: Vec<u16> = seen.iter().map(|seen| seen.client.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() >= 38, "{} ports for 40 questions", ports.len());
    assert!(
        ports[ports.len() - 1] - ports[0] > 10_000,
        "the ports are from {} to {}",
        ports[0],
        ports[ports.len() - 1]
    );
}

#[test]
fn names_that_others_treat_specially_are_asked_like_any() {
    let server = Zone::default().otherwise(good()).serve();
    let questions = ["a.localhost", "a.local", "a.invalid", "a.onion", "ip6.arpa.test"].map(v4);
    assert!(ask(&[&server], &questions).iter().all(is_good));
    assert_eq!(server.count(), 5);
}

#[test]
fn the_next_server_is_asked_where_one_cannot_answer() {
    let fails = [
        ("servfail", Entry::code(ResponseCode::ServFail)),
        ("refused", Entry::code(ResponseCode::Refused)),
        ("timeout", good().sent(Manner::Silent)),
        ("garbage", good().sent(Manner::Raw(vec![0xff; 40]))),
        ("lame", Entry::nothing().referring()),
        ("truncated", good().sent(Manner::TruncatedTwice)),
    ];
    let mut bad = Zone::default();
    for (what, entry) in &fails {
        bad = bad.name(&format!("{what}.example.test"), entry.clone());
    }
    let bad = bad.name("none.example.test", Entry::code(ResponseCode::NXDomain)).serve();
    let good = Zone::default().otherwise(good()).serve();
    for (what, _) in &fails {
        let name = format!("{what}.example.test");
        let answer = ask_one(&[&bad, &good], v4(&name));
        assert!(is_good(&answer) && answer.server == Some(good.address()), "{what}: {answer:?}");
        assert_eq!((bad.count_of(&name).min(1), good.count_of(&name)), (1, 1), "{what}");
    }
    let answer = ask_one(&[&bad, &good], v4("none.example.test"));
    assert_eq!((answer.reply, answer.server), (Reply::NxDomain, Some(bad.address())), "an answer is an answer");
}

#[test]
fn the_failure_that_says_most_is_reported() {
    let serve = |entry: Entry| Zone::default().otherwise(entry).serve();
    let servfail = serve(Entry::code(ResponseCode::ServFail));
    let refused = serve(Entry::code(ResponseCode::Refused));
    let silent = serve(good().sent(Manner::Silent));
    let answer = ask_one(&[&silent, &refused, &servfail], v4("a.example.test"));
    assert_eq!(answer, Answer { reply: Reply::ServFail, server: Some(servfail.address()) });
    let answer = ask_one(&[&silent, &refused], v4("a.example.test"));
    assert_eq!(answer, Answer { reply: Reply::Refused, server: Some(refused.address()) });
    let answer = ask_one(&[&silent], v4("a.example.test"));
    assert_eq!(answer, Answer { reply: Reply::Timeout, server: None });
}

#[test]
fn a_lost_packet_costs_one_attempt() {
    let server = Zone::default().name("a.example.test", good().losing(1)).serve();
    assert!(is_good(&ask_one(&[&server], v4("a.example.test"))));
    assert_eq!(server.count(), 2);
    let server = Zone::default().name("a.example.test", good().losing(2)).serve();
    assert_eq!(ask_one(&[&server], v4("a.example.test")).reply, Reply::Timeout, "two attempts are two packets");
    assert_eq!(server.count(), 2);
}

#[test]
fn a_stopped_server_is_told_at_once_and_asked_again_when_it_is_back() {
    let mut server = Zone::default().otherwise(good()).serve();
    // Nothing here waits for it.
    let timeout = Duration::from_secs(600);
    let hickory = Hickory::new(Settings { timeout, ..settings(&[server.address()]) }).unwrap();
    let ask = || hickory.ask(&[v4("a.example.test")], &mut |_| {}).remove(0);
    assert!(is_good(&ask()));
    server.stop();
    let answer = ask();
    let Reply::Broken(why) = &answer.reply else { panic!("{answer:?}") };
    assert!(why.contains("refused") && why.contains(&server.address().to_string()), "{why}");
    assert_eq!(answer.server, None);
    server.start();
    assert!(is_good(&ask()));
}

#[test]
fn servers_are_asked_over_v6() {
    let server = Zone::default().otherwise(good()).serve_at("[::1]:0".parse().unwrap(), true);
    let truncated = Zone::default().otherwise(good().sent(Manner::Truncated));
    let truncated = truncated.serve_at("[::1]:0".parse().unwrap(), true);
    for server in [server, truncated] {
        let answer = ask_one(&[&server], v4("a.example.test"));
        assert!(is_good(&answer) && answer.server == Some(server.address()), "{answer:?}");
    }
}

#[test]
fn no_more_questions_are_under_way_than_allowed() {
    let server = Zone::default().otherwise(good().after(Duration::from_millis(200))).serve();
    for concurrency in [1, 7, CONCURRENCY] {
        let questions = names("a", concurrency * 3);
        let limited = Settings { concurrency, timeout: PATIENT, ..settings(&[server.address()]) };
        assert!(ask_with(limited, &questions).iter().all(is_good));
        let most = server.most_under_way();
        assert!(most <= concurrency && most > concurrency / 2, "{most} of {concurrency}");
    }
}

#[test]
fn a_thousand_names_are_asked_side_by_side_and_once() {
    let both = Entry::addresses(&["192.0.2.1", "2001:db8::1"], 60).after(Duration::from_millis(100));
    let server = Zone::default().otherwise(both).serve();
    let questions: Vec<Question> =
        (0..2000).map(|number| question(&format!("n{}.example.test", number / 2), Family::BOTH[number % 2])).collect();
    let answers = ask_with(Settings { timeout: PATIENT, ..settings(&[server.address()]) }, &questions);
    assert!(answers.iter().all(|answer| kind(&answer.reply) == "addresses"));
    assert_eq!(server.count(), 2000);
    assert!(server.most_under_way() > CONCURRENCY / 2, "{}", server.most_under_way());
}

#[test]
fn a_silent_server_is_not_asked_for_every_name() {
    let answering = Zone::default().otherwise(good()).serve();
    let silent = Zone::default().otherwise(good()).serve();
    silent.mute(true);
    let answers = ask(&[&silent, &answering], &names("a", 1000));
    assert!(answers.iter().all(|answer| is_good(answer) && answer.server == Some(answering.address())));
    assert!(silent.count() <= CONCURRENCY, "{}", silent.count());
}

#[test]
fn dead_servers_do_not_hold_up_a_thousand_names() {
    let silent = Zone::default().serve();
    silent.mute(true);
    let timeout = Duration::from_millis(400);
    let hickory = Hickory::new(Settings { timeout, ..settings(&[silent.address()]) }).unwrap();
    let (start, mut times) = (Instant::now(), Vec::new());
    let answers = hickory.ask(&names("a", 1000), &mut |_| times.push(start.elapsed()));
    assert!(answers.iter().all(|answer| answer.reply == Reply::Timeout && answer.server.is_none()));
    // The first names wait for two timeouts, those that come later for an eighth of that.
    let first = times[CONCURRENCY - 1];
    let later = (times[999] - first) / (999 / CONCURRENCY) as u32;
    assert!(later < first / 2, "{first:?} for the first {CONCURRENCY}, {later:?} for as many later");
}

#[test]
fn a_dead_zone_does_not_starve_the_others() {
    let mut zone = Zone::default().otherwise(good().after(Duration::from_millis(5)));
    for question in names("dead", 200) {
        zone = zone.name(question.name.as_str(), good().sent(Manner::Silent));
    }
    let server = zone.serve();
    let timeout = Duration::from_millis(500);
    let questions = [names("dead", 200), names("a", 100)].concat();
    let answers = ask_with(Settings { timeout, ..settings(&[server.address()]) }, &questions);
    assert!(answers[..200].iter().all(|answer| answer.reply == Reply::Timeout));
    assert!(answers[200..].iter().all(is_good), "names behind a dead zone are answered");
}

#[test]
fn settings_without_sense_are_refused() {
    let server: SocketAddr = "127.0.0.1:53".parse().unwrap();
    let refused = |settings: Settings| Hickory::new(settings).unwrap_err().to_string();
    assert_eq!(refused(settings(&[])), "no DNS server to query");
    assert!(Hickory::new(Settings { attempts: 0, ..settings(&[server]) }).is_err());
    assert!(Hickory::new(Settings { concurrency: 0, ..settings(&[server]) }).is_err());
    assert!(Hickory::new(Settings { timeout: Duration::ZERO, ..settings(&[server]) }).is_err());
    assert!(Hickory::new(Settings { timeout: Duration::MAX, ..settings(&[server]) }).is_err());
}

#[test]
fn the_fake_answers_from_its_table() {
    let known = addresses(&["192.0.2.1"], 60, &[]);
    let table = [(v4("a.example.test"), known.clone()), (v4("b.example.test"), Reply::Timeout)];
    let table = FixedAnswers(table.into_iter().collect());
    let questions = [v4("a.example.test"), v6("a.example.test"), v4("b.example.test"), v4("c.example.test")];
    let mut heard = Vec::new();
    let answers = table.ask(&questions, &mut |count| heard.push(count));
    let by = |reply| Answer { reply, server: Some(FixedAnswers::SERVER) };
    let silent = Answer { reply: Reply::Timeout, server: None };
    assert_eq!(answers, [by(known), by(Reply::NoData), silent, by(Reply::NxDomain)]);
    assert_eq!(heard, [1, 2, 3, 4]);
}
