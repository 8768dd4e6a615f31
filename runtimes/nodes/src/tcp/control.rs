//! How others reach a running node, and what it reports.

use crate::Metrics;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

/// How long a node has worked on messages of one kind: decoding, handling, and its share of what the
/// turn has cost besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Messages.
    pub count: u64,
    /// Their units of work ([`crate::Message::units`]).
    pub units: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Nanoseconds.
    pub nanos: u64,
}

impl Sample {
    pub(super) fn add(&mut self, units: u64, bytes: u64, nanos: u64) {
        self.count += 1;
        self.units += units;
        self.bytes += bytes;
        self.nanos += nanos;
    }
}

/// What a node reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What its driver has counted since the process began.
    pub metrics: Metrics,
    /// What it tells an operator itself.
    pub gauges: Vec<(&'static str, u64)>,
    /// If it was to measure: how long it has worked, by kind of message, and on `(timer)`,
    /// `(persisted)` and `(read)`. `(packet in)` is reading from sockets and `(packet out)` writing to
    /// them, once for each packet.
    pub samples: BTreeMap<&'static str, Sample>,
    /// What it wanted an operator to see, since the last report; only the newest are kept.
    pub notices: Vec<String>,
}

pub(super) struct Control {
    pub(super) wake: Notify,
    stopping: AtomicBool,
    /// Who waits for a report; nothing any more when the node has ended.
    asked: Mutex<Option<Vec<oneshot::Sender<Report>>>>,
}

impl Control {
    pub(super) fn new() -> Self {
        Control {
            wake: Notify::new(),
            stopping: AtomicBool::new(false),
            asked: Mutex::new(Some(Vec::new())),
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    fn asked(&self) -> MutexGuard<'_, Option<Vec<oneshot::Sender<Report>>>> {
        // Nothing that can panic is done while the lock is held.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take_asked(&self) -> Vec<oneshot::Sender<Report>> {
        self.asked().as_mut().map_or(Vec::new(), std::mem::take)
    }
}

/// While this is there, the node may still answer. Whoever waits when it goes is told that nothing
/// comes.
pub(super) struct Alive(pub(super) Arc<Control>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.asked().take();
    }
}

/// Reaches a node from any thread. Cheap to clone.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Control>);

impl Handle {
    /// Has the node stop: it sends what waits, syncs what it was to persist, and ends.
    pub fn stop(&self) {
        self.0.stopping.store(true, Relaxed);
        self.0.wake.notify_one();
    }

    /// What the node has to report; nothing if it does not run any more.
    pub async fn report(&self) -> Option<Report> {
        let (sender, receiver) = oneshot::channel();
        self.0.asked().as_mut()?.push(sender);
        self.0.wake.notify_one();
        receiver.await.ok()
    }
}
