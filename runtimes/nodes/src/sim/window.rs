//! Looking into a node that runs: what it has, without asking it and without taking its time.

use crate::{Message, Nanos, Node, Out, Peer};
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// A window into a node, whichever of its lives it is in. Cheap to clone.
pub struct Window<N>(Rc<RefCell<Weak<RefCell<N>>>>);

impl<N> Clone for Window<N> {
    fn clone(&self) -> Self {
        Window(Rc::clone(&self.0))
    }
}

impl<N> Default for Window<N> {
    fn default() -> Self {
        Window(Rc::new(RefCell::new(Weak::new())))
    }
}

impl<N: Node + 'static> Window<N> {
    /// A node as [`super::Sim::add`] wants it, which from now on is seen here.
    pub fn show(&self, node: N) -> Box<dyn Node<Message = N::Message>> {
        let node = Rc::new(RefCell::new(node));
        *self.0.borrow_mut() = Rc::downgrade(&node);
        Box::new(Shown(node))
    }

    /// Looks at the node; nothing if it is down, or was never up.
    pub fn look<T>(&self, look: impl FnOnce(&N) -> T) -> Option<T> {
        let node = self.0.borrow().upgrade()?;
        let node = node.borrow();
        Some(look(&node))
    }
}

/// A node that somebody may look at between two of its turns.
struct Shown<N>(Rc<RefCell<N>>);

impl<M: Message, N: Node<Message = M>> Node for Shown<N> {
    type Message = M;

    fn on_start(&mut self, now: Nanos, out: &mut Out<M>) {
        self.0.borrow_mut().on_start(now, out);
    }

    fn on_message(&mut self, now: Nanos, from: Peer, message: M, out: &mut Out<M>) {
        self.0.borrow_mut().on_message(now, from, message, out);
    }

    fn on_timer(&mut self, now: Nanos, timer: u64, out: &mut Out<M>) {
        self.0.borrow_mut().on_timer(now, timer, out);
    }

    fn on_persisted(&mut self, now: Nanos, token: u64, out: &mut Out<M>) {
        self.0.borrow_mut().on_persisted(now, token, out);
    }

    fn on_read(&mut self, now: Nanos, token: u64, value: Option<Vec<u8>>, out: &mut Out<M>) {
        self.0.borrow_mut().on_read(now, token, value, out);
    }

    fn on_turn_end(&mut self, now: Nanos, out: &mut Out<M>) {
        self.0.borrow_mut().on_turn_end(now, out);
    }

    fn on_gone(&mut self, client: u64) {
        self.0.borrow_mut().on_gone(client);
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        self.0.borrow().gauges()
    }
}
