//! Messages to the kernel and its answers.
//!
//! The kernel works on what is sent before `send` returns, so its answers are there to be read, and to wait for one
//! would be to wait for ever. A transaction has one acknowledgement, at its end. Where many messages of it are
//! refused, the later refusals may find no room in the receive buffer; the kernel reports that once as ENOBUFS, and
//! it does not matter: the first refusal is there, and one is enough for nothing to have changed.

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, sockopt};

use super::NetlinkError;
use super::wire::{self, Received};

/// The kernel writes lists in parts of 32 KiB at most.
const RECEIVE_BUFFER: usize = 64 << 10;

/// What the kernel needs of a send buffer besides the message.
const RESERVE: usize = 32;

/// `NLMSGERR_ATTR_OFFS` of `netlink.h`: at which attribute of a message the kernel took offence.
const OFFENDING_ATTRIBUTE: u16 = 2;

/// A netlink socket.
pub struct Channel {
    socket: Socket,
    /// The number of the next message.
    next: u32,
    buffer: Vec<u8>,
}

/// How the kernel's answer ends.
#[derive(Debug)]
pub enum Completion {
    /// It is complete.
    Done,
    /// There is none.
    Refused(Refusal),
}

/// An error that the kernel reports.
#[derive(Debug)]
pub struct Refusal {
    /// The message's number.
    pub number: u32,
    /// What is wrong.
    pub errno: Errno,
    /// Where in the message the attribute begins that it is about.
    pub attribute: Option<usize>,
}

/// Reads the attributes of a message about tables.
pub type MessageReader<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), NetlinkError>;

impl Channel {
    /// Opens a socket in the network namespace of this thread.
    pub fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        // Connected to the kernel, the socket takes messages of nobody else.
        socket.connect(&SocketAddr::new(0, 0))?;
        // A refusal would else repeat the message that it is about.
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        Ok(Self { socket, next: 1, buffer: vec![0; RECEIVE_BUFFER] })
    }

    /// The number for the next message.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Sends messages in one piece; `last` is the number of the last of them.
    pub fn send(&mut self, bytes: &[u8], last: u32) -> Result<(), NetlinkError> {
        self.make_room(bytes.len())?;
        // Once its receive buffer was full, a socket gets nothing before it is empty.
        while self.read()?.is_some() {}
        self.next = last.wrapping_add(1);
        match retry_on_intr(|| rustix::net::send(&self.socket, bytes, SendFlags::empty())) {
            Ok(_) => Ok(()),
            Err(Errno::NOMEM | Errno::NOBUFS) => Err(NetlinkError::NoMemory),
            Err(errno) => Err(NetlinkError::Io(errno.into())),
        }
    }

    /// Raises the send buffer to what is sent at once.
    fn make_room(&self, bytes: usize) -> Result<(), NetlinkError> {
        let io = |errno: Errno| NetlinkError::Io(errno.into());
        let limit = || sockopt::socket_send_buffer_size(&self.socket).map(|size| size.saturating_sub(RESERVE));
        if bytes <= limit().map_err(io)? {
            return Ok(());
        }
        // Without the right to more, as much as net.core.wmem_max grants.
        if sockopt::set_socket_send_buffer_size_force(&self.socket, bytes).is_err() {
            sockopt::set_socket_send_buffer_size(&self.socket, bytes).map_err(io)?;
        }
        match limit().map_err(io)? {
            limit if bytes <= limit => Ok(()),
            limit => Err(NetlinkError::TooLarge { bytes, limit }),
        }
    }

    /// Reads answers until a message is refused, or the one with the number `last` is done.
    ///
    /// After an error of `each` the rest is read all the same: the kernel begins no second list before.
    pub fn receive(&mut self, last: u32, each: MessageReader<'_>) -> Result<Completion, NetlinkError> {
        let mut outcome = Ok(());
        // All parts of a list have the same generation of tables, or they are not of one list.
        let mut generation = None;
        loop {
            let length = self.read()?.ok_or(NetlinkError::NoAnswer)?;
            let mut rest = self.buffer.get(..length).ok_or(NetlinkError::Garbled)?;
            while !rest.is_empty() {
                let (message, behind) = Received::split(rest).ok_or(NetlinkError::Garbled)?;
                rest = behind;
                if let Some((part, attributes)) = message.about_tables() {
                    let is_torn = message.flags & wire::TORN != 0 || *generation.get_or_insert(part) != part;
                    outcome = match outcome {
                        Ok(()) if is_torn => Err(NetlinkError::Torn),
                        Ok(()) => each(attributes),
                        error => error,
                    };
                } else if let Some(answer) = end(message, last)? {
                    return outcome.map(|()| answer);
                }
            }
        }
    }

    /// Reads what one system call gives; `None` where nothing is there.
    fn read(&mut self) -> Result<Option<usize>, NetlinkError> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        loop {
            match retry_on_intr(|| rustix::net::recv(&self.socket, &mut self.buffer[..], flags)) {
                // With `TRUNC` the second length is the message's, which may be more than was read.
                Ok((_, length)) => return Ok(Some(length)),
                Err(Errno::NOBUFS) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(errno) => return Err(NetlinkError::Io(errno.into())),
            }
        }
    }
}

/// The answer that a message is the end of.
fn end(message: Received<'_>, last: u32) -> Result<Option<Completion>, NetlinkError> {
    let number = message.number;
    let code = match (message.kind, message.body.first_chunk()) {
        (wire::ERROR | wire::DONE, Some(code)) => i32::from_ne_bytes(*code),
        // A list may end without a code.
        (wire::DONE, None) => 0,
        _ => return Err(NetlinkError::Garbled),
    };
    if code != 0 {
        let errno = Errno::from_raw_os_error(code.saturating_neg());
        return Ok(Some(Completion::Refused(Refusal { number, errno, attribute: offending_attribute(message) })));
    }
    Ok((number == last).then_some(Completion::Done))
}

/// Reads from the notes behind a refusal where in the message the offending attribute begins.
fn offending_attribute(refusal: Received<'_>) -> Option<usize> {
    // Before the notes stands the refused message's header, and where it is not left out, the message.
    let refused = refusal.body.get(4..)?;
    let length = match refusal.flags & wire::CAPPED {
        0 => u32::from_ne_bytes(*refused.first_chunk()?) as usize,
        _ => wire::HEADER,
    };
    let notes = (refusal.flags & wire::NOTED != 0).then(|| refused.get(length.next_multiple_of(4)..))??;
    let offset = wire::find(notes, OFFENDING_ATTRIBUTE)?;
    Some(u32::from_ne_bytes(offset.try_into().ok()?) as usize)
}
