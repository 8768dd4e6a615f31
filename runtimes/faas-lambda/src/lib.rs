//! AWS Lambda behind [`triptych_faas::Platform`]: the thin adapter for `aws-sdk-lambda`.
//!
//! [`connect`] makes a client, and [`LambdaPlatform`] is the caller's side: it invokes functions through the Invoke API, synchronously
//! (`RequestResponse`) or through the asynchronous queue (`Event`), and says in
//! [`triptych_faas::InvokeError`] what became of it. [`Event`] is what travels, in both directions,
//! as JSON. The function binary is the other side: it turns an event into an execution with
//! [`Event::execution`] and the handler's reply back with [`Event::reply`].
//!
//! The adapter decides nothing. It does not retry, because whether a call may be repeated is the
//! question that runtimes differ in, and it has no timeout of its own, because functions have one.

mod event;
mod platform;

pub use event::Event;
pub use platform::{LambdaPlatform, connect};
