//! What a server keeps on its disk: the number of its life, and at level synced its own versions
//! until the backing store has them.

use super::{LIFE, NodeBug, Outbox, Server};
use crate::clock::{Clock, Slot};
use crate::config::Level;
use crate::version::Version;
use std::sync::Arc;
use triptych_nodes::{Durability, Stored, Write};

const LIFE_KEY: &[u8] = b"life";
const VERSIONS: &[u8] = b"v";
/// So many versions are taken off the disk at once.
const TRIM: u64 = 1_000;

#[derive(Default)]
pub(super) struct Disk {
    /// The life before this one.
    pub(super) life: u32,
    /// Versions of earlier lives, in their order: they are written again if nobody has them.
    pub(super) found: Vec<Arc<Version>>,
    /// Own versions below this number are not on the disk any more.
    trimmed: u64,
}

fn place(slot: Slot, number: u64) -> Vec<u8> {
    let mut key = VERSIONS.to_vec();
    key.extend(slot.0.to_be_bytes());
    key.extend(number.to_be_bytes());
    key
}

impl Disk {
    /// What is there. What cannot be read is as good as lost.
    pub(super) fn recover(stored: &dyn Stored) -> Self {
        let life = stored.get(LIFE_KEY).and_then(|life| life.try_into().ok());
        let found = stored.scan(VERSIONS);
        let found = found.filter_map(|(key, value)| {
            let version: Version = postcard::from_bytes(&value).ok()?;
            let itself = key == place(version.origin, version.number());
            itself.then(|| Arc::new(version))
        });
        Disk {
            life: life.map_or(0, u32::from_be_bytes),
            found: found.collect(),
            trimmed: 0,
        }
    }
}

impl Server {
    /// Makes the number of a new life durable: before that it says nothing to anybody.
    pub(super) fn begin_life(&mut self, out: &mut Outbox) {
        self.disk.trimmed = 0;
        let write = Write {
            key: LIFE_KEY.to_vec(),
            value: Some(self.member.life.to_be_bytes().to_vec()),
        };
        out.persist(Some(LIFE), vec![write], Durability::Synced);
    }

    /// Puts an own version on the disk.
    pub(super) fn persist(&self, version: &Version, out: &mut Outbox) {
        let write = Write {
            key: place(version.origin, version.number()),
            value: postcard::to_stdvec(version).ok(),
        };
        out.persist(Some(version.number()), vec![write], Durability::Synced);
    }

    /// Takes versions of an earlier life off the disk, which are there under new numbers or need not
    /// be.
    pub(super) fn forget_found(&mut self, found: &[Arc<Version>], out: &mut Outbox) {
        let delete = |version: &Arc<Version>| Write {
            key: place(version.origin, version.number()),
            value: None,
        };
        let writes: Vec<Write> = found.iter().map(delete).collect();
        if !writes.is_empty() {
            out.persist(None, writes, Durability::Lazy);
        }
    }

    /// Takes off the disk what the backing store has.
    pub(super) fn trim_disk(&mut self, out: &mut Outbox) {
        let Some(slot) = self.slot.filter(|_| self.config.level == Level::Synced) else {
            return;
        };
        let stored = self.told.stored.get(slot).min(self.free);
        let upto = stored.min(self.disk.trimmed + TRIM);
        let delete = |number| Write {
            key: place(slot, number),
            value: None,
        };
        let writes: Vec<Write> = (self.disk.trimmed + 1..=upto).map(delete).collect();
        if !writes.is_empty() {
            self.disk.trimmed = upto;
            out.persist(None, writes, Durability::Lazy);
        }
    }

    /// Writes again what a disk has brought back from an earlier life, if nobody has it.
    pub(super) fn write_again(&mut self, out: &mut Outbox) {
        if self.disk.found.is_empty() || !self.is_whole() {
            return;
        }
        // How many versions of its earlier lives count is on its way.
        let (ring, frozen) = (&self.ring, self.core.frozen());
        let known =
            |old: &Arc<Version>| old.origin < Slot(ring.ruined) || frozen.contains_key(&old.origin);
        if !self.disk.found.iter().all(known) {
            return;
        }
        let found = std::mem::take(&mut self.disk.found);
        if self.config.level != Level::Synced {
            return;
        }
        if !self.has_bug(NodeBug::ForgetsDisk) {
            for old in &found {
                let ruined = old.origin < Slot(self.ring.ruined);
                let known = match ruined {
                    true => self.ring.stored.get(old.origin),
                    false => *self.core.frozen().get(&old.origin).unwrap_or(&0),
                };
                if old.number() <= known || self.core.known(old.write).is_some() {
                    continue;
                }
                // What it depended on, as far as that is left.
                // Some of it may be on its way.
                let own = self.core.real(&old.clock).into_owned();
                let (slots, deps) = (self.ring.slots(), Clock::default());
                let again = self
                    .core
                    .write(slots, &deps, &own, old.write, old.ops.clone());
                if let Ok(version) = again {
                    self.accepted(&version, out);
                }
            }
        }
        self.forget_found(&found, out);
    }
}
