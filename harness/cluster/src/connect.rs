//! Clients of a running cluster, over TCP: [`log`] of the shared log, [`cache`] of a ring of cache
//! servers.

pub mod cache;
pub mod log;
