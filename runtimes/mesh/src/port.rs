//! What a client asks of a server, and what it is told.

use crate::clock::{Clock, Slot};
use crate::context::Own;
use crate::entry::Seen;
use crate::version::{Key, Op, Version, WriteId};
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;
use triptych_api::{Change, Condition, Updated};
use triptych_world::Nanos;

/// What a client wants. Every request may be asked again, of the same server or of another one: reads
/// change nothing, and a write counts once by its [`WriteId`]. Servers forget requests; who says truly
/// when it asked first is refused rather than counted twice ([`Failure::Forgotten`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// The values of some keys, as one look.
    Read {
        /// What the client depends on.
        deps: Clock,
        /// Its own writes of these keys that may not be everywhere.
        own: Vec<Arc<Version>>,
        /// The keys.
        keys: Vec<Key>,
    },
    /// The values of some keys as of a snapshot.
    ReadAt {
        /// Exactly these versions, and the own ones.
        snapshot: Clock,
        /// The client's own writes of these keys.
        own: Vec<Arc<Version>>,
        /// The keys.
        keys: Vec<Key>,
    },
    /// Writes that become visible together.
    Write {
        /// Whose.
        write: WriteId,
        /// What the client depends on.
        deps: Clock,
        /// Its own writes that may not be everywhere.
        own: Own,
        /// The writes; no key twice.
        ops: Vec<(Key, Op)>,
    },
    /// Changes a document if a condition holds on it as the client sees it here and now. Others may
    /// do the same elsewhere at the same time, and both count.
    Update {
        /// Whose.
        write: WriteId,
        /// What the client depends on.
        deps: Clock,
        /// Its own writes that may not be everywhere.
        own: Vec<Arc<Version>>,
        /// The key.
        key: Key,
        /// The condition; none holds always.
        condition: Option<Condition>,
        /// The changes.
        changes: Vec<Change>,
    },
    /// A snapshot that every server can serve: what is stable, and `deps`.
    Snapshot {
        /// What the client depends on.
        deps: Clock,
    },
    /// How the server is.
    Status,
}

/// What a client is told. `stable` is what the server knows every server to have received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Of [`Request::Read`] and [`Request::ReadAt`]: in the order of the keys.
    Read {
        /// What was found.
        seen: Vec<Seen>,
        /// See above.
        stable: Clock,
    },
    /// Of [`Request::Write`].
    Written {
        /// The version that it has become.
        version: Arc<Version>,
        /// See above.
        stable: Clock,
    },
    /// Of [`Request::Update`].
    Updated {
        /// Whether it was made, and the number that it arrived at.
        updated: Updated,
        /// What the condition and the sum were taken from.
        seen: Seen,
        /// The version, if it was made.
        version: Option<Arc<Version>>,
        /// See above.
        stable: Clock,
    },
    /// Of [`Request::Snapshot`].
    Snapshot {
        /// It.
        snapshot: Clock,
    },
    /// Of [`Request::Status`].
    Status {
        /// Names and values.
        gauges: Vec<(String, u64)>,
    },
    /// It was not done.
    Failed(Failure),
}

/// Why a request was not done.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// Not here and now; surely without effect.
    #[error("the server cannot serve now")]
    Unavailable,
    /// Nobody answered in time. A write may have been accepted.
    #[error("no server answered")]
    Unknown,
    /// The client depends on versions that were lost with a server, which the durability level
    /// allows.
    #[error("versions of {0} that this depends on were lost with it")]
    Lost(Slot),
    /// It was asked first so long ago that the server does not know any more whether it was done.
    #[error("whether it was done is forgotten")]
    Forgotten,
    /// A snapshot that cannot be served any more.
    #[error("the snapshot is too old")]
    SnapshotTooOld,
    /// The request makes no sense.
    #[error("{0}")]
    Bad(String),
}

/// A client's way to the servers: to the one on its host first, and to others if that one does not
/// answer.
pub trait Port {
    /// Asks.
    ///
    /// # Errors
    /// [`Failure`]; never as a [`Reply::Failed`].
    fn ask(&self, request: Request) -> LocalBoxFuture<'static, Result<Reply, Failure>>;

    /// Asks again what was asked before without an answer ([`Failure::Unknown`]): `first` is the time at
    /// which it was asked first. Servers are told how long ago that is, so that a write that was done
    /// then does not count twice. A port whose servers forget nothing need not do more than ask.
    ///
    /// # Errors
    /// [`Failure`]; never as a [`Reply::Failed`].
    fn ask_again(
        &self,
        first: Nanos,
        request: Request,
    ) -> LocalBoxFuture<'static, Result<Reply, Failure>> {
        let _ = first;
        self.ask(request)
    }
}
