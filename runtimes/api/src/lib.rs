//! What an app is written against, and what a runtime implements.
//!
//! An app is plain async Rust over [`Ctx`]: it reads and changes the tables of its functions, calls
//! other functions, forks, sends, opens transactions, and asks for what must be the same on a
//! replay (time, ids, random numbers). It cannot tell which runtime or platform it is on. Under
//! `Ctx` lies [`Instance`], one small object-safe trait: a runtime implements it to give a function
//! its guarantees. [`Declares`] says which; the oracle holds the runtime to it.

mod app;
mod change;
mod ctx;
mod error;
mod instance;
mod observe;
mod reply;
pub mod settings;
mod workflow;

pub use app::{
    App, Call, Evidence, Function, Handler, KindSpec, Op, ReadSet, Reads, Shows, TableKey,
};
pub use change::{Change, Updated, apply, lower, lower_optimistic};
pub use ctx::{Ctx, Retries};
pub use error::{Error, Result};
pub use futures_util::{future::LocalBoxFuture, join};
pub use instance::{Declares, Fresh, Instance, Isolation, Order, Step, TxEnd};
pub use observe::{Look, Observer, Seen, What};
pub use reply::{client_view, decode_reply, encode_reply};
pub use triptych_model as model;
pub use triptych_model::{
    Condition, Coverage, Finding, Guarantee, Name, Path, RuleReport, State, Value,
};
pub use workflow::{Node, Outputs, Workflow, node_id};
