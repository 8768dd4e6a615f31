//! How a client asks: the server on its host first, others when that one does not answer.
//!
//! Everything may be asked again, anywhere: reads change nothing, and a write counts once by its
//! [`crate::WriteId`]. Servers forget requests, so they are told how long ago something was asked first.

use crate::message::Message;
use crate::port::{Failure, Port, Reply, Request};
use futures_channel::oneshot;
use futures_util::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_nodes::NodeId;
use triptych_world::{MS, Nanos, World};

/// How long a server may take to answer before another one is asked.
const PATIENCE: Nanos = 400 * MS;
/// How many times something is asked in all.
const ATTEMPTS: u32 = 16;

/// Replies that are waited for, by number.
#[derive(Clone, Default)]
pub struct Waiting(Rc<RefCell<BTreeMap<u64, oneshot::Sender<Reply>>>>);

impl Waiting {
    /// Hands a reply to who waits for it, if somebody does.
    pub fn deliver(&self, message: Message) {
        let Message::Reply { op, reply } = message else {
            return;
        };
        let asked = self.0.borrow_mut().remove(&op);
        if let Some(asked) = asked {
            // Whoever asked may have been dropped meanwhile.
            let _ = asked.send(reply);
        }
    }
}

/// A client of some servers.
struct Line {
    world: World,
    /// The servers, the one to ask first in front.
    servers: Vec<NodeId>,
    send: Box<dyn Fn(NodeId, Message)>,
    waiting: Waiting,
    ops: Cell<u64>,
}

/// A [`Port`] to some servers.
pub struct ServerPort(Rc<Line>);

impl ServerPort {
    /// A port that asks the first of some servers first. `send` sends, and what comes back is to be
    /// given to `waiting`.
    pub fn new(
        world: &World,
        servers: Vec<NodeId>,
        waiting: Waiting,
        send: impl Fn(NodeId, Message) + 'static,
    ) -> Self {
        ServerPort(Rc::new(Line {
            world: world.clone(),
            servers,
            send: Box::new(send),
            waiting,
            ops: Cell::new(0),
        }))
    }
}

impl Line {
    /// Asks one server once. Nothing if it does not answer in time.
    async fn once(&self, server: NodeId, age: Nanos, request: Request) -> Option<Reply> {
        let op = self.ops.get();
        self.ops.set(op + 1);
        let (sender, answer) = oneshot::channel();
        self.waiting.0.borrow_mut().insert(op, sender);
        (self.send)(server, Message::Request { op, age, request });
        let reply = self.world.timeout(PATIENCE, answer).await;
        if reply.is_err() {
            self.waiting.0.borrow_mut().remove(&op);
        }
        reply.ok()?.ok()
    }

    async fn ask(&self, first: Option<Nanos>, request: Request) -> Result<Reply, Failure> {
        let writes = matches!(request, Request::Write { .. } | Request::Update { .. });
        // When somebody was asked first who may have done it.
        let mut doubtful = first;
        for attempt in 0..ATTEMPTS {
            // The one on the same host is as good as any other if it is back.
            let server = self.servers[attempt as usize % self.servers.len()];
            let asked = self.world.now();
            let age = doubtful.map_or(0, |first| asked.saturating_sub(first).max(1));
            match self.once(server, age, request.clone()).await {
                Some(Reply::Failed(Failure::Unavailable)) => {
                    self.world.sleep((2 * MS) << attempt.min(6)).await;
                }
                Some(Reply::Failed(Failure::Unknown)) | None => {
                    doubtful.get_or_insert(asked);
                }
                Some(Reply::Failed(failure)) => return Err(failure),
                Some(reply) => return Ok(reply),
            }
        }
        Err(match doubtful.is_some() && writes {
            true => Failure::Unknown,
            false => Failure::Unavailable,
        })
    }
}

impl Port for ServerPort {
    fn ask(&self, request: Request) -> LocalBoxFuture<'static, Result<Reply, Failure>> {
        let line = Rc::clone(&self.0);
        Box::pin(async move { line.ask(None, request).await })
    }

    fn ask_again(
        &self,
        first: Nanos,
        request: Request,
    ) -> LocalBoxFuture<'static, Result<Reply, Failure>> {
        let line = Rc::clone(&self.0);
        Box::pin(async move { line.ask(Some(first), request).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::version::WriteId;
    use triptych_world::Options;

    /// Asks servers that answer this, the n-th time, or not. What they were told of the age.
    fn ages(
        first: Option<Nanos>,
        answers: &'static [Option<Failure>],
    ) -> (Vec<Nanos>, Result<Reply, Failure>) {
        World::simulate(1, Options::default(), move |world| async move {
            let told = Rc::new(RefCell::new(Vec::new()));
            let waiting = Waiting::default();
            let (ages, answering) = (Rc::clone(&told), waiting.clone());
            let servers = vec![NodeId(1), NodeId(2)];
            let port = ServerPort::new(&world, servers, waiting, move |_, message| {
                let Message::Request { op, age, .. } = message else {
                    return;
                };
                let nth = ages.borrow().len();
                ages.borrow_mut().push(age);
                let answer = match answers.get(nth) {
                    Some(None) => return,
                    Some(Some(failure)) => Reply::Failed(failure.clone()),
                    None => Reply::Status { gauges: Vec::new() },
                };
                answering.deliver(Message::Reply { op, reply: answer });
            });
            let request = Request::Write {
                write: WriteId {
                    client: 1,
                    number: 1,
                },
                deps: Clock::default(),
                own: crate::context::Own::default(),
                ops: Vec::new(),
            };
            world.sleep(MS).await;
            let reply = match first {
                None => port.ask(request).await,
                Some(first) => port.ask_again(first, request).await,
            };
            let told = told.borrow().clone();
            (told, reply)
        })
        .expect("every wait ends")
    }

    #[test]
    fn servers_are_told_when_something_was_asked_first_that_may_have_been_done() {
        let (told, reply) = ages(
            None,
            &[Some(Failure::Unavailable), None, Some(Failure::Unknown)],
        );
        assert!(reply.is_ok(), "{reply:?}");
        assert_eq!(told[..2], [0, 0], "without effect, so it is the first time");
        assert_eq!(told[2], PATIENCE);
        assert!(told[3] >= PATIENCE, "{told:?}");
        let (told, reply) = ages(None, &[None, Some(Failure::Forgotten)]);
        assert_eq!((told.len(), reply), (2, Err(Failure::Forgotten)));
        // Somebody has asked before, and says so.
        let (told, _) = ages(Some(3), &[Some(Failure::Unavailable)]);
        assert!(told[0] > 0 && told[1] > told[0], "{told:?}");
    }
}
