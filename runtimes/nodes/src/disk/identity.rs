//! Whose data a folder has.
//!
//! A node that starts in the folder of another would forget what it has promised, and say what the
//! other one has. So a folder says whose it is, and that is checked before anything in it is touched.

use super::StoreError;
use crate::NodeId;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// The format of a node's folder. A program reads this one and no other.
const VERSION: u32 = 1;
/// The file that says whose the folder is.
const FILE: &str = "identity.toml";
/// The same while the folder is being made: then nothing was promised yet.
const NEW: &str = "identity.new";
/// Where the data is.
pub(super) const DATA: &str = "data";

/// Whose data a folder has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {} of cluster {:?}", self.node, self.cluster)
    }
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    #[serde(flatten)]
    identity: Identity,
}

/// Whether a folder was made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Data,
}

/// Checks whose a folder is, and makes it if there is none.
pub(super) fn check(folder: &Path, identity: &Identity) -> Result<Found, StoreError> {
    let io = |what| move |error| StoreError::io(folder, what, error);
    fs::create_dir_all(folder).map_err(io("make"))?;
    match fs::read_to_string(folder.join(FILE)) {
        Ok(text) => {
            compare(folder, &text, identity)?;
            return Ok(Found::Data);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(io("read the identity of")(error)),
    }
    match fs::read_to_string(folder.join(NEW)) {
        // Somebody was interrupted before the folder was anybody's.
        Ok(_) => {
            remove(&folder.join(DATA)).map_err(io("clean"))?;
            fs::remove_file(folder.join(NEW)).map_err(io("clean"))?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(io("read the identity of")(error)),
    }
    if let Some(entry) = fs::read_dir(folder).map_err(io("look into"))?.next() {
        let name = entry.map_err(io("look into"))?.file_name();
        return Err(StoreError::Unknown {
            folder: folder.to_owned(),
            found: name.to_string_lossy().into_owned(),
        });
    }
    let content = Content {
        version: VERSION,
        identity: identity.clone(),
    };
    let text = toml::to_string(&content).map_err(|error| StoreError::Damaged {
        folder: folder.to_owned(),
        reason: format!("its identity cannot be written down: {error}"),
    })?;
    let mut file = File::create_new(folder.join(NEW)).map_err(io("write to"))?;
    file.write_all(text.as_bytes()).map_err(io("write to"))?;
    file.sync_all().map_err(io("write to"))?;
    Ok(Found::Nothing)
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The folder is made: from now on it is the node's.
pub(super) fn settle(folder: &Path) -> Result<(), StoreError> {
    let io = |error| StoreError::io(folder, "write to", error);
    fs::rename(folder.join(NEW), folder.join(FILE)).map_err(io)?;
    // A rename is durable when the folder is synced; some systems cannot open one.
    if let Ok(opened) = File::open(folder) {
        opened.sync_all().map_err(io)?;
    }
    Ok(())
}

fn compare(folder: &Path, text: &str, expected: &Identity) -> Result<(), StoreError> {
    let damaged = |error: toml::de::Error| StoreError::Damaged {
        folder: folder.to_owned(),
        reason: format!("{FILE}: {}", error.message()),
    };
    // The version first: another one may say the rest in another way.
    let table: toml::Table = text.parse().map_err(damaged)?;
    let version = table.get("version").and_then(toml::Value::as_integer);
    if version != Some(i64::from(VERSION)) {
        let found = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        return Err(StoreError::Version {
            folder: folder.to_owned(),
            found,
            expected: VERSION,
        });
    }
    let content: Content = table.try_into().map_err(damaged)?;
    if content.identity == *expected {
        return Ok(());
    }
    Err(StoreError::Foreign {
        folder: folder.to_owned(),
        found: content.identity,
        expected: expected.clone(),
    })
}
