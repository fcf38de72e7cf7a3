//! Messages to the kernel and its answers.
//!
//! The kernel processes messages before `send` returns, so its answers are available at once, and reads do not wait. A
//! transaction has one acknowledgement, at its end. Where many of its messages are refused, the receive buffer may have no
//! room for the later refusals. The kernel reports that once as ENOBUFS. It does not matter: the first refusal was
//! received, and after one refusal nothing has changed.

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, sockopt};

use super::NetlinkError;
use super::wire::{self, Received};

/// Room for a part of a list, of which the kernel sends 32 KiB at most.
const RECEIVE_BUFFER: usize = 64 << 10;

/// What the kernel needs of a send buffer in addition to the message.
const RESERVE: usize = 32;

/// `MAX_ERRNO` of the kernel's `err.h`.
const MAX_ERRNO: i32 = 4095;

/// `NLMSGERR_ATTR_OFFS` of `netlink.h`: the attribute of a message that the kernel refused.
const OFFENDING_ATTRIBUTE: u16 = 2;

/// A netlink socket.
pub struct Channel {
    socket: Socket,
    /// The number of the next message.
    next: u32,
    buffer: Vec<u8>,
}

/// How an answer of the kernel ends.
#[derive(Debug)]
pub enum Completion {
    /// The answer is complete.
    Done,
    /// The request was refused.
    Refused(Refusal),
}

/// An error that the kernel reports.
#[derive(Debug)]
pub struct Refusal {
    /// The message's number.
    pub number: u32,
    /// The error.
    pub errno: Errno,
    /// The offset in the message of the attribute that was refused.
    pub attribute: Option<usize>,
}

/// Reads the attributes of a message about tables.
pub type MessageReader<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), NetlinkError>;

impl Channel {
    /// Opens a socket in the network namespace of this thread.
    pub fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::PROTONOSUPPORT) => NetlinkError::NoTables,
            _ => NetlinkError::Io(error),
        })?;
        socket.bind_auto()?;
        // A socket connected to the kernel receives from no other process.
        socket.connect(&SocketAddr::new(0, 0))?;
        // Otherwise a refusal repeats the whole message.
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
        // After an overflow a socket receives nothing until its buffer is empty.
        while self.read()?.is_some() {}
        self.next = last.wrapping_add(1);
        match retry_on_intr(|| rustix::net::send(&self.socket, bytes, SendFlags::empty())) {
            Ok(_) => Ok(()),
            Err(Errno::NOMEM | Errno::NOBUFS) => Err(NetlinkError::NoMemory),
            Err(errno) => Err(NetlinkError::Io(errno.into())),
        }
    }

    /// Raises the send buffer to the size of a message.
    fn make_room(&self, bytes: usize) -> Result<(), NetlinkError> {
        let io = |errno: Errno| NetlinkError::Io(errno.into());
        let limit = || sockopt::socket_send_buffer_size(&self.socket).map(|size| size.saturating_sub(RESERVE));
        if bytes <= limit().map_err(io)? {
            return Ok(());
        }
        // Without CAP_NET_ADMIN, up to net.core.wmem_max.
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
    /// After an error of `each` the rest is still read: the kernel starts no second list before.
    pub fn receive(&mut self, last: u32, each: MessageReader<'_>) -> Result<Completion, NetlinkError> {
        let mut answer = Answer { last, each, outcome: Ok(()), generation: None };
        loop {
            let length = self.read()?.ok_or(NetlinkError::NoAnswer)?;
            let bytes = self.buffer.get(..length).ok_or(NetlinkError::Garbled)?;
            if let Some(completion) = answer.read(bytes)? {
                return answer.outcome.map(|()| completion);
            }
        }
    }

    /// Reads once; `None` where nothing is available.
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

/// An answer that is read in pieces.
pub struct Answer<'a> {
    /// The number of the last message that is answered.
    pub last: u32,
    /// Reads each part.
    pub each: MessageReader<'a>,
    /// The first error.
    pub outcome: Result<(), NetlinkError>,
    /// All parts of a consistent list carry the same generation of tables.
    pub generation: Option<u16>,
}

impl Answer<'_> {
    /// Reads the next messages; `None` while the answer goes on.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<Completion>, NetlinkError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (message, following) = Received::split(rest).ok_or(NetlinkError::Garbled)?;
            rest = following;
            if let Some((part, attributes)) = message.about_tables() {
                let is_torn = message.flags & wire::TORN != 0 || *self.generation.get_or_insert(part) != part;
                match self.outcome {
                    Ok(()) if is_torn => self.outcome = Err(NetlinkError::Torn),
                    Ok(()) => self.outcome = (self.each)(attributes),
                    Err(_) => {}
                }
            } else if let Some(completion) = end(message, self.last)? {
                return Ok(Some(completion));
            }
        }
        Ok(None)
    }
}

/// How a message ends an answer; `None` where the answer goes on.
fn end(message: Received<'_>, last: u32) -> Result<Option<Completion>, NetlinkError> {
    let number = message.number;
    let code = match (message.kind, message.body.first_chunk()) {
        (wire::ERROR | wire::DONE, Some(code)) => i32::from_ne_bytes(*code),
        // A list may end without a code.
        (wire::DONE, None) => 0,
        _ => return Err(NetlinkError::Garbled),
    };
    if code != 0 {
        // Others are no numbers of errors, and rustix would panic.
        let number_of_error = code.checked_neg().filter(|number| (1..=MAX_ERRNO).contains(number));
        let errno = Errno::from_raw_os_error(number_of_error.ok_or(NetlinkError::Garbled)?);
        return Ok(Some(Completion::Refused(Refusal { number, errno, attribute: offending_attribute(message) })));
    }
    Ok((number == last).then_some(Completion::Done))
}

/// The offset of the refused attribute, from the attributes of a refusal.
fn offending_attribute(refusal: Received<'_>) -> Option<usize> {
    // They follow the header of the refused message, and its body unless that is left out.
    let refused = refusal.body.get(4..)?;
    let length = match refusal.flags & wire::CAPPED {
        0 => u32::from_ne_bytes(*refused.first_chunk()?) as usize,
        _ => wire::HEADER,
    };
    let attributes = (refusal.flags & wire::NOTED != 0).then(|| refused.get(length.next_multiple_of(4)..))??;
    let offset = wire::find(attributes, OFFENDING_ATTRIBUTE)?;
    Some(u32::from_ne_bytes(offset.try_into().ok()?) as usize)
}
