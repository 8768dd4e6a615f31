//! Clusters of the log, as an operator and as a tester has them.
//!
//! [`file`] is the file that says what a cluster is made of.

pub mod bench;
pub mod file;
