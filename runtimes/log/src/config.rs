//! How a cluster is set up: what all of its nodes must agree on before the first view.

use crate::{Role, Shape};
use serde::{Deserialize, Serialize};
use triptych_nodes::NodeId;
use triptych_world::{MS, Nanos, SECOND, US};

/// What "acknowledged" means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Every record is in the memory of all its holders, and its place in the memory of a majority
    /// of the sequencers for its log. It survives that some of each fail, not that all lose power:
    /// disks are written without waiting for them. A node that restarts counts as one that lost
    /// everything.
    Memory,
    /// The same, and each of them has synced it to its disk. It survives the loss of power of the
    /// whole cluster.
    Synced,
}

/// When things happen. Spans of time are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A storage tells the primary what it has at once if it has not done so for this long, else
    /// when this long has passed.
    pub report_every: Nanos,
    /// A primary cuts at once if it has not done so for this long, else when this long has passed.
    pub cut_every: Nanos,
    /// Whether reports and cuts happen only at multiples of these times, as in the published code,
    /// instead of at once when there was none for so long.
    pub on_ticks: bool,
    /// What should have been answered, or is missing, for this long is sent or asked for again.
    pub again_after: Nanos,
    /// How often a node says that it lives.
    pub alive_every: Nanos,
    /// A node that was not heard of for this long is taken for dead.
    pub dead_after: Nanos,
    /// An engine answers [`crate::Failure::Unknown`] to what has taken this long.
    pub give_up_after: Nanos,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            report_every: 100 * US,
            cut_every: 100 * US,
            on_ticks: false,
            again_after: 5 * MS,
            alive_every: 20 * MS,
            dead_after: 100 * MS,
            give_up_after: 10 * SECOND,
        }
    }
}

/// What bounds a node's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest record, with its tags, in bytes.
    pub record_bytes: usize,
    /// Records that an engine has appended and that are not ordered, in bytes; beyond that it takes
    /// no more ([`crate::Failure::Unavailable`]).
    pub pending_bytes: usize,
    /// The engine's cache of records and memos, in bytes.
    pub cache_bytes: usize,
    /// The storage's cache of records, in bytes.
    pub storage_cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            record_bytes: 4 << 20,
            pending_bytes: 64 << 20,
            cache_bytes: 256 << 20,
            storage_cache_bytes: 256 << 20,
        }
    }
}

/// What all nodes of a cluster must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many of everything.
    pub shape: Shape,
    /// What "acknowledged" means.
    pub level: Level,
    /// When things happen.
    pub timing: Timing,
    /// What bounds a node's memory.
    pub limits: Limits,
    /// The controllers: an odd number of them is best.
    pub controllers: Vec<NodeId>,
    /// Nodes that may be sequencers.
    pub sequencers: Vec<NodeId>,
    /// Nodes that may be storages.
    pub storages: Vec<NodeId>,
    /// Nodes that may be engines.
    pub engines: Vec<NodeId>,
}

/// Why a configuration cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There are fewer nodes than are asked for.
    #[error("{wanted} {what} are asked for, but there are only {have} {of}")]
    TooFew {
        /// What is asked for.
        what: &'static str,
        /// How many of it.
        wanted: usize,
        /// What there is too little of.
        of: &'static str,
        /// How many there are.
        have: usize,
    },
    /// Something must be at least 1.
    #[error("there must be at least one {0}")]
    None(&'static str),
    /// A node stands twice.
    #[error("node {0} has two roles; every role of every node needs a number of its own")]
    Twice(NodeId),
}

impl Config {
    /// Nodes numbered by role: controllers from 1, sequencers from 100, storages from 200, engines
    /// from 1000.
    pub fn of(
        controllers: u16,
        sequencers: u16,
        storages: u16,
        engines: u16,
        shape: Shape,
    ) -> Self {
        let nodes = |first: u16, count: u16| (first..first + count).map(NodeId).collect();
        Config {
            shape,
            level: Level::Memory,
            timing: Timing::default(),
            limits: Limits::default(),
            controllers: nodes(1, controllers),
            sequencers: nodes(100, sequencers),
            storages: nodes(200, storages),
            engines: nodes(1000, engines),
        }
    }

    /// All nodes with their roles.
    pub fn nodes(&self) -> Vec<(Role, NodeId)> {
        let roles = [
            (Role::Controller, &self.controllers),
            (Role::Sequencer, &self.sequencers),
            (Role::Storage, &self.storages),
            (Role::Engine, &self.engines),
        ];
        let all = roles.into_iter();
        all.flat_map(|(role, nodes)| nodes.iter().map(move |&node| (role, node)))
            .collect()
    }

    /// Whether a cluster can be made of it.
    ///
    /// # Errors
    /// What is missing.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Shape {
            logs,
            metas,
            copies,
            indexes,
        } = self.shape;
        let counts = [
            ("physical log", logs),
            ("copy of each metalog", metas),
            ("copy of each record", copies),
            ("index of each physical log", indexes),
        ];
        if let Some((what, _)) = counts.into_iter().find(|&(_, count)| count == 0) {
            return Err(ConfigError::None(what));
        }
        if self.controllers.is_empty() {
            return Err(ConfigError::None("controller"));
        }
        let enough = [
            (
                "copies of each metalog",
                metas,
                "sequencers",
                self.sequencers.len(),
            ),
            (
                "copies of each record",
                copies,
                "storages",
                self.storages.len(),
            ),
            (
                "indexes of each physical log",
                indexes,
                "engines",
                self.engines.len(),
            ),
        ];
        for (what, wanted, of, have) in enough {
            let wanted = usize::from(wanted);
            if have < wanted {
                return Err(ConfigError::TooFew {
                    what,
                    wanted,
                    of,
                    have,
                });
            }
        }
        let roles = [
            &self.controllers,
            &self.sequencers,
            &self.storages,
            &self.engines,
        ];
        let mut all: Vec<NodeId> = roles.into_iter().flatten().copied().collect();
        all.sort();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(ConfigError::Twice(pair[0])),
            None => Ok(()),
        }
    }
}
