//! The linked DAAL: data and its write log in the same rows (specification §§3.2, 4). This is how
//! effects are made; [`crate::rows`] finds the row.
//!
//! An item of the store is limited in size, so the log of a key cannot live in one row for ever: a
//! key's rows form a singly linked list, of which only the tail holds the current value. Invariants:
//!
//! * the row (key, `HEAD`) is the entry of the list and is never unlinked;
//! * `NEXTROW` is set at most once, and only in a full row, which takes no log entry any more;
//! * only the tail takes effects, and the value of a new tail is a copy of the old one's;
//! * a log key is in at most one row of its key's list.

use crate::Bug;
use crate::log::{Run, interrupted};
use crate::names::{HEAD, HOLDER, LOGS, VALUE};
use crate::rows::{Place, Skeleton, row_key};
use triptych_api::{Change, Error, Result, apply, lower, lower_optimistic};
use triptych_model::{Action, Condition, Item, Map, Name, Operand, Path, Value};
use triptych_store::{Request, Response, Return, StoreError};
use triptych_world::MS;

/// An effect on one key.
pub(crate) enum Effect {
    /// Replaces the value.
    Write(Value),
    /// Changes the document if the condition holds of it.
    Update(Condition, Vec<Change>),
}

/// What one attempt on one row came to.
pub(crate) enum Attempt {
    /// The effect (or its refusal) is logged.
    Logged(Value),
    /// Nothing happened: look at the row again.
    Missed,
}

/// How often an effect is tried before the execution gives up and is repeated later.
const ATTEMPTS: u32 = 400;
/// The longest pause between two looks at a key that a transaction has locked.
const LOCKED_PAUSE: u64 = 200 * MS;

impl Run {
    /// The log key of a step.
    pub(crate) fn cid(&self, step: &str) -> String {
        format!("{}-{step}", self.instance)
    }

    /// Makes an effect and its log entry in one row, once; returns the logged outcome: null for a
    /// write, true, false, or a sum for an update.
    pub(crate) async fn effect(
        &self,
        step: &str,
        table: &Name,
        key: &Name,
        effect: Effect,
    ) -> Result<Value> {
        let cid = self.cid(step);
        let effect = self.spoil(&cid, effect);
        if self.shared.config.is_cross_table() {
            return self.cross_effect(step, (table, key), effect).await;
        }
        let mut row = match self.skeleton(table, key, Some(&cid), &[]).await? {
            Skeleton::Done(outcome) => return Ok(outcome),
            Skeleton::Tail(row, _) => row,
            Skeleton::Empty => {
                self.insert_head(table, key).await?;
                Name::from(HEAD)
            }
        };
        let mut pause = 5 * MS;
        for _ in 0..ATTEMPTS {
            let at = (table, key, &*row);
            let attempt = match &effect {
                Effect::Write(value) => self.try_write(&cid, at, value).await?,
                Effect::Update(condition, changes) => {
                    self.try_update(&cid, at, condition, changes).await?
                }
            };
            if let Attempt::Logged(outcome) = attempt {
                return Ok(outcome);
            }
            let (now, item) = match self.find_from(at, Some(&cid), &[HOLDER]).await? {
                Place::Done(outcome) => return Ok(outcome),
                Place::Open(now, item) => (now, item),
            };
            if now == row && item.contains_key(HOLDER) {
                // What is not in a transaction holds nothing while it waits, so it cannot be in a
                // deadlock.
                let world = &self.shared.world;
                let jitter = world.keyed(self.scope.next_key()).below(pause);
                world.sleep(pause / 2 + jitter).await;
                pause = (2 * pause).min(LOCKED_PAUSE);
            }
            row = now;
        }
        Err(Error::Interrupted(format!(
            "no room for step {step} in the rows of {key:?}"
        )))
    }

    /// The seeded defect [`Bug::DropAppend`].
    fn spoil(&self, cid: &str, effect: Effect) -> Effect {
        match effect {
            Effect::Update(condition, changes)
                if self.has(Bug::DropAppend)
                    && triptych_world::mix_str(0, cid).is_multiple_of(7) =>
            {
                let kept = changes
                    .into_iter()
                    .filter(|c| !matches!(c, Change::Append { .. }));
                Effect::Update(condition, kept.collect())
            }
            effect => effect,
        }
    }

    /// The row still takes this log key, and no transaction has locked it.
    fn open_and_free(&self, cid: &str) -> Vec<Condition> {
        let mut all = self.open(cid);
        all.push(Condition::Absent(Path::attr(HOLDER)));
        all
    }

    async fn try_write(
        &self,
        cid: &str,
        (table, key, row): (&Name, &Name, &str),
        value: &Value,
    ) -> Result<Attempt> {
        let mut update = Self::log_clauses(cid, Operand::Value(Value::Null));
        update.push(Action::Set(
            Path::attr(VALUE),
            Operand::Value(value.clone()),
        ));
        let place = (table, row_key(key, row));
        let open = Condition::All(self.open_and_free(cid));
        let done = self
            .update_if("beldi.write.row", place, update, open)
            .await?;
        Ok(if done {
            Attempt::Logged(Value::Null)
        } else {
            Attempt::Missed
        })
    }

    /// Tries the three ways in which a conditional update can come out, each with a condition that
    /// makes the logged outcome true at the moment it is logged.
    async fn try_update(
        &self,
        cid: &str,
        at: (&Name, &Name, &str),
        condition: &Condition,
        changes: &[Change],
    ) -> Result<Attempt> {
        let exists = Condition::Exists(Path::attr(VALUE));
        let met = Condition::All(vec![exists.clone(), condition.under(VALUE)]);
        let applied = self.try_apply(cid, at, &met, changes).await?;
        if matches!(applied, Attempt::Logged(_)) {
            return Ok(applied);
        }
        let of_nothing = triptych_store::holds(condition, &Item::new());
        if of_nothing {
            let mut document = Map::new();
            let sum = apply(&mut document, changes);
            let outcome = sum.map_or(Value::Bool(true), Value::Int);
            let mut update = Self::log_clauses(cid, Operand::Value(outcome.clone()));
            let document = Operand::Value(Value::from(document));
            update.push(Action::Set(Path::attr(VALUE), document));
            let mut all = self.open_and_free(cid);
            all.push(Condition::Absent(Path::attr(VALUE)));
            let place = (at.0, row_key(at.1, at.2));
            if self
                .update_if("beldi.update.create", place, update, Condition::All(all))
                .await?
            {
                return Ok(Attempt::Logged(outcome));
            }
        }
        if is_trivial(condition) {
            return Ok(Attempt::Missed);
        }
        let mut all = self.open_and_free(cid);
        all.push(Condition::Not(Box::new(met)));
        if of_nothing {
            all.push(exists);
        }
        let mut update = Self::log_clauses(cid, Operand::Value(Value::Bool(false)));
        if self.has(Bug::RefusalsUncounted) {
            update.truncate(1);
        }
        let place = (at.0, row_key(at.1, at.2));
        let refused = self
            .update_if("beldi.update.refuse", place, update, Condition::All(all))
            .await?;
        Ok(if refused {
            Attempt::Logged(Value::Bool(false))
        } else {
            Attempt::Missed
        })
    }

    async fn try_apply(
        &self,
        cid: &str,
        (table, key, row): (&Name, &Name, &str),
        met: &Condition,
        changes: &[Change],
    ) -> Result<Attempt> {
        let mut all = self.open_and_free(cid);
        all.push(met.clone());
        let (mut update, outcome) = match lower(changes, VALUE) {
            Some((update, sum)) => (update, sum),
            None => {
                let projection = Some(vec![Path::attr(VALUE)]);
                let place = (table, row_key(key, row));
                let old = self.get("beldi.update.look", place, projection).await?;
                let old = match old.and_then(|mut item| item.remove(VALUE)) {
                    Some(Value::Map(map)) => (*map).clone(),
                    _ => Map::new(),
                };
                let (update, unchanged, sum) = lower_optimistic(changes, &old, VALUE);
                all.push(unchanged);
                (update, sum.map(|sum| Operand::Value(Value::Int(sum))))
            }
        };
        let adds = outcome.is_some();
        update.extend(Self::log_clauses(
            cid,
            outcome.unwrap_or(Operand::Value(Value::Bool(true))),
        ));
        let request = Request::Update {
            table: table.clone(),
            key: row_key(key, row),
            update,
            condition: Some(Condition::All(all)),
            returns: if adds { Return::AllNew } else { Return::None },
        };
        match self.store("beldi.update.row", request).await {
            Ok(Response::Item(item)) if adds => {
                let outcome = item
                    .as_ref()
                    .and_then(|item| item.get(LOGS)?.get(cid).cloned());
                outcome.map(Attempt::Logged).ok_or_else(|| {
                    Error::Interrupted("an update did not return its log entry".to_owned())
                })
            }
            Ok(_) => Ok(Attempt::Logged(Value::Bool(true))),
            Err(StoreError::ConditionFailed) => Ok(Attempt::Missed),
            Err(error) => Err(interrupted(error)),
        }
    }
}

fn is_trivial(condition: &Condition) -> bool {
    matches!(condition, Condition::All(all) if all.is_empty())
}
