//! How a client of a cluster asks: one engine first, others when it does not answer.
//!
//! Reads, memos and trims may be asked for again anywhere: twice is as good as once. An append that
//! was not answered may have taken effect or may yet, so it is not asked for again: whoever appends
//! knows what a second record would mean, the port does not.

use crate::{Failure, Message, Port, Reply, Request};
use futures_channel::oneshot;
use futures_util::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_nodes::NodeId;
use triptych_world::{MS, Nanos, World};

/// How long an engine may take to answer before it is taken for dead. Longer than a change of views
/// takes, since an engine keeps what it was asked meanwhile.
const PATIENCE: Nanos = 600 * MS;
/// How many times something is asked for in all.
const ATTEMPTS: u32 = 12;

/// Replies that are waited for, by number.
#[derive(Clone, Default)]
pub(crate) struct Waiting(Rc<RefCell<BTreeMap<u64, oneshot::Sender<Reply>>>>);

impl Waiting {
    /// Hands a reply to who waits for it, if somebody does.
    pub(crate) fn deliver(&self, message: Message) {
        let Message::Reply { op, reply } = message else {
            return;
        };
        let asked = self.0.borrow_mut().remove(&op);
        // Whoever asked may have been dropped meanwhile.
        asked
            .into_iter()
            .for_each(|asked| drop(asked.send(reply.clone())));
    }
}

/// A client of some engines.
pub(crate) struct Line {
    world: World,
    /// The engines, the one to ask first in front.
    engines: Vec<NodeId>,
    send: Box<dyn Fn(NodeId, Message)>,
    waiting: Waiting,
    ops: Cell<u64>,
    /// Which of the engines is asked first just now.
    favourite: Cell<usize>,
}

/// A [`Port`] on a [`Line`].
pub(crate) struct EnginePort(Rc<Line>);

impl EnginePort {
    pub(crate) fn new(
        world: &World,
        engines: Vec<NodeId>,
        waiting: Waiting,
        send: impl Fn(NodeId, Message) + 'static,
    ) -> Self {
        EnginePort(Rc::new(Line {
            world: world.clone(),
            engines,
            send: Box::new(send),
            waiting,
            ops: Cell::new(0),
            favourite: Cell::new(0),
        }))
    }
}

impl Line {
    /// Asks one engine once. Nothing if it does not answer in time.
    async fn once(&self, engine: NodeId, request: Request, patience: Nanos) -> Option<Reply> {
        let op = self.ops.get();
        self.ops.set(op + 1);
        let (sender, answer) = oneshot::channel();
        self.waiting.0.borrow_mut().insert(op, sender);
        (self.send)(engine, Message::Request { op, request });
        let reply = self.world.timeout(patience, answer).await;
        if reply.is_err() {
            self.waiting.0.borrow_mut().remove(&op);
        }
        reply.ok()?.ok()
    }

    async fn ask(&self, request: Request) -> Result<Reply, Failure> {
        let patience = match &request {
            Request::Read(read) => PATIENCE + read.wait,
            _ => PATIENCE,
        };
        let append = matches!(request, Request::Append(_));
        for attempt in 0..ATTEMPTS {
            let engine = self.engines[self.favourite.get() % self.engines.len()];
            let reply = self.once(engine, request.clone(), patience).await;
            let next = match reply {
                Some(Reply::Failed(Failure::Discarded | Failure::Unavailable)) => true,
                Some(Reply::Failed(Failure::Unknown)) | None if append => {
                    self.favourite.set(self.favourite.get() + 1);
                    return Err(Failure::Unknown);
                }
                Some(Reply::Failed(Failure::Unknown)) | None => false,
                Some(Reply::Failed(failure)) => return Err(failure),
                Some(reply) => return Ok(reply),
            };
            self.favourite.set(self.favourite.get() + 1);
            if next {
                self.world.sleep((2 * MS) << attempt.min(6)).await;
            }
        }
        Err(match append {
            true => Failure::Unavailable,
            false => Failure::Unknown,
        })
    }
}

impl Port for EnginePort {
    fn ask(&self, request: Request) -> LocalBoxFuture<'static, Result<Reply, Failure>> {
        let line = Rc::clone(&self.0);
        Box::pin(async move { line.ask(request).await })
    }
}
