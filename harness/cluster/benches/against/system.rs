//! What keeps a log, seen alike.

use std::io;
use triptych_cluster::bench::drive::Call;
use triptych_cluster::bench::judge::There;

/// How durable an acknowledged append is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// In the memory of those who keep it.
    Memory,
    /// Synced to their disks.
    Synced,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Memory => "memory",
            Level::Synced => "synced",
        }
    }
}

/// Something that keeps a log.
#[allow(
    async_fn_in_trait,
    reason = "one thread, and no one else implements it"
)]
pub(crate) trait System {
    /// As tables show it.
    fn name(&self) -> &'static str;

    /// What makes it another thing than the others.
    fn differences(&self) -> &'static str;

    /// Its processes.
    fn pids(&self) -> Vec<u32>;

    /// Clients that append, each over a connection of its own.
    async fn clients(&self, count: usize, run: u64, bytes: usize) -> io::Result<Vec<Call>>;

    /// All records of a run, in the log's order.
    async fn read_back(&self, run: u64, bytes: usize) -> io::Result<Vec<There>>;
}
