//! The causal cache of CausalMesh (PVLDB'24, arXiv 2508.15647): servers on a ring, each with caches of
//! its own, and clients that move between them with what they depend on.
//!
//! Start with [`core`]: one server's protocol, without links and failures. [`clock`], [`version`] and
//! [`entry`] are what it works on, [`context`] is what clients carry, [`port`] what they ask.
//! [`server`] is the node around it, [`ring`] who is on the ring, [`link`] the way from one to the
//! next, [`backing`] the store behind; [`sim`] runs a cluster of them in virtual time.

pub mod backing;
pub mod clock;
pub mod config;
pub mod context;
pub mod core;
pub mod entry;
pub mod line;
pub mod link;
pub mod message;
pub mod port;
pub mod ring;
pub mod server;
pub mod service;
pub mod sim;
pub mod version;

pub use clock::{Clock, Slot};
pub use config::{Config, ConfigError, Level, Limits, Timing};
pub use context::{Context, Malformed, Own};
pub use core::{Arrived, Bug, Copied, Core, Refused, State};
pub use entry::{Entry, Seen};
pub use message::Message;
pub use port::{Failure, Port, Reply, Request};
pub use ring::Ring;
pub use server::{Bugs, NodeBug, Server};
pub use version::{Key, Op, Version, WriteId};
