//! What nodes and clients of such a cluster say to each other. Systems differ in what clients ask
//! (`Q`) and are answered (`A`), and in what servers say to each other (`P`); all else is the same.

use crate::broker::Topic;
use crate::database::{Outcome, Query};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;
use triptych_nodes::Message;

/// What of a message a system defines itself.
pub trait Part: Clone + fmt::Debug + Serialize + for<'a> Deserialize<'a> + 'static {
    /// What kind of message it is; see [`Message::kind`].
    fn kind(&self) -> &'static str;

    /// About how many bytes it takes on the wire.
    fn size(&self) -> usize;

    /// How many keys it is about; at least 1.
    fn units(&self) -> usize {
        1
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Wire<Q, A, P> {
    /// A client asks.
    Request {
        /// The client's number of it.
        op: u64,
        /// What.
        request: Q,
    },
    /// A client is answered.
    Reply {
        /// The number under which it asked.
        op: u64,
        /// What.
        reply: A,
    },
    /// A server says something to another one.
    Peer(P),
    /// What a server and the broker say to each other.
    Topic(Topic),
    /// The way to the database tells its server that it is there.
    Bridge,
    /// A server asks the database.
    Query {
        /// The server's number of it.
        token: u64,
        /// What.
        query: Query,
    },
    /// The database has answered.
    Outcome {
        /// The number under which it was asked.
        token: u64,
        /// What.
        outcome: Outcome,
    },
}

impl<Q: Part, A: Part, P: Part> Message for Wire<Q, A, P> {
    fn kind(&self) -> &'static str {
        match self {
            Wire::Request { request, .. } => request.kind(),
            Wire::Reply { reply, .. } => reply.kind(),
            Wire::Peer(peer) => peer.kind(),
            Wire::Topic(topic) => topic.kind(),
            Wire::Bridge => "bridge",
            Wire::Query { .. } => "query",
            Wire::Outcome { .. } => "outcome",
        }
    }

    fn size(&self) -> usize {
        10 + match self {
            Wire::Request { request, .. } => request.size(),
            Wire::Reply { reply, .. } => reply.size(),
            Wire::Peer(peer) => peer.size(),
            Wire::Topic(topic) => topic.size(),
            Wire::Bridge => 0,
            Wire::Query { query, .. } => query.size(),
            Wire::Outcome { outcome, .. } => outcome.size(),
        }
    }

    fn units(&self) -> usize {
        match self {
            Wire::Request { request, .. } => request.units(),
            Wire::Reply { reply, .. } => reply.units(),
            Wire::Peer(peer) => peer.units(),
            Wire::Topic(topic) => topic.units(),
            Wire::Query { query, .. } => query.units(),
            Wire::Outcome { outcome, .. } => outcome.units(),
            Wire::Bridge => 1,
        }
    }
}

/// For systems whose servers say nothing to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

impl Part for Never {
    fn kind(&self) -> &'static str {
        match *self {}
    }

    fn size(&self) -> usize {
        match *self {}
    }
}

/// Why a request was not done.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// Not here and now; surely without effect.
    #[error("the server cannot serve now")]
    Unavailable,
    /// Nobody knows. A write may have been made.
    #[error("nobody knows what became of it: {0}")]
    Unknown(String),
    /// The workflow cannot go on with what it has read, and has had no effect: it is to be started
    /// again.
    #[error("aborted: {0}")]
    Aborted(String),
    /// The request makes no sense.
    #[error("{0}")]
    Bad(String),
}
