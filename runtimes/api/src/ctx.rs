//! [`Ctx`]: the typed operations of a function.

use crate::{
    Change, Error, Fresh, Instance, Look, Observer, Op, Result, Seen, Step, TxEnd, Updated, What,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::rc::Rc;
use triptych_model::{Condition, Name, Value, from_value, to_value};

/// How often a transaction that was aborted by a conflict is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries(pub u32);

/// The context of one execution of a function, or of one parallel branch of it.
pub struct Ctx {
    instance: Rc<dyn Instance>,
    /// The step path of this branch, with its trailing dot; empty at the root.
    prefix: String,
    next: u32,
    retries: Retries,
    /// The worst that has come of any operation, here and in all branches, so that no swallowed
    /// error can make a better end of it.
    poison: Rc<RefCell<Option<Poison>>>,
    /// The transaction that operations here are part of.
    transaction: Option<Name>,
    observer: Option<Rc<dyn Observer>>,
}

/// Why an execution or a transaction cannot end well, better ones first.
enum Poison {
    /// A part of the transaction was rejected.
    Rejected,
    /// An operation of the transaction met a conflict.
    Aborted,
    /// Nobody knows what has become of an operation, or what will: it may still take effect, by a
    /// message on its way or by a callee that is executed again. So nothing can be said about the
    /// whole, neither that it is done nor that it is undone: there is no end but this error.
    Undecided(Error),
}

impl Poison {
    /// What an error means here; nothing if it is an answer and `isolated` is false, because outside
    /// of a transaction an answer is the caller's to handle.
    fn of(error: &Error, isolated: bool) -> Option<Self> {
        match error {
            Error::Rejected(_) => isolated.then_some(Poison::Rejected),
            Error::Aborted(_) => isolated.then_some(Poison::Aborted),
            Error::Interrupted(_) | Error::Bug(_) => Some(Poison::Undecided(error.clone())),
        }
    }

    fn severity(&self) -> u8 {
        match self {
            Poison::Rejected => 0,
            Poison::Aborted => 1,
            Poison::Undecided(_) => 2,
        }
    }
}

/// Whether a callee has decided something.
fn is_answer<T>(reply: &Result<T>) -> bool {
    !matches!(reply, Err(Error::Interrupted(_) | Error::Bug(_)))
}

impl Ctx {
    /// The context of an execution. Runtimes call this; apps receive it.
    pub fn new(instance: Rc<dyn Instance>, retries: Retries) -> Self {
        let transaction = instance.joined();
        Ctx {
            instance,
            prefix: String::new(),
            next: 0,
            retries,
            poison: Rc::default(),
            transaction,
            observer: None,
        }
    }

    /// Lets somebody watch what this execution does to data.
    pub fn observe(&mut self, observer: Rc<dyn Observer>) {
        self.observer = Some(observer);
    }

    fn seen(&self, step: &Step, transaction: Option<&Name>, what: What<'_>) {
        if let Some(observer) = &self.observer {
            observer.observe(&Seen {
                request: self.instance.request(),
                instance: self.instance.id(),
                transaction,
                step,
                what,
            });
        }
    }

    fn saw(&self, step: &Step, what: What<'_>) {
        self.seen(step, self.transaction.as_ref(), what);
    }

    /// What the execution's result must be, given what the handler made of it. If an operation was
    /// interrupted, whatever the handler did about that, there is no answer: the operation may still
    /// take effect, so the instance is not done. And an instance that was called in a transaction and
    /// swallowed the error that killed it has no result but that error. Every runtime calls this.
    ///
    /// # Errors
    /// The handler's own, or the one it swallowed.
    pub fn conclude<T>(&self, result: Result<T>) -> Result<T> {
        self.note_end(result)
    }

    fn step(&mut self) -> Step {
        let step = Step::new(format!("{}{}", self.prefix, self.next));
        self.next += 1;
        step
    }

    /// Remembers an error if it is the worst so far; of equals, the first.
    fn note<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && let Some(new) = Poison::of(error, self.transaction.is_some())
        {
            let mut known = self.poison.borrow_mut();
            let known_severity = known.as_ref().map(Poison::severity);
            if known_severity < Some(new.severity()) {
                *known = Some(new);
            }
        }
        result
    }

    /// The id of this instance. At the entry function it is the client's request id.
    pub fn instance_id(&self) -> &str {
        self.instance.id()
    }

    /// The client request that caused this execution, as traces count them; `u64::MAX` if nobody
    /// knows. For attribution alone: apps have no use for it.
    pub fn request(&self) -> u64 {
        self.instance.request()
    }

    /// The current value of a key.
    ///
    /// # Errors
    /// See [`Instance`]; [`Error::Bug`] if the value has another shape.
    pub async fn read<T: DeserializeOwned>(&mut self, table: &str, key: &str) -> Result<Option<T>> {
        let step = self.step();
        let value = self
            .instance
            .read(step.clone(), Name::from(table), Name::from(key))
            .await;
        let value = self.note(value)?;
        let what = What::Read {
            table,
            key,
            value: value.as_ref(),
            look: Look::One,
        };
        self.saw(&step, what);
        value
            .map(|value| from_value(&value))
            .transpose()
            .map_err(Error::from)
    }

    /// The current values of several keys, in the order asked.
    ///
    /// # Errors
    /// See [`Instance`]; [`Error::Bug`] if a value has another shape.
    pub async fn read_many<T: DeserializeOwned>(
        &mut self,
        table: &str,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<Option<T>>> {
        let step = self.step();
        let keys: Vec<Name> = keys
            .into_iter()
            .map(|key| Name::from(key.as_ref()))
            .collect();
        let asked = self.observer.is_some().then(|| keys.clone());
        let values = self
            .instance
            .read_many(step.clone(), Name::from(table), keys)
            .await;
        let values = self.note(values)?;
        for (key, value) in asked.iter().flatten().zip(&values) {
            let (value, look) = (value.as_ref(), Look::Many);
            let what = What::Read {
                table,
                key,
                value,
                look,
            };
            self.saw(&step, what);
        }
        let typed = values
            .iter()
            .map(|value| value.as_ref().map(from_value).transpose());
        Ok(typed.collect::<std::result::Result<_, _>>()?)
    }

    /// Replaces the value of a key.
    ///
    /// # Errors
    /// See [`Instance`].
    pub async fn write<T: Serialize>(&mut self, table: &str, key: &str, value: &T) -> Result<()> {
        let step = self.step();
        let value = to_value(value)?;
        let done = self
            .instance
            .write(
                step.clone(),
                Name::from(table),
                Name::from(key),
                value.clone(),
            )
            .await;
        self.note(done)?;
        let value = &value;
        self.saw(&step, What::Write { table, key, value });
        Ok(())
    }

    /// Changes a document if a condition on it holds. A missing document counts as an empty one.
    ///
    /// # Errors
    /// See [`Instance`].
    pub async fn update(
        &mut self,
        table: &str,
        key: &str,
        condition: Option<Condition>,
        changes: Vec<Change>,
    ) -> Result<Updated> {
        let step = self.step();
        let asked = self.observer.is_some().then(|| changes.clone());
        let place = (Name::from(table), Name::from(key));
        let done = self
            .instance
            .update(step.clone(), place.0, place.1, condition, changes)
            .await;
        let updated = self.note(done)?;
        if let Some(changes) = &asked {
            let what = What::Update {
                table,
                key,
                changes,
                updated,
            };
            self.saw(&step, what);
        }
        Ok(updated)
    }

    /// All keys and values of a table. Not atomic across keys.
    ///
    /// # Errors
    /// See [`Instance`]; [`Error::Bug`] if a value has another shape.
    pub async fn scan<T: DeserializeOwned>(&mut self, table: &str) -> Result<Vec<(Name, T)>> {
        let step = self.step();
        let rows = self.instance.scan(step.clone(), Name::from(table)).await;
        let rows = self.note(rows)?;
        for (key, value) in &rows {
            let (value, look) = (Some(value), Look::Scan);
            let what = What::Read {
                table,
                key,
                value,
                look,
            };
            self.saw(&step, what);
        }
        let typed = rows
            .into_iter()
            .map(|(key, value)| Ok((key, from_value(&value)?)));
        typed.collect()
    }

    /// Calls a function and waits for its answer.
    ///
    /// # Errors
    /// What the callee decided ([`Error::Rejected`], [`Error::Aborted`]), or see [`Instance`].
    pub async fn call<O: Op>(&mut self, input: O) -> Result<O::Output> {
        let step = self.step();
        let value = to_value(&input)?;
        let (function, op) = (Name::from(O::FUNCTION), Name::from(O::OP));
        let call = self.calling(&step, &function, &op, &value);
        let reply = self.instance.call(step.clone(), function, op, value).await;
        let reply = self.note(reply);
        if let (Some((function, op, input)), true) = (&call, is_answer(&reply)) {
            self.saw(
                &step,
                What::Called {
                    function,
                    op,
                    input,
                },
            );
        }
        Ok(from_value(&reply?)?)
    }

    /// Hands a call over and does not wait for it: exactly once where the runtime promises it.
    ///
    /// # Errors
    /// See [`Instance`].
    pub async fn send<O: Op>(&mut self, input: O) -> Result<()> {
        let step = self.step();
        let value = to_value(&input)?;
        let (function, op) = (Name::from(O::FUNCTION), Name::from(O::OP));
        self.calling(&step, &function, &op, &value);
        let done = self.instance.send(step, function, op, value).await;
        self.note(done)
    }

    /// Announces a call, and keeps what it asks if anybody listens.
    fn calling(
        &self,
        step: &Step,
        function: &Name,
        op: &Name,
        input: &Value,
    ) -> Option<(Name, Name, Value)> {
        self.observer.as_ref()?;
        let what = What::Calling {
            function,
            op,
            input,
        };
        self.saw(step, what);
        Some((function.clone(), op.clone(), input.clone()))
    }

    /// Child contexts for `N` parallel branches. Their steps are fixed now, whatever order the
    /// branches run in. Await all of them (with `join!`) before looking at any result.
    pub fn fork<const N: usize>(&mut self) -> [Ctx; N] {
        let step = self.step();
        std::array::from_fn(|branch| self.branch(&step, branch))
    }

    /// [`Ctx::fork`] for a number of branches that is only known at run time.
    pub fn fork_many(&mut self, branches: usize) -> Vec<Ctx> {
        let step = self.step();
        (0..branches)
            .map(|branch| self.branch(&step, branch))
            .collect()
    }

    fn branch(&self, step: &Step, branch: usize) -> Ctx {
        Ctx {
            instance: Rc::clone(&self.instance),
            prefix: format!("{step}.{branch}."),
            next: 0,
            retries: self.retries,
            poison: Rc::clone(&self.poison),
            transaction: self.transaction.clone(),
            observer: self.observer.clone(),
        }
    }

    /// The time in milliseconds since 1970, the same on a replay.
    ///
    /// # Errors
    /// See [`Instance`].
    pub async fn now(&mut self) -> Result<i64> {
        let value = self.fresh(Fresh::Now).await?;
        value
            .as_int()
            .ok_or_else(|| Error::Bug("the runtime's time is no number".to_owned()))
    }

    /// An id that no other step ever gets, the same on a replay.
    ///
    /// # Errors
    /// See [`Instance`].
    pub async fn unique_id(&mut self) -> Result<String> {
        let value = self.fresh(Fresh::UniqueId).await?;
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::Bug("the runtime's id is no string".to_owned()))
    }

    /// A random number of 63 bits, the same on a replay.
    ///
    /// # Errors
    /// See [`Instance`].
    pub async fn random(&mut self) -> Result<u64> {
        let value = self.fresh(Fresh::Random).await?;
        let bits = value.as_int().and_then(|bits| u64::try_from(bits).ok());
        bits.ok_or_else(|| Error::Bug("the runtime's random number is no number".to_owned()))
    }

    async fn fresh(&mut self, what: Fresh) -> Result<Value> {
        let step = self.step();
        let value = self.instance.fresh(step, what).await;
        self.note(value)
    }

    /// Runs the body as a transaction, with the isolation that the runtime declares. The body may
    /// run several times. A transaction inside another one is part of it.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the body rejected (everything is undone), [`Error::Aborted`] if it
    /// met conflicts more often than the profile retries, or see [`Instance`].
    pub async fn transaction<T>(&mut self, body: impl AsyncFn(&mut Ctx) -> Result<T>) -> Result<T> {
        if self.transaction.is_some() {
            return body(self).await;
        }
        let step = self.step();
        for attempt in 0.. {
            let outcome = self.attempt(&step, attempt, &body).await;
            match outcome {
                Err(Error::Aborted(_)) if attempt < self.retries.0 => {
                    let pause = self.instance.back_off(step.clone(), attempt).await;
                    self.note(pause)?;
                }
                // One that has not ended is an operation that was interrupted.
                outcome => return self.note(outcome),
            }
        }
        unreachable!("the loop ends with its last attempt")
    }

    async fn attempt<T>(
        &mut self,
        step: &Step,
        attempt: u32,
        body: &impl AsyncFn(&mut Ctx) -> Result<T>,
    ) -> Result<T> {
        let id = self.instance.transaction(step, attempt);
        let mut tx = Ctx {
            instance: Rc::clone(&self.instance),
            prefix: format!("{}.", step.body(attempt)),
            next: 0,
            retries: self.retries,
            poison: Rc::default(),
            transaction: Some(id.clone()),
            observer: self.observer.clone(),
        };
        self.instance.begin(step.clone(), attempt).await?;
        self.seen(step, Some(&id), What::Begin);
        let outcome = body(&mut tx).await;
        let outcome = tx.note_end(outcome);
        match outcome {
            Ok(value) => {
                self.seen(step, Some(&id), What::Committing);
                let end = TxEnd::Commit;
                match self.instance.end(step.clone(), attempt, end).await {
                    Ok(()) => self.seen(step, Some(&id), What::Committed),
                    Err(error @ Error::Aborted(_)) => {
                        self.seen(step, Some(&id), What::Aborted { conflict: true });
                        return Err(error);
                    }
                    Err(error) => return Err(error),
                }
                Ok(value)
            }
            Err(error @ (Error::Rejected(_) | Error::Aborted(_))) => {
                let end = TxEnd::Abort;
                self.instance.end(step.clone(), attempt, end).await?;
                let conflict = matches!(error, Error::Aborted(_));
                self.seen(step, Some(&id), What::Aborted { conflict });
                Err(error)
            }
            // The execution cannot go on; whoever executes the instance again ends it.
            Err(error) => Err(error),
        }
    }

    /// What an end must be, given what the body or handler made of it. One that swallowed the error
    /// of a dead transaction does not commit it; and while an operation is undecided, not even an
    /// abort may begin, which would give up what that operation can still take.
    fn note_end<T>(&self, outcome: Result<T>) -> Result<T> {
        match (&*self.poison.borrow(), outcome) {
            (Some(Poison::Undecided(error)), _) => Err(error.clone()),
            (Some(Poison::Aborted), Ok(_)) => Err(Error::Aborted(
                "an operation of the transaction was aborted".to_owned(),
            )),
            (Some(Poison::Rejected), Ok(_)) => Err(Error::Rejected(
                "a part of the transaction was rejected".to_owned(),
            )),
            (_, outcome) => outcome,
        }
    }
}
