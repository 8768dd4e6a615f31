//! The four roles, and how a node of each is made.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Watches the others and decides views.
    Controller,
    /// Keeps the metalog.
    Sequencer,
    /// Keeps records.
    Storage,
    /// Serves clients.
    Engine,
}

impl Role {
    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Role::Controller => "controller",
            Role::Sequencer => "sequencer",
            Role::Storage => "storage",
            Role::Engine => "engine",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
