//! Caches in front of a database that is the only channel between them: what such systems share, and
//! the one among them that promises nothing.
//!
//! Functions ask the cache server on their host. Writes go to the database; the servers hear which
//! keys were written from a broker, and fetch those that they keep again, every so often. What is
//! shared by the causal caches that are built this way is here:
//!
//! * [`wire`]: what nodes and clients say to each other;
//! * [`database`]: what servers ask of the database, and [`desk`], how they keep track of it;
//! * [`broker`]: publish/subscribe, with the point up to which all servers have taken in all news,
//!   and [`feed`], the servers' side of it;
//! * [`cluster`]: servers, broker and database in one simulated world.
//!
//! [`server`] is the plain cache: the baseline of what goes wrong. A read is answered from the cache
//! however old that is; a write goes to the database and into the writer's own cache; of two writes
//! the one counts that reaches the database last. It promises that nothing acknowledged is lost, and
//! nothing else.

pub mod broker;
pub mod cluster;
pub mod database;
pub mod desk;
pub mod feed;
pub mod server;
pub mod wire;

pub use broker::{Broker, News};
pub use cluster::{Cluster, Port, shipped_service};
pub use database::{Outcome, Put, Query, Row, perform};
pub use desk::Desk;
pub use feed::Feed;
pub use wire::{Failure, Part, Wire};
