//! Somebody outside of a cluster who speaks to its nodes over TCP.

use super::line::{Change, Line, State, keep};
use super::wire::{Hello, Incoming, LineError, Verdict, cluster_hash};
use super::{Book, Limits};
use crate::{Message, NodeId};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

/// What happens to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<M> {
    /// A node has sent something.
    Message(NodeId, M),
    /// The connection to a node has ended, or could not be made; why. What was sent to the node and
    /// not answered may be lost. It is called again from time to time.
    Lost(NodeId, String),
}

struct Inner<M> {
    cluster: u64,
    book: Book,
    limits: Limits,
    lines: RefCell<BTreeMap<NodeId, Rc<Line>>>,
    events: RefCell<VecDeque<(Event<M>, usize)>>,
    /// Bytes of the events.
    bytes: Cell<usize>,
    arrived: Notify,
    taken: Notify,
}

/// A client of a cluster. A connection to a node is made when something is first sent to it, and is
/// kept up from then on. It belongs on a tokio `LocalSet`; to drop it ends its connections.
pub struct Client<M: Message> {
    inner: Rc<Inner<M>>,
    tasks: RefCell<Vec<JoinHandle<()>>>,
}

impl<M: Message> Client<M> {
    /// A client of a cluster of this name, whose nodes stand in the book. Of the limits, those on a
    /// message, on what waits for one node, and on what has come and was not taken mean something.
    pub fn new(cluster: &str, book: Book, limits: Limits) -> Self {
        Client {
            inner: Rc::new(Inner {
                cluster: cluster_hash(cluster),
                book,
                limits,
                lines: RefCell::default(),
                events: RefCell::default(),
                bytes: Cell::new(0),
                arrived: Notify::new(),
                taken: Notify::new(),
            }),
            tasks: RefCell::default(),
        }
    }

    /// Sends a message, or has it wait for the first connection. Returns whether that is so: if not,
    /// there is no connection, or no room, or no such node, and the message is not sent.
    pub fn send(&self, to: NodeId, message: &M) -> bool {
        let known = self.inner.lines.borrow().get(&to).cloned();
        let Some(line) = known.or_else(|| self.call(to)) else {
            return false;
        };
        if line.state.get() == State::Down {
            return false;
        }
        let Limits {
            message_bytes,
            peer_bytes,
            ..
        } = self.inner.limits;
        let pushed = line
            .out
            .borrow_mut()
            .push(message, message_bytes, peer_bytes);
        line.flush_soon();
        pushed.is_ok()
    }

    fn call(&self, node: NodeId) -> Option<Rc<Line>> {
        let address = self.inner.book.get(&node)?.clone();
        let line = Rc::new(Line::new());
        self.inner.lines.borrow_mut().insert(node, Rc::clone(&line));
        let hello = Hello {
            cluster: self.inner.cluster,
            from: None,
            to: node,
            verdict: Verdict::Welcome,
        };
        let inner = Rc::clone(&self.inner);
        let take = move |incoming: &mut Incoming| inner.receive(node, incoming);
        let inner = Rc::clone(&self.inner);
        let room = async move || inner.room().await;
        let inner = Rc::clone(&self.inner);
        let changed = {
            let line = Rc::clone(&line);
            let mut lost = false;
            move |change| {
                let why = match change {
                    Change::Up => return lost = false,
                    Change::Down(error) => error.to_string(),
                    Change::Failed(error) => error.to_string(),
                };
                drop(line.out.borrow_mut().clear());
                if !std::mem::replace(&mut lost, true) {
                    inner.put(Event::Lost(node, why), 0);
                }
            }
        };
        let limit = self.inner.limits.message_bytes;
        let keeping = keep(Rc::clone(&line), address, hello, limit, take, room, changed);
        self.tasks.borrow_mut().push(spawn_local(keeping));
        Some(line)
    }

    /// Waits for what happens next.
    pub async fn next(&self) -> Event<M> {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            self.inner.arrived.notified().await;
        }
    }

    /// What has happened next, if anything has.
    pub fn try_next(&self) -> Option<Event<M>> {
        let (event, bytes) = self.inner.events.borrow_mut().pop_front()?;
        self.inner.bytes.set(self.inner.bytes.get() - bytes);
        self.inner.taken.notify_waiters();
        Some(event)
    }

    /// Whether there is a connection to a node.
    pub fn is_connected(&self, node: NodeId) -> bool {
        let lines = self.inner.lines.borrow();
        lines
            .get(&node)
            .is_some_and(|line| line.state.get() == State::Up)
    }
}

impl<M: Message> Drop for Client<M> {
    fn drop(&mut self) {
        self.tasks.borrow().iter().for_each(JoinHandle::abort);
    }
}

impl<M: Message> Inner<M> {
    fn put(&self, event: Event<M>, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
        self.events.borrow_mut().push_back((event, bytes));
        self.arrived.notify_one();
    }

    async fn room(&self) {
        while self.bytes.get() > self.limits.inbox_bytes {
            self.taken.notified().await;
        }
    }

    fn receive(&self, from: NodeId, incoming: &mut Incoming) -> Result<(), LineError> {
        while let Some((message, bytes)) = incoming.next()? {
            self.put(Event::Message(from, message), bytes);
        }
        Ok(())
    }
}
