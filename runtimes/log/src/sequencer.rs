//! The sequencer: keeps the metalog.
//!
//! A sequencer is primary of some physical logs and backup of others, as the view says. What a
//! metalog is and when an entry is committed stands in [`metalog`] and [`lead`]: plain data without
//! timing. [`Sequencer`] is the node around it: when to cut, what to send and to send again, what to
//! keep on disk, and what to say to a controller that ends the view.
//!
//! Nothing that was restarted takes part in a view that began before: the view names the life that
//! it had. What it finds on its disk it serves to those who lack entries; and at
//! [`crate::Level::Synced`] it tells it to the controller that ends the view.

pub(crate) mod checked;
mod disk;
pub mod lead;
pub mod metalog;
mod node;
mod pace;

pub use node::Sequencer;
