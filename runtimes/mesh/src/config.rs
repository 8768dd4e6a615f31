//! How a cluster of cache servers is set up: what all of them must agree on.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use triptych_nodes::NodeId;
use triptych_world::{MS, Nanos, SECOND};

/// What "acknowledged" means for a write.
///
/// Whatever the level, a write that was *stable* (received by every server, which takes two rounds)
/// is lost only if all servers are, and one that is *stored* survives even that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The server that accepted it has it in memory. The crash of that server may lose the writes that
    /// it had not sent on yet; the client is told [`crate::Failure::Lost`] when it comes back with one
    /// of them.
    Async,
    /// It is on the disk of the server that accepted it, and goes round the ring only then. If that
    /// server crashes before anybody else has it, it is hidden until the server is back, which then
    /// writes it again. It survives the loss of power of all servers, if their disks do. Its client is
    /// told [`crate::Failure::Lost`] if it comes back with such a write, since it is another version
    /// from then on.
    Synced,
    /// So many further servers have received it ([`Config::replicas`]), in memory. It survives the
    /// failure of that many servers at a time; one that was taken for dead counts as failed. While
    /// the ring has too few servers, nothing is accepted.
    Replicated,
}

impl Level {
    /// All of them.
    pub const ALL: [Level; 3] = [Level::Async, Level::Synced, Level::Replicated];

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Level::Async => "async",
            Level::Synced => "synced",
            Level::Replicated => "replicated",
        }
    }
}

/// When things happen. Spans of time are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// What a link's other end has not acknowledged for this long is sent again.
    pub again_after: Nanos,
    /// What a bridge has not answered for this long is asked again.
    pub ask_again_after: Nanos,
    /// How often a server tells its neighbours that it lives, and what it knows.
    pub alive_every: Nanos,
    /// A neighbour that was not heard of for this long is taken for dead. One who hears neither of
    /// two neighbours takes itself for cut off, and waits four times as long.
    pub dead_after: Nanos,
    /// A server that has heard neither both neighbours nor the ring's row for this long serves nobody.
    /// Less than `dead_after`.
    pub lease: Nanos,
    /// If no server is left that has its data, one that has none goes on with what the store has
    /// after this long: those that have them may still come back before.
    pub found_after: Nanos,
    /// What a request waits for at most, before the server gives up.
    pub give_up_after: Nanos,
    /// How often keepers write what is new to the backing store.
    pub store_every: Nanos,
    /// How often what is stable is applied at servers that nobody has asked for it; 0 is at once. The
    /// published protocol never does ([`Nanos::MAX`]): what nobody depends on is seen at its tail only,
    /// and memory grows with every write. With a backing store it is still applied at each round of
    /// [`Timing::store_every`], since only what is applied can be written: that is then how long it may
    /// not be seen.
    pub disseminate_every: Nanos,
    /// Writes are folded only when they could have been for this long: a snapshot of that age can
    /// still be read, and a request that is repeated within it is recognised.
    pub keep_for: Nanos,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            again_after: 5 * MS,
            ask_again_after: 250 * MS,
            alive_every: 20 * MS,
            dead_after: 150 * MS,
            lease: 100 * MS,
            found_after: 2 * SECOND,
            give_up_after: SECOND,
            store_every: 100 * MS,
            disseminate_every: 0,
            keep_for: 500 * MS,
        }
    }
}

/// What bounds a server's memory and the size of what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many keys a server keeps in its C-cache; those that the backing store has may go. 0 is no
    /// bound.
    pub cache_keys: usize,
    /// So many rows travel to or from the backing store in one message.
    pub batch_rows: usize,
    /// So many keys one request may name.
    pub request_keys: usize,
    /// So many versions that are not stable a server takes before it accepts no more writes.
    pub unstable: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            cache_keys: 0,
            batch_rows: 25,
            request_keys: 1_000,
            unstable: 100_000,
        }
    }
}

/// What all servers of a cluster must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The servers that may be on the ring.
    pub servers: Vec<NodeId>,
    /// What "acknowledged" means.
    pub level: Level,
    /// At [`Level::Replicated`]: how many further servers must have received a write.
    pub replicas: u16,
    /// Whether there is a backing store. Without one the ring is all servers, for ever: none may fail,
    /// nothing is forgotten, and what was never written is empty.
    pub backed: bool,
    /// Whether an update becomes the whole document that its head saw, so that of two concurrent ones
    /// the later wins, as in the published protocol. Otherwise they merge.
    pub compat: bool,
    /// When things happen.
    pub timing: Timing,
    /// What bounds a server's memory.
    pub limits: Limits,
}

/// Why a configuration cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// There must be a server.
    #[error("there must be at least one server")]
    None,
    /// A server stands twice.
    #[error("node {0} stands twice; every server needs a number of its own")]
    Twice(NodeId),
    /// More copies than servers.
    #[error("{replicas} further servers are to have every write, but there are only {further}")]
    TooFew {
        /// How many are asked for.
        replicas: u16,
        /// How many there are.
        further: usize,
    },
    /// A replica count of zero promises nothing.
    #[error("at level replicated at least one further server must have every write")]
    NoReplica,
    /// A server that serves on while others take it for dead would not do.
    #[error("the lease must be shorter than the time after which a server is taken for dead")]
    Lease,
}

impl Config {
    /// So many servers, numbered from 1, with a backing store.
    pub fn of(servers: u16, level: Level) -> Self {
        Config {
            servers: (1..=servers).map(NodeId).collect(),
            level,
            replicas: 1,
            backed: true,
            compat: false,
            timing: Timing::default(),
            limits: Limits::default(),
        }
    }

    /// Whether a cluster can be made of it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.servers.is_empty() {
            return Err(ConfigError::None);
        }
        let mut known = std::collections::BTreeSet::new();
        if let Some(&twice) = self.servers.iter().find(|&&node| !known.insert(node)) {
            return Err(ConfigError::Twice(twice));
        }
        let further = self.servers.len() - 1;
        if self.level == Level::Replicated {
            if self.replicas == 0 {
                return Err(ConfigError::NoReplica);
            }
            if usize::from(self.replicas) > further {
                return Err(ConfigError::TooFew {
                    replicas: self.replicas,
                    further,
                });
            }
        }
        match self.timing.lease < self.timing.dead_after {
            true => Ok(()),
            false => Err(ConfigError::Lease),
        }
    }

    /// How many further servers must have received a write before it is acknowledged.
    pub fn further(&self) -> usize {
        match self.level {
            Level::Replicated => usize::from(self.replicas),
            Level::Async | Level::Synced => 0,
        }
    }
}
