//! The comparison system: a write and its log entry in two tables, made one by a transaction of the
//! store (specification §4.7).
//!
//! A key has one row, and the log of a write stands in the function's log table beside the reads.
//! Invocations, intents and collectors are Beldi's. A transaction of the store costs twice the write
//! units of each of its items, but a row never grows and nothing has to be searched.
//!
//! A repeated step finds its log entry and takes the outcome from there. The entry is the first item
//! of the transaction, so the store's answer tells whether the step was done before or its condition
//! did not hold: only the latter may be logged as a refusal.

use crate::daal::Effect;
use crate::log::{Run, interrupted};
use crate::names::{INSTANCE, KEY, OUTCOME, STEP, VALUE, log_table};
use triptych_api::{Change, Error, Result, apply, lower, lower_optimistic};
use triptych_model::{Action, Condition, Item, Map, Name, Operand, Path, Update, Value};
use triptych_store::{Cancellation, Key, Request, StoreError, Write};
use triptych_world::MS;

/// What one transaction of the store came to.
enum Attempt {
    /// The step was made.
    Made,
    /// It had been made before.
    Replayed,
    /// The row is not as the condition wants it.
    Unmet,
    /// Somebody else worked on the row.
    Conflict,
}

/// How often an effect is tried before the execution gives up and is repeated later.
const ATTEMPTS: u32 = 200;
/// The longest pause after a conflict.
const CONFLICT_PAUSE: u64 = 200 * MS;

fn absent_or(value: Option<&Value>) -> Condition {
    match value {
        Some(value) => Condition::equals(Path::attr(VALUE), value.clone()),
        None => Condition::Absent(Path::attr(VALUE)),
    }
}

impl Run {
    /// The value of a key. Not logged.
    pub(crate) async fn cross_current(&self, table: &Name, key: &Name) -> Result<Option<Value>> {
        let at = (table, Key::hash(key.clone()));
        let projection = Some(vec![Path::attr(VALUE)]);
        let row = self.get("beldi.cross.get", at, projection).await?;
        Ok(row.and_then(|mut row| row.remove(VALUE)))
    }

    /// All keys and values of a table. Not logged.
    pub(crate) async fn cross_scan(&self, table: &Name) -> Result<Vec<(Name, Value)>> {
        let scan = |start| Request::Scan {
            table: table.clone(),
            filter: None,
            projection: None,
            consistent: true,
            limit: None,
            start,
        };
        let rows = self.all_pages("beldi.scan", scan).await?;
        let pair = |mut row: Item| Some((crate::rows::text(&row, KEY)?, row.remove(VALUE)?));
        Ok(rows.into_iter().filter_map(pair).collect())
    }

    /// [`Run::effect`] on this storage.
    pub(crate) async fn cross_effect(
        &self,
        step: &str,
        (table, key): (&Name, &Name),
        effect: Effect,
    ) -> Result<Value> {
        let mut pause = 5 * MS;
        for _ in 0..ATTEMPTS {
            let attempt = match &effect {
                Effect::Write(value) => {
                    let update = vec![Action::Set(
                        Path::attr(VALUE),
                        Operand::Value(value.clone()),
                    )];
                    let point = "beldi.cross.write";
                    let place = (table, key);
                    let attempt = self.commit(point, step, place, Value::Null, update, None);
                    (attempt.await?, Value::Null)
                }
                Effect::Update(condition, changes) => {
                    self.cross_update(step, (table, key), condition, changes)
                        .await?
                }
            };
            let (attempt, outcome) = attempt;
            match attempt {
                Attempt::Made => return Ok(outcome),
                Attempt::Replayed => {
                    let outcome = self.get_log(step).await?.remove(OUTCOME);
                    return outcome
                        .ok_or_else(|| Error::Interrupted(format!("step {step} was no write")));
                }
                Attempt::Unmet | Attempt::Conflict => {}
            }
            let jitter = self.shared.world.keyed(self.scope.next_key()).below(pause);
            self.shared.world.sleep(pause / 2 + jitter).await;
            pause = (2 * pause).min(CONFLICT_PAUSE);
        }
        Err(Error::Interrupted(format!(
            "{key:?} is too busy for step {step}"
        )))
    }

    /// Makes the changes if the condition holds, or else logs that it does not.
    async fn cross_update(
        &self,
        step: &str,
        (table, key): (&Name, &Name),
        condition: &Condition,
        changes: &[Change],
    ) -> Result<(Attempt, Value)> {
        let place = (table, key);
        let exists = Condition::Exists(Path::attr(VALUE));
        let met = Condition::All(vec![exists, condition.under(VALUE)]);
        // The store returns nothing from a transaction, so a sum has to be known before.
        if let Some((update, None)) = lower(changes, VALUE) {
            let point = "beldi.cross.update";
            let outcome = Value::Bool(true);
            let attempt = self.commit(point, step, place, outcome.clone(), update, Some(met));
            match attempt.await? {
                // A row that is not there may still meet the condition, as an empty document.
                Attempt::Unmet if !triptych_store::holds(condition, &Item::new()) => {
                    return self.refuse(step).await;
                }
                Attempt::Unmet => {}
                end => return Ok((end, outcome)),
            }
        }
        let old = self.cross_current(table, key).await?;
        let missing = Map::new();
        let document = old.as_ref().and_then(Value::as_map).unwrap_or(&missing);
        if !triptych_store::holds(condition, document) {
            return self.refuse(step).await;
        }
        let (update, unchanged, outcome) = match &old {
            Some(Value::Map(map)) => {
                let (update, unchanged, sum) = lower_optimistic(changes, map, VALUE);
                let met = condition.under(VALUE).and(unchanged);
                (update, met, sum.map_or(Value::Bool(true), Value::Int))
            }
            _ => {
                let mut document = Map::new();
                let sum = apply(&mut document, changes);
                let document = Operand::Value(Value::from(document));
                let update = vec![Action::Set(Path::attr(VALUE), document)];
                let outcome = sum.map_or(Value::Bool(true), Value::Int);
                (update, absent_or(old.as_ref()), outcome)
            }
        };
        let point = "beldi.cross.replace";
        let attempt = self.commit(point, step, place, outcome.clone(), update, Some(unchanged));
        Ok((attempt.await?, outcome))
    }

    /// Logs that the condition does not hold. It did not when the store looked at the row, which was
    /// within the operation, so it need not be so any more.
    async fn refuse(&self, step: &str) -> Result<(Attempt, Value)> {
        let refused = Value::Bool(false);
        let entry = vec![(OUTCOME, refused.clone())];
        let logged = self.put_log("beldi.cross.refuse", step, entry).await?;
        let attempt = if logged {
            Attempt::Made
        } else {
            Attempt::Replayed
        };
        Ok((attempt, refused))
    }

    /// One transaction of the store: the log entry, if there is none, and the row, if the condition
    /// holds.
    async fn commit(
        &self,
        point: &'static str,
        step: &str,
        (table, key): (&Name, &Name),
        outcome: Value,
        update: Update,
        condition: Option<Condition>,
    ) -> Result<Attempt> {
        let entry = [
            (INSTANCE, Value::from(self.instance.clone())),
            (STEP, Value::str(step)),
            (OUTCOME, outcome),
        ];
        let entry = entry.map(|(name, value)| (Name::from(name), value));
        let writes = vec![
            Write::Put {
                table: log_table(&self.function),
                item: entry.into_iter().collect(),
                condition: Some(Condition::Absent(Path::attr(INSTANCE))),
            },
            Write::Update {
                table: table.clone(),
                key: Key::hash(key.clone()),
                update,
                condition,
            },
        ];
        match self.store(point, Request::TransactWrite { writes }).await {
            Ok(_) => Ok(Attempt::Made),
            Err(StoreError::Cancelled(reasons)) => {
                let failed = |reason: &Cancellation| *reason == Cancellation::ConditionFailed;
                if reasons.first().is_some_and(failed) {
                    Ok(Attempt::Replayed)
                } else if reasons.iter().any(failed) {
                    Ok(Attempt::Unmet)
                } else if reasons.contains(&Cancellation::Validation) {
                    Err(interrupted(StoreError::Cancelled(reasons)))
                } else {
                    Ok(Attempt::Conflict)
                }
            }
            Err(error) => Err(interrupted(error)),
        }
    }
}
