//! Watching what functions do to data: how a harness records the history that the isolation of a
//! runtime is judged by.
//!
//! An [`Observer`] is attached to a context ([`crate::Ctx::observe`]) by whoever wraps a function's
//! handler, so no runtime has to know of it. It hears every operation on data once it has returned,
//! again when an execution is repeated: (instance, step) says which are the same. Of calls it hears
//! before they are made as well: a callee begins in between, and what happened before a call happened
//! before everything in the callee.

use crate::{Change, Step, Updated};
use triptych_model::{Name, Value};

/// How a value was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Alone.
    One,
    /// As one of several keys that were asked for together.
    Many,
    /// By a scan, which is not atomic, and no part of what a cache orders.
    Scan,
}

/// Hears of operations.
pub trait Observer {
    /// An operation has returned.
    fn observe(&self, seen: &Seen<'_>);
}

/// One operation, who did it, and in which transaction.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The client request that caused it; `u64::MAX` if the runtime does not know.
    pub request: u64,
    /// The instance.
    pub instance: &'a Name,
    /// The transaction that it was part of, if any.
    pub transaction: Option<&'a Name>,
    /// Its place in the instance.
    pub step: &'a Step,
    /// What it did.
    pub what: What<'a>,
}

/// What an operation did.
#[derive(Clone, Debug)]
pub enum What<'a> {
    /// A value was read, alone or as one of many, or by a scan.
    Read {
        /// The table.
        table: &'a str,
        /// The key.
        key: &'a str,
        /// What was there.
        value: Option<&'a Value>,
        /// How.
        look: Look,
    },
    /// A value was replaced.
    Write {
        /// The table.
        table: &'a str,
        /// The key.
        key: &'a str,
        /// The new value.
        value: &'a Value,
    },
    /// A document was changed, or the condition refused it.
    Update {
        /// The table.
        table: &'a str,
        /// The key.
        key: &'a str,
        /// What was to be changed.
        changes: &'a [Change],
        /// What came of it.
        updated: Updated,
    },
    /// A function is about to be called, or a call to be handed over.
    Calling {
        /// The function.
        function: &'a Name,
        /// The entry point.
        op: &'a Name,
        /// What it is asked.
        input: &'a Value,
    },
    /// The function that was about to be called at this step has answered, well or not.
    Called {
        /// The function.
        function: &'a Name,
        /// The entry point.
        op: &'a Name,
        /// What it was asked.
        input: &'a Value,
    },
    /// The transaction begins.
    Begin,
    /// The transaction is about to commit: it may have been by the time of any crash.
    Committing,
    /// The transaction is committed.
    Committed,
    /// The transaction is undone.
    Aborted {
        /// Whether a conflict with another one did it, and not the body.
        conflict: bool,
    },
}
