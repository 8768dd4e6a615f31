//! A server's side of its way to the database: numbers what it asks, and keeps it until the way is
//! there.

use crate::database::Query;
use crate::wire::Wire;
use std::collections::BTreeMap;
use triptych_nodes::{Out, Peer};

/// What a server has asked of the database, with what it wants to do with each answer.
#[derive(Debug)]
pub struct Desk<T> {
    bridge: Option<Peer>,
    next: u64,
    /// Asked before there was a way.
    early: Vec<(u64, Query)>,
    open: BTreeMap<u64, T>,
}

impl<T> Default for Desk<T> {
    fn default() -> Self {
        Desk {
            bridge: None,
            next: 0,
            early: Vec::new(),
            open: BTreeMap::new(),
        }
    }
}

impl<T> Desk<T> {
    /// Asks something; what comes of it belongs to `then`.
    pub fn ask<Q, A, P>(&mut self, query: Query, then: T, out: &mut Out<Wire<Q, A, P>>) {
        let token = self.next;
        self.next += 1;
        self.open.insert(token, then);
        match self.bridge {
            Some(bridge) => out.send(bridge, Wire::Query { token, query }),
            None => self.early.push((token, query)),
        }
    }

    /// The way is there.
    pub fn bridge<Q, A, P>(&mut self, bridge: Peer, out: &mut Out<Wire<Q, A, P>>) {
        self.bridge = Some(bridge);
        for (token, query) in self.early.drain(..) {
            out.send(bridge, Wire::Query { token, query });
        }
    }

    /// An answer has come: what was to be done with it. Nothing if it came before.
    pub fn answered(&mut self, token: u64) -> Option<T> {
        self.open.remove(&token)
    }

    /// How many questions are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}
