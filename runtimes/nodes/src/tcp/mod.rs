//! A node as a process: the same state machine, driven by one event loop that speaks TCP.
//!
//! [`Server::bind`] takes the address and opens the store; [`Server::run`] makes the node and runs it
//! until its [`Handle`] says stop. [`run`] does both.
//!
//! One turn of the loop takes what has come (messages, timers, the store's answers), tells the node,
//! and writes once to each peer, with all that there is for it. Nobody waits for anybody: what the
//! system does not take at once waits in a buffer of the peer's own, and a message that finds it full,
//! or finds no connection, is dropped and counted, because nodes repair what is lost. A client that
//! takes nothing is read from no more, and then cut off.
//!
//! A node calls the nodes that it sends to, and is called by those that send to it: each connection
//! between nodes has one direction. Connections of clients have two. Both sides say hello first, so
//! that nobody speaks to another cluster, to a node that lives elsewhere now, or to another version.

mod client;
mod clock;
mod control;
mod core;
mod line;
mod server;
mod wire;

pub use client::{Client, Event};
pub use control::{Handle, Report, Sample};
pub use server::{Server, run};
pub use wire::HelloError;

use crate::NodeId;
use crate::disk::StoreError;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What bounds a node's memory and turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, in bytes.
    pub message_bytes: usize,
    /// Bytes that wait for one node; messages beyond that are dropped.
    pub peer_bytes: usize,
    /// Bytes that wait for one client, beyond which nothing is read from it.
    pub client_bytes: usize,
    /// Bytes that wait for one client, beyond which it is cut off: answers to what it had asked
    /// before, or what the node sends unasked.
    pub cut_off_bytes: usize,
    /// Bytes that have come, on all connections, and that the node has not been told of, beyond which
    /// nothing is read. Of one connection nothing is read while any are left.
    pub inbox_bytes: usize,
    /// Messages of one turn, if there are more; a packet is never divided.
    pub turn_messages: usize,
    /// Connections at the same time; more are closed at once.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            message_bytes: 16 << 20,
            peer_bytes: 64 << 20,
            client_bytes: 4 << 20,
            cut_off_bytes: 256 << 20,
            inbox_bytes: 64 << 20,
            turn_messages: 4_096,
            connections: 4_096,
        }
    }
}

/// Where a node keeps what it persists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In memory: nothing survives the process, and nothing has to be waited for.
    Memory,
    /// In a folder.
    Folder(PathBuf),
}

/// What makes a process a certain node.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node.
    pub node: NodeId,
    /// The name of its cluster: who has another one is not spoken to.
    pub cluster: String,
    /// The address to listen on; port 0 has the system choose one.
    pub listen: SocketAddr,
    /// Where it keeps its data.
    pub place: Place,
    /// What bounds its memory and turns.
    pub limits: Limits,
    /// Whether it measures how long it works on messages of each kind, which takes some time itself.
    pub measure: bool,
}

impl Options {
    /// A node that keeps its data in memory and listens on a port of its own.
    pub fn new(node: NodeId, cluster: &str) -> Self {
        Options {
            node,
            cluster: cluster.to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            place: Place::Memory,
            limits: Limits::default(),
            measure: false,
        }
    }
}

/// Where the nodes of a cluster are: host and port of each.
pub type Book = BTreeMap<NodeId, String>;

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refuses what the event loop needs.
    #[error("cannot start the event loop: {0}")]
    Loop(std::io::Error),
}
