//! A runtime with an app in it, ready to be placed on a platform.
//!
//! This is all that the harness, the function binary and the oracle know of a runtime: which
//! functions to register, which timers to set, how a client speaks to an entry function, and how to
//! read out what was left behind.

use crate::{Handler, InvokeError, Machine, Payload};
use futures_util::future::LocalBoxFuture;
use triptych_model::{Name, Outcome, State, Value};
use triptych_world::Nanos;

/// A timer that invokes a function: how collectors run.
#[derive(Clone, Debug, PartialEq)]
pub struct Timer {
    /// The function to invoke.
    pub function: Name,
    /// How often.
    pub period: Nanos,
    /// What to send it.
    pub payload: Value,
}

/// What a client makes of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How the request ended.
    pub outcome: Outcome,
    /// The app's output, if it ended well.
    pub output: Value,
    /// What the client's session keeps for its next request, if the runtime promises anything per
    /// session.
    pub session: Value,
}

/// Amounts by name.
pub type Gauges = std::collections::BTreeMap<Name, u64>;

/// See the module documentation.
pub trait Deployment {
    /// Creates the tables that runtime and app need.
    fn prepare(&self) -> LocalBoxFuture<'static, Result<(), String>>;

    /// The functions to register, collectors included.
    fn functions(&self) -> Vec<(Name, Handler)>;

    /// The state machines to register: a client starts one like a function, by its name.
    fn machines(&self) -> Vec<(Name, Machine)> {
        Vec::new()
    }

    /// The timers to set.
    fn timers(&self) -> Vec<Timer>;

    /// What a client sends to begin a request. `id` is chosen by the client and identifies the
    /// request even if it is sent twice.
    fn request(&self, id: &str, op: &str, input: Value, session: &Value) -> Payload;

    /// What a client makes of the entry function's reply or failure.
    fn answer(&self, reply: Result<Payload, InvokeError>) -> Answer;

    /// What a client's session keeps that kept something already, when another answer comes. Requests
    /// of a session may overlap, so a runtime whose sessions depend on what they have seen joins the
    /// two; by default the latest answer counts.
    fn keeps(&self, _kept: Value, answered: Value) -> Value {
        answered
    }

    /// How many instances have begun and are not done, as far as the runtime can know.
    fn pending(&self) -> LocalBoxFuture<'static, Result<u64, String>>;

    /// Reads out the logical state of all app tables, and what should not be there.
    fn dump(&self) -> LocalBoxFuture<'static, Result<State, String>>;

    /// How much it keeps at the moment, by name: what is worth watching over time. For a harness
    /// that looks for free; nothing by default.
    fn gauges(&self) -> LocalBoxFuture<'static, Result<Gauges, String>> {
        Box::pin(async { Ok(Gauges::new()) })
    }

    /// How much it has done since it was deployed besides calls to store and platform, which count
    /// themselves: `log appends` and the like. No amount ever goes down. Nothing by default.
    fn counters(&self) -> Gauges {
        Gauges::new()
    }
}
