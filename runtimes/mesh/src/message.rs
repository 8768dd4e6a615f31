//! What cache servers, their clients and the bridges to their backing store say to each other.
//!
//! Everything may be lost, doubled and overtaken: requests may be repeated, frames have numbers, and
//! what is told of clocks only grows.

use crate::clock::{Clock, Slot};
use crate::core::Copied;
use crate::entry::Entry;
use crate::port::{Reply, Request};
use crate::ring::Ring;
use crate::version::{Key, Op, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_api::{Change, Value};
use triptych_nodes::Nanos;

/// What goes along the ring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Item {
    /// A version, at its n-th hop.
    Version {
        /// Which hop ends at the receiver.
        hop: u32,
        /// The version.
        version: Arc<Version>,
    },
    /// Of some dead servers: how many of their versions count. Goes once round.
    Frozen {
        /// Which hop ends at the receiver.
        hop: u32,
        /// By slot.
        frozen: BTreeMap<Slot, u64>,
    },
    /// All that the sender has, for a successor that has nothing. Always the first on a link.
    Copy(Arc<Copied>),
}

impl Item {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        match self {
            Item::Version { version, .. } => 3 + version.size(),
            Item::Frozen { frozen, .. } => 4 + 4 * frozen.len(),
            Item::Copy(copied) => copied.size(),
        }
    }
}

/// What a server says of itself; the others pass it on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The epoch in which it says it.
    pub epoch: u64,
    /// What all of its later writes cover.
    pub clock: Clock,
    /// Of the keys that it keeps in this epoch, the backing store has everything that this counts.
    pub done: Clock,
}

/// A row of the backing store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its key.
    pub key: Key,
    /// What is known of the key.
    pub entry: Entry,
    /// The versions that are in it.
    pub counted: Clock,
}

/// What a server asks of a bridge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// The rows of some keys.
    Fetch {
        /// Which.
        keys: Vec<Key>,
    },
    /// Replaces rows, each if its clock is still the expected one.
    Store {
        /// The expected clock of the row as it is, and the new row.
        rows: Vec<(Clock, Row)>,
    },
    /// The ring.
    Ring,
    /// Replaces the ring, if it is still of this epoch.
    Swap {
        /// The epoch before; 0 if there must not be a ring.
        expected: u64,
        /// The new one.
        ring: Ring,
    },
    /// The join of the clocks of all rows.
    Survey,
}

/// What a bridge answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Question::Fetch`], in its order; nothing for keys without a row.
    Rows(Vec<Option<Row>>),
    /// To [`Question::Store`], in its order: the clock that each row has now. It is the new one's if
    /// the row was replaced.
    Stored(Vec<Clock>),
    /// To [`Question::Ring`] and [`Question::Swap`]: the ring as it is now, if there is one.
    Ring(Option<Ring>),
    /// To [`Question::Survey`].
    Surveyed(Clock),
    /// The store could not do it, in words. Whether it had an effect is not known.
    Failed(String),
}

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// A client asks.
    Request {
        /// The client's number for it.
        op: u64,
        /// How long ago, in nanoseconds, the same was asked first and perhaps done; 0 the first time.
        age: Nanos,
        /// What.
        request: Request,
    },
    /// A server answers.
    Reply {
        /// The number of the request.
        op: u64,
        /// What.
        reply: Reply,
    },
    /// Along the ring.
    Frame {
        /// In this epoch.
        epoch: u64,
        /// The number of the first piece.
        first: u64,
        /// The pieces.
        items: Vec<Item>,
        /// Received by every server.
        stable: Clock,
        /// In the backing store.
        stored: Clock,
    },
    /// Back: everything below a number has come.
    Ack {
        /// In this epoch.
        epoch: u64,
        /// That number.
        next: u64,
        /// What the sender has received, then its successor, and so on, as far as the level needs it.
        held: Vec<Clock>,
        /// Received by every server.
        stable: Clock,
    },
    /// To both neighbours, now and then.
    Alive {
        /// In this epoch.
        epoch: u64,
        /// Received by every server.
        stable: Clock,
        /// In the backing store.
        stored: Clock,
        /// What servers have said of themselves.
        reports: Vec<(Slot, Report)>,
    },
    /// The sender knows no newer ring than the one of this epoch, and has heard that there is.
    Behind {
        /// That epoch.
        epoch: u64,
    },
    /// A ring, for somebody who does not seem to know it.
    Ring(Arc<Ring>),
    /// A bridge is there for whoever gets this, until its connection ends.
    Register,
    /// A server asks a bridge.
    Ask {
        /// The server's number for it.
        op: u64,
        /// What.
        question: Question,
    },
    /// A bridge answers.
    Answer {
        /// The number of the question.
        op: u64,
        /// What.
        answer: Answer,
    },
}

impl triptych_nodes::Message for Message {
    fn kind(&self) -> &'static str {
        match self {
            Message::Request { request, .. } => match request {
                Request::Read { .. } => "read",
                Request::ReadAt { .. } => "read-at",
                Request::Write { .. } => "write",
                Request::Update { .. } => "update",
                Request::Snapshot { .. } => "snapshot",
                Request::Status => "status",
            },
            Message::Reply { .. } => "reply",
            Message::Frame { .. } => "frame",
            Message::Ack { .. } => "ack",
            Message::Alive { .. } => "alive",
            Message::Behind { .. } => "behind",
            Message::Ring(_) => "ring",
            Message::Register => "register",
            Message::Ask { question, .. } => match question {
                Question::Fetch { .. } => "fetch",
                Question::Store { .. } => "store",
                Question::Ring => "ask-ring",
                Question::Swap { .. } => "swap",
                Question::Survey => "survey",
            },
            Message::Answer { answer, .. } => match answer {
                Answer::Rows(_) => "rows",
                Answer::Stored(_) => "stored",
                Answer::Ring(_) => "ring-is",
                Answer::Surveyed(_) => "surveyed",
                Answer::Failed(_) => "failed",
            },
        }
    }

    fn size(&self) -> usize {
        const HEAD: usize = 8;
        HEAD + match self {
            Message::Request { age, request, .. } => usize::from(*age > 0) * 4 + request.size(),
            Message::Reply { reply, .. } => reply.size(),
            Message::Frame {
                items,
                stable,
                stored,
                ..
            } => {
                let items: usize = items.iter().map(Item::size).sum();
                items + clock(stable) + clock(stored)
            }
            Message::Ack { held, stable, .. } => {
                held.iter().map(clock).sum::<usize>() + clock(stable)
            }
            Message::Alive {
                stable,
                stored,
                reports,
                ..
            } => {
                let report = |(_, r): &(Slot, Report)| 4 + clock(&r.clock) + clock(&r.done);
                reports.iter().map(report).sum::<usize>() + clock(stable) + clock(stored)
            }
            Message::Behind { .. } | Message::Register => 2,
            Message::Ring(ring) => ring.size(),
            Message::Ask { question, .. } => match question {
                Question::Fetch { keys } => keys.iter().map(Key::size).sum(),
                Question::Store { rows } => {
                    let row = |(expected, row): &(Clock, Row)| clock(expected) + row.size();
                    rows.iter().map(row).sum()
                }
                Question::Swap { ring, .. } => ring.size(),
                Question::Ring | Question::Survey => 2,
            },
            Message::Answer { answer, .. } => match answer {
                Answer::Rows(rows) => rows.iter().flatten().map(|row| 2 + row.size()).sum(),
                Answer::Stored(clocks) => clocks.iter().map(clock).sum(),
                Answer::Ring(ring) => ring.as_ref().map_or(1, Ring::size),
                Answer::Surveyed(found) => clock(found),
                Answer::Failed(words) => words.len(),
            },
        }
    }

    fn units(&self) -> usize {
        match self {
            Message::Frame { items, .. } => items.len().max(1),
            Message::Request { request, .. } => match request {
                Request::Read { keys, .. } | Request::ReadAt { keys, .. } => keys.len().max(1),
                Request::Write { ops, .. } => ops.len().max(1),
                _ => 1,
            },
            Message::Ask { question, .. } => match question {
                Question::Fetch { keys } => keys.len().max(1),
                Question::Store { rows } => rows.len().max(1),
                _ => 1,
            },
            Message::Answer { answer, .. } => match answer {
                Answer::Rows(rows) => rows.len().max(1),
                Answer::Stored(clocks) => clocks.len().max(1),
                _ => 1,
            },
            _ => 1,
        }
    }
}

/// Counters are written with as few bytes as they need; about three.
fn clock(clock: &Clock) -> usize {
    1 + 3 * clock.width()
}

fn seen(seen: &crate::Seen) -> usize {
    seen.value.as_ref().map_or(1, Value::size) + clock(&seen.win) + clock(&seen.clock)
}

fn change(change: &Change) -> usize {
    4 + change.field().len()
        + match change {
            Change::Set(_, value) | Change::Append { value, .. } => value.size(),
            Change::Add(..) => 4,
        }
}

impl Key {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        2 + self.table.len() + self.key.len()
    }
}

impl Op {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        1 + match self {
            Op::Put(value) => value.size(),
            Op::Change(changes) => changes.iter().map(change).sum(),
        }
    }
}

impl Version {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let ops = self.ops.iter().map(|(key, op)| key.size() + op.size());
        12 + clock(&self.clock) + ops.sum::<usize>()
    }
}

impl Row {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        self.key.size() + self.entry.size() + clock(&self.counted)
    }
}

impl Request {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let keys = |keys: &[Key]| keys.iter().map(Key::size).sum::<usize>();
        let versions = |own: &[Arc<Version>]| own.iter().map(|own| own.size()).sum::<usize>();
        match self {
            Request::Read { deps, own, keys: k } => clock(deps) + versions(own) + keys(k),
            Request::ReadAt {
                snapshot,
                own,
                keys: k,
            } => clock(snapshot) + versions(own) + keys(k),
            Request::Write { deps, own, ops, .. } => {
                let ops = ops.iter().map(|(key, op)| key.size() + op.size());
                let own = clock(&own.clock) + clock(&own.made);
                16 + clock(deps) + own + ops.sum::<usize>()
            }
            Request::Update {
                deps,
                own,
                key,
                changes,
                ..
            } => {
                let changes: usize = changes.iter().map(change).sum();
                // Conditions are small, and nobody reads them to say how small.
                40 + clock(deps) + versions(own) + key.size() + changes
            }
            Request::Snapshot { deps } => clock(deps),
            Request::Status => 1,
        }
    }
}

impl Reply {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        match self {
            Reply::Read { seen: all, stable } => {
                all.iter().map(seen).sum::<usize>() + clock(stable)
            }
            Reply::Written { version, stable } => version.size() + clock(stable),
            Reply::Updated {
                seen: found,
                version,
                stable,
                ..
            } => {
                let version = version.as_ref().map_or(0, |version| version.size());
                8 + seen(found) + version + clock(stable)
            }
            Reply::Snapshot { snapshot } => clock(snapshot),
            Reply::Status { gauges } => gauges.iter().map(|(name, _)| 4 + name.len()).sum(),
            Reply::Failed(_) => 8,
        }
    }
}
