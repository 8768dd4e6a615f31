//! Tables with DynamoDB's data model and rules.
//!
//! [`Request`], [`Response`] and [`StoreError`] are the operations as plain data. [`Tables`]
//! evaluates them in memory (a pure state machine: no time, no randomness). [`SimStore`] puts
//! `Tables` into a [`triptych_world::World`]: latencies, throttling by partition, and counters that
//! count what a bill counts. The adapter crate `triptych-store-dynamodb` sends the same requests to
//! DynamoDB, with the expressions that [`print`] makes of the trees. A property test runs random
//! programs against `Tables` and an independent emulator.

mod bytes;
mod check;
pub mod client;
mod edit;
mod eval;
mod page;
pub mod print;
mod read;
mod request;
mod retry;
mod sim;
mod table;
mod tables;
mod throttle;
mod units;
mod write;

pub use request::{
    Cancellation, IndexSchema, Key, KeyAttribute, KeyType, PageKey, Projection, Request, Response,
    Return, StoreError, TableSchema, Write,
};
pub use sim::{SimStore, StoreConfig};
pub use tables::{Plan, Tables};
pub use throttle::Throttle;
pub use units::{Consumed, PartitionUse};

pub use eval::holds;
pub use retry::{patient, patient_pages};

use futures_util::future::LocalBoxFuture;
use triptych_world::Scope;

/// A store that runtimes talk to.
///
/// A call is a message that the store owns once it is sent (at the first poll of the future):
/// dropping the future afterwards does not undo it.
pub trait Store {
    /// Sends one request on behalf of `scope`.
    ///
    /// # Errors
    /// See [`StoreError`]; only [`StoreError::Unavailable`] leaves the effect in doubt.
    fn call(
        &self,
        scope: &Scope,
        request: Request,
    ) -> LocalBoxFuture<'static, Result<Response, StoreError>>;

    /// Creates a table.
    ///
    /// # Errors
    /// [`StoreError::TableExists`] if a table of this name exists.
    fn create_table(&self, schema: TableSchema) -> LocalBoxFuture<'static, Result<(), StoreError>>;
}
