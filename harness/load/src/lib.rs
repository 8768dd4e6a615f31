//! The load harness: schedules, the open-loop generator, its self-test, campaigns, runs.
//!
//! A campaign file ([`campaign`]) is a matrix of runs. Each run is one virtual world: a runtime
//! with an app in it, a data set, a schedule ([`schedule`]) that the generator ([`drive`]) keeps
//! whatever happens, a drain until everything is quiet, and the oracle's verdict ([`run`]). Runs are
//! independent, so they go on all cores ([`pool`]). The harness proves itself ([`selftest`]) before
//! anybody should believe a number of it.

pub mod campaign;
pub mod drive;
pub mod execute;
pub mod explore;
mod free;
pub mod perfetto;
pub mod pool;
pub mod record;
pub mod replay;
pub mod run;
pub mod saturate;
pub mod schedule;
pub mod seeds;
pub mod selftest;
pub mod table;
pub mod timeline;
