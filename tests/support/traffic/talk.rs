//! Lines between two programs, on which numbers are said all the time while something else happens.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_ip_tos;

use super::flood::StopOnDrop;
use crate::support::netns::{Side, Topology, bound};
use crate::support::programs::connect_from;

/// When talk ends by itself.
const LONGEST: Duration = Duration::from_secs(600);

/// Between two numbers: often enough to meet every change, and next to nothing beside a flood.
const PAUSE: Duration = Duration::from_millis(1);

/// How long a number is waited for that must be heard; TCP repeats it meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long one is waited for that must be lost.
pub const SILENCE: Duration = Duration::from_secs(1);

/// A program of the namespaces, and where it is: side and address with port.
pub type Place<'a> = (Side, &'a str);

/// Two programs that are connected. One begins to speak, the other answers or is silent.
pub struct Line {
    name: String,
    speaker: End,
    listener: End,
    answers: bool,
    pause: Duration,
    /// As servers do, it goes on listening: without a listener, a connection does not look like one from outside.
    _listening: Option<TcpListener>,
}

enum End {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

/// How many numbers were heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose they are.
    pub name: String,
    /// How many were said.
    pub said: u64,
    /// How many were not heard, or not answered, in time.
    pub lost: u64,
}

impl Line {
    /// A client and a server that answers, over TCP. The client's port is chosen for it.
    pub fn tcp(topology: &Topology, client: Place<'_>, server: Place<'_>) -> Self {
        let ([speaker, listener], listening) = connected(topology, client, server);
        let name = format!("tcp {}", server.1);
        Self { name, speaker, listener, answers: true, pause: PAUSE, _listening: Some(listening) }
    }

    /// The same, but the server speaks and the client is silent: nothing but its acknowledgements comes back.
    pub fn tcp_push(topology: &Topology, client: Place<'_>, server: Place<'_>) -> Self {
        let ([listener, speaker], listening) = connected(topology, client, server);
        let name = format!("tcp push {}", server.1);
        Self { name, speaker, listener, answers: false, pause: PAUSE, _listening: Some(listening) }
    }

    /// A client and a server that answers, over UDP.
    pub fn udp(topology: &Topology, client: Place<'_>, server: Place<'_>) -> Self {
        let [speaker, listener] = paired(topology, client, server);
        Self { name: format!("udp {}", server.1), speaker, listener, answers: true, pause: PAUSE, _listening: None }
    }

    /// The same, but the server speaks, and not one packet comes back.
    pub fn udp_push(topology: &Topology, client: Place<'_>, server: Place<'_>) -> Self {
        let [listener, speaker] = paired(topology, client, server);
        Self {
            name: format!("udp push {}", server.1),
            speaker,
            listener,
            answers: false,
            pause: PAUSE,
            _listening: None,
        }
    }

    /// Waits so long for a number.
    pub fn patient(self, patience: Duration) -> Self {
        for end in [&self.speaker, &self.listener] {
            end.wait_for(patience).unwrap();
        }
        self
    }

    /// Says a number less often than others do.
    pub fn every(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Gives the packets of both ends a DSCP.
    pub fn marked(self, dscp: u8) -> Self {
        for end in [&self.speaker, &self.listener] {
            match end {
                End::Tcp(stream) => set_ip_tos(stream, dscp << 2),
                End::Udp(socket) => set_ip_tos(socket, dscp << 2),
            }
            .unwrap();
        }
        self
    }

    /// Says a number, and waits until it was heard, and answered where it is to be.
    fn say(&mut self, number: u64) -> io::Result<()> {
        self.speaker.say(number)?;
        self.listener.hear(number)?;
        if self.answers {
            self.listener.say(number)?;
            self.speaker.hear(number)?;
        }
        Ok(())
    }

    fn speak_until(&mut self, stop: &AtomicBool, tried: &AtomicU64) -> Report {
        let mut report = Report { name: self.name.clone(), said: 0, lost: 0 };
        let begin = Instant::now();
        while !stop.load(Ordering::Relaxed) && begin.elapsed() < LONGEST {
            report.said += 1;
            // Lost for any reason is lost.
            if self.say(report.said).is_err() {
                report.lost += 1;
            }
            tried.fetch_add(1, Ordering::Relaxed);
            thread::sleep(self.pause);
        }
        report
    }
}

/// Lines on which numbers are said, as the work beside them sees them.
pub struct Talk<'a> {
    /// How many numbers were heard or lost, by line.
    tried: &'a [AtomicU64],
}

impl Talk<'_> {
    /// Waits until a number was heard or lost on every line as often as `more` says, or one was waited for too long.
    pub fn wait(&self, more: u64) {
        let read = || self.tried.iter().map(|tried| tried.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let (before, begin) = (read(), Instant::now());
        while read().iter().zip(&before).any(|(now, before)| now - before < more) && begin.elapsed() < LONGEST {
            thread::sleep(PAUSE);
        }
    }
}

/// Speaks on all lines for as long as some work takes.
pub fn while_speaking<T>(lines: &mut [Line], work: impl FnOnce(&Talk<'_>) -> T) -> (T, Vec<Report>) {
    let stop = AtomicBool::new(false);
    let tried: Vec<AtomicU64> = lines.iter().map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        let stops = StopOnDrop(&stop);
        let stop = &stop;
        let pairs = lines.iter_mut().zip(&tried);
        let speakers: Vec<_> = pairs.map(|(line, tried)| scope.spawn(move || line.speak_until(stop, tried))).collect();
        let result = work(&Talk { tried: &tried });
        drop(stops);
        (result, speakers.into_iter().map(|speaker| speaker.join().unwrap()).collect())
    })
}

fn connected(topology: &Topology, client: Place<'_>, server: Place<'_>) -> ([End; 2], TcpListener) {
    let address = address_of(server);
    let listener = topology.within(server.0, || bound(|| TcpListener::bind(address))).unwrap();
    let client = topology.within(client.0, || connect_from(address_of(client).ip(), address)).unwrap();
    let (server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        // A number must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true).unwrap();
    }
    let ends = [client, server].map(End::Tcp);
    ends.iter().for_each(|end| end.wait_for(PATIENCE).unwrap());
    (ends, listener)
}

fn paired(topology: &Topology, client: Place<'_>, server: Place<'_>) -> [End; 2] {
    let socket = |own: Place<'_>, peer: Place<'_>| {
        let socket = topology.within(own.0, || bound(|| UdpSocket::bind(address_of(own)))).unwrap();
        topology.within(own.0, || socket.connect(address_of(peer))).unwrap();
        let end = End::Udp(socket);
        end.wait_for(PATIENCE).unwrap();
        end
    };
    [socket(client, server), socket(server, client)]
}

fn address_of(place: Place<'_>) -> SocketAddr {
    place.1.parse().unwrap()
}

impl End {
    fn wait_for(&self, patience: Duration) -> io::Result<()> {
        match self {
            End::Tcp(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))
            }
            End::Udp(socket) => socket.set_read_timeout(Some(patience)),
        }
    }

    fn say(&mut self, number: u64) -> io::Result<()> {
        match self {
            End::Tcp(stream) => stream.write_all(&number.to_be_bytes()),
            End::Udp(socket) => socket.send(&number.to_be_bytes()).map(drop),
        }
    }

    /// Waits for a number, and passes over those that came too late.
    fn hear(&mut self, number: u64) -> io::Result<()> {
        for _ in 0..=number {
            let mut bytes = [0; 8];
            match self {
                End::Tcp(stream) => stream.read_exact(&mut bytes)?,
                End::Udp(socket) => drop(socket.recv(&mut bytes)?),
            }
            match u64::from_be_bytes(bytes) {
                heard if heard == number => return Ok(()),
                late if late < number => {}
                early => panic!("{early} was heard before {number}"),
            }
        }
        Err(ErrorKind::InvalidData.into())
    }
}
