//! Programs with real sockets, which see less than probes do, but see it as the world does.
//!
//! An end is a side of the topology and an address there; those of servers have a port.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::netns::{Side, Topology, bound};

/// How long a socket waits for what must come. It comes at once, unless the host is busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long a socket waits for what must not come.
pub const SILENCE: Duration = Duration::from_millis(300);

/// What a connecting program learns at once of a reject, and in the end of a drop.
pub const REJECTED: io::ErrorKind = io::ErrorKind::HostUnreachable;
pub const DROPPED: io::ErrorKind = io::ErrorKind::TimedOut;

/// A connection between two real sockets, each in its namespace.
pub struct Conversation {
    client: TcpStream,
    server: TcpStream,
}

impl Conversation {
    /// Opens a connection as programs do.
    ///
    /// # Errors
    ///
    /// What the client's program is told, or that it has lost its patience.
    pub fn open(topology: &Topology, client: (Side, &str), server: (Side, &str)) -> io::Result<Self> {
        let server_address: SocketAddr = server.1.parse().unwrap();
        let listener = topology.within(server.0, || bound(|| TcpListener::bind(server_address)))?;
        let from = client.1.parse().unwrap();
        let client = topology.within(client.0, || connect_from(from, server_address))?;
        let (server, _) = listener.accept()?;
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(PATIENCE))?;
        }
        Ok(Self { client, server })
    }

    /// Sends a question and an answer.
    ///
    /// # Errors
    ///
    /// One of them did not come through.
    pub fn speak(&mut self) -> io::Result<()> {
        let mut heard = [0; 4];
        self.client.write_all(b"ping")?;
        self.server.read_exact(&mut heard)?;
        assert_eq!(&heard, b"ping");
        self.server.write_all(b"pong")?;
        self.client.read_exact(&mut heard)?;
        assert_eq!(&heard, b"pong");
        Ok(())
    }
}

/// Connects from an address, which those who own all of them have to choose.
///
/// The socket does not block: a reject that comes back within connect(2), as it does here, is a soft error of the
/// socket, and a connect that blocks would not look at that before it sends its SYN again, a second later.
///
/// # Errors
///
/// What the program is told, or that it has lost its patience.
pub fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    connect_within(from, to, PATIENCE)
}

/// As [`connect_from`], with a patience of the caller's.
///
/// # Errors
///
/// As [`connect_from`].
pub fn connect_within(from: IpAddr, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let client = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    bind(&client, &SocketAddr::new(from, 0))?;
    match connect(&client, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let client = TcpStream::from(client);
    let begin = Instant::now();
    while begin.elapsed() < patience {
        if let Some(error) = client.take_error()? {
            return Err(error);
        }
        if client.peer_addr().is_ok() {
            client.set_nonblocking(false)?;
            return Ok(client);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Asserts that a program cannot connect, and how it learns.
///
/// # Panics
///
/// Where it can, or learns otherwise.
pub fn assert_refused(topology: &Topology, client: (Side, &str), server: (Side, &str), kind: io::ErrorKind) {
    let (from, to) = (client.1.parse().unwrap(), server.1.parse().unwrap());
    let _listener = topology.within(server.0, || bound(|| TcpListener::bind(to))).unwrap();
    let patience = if kind == DROPPED { SILENCE } else { PATIENCE };
    let connected = topology.within(client.0, || connect_within(from, to, patience));
    let error = connected.err().unwrap_or_else(|| panic!("{server:?} answered"));
    assert_eq!(error.kind(), kind, "{client:?} to {server:?}: {error}");
}

/// Sends a datagram and the answer to it between real sockets.
///
/// # Errors
///
/// What the client's program is told, or that one of them was not heard.
pub fn ask(topology: &Topology, client: (Side, &str), server: (Side, &str)) -> io::Result<()> {
    ask_within(topology, client, server, PATIENCE)
}

/// Asserts that a datagram leaves, and that the server never hears it.
///
/// # Panics
///
/// Where it does not leave, or is heard.
pub fn assert_unheard(topology: &Topology, client: (Side, &str), server: (Side, &str)) {
    let error = ask_within(topology, client, server, SILENCE).expect_err("the server answered");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{client:?} to {server:?}: {error}");
}

fn ask_within(topology: &Topology, client: (Side, &str), server: (Side, &str), patience: Duration) -> io::Result<()> {
    let (from, to) = (SocketAddr::new(client.1.parse().unwrap(), 0), server.1.parse::<SocketAddr>().unwrap());
    let server = topology.within(server.0, || bound(|| UdpSocket::bind(to)))?;
    let client = topology.within(client.0, || UdpSocket::bind(from))?;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(patience))?;
    }
    let mut heard = [0; 8];
    client.send_to(b"ping", to)?;
    let (length, asker) = server.recv_from(&mut heard)?;
    assert_eq!((&heard[..length], asker.ip()), (&b"ping"[..], from.ip()));
    server.send_to(b"pong", asker)?;
    let (length, answerer) = client.recv_from(&mut heard)?;
    assert_eq!((&heard[..length], answerer), (&b"pong"[..], to));
    Ok(())
}
