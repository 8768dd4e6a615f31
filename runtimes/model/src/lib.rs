//! Plain data that every layer of Triptych shares.
//!
//! A newcomer can start here: [`Value`] is what functions exchange and what tables hold,
//! [`Condition`] and [`Update`] are the typed trees that a store evaluates (or prints as DynamoDB
//! expressions), [`Outcome`] is how a request ended, [`OpRecord`] is one line of the raw operation
//! log, and [`Verdict`] is what the oracle says about a run. Nothing in this crate does any I/O,
//! and nothing in it depends on another crate of the workspace.

pub mod causes;
pub mod history;
mod journal;
mod nested;
mod outcome;
mod random;
mod serde_value;
mod state;
mod tree;
mod value;
mod verdict;

pub use journal::{OpRecord, RequestKind, Transactions, Work};
pub use outcome::{Outcome, OutcomeClass};
pub use random::{Random, mix, mix_str};
pub use serde_value::{ValueError, from_value, to_value};
pub use state::State;
pub use tree::{Action, Comparison, Condition, Operand, Path, Segment, Update};
pub use value::{Item, Map, Name, Value, item_size, name};
pub use verdict::{Coverage, Finding, Guarantee, GuaranteeVerdict, RuleReport, Status, Verdict};
