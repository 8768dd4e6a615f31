//! What clients and servers say to each other.

use crate::line::{Deps, Line, clock_size, deps_size};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_api::Value;
use triptych_cached::Attempt;
use triptych_mesh::{Clock, Key};
use triptych_refreshed::database::key_size;
use triptych_refreshed::{Answer, Failure, Part, Wire};

/// Which state of a key a workflow must see, and who has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The state: this one or, of what was not read, a newer one.
    pub clock: Clock,
    /// The server, from 0, that keeps it for the workflow.
    pub at: u16,
}

/// Keys, and which state of each a workflow must see.
pub type Holds = BTreeMap<Key, Held>;

/// What a read found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Got {
    /// The line; its dependencies without what is stable.
    pub line: Arc<Line>,
    /// The server that keeps it for the workflow.
    pub at: u16,
    /// The server that keeps what belongs to it.
    pub deps_at: u16,
}

/// What clients ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Conservative: the values of some keys in the workflow's snapshot. Whatever is missing in it is
    /// added.
    Snapshot {
        /// The workflow's attempt.
        attempt: Attempt,
        /// The server where it began, which makes the snapshot.
        home: u16,
        /// What its session has seen.
        floor: Deps,
        /// The keys.
        keys: Vec<Key>,
    },
    /// Optimistic: the values of some keys that fit what the workflow has read.
    Read {
        /// The workflow's attempt.
        attempt: Attempt,
        /// What it has read.
        read: Holds,
        /// Of these keys: what it must not see older, because of what it has read.
        seen: Holds,
        /// Of these keys: what it must not see older, because of its session.
        floor: Deps,
        /// The keys.
        keys: Vec<Key>,
    },
    /// Makes a workflow's writes durable, and visible all together.
    Flush {
        /// No key twice.
        writes: Vec<(Key, Value)>,
        /// What they depend on.
        deps: Deps,
    },
    /// The workflow is over; needs no answer.
    End {
        /// Its attempt.
        attempt: Attempt,
        /// The servers that may hold something for it.
        servers: Vec<u16>,
    },
}

/// What clients are answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Of [`Request::Snapshot`] and [`Request::Read`]: in the order of the keys.
    Read {
        /// What was found.
        got: Vec<Got>,
        /// What every server shows.
        stable: Clock,
    },
    /// Of [`Request::Flush`].
    Flushed {
        /// Which writes they were, in their order.
        clocks: Vec<Clock>,
        /// What every server shows.
        stable: Clock,
    },
    /// It was not done.
    Failed(Failure),
}

/// What servers say to each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Peer {
    /// Optimistic: what does a workflow see of a key at a server where it was?
    Hold {
        /// The asker's number.
        token: u64,
        /// The workflow's attempt.
        attempt: Attempt,
        /// The key.
        key: Key,
    },
    /// Conservative: the lines of some keys as they are shown; the server remembers this state for
    /// the workflow, and goes by it when it is asked again.
    Look {
        /// The asker's number.
        token: u64,
        /// The workflow's attempt.
        attempt: Attempt,
        /// The keys.
        keys: Vec<Key>,
    },
    /// Conservative: the workflow's home is to add some keys to its snapshot.
    Extend {
        /// The asker's number.
        token: u64,
        /// The workflow's attempt.
        attempt: Attempt,
        /// What its session has seen.
        floor: Deps,
        /// The keys.
        keys: Vec<Key>,
    },
    /// Of [`Peer::Hold`], [`Peer::Look`] and [`Peer::Extend`].
    Lines {
        /// The asker's number.
        token: u64,
        /// Whose keys, in their order; none where the server has none.
        lines: Result<Vec<Option<Arc<Line>>>, Failure>,
    },
    /// Conservative: what a workflow's snapshot has of some keys.
    Keep {
        /// The workflow's attempt.
        attempt: Attempt,
        /// Keys and lines.
        lines: Vec<(Key, Arc<Line>)>,
    },
    /// A workflow is over.
    Over {
        /// Its attempt.
        attempt: Attempt,
    },
}

/// What the nodes speak.
pub type Message = Wire<Request, Reply, Peer>;

const ATTEMPT: usize = 10;

fn keys_size(keys: &[Key]) -> usize {
    keys.iter().map(key_size).sum()
}

/// About the bytes on the wire.
pub fn holds_size(holds: &Holds) -> usize {
    let size = |(key, held): (&Key, &Held)| key_size(key) + clock_size(&held.clock) + 1;
    1 + holds.iter().map(size).sum::<usize>()
}

impl Part for Request {
    fn kind(&self) -> &'static str {
        match self {
            Request::Snapshot { .. } | Request::Read { .. } => "read",
            Request::Flush { .. } => "flush",
            Request::End { .. } => "end",
        }
    }

    fn size(&self) -> usize {
        match self {
            Request::Snapshot { floor, keys, .. } => ATTEMPT + deps_size(floor) + keys_size(keys),
            Request::Read {
                read,
                seen,
                floor,
                keys,
                ..
            } => {
                let known = holds_size(read) + holds_size(seen) + deps_size(floor);
                ATTEMPT + known + keys_size(keys)
            }
            Request::Flush { writes, deps } => {
                let size = |(key, value): &(Key, Value)| key_size(key) + value.size();
                deps_size(deps) + writes.iter().map(size).sum::<usize>()
            }
            Request::End { servers, .. } => ATTEMPT + servers.len(),
        }
    }

    fn units(&self) -> usize {
        match self {
            Request::Snapshot { keys, .. } | Request::Read { keys, .. } => keys.len().max(1),
            Request::Flush { writes, .. } => writes.len().max(1),
            Request::End { .. } => 1,
        }
    }
}

impl Part for Reply {
    fn kind(&self) -> &'static str {
        "reply"
    }

    fn size(&self) -> usize {
        match self {
            Reply::Read { got, stable } => {
                let sizes = got.iter().map(|got| got.line.size() + 2);
                clock_size(stable) + sizes.sum::<usize>()
            }
            Reply::Flushed { clocks, stable } => {
                clock_size(stable) + clocks.iter().map(clock_size).sum::<usize>()
            }
            Reply::Failed(_) => 10,
        }
    }
}

impl Answer for Reply {
    fn failure(&self) -> Option<&Failure> {
        match self {
            Reply::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

impl Part for Peer {
    fn kind(&self) -> &'static str {
        match self {
            Peer::Hold { .. } => "hold",
            Peer::Look { .. } => "look",
            Peer::Extend { .. } => "extend",
            Peer::Lines { .. } => "lines",
            Peer::Keep { .. } => "keep",
            Peer::Over { .. } => "end",
        }
    }

    fn size(&self) -> usize {
        let lines = |lines: &mut dyn Iterator<Item = &Arc<Line>>| -> usize {
            lines.map(|line| line.size()).sum()
        };
        match self {
            Peer::Hold { key, .. } => ATTEMPT + key_size(key),
            Peer::Look { keys, .. } => ATTEMPT + keys_size(keys),
            Peer::Extend { floor, keys, .. } => ATTEMPT + deps_size(floor) + keys_size(keys),
            Peer::Lines { lines: Ok(all), .. } => 4 + lines(&mut all.iter().flatten()),
            Peer::Lines { .. } => 10,
            Peer::Keep { lines: all, .. } => {
                let keys: usize = all.iter().map(|(key, _)| key_size(key)).sum();
                ATTEMPT + keys + lines(&mut all.iter().map(|(_, line)| line))
            }
            Peer::Over { .. } => ATTEMPT,
        }
    }

    fn units(&self) -> usize {
        match self {
            Peer::Look { keys, .. } | Peer::Extend { keys, .. } => keys.len().max(1),
            Peer::Lines {
                lines: Ok(lines), ..
            } => lines.len().max(1),
            Peer::Keep { lines, .. } => lines.len().max(1),
            _ => 1,
        }
    }
}
