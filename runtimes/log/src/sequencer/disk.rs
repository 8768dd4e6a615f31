//! What a sequencer keeps on its disk.
//!
//! | key | value |
//! |---|---|
//! | `entry`, view, log, number | how many entries were known to be committed when it was written, and the entry |
//! | `seal`, view | the promise to take no more entries of that view |
//!
//! Numbers are big-endian, so that keys come in order. Values have a checksum before them.

use super::checked;
use super::metalog::Metalog;
use crate::{Entry, Term, ViewId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_nodes::{Key, Stored, Write};

const ENTRY: &[u8] = b"entry";
const SEAL: &[u8] = b"seal";

fn entry_key(term: Term, number: u32) -> Key {
    let mut key = ENTRY.to_vec();
    key.extend(term.view.to_be_bytes());
    key.extend(term.log.to_be_bytes());
    key.extend(number.to_be_bytes());
    key
}

fn seal_key(view: ViewId) -> Key {
    [SEAL, &view.to_be_bytes()].concat()
}

/// Keeps an entry.
pub(super) fn keep(term: Term, committed: u32, entry: &Entry) -> Write {
    Write {
        key: entry_key(term, entry.number),
        value: Some(checked::encode(&(committed, entry))),
    }
}

/// Forgets an entry.
pub(super) fn forget(term: Term, number: u32) -> Write {
    Write {
        key: entry_key(term, number),
        value: None,
    }
}

/// Keeps the promise that a view is sealed.
pub(super) fn seal(view: ViewId) -> Write {
    Write {
        key: seal_key(view),
        value: Some(checked::encode(&view)),
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) logs: BTreeMap<Term, Metalog>,
    pub(super) sealed: BTreeSet<ViewId>,
    /// What an operator should know: one line per damaged log or seal.
    pub(super) notices: Vec<String>,
}

fn entry_place(key: &[u8]) -> Option<(Term, u32)> {
    let key = key.strip_prefix(ENTRY)?;
    let (view, key) = key.split_first_chunk()?;
    let (log, key) = key.split_first_chunk()?;
    let number = u32::from_be_bytes(key.try_into().ok()?);
    let (view, log) = (u16::from_be_bytes(*view), u16::from_be_bytes(*log));
    Some((Term { view, log }, number))
}

/// Reads everything. Of a log with a damaged or missing entry only what comes before it is of use.
pub(super) fn recover(stored: &dyn Stored) -> Found {
    struct Log {
        entries: Vec<Arc<Entry>>,
        committed: u32,
        damaged: bool,
    }
    let mut found = Found::default();
    let mut logs: BTreeMap<Term, Log> = BTreeMap::new();
    for (key, value) in stored.scan(ENTRY) {
        let Some((term, number)) = entry_place(&key) else {
            continue;
        };
        let log = logs.entry(term).or_insert(Log {
            entries: Vec::new(),
            committed: 0,
            damaged: false,
        });
        if log.damaged {
            continue;
        }
        let entry = checked::decode::<(u32, Entry)>(&value);
        let next = log.entries.len() as u32;
        match entry.filter(|(_, entry)| entry.number == number && number == next) {
            Some((committed, entry)) => {
                log.committed = log.committed.max(committed);
                log.entries.push(Arc::new(entry));
            }
            None => {
                log.damaged = true;
                found.notices.push(format!(
                    "log {} of view {}: entry {next} is damaged or missing; what follows it is \
                     dropped, and the log is not told to controllers",
                    term.log, term.view
                ));
            }
        }
    }
    for (term, log) in logs {
        let log = Metalog::recovered(term, log.entries, log.committed, log.damaged);
        found.logs.insert(term, log);
    }
    for (key, value) in stored.scan(SEAL) {
        let view = key.strip_prefix(SEAL).and_then(|view| view.try_into().ok());
        let Some(view) = view.map(u16::from_be_bytes) else {
            continue;
        };
        if checked::decode::<ViewId>(&value) != Some(view) {
            // Whoever wrote the key meant it, and to keep a promise that was not given does no harm.
            let notice = format!("the promise not to go on in view {view} is damaged; it is kept");
            found.notices.push(notice);
        }
        found.sealed.insert(view);
    }
    found
}
