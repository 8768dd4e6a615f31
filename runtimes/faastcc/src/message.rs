//! What clients, caches and the storage say to each other.

use crate::interval::Interval;
use crate::stamp::Stamp;
use serde::{Deserialize, Serialize};
use triptych_api::Value;
use triptych_mesh::Key;
use triptych_refreshed::database::key_size;
use triptych_refreshed::{Answer, Failure, Part, Wire};

/// What a read found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Got {
    /// The document; none if there is none.
    pub value: Option<Value>,
    /// When it is known to be valid.
    pub when: Interval,
}

/// What clients ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// The documents of some keys that are all valid at some time of an interval.
    Read {
        /// The interval.
        interval: Interval,
        /// The keys.
        keys: Vec<Key>,
    },
    /// Commits writes, all at one time.
    Commit {
        /// No key twice.
        writes: Vec<(Key, Value)>,
    },
}

/// What clients are answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Of [`Request::Read`]: in the order of the keys.
    Read(Vec<Got>),
    /// Of [`Request::Commit`]: when it is.
    Committed(Stamp),
    /// It was not done.
    Failed(Failure),
}

/// What caches and the storage say to each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Peer {
    /// What was committed since, and what is promised?
    Refresh {
        /// The last promise that was heard.
        since: Stamp,
    },
    /// It.
    Fresh {
        /// Since when.
        since: Stamp,
        /// Nothing is committed any more up to here, and everything up to here is in the database.
        promise: Stamp,
        /// Which keys were committed since, when; none if the storage does not remember, and any may
        /// have been.
        changed: Option<Vec<(Key, Stamp)>>,
    },
    /// Commits writes. It is not asked again.
    Commit {
        /// The cache's number of it.
        token: u64,
        /// No key twice.
        writes: Vec<(Key, Value)>,
    },
    /// What came of a commit.
    Committed {
        /// The cache's number of it.
        token: u64,
        /// When it is.
        end: Result<Stamp, Failure>,
    },
}

/// What the nodes speak.
pub type Message = Wire<Request, Reply, Peer>;

fn writes_size(writes: &[(Key, Value)]) -> usize {
    let size = |(key, value): &(Key, Value)| key_size(key) + value.size();
    writes.iter().map(size).sum()
}

impl Part for Request {
    fn kind(&self) -> &'static str {
        match self {
            Request::Read { .. } => "read",
            Request::Commit { .. } => "commit",
        }
    }

    fn size(&self) -> usize {
        match self {
            Request::Read { keys, .. } => 16 + keys.iter().map(key_size).sum::<usize>(),
            Request::Commit { writes } => writes_size(writes),
        }
    }

    fn units(&self) -> usize {
        match self {
            Request::Read { keys, .. } => keys.len().max(1),
            Request::Commit { writes } => writes.len().max(1),
        }
    }
}

impl Part for Reply {
    fn kind(&self) -> &'static str {
        "reply"
    }

    fn size(&self) -> usize {
        match self {
            Reply::Read(got) => {
                let sizes = got
                    .iter()
                    .map(|got| got.value.as_ref().map_or(0, Value::size));
                sizes.map(|size| size + 16).sum()
            }
            Reply::Committed(_) => 8,
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
            Peer::Refresh { .. } => "covered",
            Peer::Fresh { .. } => "news",
            Peer::Commit { .. } => "commit",
            Peer::Committed { .. } => "accepted",
        }
    }

    fn size(&self) -> usize {
        match self {
            Peer::Fresh {
                changed: Some(changed),
                ..
            } => {
                let sizes = changed.iter().map(|(key, _)| key_size(key) + 8);
                16 + sizes.sum::<usize>()
            }
            Peer::Commit { writes, .. } => 8 + writes_size(writes),
            _ => 16,
        }
    }

    fn units(&self) -> usize {
        match self {
            Peer::Fresh {
                changed: Some(changed),
                ..
            } => changed.len().max(1),
            Peer::Commit { writes, .. } => writes.len().max(1),
            _ => 1,
        }
    }
}
