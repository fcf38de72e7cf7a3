//! Lines between two programs, on which numbers are said all the time while something else happens.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_ip_tos;

use super::flood::StopOnDrop;
use crate::support::netns::{Side, Topology};
use crate::support::programs::connect_from;

/// When talk ends that nobody ends.
const LONGEST: Duration = Duration::from_secs(120);

/// Between two numbers: often enough to meet every change, and next to nothing beside a flood.
const PAUSE: Duration = Duration::from_millis(1);

/// How long a number is waited for; TCP says it again and again meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// A program of the namespaces, and where it is: side and address with port.
pub type Place<'a> = (Side, &'a str);

/// Two programs that are connected. One begins to speak, the other answers or is silent.
pub struct Line {
    name: String,
    speaker: End,
    listener: End,
    answers: bool,
    pause: Duration,
    /// As servers do, it goes on listening: a connection to nobody who listens does not look like one from outside.
    _listening: Option<TcpListener>,
}

enum End {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

/// What became of the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose they are.
    pub name: String,
    /// How many were said.
    pub said: u64,
    /// How many were not heard, or not answered, in time.
    pub lost: u64,
    /// The longest time until one was.
    pub longest: Duration,
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

    fn speak_until(&mut self, stop: &AtomicBool) -> Report {
        let mut report = Report { name: self.name.clone(), said: 0, lost: 0, longest: Duration::ZERO };
        let begin = Instant::now();
        while !stop.load(Ordering::Relaxed) && begin.elapsed() < LONGEST {
            let asked = Instant::now();
            report.said += 1;
            // Whatever the reason: who speaks has to be heard.
            if self.say(report.said).is_err() {
                report.lost += 1;
            }
            report.longest = report.longest.max(asked.elapsed());
            thread::sleep(self.pause);
        }
        report
    }
}

/// Speaks on all lines for as long as some work takes.
pub fn while_speaking<T>(lines: &mut [Line], work: impl FnOnce() -> T) -> (T, Vec<Report>) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stops = StopOnDrop(&stop);
        let stop = &stop;
        let speakers: Vec<_> = lines.iter_mut().map(|line| scope.spawn(move || line.speak_until(stop))).collect();
        let result = work();
        drop(stops);
        (result, speakers.into_iter().map(|speaker| speaker.join().unwrap()).collect())
    })
}

fn connected(topology: &Topology, client: Place<'_>, server: Place<'_>) -> ([End; 2], TcpListener) {
    let address = address_of(server);
    let listener = topology.within(server.0, || TcpListener::bind(address)).unwrap();
    let client = topology.within(client.0, || connect_from(address_of(client).ip(), address)).unwrap();
    let (server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        // A number must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    ([client, server].map(End::Tcp), listener)
}

fn paired(topology: &Topology, client: Place<'_>, server: Place<'_>) -> [End; 2] {
    let socket = |own: Place<'_>, peer: Place<'_>| {
        let socket = topology.within(own.0, || UdpSocket::bind(address_of(own))).unwrap();
        topology.within(own.0, || socket.connect(address_of(peer))).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        End::Udp(socket)
    };
    [socket(client, server), socket(server, client)]
}

fn address_of(place: Place<'_>) -> SocketAddr {
    place.1.parse().unwrap()
}

impl End {
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
