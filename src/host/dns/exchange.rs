//! One question to one server.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{self, Poll, ready};
use std::time::Duration;

use futures_util::stream::StreamExt;
use hickory_net::NetError;
use hickory_net::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Message, Query, ResponseCode, SerialMessage};
use hickory_net::proto::rr::{Name, RecordType};
use hickory_net::runtime::{DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime};
use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsRequestSender, DnsStreamHandle, FirstAnswer};
use tokio::io::{Interest, ReadBuf};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::meaning::read;
use crate::net::Family;
use crate::resolution::{Answer, Question, Reply};

/// hickory's own timeout: longer than any of ours.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Queries a server over UDP, and over TCP where that is not enough. Where it refuses a query with EDNS, or `edns` is false,
/// without.
pub(super) async fn ask(server: SocketAddr, question: &Question, edns: bool, until: Instant) -> Answer {
    let answered = |reply| Answer { reply, server: Some(server) };
    let unanswered = |reply| Answer { reply, server: None };
    let malformed =
        |error: &dyn ToString| answered(Reply::Broken(format!("its answer is malformed: {}", error.to_string())));
    let query = match query(question) {
        Ok(query) => query,
        Err(error) => return unanswered(Reply::Broken(error.to_string())),
    };
    let mut request = request(&query, edns);
    let mut received = timeout_at(until, over_udp(server, request.clone())).await;
    if edns && matches!(&received, Ok(Ok(message)) if refuses_edns(message)) {
        request = self::request(&query, false);
        received = timeout_at(until, over_udp(server, request.clone())).await;
    }
    let failure = match received {
        Err(_) | Ok(Err(NetError::Timeout)) => return unanswered(Reply::Timeout),
        Ok(Ok(message)) if !message.truncation => return answered(read(&query, &message)),
        Ok(Ok(_)) => Reply::Truncated,
        // A forger that cannot see the query cannot repeat its case. A server that does not repeat it may be trusted over TCP.
        Ok(Err(NetError::QueryCaseMismatch)) => {
            Reply::Broken("it changes the case of the name (0x20), and gives no answer over TCP".to_owned())
        }
        Ok(Err(NetError::Io(error))) => return unanswered(Reply::Broken(format!("{server}: {error}"))),
        Ok(Err(error)) => return malformed(&error),
    };
    match timeout_at(until, over_tcp(server, request)).await {
        Ok(Ok(message)) if message.truncation => answered(Reply::Truncated),
        Ok(Ok(message)) => answered(read(&query, &message)),
        Ok(Err(NetError::Proto(error))) => malformed(&error),
        Ok(Err(_)) | Err(_) => answered(failure),
    }
}

fn query(question: &Question) -> Result<Query, NetError> {
    let record_type = match question.family {
        Family::V4 => RecordType::A,
        Family::V6 => RecordType::AAAA,
    };
    Ok(Query::query(Name::from_ascii(format!("{}.", question.name))?, record_type))
}

/// Whether a server that does not know EDNS has answered (RFC 6891 section 7).
fn refuses_edns(message: &Message) -> bool {
    matches!(message.response_code, ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS)
}

/// The query: recursion desired, 1,232 bytes over UDP (DNS flag day 2020) or 512 without EDNS, random case (0x20).
fn request(query: &Query, edns: bool) -> DnsRequest {
    let mut options = DnsRequestOptions::default();
    options.case_randomization = true;
    options.use_edns = edns;
    DnsRequest::from_query(query.clone(), options)
}

/// Sends one packet from a random port. hickory ignores answers from elsewhere, with another id or to another question;
/// timeouts and repetitions are up to the caller.
async fn over_udp(server: SocketAddr, request: DnsRequest) -> Result<Message, NetError> {
    let mut stream =
        UdpClientStream::builder(server, Connected::default()).with_timeout(Some(NEVER)).with_max_retries(0).build();
    Ok(stream.send_message(request).first_answer().await?.into_message())
}

/// Queries over a new connection: a server may close a shared one at any time.
async fn over_tcp(server: SocketAddr, request: DnsRequest) -> Result<Message, NetError> {
    let (connection, mut sender) = TcpClientStream::new(server, None, Some(NEVER), Connected::default());
    let mut connection = connection.await?;
    sender.send(SerialMessage::new(request.to_vec()?, server))?;
    while let Some(bytes) = connection.next().await {
        let message = DnsResponse::from_buffer(bytes?.into_parts().0)?.into_message();
        if message.id == request.id && message.queries == request.queries {
            return Ok(message);
        }
    }
    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
}

/// tokio for hickory, with connected UDP sockets: packets from elsewhere are not received, and a closed port or a reject by
/// a firewall is an immediate error and not a timeout.
#[derive(Clone, Default)]
struct Connected(TokioRuntimeProvider);

struct ConnectedUdp {
    socket: UdpSocket,
    server: SocketAddr,
}

impl RuntimeProvider for Connected {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = ConnectedUdp;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        self.0.connect_tcp(server, local, timeout)
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Udp>>>> {
        Box::pin(async move {
            let socket = UdpSocket::bind(local).await?;
            socket.connect(server).await?;
            Ok(ConnectedUdp { socket, server })
        })
    }
}

impl DnsUdpSocket for ConnectedUdp {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        context: &mut task::Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(bytes);
        ready!(self.socket.poll_recv(context, &mut buffer))?;
        Poll::Ready(Ok((buffer.filled().len(), self.server)))
    }

    /// As in the trait, but an error ends it, too: an ICMP error does not make a socket readable.
    fn recv_from<'a, 'b, 'c>(
        &'a self,
        bytes: &'b mut [u8],
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<(usize, SocketAddr)>> + 'c>>
    where
        'a: 'c,
        'b: 'c,
    {
        Box::pin(async move {
            loop {
                let ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
                if ready.is_error() {
                    return Err(self.socket.take_error()?.unwrap_or(io::ErrorKind::Other.into()));
                }
                match self.socket.try_recv(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    received => return Ok((received?, self.server)),
                }
            }
        })
    }

    fn poll_send_to(&self, context: &mut task::Context<'_>, bytes: &[u8], _: SocketAddr) -> Poll<io::Result<usize>> {
        self.socket.poll_send(context, bytes)
    }
}
