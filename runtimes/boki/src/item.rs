//! Changes of the store outside of transactions: each takes effect once, and none is lost.
//!
//! User state is in the store, an item per key; the log says what was done. The two cannot change
//! together, so a change has two records: *before* it ([`What::Change`], whose number is the change's
//! *version*) and *after* it ([`What::Changed`], what came of it, the first such record counts). The
//! item says between the two what the log does not know yet:
//!
//! | attribute | |
//! |---|---|
//! | `V` | the document; none if there is no value |
//! | `VERSION` | the version of the last change |
//! | `OWNER` | whose change that was (instance, step), and what came of it |
//! | `PROGRESS` | how much of the log whoever made it had seen |
//! | `LOCK` | the transaction that has the key, and the number of the record that gave it to it |
//! | `SEAL` | the highest such number of a transaction that has given the key back |
//!
//! The published design sets the version if the old one is less, which loses an update that is not
//! blind when a newer one overtakes it. Here a change is read, computed, and written *on the condition
//! that the item still has exactly the version that was read*; else it is read and computed again.
//!
//! **Invariants.**
//!
//! * **V1.** A version is written to an item at most once. So a version names one state of the item's
//!   value, and a late write that was computed from another state is refused.
//! * **V2.** Before an item with an owner gets another version, the owner's outcome is on the log:
//!   whoever overwrites makes sure of it, and appends it if it is missing ([`Run::help`]).
//! * **V3.** `PROGRESS` never gets less, and covers every outcome that V2 speaks of. For who overwrites
//!   has observed the old one, then seen or appended the outcome, and writes what it has seen by then.
//!
//! *V1, by induction over the writes to the item.* Say version `v` is in the item, then another one,
//! and an execution is about to write `v` again. It has read the item since it was overwritten:
//! else the version that it read was overwritten too, never comes back (V1 so far), and its write is
//! refused. It observed `PROGRESS` then, which covers the outcome of `v` (V3), and looked into its own
//! stream after that: it found the outcome, and did not write. If it read the item while `v` was in
//! it, it knew that it was done.
//!
//! *Refusals are changes.* An update whose condition does not hold writes its version too, and that it
//! was refused. Else one execution could find it refused and another one, later, apply it; now the item
//! decides once.
//!
//! *Nothing is lost:* an outcome on the log is one that the item had, because only who has written
//! the version, or has read it, appends its outcome.
//!
//! *A lock* keeps changes out: they wait, and a write asks for there being no lock. They have no place
//! in the lock's queue ([`crate::lock`]), so on a key that transactions never let go of they starve. `SEAL` keeps out
//! transactions' own late messages; see [`crate::lock`]. A version that a transaction has written has
//! no owner: the seal says that it was applied.
//!
//! *An owner that was collected* needs no help: all of its records are gone, and it is over.

use crate::Bug;
use crate::record::{What, locks, outcome, steps};
use crate::run::{Run, diverged};
use triptych_api::model::{Action, Comparison, Item, from_value, to_value};
use triptych_api::{Change, Condition, Error, Name, Path, Result, Updated, Value};
use triptych_log::{Progress, SeqNum};
use triptych_site::tables::{set, updated};
use triptych_site::{VALUE, interrupted};
use triptych_store::{Key, Request, Response, Return, StoreError};
use triptych_world::{MS, Nanos};

pub(crate) const VERSION: &str = "VERSION";
pub(crate) const OWNER: &str = "OWNER";
pub(crate) const PROGRESS: &str = "PROGRESS";
pub(crate) const LOCK: &str = "LOCK";
pub(crate) const SEAL: &str = "SEAL";

/// How long a change waits for news of a lock before it looks at the item again.
const LOCK_WAIT: Nanos = 500 * MS;

/// A number of the log in the store. Views beyond 2^15 would come out negative.
pub(crate) fn number(seq: SeqNum) -> Value {
    Value::Int(seq.0 as i64)
}

/// An item, as far as protocols go by it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) value: Option<Value>,
    /// None if nobody has changed it yet.
    version: Option<Value>,
    owner: Option<(Name, Name, Updated)>,
    progress: Progress,
    /// The transaction that has it.
    pub(crate) lock: Option<Name>,
}

impl Seen {
    pub(crate) fn of(mut item: Item) -> Result<Self> {
        let owner = item.get(OWNER).map(from_value).transpose()?;
        let progress = item.get(PROGRESS).and_then(Value::as_int).unwrap_or(0);
        let lock = item.get(LOCK).and_then(|lock| lock.get("tx")?.as_str());
        Ok(Seen {
            lock: lock.map(Name::from),
            value: item.remove(VALUE),
            version: item.remove(VERSION),
            owner,
            progress: Progress::from_bits(progress as u64),
        })
    }

    /// Holds of the item as long as nobody has changed or locked it.
    fn unchanged(&self) -> Condition {
        let version = Path::attr(VERSION);
        let same = match &self.version {
            Some(seen) => Condition::equals(version, seen.clone()),
            None => Condition::Absent(version),
        };
        same.and(Condition::Absent(Path::attr(LOCK)))
    }
}

/// What a step does to a key.
pub(crate) enum Op {
    Write(Value),
    Update(Option<Condition>, Vec<Change>),
}

impl Op {
    /// What comes of it, and the new value if there is one.
    pub(crate) fn on(&self, old: Option<&Value>) -> (Updated, Option<Value>) {
        match self {
            Op::Write(value) => {
                let written = Updated {
                    applied: true,
                    sum: None,
                };
                (written, Some(value.clone()))
            }
            Op::Update(condition, changes) => updated(old, condition.as_ref(), changes),
        }
    }
}

impl Run {
    /// An update of an item. Nothing if the condition did not hold.
    pub(crate) async fn update_item(
        &self,
        point: &'static str,
        (table, key): (&Name, &Name),
        update: Vec<Action>,
        condition: Condition,
        returns: Return,
    ) -> Result<Option<Option<Item>>> {
        let request = Request::Update {
            table: table.clone(),
            key: Key::hash(key.clone()),
            update,
            condition: Some(condition),
            returns,
        };
        match self.effects.store(point, request).await {
            Ok(Response::Item(item)) => Ok(Some(item)),
            Ok(other) => Err(interrupted(format!(
                "an update was answered with {other:?}"
            ))),
            Err(StoreError::ConditionFailed) => Ok(None),
            // It may take effect all the same, and late.
            Err(error) => Err(interrupted(error)),
        }
    }

    /// An item as it is now. Who reads it has seen what it was written after.
    pub(crate) async fn look(&self, point: &'static str, at: (&Name, &Name)) -> Result<Seen> {
        let item = self.effects.get(point, at.0, Key::hash(at.1.clone()));
        let seen = Seen::of(item.await?.unwrap_or_default())?;
        self.log.book.observe(seen.progress);
        Ok(seen)
    }

    /// Changes a key, and says what came of it, whoever did it.
    pub(crate) async fn change(
        &self,
        step: &str,
        (table, key): (&Name, &Name),
        op: Op,
    ) -> Result<Updated> {
        if let Some(end) = self.end_of(step) {
            return changed(step, end);
        }
        let what = What::Change {
            table: table.clone(),
            key: key.clone(),
        };
        let (seq, first) = self.propose("boki.change.before", step, what, &[]).await?;
        match first {
            What::Change { table: t, key: k } if (&t, &k) == (table, key) => {}
            other => return Err(diverged(step, &other)),
        }
        let version = number(seq);
        let place = (table.clone(), key.clone());
        let mut guess = self.seen.borrow_mut().remove(&place);
        let updated = loop {
            let seen = match guess.take() {
                Some(guess) => guess,
                None => self.look("boki.change.look", (table, key)).await?,
            };
            let mine = seen.version.as_ref() == Some(&version) && !self.has(Bug::NoPostRecovery);
            if let (true, Some((.., updated))) = (mine, &seen.owner) {
                break *updated;
            }
            // If it was overwritten, the log says so by what this execution has seen.
            self.catch_up_to(seen.progress).await?;
            if let Some(end) = self.end_of(step) {
                return changed(step, end);
            }
            if let Some(tx) = &seen.lock {
                self.wait_for_lock(tx, (table, key)).await?;
                continue;
            }
            self.help(&seen).await?;
            let (updated, value) = op.on(seen.value.as_ref());
            let guard = match self.has(Bug::VersionLessThan) {
                true => older(VERSION, &version),
                false => seen.unchanged(),
            };
            let mut update = vec![
                set(VERSION, version.clone()),
                set(OWNER, to_value(&(&self.instance, step, updated))?),
                set(PROGRESS, self.seen_so_far()),
            ];
            update.extend(value.map(|value| set(VALUE, value)));
            let done = self.update_item("boki.change", (table, key), update, guard, Return::None);
            if done.await?.is_some() || self.has(Bug::VersionLessThan) {
                break updated;
            }
        };
        let end = self.record_change(&self.instance, step, updated).await?;
        changed(step, end)
    }

    /// How much of the log this execution has seen, for an item.
    pub(crate) fn seen_so_far(&self) -> Value {
        Value::Int(self.log.book.progress().to_bits() as i64)
    }

    /// Puts the outcome of an own change on the log, and returns the one that counts.
    async fn record_change(&self, instance: &Name, step: &str, updated: Updated) -> Result<What> {
        let tags = [self.stream(), outcome(instance, step)];
        let entry = self.entry(step, What::Changed(updated));
        self.log.append("boki.change.after", &tags, &entry).await?;
        self.catch_up().await?;
        let end = self.end_of(step);
        end.ok_or_else(|| Error::Interrupted(format!("the records of step {step} are gone")))
    }

    /// Makes sure that the outcome of the item's last change is on the log (V2).
    pub(crate) async fn help(&self, seen: &Seen) -> Result<()> {
        let Some((instance, step, updated)) = &seen.owner else {
            return Ok(());
        };
        if self.has(Bug::NoPostRecovery) {
            return Ok(());
        }
        if *instance == self.instance && self.end_of(step).is_some() {
            return Ok(());
        }
        let own = outcome(instance, step);
        let known = self.log.all(own, SeqNum::ZERO).await?;
        let theirs = |entry: &crate::record::Entry| {
            entry.instance == *instance
                && entry.step == *step
                && matches!(entry.what, What::Changed(_))
        };
        if known.iter().any(|(_, entry)| theirs(entry)) {
            return Ok(());
        }
        let stream = steps(instance);
        if !self.log.is_there(stream).await? {
            return Ok(());
        }
        let entry = crate::record::Entry {
            instance: instance.clone(),
            step: step.clone(),
            what: What::Changed(*updated),
        };
        let tags = [stream, own];
        self.log.append("boki.change.help", &tags, &entry).await?;
        Ok(())
    }

    /// Waits until a transaction may have given a key back.
    async fn wait_for_lock(&self, tx: &Name, (table, key): (&Name, &Name)) -> Result<()> {
        let lock = self.lock_state((table, key)).await?;
        match &lock.state.holder {
            Some(holder) if holder.tx.id == *tx => {
                let stream = locks(table, key);
                self.log.wait(stream, lock.seq.next(), LOCK_WAIT).await
            }
            _ => {
                self.effects.pause(0).await;
                Ok(())
            }
        }
    }
}

/// An attribute is missing, or less than this.
pub(crate) fn older(attribute: &str, than: &Value) -> Condition {
    let path = Path::attr(attribute);
    let less = Condition::Compare(path.clone(), Comparison::Less, than.clone());
    Condition::Any(vec![Condition::Absent(path), less])
}

/// The outcome of a change.
fn changed(step: &str, end: What) -> Result<Updated> {
    match end {
        What::Changed(updated) => Ok(updated),
        other => Err(diverged(step, &other)),
    }
}

impl Seen {
    /// How much of the log whoever wrote the item had seen.
    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }
}
