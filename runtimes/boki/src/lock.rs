//! The lock of a key: a register on the log.
//!
//! Each record in a lock's stream holds the lock's whole state from there on. It is appended on the
//! condition that it comes right after the record that was read, so the stream is a register with
//! compare-and-swap, its last record is all that one must read, and all earlier ones can be trimmed.
//!
//! **One decision per transaction and key.** Whether a transaction gets a key is decided once: by the
//! record that gives it the lock, or by one that leaves the lock as it is and says that the
//! transaction has to die. Either stands in the transaction's stream as well, by the same append. To
//! ask for a lock is to read the lock, *then* the transaction's stream, and then to append after the
//! record of the lock that was read. If there was a decision up to that record, it was found in the
//! transaction's stream; if there was one after it, the append is refused. So whoever asks again, a
//! late execution too, finds the decision that there is. When a transaction ends there is a decision
//! on every key that any operation of it asked for ([`triptych_api::Ctx::conclude`]), so nothing can
//! take a lock for it any more, and it releases all that it was given, whether it wrote there or not.
//! A death is conditional on the newest state like everything else: nobody dies of what is over.
//!
//! **A place in the queue.** Who is older than the holder waits (wait-die, as on Beldi), and the
//! oldest who waits puts its word into the lock's state: nobody younger takes the lock before it.
//! So it waits for one holder, not for all who come by. The word goes with its decision. Who waits
//! reads the stream and blocks until there is a further record.
//!
//! Changes outside of transactions have no place there. They wait until they find the item without a
//! mark, and on a key that transactions give to one another without a pause that may take as long as
//! they do: such a change may be overtaken by any number of transactions.
//!
//! **The mark.** The store knows nothing of the log, so whoever has a lock marks the item with it
//! (`LOCK`), before it reads or writes there; that is what keeps changes outside of transactions away
//! ([`crate::item`]). The mark carries the number of the record that gave the lock, and so does the
//! release (`SEAL`), which applies the new value in the same update. Locks of a key are given in the
//! order of these numbers, so a mark or a release that comes late, after the release of its own lock,
//! finds a seal that is not less, and does nothing. The item is released before the lock is.

use crate::Bug;
use crate::item::{LOCK, OWNER, PROGRESS, SEAL, Seen, VERSION, number, older};
use crate::record::{Granted, Holder, LockState, Tx, What, locks, transaction};
use crate::run::Run;
use triptych_api::model::Action;
use triptych_api::{Condition, Error, Name, Path, Result, Value};
use triptych_log::{Condition as After, SeqNum};
use triptych_site::VALUE;
use triptych_site::tables::set;
use triptych_store::Return;
use triptych_world::{Nanos, SECOND};

/// How long one read of a lock's stream waits for a further record.
const LOCK_WAIT: Nanos = SECOND;

/// The last record of a lock.
#[derive(Debug, Default)]
pub(crate) struct Lock {
    /// Its place; zero if there is none.
    pub(crate) seq: SeqNum,
    pub(crate) state: LockState,
}

/// What to do about a lock that is as it was read.
#[derive(Debug, PartialEq)]
enum Verdict {
    Take,
    /// `claim`: nobody older waits, and one's own word is not there yet.
    Wait {
        claim: bool,
    },
    Die,
}

fn verdict(tx: &Tx, state: &LockState) -> Verdict {
    let holder = state.holder.as_ref().map(|holder| &holder.tx);
    let holder = holder.filter(|holder| *holder != tx);
    let waiter = state.waiter.as_ref().filter(|waiter| *waiter != tx);
    match (holder, waiter) {
        (Some(holder), _) if holder < tx => Verdict::Die,
        (Some(_), Some(waiter)) => Verdict::Wait { claim: tx < waiter },
        (Some(_), None) => Verdict::Wait {
            claim: state.waiter.is_none(),
        },
        (None, Some(waiter)) if waiter < tx => Verdict::Die,
        (None, _) => Verdict::Take,
    }
}

impl Run {
    /// A lock as it was not long ago, but not before anything that this execution has seen.
    pub(crate) async fn lock_state(&self, (table, key): (&Name, &Name)) -> Result<Lock> {
        let stream = locks(table, key);
        let mut upto = SeqNum::MAX;
        let mut newest = None;
        while let Some((seq, entry)) = self.log.last(stream, upto).await? {
            // The condition of an append is on the stream, whoever else may be in it.
            let at = *newest.get_or_insert(seq);
            match entry.what {
                What::Lock {
                    table: t,
                    key: k,
                    mut state,
                    ..
                } if (&t, &k) == (table, key) => {
                    if let Some(holder) = &mut state.holder {
                        holder.since.get_or_insert(seq);
                    }
                    return Ok(Lock { seq: at, state });
                }
                _ if seq == SeqNum::ZERO => break,
                _ => upto = SeqNum(seq.0 - 1),
            }
        }
        Ok(Lock {
            seq: newest.unwrap_or_default(),
            state: LockState::default(),
        })
    }

    /// Gives a lock a new state, if it is still as it was read.
    async fn set_lock(
        &self,
        point: &'static str,
        (table, key): (&Name, &Name),
        lock: &Lock,
        state: LockState,
        granted: Option<Granted>,
    ) -> Result<bool> {
        let stream = locks(table, key);
        let mut tags = vec![stream];
        tags.extend(granted.as_ref().map(|granted| transaction(&granted.tx.id)));
        let what = What::Lock {
            table: table.clone(),
            key: key.clone(),
            state,
            granted,
        };
        let after = After {
            tag: stream,
            tail: lock.seq,
        };
        let entry = self.entry("lock", what);
        let set = self.log.append_if(point, &tags, &entry, after);
        Ok(set.await?.is_some())
    }

    /// Asks for a lock until it is decided whether the transaction gets it. The number of the record
    /// that gives it, or nothing if the transaction has to die.
    pub(crate) async fn take_lock(&self, tx: &Tx, at: (&Name, &Name)) -> Result<Option<SeqNum>> {
        loop {
            let lock = self.lock_state(at).await?;
            // After the lock was read: see the module.
            self.catch_up_tx(&tx.id).await?;
            let decided = match self.has(Bug::LocksOutsideSteps) {
                true => held_by(tx, &lock.state).map(Some),
                false => self.tx_lock(&tx.id, at)?,
            };
            if let Some(decided) = decided {
                return Ok(decided);
            }
            let LockState { holder, waiter } = lock.state.clone();
            let others = waiter.filter(|waiter| waiter != tx);
            let decision = |granted| {
                let tx = tx.clone();
                Some(Granted { tx, granted })
            };
            match verdict(tx, &lock.state) {
                Verdict::Take => {
                    // Whoever else waits is younger, and will see an older holder.
                    let tx = tx.clone();
                    let state = LockState {
                        holder: Some(Holder { tx, since: None }),
                        waiter: None,
                    };
                    let taken = self.set_lock("boki.lock.take", at, &lock, state, decision(true));
                    taken.await?;
                }
                Verdict::Die => {
                    let waiter = others;
                    let state = LockState { holder, waiter };
                    let dead = self.set_lock("boki.lock.die", at, &lock, state, decision(false));
                    let dead = dead.await?;
                    if dead && self.has(Bug::LocksOutsideSteps) {
                        return Ok(None);
                    }
                }
                Verdict::Wait { claim: true } => {
                    let waiter = Some(tx.clone());
                    let state = LockState { holder, waiter };
                    self.set_lock("boki.lock.claim", at, &lock, state, None)
                        .await?;
                }
                Verdict::Wait { claim: false } => {
                    let stream = locks(at.0, at.1);
                    self.log.wait(stream, lock.seq.next(), LOCK_WAIT).await?;
                }
            }
        }
    }

    /// Marks an item as locked, and returns what is committed there. Nobody but the transaction can
    /// change that until it releases the key.
    pub(crate) async fn mark(
        &self,
        tx: &Name,
        at: (&Name, &Name),
        since: SeqNum,
    ) -> Result<Option<Value>> {
        let word = Value::map([("tx", Value::from(tx.clone())), ("at", number(since))]);
        let lock = Path::attr(LOCK);
        let free = Condition::Any(vec![
            Condition::Absent(lock.clone()),
            Condition::equals(lock.field("tx"), tx.clone()),
        ]);
        let guard = older(SEAL, &number(since)).and(free);
        let update = vec![set(LOCK, word)];
        let marked = self.update_item("boki.lock.mark", at, update, guard, Return::AllNew);
        let Some(item) = marked.await? else {
            // A late execution: others have ended the transaction, and what they had seen of the log
            // stands in the item.
            self.look("boki.lock.over", at).await?;
            return Err(Error::Interrupted(format!("transaction {tx} is over")));
        };
        let seen = Seen::of(item.unwrap_or_default())?;
        self.log.book.observe(seen.progress());
        // The transaction will overwrite it, perhaps.
        self.help(&seen).await?;
        Ok(seen.value)
    }

    /// Gives a key back that the transaction got by this record, with its new value if there is one.
    pub(crate) async fn release(
        &self,
        tx: &Name,
        at: (&Name, &Name),
        since: SeqNum,
        value: Option<&Value>,
    ) -> Result<()> {
        self.unmark(at, since, value).await?;
        self.unlock(tx, at).await
    }

    /// The store's part of a release. It happens once.
    pub(crate) async fn unmark(
        &self,
        at: (&Name, &Name),
        since: SeqNum,
        value: Option<&Value>,
    ) -> Result<()> {
        let mut update = vec![
            set(SEAL, number(since)),
            set(PROGRESS, self.seen_so_far()),
            Action::Remove(Path::attr(LOCK)),
        ];
        if let Some(value) = value {
            update.extend([
                set(VALUE, value.clone()),
                set(VERSION, number(since)),
                Action::Remove(Path::attr(OWNER)),
            ]);
        }
        let guard = older(SEAL, &number(since));
        self.update_item("boki.lock.apply", at, update, guard, Return::None)
            .await
            .map(drop)
    }

    /// The log's part of it.
    pub(crate) async fn unlock(&self, tx: &Name, at: (&Name, &Name)) -> Result<()> {
        loop {
            let lock = self.lock_state(at).await?;
            match &lock.state.holder {
                Some(holder) if holder.tx.id == *tx => {}
                _ => return Ok(()),
            }
            let state = LockState {
                holder: None,
                waiter: lock.state.waiter.clone(),
            };
            if self
                .set_lock("boki.lock.release", at, &lock, state, None)
                .await?
            {
                return Ok(());
            }
        }
    }
}

fn held_by(tx: &Tx, state: &LockState) -> Option<SeqNum> {
    let holder = state.holder.as_ref()?;
    holder.since.filter(|_| holder.tx == *tx)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_waits_and_the_younger_dies_also_of_one_who_waits() {
        let [old, middle, young] = [1, 2, 3].map(|born| Tx {
            born,
            id: Name::from(format!("t{born}")),
        });
        let of = |holder: Option<&Tx>, waiter: Option<&Tx>| {
            let holder = holder.cloned().map(|tx| Holder { tx, since: None });
            let waiter = waiter.cloned();
            verdict(&middle, &LockState { holder, waiter })
        };
        let (claim, behind) = (
            Verdict::Wait { claim: true },
            Verdict::Wait { claim: false },
        );
        for free in [None, Some(&middle), Some(&young)] {
            assert_eq!(of(None, free), Verdict::Take);
        }
        for dead in [
            (None, Some(&old)),
            (Some(&old), None),
            (Some(&old), Some(&middle)),
        ] {
            assert_eq!(of(dead.0, dead.1), Verdict::Die);
        }
        assert_eq!(of(Some(&young), None), claim);
        assert_eq!(of(Some(&young), Some(&young)), claim);
        assert_eq!(of(Some(&young), Some(&middle)), behind);
        assert_eq!(of(Some(&young), Some(&old)), behind);
    }
}
