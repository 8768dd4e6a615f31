//! What an app's operations become in a transaction (specification §8.4).
//!
//! Which transaction an operation is part of shows from its step: the steps of a body stand under
//! the transaction's, and an instance that was called in a transaction is part of it as a whole. So
//! apps use the same operations everywhere, and nesting is flat.
//!
//! Every operation on data locks first. A read sees what the transaction has written, or else the
//! committed value, which nobody can change while it is locked: whatever a body sees is consistent,
//! also if it aborts later. Writes and sends are kept in the [`crate::shadow`]. What is not locked is
//! a key that a scan did not find: a scan can miss a key that another transaction inserts.
//!
//! Replays are as elsewhere: reads are logged, locks answer once, notes are taken once.

use crate::Bug;
use crate::lock::{Lock, LockWord};
use crate::log::Run;
use crate::shadow::{Note, Shadow, code};
use futures_util::future::join_all;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use triptych_api::{Change, Error, Result, Step, TxEnd, apply};
use triptych_model::{Condition, Item, Map, Name, Value};
use triptych_world::{MS, mix_str};

/// What an instance is to do in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Execute,
    Commit,
    Abort,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Execute => "execute",
            Mode::Commit => "commit",
            Mode::Abort => "abort",
        }
    }
}

/// The transaction that an instance is called in, as it travels and is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Context {
    pub(crate) id: Name,
    pub(crate) born: i64,
    pub(crate) mode: Mode,
}

impl Context {
    pub(crate) fn to_value(&self) -> Value {
        let mode = Value::str(self.mode.name());
        Value::list([self.id.clone().into(), Value::Int(self.born), mode])
    }

    pub(crate) fn from_value(value: &Value) -> Option<Context> {
        let [Value::Str(id), Value::Int(born), Value::Str(mode)] = value.as_list()? else {
            return None;
        };
        let modes = [Mode::Execute, Mode::Commit, Mode::Abort];
        Some(Context {
            id: id.clone(),
            born: *born,
            mode: modes.into_iter().find(|known| known.name() == &**mode)?,
        })
    }

    /// Whether it belongs to the second wave.
    pub(crate) fn is_end(&self) -> bool {
        self.mode != Mode::Execute
    }
}

/// A transaction, as one execution sees it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tx {
    pub(crate) id: Name,
    pub(crate) born: i64,
    pub(crate) memo: Rc<Memo>,
}

/// What this execution knows already. Losing it costs round trips and nothing else.
#[derive(Default)]
pub(crate) struct Memo {
    /// An operation was performed in it.
    pub(crate) touched: Cell<bool>,
    /// The document exists.
    pub(crate) made: Cell<bool>,
    /// The document, which does not change any more.
    pub(crate) closed: RefCell<Option<Rc<Shadow>>>,
    callees: RefCell<BTreeSet<Name>>,
    /// The keys that are locked, by their codes.
    held: RefCell<BTreeMap<String, Held>>,
}

impl Tx {
    fn new(id: Name, born: i64) -> Self {
        Tx {
            id,
            born,
            memo: Rc::default(),
        }
    }

    pub(crate) fn context(&self, mode: Mode) -> Context {
        Context {
            id: self.id.clone(),
            born: self.born,
            mode,
        }
    }

    pub(crate) fn lock_word(&self) -> LockWord {
        LockWord {
            holder: self.id.clone(),
            born: self.born,
        }
    }
}

/// The transactions of one execution.
#[derive(Default)]
pub(crate) struct Transactions {
    joined: Option<Tx>,
    /// Those that it began, by the step under which the body's operations stand.
    begun: RefCell<Vec<(Step, Tx)>>,
    /// When each transaction was first tried, by its step.
    births: RefCell<BTreeMap<Step, i64>>,
    /// Calls counted by [`Bug::StepsDependOnLog`].
    calls: Cell<u32>,
}

/// A lock that is held.
#[derive(Clone)]
struct Held {
    /// The row that had it when this execution took it.
    row: Option<Name>,
    /// The committed value.
    value: Option<Value>,
}

/// A key that is locked.
struct Locked {
    code: String,
    row: Option<Name>,
    /// What the transaction sees there.
    value: Option<Value>,
}

impl Run {
    /// Makes this execution part of the transaction that it was called in.
    pub(crate) fn join(&mut self, context: Option<&Context>) {
        let executed = context.filter(|context| !context.is_end());
        self.transactions.joined = executed.map(|tx| Tx::new(tx.id.clone(), tx.born));
    }

    pub(crate) fn joined_transaction(&self) -> Option<Tx> {
        self.transactions.joined.clone()
    }

    /// The transaction that the operation of a step is part of.
    pub(crate) fn transaction_of(&self, step: &Step) -> Option<Tx> {
        let joined = self.transactions.joined.clone();
        joined.or_else(|| {
            let begun = self.transactions.begun.borrow();
            let of = begun.iter().find(|(body, _)| body.contains(step));
            of.map(|(_, tx)| tx.clone())
        })
    }

    pub(crate) async fn begin_transaction(&self, step: Step, attempt: u32) -> Result<()> {
        let known = self.transactions.births.borrow().get(&step).copied();
        let born = match known {
            Some(born) => born,
            None => {
                let now = Value::Int(self.shared.world.unix_ms());
                let born = self.log_value(&step.sub("born"), Some(now)).await?;
                let born = born.and_then(|born| born.as_int());
                born.ok_or_else(|| Error::Interrupted("a logged birth is gone".to_owned()))?
            }
        };
        let id = triptych_api::Instance::transaction(self, &step, attempt);
        let begun = (step.body(attempt), Tx::new(id, born));
        self.transactions.begun.borrow_mut().push(begun);
        self.transactions.births.borrow_mut().insert(step, born);
        Ok(())
    }

    pub(crate) async fn end_transaction(&self, step: Step, attempt: u32, end: TxEnd) -> Result<()> {
        let body = step.body(attempt);
        let tx = {
            let begun = self.transactions.begun.borrow();
            let of = begun.iter().find(|(of, _)| *of == body);
            of.map(|(_, tx)| tx.clone())
        };
        let tx = tx.ok_or_else(|| Error::Bug("a transaction ends that never began".to_owned()))?;
        if !tx.memo.touched.get() {
            // Every execution takes the same path: nothing was locked, written or called.
            return Ok(());
        }
        let mode = match end {
            TxEnd::Commit => Mode::Commit,
            TxEnd::Abort if self.shared.config.bug == Some(Bug::IgnoreAbort) => Mode::Commit,
            TxEnd::Abort => Mode::Abort,
        };
        let context = tx.context(mode);
        self.finish_transaction(&context, &step.sub(&format!("{attempt}.end")))
            .await
    }

    /// Waits before an attempt: derived from the step, so that a replay waits as long; longer with
    /// each attempt, up to a bound.
    pub(crate) async fn wait_before_retry(&self, step: Step, attempt: u32) -> Result<()> {
        let most = (20 * MS) << attempt.min(6);
        let place = self.cid(step.sub(&format!("{attempt}.pause")).as_str());
        let key = mix_str(self.shared.world.seed(), &place);
        let pause = self.shared.world.keyed(key).below(most);
        self.shared.world.sleep(MS + pause).await;
        Ok(())
    }

    /// Records a key and locks it. Its note and lock are those of the first operation that did.
    async fn tx_lock(&self, tx: &Tx, shadow: &Shadow, table: &Name, key: &Name) -> Result<Locked> {
        let code = code(table, key);
        let place = shadow.place(&code);
        let place = place.ok_or_else(|| Error::Bug("a key was noted and is gone".to_owned()))?;
        let Held {
            row,
            value: committed,
        } = self.hold(tx, &code, &place.cid, (table, key)).await?;
        let blind = self.shared.config.bug == Some(Bug::NoReadYourWrites);
        let value = match &place.new {
            Some(kept) if !blind => Some(self.fetch(&tx.id, kept).await?),
            _ => committed,
        };
        Ok(Locked { code, row, value })
    }

    /// The lock, and the committed value under it.
    async fn hold(
        &self,
        tx: &Tx,
        code: &str,
        cid: &str,
        (table, key): (&Name, &Name),
    ) -> Result<Held> {
        let held = tx.memo.held.borrow().get(code).cloned();
        if let Some(held) = held {
            return Ok(held);
        }
        let held = match self.lock(tx, cid, (table, key)).await? {
            Lock::Taken(row, value) => Held {
                row: Some(row),
                value,
            },
            Lock::Before => Held {
                row: None,
                value: self.current(table, key).await?,
            },
            Lock::Died => {
                return Err(Error::Aborted(format!(
                    "{key:?} is locked by an older transaction"
                )));
            }
        };
        let memo = &tx.memo.held;
        memo.borrow_mut().insert(code.to_owned(), held.clone());
        Ok(held)
    }

    /// Notes a key and returns the document.
    async fn note_key(&self, tx: &Tx, step: &Step, at: (&Name, &Name)) -> Result<Rc<Shadow>> {
        let lock = self.cid(step.sub("lock").as_str());
        self.note(tx, &lock, &Note::Key(at.0, at.1, &lock)).await
    }

    /// What the transaction sees of a key. Not logged.
    async fn tx_see(
        &self,
        tx: &Tx,
        step: &Step,
        table: &Name,
        key: &Name,
    ) -> Result<Option<Value>> {
        match self.shared.config.bug {
            Some(Bug::LockNotNoted) => {
                let lock = self.cid(step.sub("lock").as_str());
                let code = code(table, key);
                let held = self.hold(tx, &code, &lock, (table, key)).await?;
                return Ok(held.value);
            }
            Some(Bug::NoReadLocks) => {
                let shadow = self.look_at_shadow(&tx.id).await?;
                let own = shadow.and_then(|shadow| shadow.place(&code(table, key))?.new);
                return match own {
                    Some(kept) => self.fetch(&tx.id, &kept).await.map(Some),
                    None => self.current(table, key).await,
                };
            }
            _ => {}
        }
        let shadow = self.note_key(tx, step, (table, key)).await?;
        Ok(self.tx_lock(tx, &shadow, table, key).await?.value)
    }

    pub(crate) async fn tx_read(
        &self,
        tx: &Tx,
        step: Step,
        table: &Name,
        key: &Name,
    ) -> Result<Option<Value>> {
        let value = self.tx_see(tx, &step, table, key).await?;
        self.log_value(&step, value).await
    }

    /// Several keys, locked side by side: whoever meets an older transaction dies, so that order
    /// does not matter.
    pub(crate) async fn tx_look(
        &self,
        tx: &Tx,
        step: &Step,
        table: &Name,
        keys: &[Name],
    ) -> Result<Vec<Option<Value>>> {
        let looks = keys.iter().map(|key| self.tx_see(tx, step, table, key));
        join_all(looks).await.into_iter().collect()
    }

    /// All keys that there are, each locked. Which ones is logged first, so that every execution
    /// locks the same.
    pub(crate) async fn tx_scan(
        &self,
        tx: &Tx,
        step: &Step,
        table: &Name,
    ) -> Result<Vec<(Name, Value)>> {
        let found = self.scan_lists(table).await?;
        let mut keys: BTreeSet<Name> = found.into_iter().map(|(key, _)| key).collect();
        if let Some(shadow) = self.look_at_shadow(&tx.id).await? {
            let own = shadow.places().into_iter();
            let own = own.filter(|place| place.table == *table && place.new.is_some());
            keys.extend(own.map(|place| place.key));
        }
        let keys = keys.into_iter().map(Value::from).collect();
        let keys = self.log_list(&step.sub("keys"), keys).await?;
        let mut rows = Vec::new();
        for key in keys {
            if let Value::Str(key) = key {
                let value = self.tx_see(tx, step, table, &key).await?;
                rows.extend(value.map(|value| (key, value)));
            }
        }
        Ok(rows)
    }

    pub(crate) async fn tx_write(
        &self,
        tx: &Tx,
        step: Step,
        table: &Name,
        key: &Name,
        value: Value,
    ) -> Result<()> {
        let cid = self.cid(step.as_str());
        let shadow = self.note_key(tx, &step, (table, key)).await?;
        if shadow.logged(&cid).is_some() {
            return Ok(());
        }
        let locked = self.tx_lock(tx, &shadow, table, key).await?;
        self.put(tx, &cid, (table, key), locked, Some(value), Value::Null)
            .await
            .map(drop)
    }

    /// Evaluated on what the transaction sees, under the lock. Returns the logged outcome.
    pub(crate) async fn tx_update(
        &self,
        tx: &Tx,
        step: &Step,
        (table, key): (&Name, &Name),
        condition: &Condition,
        changes: &[Change],
    ) -> Result<Value> {
        let cid = self.cid(step.as_str());
        let shadow = self.note_key(tx, step, (table, key)).await?;
        if let Some(outcome) = shadow.logged(&cid) {
            return Ok(outcome.clone());
        }
        let locked = self.tx_lock(tx, &shadow, table, key).await?;
        let mut document: Map = match &locked.value {
            None => Map::new(),
            Some(Value::Map(map)) => Map::clone(map),
            Some(other) => {
                return Err(Error::Bug(format!("{key:?} is no document: {other:?}")));
            }
        };
        let met = triptych_store::holds(condition, &Item::clone(&document));
        let (outcome, value) = match met {
            true => {
                let sum = apply(&mut document, changes);
                (sum.map_or(Value::Bool(true), Value::Int), Some(document))
            }
            false => (Value::Bool(false), None),
        };
        let value = value.map(Value::from);
        self.put(tx, &cid, (table, key), locked, value, outcome)
            .await
    }

    /// Notes an outcome with its new value; returns the outcome that is logged.
    async fn put(
        &self,
        tx: &Tx,
        cid: &str,
        at: (&Name, &Name),
        locked: Locked,
        value: Option<Value>,
        outcome: Value,
    ) -> Result<Value> {
        let new = match &value {
            Some(value) => {
                if self.shared.config.bug == Some(Bug::WriteThrough) {
                    self.apply_at_once(at, value).await?;
                }
                let kept = self.keep(tx, cid, value).await?;
                Some((&*locked.code, kept, locked.row))
            }
            None => None,
        };
        let shadow = self.note(tx, cid, &Note::Put(&outcome, new)).await?;
        let logged = shadow.logged(cid).cloned();
        logged.ok_or_else(|| Error::Bug("a write was noted and is gone".to_owned()))
    }

    /// Records a function before it is called, unless this execution has: every instance of a
    /// function shares its shadow.
    pub(crate) async fn record_callee(&self, tx: &Tx, step: &Step, to: &Name) -> Result<()> {
        if tx.memo.callees.borrow().contains(to) {
            return Ok(());
        }
        let cid = self.cid(step.sub("callee").as_str());
        self.note(tx, &cid, &Note::Callee(to)).await?;
        tx.memo.callees.borrow_mut().insert(to.clone());
        Ok(())
    }

    pub(crate) async fn tx_send(
        &self,
        tx: &Tx,
        step: Step,
        function: Name,
        op: Name,
        input: Value,
    ) -> Result<()> {
        if self.shared.config.bug == Some(Bug::SendBeforeCommit) {
            return self.async_call(step, function, op, input).await;
        }
        let cid = self.cid(step.as_str());
        let kept = self.keep(tx, &cid, &input).await?;
        let call = Value::list([function.into(), op.into(), kept]);
        self.note(tx, &cid, &Note::Send(call)).await.map(drop)
    }

    /// The seeded defect [`Bug::StepsDependOnLog`]: the step of a call in a transaction is counted,
    /// and the bookkeeping of a call that was not found in the log counts as well.
    pub(crate) async fn spoil_step(&self, step: Step) -> Result<Step> {
        if self.shared.config.bug != Some(Bug::StepsDependOnLog) {
            return Ok(step);
        }
        let calls = &self.transactions.calls;
        let counted = format!("call{}", calls.get());
        let at = (
            &crate::names::log_table(&self.function),
            triptych_store::Key::range(self.instance.clone(), Value::str(&counted)),
        );
        let logged = self.get("beldi.log.get", at, None).await?.is_some();
        calls.set(calls.get() + if logged { 1 } else { 2 });
        Ok(Step::new(counted))
    }
}
