//! Caches in front of a database that is the only channel between them, refreshed from it some time
//! after something was written: what all such systems share.
//!
//! Functions ask the cache server on their host. Writes go to the database; the servers hear which keys
//! were written, and fetch those that they keep again, every so often. What they show meanwhile, and
//! to whom, is each system's own affair; what surrounds that is here:
//!
//! * [`cluster`]: servers, what is beside them, and the database, in one simulated world. Start here.
//! * [`wire`]: what nodes and clients say to each other;
//! * [`database`]: what servers ask of the database, and [`desk`], how they keep track of it;
//! * [`broker`]: publish/subscribe, with the point up to which all servers have taken in all news,
//!   and [`feed`], the servers' side of it;
//! * [`installed`]: such a cluster as the caches of an installation;
//! * [`client`]: the way from a function to its server, and [`writes`]: what is kept until a commit.

pub mod broker;
pub mod client;
pub mod cluster;
pub mod database;
pub mod desk;
pub mod feed;
pub mod installed;
pub mod wire;
pub mod writes;

pub use broker::{Broker, News};
pub use client::{Answer, Servers};
pub use cluster::{Cluster, Port, Replica, sums, unheard};
pub use database::{Outcome, Put, Query, Row, perform};
pub use desk::Desk;
pub use feed::Feed;
pub use installed::{Installed, Watched};
pub use wire::{Failure, Part, Wire};
pub use writes::Writes;
