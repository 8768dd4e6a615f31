//! The store of a node that runs as a process: a folder on disk.
//!
//! [`DiskStore::open`] checks whose the folder is and opens it; the node's factory recovers from it
//! ([`Stored`]); [`DiskStore::start`] then gives it to a thread of its own, so that the node never
//! waits for the disk. The thread takes all that has been handed over, applies it in order, answers
//! reads, and makes one sync for all that want one.
//!
//! A journal below says which batches there are: whole ones, in order, up to the first that a crash
//! has torn. Lazy writes are with the operating system as soon as they are reported: they survive the
//! end of the process, not the loss of power.

mod identity;
mod thread;

pub use identity::Identity;
pub use thread::{Done, Writer};

use crate::{Key, Stored};
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use identity::Found;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// Why a node's store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder has the data of another node.
    #[error("the folder {} has the data of {found}, not of {expected}", .folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Whose data it has.
        found: Identity,
        /// Whose it was expected to have.
        expected: Identity,
    },
    /// The folder has a format that this program does not read.
    #[error("the folder {} has format version {found}; this program reads {expected}", .folder.display())]
    Version {
        /// The folder.
        folder: PathBuf,
        /// Its version.
        found: String,
        /// The version that is read.
        expected: u32,
    },
    /// The folder has something, but does not say whose it is.
    #[error("the folder {} is not empty and is no node's: it has {found:?}", .folder.display())]
    Unknown {
        /// The folder.
        folder: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// Another process uses the folder.
    #[error("the folder {} is in use by another process", .folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The files are not as they were written.
    #[error("the data in {} is damaged: {reason}", .folder.display())]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The system refuses something.
    #[error("cannot {what} the folder {}: {error}", .folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What was attempted.
        what: &'static str,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
}

impl StoreError {
    fn io(folder: &Path, what: &'static str, error: std::io::Error) -> Self {
        StoreError::Io {
            folder: folder.to_owned(),
            what,
            error,
        }
    }

    fn of(folder: &Path, what: &'static str, error: fjall::Error) -> Self {
        match error {
            fjall::Error::Locked => StoreError::Locked {
                folder: folder.to_owned(),
            },
            fjall::Error::Io(error) => StoreError::io(folder, what, error),
            other => StoreError::Damaged {
                folder: folder.to_owned(),
                reason: other.to_string(),
            },
        }
    }
}

/// The one table that there is.
const VALUES: &str = "values";

/// See the module documentation.
pub struct DiskStore {
    folder: PathBuf,
    database: Database,
    values: Keyspace,
    /// What went wrong while the factory read.
    failed: RefCell<Option<StoreError>>,
}

impl DiskStore {
    /// Opens a node's folder, or makes it.
    ///
    /// # Errors
    /// [`StoreError`]; a folder of somebody else is not touched.
    pub fn open(folder: &Path, identity: &Identity) -> Result<Self, StoreError> {
        let found = identity::check(folder, identity)?;
        let data = folder.join(identity::DATA);
        if found == Found::Data && !data.join("version").exists() {
            return Err(StoreError::Damaged {
                folder: folder.to_owned(),
                reason: format!("{} has no store any more", data.display()),
            });
        }
        let opening = std::thread::spawn(move || {
            // Whether a batch is with the system is said for many at once.
            let database = Database::builder(data).manual_journal_persist(true);
            let database = database.worker_threads(1).open()?;
            // The store makes what it misses, as if it had never been there.
            if found == Found::Data && !database.keyspace_exists(VALUES) {
                return Ok(None);
            }
            let values = database.keyspace(VALUES, KeyspaceCreateOptions::default)?;
            Ok(Some((database, values)))
        });
        // On a thread because the store panics over some damage.
        let opened = opening.join().map_err(|_| StoreError::Damaged {
            folder: folder.to_owned(),
            reason: "the store cannot make sense of its files".to_owned(),
        })?;
        let opened = opened.map_err(|error| StoreError::of(folder, "open", error))?;
        let (database, values) = opened.ok_or_else(|| StoreError::Damaged {
            folder: folder.to_owned(),
            reason: "the values are no longer there".to_owned(),
        })?;
        if found == Found::Nothing {
            identity::settle(folder)?;
        }
        Ok(DiskStore {
            folder: folder.to_owned(),
            database,
            values,
            failed: RefCell::default(),
        })
    }

    /// What went wrong while the store was read; nothing that was read then can be relied on.
    ///
    /// # Errors
    /// The first failure, once.
    pub fn check(&self) -> Result<(), StoreError> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Gives the store to a thread of its own. `told` is called there with what is done, in order.
    pub fn start(self, told: impl Fn(Vec<Done>) + Send + 'static) -> Writer {
        Writer::start(self, told)
    }

    fn fail(&self, error: fjall::Error) {
        let error = StoreError::of(&self.folder, "read", error);
        self.failed.borrow_mut().get_or_insert(error);
    }
}

impl Stored for DiskStore {
    fn scan(&self, prefix: &[u8]) -> Box<dyn Iterator<Item = (Key, Vec<u8>)> + '_> {
        let found = self.values.prefix(prefix).map_while(|entry| {
            let entry = entry.into_inner().map_err(|error| self.fail(error)).ok();
            entry.map(|(key, value)| (key.to_vec(), value.to_vec()))
        });
        Box::new(found)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let value = self.values.get(key).map_err(|error| self.fail(error));
        value.ok().flatten().map(|value| value.to_vec())
    }
}

#[cfg(test)]
mod tests;
