//! What a runtime implements: one object per execution of a function.

use crate::{Change, Error, Result, Updated};
use futures_util::future::LocalBoxFuture;
use std::fmt;
use triptych_model::{Condition, Guarantee, Name, Value};

/// The place of an operation in its instance: a path of numbers, fixed before any parallel branch
/// starts, so that a replay gives every operation the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step(Name);

impl Step {
    /// A step from its text, such as `3` or `4.1.0`.
    pub fn new(text: impl AsRef<str>) -> Self {
        Step(Name::from(text.as_ref()))
    }

    /// The step's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Under which the operations stand that the body of an attempt at this transaction performs.
    #[must_use]
    pub fn body(&self, attempt: u32) -> Step {
        Step::new(format!("{}.{attempt}.tx", self.0))
    }

    /// Whether a step stands under this one.
    pub fn contains(&self, step: &Step) -> bool {
        let rest = step.0.strip_prefix(&*self.0);
        rest.is_some_and(|rest| rest.starts_with('.'))
    }

    /// A step of its own inside this one, for a runtime's own bookkeeping.
    #[must_use]
    pub fn sub(&self, name: &str) -> Step {
        Step::new(format!("{}.{name}", self.0))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that must be the same on a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// The time, in milliseconds since 1970.
    Now,
    /// An id that no other step ever gets, as text.
    UniqueId,
    /// 63 random bits.
    Random,
}

/// How well a runtime isolates transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// As if they ran one after another.
    Serializable,
    /// Transactional causal consistency.
    Tcc,
    /// The body runs without isolation, and is judged.
    None,
}

/// Which order everybody's operations keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// None that anybody may count on.
    None,
    /// That of causes and effects: what a session, or a request with all that it calls, has seen and
    /// done, it goes on seeing, and whoever sees something sees what came before it. What was
    /// acknowledged to others may be seen later.
    Causal,
    /// That of time: an operation sees everything that was acknowledged before it began, to whomever.
    RealTime,
}

/// What a runtime promises. A broken promise fails a run; what is not promised is data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declares {
    /// Every effect of an acknowledged or re-executed request happens exactly once.
    pub exactly_once: bool,
    /// What a transaction means.
    pub transaction: Isolation,
    /// In which order operations are seen. Every order but none means that sessions see monotonic
    /// reads, and that what is listed is stored.
    pub order: Order,
    /// Nothing acknowledged is lost.
    pub durable: bool,
}

impl Declares {
    /// Whether operations on one key happen one after another, for everybody. Without it each
    /// client's conditions and sums are of what it sees, so two concurrent ones may both hold, and a
    /// scan may be older than what its session has done.
    pub fn linearizable(&self) -> bool {
        self.order == Order::RealTime
    }

    /// Whether a guarantee is promised.
    pub fn promises(&self, guarantee: Guarantee) -> bool {
        match guarantee {
            Guarantee::Effects => self.exactly_once,
            Guarantee::Isolation => self.transaction != Isolation::None,
            Guarantee::Order => self.order != Order::None,
            Guarantee::Durability => self.durable,
        }
    }
}

/// How a transaction's body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxEnd {
    /// Make its effects visible.
    Commit,
    /// Undo them.
    Abort,
}

/// One execution of one instance, as the runtime sees it. Every operation comes with its step.
///
/// # Errors
/// All operations return [`Error::Interrupted`] when the execution cannot go on, and
/// [`Error::Aborted`] when the transaction that they are in is dead.
pub trait Instance {
    /// The instance's id; the request's own id at the entry function.
    fn id(&self) -> &Name;

    /// The current value of a key.
    fn read(&self, step: Step, table: Name, key: Name)
    -> LocalBoxFuture<'_, Result<Option<Value>>>;

    /// The current values of several keys, in the order asked; one consistent look where the
    /// runtime can.
    fn read_many(
        &self,
        step: Step,
        table: Name,
        keys: Vec<Name>,
    ) -> LocalBoxFuture<'_, Result<Vec<Option<Value>>>>;

    /// Replaces the value of a key.
    fn write(
        &self,
        step: Step,
        table: Name,
        key: Name,
        value: Value,
    ) -> LocalBoxFuture<'_, Result<()>>;

    /// Changes a document if a condition on it holds; a missing document counts as an empty one.
    fn update(
        &self,
        step: Step,
        table: Name,
        key: Name,
        condition: Option<Condition>,
        changes: Vec<Change>,
    ) -> LocalBoxFuture<'_, Result<Updated>>;

    /// All keys and values of a table. Not atomic across keys.
    fn scan(&self, step: Step, table: Name) -> LocalBoxFuture<'_, Result<Vec<(Name, Value)>>>;

    /// Calls a function and waits for its answer.
    fn call(
        &self,
        step: Step,
        function: Name,
        op: Name,
        input: Value,
    ) -> LocalBoxFuture<'_, Result<Value>>;

    /// Hands a call over and does not wait for it.
    fn send(
        &self,
        step: Step,
        function: Name,
        op: Name,
        input: Value,
    ) -> LocalBoxFuture<'_, Result<()>>;

    /// Something new that stays the same on a replay.
    fn fresh(&self, step: Step, what: Fresh) -> LocalBoxFuture<'_, Result<Value>>;

    /// The client request that caused this execution, as traces count them; `u64::MAX` if nobody
    /// knows. For attribution alone.
    fn request(&self) -> u64 {
        u64::MAX
    }

    /// The transaction that this instance was called in, if any: all of its operations are part of
    /// it, and its own transactions are too (nesting is flat).
    fn joined(&self) -> Option<Name> {
        None
    }

    /// The id of the transaction that an attempt at the step `tx` begins here.
    fn transaction(&self, tx: &Step, attempt: u32) -> Name {
        Name::from(format!("{}/{tx}.{attempt}", self.id()))
    }

    /// Begins an attempt at the transaction of the step `tx`. The operations of its body have steps
    /// under [`Step::body`]; a runtime's own may stand elsewhere under `{tx}.{attempt}`. Without
    /// isolation there is nothing to do.
    fn begin(&self, _tx: Step, _attempt: u32) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Ends the attempt. An abort without isolation undoes nothing. A commit that comes to nothing
    /// returns [`Error::Aborted`].
    fn end(&self, _tx: Step, _attempt: u32, _end: TxEnd) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Waits, replay-stably, before a transaction is tried again.
    fn back_off(&self, _tx: Step, _attempt: u32) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async { Err(Error::Interrupted("this runtime does not retry".to_owned())) })
    }
}
