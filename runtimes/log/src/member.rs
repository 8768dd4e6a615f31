//! A node's place in the cluster: which of its lives it lives, and which views it knows.
//!
//! Every start is a new life, whatever the node finds on its disk: so a primary that comes back
//! never goes on where it was, when a backup may know more of its metalog than it does itself. The
//! controller sees the new life and makes a new view. A node says nothing to anybody before the
//! number of its life is durable.

use crate::view::{Holders, overlay};
use crate::{Config, Message, View, ViewId};
use std::rc::Rc;
use std::sync::Arc;
use triptych_nodes::{Durability, NodeId, Out, Peer, Stored, Write};

pub use crate::view::Member;

/// The token and timer that belong to the membership; roles use smaller ones.
pub const MEMBERSHIP: u64 = u64::MAX;

const LIFE: &[u8] = b"life";

/// What every engine, storage and sequencer does about views.
pub struct Membership {
    config: Rc<Config>,
    me: Member,
    /// Whether the number of this life is durable.
    born: bool,
    /// All views, from the first on, as they were told.
    views: Vec<Arc<View>>,
    /// The newest, with all holders.
    current: Option<Arc<View>>,
    /// Of a storage: what it says in [`Message::Alive`].
    pub complete: ViewId,
    /// Of a sequencer: what it says in [`Message::Alive`].
    pub sealed: ViewId,
}

impl Membership {
    /// A new life of a node.
    pub fn recover(config: Rc<Config>, node: NodeId, stored: &dyn Stored) -> Self {
        let before = stored.get(LIFE).and_then(|life| life.try_into().ok());
        let life = before.map_or(0, u32::from_be_bytes) + 1;
        Membership {
            config,
            me: Member { node, life },
            born: false,
            views: Vec::new(),
            current: None,
            complete: 0,
            sealed: 0,
        }
    }

    /// The node, in this life.
    pub fn me(&self) -> Member {
        self.me
    }

    /// What all agree on.
    pub fn config(&self) -> &Rc<Config> {
        &self.config
    }

    /// The newest view that is known. It says who keeps the records of all views.
    pub fn current(&self) -> Option<&Arc<View>> {
        self.current.as_ref()
    }

    /// The number of the newest view; 0 if none is known.
    pub fn newest(&self) -> ViewId {
        self.current().map_or(0, |view| view.id)
    }

    /// A view by its number, if it is known. One that is not the newest says who kept its own records;
    /// who keeps them now stands in the newest.
    pub fn view(&self, id: ViewId) -> Option<&Arc<View>> {
        if id == self.newest() {
            return self.current();
        }
        self.views.get(usize::from(id).checked_sub(1)?)
    }

    /// To be called from [`triptych_nodes::Node::on_start`].
    pub fn start(&self, out: &mut Out<Message>) {
        let write = Write {
            key: LIFE.to_vec(),
            value: Some(self.me.life.to_be_bytes().to_vec()),
        };
        out.persist(Some(MEMBERSHIP), vec![write], Durability::Synced);
    }

    /// To be called when something is durable under [`MEMBERSHIP`].
    pub fn persisted(&mut self, out: &mut Out<Message>) {
        self.born = true;
        self.ring(out);
    }

    /// To be called when the timer [`MEMBERSHIP`] rings.
    pub fn ring(&self, out: &mut Out<Message>) {
        self.tell(out);
        out.timer(self.config.timing.alive_every, MEMBERSHIP);
    }

    /// Tells the controllers that the node lives, what it knows, and thereby asks for more.
    pub fn tell(&self, out: &mut Out<Message>) {
        if !self.born {
            return;
        }
        for &controller in &self.config.controllers {
            let alive = Message::Alive {
                member: self.me,
                view: self.newest(),
                complete: self.complete,
                sealed: self.sealed,
            };
            out.send(controller, alive);
        }
    }

    /// Whether views are to be taken from somebody: only controllers have them chosen.
    pub fn trusts(&self, from: Peer) -> bool {
        matches!(from, Peer::Node(node) if self.config.controllers.contains(&node))
    }

    /// Takes views over, and returns those that are new, in their order. One that cannot be is not
    /// taken, nor is what follows it.
    pub fn learn(&mut self, views: Vec<Arc<View>>) -> Vec<Arc<View>> {
        let before = self.views.len();
        for view in views {
            let newest = self.views.last().map_or(0, |view| view.id);
            if newest.checked_add(1) == Some(view.id) && view.can_be(self.config.shape) {
                self.views.push(view);
            }
        }
        let mut new = self.views[before..].to_vec();
        if let Some(last) = new.last_mut() {
            let current = self.current.take().map(Arc::unwrap_or_clone);
            let mut holders = current.map_or_else(Holders::new, |view| view.holders);
            for view in &self.views[before..] {
                overlay(&mut holders, view);
            }
            let mut view = View::clone(last);
            view.holders = holders;
            *last = Arc::new(view);
            self.current = Some(Arc::clone(last));
        }
        new
    }

    /// Whether this life of the node is in the newest view, in any role.
    pub fn is_member(&self) -> bool {
        self.current().is_some_and(|view| {
            let roles = [&view.engines, &view.storages, &view.sequencers];
            roles.iter().any(|role| role.contains(&self.me))
        })
    }
}
