//! Clusters of the log, as an operator and as a tester has them.
//!
//! [`file`] is the file that says what a cluster is made of. [`node`] runs one node of it, [`up`] all
//! of them as processes of this machine; [`connect`] and [`probe`] speak to them. [`bench`](mod@bench)
//! puts a load on them, measures it and judges it, and [`calibrate`] measures what nodes work on, for
//! the simulator. [`trial`] puts a simulated cluster under faults and judges what its clients saw.

pub mod bench;
pub mod calibrate;
pub mod connect;
pub mod file;
pub mod node;
pub mod probe;
pub mod trial;
pub mod up;
