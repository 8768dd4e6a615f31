//! Transactions: strict two-phase locking with wait-die, and shadow state (specification §8.4).
//!
//! Every operation of a transaction first locks its key, reads too, so that even a transaction that
//! will abort sees a consistent state. Who finds a key locked waits if it is older than the holder
//! and dies otherwise, so there is no cycle of waiting; a transaction that is tried again keeps its
//! birth and so becomes the oldest in the end ([`crate::lock`]). Writes go to the [`crate::shadow`]
//! and become visible at the commit ([`crate::finish`]).
//!
//! **No lock is left behind.** A key is noted in the shadow before it is locked, and the end of the
//! transaction releases what is noted. A late execution of a participant cannot lock anything after
//! that: the participant had answered before the end began, so there was a decision on every key
//! that it asks for, and a late execution or a late effect finds that decision. That is why nobody
//! answers, and no end begins, while any operation is undecided: of several errors one that is not
//! an answer comes first ([`triptych_api::Ctx::conclude`]). If a noted key should have no decision
//! at the end all the same, the end makes one.
//!
//! **The oldest gets through.** It never dies, and waits for one holder per key; [`crate::progress`]
//! says how long that can take.
//!
//! **What an execution may remember.** That the transaction has a lock, and what was committed at the
//! key when it got it: no other one can change that before it ends. Not what the transaction itself
//! has written there: other branches, and other instances of the function, share its shadow. Only
//! who takes the lock knows that nobody has written yet. An update goes by what it remembers all the
//! same, on the condition that it is so.

use crate::Bug;
use crate::instance::updated;
use crate::lock::Locked;
use crate::log::Run;
use crate::shadow::{Changed, Written};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
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

/// What an execution knows of a lock that the transaction has.
#[derive(Default)]
pub(crate) struct Held {
    /// The committed value.
    committed: Option<Option<Value>>,
    /// What the transaction has written when the execution last heard of it.
    own: Option<Option<Written>>,
}

/// The longest pause before a lock is asked for again.
pub(crate) const LOCK_PAUSE: u64 = 250 * MS;
/// The longest pause before an aborted transaction is tried again.
pub(crate) const RETRY_PAUSE: u64 = 2 * SECOND;

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

    /// Begins an attempt. All attempts have the birth of their instance.
    pub(crate) fn tx_begin(&self, tx: &Step, attempt: u32) {
        let id = triptych_api::Instance::transaction(self, tx, attempt);
        self.open.borrow_mut().push(Open {
            body: tx.body(attempt),
            context: TxContext {
                born: self.born,
                id,
            },
        });
    }

    /// Forgets the attempt, and says what it was.
    pub(crate) fn tx_close(&self, tx: &Step, attempt: u32) -> Option<TxContext> {
        let body = tx.body(attempt);
        let mut open = self.open.borrow_mut();
        let at = open.iter().position(|open| open.body == body)?;
        let context = open.swap_remove(at).context;
        self.held
            .borrow_mut()
            .retain(|(of, ..), _| *of != context.id);
        Some(context)
    }

    /// Waits before another attempt: longer each time, never for ever, and as long on a replay.
    pub(crate) async fn tx_back_off(&self, tx: &Step, attempt: u32) {
        let most = ((20 * MS) << attempt.min(10)).min(RETRY_PAUSE);
        let key = mix_str(u64::from(attempt), &self.cid(tx.as_str()));
        self.pause(key, most).await;
    }

    /// Waits before a lock is asked for again, for the nth time.
    pub(crate) async fn lock_pause(&self, nth: u32) {
        let most = ((10 * MS) << nth.min(10)).min(LOCK_PAUSE);
        self.pause(self.scope.next_key(), most).await;
    }

    /// A pause of half of `most` to all of it.
    async fn pause(&self, key: u64, most: u64) {
        let world = &self.shared.world;
        let span = most / 2 + world.keyed(key).below(most / 2 + 1);
        world.sleep(span).await;
    }

    fn holds(&self, tx: &TxContext, table: &Name, key: &Name) -> bool {
        let place = (tx.id.clone(), table.clone(), key.clone());
        self.held.borrow().contains_key(&place)
    }

    /// What this execution remembers of a key.
    fn remember<T>(
        &self,
        tx: &TxContext,
        (table, key): (&Name, &Name),
        change: impl FnOnce(&mut Held) -> T,
    ) -> T {
        let place = (tx.id.clone(), table.clone(), key.clone());
        change(self.held.borrow_mut().entry(place).or_default())
    }

    /// Locks a key that is noted, or dies. True if the transaction has not had it before.
    async fn lock_noted(&self, tx: &TxContext, table: &Name, key: &Name) -> Result<bool> {
        match self.take_lock(tx, table, key).await? {
            Locked::Now(committed) => {
                let held = Held {
                    committed: Some(committed),
                    own: Some(None),
                };
                self.remember(tx, (table, key), |known| *known = held);
                Ok(true)
            }
            Locked::Before => {
                self.remember(tx, (table, key), |_| ());
                Ok(false)
            }
            Locked::Never => Err(Error::Aborted(format!(
                "{table}[{key}] is locked by an older transaction"
            ))),
        }
    }

    /// Notes and locks keys that this execution does not hold, or dies. Returns those that the
    /// transaction has not had before.
    async fn lock(
        &self,
        step: &Step,
        tx: &TxContext,
        table: &Name,
        keys: &[Name],
    ) -> Result<BTreeSet<Name>> {
        let new: BTreeSet<&Name> = keys
            .iter()
            .filter(|key| !self.holds(tx, table, key))
            .collect();
        if new.is_empty() {
            return Ok(BTreeSet::new());
        }
        let note = step.sub("note");
        self.shadow_locks(&note, tx, table, new.iter().copied())
            .await?;
        // All at once: where waiting goes from old to young only, no order is needed.
        let locks = new.iter().map(|key| self.lock_noted(tx, table, key));
        let mut taken = BTreeSet::new();
        let mut dead = None;
        for (key, fresh) in new.iter().zip(join_all(locks).await) {
            match fresh {
                Ok(true) => drop(taken.insert((*key).clone())),
                Ok(false) => {}
                Err(error @ Error::Aborted(_)) => dead = dead.or(Some(error)),
                // The transaction may still get this key, so it must not die of another one.
                Err(error) => return Err(error),
            }
        }
        dead.map_or(Ok(taken), Err)
    }

    /// The committed value of a key that is locked.
    async fn committed(&self, tx: &TxContext, table: &Name, key: &Name) -> Result<Option<Value>> {
        if let Some(known) = self.remember(tx, (table, key), |held| held.committed.clone()) {
            return Ok(known);
        }
        let value = self.current(table, key).await?;
        self.remember(tx, (table, key), |held| {
            held.committed = Some(value.clone())
        });
        Ok(value)
    }

    /// What the transaction sees at some keys: its own writes, or the committed values, which cannot
    /// change while the locks are held. It has written none of those that it has just `taken`.
    async fn tx_values(
        &self,
        tx: &TxContext,
        table: &Name,
        keys: &[Name],
        taken: &BTreeSet<Name>,
    ) -> Result<Vec<Option<Value>>> {
        let asked: Vec<&Name> = keys.iter().filter(|key| !taken.contains(*key)).collect();
        let mut own = BTreeMap::new();
        if !asked.is_empty() && !self.has(Bug::NoReadYourWrites) {
            let written = self.shadow_values(tx, table, &asked).await?;
            own.extend(asked.into_iter().zip(written));
        }
        let value = async |key: &Name| match own.get(key) {
            Some(Some(written)) => Ok(Some(written.value.clone())),
            _ if self.has(Bug::NoReadLocks) => self.current(table, key).await,
            _ => self.committed(tx, table, key).await,
        };
        let values = join_all(keys.iter().map(value)).await;
        values.into_iter().collect()
    }

    async fn lock_to_read(
        &self,
        step: &Step,
        tx: &TxContext,
        table: &Name,
        keys: &[Name],
    ) -> Result<BTreeSet<Name>> {
        if self.has(Bug::NoReadLocks) {
            return Ok(BTreeSet::new());
        }
        self.lock(step, tx, table, keys).await
    }

    pub(crate) async fn tx_read(
        &self,
        step: &Step,
        tx: &TxContext,
        table: &Name,
        key: &Name,
    ) -> Result<Option<Value>> {
        let keys = std::slice::from_ref(key);
        let taken = self.lock_to_read(step, tx, table, keys).await?;
        let values = self.tx_values(tx, table, keys, &taken).await?;
        let value = values.into_iter().next().flatten();
        self.log_value(step, value).await
    }

    /// Several keys at once.
    pub(crate) async fn tx_read_many(
        &self,
        step: &Step,
        tx: &TxContext,
        table: &Name,
        keys: &[Name],
    ) -> Result<Vec<Option<Value>>> {
        let taken = self.lock_to_read(step, tx, table, keys).await?;
        let values = self.tx_values(tx, table, keys, &taken).await?;
        self.log_values(step, values).await
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

    /// Part of the seeded defect [`Bug::WriteThrough`].
    async fn write_through(&self, tx: &TxContext, at: (&Name, &Name), value: &Value) -> Result<()> {
        if self.has(Bug::WriteThrough) {
            self.release_lock(&tx.id, at, Some(value)).await?;
        }
        Ok(())
    }

    /// What is written is as good as a note of the lock, so it comes first. If the lock is refused,
    /// nobody will look at it.
    pub(crate) async fn tx_write(
        &self,
        step: &Step,
        tx: &TxContext,
        at: (&Name, &Name),
        value: Value,
    ) -> Result<()> {
        let own = self.shadow_write(step, tx, at, value.clone()).await?;
        if !self.holds(tx, at.0, at.1) {
            self.lock_noted(tx, at.0, at.1).await?;
        }
        self.remember(tx, at, |held| held.own = own.map(Some));
        self.write_through(tx, at, &value).await
    }

    /// The condition is evaluated on, and the changes are made to, what the transaction sees. What
    /// comes of it is logged with the change, so a replay comes to the same.
    pub(crate) async fn tx_update(
        &self,
        step: &Step,
        tx: &TxContext,
        at: (&Name, &Name),
        condition: Option<Condition>,
        changes: &[Change],
    ) -> Result<Updated> {
        let (table, key) = at;
        self.lock(step, tx, table, std::slice::from_ref(key))
            .await?;
        loop {
            let seen = match self.remember(tx, at, |held| held.own.clone()) {
                _ if self.has(Bug::NoReadYourWrites) => None,
                Some(known) => known,
                None => {
                    let written = self.shadow_values(tx, table, &[key]).await?;
                    written.into_iter().next().flatten()
                }
            };
            let value = match &seen {
                Some(written) => Some(written.value.clone()),
                None => self.committed(tx, table, key).await?,
            };
            let known = value.as_ref().and_then(Value::as_map);
            let mut document = known.cloned().unwrap_or_default();
            let unmet = |condition: &Condition| !triptych_store::holds(condition, &document);
            let (new, outcome) = if condition.as_ref().is_some_and(unmet) {
                (None, Value::Bool(false))
            } else {
                let sum = apply(&mut document, changes);
                let outcome = sum.map_or(Value::Bool(true), Value::Int);
                (Some(Value::from(document)), outcome)
            };
            let seen = seen.as_ref();
            let (changed, own) = self
                .shadow_update(step, tx, at, seen, new.clone(), outcome.clone())
                .await?;
            let known = matches!(changed, Changed::Now).then_some(own);
            self.remember(tx, at, |held| held.own = known);
            let outcome = match changed {
                Changed::Now => outcome,
                Changed::Before(outcome) => outcome,
                // Another branch or instance has written: once more.
                Changed::Stale => continue,
            };
            if let Some(value) = &new {
                self.write_through(tx, at, value).await?;
            }
            return updated(&outcome);
        }
    }
}
