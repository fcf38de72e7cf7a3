//! An authoritative DNS server on loopback that can be told to misbehave.
//!
//! It answers over UDP and TCP on one port, in threads of its own; hickory-proto does the wire format only. The server
//! ends with its value.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hickory_net::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_net::proto::rr::rdata::{CNAME, NS, SOA};
use hickory_net::proto::rr::{Name, RData, Record, RecordType};

/// The address of names that are queried by mistake.
pub const FORGED: &str = "203.0.113.66";

/// The server's answer for a name, and how it is sent.
#[derive(Clone)]
pub struct Entry {
    code: ResponseCode,
    /// Owner (none: the asked name), time to live, data.
    answers: Vec<(Option<Name>, u32, RData)>,
    /// Whether records of other types than the asked one stand in the answer, too.
    unfiltered: bool,
    /// Whether each answer has another order.
    rotating: bool,
    soa: bool,
    referral: bool,
    authoritative: bool,
    recursive: bool,
    delay: Duration,
    loses: usize,
    manner: Manner,
}

/// How an answer is sent.
#[derive(Clone)]
pub enum Manner {
    /// As it should; over UDP cut off where it is larger than the client can take.
    Plain,
    /// No answer.
    Silent,
    /// Truncated over UDP, whole over TCP.
    Truncated,
    /// Truncated over UDP and over TCP.
    TruncatedTwice,
    /// Truncated over UDP, and the connection closes in the middle of the answer over TCP.
    Cut,
    /// A forged answer with another id, then the right one, or that one only.
    WrongId { then_right: bool },
    /// A forged answer to another question, then the right one, or that one only.
    WrongQuestion { then_right: bool },
    /// Truncated over UDP; over TCP forged answers with another id and to another question, and then the right one.
    ForgedOverTcp,
    /// With the name in lower case, over UDP; over TCP as asked.
    Lowered,
    /// Nothing to a query with EDNS, or an error, with or without the question; otherwise as it should.
    WithoutEdns(Option<ResponseCode>, bool),
    /// With the question's bytes as they came, as if the server were a mirror.
    Reflected,
    /// These bytes after the id.
    Raw(Vec<u8>),
    /// Truncated over UDP, and these bytes after the id over TCP.
    RawOverTcp(Vec<u8>),
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap()
}

fn data(address: &str) -> RData {
    match address.parse().unwrap() {
        IpAddr::V4(address) => RData::A(address.into()),
        IpAddr::V6(address) => RData::AAAA(address.into()),
    }
}

impl Entry {
    /// A name with these addresses.
    pub fn addresses(addresses: &[&str], ttl: u32) -> Self {
        let answers = addresses.iter().map(|address| (None, ttl, data(address))).collect();
        Self {
            code: ResponseCode::NoError,
            answers,
            unfiltered: false,
            rotating: false,
            soa: false,
            referral: false,
            authoritative: true,
            recursive: true,
            delay: Duration::ZERO,
            loses: 0,
            manner: Manner::Plain,
        }
    }

    /// A name that exists without data, with the start of authority that says so.
    pub fn nothing() -> Self {
        Self { soa: true, ..Self::addresses(&[], 0) }
    }

    /// An error, or a name that does not exist.
    pub fn code(code: ResponseCode) -> Self {
        Self { code, soa: code == ResponseCode::NXDomain, ..Self::addresses(&[], 0) }
    }

    /// A chain of names that follows the requested one, each with a time to live.
    pub fn chain(names: &[(&str, u32)]) -> Self {
        let mut owner = None;
        let mut entry = Self::addresses(&[], 0);
        for (target, ttl) in names {
            entry.answers.push((owner, *ttl, RData::CNAME(CNAME(name(target)))));
            owner = Some(name(target));
        }
        entry
    }

    /// An address of another name in the same answer.
    pub fn with(mut self, owner: &str, address: &str, ttl: u32) -> Self {
        self.answers.push((Some(name(owner)), ttl, data(address)));
        self
    }

    /// A CNAME record of another name in the same answer.
    pub fn with_alias(mut self, owner: &str, target: &str) -> Self {
        self.answers.push((Some(name(owner)), 60, RData::CNAME(CNAME(name(target)))));
        self
    }

    /// The same with another code.
    pub fn saying(self, code: ResponseCode) -> Self {
        Self { code, ..self }
    }

    /// The same without the start of authority.
    pub fn without_soa(self) -> Self {
        Self { soa: false, ..self }
    }

    /// The same from a server that refers to other servers.
    pub fn referring(self) -> Self {
        Self { soa: false, referral: true, authoritative: false, ..self }
    }

    /// The same from a server without recursion.
    pub fn not_recursive(self) -> Self {
        Self { recursive: false, ..self }
    }

    /// The same from a server that is not authoritative.
    pub fn not_authoritative(self) -> Self {
        Self { authoritative: false, ..self }
    }

    /// The same with records of all types.
    pub fn unfiltered(self) -> Self {
        Self { unfiltered: true, ..self }
    }

    /// The same in another order each time.
    pub fn rotating(self) -> Self {
        Self { rotating: true, ..self }
    }

    /// The same after a while.
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The same, but the first packets with the question are lost.
    pub fn losing(self, loses: usize) -> Self {
        Self { loses, ..self }
    }

    /// The same in another manner.
    pub fn sent(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }

    /// The whole answer.
    fn message(&self, query: &Message, question: &Query, asked_before: usize) -> Message {
        let mut message = Message::response(query.id, OpCode::Query);
        message.metadata.response_code = self.code;
        message.metadata.authoritative = self.authoritative;
        message.metadata.recursion_desired = query.recursion_desired;
        message.metadata.recursion_available = self.recursive;
        message.add_query(question.clone());
        let is_requested =
            |data: &RData| matches!(data, RData::CNAME(_)) || data.record_type() == question.query_type();
        for (owner, ttl, data) in &self.answers {
            if self.unfiltered || is_requested(data) {
                let owner = owner.as_ref().unwrap_or(question.name());
                message.add_answer(Record::from_rdata(owner.clone(), *ttl, data.clone()));
            }
        }
        if self.rotating && !message.answers.is_empty() {
            let by = asked_before % message.answers.len();
            message.answers.rotate_left(by);
        }
        let zone = question.name().base_name();
        if self.soa {
            let soa = SOA::new(name("ns.example.test"), name("admin.example.test"), 1, 3600, 600, 86400, 60);
            message.add_authority(Record::from_rdata(zone.clone(), 60, RData::SOA(soa)));
        }
        if self.referral {
            message.add_authority(Record::from_rdata(zone, 60, RData::NS(NS(name("ns.elsewhere.test")))));
        }
        if query.edns.is_some() {
            message.set_edns(Edns::new());
        }
        message
    }

    /// What goes out, packet by packet.
    fn packets(&self, query: &Message, asked_before: usize, over_tcp: bool) -> Vec<Vec<u8>> {
        let Some(question) = query.queries.first() else { return Vec::new() };
        let message = self.message(query, question, asked_before);
        let right = message.to_vec().unwrap();
        let forged = |id: u16, question: Query| {
            let mut message = Message::response(id, OpCode::Query);
            message.metadata.recursion_available = true;
            message.add_answer(Record::from_rdata(question.name().clone(), 9999, data(FORGED)));
            message.add_query(question);
            message.to_vec().unwrap()
        };
        let and_right =
            |forged: Vec<u8>, then_right: bool| if then_right { vec![forged, right.clone()] } else { vec![forged] };
        let other = Query::query(name("other.example.test"), question.query_type());
        match &self.manner {
            Manner::Silent => Vec::new(),
            Manner::WithoutEdns(refusal, repeats) if query.edns.is_some() => {
                let refused = refusal.map(|code| {
                    let mut message = Message::error_msg(query.id, query.op_code, code);
                    message.queries = if *repeats { query.queries.clone() } else { Vec::new() };
                    message.to_vec().unwrap()
                });
                refused.into_iter().collect()
            }
            Manner::Truncated | Manner::Cut | Manner::RawOverTcp(_) | Manner::ForgedOverTcp if !over_tcp => {
                vec![message.truncate().to_vec().unwrap()]
            }
            Manner::Raw(bytes) | Manner::RawOverTcp(bytes) => {
                vec![[&query.id.to_be_bytes(), bytes.as_slice()].concat()]
            }
            Manner::Reflected => vec![query.to_vec().unwrap()],
            Manner::WrongId { then_right } => and_right(forged(query.id ^ 0x5555, question.clone()), *then_right),
            Manner::WrongQuestion { then_right } => and_right(forged(query.id, other), *then_right),
            Manner::ForgedOverTcp => {
                vec![forged(query.id ^ 0x5555, question.clone()), forged(query.id, other), right]
            }
            Manner::TruncatedTwice => vec![message.truncate().to_vec().unwrap()],
            Manner::Cut => vec![right[..right.len() / 2].to_vec()],
            Manner::Lowered if !over_tcp => {
                let mut message = message;
                message.queries[0].name = question.name().to_lowercase();
                vec![message.to_vec().unwrap()]
            }
            Manner::Plain | Manner::Truncated | Manner::Lowered | Manner::WithoutEdns(..) => {
                let fits = over_tcp || right.len() <= usize::from(query.max_payload());
                vec![if fits { right } else { message.truncate().to_vec().unwrap() }]
            }
        }
    }
}

/// A question as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The name, with its case, and its trailing dot.
    pub name: String,
    /// A or AAAA.
    pub record_type: RecordType,
    /// The address of the client.
    pub client: SocketAddr,
    /// Whether it came over TCP.
    pub over_tcp: bool,
    /// Whether recursion is desired.
    pub recursion_desired: bool,
    /// The largest answer over UDP that the client takes.
    pub max_payload: u16,
}

#[derive(Default)]
struct Shared {
    names: BTreeMap<String, Entry>,
    otherwise: Option<Entry>,
    seen: Mutex<Vec<Seen>>,
    muted: AtomicBool,
    stopping: AtomicBool,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When and with what to answer a question.
    fn answer(&self, bytes: &[u8], client: SocketAddr, over_tcp: bool) -> Option<(Duration, Vec<Vec<u8>>, bool)> {
        let query = Message::from_vec(bytes).ok().filter(|query| query.message_type == MessageType::Query)?;
        let question = query.queries.first()?;
        let asked = question.name().to_lowercase().to_ascii();
        let mut seen = self.seen();
        let same = |seen: &&Seen| seen.record_type == question.query_type() && seen.name.eq_ignore_ascii_case(&asked);
        let asked_before = seen.iter().filter(same).count();
        seen.push(Seen {
            name: question.name().to_ascii(),
            record_type: question.query_type(),
            client,
            over_tcp,
            recursion_desired: query.recursion_desired,
            max_payload: query.max_payload(),
        });
        drop(seen);
        let none = Entry::code(ResponseCode::NXDomain);
        let entry = self.names.get(asked.trim_end_matches('.')).or(self.otherwise.as_ref()).unwrap_or(&none);
        if self.muted.load(Ordering::Relaxed) || asked_before < entry.loses {
            return None;
        }
        Some((entry.delay, entry.packets(&query, asked_before, over_tcp), matches!(entry.manner, Manner::Cut)))
    }
}

/// A server that runs, until it is stopped or its value ends.
pub struct DnsServer {
    address: SocketAddr,
    tcp: bool,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What a server is made of.
#[derive(Default)]
pub struct Zone {
    names: BTreeMap<String, Entry>,
    otherwise: Option<Entry>,
}

impl Zone {
    /// A name more.
    pub fn name(mut self, name: &str, entry: Entry) -> Self {
        self.names.insert(name.to_owned(), entry);
        self
    }

    /// What all other names get; without it they do not exist.
    pub fn otherwise(mut self, entry: Entry) -> Self {
        self.otherwise = Some(entry);
        self
    }

    /// Starts a server on a free port of 127.0.0.1.
    pub fn serve(self) -> DnsServer {
        self.serve_at("127.0.0.1:0".parse().unwrap(), true)
    }

    /// Starts a server whose TCP port is closed.
    pub fn serve_without_tcp(self) -> DnsServer {
        self.serve_at("127.0.0.1:0".parse().unwrap(), false)
    }

    /// Starts a server.
    pub fn serve_at(self, address: SocketAddr, tcp: bool) -> DnsServer {
        let shared = Arc::new(Shared { names: self.names, otherwise: self.otherwise, ..Shared::default() });
        let mut server = DnsServer { address, tcp, shared, threads: Vec::new() };
        server.start();
        server
    }
}

impl DnsServer {
    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every question that came in, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen().clone()
    }

    /// How many questions came in.
    pub fn count(&self) -> usize {
        self.shared.seen().len()
    }

    /// How many questions came in over TCP.
    pub fn count_over_tcp(&self) -> usize {
        self.shared.seen().iter().filter(|seen| seen.over_tcp).count()
    }

    /// How many questions for a name came in.
    pub fn count_of(&self, name: &str) -> usize {
        let name = format!("{name}.");
        self.shared.seen().iter().filter(|seen| seen.name.eq_ignore_ascii_case(&name)).count()
    }

    /// The most questions over UDP that waited for their delayed answer at the same time.
    pub fn most_under_way(&self) -> usize {
        self.shared.most_under_way.load(Ordering::Relaxed)
    }

    /// Stops or resumes answering; questions are still recorded.
    pub fn mute(&self, muted: bool) {
        self.shared.muted.store(muted, Ordering::Relaxed);
    }

    /// Starts it again after a stop, on the same port.
    pub fn start(&mut self) {
        let (udp, tcp) = self.bind();
        self.address = udp.local_addr().unwrap();
        self.shared.stopping.store(false, Ordering::Relaxed);
        let (later, delayed) = channel();
        let sender = udp.try_clone().unwrap();
        let shared = Arc::clone(&self.shared);
        self.threads.push(thread::spawn(move || send_later(&shared, &sender, &delayed)));
        let shared = Arc::clone(&self.shared);
        self.threads.push(thread::spawn(move || serve_udp(&shared, &udp, &later)));
        if let Some(tcp) = tcp {
            let shared = Arc::clone(&self.shared);
            self.threads.push(thread::spawn(move || serve_tcp(&shared, &tcp)));
        }
    }

    /// A port that is free for UDP may be taken for TCP, and a stopped server's port for a moment by a client's socket.
    fn bind(&self) -> (UdpSocket, Option<TcpListener>) {
        for _ in 0..200 {
            if let Ok(udp) = UdpSocket::bind(self.address) {
                match TcpListener::bind(udp.local_addr().unwrap()) {
                    _ if !self.tcp => return (udp, None),
                    Ok(tcp) => return (udp, Some(tcp)),
                    Err(_) => {}
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("no port for a DNS server at {}", self.address);
    }

    /// Stops it: its port is closed.
    pub fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        if self.tcp {
            // Ends the wait for a connection.
            drop(TcpStream::connect(self.address));
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.stop();
        }
    }
}

/// When to send, what, and to whom.
type Delayed = (Instant, Vec<u8>, SocketAddr);

fn serve_udp(shared: &Shared, socket: &UdpSocket, later: &Sender<Delayed>) {
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut bytes = [0; 4096];
    while !shared.stopping.load(Ordering::Relaxed) {
        let Ok((length, client)) = socket.recv_from(&mut bytes) else { continue };
        let Some((delay, packets, _)) = shared.answer(&bytes[..length], client, false) else { continue };
        for packet in packets {
            if delay.is_zero() {
                // A server ignores clients that have disconnected.
                drop(socket.send_to(&packet, client));
            } else {
                let now = shared.under_way.fetch_add(1, Ordering::Relaxed) + 1;
                shared.most_under_way.fetch_max(now, Ordering::Relaxed);
                later.send((Instant::now() + delay, packet, client)).unwrap();
            }
        }
    }
}

fn send_later(shared: &Shared, socket: &UdpSocket, delayed: &Receiver<Delayed>) {
    let mut waiting: BTreeMap<(Instant, usize), (Vec<u8>, SocketAddr)> = BTreeMap::new();
    let mut number = 0;
    loop {
        let next = waiting.first_key_value().map(|((due, _), _)| *due);
        let wait = next.map_or(Duration::from_secs(60), |due| due.saturating_duration_since(Instant::now()));
        match delayed.recv_timeout(wait) {
            Ok((due, packet, client)) => {
                number += 1;
                waiting.insert((due, number), (packet, client));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= Instant::now()) {
            let (packet, client) = first.remove();
            shared.under_way.fetch_sub(1, Ordering::Relaxed);
            drop(socket.send_to(&packet, client));
        }
    }
}

fn serve_tcp(shared: &Arc<Shared>, listener: &TcpListener) {
    loop {
        let connection = listener.accept();
        if shared.stopping.load(Ordering::Relaxed) {
            return;
        }
        let Ok((mut connection, client)) = connection else { continue };
        let shared = Arc::clone(shared);
        thread::spawn(move || while serve_connection(&shared, &mut connection, client).is_ok() {});
    }
}

/// One question over TCP; an error ends the connection.
fn serve_connection(shared: &Shared, connection: &mut TcpStream, client: SocketAddr) -> std::io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut length = [0; 2];
    connection.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    connection.read_exact(&mut bytes)?;
    let Some((delay, packets, cut)) = shared.answer(&bytes, client, true) else { return Ok(()) };
    thread::sleep(delay);
    for packet in packets {
        // A cut answer is announced twice as long as it is.
        let length = if cut { packet.len() * 2 } else { packet.len() };
        connection.write_all(&u16::try_from(length).unwrap().to_be_bytes())?;
        connection.write_all(&packet)?;
    }
    if cut { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}
