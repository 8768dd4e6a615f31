//! The sections of a log's cluster file, each with its defaults.

use crate::file::place::Listed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use triptych_load::campaign::Span;
use triptych_log::{Level, Limits, Shape, Timing};

/// What "acknowledged" means; see [`Level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LevelName {
    /// In the memory of all who keep it.
    Memory,
    /// Synced to their disks as well.
    Synced,
}

impl LevelName {
    pub(super) fn level(self) -> Level {
        match self {
            LevelName::Memory => Level::Memory,
            LevelName::Synced => Level::Synced,
        }
    }

    /// As files write it.
    pub fn name(self) -> &'static str {
        match self {
            LevelName::Memory => "memory",
            LevelName::Synced => "synced",
        }
    }
}

/// How many of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShapeSection {
    /// Physical logs; every logbook lives on one of them. It can never change.
    #[schemars(range(min = 1, max = 1024))]
    pub logs: u16,
    /// Sequencers that keep each metalog; of 3, one may fail.
    #[schemars(range(min = 1, max = 31))]
    pub metas: u16,
    /// Storages that keep each record.
    #[schemars(range(min = 1, max = 31))]
    pub copies: u16,
    /// Engines that index each physical log; the others ask them.
    #[schemars(range(min = 1, max = 1024))]
    pub indexes: u16,
}

impl ShapeSection {
    pub(super) fn shape(self) -> Shape {
        let ShapeSection {
            logs,
            metas,
            copies,
            indexes,
        } = self;
        Shape {
            logs,
            metas,
            copies,
            indexes,
        }
    }
}

/// The nodes, by role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// The IP address of the nodes that are given by their number alone.
    #[serde(default = "crate::file::place::loopback")]
    pub host: String,
    /// The port of the first node that is given by number alone; the others count on from it, in
    /// the order controllers, sequencers, storages, engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub base_port: Option<u16>,
    /// Controllers: how many, or each with its number and address. An odd number is best.
    pub controllers: Listed,
    /// Nodes that may be sequencers.
    pub sequencers: Listed,
    /// Nodes that may be storages.
    pub storages: Listed,
    /// Nodes that may be engines.
    pub engines: Listed,
}

/// When things happen; see [`Timing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimingSection {
    /// A storage tells the primary what it has, at most so often.
    pub report_every: Span,
    /// A primary orders what was stored, at most so often.
    pub cut_every: Span,
    /// Whether that happens only at multiples of these times.
    pub on_ticks: bool,
    /// What was not answered for so long is sent again.
    pub again_after: Span,
    /// How often a node says that it lives.
    pub alive_every: Span,
    /// A node that was silent for so long is taken for dead.
    pub dead_after: Span,
    /// After so long an engine answers that nobody knows.
    pub give_up_after: Span,
}

impl Default for TimingSection {
    fn default() -> Self {
        let timing = Timing::default();
        TimingSection {
            report_every: Span(timing.report_every),
            cut_every: Span(timing.cut_every),
            on_ticks: timing.on_ticks,
            again_after: Span(timing.again_after),
            alive_every: Span(timing.alive_every),
            dead_after: Span(timing.dead_after),
            give_up_after: Span(timing.give_up_after),
        }
    }
}

impl TimingSection {
    pub(super) fn timing(self) -> Timing {
        Timing {
            report_every: self.report_every.0,
            cut_every: self.cut_every.0,
            on_ticks: self.on_ticks,
            again_after: self.again_after.0,
            alive_every: self.alive_every.0,
            dead_after: self.dead_after.0,
            give_up_after: self.give_up_after.0,
        }
    }

    pub(super) fn spans(&self) -> [(&'static str, Span); 6] {
        [
            ("report_every", self.report_every),
            ("cut_every", self.cut_every),
            ("again_after", self.again_after),
            ("alive_every", self.alive_every),
            ("dead_after", self.dead_after),
            ("give_up_after", self.give_up_after),
        ]
    }
}

/// What bounds the nodes' memory, in bytes; see [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// The largest record, with its tags.
    #[schemars(range(min = 64, max = 16777216))]
    pub record_bytes: u64,
    /// Records that an engine has appended and that are not ordered; beyond that it takes no more.
    #[schemars(range(min = 1024))]
    pub pending_bytes: u64,
    /// The cache of an engine.
    pub cache_bytes: u64,
    /// The cache of a storage.
    pub storage_cache_bytes: u64,
}

impl Default for LimitsSection {
    fn default() -> Self {
        let limits = Limits::default();
        LimitsSection {
            record_bytes: limits.record_bytes as u64,
            pending_bytes: limits.pending_bytes as u64,
            cache_bytes: limits.cache_bytes as u64,
            storage_cache_bytes: limits.storage_cache_bytes as u64,
        }
    }
}

impl LimitsSection {
    pub(super) fn limits(self) -> Limits {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Limits {
            record_bytes: size(self.record_bytes),
            pending_bytes: size(self.pending_bytes),
            cache_bytes: size(self.cache_bytes),
            storage_cache_bytes: size(self.storage_cache_bytes),
        }
    }
}
