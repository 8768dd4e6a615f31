//! The causal cache of CausalMesh (PVLDB'24, arXiv 2508.15647): servers on a ring, each with caches of
//! its own, and clients that move between them with what they depend on.
//!
//! Start with [`core`]: one server's protocol, without links and failures. [`clock`], [`version`] and
//! [`entry`] are what it works on, [`context`] is what clients carry, [`port`] what they ask.

pub mod clock;
pub mod context;
pub mod core;
pub mod entry;
pub mod port;
pub mod version;

pub use clock::{Clock, Slot};
pub use context::{Context, Malformed};
pub use core::{Arrived, Bug, Core, Refused, State};
pub use entry::{Entry, Seen};
pub use port::{Failure, Port, Reply, Request};
pub use version::{Key, Op, Version, WriteId};
