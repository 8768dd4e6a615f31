//! The shared log: total order, replication and cheap consistent reads from one small metalog
//! (Boki, SOSP'21), with the published design's gaps closed.
//!
//! Functions append records to *logbooks* and read streams of them by *tag* ([`client::Book`]). Many
//! logbooks live on a few *physical logs*. Four roles, each a state machine ([`triptych_nodes`]):
//!
//! * An **engine** numbers the records that it is given (its *shard*) and sends them to `n_data`
//!   storages at once; it indexes logs, and answers reads from its index and its cache.
//! * A **storage** keeps records, and tells the log's primary sequencer up to where it has each shard
//!   without a gap.
//! * A **sequencer** is primary of some logs and backup of others. The primary takes the minimum over
//!   each shard's storages, and appends a *cut* to the *metalog*: so many further records of each
//!   shard are ordered now. A cut is committed when a majority keeps it; then everybody computes the
//!   same sequence numbers from it.
//! * A **controller** watches the others. When one fails it seals the view at a majority of each
//!   log's sequencers, and has the next [`View`] decided in a register among the controllers.
//!
//! A read waits until the index has come as far in the metalog as the reader has seen: that is all
//! that consistency costs. What everything is called is in [`ids`]; who says what to whom in
//! [`message`]; what is promised in [`config::Level`].

pub mod client;
pub mod config;
pub mod controller;
pub mod engine;
pub mod ids;
pub mod member;
pub mod message;
pub mod model;
mod port;
mod record;
mod role;
pub mod sequencer;
pub mod sim;
pub mod storage;
pub mod view;

pub use client::{Book, Port};
pub use config::{Config, ConfigError, Level, Limits, Timing};
pub use controller::Controller;
pub use ids::{BookId, EVERY, LogId, Progress, SeqNum, Shard, Tag, Term, ViewId};
pub use member::{MEMBERSHIP, Membership};
pub use message::{
    Ballot, Direction, Failure, Found, Item, Message, Missing, NotHere, Read, Reply, Request,
    SealedLog,
};
pub use model::{Conduct, ModelLog};
pub use record::{Condition, Entry, Record, Step, Trim};
pub use role::{Bugs, Role};
pub use sequencer::Sequencer;
pub use view::{Final, Member, Shape, View, assigned, quorum};
