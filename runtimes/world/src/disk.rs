//! The disk of a node: slow, and after a crash without what was not synced.
//!
//! Writes go to a cache, where reads see them at once; a sync makes them durable. A crash loses
//! what was not synced, but not neatly: each write may have reached the disk anyway, in any order,
//! and one of those that did not may be torn, so that only its beginning did. A faulty disk may
//! also acknowledge a sync that loses a write. What happens is drawn from the seed, the disk's name
//! and the number of the crash or the operation.

use crate::latency::Dist;
use crate::{Nanos, SECOND, World, mix, mix_str};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use thiserror::Error;

/// How a disk behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskConfig {
    /// What a read takes, besides its bytes.
    pub read: Dist,
    /// What a write into the cache takes.
    pub write: Dist,
    /// What a sync takes, besides its bytes.
    pub sync: Dist,
    /// Bytes per second, read or synced.
    pub bandwidth: u64,
    /// The chance that a write which was not synced survives a crash all the same.
    pub survives: f64,
    /// The chance that, in a crash, the last write that did not survive is torn.
    pub torn: f64,
    /// The chance that a write which was synced is lost in a crash: a disk that lies.
    pub lost: f64,
}

impl DiskConfig {
    /// A disk without latency that loses all that was not synced and tears nothing.
    pub fn ideal() -> Self {
        let none = Dist::Constant { value: 0.0 };
        DiskConfig {
            read: none,
            write: none,
            sync: none,
            bandwidth: u64::MAX,
            survives: 0.0,
            torn: 0.0,
            lost: 0.0,
        }
    }
}

/// The disk has crashed while the operation was under way: nothing is known of it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the disk has crashed")]
pub struct Crashed;

/// A change of a file that is not durable yet.
#[derive(Clone)]
enum Change {
    Write { at: usize, data: Rc<[u8]> },
    Truncate { length: usize },
}

impl Change {
    /// Applies the change, of a write only the first `keep` bytes.
    fn apply(&self, bytes: &mut Vec<u8>, keep: usize) {
        match self {
            Change::Write { at, data } => {
                let data = &data[..keep.min(data.len())];
                // A hole reads as zeros.
                bytes.resize(bytes.len().max(at + data.len()), 0);
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
            Change::Truncate { length } => bytes.resize(*length, 0),
        }
    }

    fn len(&self) -> usize {
        match self {
            Change::Write { data, .. } => data.len(),
            Change::Truncate { .. } => 0,
        }
    }
}

#[derive(Default)]
struct File {
    /// What reads see.
    cached: Vec<u8>,
    /// What a crash leaves for certain.
    durable: Vec<u8>,
    /// What leads from one to the other, numbered over the disk.
    pending: Vec<(u64, Change)>,
}

struct Inner {
    world: World,
    key: u64,
    config: DiskConfig,
    files: RefCell<BTreeMap<String, File>>,
    /// Operations so far; also the number of the next change.
    operations: Cell<u64>,
    crashes: Cell<u64>,
    /// Until when the disk is busy with earlier operations: it does one at a time.
    busy: Cell<Nanos>,
}

/// See the module documentation. Cheap to clone.
#[derive(Clone)]
pub struct Disk(Rc<Inner>);

impl Disk {
    /// An empty disk. Disks of different names have different luck.
    pub fn new(world: &World, name: &str, config: DiskConfig) -> Self {
        Disk(Rc::new(Inner {
            world: world.clone(),
            key: mix_str(mix_str(world.seed(), "disk"), name),
            config,
            files: RefCell::default(),
            operations: Cell::default(),
            crashes: Cell::default(),
            busy: Cell::default(),
        }))
    }

    /// Takes the disk's time for an operation, in the order in which operations were begun.
    async fn take_time(&self, operation: u64, latency: Dist, bytes: usize) -> Result<(), Crashed> {
        let disk = &*self.0;
        let mut random = disk.world.keyed(mix(disk.key, operation));
        let transfer =
            bytes as u128 * u128::from(SECOND) / u128::from(disk.config.bandwidth.max(1));
        let takes = latency
            .draw(&mut random, 1.0)
            .saturating_add(transfer as Nanos);
        let until = disk.busy.get().max(disk.world.now()).saturating_add(takes);
        disk.busy.set(until);
        let crashes = disk.crashes.get();
        disk.world.sleep_until(until).await;
        if disk.crashes.get() == crashes {
            Ok(())
        } else {
            Err(Crashed)
        }
    }

    fn next_operation(&self) -> u64 {
        let operation = self.0.operations.get();
        self.0.operations.set(operation + 1);
        operation
    }

    async fn change(
        &self,
        file: &str,
        change: impl FnOnce(&File) -> Change,
    ) -> Result<(), Crashed> {
        let operation = self.next_operation();
        {
            let mut files = self.0.files.borrow_mut();
            let file = files.entry(file.to_owned()).or_default();
            let change = change(file);
            change.apply(&mut file.cached, change.len());
            file.pending.push((operation, change));
        }
        self.take_time(operation, self.0.config.write, 0).await
    }

    /// Writes at an offset of a file. Reads see it as soon as this is first polled.
    ///
    /// # Errors
    /// [`Crashed`] if the disk crashes meanwhile; so with all other operations.
    pub async fn write(&self, file: &str, at: usize, data: &[u8]) -> Result<(), Crashed> {
        let data = data.into();
        self.change(file, |_| Change::Write { at, data }).await
    }

    /// Writes at the end of a file, and returns the offset.
    ///
    /// # Errors
    /// [`Crashed`].
    pub async fn append(&self, file: &str, data: &[u8]) -> Result<usize, Crashed> {
        let (mut offset, data) = (0, data.into());
        let end = |file: &File| {
            offset = file.cached.len();
            Change::Write { at: offset, data }
        };
        self.change(file, end).await?;
        Ok(offset)
    }

    /// Cuts a file off (or fills it up with zeros), as a log does behind a torn record.
    ///
    /// # Errors
    /// [`Crashed`].
    pub async fn truncate(&self, file: &str, length: usize) -> Result<(), Crashed> {
        self.change(file, |_| Change::Truncate { length }).await
    }

    /// Makes durable what was written to a file before this was called. Once polled it goes on by
    /// itself: nobody can call a sync back.
    ///
    /// # Errors
    /// [`Crashed`]; then any of the writes may have survived, as in any crash.
    pub async fn sync(&self, file: &str) -> Result<(), Crashed> {
        let (disk, file) = (self.clone(), file.to_owned());
        let operation = self.next_operation();
        let bytes = self.0.files.borrow().get(&file).map_or(0, |file| {
            file.pending.iter().map(|(_, change)| change.len()).sum()
        });
        let sync = async move {
            disk.take_time(operation, disk.0.config.sync, bytes).await?;
            disk.persist(&file, operation);
            Ok(())
        };
        self.0.world.spawn("a disk's sync", sync).await
    }

    fn persist(&self, file: &str, until: u64) {
        let mut files = self.0.files.borrow_mut();
        let Some(file) = files.get_mut(file) else {
            return;
        };
        let count = file.pending.partition_point(|(number, _)| *number < until);
        for (number, change) in file.pending.drain(..count) {
            let lost = mix(self.0.key, mix_str(number, "lost"));
            if !self.0.world.keyed(lost).chance(self.0.config.lost) {
                change.apply(&mut file.durable, change.len());
            }
        }
    }

    /// Reads at most `length` bytes of a file; fewer at its end, none if there is no such file.
    ///
    /// # Errors
    /// [`Crashed`].
    pub async fn read(&self, file: &str, at: usize, length: usize) -> Result<Vec<u8>, Crashed> {
        let operation = self.next_operation();
        let data = self.0.files.borrow().get(file).map_or(Vec::new(), |file| {
            file.cached.iter().skip(at).take(length).copied().collect()
        });
        self.take_time(operation, self.0.config.read, data.len())
            .await?;
        Ok(data)
    }

    /// How long a file is; 0 if there is none.
    pub fn len(&self, file: &str) -> usize {
        self.0
            .files
            .borrow()
            .get(file)
            .map_or(0, |file| file.cached.len())
    }

    /// The names of the files.
    pub fn files(&self) -> Vec<String> {
        self.0.files.borrow().keys().cloned().collect()
    }

    /// Crashes: operations under way fail, and what is left is what a restarted node reads.
    pub fn crash(&self) {
        let disk = &*self.0;
        let crash = disk.crashes.get();
        disk.crashes.set(crash + 1);
        disk.busy.set(0);
        for (name, file) in disk.files.borrow_mut().iter_mut() {
            // Keyed by file, so that the luck of one does not hang on what others held.
            let key = mix(disk.key, mix_str(crash, "crash"));
            let mut random = disk.world.keyed(mix_str(key, name));
            let pending = std::mem::take(&mut file.pending);
            let survived: Vec<bool> = pending
                .iter()
                .map(|_| random.chance(disk.config.survives))
                .collect();
            let last = survived.iter().rposition(|survived| !survived);
            let torn = last.filter(|_| random.chance(disk.config.torn));
            for (n, (_, change)) in pending.iter().enumerate() {
                if survived[n] {
                    change.apply(&mut file.durable, change.len());
                } else if torn == Some(n) && change.len() > 0 {
                    let keep = random.below(change.len() as u64) as usize;
                    change.apply(&mut file.durable, keep);
                }
            }
            file.cached.clone_from(&file.durable);
        }
    }
}
