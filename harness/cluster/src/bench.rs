//! Loads on a running cluster, measured and judged.
//!
//! [`drive`] makes the load, [`machine`] asks for processor time and syncs, [`judge`] says whether
//! what was acknowledged is there: a number without a verdict is not a result. [`log`] does it for
//! the log; the same load on other systems is this crate's bench `against`.

pub mod drive;
pub mod judge;
pub mod log;
pub mod machine;
pub mod payload;
pub mod table;
