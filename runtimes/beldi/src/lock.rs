//! The lock of a key: a word in its tail row (specification §§4.6, 8.4).
//!
//! The owner is a transaction, not an execution, so whoever executes an instance again still has its
//! locks. **One decision per transaction and key.** Whether a transaction gets a key is decided once,
//! and the decision stands in the key's rows under a log key that is made of the transaction alone:
//! true with the lock itself, or false once it has to die. Every operation, branch, instance and
//! execution of the transaction that comes later finds it. Only decisions are logged: who has to wait
//! asks again, and so does a replay, which may be told something else than its first execution, but
//! no two of them can be told different things.
//!
//! **A lock is given back without a log key.** It can be taken once, because the decision stays until
//! the transaction's shadow is forgotten, so a release that finds the lock held by the transaction is
//! the first one. A release goes into an open row like any effect: the state of a full row is being
//! copied.
//!
//! **A place in the queue.** The oldest transaction that waits for a key puts its word beside the
//! lock, and nobody younger takes the lock before it: they die as if it had the lock already. So it
//! waits for one holder per key, not for all who come by. It takes its word back with the decision,
//! and after the decision no late message can bring the word back, because it is conditional on there
//! being none.

use crate::Bug;
use crate::log::{Run, interrupted};
use crate::names::{HEAD, HOLDER, KEY, LOG_SIZE, LOGS, VALUE, WAITER};
use crate::rows::{Place, row_key};
use crate::tx::TxContext;
use triptych_api::{Error, Result};
use triptych_model::{Action, Comparison, Condition, Item, Map, Name, Operand, Path, Value};
use triptych_store::{Request, Response, Return, StoreError};

/// What the log keys of all decisions on locks end with, where those of effects have their step. No
/// step is called so.
pub(crate) const LOCK: &str = "lock";

/// The log key of the decision whether a transaction gets a key.
pub(crate) fn lock_key(tx: &Name) -> String {
    format!("{tx}-{LOCK}")
}

/// What became of asking for a lock.
pub(crate) enum Locked {
    /// This call took it, and nobody in the transaction had asked before. With the key's value.
    Now(Option<Value>),
    /// The transaction has it, or had it.
    Before,
    /// The transaction has to die.
    Never,
}

/// What to do about a lock that is as it was seen.
#[derive(Debug, PartialEq)]
enum Verdict {
    Take,
    /// `claim`: nobody older waits already.
    Wait {
        claim: bool,
    },
    Die,
}

fn verdict(tx: &TxContext, holder: Option<&TxContext>, waiter: Option<&TxContext>) -> Verdict {
    let others = |word: &&TxContext| word.id != tx.id;
    match (holder.filter(others), waiter.filter(others)) {
        (Some(holder), _) if holder < tx => Verdict::Die,
        (Some(_), Some(waiter)) => Verdict::Wait { claim: tx < waiter },
        (Some(_), None) => Verdict::Wait { claim: true },
        (None, Some(waiter)) if waiter < tx => Verdict::Die,
        (None, _) => Verdict::Take,
    }
}

fn whose(word: &str, comparison: Comparison, tx: &Name) -> Condition {
    let owner = Path::attr(word).field("txn");
    Condition::Compare(owner, comparison, tx.clone().into())
}

/// The word at this attribute is that of a transaction younger than this one.
fn younger(word: &str, tx: &TxContext) -> Condition {
    let born = |comparison| {
        let born = Path::attr(word).field("born");
        Condition::Compare(born, comparison, Value::Int(tx.born))
    };
    let same = born(Comparison::Equal).and(whose(word, Comparison::Greater, &tx.id));
    Condition::Any(vec![born(Comparison::Greater), same])
}

/// The word is this transaction's.
fn is_of(tx: &Name, word: Option<&Value>) -> bool {
    let word = word.and_then(TxContext::from_word);
    word.is_some_and(|word| word.id == *tx)
}

fn set(name: &str, value: Value) -> Action {
    Action::Set(Path::attr(name), Operand::Value(value))
}

impl Run {
    /// Asks for the lock of a key until there is a decision.
    pub(crate) async fn take_lock(
        &self,
        tx: &TxContext,
        table: &Name,
        key: &Name,
    ) -> Result<Locked> {
        const SEEN: [&str; 3] = [LOG_SIZE, HOLDER, WAITER];
        let cid = lock_key(&tx.id);
        let at = (table, key);
        let mut place = match self.find(at, Some(&cid), &SEEN).await? {
            Some(place) => place,
            None if self.create_decided(&cid, at, Some(tx)).await? => return Ok(Locked::Now(None)),
            None => {
                let head = (table, key, HEAD);
                self.find_from(head, Some(&cid), &SEEN).await?
            }
        };
        let mut waits = 0;
        loop {
            let (row, seen) = match place {
                Place::Done(Value::Bool(true)) => return Ok(Locked::Before),
                Place::Done(_) => return Ok(Locked::Never),
                Place::Open(row, seen) => (row, seen),
            };
            let word = |name| match seen.get(name) {
                None => Ok(None),
                Some(word) => TxContext::from_word(word).map(Some).ok_or_else(|| {
                    Error::Interrupted(format!("{table}[{key}] has the lock word {word:?}"))
                }),
            };
            let (holder, waiter) = (word(HOLDER)?, word(WAITER)?);
            let here = (table, key, &*row);
            match verdict(tx, holder.as_ref(), waiter.as_ref()) {
                Verdict::Take => {
                    if let Some(mut item) = self.try_take(&cid, here, tx).await? {
                        return Ok(Locked::Now(item.remove(VALUE)));
                    }
                }
                Verdict::Die => {
                    let (holder, waiter) = (holder.as_ref(), waiter.as_ref());
                    if self.try_die(&cid, here, tx, holder, waiter).await? {
                        return Ok(Locked::Never);
                    }
                }
                Verdict::Wait { claim } => {
                    let claimed = waiter.is_some_and(|waiter| waiter.id == tx.id);
                    let missing = claim && !claimed && !self.has(Bug::NoQueue);
                    // Who waits without its word there, although it could be, is overtaken.
                    if !missing || self.claim(&cid, here, tx).await? {
                        self.lock_pause(waits).await;
                        waits += 1;
                    }
                }
            }
            place = self.find_from(here, Some(&cid), &SEEN).await?;
        }
    }

    /// Begins the list of a key that has no value with the decision who holds it: this transaction, or
    /// at any rate not that of the log key.
    async fn create_decided(
        &self,
        cid: &str,
        (table, key): (&Name, &Name),
        holder: Option<&TxContext>,
    ) -> Result<bool> {
        let decision = Value::Bool(holder.is_some());
        let logs = Value::from(Map::from([(Name::from(cid), decision)]));
        let mut create = vec![set(LOGS, logs), set(LOG_SIZE, Value::Int(1))];
        create.extend(holder.map(|tx| set(HOLDER, tx.to_word())));
        let place = (table, row_key(key, HEAD));
        let absent = Condition::Absent(Path::attr(KEY));
        self.update_if("beldi.lock.create", place, create, absent)
            .await
    }

    /// Takes the lock if it is free and nobody older waits for it. Returns the row.
    async fn try_take(
        &self,
        cid: &str,
        (table, key, row): (&Name, &Name, &str),
        tx: &TxContext,
    ) -> Result<Option<Item>> {
        let mut all = self.open(cid);
        all.push(Condition::Any(vec![
            Condition::Absent(Path::attr(HOLDER)),
            whose(HOLDER, Comparison::Equal, &tx.id),
        ]));
        if !self.has(Bug::NoQueue) {
            all.push(Condition::Any(vec![
                Condition::Absent(Path::attr(WAITER)),
                whose(WAITER, Comparison::Equal, &tx.id),
                younger(WAITER, tx),
            ]));
        }
        let mut update = Self::log_clauses(cid, Operand::Value(Value::Bool(true)));
        update.push(set(HOLDER, tx.to_word()));
        // Who waits and is younger will see an older holder, and die.
        update.push(Action::Remove(Path::attr(WAITER)));
        let request = Request::Update {
            table: table.clone(),
            key: row_key(key, row),
            update,
            condition: Some(Condition::All(all)),
            returns: Return::AllNew,
        };
        match self.store("beldi.lock.take", request).await {
            Ok(Response::Item(Some(item))) => Ok(Some(item)),
            Ok(other) => Err(Error::Interrupted(format!(
                "an update was answered with {other:?}"
            ))),
            Err(StoreError::ConditionFailed) => Ok(None),
            Err(error) => Err(interrupted(error)),
        }
    }

    /// Decides that the transaction dies, if the older one that was seen is still there: the holder,
    /// or without one, who waits.
    async fn try_die(
        &self,
        cid: &str,
        (table, key, row): (&Name, &Name, &str),
        tx: &TxContext,
        holder: Option<&TxContext>,
        waiter: Option<&TxContext>,
    ) -> Result<bool> {
        if self.has(Bug::DeathNotLogged) {
            return Ok(true);
        }
        let mut all = self.open(cid);
        match holder {
            Some(holder) => all.push(whose(HOLDER, Comparison::Equal, &holder.id)),
            None => all.push(Condition::Absent(Path::attr(HOLDER))),
        }
        let mut update = Self::log_clauses(cid, Operand::Value(Value::Bool(false)));
        match waiter {
            Some(waiter) if waiter.id == tx.id => {
                all.push(whose(WAITER, Comparison::Equal, &tx.id));
                update.push(Action::Remove(Path::attr(WAITER)));
            }
            Some(waiter) if holder.is_none() => {
                all.push(whose(WAITER, Comparison::Equal, &waiter.id));
            }
            _ => all.push(whose(WAITER, Comparison::NotEqual, &tx.id)),
        }
        let place = (table, row_key(key, row));
        self.update_if("beldi.lock.die", place, update, Condition::All(all))
            .await
    }

    /// Puts the transaction's word beside the lock, whoever younger holds that by now, if anybody
    /// does, unless somebody older waits. False if that is so, or the row is full, or an older one
    /// holds the lock: then the next look tells.
    async fn claim(
        &self,
        cid: &str,
        (table, key, row): (&Name, &Name, &str),
        tx: &TxContext,
    ) -> Result<bool> {
        let mut all = self.open(cid);
        for word in [HOLDER, WAITER] {
            let absent = Condition::Absent(Path::attr(word));
            all.push(Condition::Any(vec![absent, younger(word, tx)]));
        }
        let place = (table, row_key(key, row));
        let word = vec![set(WAITER, tx.to_word())];
        self.update_if("beldi.lock.claim", place, word, Condition::All(all))
            .await
    }

    /// Gives the lock back if the transaction has it, and replaces the value if there is a new one.
    /// Both change in one row update, so nobody sees one without the other. If it does not have the
    /// lock, it never will.
    pub(crate) async fn release_lock(
        &self,
        tx: &Name,
        at: (&Name, &Name),
        value: Option<&Value>,
    ) -> Result<()> {
        let mut taken = false;
        while !self.release_held(tx, at, value).await? {
            // It was there with the decision, so it has been given back since.
            if taken || self.has(Bug::DeathNotLogged) {
                return Ok(());
            }
            taken = self.decide_at_end(tx, at, value).await?;
            if !taken {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The first part of [`Run::release_lock`]: false if the transaction does not hold the lock.
    async fn release_held(
        &self,
        tx: &Name,
        (table, key): (&Name, &Name),
        value: Option<&Value>,
    ) -> Result<bool> {
        const SEEN: [&str; 2] = [LOG_SIZE, HOLDER];
        let mut place = self.find((table, key), None, &SEEN).await?;
        let blindly = self.has(Bug::CommitAppliesBlindly);
        while let Some(Place::Open(row, seen)) = place {
            if !is_of(tx, seen.get(HOLDER)) && !blindly {
                return Ok(false);
            }
            let capacity = Value::Int(self.shared.config.row_capacity);
            let mut all = vec![Condition::Compare(
                Path::attr(LOG_SIZE),
                Comparison::Less,
                capacity,
            )];
            if !blindly {
                all.push(whose(HOLDER, Comparison::Equal, tx));
            }
            let mut update = vec![Action::Remove(Path::attr(HOLDER))];
            update.extend(value.map(|value| set(VALUE, value.clone())));
            let here = (table, row_key(key, &row));
            if self
                .update_if("beldi.lock.release", here, update, Condition::All(all))
                .await?
            {
                return Ok(true);
            }
            let from = (table, key, &*row);
            place = Some(self.find_from(from, None, &SEEN).await?);
        }
        Ok(false)
    }

    /// Whether it was decided that the transaction gets the key. If nothing is decided although it
    /// ends, decides that it does not, and takes its word back.
    ///
    /// There is a decision on every key that is noted, because no end begins before
    /// ([`crate::tx`]). This is for the case that it is not so: a late request for the lock, or a
    /// late claim, would stay for ever.
    async fn decide_at_end(
        &self,
        tx: &Name,
        at: (&Name, &Name),
        value: Option<&Value>,
    ) -> Result<bool> {
        const SEEN: [&str; 2] = [LOG_SIZE, WAITER];
        let cid = lock_key(tx);
        let (table, key) = at;
        let undecided = || match value {
            // The other writes of the transaction are visible perhaps. Nobody should know it as done.
            Some(_) => Err(Error::Bug(format!(
                "transaction {tx} commits a write of {table}[{key}], which it never locked"
            ))),
            None => Ok(()),
        };
        let mut place = match self.find(at, Some(&cid), &SEEN).await? {
            Some(place) => place,
            None => {
                undecided()?;
                if self.create_decided(&cid, at, None).await? {
                    return Ok(false);
                }
                let head = (table, key, HEAD);
                self.find_from(head, Some(&cid), &SEEN).await?
            }
        };
        loop {
            let (row, seen) = match place {
                Place::Done(outcome) => return Ok(outcome == Value::Bool(true)),
                Place::Open(row, seen) => (row, seen),
            };
            undecided()?;
            let mut all = self.open(&cid);
            let mut update = Self::log_clauses(&cid, Operand::Value(Value::Bool(false)));
            if is_of(tx, seen.get(WAITER)) {
                all.push(whose(WAITER, Comparison::Equal, tx));
                update.push(Action::Remove(Path::attr(WAITER)));
            } else {
                all.push(whose(WAITER, Comparison::NotEqual, tx));
            }
            let here = (table, row_key(key, &row));
            if self
                .update_if("beldi.lock.never", here, update, Condition::All(all))
                .await?
            {
                return Ok(false);
            }
            let from = (table, key, &*row);
            place = self.find_from(from, Some(&cid), &SEEN).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_waits_and_the_younger_dies_also_of_one_who_waits() {
        let [old, middle, young] = [1, 2, 3].map(|born| TxContext {
            born,
            id: Name::from(format!("t{born}")),
        });
        let of = |holder, waiter| verdict(&middle, holder, waiter);
        assert_eq!(of(None, None), Verdict::Take);
        assert_eq!(of(None, Some(&young)), Verdict::Take);
        assert_eq!(of(None, Some(&middle)), Verdict::Take);
        assert_eq!(of(None, Some(&old)), Verdict::Die);
        assert_eq!(of(Some(&old), None), Verdict::Die);
        assert_eq!(of(Some(&old), Some(&middle)), Verdict::Die);
        for waiter in [None, Some(&middle), Some(&young)] {
            assert_eq!(of(Some(&young), waiter), Verdict::Wait { claim: true });
        }
        let behind = Verdict::Wait { claim: false };
        assert_eq!(of(Some(&young), Some(&old)), behind);
    }
}
