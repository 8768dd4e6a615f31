//! What a node wants done.

use crate::{Nanos, Peer};

/// The place of a value in a node's store. Keys are ordered by their bytes.
pub type Key = Vec<u8>;

/// A change of one key: a new value, or none to delete it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The place.
    pub key: Key,
    /// The value; none deletes it.
    pub value: Option<Vec<u8>>,
}

/// How durable a write must be before the node is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Accepted by the store, which writes it out when it likes: a crash may lose it, together with
    /// everything that was persisted after it.
    Lazy,
    /// Synced: it survives the loss of power, if the disk tells the truth.
    Synced,
}

/// Writes that are made together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// The number under which the node is told that they are durable; none if it need not know.
    pub token: Option<u64>,
    /// The writes.
    pub writes: Vec<Write>,
    /// How durable.
    pub durability: Durability,
}

/// A value that the node wants from its store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The number under which it is told.
    pub token: u64,
    /// The place.
    pub key: Key,
}

/// What a node wants done, in order within each list. The driver empties it after each turn.
#[derive(Debug)]
pub struct Out<M> {
    /// Messages to send.
    pub sends: Vec<(Peer, M)>,
    /// Timers to set: the span from now, and the number under which it rings.
    pub timers: Vec<(Nanos, u64)>,
    /// Writes.
    pub persists: Vec<Persist>,
    /// Reads, which see all writes above.
    pub reads: Vec<Read>,
    /// Things that an operator should see, such as damage that was found: one line each.
    pub notices: Vec<String>,
}

impl<M> Default for Out<M> {
    fn default() -> Self {
        Out {
            sends: Vec::new(),
            timers: Vec::new(),
            persists: Vec::new(),
            reads: Vec::new(),
            notices: Vec::new(),
        }
    }
}

impl<M> Out<M> {
    /// Sends a message.
    pub fn send(&mut self, to: impl Into<Peer>, message: M) {
        self.sends.push((to.into(), message));
    }

    /// Has a timer ring after a span of time.
    pub fn timer(&mut self, after: Nanos, timer: u64) {
        self.timers.push((after, timer));
    }

    /// Persists writes, and says under `token` when they are as durable as asked for.
    pub fn persist(&mut self, token: Option<u64>, writes: Vec<Write>, durability: Durability) {
        self.persists.push(Persist {
            token,
            writes,
            durability,
        });
    }

    /// Reads a value.
    pub fn read(&mut self, token: u64, key: Key) {
        self.reads.push(Read { token, key });
    }

    /// Tells an operator.
    pub fn notice(&mut self, line: impl Into<String>) {
        self.notices.push(line.into());
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty()
            && self.timers.is_empty()
            && self.persists.is_empty()
            && self.reads.is_empty()
            && self.notices.is_empty()
    }
}
