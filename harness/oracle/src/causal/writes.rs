//! What is known of every write: where it is, who made it, and from when on it counts.

use super::NONE;
use crate::history::Refusal;
use triptych_model::causes::{Act, Causes, Holds};
use triptych_model::history::TxStatus;

/// What is known of the writes, by their numbers.
pub(super) struct Writes {
    /// The key; [`NONE`] of one that was never heard of.
    pub(super) key: Vec<u32>,
    /// The event from which on it may be asked for: its own, or the commit of its transaction.
    /// [`NONE`] if nobody heard of its end, and if it was undone.
    pub(super) at: Vec<u32>,
    /// Its own event.
    pub(super) event: Vec<u32>,
    /// Its transaction.
    pub(super) tx: Vec<u32>,
    /// Whether it was made once: then whoever sees it comes after it.
    pub(super) once: Vec<bool>,
    /// Whether it was there before the first request.
    pub(super) loaded: Vec<bool>,
    /// Whether its transaction was aborted.
    pub(super) undone: Vec<bool>,
    /// Whether its transaction replaced it.
    pub(super) replaced: Vec<bool>,
    /// Of a transaction: its writes that count.
    pub(super) of_tx: Vec<Vec<u32>>,
    /// Of a transaction: how many keys it wrote.
    pub(super) keys_of_tx: Vec<u32>,
}

impl Writes {
    pub(super) fn of(causes: &Causes) -> Result<Writes, Refusal> {
        if let Some(why) = &causes.truncated {
            return Err(Refusal::Truncated(why.clone()));
        }
        let commits = validated(causes)?;
        let count = causes.names.len();
        let mut writes = Writes {
            key: vec![NONE; count],
            at: vec![NONE; count],
            event: vec![NONE; count],
            tx: vec![NONE; count],
            once: vec![true; count],
            loaded: vec![false; count],
            undone: vec![false; count],
            replaced: vec![false; count],
            of_tx: vec![Vec::new(); causes.batches.len()],
            keys_of_tx: vec![0; causes.batches.len()],
        };
        for &write in &causes.loaded {
            writes.loaded[write as usize] = true;
        }
        for (at, event) in (0u32..).zip(&causes.events) {
            let Act::Write { key, write, tx } = event.act else {
                continue;
            };
            let slot = write as usize;
            if writes.event[slot] != NONE {
                // The first one that counts is asked for, and none is concluded from.
                writes.once[slot] = false;
                if writes.at[slot] != NONE {
                    continue;
                }
            }
            writes.key[slot] = key;
            writes.event[slot] = at;
            writes.tx[slot] = tx.unwrap_or(NONE);
            writes.undone[slot] = false;
            let Some(tx) = tx else {
                writes.at[slot] = at;
                continue;
            };
            match causes.batches[tx as usize].status {
                TxStatus::Committed => writes.at[slot] = commits[tx as usize].max(at),
                TxStatus::Aborted => writes.undone[slot] = true,
                TxStatus::Indeterminate => {}
            }
        }
        writes.gather(causes);
        Ok(writes)
    }

    /// From when on a write may be there: what was loaded, from the start.
    pub(super) fn place(&self, write: u32) -> u32 {
        match self.loaded[write as usize] {
            true => 0,
            false => self.at[write as usize],
        }
    }

    /// What every transaction wrote in the end.
    fn gather(&mut self, causes: &Causes) {
        for write in 0..self.key.len() as u32 {
            let slot = write as usize;
            if self.at[slot] != NONE && self.tx[slot] != NONE {
                self.of_tx[self.tx[slot] as usize].push(write);
            }
        }
        for tx in 0..self.of_tx.len() {
            let mut own = std::mem::take(&mut self.of_tx[tx]);
            own.sort_by_key(|write| (self.key[*write as usize], self.event[*write as usize]));
            let mut kept: Vec<u32> = Vec::with_capacity(own.len());
            for write in own {
                let key = self.key[write as usize];
                match kept.last() {
                    Some(&before) if self.key[before as usize] == key => {
                        if causes.keys[key as usize].holds == Holds::Last {
                            self.replaced[before as usize] = true;
                            self.at[before as usize] = NONE;
                            kept.pop();
                        }
                    }
                    _ => self.keys_of_tx[tx] += 1,
                }
                kept.push(write);
            }
            self.of_tx[tx] = kept;
        }
    }
}

/// Refuses a record that is not what it should be. Gives where every transaction commits.
fn validated(causes: &Causes) -> Result<Vec<u32>, Refusal> {
    let malformed = |at: usize, what: &str| {
        let told = format!("event {at} names {what} that does not exist");
        Err(Refusal::Malformed(told))
    };
    let mut commits = vec![NONE; causes.batches.len()];
    let writes = causes.names.len() as u32;
    let mut key_of = vec![NONE; causes.names.len()];
    let batch = |tx: &Option<u32>| tx.is_none_or(|tx| (tx as usize) < causes.batches.len());
    for (at, event) in causes.events.iter().enumerate() {
        if event.strand as usize >= causes.strands.len() {
            return malformed(at, "a strand");
        }
        let (key, tx) = match &event.act {
            Act::Step => continue,
            Act::After { event } if (*event as usize) < at => continue,
            Act::After { .. } => return malformed(at, "an earlier event"),
            Act::Commit { tx } => {
                let Some(commit) = commits.get_mut(*tx as usize) else {
                    return malformed(at, "a transaction");
                };
                *commit = (*commit).min(at as u32);
                continue;
            }
            Act::Write { key, write, tx } => {
                let Some(of) = key_of.get_mut(*write as usize) else {
                    return malformed(at, "a write");
                };
                if *of != NONE && of != key {
                    return malformed(at, "a write of this key");
                }
                *of = *key;
                (key, tx)
            }
            Act::Read {
                key,
                more,
                less,
                tx,
                ..
            } => {
                if more.iter().chain(less).any(|write| *write >= writes) {
                    return malformed(at, "a write");
                }
                (key, tx)
            }
        };
        if *key as usize >= causes.keys.len() {
            return malformed(at, "a key");
        }
        if !batch(tx) {
            return malformed(at, "a transaction");
        }
    }
    for key in &causes.keys {
        let copies = key.copies.iter().map(|(_, copy)| copy);
        let mut all = key.last.iter().chain(copies).flatten();
        if all.any(|write| *write >= writes) {
            let told = format!("{} ends with a write that does not exist", key.name);
            return Err(Refusal::Malformed(told));
        }
    }
    if causes.loaded.iter().any(|write| *write >= writes) {
        let told = "a write that was loaded does not exist".to_owned();
        return Err(Refusal::Malformed(told));
    }
    let silent = causes.batches.iter().zip(&commits);
    for (batch, commit) in silent {
        if batch.status == TxStatus::Committed && *commit == NONE {
            let told = format!("{} is committed, and nobody heard of it", batch.name);
            return Err(Refusal::Malformed(told));
        }
    }
    Ok(commits)
}
