//! What log servers and cache servers share: a node is a state machine without I/O, and drivers run
//! it.
//!
//! A [`Node`] is told what happened (a message came, a timer rang, a write is durable, a read is
//! done) and says what it wants in an [`Out`]. It never waits, never asks for the time, draws no
//! random numbers, and keeps everything in ordered containers. So the same code is simulated in
//! virtual time, checked exhaustively, and run as a process that speaks TCP.
//!
//! What drivers promise, and what not:
//!
//! * A message is delivered at most once in most cases, but it may be lost, duplicated, delayed and
//!   overtaken. A node repairs what is lost.
//! * Effects of one call take place in the order in which they were asked for.
//! * Writes of one [`Persist`] are atomic, and a later one is never durable without the earlier ones.
//! * Time is a node's own: it does not go back while the node lives, and says nothing to other nodes
//!   or to its next life.
//! * Timers may ring late, and ring once. They cannot be taken back: a node that has changed its mind
//!   ignores them.
//! * A node that crashes loses everything but what was persisted, and is started again by its factory
//!   from [`Stored`].
//!
//! The drivers are [`sim`] and, with the feature `process`, `tcp`; a process keeps its data in a
//! `disk` folder.

pub mod bytes;
#[cfg(feature = "process")]
pub mod disk;
mod metrics;
mod out;
pub mod sim;
mod stored;
#[cfg(feature = "process")]
pub mod tcp;

pub use metrics::{KindCounts, Metrics};
pub use out::{Durability, Key, Out, Persist, Read, Write};
pub use stored::Stored;
pub use triptych_world::Nanos;

use serde::{Deserialize, Serialize};
use std::fmt;

/// A node of a cluster. Unique over all roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Who sends a message or gets one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Peer {
    /// A node of the cluster.
    Node(NodeId),
    /// Somebody outside of it, by a number that the driver of the node that it speaks to gave to the
    /// connection. The number is never used again while that node runs.
    Client(u64),
}

impl From<NodeId> for Peer {
    fn from(node: NodeId) -> Self {
        Peer::Node(node)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Node(node) => node.fmt(f),
            Peer::Client(client) => write!(f, "c{client}"),
        }
    }
}

/// What nodes of one kind of cluster say to each other and to clients.
pub trait Message: Clone + fmt::Debug + Serialize + for<'a> Deserialize<'a> + 'static {
    /// What kind of message it is, in one word of low cardinality: metrics are counted by it, and
    /// service times depend on it.
    fn kind(&self) -> &'static str;

    /// About how many bytes it takes on the wire. Cheap: it is asked for every message.
    fn size(&self) -> usize;

    /// About how many pieces of work it carries (records of a batch, for example); at least 1.
    /// Service times depend on it.
    fn units(&self) -> usize {
        1
    }
}

/// A server: a state machine without I/O.
pub trait Node {
    /// What it speaks.
    type Message: Message;

    /// The first call after the node was made, by whatever the factory found in [`Stored`].
    fn on_start(&mut self, now: Nanos, out: &mut Out<Self::Message>);

    /// A message has come.
    fn on_message(
        &mut self,
        now: Nanos,
        from: Peer,
        message: Self::Message,
        out: &mut Out<Self::Message>,
    );

    /// A timer rang that was set under this number.
    fn on_timer(&mut self, now: Nanos, timer: u64, out: &mut Out<Self::Message>);

    /// The writes that were persisted under this token are as durable as was asked for.
    fn on_persisted(&mut self, now: Nanos, token: u64, out: &mut Out<Self::Message>);

    /// The value that was asked for under this token, if there is one. It includes all writes that
    /// were persisted, by whatever call, before the read was asked for.
    fn on_read(
        &mut self,
        now: Nanos,
        token: u64,
        value: Option<Vec<u8>>,
        out: &mut Out<Self::Message>,
    );

    /// All that was sent, persisted and read in this turn is about to leave: the moment to send what
    /// was held back so that it goes in one message. Called after one or more of the calls above.
    fn on_turn_end(&mut self, _now: Nanos, _out: &mut Out<Self::Message>) {}

    /// A client's connection has ended: nobody listens any more.
    fn on_gone(&mut self, _client: u64) {}

    /// What an operator wants to know: names and values, in a fixed order.
    fn gauges(&self) -> Vec<(&'static str, u64)>;
}
