//! Transactions: strict two-phase locking with wait-die, and one stream on the log for each.
//!
//! A transaction's stream has all that belongs to it, by whatever instance: who got which lock, what
//! was written, which calls are to be sent, and in the end the decision. Every such record stands in
//! its instance's stream too, by the same append, so it is a step like any other, and its first
//! record counts (published: locks and writes outside of the steps, which a replay repeats).
//!
//! * Every operation locks its key first, reads too ([`crate::lock`]).
//! * A write is buffered: it is a record in the stream, and visible to the transaction alone, which
//!   reads the stream before it reads the store. What an update makes of it depends on what is there,
//!   so it is appended on the condition that nothing has come to the stream since it was read.
//! * **The decision is a record, and comes before any effect.** From then on the writes are those
//!   before it in the stream. Whoever executes the instance again finds it and does the rest: applies
//!   each key's last write and gives the key back, in one update of the item that happens once
//!   ([`Run::unmark`]), whether the transaction wrote there or only read; then sends what was kept.
//!
//! **Who ends it.** The instance that began it, alone. In the published code each participant has a
//! stream of its own, and is called a second time to commit. Here there is one stream, so whoever
//! has seen it whole can do it all, and there is no wave of messages. It has: all operations have
//! returned ([`triptych_api::Ctx::conclude`] lets no end begin before), and what their callers and
//! callees had seen of the log came back with every reply.
//!
//! **What an execution may remember**: that the transaction has a key, and what is committed there,
//! because nobody else changes that before the end. Not what the transaction itself has written: other
//! branches and other instances share its stream.

use crate::Bug;
use crate::item::Op;
use crate::journal::Placed;
use crate::record::{Callee, Tx, What, transaction};
use crate::run::{Run, diverged, learned_of};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::{from_value, mix_str, to_value};
use triptych_api::{Error, Instance, Name, Result, Step, TxEnd, Updated, Value};
use triptych_log::{Condition as After, SeqNum};
use triptych_world::{MS, SECOND};

/// The longest pause before an aborted transaction is tried again.
const RETRY_PAUSE: u64 = 2 * SECOND;

/// A transaction that is open in this execution.
pub(crate) struct Open {
    /// The step under which the operations of its body stand.
    body: Step,
    tx: Tx,
}

/// Table and key.
type Place = (Name, Name);

/// What an execution has read of a transaction's stream.
#[derive(Clone, Default)]
pub(crate) struct TxView {
    /// The last record.
    tail: SeqNum,
    /// Steps that count.
    steps: BTreeMap<(Name, Name), Updated>,
    writes: BTreeMap<Place, (Name, Value)>,
    /// Who asked for a lock, and the record that gave it, if one did.
    locks: BTreeMap<Place, (Name, Option<SeqNum>)>,
    sends: Vec<Callee>,
    decision: Option<bool>,
}

impl TxView {
    fn apply(&mut self, id: &Name, (seq, entry): Placed) {
        if seq <= self.tail {
            return;
        }
        self.tail = seq;
        if self.decision.is_some() {
            // A late execution repeats what there is.
            return;
        }
        let step = (entry.instance.clone(), entry.step);
        match entry.what {
            What::Lock {
                table,
                key,
                granted: Some(granted),
                ..
            } if granted.tx.id == *id => {
                let got = granted.granted.then_some(seq);
                let place = (table, key);
                self.locks.entry(place).or_insert((entry.instance, got));
            }
            What::Write {
                tx,
                table,
                key,
                value,
                updated,
            } if tx == *id && !self.steps.contains_key(&step) => {
                self.steps.insert(step, updated);
                if let Some(value) = value {
                    self.writes.insert((table, key), (entry.instance, value));
                }
            }
            What::Send { tx, callee } if tx == *id && !self.steps.contains_key(&step) => {
                self.steps.insert(step, Updated::default());
                self.sends.push(callee);
            }
            What::Decision { tx, commit } if tx == *id => self.decision = Some(commit),
            _ => {}
        }
    }
}

impl Run {
    /// The transaction that an operation is part of.
    pub(crate) fn tx_of(&self, step: &Step) -> Option<Tx> {
        let open = self.open.borrow();
        let here = open.iter().find(|open| open.body.contains(step));
        here.map(|open| open.tx.clone())
            .or_else(|| self.joined.clone())
    }

    /// Begins an attempt. All attempts have the birth of their instance.
    pub(crate) fn tx_begin(&self, tx: &Step, attempt: u32) {
        let id = self.transaction(tx, attempt);
        let (body, born) = (tx.body(attempt), self.born.get());
        let tx = Tx { born, id };
        self.open.borrow_mut().push(Open { body, tx });
    }

    /// Ends an attempt.
    pub(crate) async fn tx_end(&self, tx: &Step, attempt: u32, end: TxEnd) -> Result<()> {
        let body = tx.body(attempt);
        let open = {
            let mut open = self.open.borrow_mut();
            let at = open.iter().position(|open| open.body == body);
            at.map(|at| open.swap_remove(at).tx)
        };
        let Some(open) = open else {
            return Err(Error::Bug(format!("no transaction is open at step {tx}")));
        };
        let step = tx.sub(&format!("{attempt}.end"));
        let ended = self.end_as(&step, &open, end == TxEnd::Commit).await;
        self.held.borrow_mut().retain(|(of, ..), _| *of != open.id);
        self.txs.borrow_mut().remove(&open.id);
        ended
    }

    /// Waits before another attempt: longer each time, never for ever, and as long on a replay.
    pub(crate) async fn tx_back_off(&self, tx: &Step, attempt: u32) {
        let most = ((20 * MS) << attempt.min(10)).min(RETRY_PAUSE);
        let place = format!("{}/{tx}", self.instance);
        let world = &self.effects.site.world;
        let span = world
            .keyed(mix_str(u64::from(attempt), &place))
            .below(most / 2 + 1);
        world.sleep(most / 2 + span).await;
    }

    /// Reads what has come to a transaction's stream.
    pub(crate) async fn catch_up_tx(&self, tx: &Name) -> Result<()> {
        let tail = self.tx_view(tx, |view| view.tail);
        let from = match tail {
            SeqNum::ZERO => SeqNum::ZERO,
            tail => tail.next(),
        };
        let news = self.log.all(transaction(tx), from).await?;
        self.tx_view(tx, |view| {
            news.into_iter().for_each(|placed| view.apply(tx, placed));
        });
        Ok(())
    }

    fn tx_view<T>(&self, tx: &Name, with: impl FnOnce(&mut TxView) -> T) -> T {
        with(self.txs.borrow_mut().entry(tx.clone()).or_default())
    }

    /// What was decided about a lock, as far as this execution has read.
    pub(crate) fn tx_lock(
        &self,
        tx: &Name,
        (table, key): (&Name, &Name),
    ) -> Result<Option<Option<SeqNum>>> {
        self.tx_view(tx, |view| {
            let place = (table.clone(), key.clone());
            match (view.locks.get(&place), view.decision) {
                (Some((_, got)), _) => Ok(Some(*got)),
                (None, None) => Ok(None),
                (None, Some(_)) => Err(Error::Interrupted(format!("transaction {tx} is over"))),
            }
        })
    }

    /// Locks and marks a key, or dies. Returns what is committed there.
    async fn tx_hold(&self, tx: &Tx, (table, key): (&Name, &Name)) -> Result<Option<Value>> {
        let mut held = self.tx_hold_all(tx, table, [key]).await?;
        Ok(held.remove(key).flatten())
    }

    /// Locks keys, all at once: where waiting goes from old to young only, no order is needed. Then
    /// marks them and returns what is committed there, or dies.
    ///
    /// Who dies of one key marks none of the others. The keys that it got are given back when the
    /// transaction ends, and the step leaves no record; so an execution that repeats it after that
    /// must find the same death, and no seal on the way there.
    async fn tx_hold_all<'k>(
        &self,
        tx: &Tx,
        table: &Name,
        keys: impl IntoIterator<Item = &'k Name>,
    ) -> Result<BTreeMap<Name, Option<Value>>> {
        let mut all = BTreeMap::new();
        let mut missing = BTreeSet::new();
        for key in keys {
            let place = (tx.id.clone(), table.clone(), key.clone());
            match self.held.borrow().get(&place) {
                Some(committed) => drop(all.insert(key.clone(), committed.clone())),
                None => drop(missing.insert(key)),
            }
        }
        let locks = missing.iter().map(|key| self.take_lock(tx, (table, key)));
        // Until every one is decided: the transaction may still get a key after it has died of
        // another one.
        let decided = join_all(locks).await.into_iter();
        let decided: Vec<Option<SeqNum>> = decided.collect::<Result<_>>()?;
        let mut marks = Vec::with_capacity(decided.len());
        for (key, since) in missing.iter().zip(decided) {
            let Some(since) = since else {
                let why = format!("{table}[{key}] is wanted by an older transaction");
                return Err(Error::Aborted(why));
            };
            marks.push(self.mark(&tx.id, (table, key), since));
        }
        for (key, marked) in missing.iter().zip(join_all(marks).await) {
            let committed = marked?;
            let place = (tx.id.clone(), table.clone(), (*key).clone());
            self.held.borrow_mut().insert(place, committed.clone());
            all.insert((*key).clone(), committed);
        }
        Ok(all)
    }

    /// What the transaction sees at some keys: its own writes, or what is committed.
    pub(crate) async fn tx_read(
        &self,
        step: &Step,
        tx: &Tx,
        table: &Name,
        keys: &[Name],
    ) -> Result<Vec<Option<Value>>> {
        if let Some(learned) = self.learned(step.as_str())? {
            return unlisted(&learned);
        }
        let committed = match self.has(Bug::NoReadLocks) {
            true => self.unlocked(table, keys).await,
            false => self.tx_hold_all(tx, table, keys).await,
        };
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                let (_, known) = self.late(step, error).await?;
                return unlisted(&learned_of(step.as_str(), known)?);
            }
        };
        self.catch_up_tx(&tx.id).await?;
        let values: Vec<Option<Value>> = self.tx_view(&tx.id, |view| {
            let value = |key: &Name| {
                let written = view.writes.get(&(table.clone(), key.clone()));
                let written = written.filter(|_| !self.has(Bug::NoReadYourWrites));
                match written {
                    Some((_, value)) => Some(value.clone()),
                    None => committed.get(key).cloned().flatten(),
                }
            };
            keys.iter().map(value).collect()
        });
        let learned = self.learn(step.as_str(), listed(&values)).await?;
        unlisted(&learned)
    }

    /// Part of the seeded defect [`Bug::NoReadLocks`].
    async fn unlocked(&self, table: &Name, keys: &[Name]) -> Result<BTreeMap<Name, Option<Value>>> {
        let found = self.effects.documents("boki.read", table, keys).await?;
        let value = |key: &Name| (key.clone(), found.get(key).cloned());
        Ok(keys.iter().map(value).collect())
    }

    /// The keys that there are now, each locked and read. A key that somebody adds later is not kept
    /// out: there is no lock on what does not exist.
    pub(crate) async fn tx_scan(
        &self,
        step: &Step,
        tx: &Tx,
        table: &Name,
    ) -> Result<Vec<(Name, Value)>> {
        let own = step.sub("keys");
        let keys = match self.learned(own.as_str())? {
            Some(keys) => keys,
            None => {
                let mut keys: BTreeSet<Name> = self.rows(table).await?.into_keys().collect();
                self.catch_up_tx(&tx.id).await?;
                self.tx_view(&tx.id, |view| {
                    let here = view.writes.keys().filter(|(of, _)| of == table);
                    keys.extend(here.map(|(_, key)| key.clone()));
                });
                self.learn(own.as_str(), to_value(&keys)?).await?
            }
        };
        let keys: Vec<Name> = from_value(&keys)?;
        let values = self.tx_read(step, tx, table, &keys).await?;
        let pairs = keys.into_iter().zip(values);
        Ok(pairs
            .filter_map(|(key, value)| Some((key, value?)))
            .collect())
    }

    /// What a step came to, if it could not be done because this execution is late: others have done
    /// it, and what this one has read of the instance's stream was too old to tell.
    async fn late(&self, step: &Step, error: Error) -> Result<(SeqNum, What)> {
        if !matches!(error, Error::Interrupted(_)) {
            return Err(error);
        }
        self.catch_up().await?;
        self.known(step.as_str()).ok_or(error)
    }

    /// Buffers a write or an update.
    pub(crate) async fn tx_change(
        &self,
        step: &Step,
        tx: &Tx,
        (table, key): (&Name, &Name),
        op: Op,
    ) -> Result<Updated> {
        if let Some((_, known)) = self.known(step.as_str()) {
            return written(step, known);
        }
        let committed = match self.tx_hold(tx, (table, key)).await {
            Ok(committed) => committed,
            Err(error) => {
                let (_, known) = self.late(step, error).await?;
                return written(step, known);
            }
        };
        let stream = transaction(&tx.id);
        let buffered = |value, updated| What::Write {
            tx: tx.id.clone(),
            table: table.clone(),
            key: key.clone(),
            value,
            updated,
        };
        if let Op::Write(_) = op {
            let (updated, value) = op.on(None);
            self.write_through((table, key), value.as_ref()).await?;
            let what = buffered(value, updated);
            let (_, first) = self
                .propose("boki.tx.write", step.as_str(), what, &[stream])
                .await?;
            return written(step, first);
        }
        loop {
            self.catch_up_tx(&tx.id).await?;
            let own = (self.instance.clone(), Name::from(step.as_str()));
            let place = (table.clone(), key.clone());
            let (done, tail, over, current) = self.tx_view(&tx.id, |view| {
                let done = view.steps.get(&own).copied();
                let current = view.writes.get(&place).map(|(_, value)| value.clone());
                (done, view.tail, view.decision.is_some(), current)
            });
            if let Some(updated) = done {
                return Ok(updated);
            }
            if over {
                let why = format!("transaction {} is over", tx.id);
                return Err(Error::Interrupted(why));
            }
            let current = current.filter(|_| !self.has(Bug::NoReadYourWrites));
            let (updated, value) = op.on(current.as_ref().or(committed.as_ref()));
            self.write_through((table, key), value.as_ref()).await?;
            let entry = self.entry(step.as_str(), buffered(value, updated));
            let after = After { tag: stream, tail };
            let tags = [stream, self.stream()];
            let taken = self.log.append_if("boki.tx.update", &tags, &entry, after);
            if taken.await?.is_some() {
                return Ok(updated);
            }
        }
    }

    /// Part of the seeded defect [`Bug::ApplyBeforeDecision`].
    async fn write_through(&self, at: (&Name, &Name), value: Option<&Value>) -> Result<()> {
        if let (true, Some(value)) = (self.has(Bug::ApplyBeforeDecision), value) {
            let update = vec![triptych_site::tables::set(
                triptych_site::VALUE,
                value.clone(),
            )];
            let always = triptych_api::Condition::All(Vec::new());
            let none = triptych_store::Return::None;
            self.update_item("boki.lock.apply", at, update, always, none)
                .await?;
        }
        Ok(())
    }

    /// Buffers a call for which nobody waits.
    pub(crate) async fn tx_send(&self, step: &Step, tx: &Tx, callee: Callee) -> Result<()> {
        let what = What::Send {
            tx: tx.id.clone(),
            callee,
        };
        let also = [transaction(&tx.id)];
        let sent = self.propose("boki.tx.send", step.as_str(), what, &also);
        sent.await.map(drop)
    }

    /// Ends a transaction like this and no other way.
    pub(crate) async fn end_as(&self, step: &Step, tx: &Tx, commit: bool) -> Result<()> {
        if self.finish_tx(step, tx, commit).await? == commit {
            return Ok(());
        }
        // Another execution has come to another end. What is decided holds and is done, but this one
        // must not go on as if it were what it asked for.
        let why = format!("transaction {} has ended otherwise", tx.id);
        Err(Error::Interrupted(why))
    }

    /// Decides how a transaction ends, and makes it so. Whether it is a commit: the first decision
    /// counts.
    async fn finish_tx(&self, step: &Step, tx: &Tx, commit: bool) -> Result<bool> {
        let what = What::Decision {
            tx: tx.id.clone(),
            commit,
        };
        let also = [transaction(&tx.id)];
        let decided = self.propose("boki.tx.decide", step.as_str(), what, &also);
        let commit = match decided.await?.1 {
            What::Decision { tx: of, commit } if of == tx.id => commit,
            other => return Err(diverged(step.as_str(), &other)),
        };
        self.catch_up_tx(&tx.id).await?;
        let view = self.tx_view(&tx.id, |view| view.clone());
        if view.decision != Some(commit) {
            let why = format!("the decision of transaction {} is gone", tx.id);
            return Err(Error::Interrupted(why));
        }
        self.release_all(tx, &view, commit).await?;
        if commit {
            for (at, callee) in view.sends.into_iter().enumerate() {
                let own = step.sub(&format!("send{at}"));
                self.hand_over(own.as_str(), callee).await?;
            }
        }
        Ok(commit)
    }

    async fn release_all(&self, tx: &Tx, view: &TxView, commit: bool) -> Result<()> {
        let forgotten = |by: &Name| self.has(Bug::ForgetParticipant) && *by != self.instance;
        let held = view.locks.iter().filter_map(|(place, (by, since))| {
            let written = view.writes.get(place).filter(|_| commit);
            let value = written
                .filter(|(by, _)| !forgotten(by))
                .map(|(_, value)| value);
            let kept = self.has(Bug::UnlockOnlyWritten) && !view.writes.contains_key(place);
            Some((place, (*since)?, value)).filter(|_| !kept && !forgotten(by))
        });
        if self.has(Bug::ReleaseBeforeApply) {
            let held: Vec<_> = held.collect();
            for ((table, key), since, _) in &held {
                self.unmark_early((table, key), *since).await?;
                self.unlock(&tx.id, (table, key)).await?;
            }
            for ((table, key), since, value) in held {
                self.unmark((table, key), since, value).await?;
            }
            return Ok(());
        }
        let releases = held
            .map(|((table, key), since, value)| self.release(&tx.id, (table, key), since, value));
        join_all(releases).await.into_iter().collect()
    }

    /// Part of the seeded defect [`Bug::ReleaseBeforeApply`]: the mark goes, and the seal comes later.
    async fn unmark_early(&self, at: (&Name, &Name), since: SeqNum) -> Result<()> {
        use crate::item::{LOCK, SEAL, number, older};
        let update = vec![triptych_api::model::Action::Remove(
            triptych_api::Path::attr(LOCK),
        )];
        let guard = older(SEAL, &number(since));
        let none = triptych_store::Return::None;
        self.update_item("boki.lock.apply", at, update, guard, none)
            .await
            .map(drop)
    }
}

/// Values of which some are missing, as one.
pub(crate) fn listed(values: &[Option<Value>]) -> Value {
    // A missing value is an empty list, a present one a list of one: null is a value too.
    Value::list(
        values
            .iter()
            .map(|value| Value::list(value.iter().cloned())),
    )
}

/// The same values again.
pub(crate) fn unlisted(values: &Value) -> Result<Vec<Option<Value>>> {
    let value = |value: &Value| value.as_list().map(|one| one.first().cloned());
    let all = values.as_list().map(|all| all.iter().map(value).collect());
    let all: Option<Option<_>> = all;
    all.flatten()
        .ok_or_else(|| Error::Bug(format!("a step has learned {values:?}")))
}

/// The outcome of a buffered write.
fn written(step: &Step, what: What) -> Result<Updated> {
    match what {
        What::Write { updated, .. } => Ok(updated),
        other => Err(diverged(step.as_str(), &other)),
    }
}
