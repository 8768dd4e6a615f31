//! The four roles, and how a node of each is made.

use crate::controller::Controller;
use crate::engine::{self, Engine};
use crate::sequencer::Sequencer;
use crate::storage::{self, Storage};
use crate::{Config, Message};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::rc::Rc;
use triptych_nodes::{Node, NodeId, Stored};

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

/// Seeded defects of the roles, to show that the checkers see them. No command can ask for one. Those
/// of sequencers and controllers are in their cores, for the model checker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// Of engines.
    pub engine: Option<engine::Bug>,
    /// Of storages.
    pub storage: Option<storage::Bug>,
}

impl Role {
    /// A node of this role, from what it finds in its store.
    pub fn node(
        self,
        config: &Rc<Config>,
        node: NodeId,
        stored: &dyn Stored,
        bugs: Bugs,
    ) -> Box<dyn Node<Message = Message>> {
        let config = Rc::clone(config);
        match self {
            Role::Controller => Box::new(Controller::recover(config, node, stored)),
            Role::Sequencer => Box::new(Sequencer::recover(config, node, stored)),
            Role::Storage => Box::new(Storage::recover(config, node, stored, bugs.storage)),
            Role::Engine => Box::new(Engine::recover(config, node, stored, bugs.engine)),
        }
    }
}
