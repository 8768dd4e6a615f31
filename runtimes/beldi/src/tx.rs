//! Transactions: strict two-phase locking with wait-die, and shadow state (specification §8.4).
//!
//! Every operation of a transaction first locks its key, reads too, so that even a transaction that
//! will abort sees a consistent state. Who finds a key locked waits if it is older than the holder
//! and dies otherwise, so there is no cycle of waiting; a transaction that is tried again keeps its
//! birth and so becomes the oldest in the end. Writes go to the [`crate::shadow`] and become visible
//! at the commit ([`crate::finish`]).
//!
//! **No lock is left behind.** A key is noted in the shadow's lock set before it is locked, and the
//! end of the transaction releases what is noted. A late execution of a participant cannot lock
//! anything after that: the participant had answered before the end began, so every step of it was
//! logged, and a late execution or a late effect finds its log key taken.

use crate::Bug;
use crate::daal::Effect;
use crate::log::Run;
use triptych_api::{Change, Error, Result, Step, Updated, apply};
use triptych_model::{Condition, Name, Value};
use triptych_world::{MS, SECOND, mix_str};

/// What every participant knows of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TxContext {
    /// When its first attempt began, milliseconds since 1970.
    pub(crate) born: i64,
    /// Unique.
    pub(crate) id: Name,
}

impl TxContext {
    /// As the lock word of a key.
    pub(crate) fn to_word(&self) -> Value {
        Value::map([
            ("txn", Value::from(self.id.clone())),
            ("born", Value::Int(self.born)),
        ])
    }

    pub(crate) fn from_word(word: &Value) -> Option<Self> {
        let id = word.get("txn")?.as_str()?;
        Some(TxContext {
            born: word.get("born")?.as_int()?,
            id: Name::from(id),
        })
    }
}

/// A transaction that is open in this execution.
pub(crate) struct Open {
    /// The step under which the operations of its body stand.
    body: Step,
    pub(crate) context: TxContext,
}

/// The longest pause before a lock is asked for again.
const LOCK_PAUSE: u64 = SECOND;
/// The longest pause before an aborted transaction is tried again.
const RETRY_PAUSE: u64 = 2 * SECOND;

impl Run {
    /// Whether a defect was seeded.
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.shared.config.bug == Some(bug)
    }

    /// The transaction that an operation is part of.
    pub(crate) fn tx_of(&self, step: &Step) -> Option<TxContext> {
        let open = self.open.borrow();
        let here = open.iter().find(|open| open.body.contains(step));
        here.map(|open| open.context.clone())
            .or_else(|| self.joined.clone())
    }

    /// Begins an attempt. All attempts have the birth of the first one.
    pub(crate) async fn tx_begin(&self, tx: &Step, attempt: u32) -> Result<()> {
        let known = self.births.borrow().get(tx).copied();
        let born = match known {
            Some(born) => born,
            None => {
                let now = Value::Int(self.shared.world.unix_ms());
                let logged = self.log_value(&tx.sub("born"), Some(now)).await?;
                let born = logged.and_then(|born| born.as_int());
                born.ok_or_else(|| Error::Interrupted("the logged birth is gone".to_owned()))?
            }
        };
        self.births.borrow_mut().insert(tx.clone(), born);
        let id = triptych_api::Instance::transaction(self, tx, attempt);
        self.open.borrow_mut().push(Open {
            body: tx.body(attempt),
            context: TxContext { born, id },
        });
        Ok(())
    }

    /// Forgets the attempt, and says what it was.
    pub(crate) fn tx_close(&self, tx: &Step, attempt: u32) -> Option<TxContext> {
        let body = tx.body(attempt);
        let mut open = self.open.borrow_mut();
        let at = open.iter().position(|open| open.body == body)?;
        Some(open.swap_remove(at).context)
    }

    /// Waits before another attempt: longer each time, never for ever, and as long on a replay.
    pub(crate) async fn tx_back_off(&self, tx: &Step, attempt: u32) {
        let most = ((20 * MS) << attempt.min(10)).min(RETRY_PAUSE);
        self.pause(tx, attempt, most).await;
    }

    /// A pause of half of `most` to all of it, derived from the step.
    async fn pause(&self, step: &Step, nth: u32, most: u64) {
        let key = mix_str(u64::from(nth), &self.cid(step.as_str()));
        let world = &self.shared.world;
        let span = most / 2 + world.keyed(key).below(most / 2 + 1);
        world.sleep(span).await;
    }

    /// Locks a key for the transaction, or dies. Every operation does, also where another branch has
    /// locked the key before: which branch comes first may differ on a replay, and a lock that is
    /// asked for under a new log key after the transaction's end would stay for ever.
    async fn lock(&self, step: &Step, tx: &TxContext, table: &Name, key: &Name) -> Result<()> {
        let note = step.sub("note");
        self.shadow_lock(&note, tx, table, key).await?;
        for nth in 0.. {
            let attempt = step.sub(&format!("lock{nth}"));
            let effect = Effect::Lock(tx.clone());
            let logged = self
                .logged_effect(attempt.as_str(), table, key, effect)
                .await?;
            if logged.outcome == Value::Bool(true) {
                break;
            }
            let Some(holder) = TxContext::from_word(&logged.outcome) else {
                return Err(Error::Interrupted(format!(
                    "a lock logged {:?}",
                    logged.outcome
                )));
            };
            if *tx > holder {
                return Err(Error::Aborted(format!(
                    "{table}[{key}] is locked by an older transaction"
                )));
            }
            // A replay walks the same path, but need not wait for what is long over.
            if !logged.replayed {
                let most = ((10 * MS) << nth.min(10)).min(LOCK_PAUSE);
                self.pause(&attempt, 0, most).await;
            }
        }
        Ok(())
    }

    /// What the transaction sees at a key: its own write, or the committed value, which cannot
    /// change while the lock is held.
    async fn tx_value(&self, tx: &TxContext, table: &Name, key: &Name) -> Result<Option<Value>> {
        if !self.has(Bug::NoReadYourWrites)
            && let Some(own) = self.shadow_value(tx, table, key).await?
        {
            return Ok(Some(own));
        }
        self.current(table, key).await
    }

    pub(crate) async fn tx_read(
        &self,
        step: &Step,
        tx: &TxContext,
        table: &Name,
        key: &Name,
    ) -> Result<Option<Value>> {
        if !self.has(Bug::NoReadLocks) {
            self.lock(step, tx, table, key).await?;
        }
        let value = self.tx_value(tx, table, key).await?;
        self.log_value(step, value).await
    }

    /// Several keys, locked in their order.
    pub(crate) async fn tx_read_many(
        &self,
        step: &Step,
        tx: &TxContext,
        table: &Name,
        keys: &[Name],
    ) -> Result<Vec<Option<Value>>> {
        let mut values = Vec::with_capacity(keys.len());
        for (at, key) in keys.iter().enumerate() {
            let own = step.sub(&format!("k{at}"));
            values.push(self.tx_read(&own, tx, table, key).await?);
        }
        Ok(values)
    }

    /// The keys that there are now, each locked and read. A key that somebody adds later is not kept
    /// out: there is no lock on what does not exist.
    pub(crate) async fn tx_scan(
        &self,
        step: &Step,
        tx: &TxContext,
        table: &Name,
    ) -> Result<Vec<(Name, Value)>> {
        let rows = self.scan_lists(table).await?;
        let mut keys: Vec<Name> = rows.into_iter().map(|(key, _)| key).collect();
        keys.extend(self.shadow_keys(tx, table).await?);
        keys.sort();
        keys.dedup();
        let keys = keys.into_iter().map(Value::from).collect();
        let keys: Vec<Name> = self
            .log_list(&step.sub("keys"), keys)
            .await?
            .iter()
            .filter_map(|key| key.as_str().map(Name::from))
            .collect();
        let values = self.tx_read_many(step, tx, table, &keys).await?;
        let pairs = keys.into_iter().zip(values);
        Ok(pairs
            .filter_map(|(key, value)| Some((key, value?)))
            .collect())
    }

    pub(crate) async fn tx_write(
        &self,
        step: &Step,
        tx: &TxContext,
        (table, key): (&Name, &Name),
        value: Value,
    ) -> Result<()> {
        self.lock(step, tx, table, key).await?;
        self.shadow_write(step, tx, (table, key), value).await
    }

    /// The condition is evaluated on, and the changes are made to, what the transaction sees. That is
    /// logged, so a replay comes to the same.
    pub(crate) async fn tx_update(
        &self,
        step: &Step,
        tx: &TxContext,
        (table, key): (&Name, &Name),
        condition: Option<Condition>,
        changes: &[Change],
    ) -> Result<Updated> {
        self.lock(step, tx, table, key).await?;
        let seen = self.tx_value(tx, table, key).await?;
        let seen = self.log_value(step, seen).await?;
        let mut document = seen
            .as_ref()
            .and_then(Value::as_map)
            .cloned()
            .unwrap_or_default();
        if condition.is_some_and(|condition| !triptych_store::holds(&condition, &document)) {
            return Ok(Updated::default());
        }
        let sum = apply(&mut document, changes);
        let value = Value::from(document);
        self.shadow_write(&step.sub("write"), tx, (table, key), value)
            .await?;
        Ok(Updated { applied: true, sum })
    }
}
