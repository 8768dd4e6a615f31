//! Where functions run.
//!
//! A runtime sees [`Platform`]: it can invoke a function and wait ([`Platform::invoke`]), or hand an
//! event to the asynchronous queue ([`Platform::enqueue`]). A platform sees a [`Handler`] per
//! function. [`SimPool`] is the simulated cloud: environments that start cold and stay warm, an
//! account's concurrency limit, its scaling rate and request quota, timeouts, payload limits, the
//! asynchronous queue, timers, and the durations that are billed. The adapter crate
//! `triptych-faas-lambda` invokes functions on AWS Lambda.

mod bucket;
mod config;
mod deployment;
mod machine;
mod pool;

pub use config::PoolConfig;
pub use deployment::{Answer, Deployment, Timer};
pub use machine::{Flow, Machine, Select, Task};
pub use pool::{SimPool, timer_payload};

use futures_util::future::LocalBoxFuture;
use std::rc::Rc;
use thiserror::Error;
use triptych_model::{Name, Outcome, Value};
use triptych_world::{Scope, Trace};

/// What is sent to a function, or comes back from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// The content; JSON on a real platform.
    pub body: Value,
    /// Whose work this is. The platform fills it in at an invocation.
    pub trace: Trace,
}

impl Payload {
    /// A payload with this content.
    pub fn new(body: Value) -> Self {
        Payload {
            body,
            trace: Trace::default(),
        }
    }
}

/// Why an invocation has no reply.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvokeError {
    /// Refused because of the concurrency limit or the request quota. No effect.
    #[error("throttled: {0}")]
    Throttled(&'static str),
    /// The execution was ended by its timeout. There may be effects.
    #[error("the function timed out")]
    Timeout,
    /// The execution ended without a reply. There may be effects.
    #[error("the function failed: {0}")]
    Crashed(String),
    /// The request is over the platform's limit. No effect.
    #[error("payload of {size} bytes is over the limit of {limit}")]
    PayloadTooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// There is no such function.
    #[error("there is no function {0:?}")]
    NoSuchFunction(String),
    /// The connection or the service failed. There may be effects.
    #[error("the platform did not answer: {0}")]
    Unavailable(String),
}

impl InvokeError {
    /// Whether the invocation surely never began.
    pub fn surely_no_effect(&self) -> bool {
        matches!(
            self,
            InvokeError::Throttled(_)
                | InvokeError::PayloadTooLarge { .. }
                | InvokeError::NoSuchFunction(_)
        )
    }

    /// What a client makes of it.
    pub fn outcome(&self) -> Outcome {
        match self.surely_no_effect() {
            true => Outcome::Failed(self.to_string()),
            false => Outcome::Indeterminate(self.to_string()),
        }
    }
}

/// One execution of a function, as its handler sees it.
#[derive(Clone)]
pub struct Execution {
    /// The function's name.
    pub function: Name,
    /// Whose work it is, and how it can be crashed.
    pub scope: Scope,
    /// Whether somebody waits for the reply.
    pub synchronous: bool,
    /// What was sent.
    pub payload: Payload,
}

/// The code of a function: takes an execution, returns its reply, or an error that the platform
/// reports as a failed execution.
pub type Handler = Rc<dyn Fn(Execution) -> LocalBoxFuture<'static, Result<Payload, String>>>;

/// What a runtime may ask of the place where functions run. Like a store call, an invocation is a
/// message: dropping the future does not undo it.
pub trait Platform {
    /// Runs a function and waits for its reply.
    ///
    /// # Errors
    /// See [`InvokeError`].
    fn invoke(
        &self,
        scope: &Scope,
        function: &Name,
        payload: Payload,
    ) -> LocalBoxFuture<'static, Result<Payload, InvokeError>>;

    /// Hands an event to the asynchronous queue; returns when the queue has it.
    ///
    /// # Errors
    /// See [`InvokeError`].
    fn enqueue(
        &self,
        scope: &Scope,
        function: &Name,
        payload: Payload,
    ) -> LocalBoxFuture<'static, Result<(), InvokeError>>;
}
