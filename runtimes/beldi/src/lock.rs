//! The lock of a key: a word in its tail row, taken and given back by logged effects (specification
//! §§4.6, 8.4).
//!
//! The owner is a transaction, not an execution, so whoever executes an instance again still has its
//! locks. Taking a lock logs either that it was taken or who has it, in the row itself: both are
//! decided by one conditional update, and all executions of the step see the same decision.

use crate::daal::{Attempt, row_key};
use crate::log::{Run, interrupted};
use crate::names::{HOLDER, LOGS, VALUE};
use crate::tx::TxContext;
use triptych_api::{Error, Result};
use triptych_model::{Action, Comparison, Condition, Name, Operand, Path, Value};
use triptych_store::{Request, Response, Return, StoreError};

fn held_by(tx: &Name, comparison: Comparison) -> Condition {
    let holder = Path::attr(HOLDER).field("txn");
    Condition::Compare(holder, comparison, tx.clone().into())
}

impl Run {
    pub(crate) async fn try_lock(
        &self,
        cid: &str,
        (table, key, row): (&Name, &Name, &str),
        tx: &TxContext,
    ) -> Result<Attempt> {
        let free = Condition::Absent(Path::attr(HOLDER));
        let mine = held_by(&tx.id, Comparison::Equal);
        let mut all = self.open(cid);
        all.push(Condition::Any(vec![free, mine]));
        let mut update = Self::log_clauses(cid, Operand::Value(Value::Bool(true)));
        let word = Operand::Value(tx.to_word());
        update.push(Action::Set(Path::attr(HOLDER), word));
        let place = (table, row_key(key, row));
        if self
            .update_if("beldi.lock.take", place, update, Condition::All(all))
            .await?
        {
            return Ok(Attempt::Logged(Value::Bool(true)));
        }
        let mut all = self.open(cid);
        all.push(Condition::Exists(Path::attr(HOLDER)));
        all.push(held_by(&tx.id, Comparison::NotEqual));
        let request = Request::Update {
            table: table.clone(),
            key: row_key(key, row),
            update: Self::log_clauses(cid, Operand::Path(Path::attr(HOLDER))),
            condition: Some(Condition::All(all)),
            returns: Return::AllNew,
        };
        match self.store("beldi.lock.refuse", request).await {
            Ok(Response::Item(item)) => {
                let word = item.and_then(|item| item.get(LOGS)?.get(cid).cloned());
                word.map(Attempt::Logged).ok_or_else(|| {
                    Error::Interrupted("an update did not return its log entry".to_owned())
                })
            }
            Ok(other) => Err(Error::Interrupted(format!(
                "an update was answered with {other:?}"
            ))),
            Err(StoreError::ConditionFailed) => Ok(Attempt::Missed),
            Err(error) => Err(interrupted(error)),
        }
    }

    /// The value and the lock change in one row update, so nobody sees one without the other.
    pub(crate) async fn try_release(
        &self,
        cid: &str,
        (table, key, row): (&Name, &Name, &str),
        tx: &Name,
        value: Option<&Value>,
    ) -> Result<Attempt> {
        let mut all = self.open(cid);
        if !self.has(crate::Bug::CommitAppliesBlindly) {
            all.push(held_by(tx, Comparison::Equal));
        }
        let mut update = Self::log_clauses(cid, Operand::Value(Value::Bool(true)));
        update.push(Action::Remove(Path::attr(HOLDER)));
        let value = value.map(|value| Operand::Value(value.clone()));
        update.extend(value.map(|value| Action::Set(Path::attr(VALUE), value)));
        let place = (table, row_key(key, row));
        if self
            .update_if("beldi.lock.release", place, update, Condition::All(all))
            .await?
        {
            return Ok(Attempt::Logged(Value::Bool(true)));
        }
        let mut all = self.open(cid);
        all.push(held_by(tx, Comparison::NotEqual));
        let update = Self::log_clauses(cid, Operand::Value(Value::Bool(false)));
        let place = (table, row_key(key, row));
        let refused = self
            .update_if("beldi.lock.none", place, update, Condition::All(all))
            .await?;
        Ok(if refused {
            Attempt::Logged(Value::Bool(false))
        } else {
            Attempt::Missed
        })
    }
}
