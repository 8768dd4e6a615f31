//! Locks: two-phase, exclusive, and without deadlocks by wait-die (specification §8.4).
//!
//! The lock of a key is part of its state in the [`crate::daal`], and names the transaction that
//! holds it and its birth. An older transaction waits for a younger one; a younger one that meets an
//! older one dies. So nobody ever waits for somebody older, and there is no circle. A transaction
//! keeps its birth when it is tried again, so that it grows older until it wins.
//!
//! Whether a transaction got a lock is decided once, by a log key that the transaction has for each
//! key: true for taken, false for died. Waiting needs no record: it has no effect, and a repeated
//! execution waits again. Releasing needs no log entry either: it depends on holding the lock, and
//! a transaction cannot get a lock twice.
//!
//! **Why no lock is left behind.** A key is recorded in the shadow before its lock is asked for, and
//! recording fails once the transaction is ending. So the end knows of every lock that can have been
//! asked for. One that was asked for and not taken may still be on its way from an execution that is
//! dead; releasing it writes the answer *died* under its log key, and whatever arrives later finds
//! that the question has been answered. One that arrives after its release finds its own answer. All
//! of this holds whichever of two parallel branches comes to a key first, which can differ between
//! executions: they ask under the same log key.

use crate::Bug;
use crate::daal::{ATTEMPTS, Next, row_key};
use crate::log::{Run, interrupted};
use crate::names::{BORN, HOLDER, LOCK, VALUE};
use crate::tx::Tx;
use triptych_api::{Error, Result};
use triptych_model::{Action, Comparison, Condition, Item, Name, Operand, Path, Value};
use triptych_store::{Key, Request, Response, Return, StoreError};
use triptych_world::MS;

/// Who holds a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LockWord {
    /// The transaction.
    pub(crate) holder: Name,
    /// When it was first tried.
    pub(crate) born: i64,
}

impl LockWord {
    pub(crate) fn to_value(&self) -> Value {
        Value::map([
            (HOLDER, self.holder.clone().into()),
            (BORN, Value::Int(self.born)),
        ])
    }

    pub(crate) fn from_value(value: &Value) -> Option<LockWord> {
        match (value.get(HOLDER)?, value.get(BORN)?) {
            (Value::Str(holder), Value::Int(born)) => Some(LockWord {
                holder: holder.clone(),
                born: *born,
            }),
            _ => None,
        }
    }

    /// The order of age: by birth, and by id among those born together.
    fn older_than(&self, other: &LockWord) -> bool {
        (self.born, &self.holder) < (other.born, &other.holder)
    }
}

/// How asking for a lock ended.
pub(crate) enum Lock {
    /// It is taken now; this row has it, and this value.
    Taken(Name, Option<Value>),
    /// It was taken by an earlier execution, or operation, of the transaction.
    Before,
    /// The transaction dies.
    Died,
}

fn answer(outcome: &Value) -> Lock {
    match outcome {
        Value::Bool(false) => Lock::Died,
        _ => Lock::Before,
    }
}

fn holder() -> Path {
    Path::attr(LOCK).field(HOLDER)
}

fn held_by(tx: &Name) -> Condition {
    Condition::equals(holder(), tx.clone())
}

impl Run {
    /// Asks for the lock of a key, under the transaction's log key for it.
    pub(crate) async fn lock(
        &self,
        tx: &Tx,
        cid: &str,
        (table, key): (&Name, &Name),
    ) -> Result<Lock> {
        let look = self.skeleton(table, key, Some(cid)).await?;
        if let Some(outcome) = look.outcome {
            return Ok(answer(&outcome));
        }
        let mut row = self.tail_or_head(look.tail, table, key).await?;
        let me = tx.lock_word();
        for waited in 0..ATTEMPTS {
            let at = (table, row_key(key, &row));
            if let Some(mut item) = self.take(cid, at.clone(), &me).await? {
                return Ok(Lock::Taken(row, item.remove(VALUE)));
            }
            match self.after_miss(Some(cid), table, key, &row).await? {
                Next::Logged(outcome) => return Ok(answer(&outcome)),
                Next::Row(next) => row = next,
                Next::Same(None) => {}
                Next::Same(Some(owner))
                    if me.older_than(&owner) || self.shared.config.bug == Some(Bug::NobodyDies) =>
                {
                    self.pause(waited).await;
                }
                Next::Same(Some(owner)) => {
                    if self.deny(cid, at, held_by(&owner.holder)).await? {
                        return Ok(Lock::Died);
                    }
                }
            }
        }
        Err(Error::Interrupted(format!("{key:?} stays locked")))
    }

    /// Takes a free lock, or one that the transaction has. Returns the row.
    async fn take(
        &self,
        cid: &str,
        (table, key): (&Name, Key),
        me: &LockWord,
    ) -> Result<Option<Item>> {
        let mut update = Self::log_clauses(cid, Operand::Value(Value::Bool(true)));
        update.push(Action::Set(Path::attr(LOCK), Operand::Value(me.to_value())));
        let free = Condition::Any(vec![
            Condition::Absent(Path::attr(LOCK)),
            held_by(&me.holder),
        ]);
        let mut all = self.room(cid);
        all.push(free);
        let condition = Condition::All(all);
        self.update_to("beldi.lock.take", (table, key), update, condition)
            .await
    }

    /// Answers, for good, that the transaction does not get the lock.
    async fn deny(&self, cid: &str, at: (&Name, Key), while_so: Condition) -> Result<bool> {
        let update = Self::log_clauses(cid, Operand::Value(Value::Bool(false)));
        let mut all = self.room(cid);
        all.push(while_so);
        self.update_if("beldi.lock.deny", at, update, Condition::All(all))
            .await
    }

    /// Releases a lock if the transaction holds it, and applies its new value if there is one. `hint`
    /// is the row that had the lock when it was taken.
    pub(crate) async fn release(
        &self,
        tx: &Name,
        cid: &str,
        (table, key): (&Name, &Name),
        hint: Option<Name>,
        value: Option<&Value>,
    ) -> Result<()> {
        if let Some(row) = hint
            && self.free((table, row_key(key, &row)), tx, value).await?
        {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let look = self.skeleton(table, key, Some(cid)).await?;
            if look.outcome == Some(Value::Bool(false)) {
                return Ok(());
            }
            let row = self.tail_or_head(look.tail, table, key).await?;
            let at = (table, row_key(key, &row));
            if self.free(at.clone(), tx, value).await? {
                return Ok(());
            }
            match self.after_miss(None, table, key, &row).await? {
                Next::Same(Some(owner)) if owner.holder == *tx => {}
                // It was taken and is held no more: another execution has released it.
                Next::Same(_) if look.outcome.is_some() => return Ok(()),
                Next::Same(_) => {
                    let free =
                        Condition::Compare(holder(), Comparison::NotEqual, tx.clone().into());
                    if self.deny(cid, at, free).await? {
                        return Ok(());
                    }
                }
                Next::Logged(_) | Next::Row(_) => {}
            }
        }
        Err(Error::Interrupted(format!("{key:?} cannot be unlocked")))
    }

    /// The release itself: not in a full row, because a copy of it may be under way.
    async fn free(&self, at: (&Name, Key), tx: &Name, value: Option<&Value>) -> Result<bool> {
        let mut update = vec![Action::Remove(Path::attr(LOCK))];
        update.extend(value.map(|value| {
            let value = Operand::Value(value.clone());
            Action::Set(Path::attr(VALUE), value)
        }));
        let mut all = vec![self.not_full()];
        if self.shared.config.bug != Some(Bug::CommitAppliesBlindly) {
            all.push(held_by(tx));
        }
        self.update_if("beldi.lock.free", at, update, Condition::All(all))
            .await
    }

    /// Applies a value whoever holds the lock: what some seeded defects do.
    pub(crate) async fn apply_at_once(
        &self,
        (table, key): (&Name, &Name),
        value: &Value,
    ) -> Result<()> {
        let tail = self.skeleton(table, key, None).await?.tail;
        let row = self.tail_or_head(tail, table, key).await?;
        let set = Action::Set(Path::attr(VALUE), Operand::Value(value.clone()));
        let exists = Condition::Exists(Path::attr(crate::names::KEY));
        self.update_if(
            "beldi.lock.bug",
            (table, row_key(key, &row)),
            vec![set],
            exists,
        )
        .await
        .map(drop)
    }

    /// Waits for whoever holds a lock: longer and longer, up to a fifth of a second.
    pub(crate) async fn pause(&self, waited: u32) {
        let most = (6 * MS) << waited.min(5);
        let pause = self.shared.world.keyed(self.scope.next_key()).below(most);
        self.shared.world.sleep(MS + pause).await;
    }

    /// A conditional update that returns the item as it is then; none if the condition did not hold.
    pub(crate) async fn update_to(
        &self,
        point: &'static str,
        (table, key): (&Name, Key),
        update: Vec<Action>,
        condition: Condition,
    ) -> Result<Option<Item>> {
        let request = Request::Update {
            table: table.clone(),
            key,
            update,
            condition: Some(condition),
            returns: Return::AllNew,
        };
        match self.store(point, request).await {
            Ok(Response::Item(Some(item))) => Ok(Some(item)),
            Ok(other) => Err(Error::Interrupted(format!(
                "an update was answered with {other:?}"
            ))),
            Err(StoreError::ConditionFailed) => Ok(None),
            Err(error) => Err(interrupted(error)),
        }
    }
}
