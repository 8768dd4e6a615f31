//! Clusters of the log, as an operator and as a tester has them.
//!
//! [`trial`] puts a simulated cluster under faults and judges what its clients saw.

pub mod trial;
