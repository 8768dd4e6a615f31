//! The thread that has a node's store.

use super::{DiskStore, StoreError};
use crate::sim::StoreCounts;
use crate::{Durability, Key, Persist, Read};
use fjall::PersistMode;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// What the store has done.
#[derive(Debug)]
pub enum Done {
    /// The writes under this token are as durable as was asked for.
    Persisted(u64),
    /// What was read under this token.
    Read(u64, Option<Vec<u8>>),
    /// The store cannot be used any more. The node must stop: nothing that was handed over since is
    /// durable.
    Failed(StoreError),
}

enum Command {
    Persist(Persist),
    Read(Read),
}

/// So many commands are taken at once: a bound on how long a sync waits for what came after those who
/// want it.
const GROUP: usize = 1_024;

/// The way to a store that a thread of its own has.
pub struct Writer {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Mutex<StoreCounts>>,
}

impl Writer {
    pub(super) fn start(store: DiskStore, told: impl Fn(Vec<Done>) + Send + 'static) -> Self {
        let (commands, incoming) = channel();
        let counts = Arc::default();
        let worker = Worker::new(store, Arc::clone(&counts));
        let thread = std::thread::spawn(move || worker.run(&incoming, told));
        Writer {
            commands: Some(commands),
            thread: Some(thread),
            counts,
        }
    }

    /// Hands writes over. After a failure nothing happens.
    pub fn persist(&self, persist: Persist) {
        self.give(Command::Persist(persist));
    }

    /// Asks for a value; it includes all writes handed over before.
    pub fn read(&self, read: Read) {
        self.give(Command::Read(read));
    }

    fn give(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The thread ends early only after it has said that it failed.
            let _ = commands.send(command);
        }
    }

    /// What the store has done.
    pub fn counts(&self) -> StoreCounts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all that was handed over is synced, and closes the store. To drop it does the same.
    pub fn close(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the store was printed, and what was not reported as durable is not.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

struct Worker {
    store: DiskStore,
    counts: StoreCounts,
    shared: Arc<Mutex<StoreCounts>>,
    done: Vec<Done>,
    /// Who waits for the sync of this group.
    waiting: Vec<u64>,
    written: bool,
    sync: bool,
}

impl Worker {
    fn new(store: DiskStore, shared: Arc<Mutex<StoreCounts>>) -> Self {
        Worker {
            store,
            counts: StoreCounts::default(),
            shared,
            done: Vec::new(),
            waiting: Vec::new(),
            written: false,
            sync: false,
        }
    }

    fn run(mut self, incoming: &Receiver<Command>, told: impl Fn(Vec<Done>)) {
        while let Ok(first) = incoming.recv() {
            let more = std::iter::from_fn(|| incoming.try_recv().ok());
            let group = std::iter::once(first).chain(more).take(GROUP);
            if let Err(error) = self.group(group, &told) {
                return told(vec![Done::Failed(error)]);
            }
        }
        if let Err(error) = self.persist(PersistMode::SyncAll) {
            told(vec![Done::Failed(error)]);
        }
    }

    fn group(
        &mut self,
        group: impl Iterator<Item = Command>,
        told: &impl Fn(Vec<Done>),
    ) -> Result<(), StoreError> {
        for command in group {
            match command {
                Command::Persist(persist) => self.write(persist)?,
                Command::Read(read) => self.read(read)?,
            }
        }
        if std::mem::take(&mut self.written) && !self.sync {
            self.persist(PersistMode::Buffer)?;
        }
        self.share();
        // Nobody who does not want a sync waits for one.
        if !self.done.is_empty() {
            told(std::mem::take(&mut self.done));
        }
        if std::mem::take(&mut self.sync) {
            self.persist(PersistMode::SyncAll)?;
            self.counts.syncs += 1;
            self.share();
            told(self.waiting.drain(..).map(Done::Persisted).collect());
        }
        Ok(())
    }

    fn share(&self) {
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = self.counts;
    }

    fn persist(&self, mode: PersistMode) -> Result<(), StoreError> {
        let persisted = self.store.database.persist(mode);
        persisted.map_err(|error| StoreError::of(&self.store.folder, "write to", error))
    }

    fn write(&mut self, persist: Persist) -> Result<(), StoreError> {
        // Of two writes of one key the last counts: a batch of the store below has one each.
        let mut last: BTreeMap<Key, Option<Vec<u8>>> = BTreeMap::new();
        for write in persist.writes {
            last.insert(write.key, write.value);
        }
        let mut batch = self.store.database.batch();
        for (key, value) in last {
            if key.is_empty() || key.len() > usize::from(u16::MAX) {
                return Err(StoreError::Damaged {
                    folder: self.store.folder.clone(),
                    reason: format!("a key of {} bytes cannot be stored", key.len()),
                });
            }
            let bytes = key.len() + value.as_ref().map_or(0, Vec::len);
            self.counts.written += bytes as u64;
            match value {
                Some(value) => batch.insert(&self.store.values, key, value),
                None => batch.remove(&self.store.values, key),
            }
        }
        let committed = batch.commit();
        committed.map_err(|error| StoreError::of(&self.store.folder, "write to", error))?;
        self.counts.batches += 1;
        self.written = true;
        match persist.durability {
            Durability::Lazy => self.done.extend(persist.token.map(Done::Persisted)),
            Durability::Synced => {
                self.sync = true;
                self.waiting.extend(persist.token);
            }
        }
        Ok(())
    }

    fn read(&mut self, read: Read) -> Result<(), StoreError> {
        let value = self.store.values.get(&read.key);
        let value = value.map_err(|error| StoreError::of(&self.store.folder, "read", error))?;
        self.counts.reads += 1;
        self.counts.read += value.as_ref().map_or(0, |value| value.len()) as u64;
        let value = value.map(|value| value.to_vec());
        self.done.push(Done::Read(read.token, value));
        Ok(())
    }
}
