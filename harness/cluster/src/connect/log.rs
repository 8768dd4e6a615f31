//! A client of a running cluster: a [`Port`] over TCP.
//!
//! It asks one engine first, and others when that one is not there or takes nothing. Reads, memos and
//! trims may be asked for again anywhere. An append that was sent and not answered may have taken
//! effect or may yet, so it is not asked for again: whoever appends knows what a second record would
//! mean, the port does not.

use crate::file::{LogFile, Role};
use futures_util::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, spawn_local};
use triptych_log::{Failure, Message, Port, Reply, Request};
use triptych_nodes::NodeId;
use triptych_nodes::tcp::{Book, Client, Event, Limits};
use triptych_world::{MS, Nanos, SECOND, World};

/// How long a client waits longer than an engine, which answers that nobody knows.
const LONGER: Nanos = SECOND;
/// How long to wait before an engine is asked again that has taken nothing.
const PAUSES: [Nanos; 5] = [2 * MS, 5 * MS, 10 * MS, 20 * MS, 50 * MS];

/// The addresses of a file's engines.
fn engines(file: &LogFile) -> Book {
    let engines = file.of(Role::Engine).into_iter();
    engines
        .map(|node| (node.id, node.listen.to_string()))
        .collect()
}

/// Connects to a cluster; the engine at this place of the file is asked first.
///
/// # Errors
/// Which engine cannot be reached and why, if that is so of all.
pub fn port<'a>(
    world: &'a World,
    file: &'a LogFile,
    engine: usize,
) -> LocalBoxFuture<'a, Result<Rc<dyn Port>, String>> {
    Box::pin(async move {
        let mut engines: Vec<NodeId> = file.config().engines;
        let first = engine % engines.len().max(1);
        engines.rotate_left(first);
        let port = TcpPort::new(world, file, engines);
        let patience = Duration::from_secs(10);
        let asked = tokio::time::timeout(patience, port.0.line.ask(Request::Status)).await;
        match asked {
            Ok(Ok(_)) => Ok(Rc::new(port) as Rc<dyn Port>),
            Ok(Err(_)) | Err(_) => {
                let lost = port.0.line.lost.borrow().clone();
                let lost = lost.unwrap_or_else(|| "no engine answers".to_owned());
                Err(format!(
                    "cluster `{}` cannot be reached: {lost}; is it running?",
                    file.name
                ))
            }
        }
    })
}

/// Who waits for an answer of a node; nothing comes if the connection is lost.
type Waiter = (NodeId, oneshot::Sender<Option<Reply>>);

struct Line {
    world: World,
    client: Client<Message>,
    /// The engines, the one to ask first in front.
    engines: Vec<NodeId>,
    waiting: RefCell<BTreeMap<u64, Waiter>>,
    ops: Cell<u64>,
    /// Which of the engines is asked first just now.
    favourite: Cell<usize>,
    /// What was last heard of a connection that was lost.
    lost: RefCell<Option<String>>,
    give_up_after: Nanos,
}

/// The connection ends with it.
struct Connection {
    line: Rc<Line>,
    pump: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

struct TcpPort(Rc<Connection>);

impl TcpPort {
    fn new(world: &World, file: &LogFile, engine: Vec<NodeId>) -> TcpPort {
        let limits = Limits {
            message_bytes: crate::node::message_bytes(file),
            ..Limits::default()
        };
        let line = Rc::new(Line {
            world: world.clone(),
            client: Client::new(&file.name, engines(file), limits),
            engines: engine,
            waiting: RefCell::default(),
            ops: Cell::new(0),
            favourite: Cell::new(0),
            lost: RefCell::default(),
            give_up_after: file.config().timing.give_up_after,
        });
        let pumped = Rc::clone(&line);
        let pump = spawn_local(async move { pumped.pump().await }).abort_handle();
        TcpPort(Rc::new(Connection { line, pump }))
    }
}

impl Port for TcpPort {
    fn ask(&self, request: Request) -> LocalBoxFuture<'static, Result<Reply, Failure>> {
        let connection = Rc::clone(&self.0);
        Box::pin(async move { connection.line.ask(request).await })
    }
}

/// What came of asking one engine once.
enum Asked {
    Reply(Reply),
    /// It was not sent.
    NotSent,
    /// It was sent, and nobody knows.
    Silence,
}

impl Line {
    /// Hands replies to who waits for them, for ever.
    async fn pump(&self) {
        loop {
            match self.client.next().await {
                Event::Message(_, Message::Reply { op, reply }) => {
                    let waiter = self.waiting.borrow_mut().remove(&op);
                    if let Some((_, waiter)) = waiter {
                        // Whoever asked may have been dropped meanwhile.
                        let _ = waiter.send(Some(reply));
                    }
                }
                Event::Message(..) => {}
                Event::Lost(node, why) => {
                    self.lost.replace(Some(format!("{node}: {why}")));
                    let mut waiting = self.waiting.borrow_mut();
                    let lost = waiting.extract_if(.., |_, (asked, _)| *asked == node);
                    let lost: Vec<Waiter> = lost.map(|(_, waiter)| waiter).collect();
                    drop(waiting);
                    for (_, waiter) in lost {
                        let _ = waiter.send(None);
                    }
                }
            }
        }
    }

    async fn once(&self, engine: NodeId, request: Request, patience: Nanos) -> Asked {
        let op = self.ops.get();
        self.ops.set(op + 1);
        let (sender, answer) = oneshot::channel();
        self.waiting.borrow_mut().insert(op, (engine, sender));
        if !self.client.send(engine, &Message::Request { op, request }) {
            self.waiting.borrow_mut().remove(&op);
            return Asked::NotSent;
        }
        match self.world.timeout(patience, answer).await {
            Ok(Ok(Some(reply))) => Asked::Reply(reply),
            _ => {
                self.waiting.borrow_mut().remove(&op);
                Asked::Silence
            }
        }
    }

    async fn ask(&self, request: Request) -> Result<Reply, Failure> {
        let append = matches!(request, Request::Append(_));
        let wait = match &request {
            Request::Read(read) => read.wait,
            _ => 0,
        };
        let patience = self.give_up_after.saturating_add(LONGER);
        let until = self
            .world
            .now()
            .saturating_add(patience)
            .saturating_add(wait);
        let mut pauses = PAUSES.iter().copied().chain(std::iter::repeat(PAUSES[4]));
        loop {
            let engine = self.engines[self.favourite.get() % self.engines.len()];
            let left = until.saturating_sub(self.world.now());
            let done_nothing = match self.once(engine, request.clone(), left).await {
                Asked::Reply(Reply::Failed(Failure::Discarded | Failure::Unavailable)) => true,
                Asked::Reply(Reply::Failed(Failure::Unknown)) | Asked::Silence => {
                    self.favourite.set(self.favourite.get() + 1);
                    if append {
                        return Err(Failure::Unknown);
                    }
                    false
                }
                Asked::Reply(Reply::Failed(failure)) => return Err(failure),
                Asked::Reply(reply) => return Ok(reply),
                Asked::NotSent => true,
            };
            if done_nothing {
                self.favourite.set(self.favourite.get() + 1);
            }
            let pause = pauses.next().unwrap_or(PAUSES[4]);
            if self.world.now() + pause >= until {
                return Err(match append {
                    true => Failure::Unavailable,
                    false => Failure::Unknown,
                });
            }
            self.world.sleep(pause).await;
        }
    }
}
