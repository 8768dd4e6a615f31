//! Loads on a running cluster, measured and judged.
//!
//! [`drive`] makes the load, [`machine`] asks for processor time and syncs, [`judge`] says whether
//! what was acknowledged is there: a number without a verdict is not a result. [`log`] does it for
//! the log, [`cache`] for a ring of cache servers; the same loads on other systems are this crate's
//! benches `against` and `caches`.

pub mod cache;
pub mod drive;
mod figures;
pub mod judge;
pub mod log;
pub mod machine;
pub mod payload;
pub mod table;
pub mod timed;
