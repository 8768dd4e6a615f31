//! What stands on the wire: a hello of each side, then messages, each behind its length.
//!
//! All numbers are little-endian. The beginning of a hello, magic and version, is the same in all
//! versions, so that different ones can say that they are.

use super::clock::Stopwatch;
use crate::{Message, NodeId};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use triptych_world::mix_str;

const MAGIC: [u8; 8] = *b"triptych";
const VERSION: u16 = 1;
pub(super) const HELLO: usize = 24;

/// Who speaks, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// A hash of the cluster's name.
    pub(super) cluster: u64,
    /// The node that speaks; none if it is a client.
    pub(super) from: Option<NodeId>,
    /// The node that is spoken to, or who is thought to be it.
    pub(super) to: NodeId,
    pub(super) verdict: Verdict,
}

/// What the side that was called says to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Welcome; callers always say this.
    Welcome = 0,
    /// It speaks another version.
    Version = 1,
    /// It belongs to another cluster.
    Cluster = 2,
    /// It is another node.
    Node = 3,
    /// It does not know the node that calls.
    Stranger = 4,
}

/// Why two do not speak to each other.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The other side is something else altogether.
    #[error("the other side does not speak this protocol")]
    Protocol,
    /// The other side speaks another version.
    #[error("the other side speaks version {theirs}, this one {ours}")]
    Version {
        /// Its version.
        theirs: u16,
        /// The version of this side.
        ours: u16,
    },
    /// The other side belongs to a cluster of another name.
    #[error("the other side belongs to another cluster")]
    Cluster,
    /// The other side is another node.
    #[error("the other side is node {found}, not {expected}")]
    Node {
        /// Who was expected.
        expected: NodeId,
        /// Who it is.
        found: NodeId,
    },
    /// The node that calls stands in no address book of the other side.
    #[error("the other side knows no node {0}")]
    Stranger(NodeId),
    /// It took too long.
    #[error("no connection in time")]
    Late,
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

pub(super) fn cluster_hash(name: &str) -> u64 {
    mix_str(0, name)
}

impl Hello {
    pub(super) fn encode(&self) -> [u8; HELLO] {
        let mut bytes = [0; HELLO];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..18].copy_from_slice(&self.cluster.to_le_bytes());
        bytes[18] = u8::from(self.from.is_none());
        let from = self.from.map_or(0, |node| node.0);
        bytes[19..21].copy_from_slice(&from.to_le_bytes());
        bytes[21..23].copy_from_slice(&self.to.0.to_le_bytes());
        bytes[23] = self.verdict as u8;
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HELLO]) -> Result<Self, HelloError> {
        let two = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if bytes[..8] != MAGIC {
            return Err(HelloError::Protocol);
        }
        if two(8) != VERSION {
            return Err(HelloError::Version {
                theirs: two(8),
                ours: VERSION,
            });
        }
        let cluster = bytes[10..18].try_into().expect("these are eight");
        let from = match bytes[18] {
            0 => Some(NodeId(two(19))),
            1 => None,
            _ => return Err(HelloError::Protocol),
        };
        let verdict = match bytes[23] {
            0 => Verdict::Welcome,
            1 => Verdict::Version,
            2 => Verdict::Cluster,
            3 => Verdict::Node,
            4 => Verdict::Stranger,
            _ => return Err(HelloError::Protocol),
        };
        Ok(Hello {
            cluster: u64::from_le_bytes(cluster),
            from,
            to: NodeId(two(21)),
            verdict,
        })
    }
}

/// Reads a hello.
pub(super) async fn read_hello(stream: &TcpStream) -> Result<Hello, HelloError> {
    let mut bytes = [0; HELLO];
    let mut have = 0;
    while have < HELLO {
        stream.readable().await?;
        match stream.try_read(&mut bytes[have..]) {
            Ok(0) => return Err(HelloError::Io(ErrorKind::UnexpectedEof.into())),
            Ok(count) => have += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(HelloError::Io(error)),
        }
        // Who speaks something else may never send as many bytes as a hello has.
        let known = have.min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(HelloError::Protocol);
        }
    }
    Hello::decode(&bytes)
}

/// Writes a hello.
pub(super) async fn write_hello(stream: &TcpStream, hello: Hello) -> io::Result<()> {
    let bytes = hello.encode();
    let mut sent = 0;
    while sent < HELLO {
        stream.writable().await?;
        match stream.try_write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("it was closed")]
    Closed,
    #[error("a message of {0} bytes is larger than {1}")]
    TooLarge(usize, usize),
    #[error("a message makes no sense: {0}")]
    Nonsense(postcard::Error),
    #[error("it sends where it should only listen")]
    Unasked,
    #[error("nothing could be sent for too long")]
    Stuck,
    #[error("it takes too little of what is sent to it")]
    Full,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl LineError {
    /// Whether the other side has broken a rule.
    pub(super) fn is_offence(&self) -> bool {
        use LineError::{Full, Nonsense, TooLarge, Unasked};
        matches!(self, TooLarge(..) | Nonsense(_) | Unasked | Full)
    }
}

const LENGTH: usize = 4;
/// A buffer for what comes begins with so many bytes, and grows while it is filled at once.
const FIRST: usize = 16 << 10;
/// It grows beyond this only for a single message.
const LARGE: usize = 256 << 10;

/// What has come and was not taken yet.
pub(super) struct Incoming {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
    /// What the last read brought, in bytes, and how long it took, in nanoseconds, if that is measured.
    pub(super) last: (usize, u64),
    /// Whether it is.
    pub(super) measure: bool,
}

impl Incoming {
    /// Messages of more than `limit` bytes are refused.
    pub(super) fn new(limit: usize) -> Self {
        Incoming {
            bytes: vec![0; FIRST],
            start: 0,
            end: 0,
            limit,
            last: (0, 0),
            measure: false,
        }
    }

    /// Waits until something comes, and reads once.
    pub(super) async fn fill(&mut self, stream: &mut OwnedReadHalf) -> Result<(), LineError> {
        if self.end == self.bytes.len() {
            self.bytes.copy_within(self.start.., 0);
            self.end -= self.start;
            self.start = 0;
            // All of it is one message, or it was filled at once: more room helps. What a length
            // claims is believed only as far as bytes have come.
            if self.end > self.bytes.len() / 2 || self.bytes.len() < LARGE {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
        }
        let (room, measure) = (&mut self.bytes[self.end..], self.measure);
        let mut room = ReadBuf::new(room);
        // Not a look whether there is something and then a reading: what does not fill the buffer was
        // all, and tokio does not ask the system again to learn that.
        let took = poll_fn(|context| {
            let begun = measure.then(Stopwatch::start);
            let read = Pin::new(&mut *stream).poll_read(context, &mut room);
            read.map_ok(|()| begun.map_or(0, Stopwatch::nanos))
        });
        let took = took.await?;
        match room.filled().len() {
            0 => Err(LineError::Closed),
            count => {
                self.end += count;
                self.last = (count, took);
                Ok(())
            }
        }
    }

    /// Takes the next message, with the bytes that it took on the wire.
    pub(super) fn next<M: Message>(&mut self) -> Result<Option<(M, usize)>, LineError> {
        let have = &self.bytes[self.start..self.end];
        let Some((length, rest)) = have.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > self.limit {
            return Err(LineError::TooLarge(length, self.limit));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let message = postcard::take_from_bytes(body).map_err(LineError::Nonsense)?;
        let (message, left) = message;
        if !left.is_empty() {
            return Err(LineError::Nonsense(postcard::Error::SerializeBufferFull));
        }
        self.start += LENGTH + length;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > LARGE {
                self.bytes.truncate(LARGE);
                self.bytes.shrink_to_fit();
            }
        }
        Ok(Some((message, LENGTH + length)))
    }
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room.
    Full,
    /// It is larger than messages may be, or cannot be encoded.
    TooLarge,
}

/// What is to be sent on a connection.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// How many of the bytes were sent.
    head: usize,
    /// How many bytes were sent of all that ever were to be.
    sent: u64,
    /// For each message that was not sent whole: where it ends, counted as `sent` is, and its kind.
    messages: VecDeque<(u64, &'static str)>,
}

/// Appends to a vector what is serialised.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl Outgoing {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Takes a message of at most `limit` bytes, unless more than `room` bytes would wait then.
    /// Returns how many bytes it takes.
    pub(super) fn push<M: Message>(
        &mut self,
        message: &M,
        limit: usize,
        room: usize,
    ) -> Result<usize, Refusal> {
        let start = self.bytes.len();
        self.bytes.extend([0; LENGTH]);
        let encoded = postcard::serialize_with_flavor(message, Append(&mut self.bytes));
        let length = self.bytes.len() - start - LENGTH;
        let refusal = if encoded.is_err() || length > limit {
            Some(Refusal::TooLarge)
        } else if self.len() > room {
            Some(Refusal::Full)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.bytes.truncate(start);
            return Err(refusal);
        }
        let length = u32::try_from(length).expect("the limit is below 2^32");
        self.bytes[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
        let end = self.sent + self.len() as u64;
        self.messages.push_back((end, message.kind()));
        Ok(LENGTH + length as usize)
    }

    /// Sends as much as the system takes. Returns how much that was.
    pub(super) fn flush(&mut self, stream: &OwnedWriteHalf) -> io::Result<usize> {
        let before = self.sent;
        while self.len() > 0 {
            match stream.try_write(&self.bytes[self.head..]) {
                Ok(count) => {
                    self.head += count;
                    self.sent += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        while let Some((end, _)) = self.messages.front() {
            if *end > self.sent {
                break;
            }
            self.messages.pop_front();
        }
        if self.len() == 0 {
            self.bytes.clear();
            self.bytes.shrink_to(LARGE);
            self.head = 0;
        } else if self.head > self.bytes.len() / 2 {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        Ok((self.sent - before) as usize)
    }

    /// Forgets everything; says of what kinds the messages were that were not sent whole.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = &'static str> + use<> {
        let lost = std::mem::take(&mut self.messages);
        *self = Outgoing::default();
        lost.into_iter().map(|(_, kind)| kind)
    }
}
