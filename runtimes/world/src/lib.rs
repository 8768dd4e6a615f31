//! Time, randomness, tasks, links, disks and faults: everything that a runtime may touch besides
//! its own memory.
//!
//! [`World`] is a cheap handle with two backends. In *virtual* time a single thread runs tasks from
//! a ready queue and jumps the clock from timer to timer, so that the same seed gives the same
//! bytes and a minute of load takes a second. In *real* time the same calls go to tokio. Only this
//! crate knows which of the two it is; everything above it is written once.
//!
//! Start with [`World::simulate`], then [`Scope`] (who causes an operation), [`World::effect`] (a
//! named crash point), [`latency::Profile`] (what operations take), [`link::Network`] and
//! [`disk::Disk`].

pub mod disk;
mod effect;
mod executor;
pub mod fault;
pub mod latency;
mod life;
pub mod link;
mod real;
mod scope;
mod search;
mod sleep;
mod task;
mod timers;
pub mod trace;
mod world;

pub use executor::{Blocked, Deadlock};
pub use life::{Life, Order};
pub use scope::{RequestState, Scope, Trace};
pub use search::Struck;
pub use task::{Elapsed, JoinHandle};
pub use triptych_model::{Random, mix, mix_str};
pub use world::{Options, World};

/// A point in time or a span of time, in nanoseconds.
pub type Nanos = u64;

/// One microsecond.
pub const US: Nanos = 1_000;
/// One millisecond.
pub const MS: Nanos = 1_000_000;
/// One second.
pub const SECOND: Nanos = 1_000_000_000;
