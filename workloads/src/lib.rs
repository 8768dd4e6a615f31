//! Profiles, request generators and data sets.
//!
//! A [`Profile`] is a named workload on an app: its formulation, its mix of requests, its data set.
//! A [`Generator`] makes the n-th request of a run as a pure function of (profile, seed, n), so that
//! every runtime gets the same requests in the same order, however many cores run.
//!
//! A newcomer can start with [`profiles`], which lists what there is, then read
//! [`Generator::request`]. Each app has a module of its own, with its profiles, its data set and its
//! requests. Functions and entry points are named by their text here, because workloads know no app:
//! what reaches the app is plain data, as from any client.

mod draw;
mod generator;
pub mod ledger;
pub mod micro;
pub mod movie;
mod profile;
pub mod social;
pub mod travel;
mod zipf;

pub use generator::Generator;
pub use profile::{Profile, SettingError, UnknownProfile, find, profiles};

use triptych_model::Value;

/// A request that loads the data set, sent through the app before the measured load begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// The function to call.
    pub function: String,
    /// The entry point.
    pub op: String,
    /// Its input.
    pub input: Value,
    /// Whether it does nothing that another one sees. Then whoever sends it need not know what the
    /// others did, which a runtime that keeps a context for each client would carry along.
    pub apart: bool,
}

impl Load {
    /// A loading request.
    pub fn new(function: &str, op: &str, input: Value) -> Self {
        Load {
            function: function.to_owned(),
            op: op.to_owned(),
            input,
            apart: false,
        }
    }

    /// The same, and nothing that it does is seen by another one.
    #[must_use]
    pub fn apart(self) -> Self {
        Load {
            apart: true,
            ..self
        }
    }
}

/// A request of the measured load.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Position in [`Generator::kinds`].
    pub kind: u16,
    /// The function to call.
    pub function: String,
    /// The entry point.
    pub op: String,
    /// Its input.
    pub input: Value,
    /// The logical client that sends it.
    pub session: u32,
}
