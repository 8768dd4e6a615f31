//! A client of a running ring: a [`Port`] over TCP.
//!
//! It asks one server first, and others when that one is not there or serves nobody: everything may
//! be asked again, anywhere ([`triptych_mesh::line`]). A client that roams has a port for each server.

use crate::file::CacheFile;
use futures_util::future::LocalBoxFuture;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::{AbortHandle, spawn_local};
use triptych_mesh::line::{ServerPort, Waiting};
use triptych_mesh::{Failure, Message, Port, Reply, Request};
use triptych_nodes::NodeId;
use triptych_nodes::tcp::{Book, Client, Event, Limits};
use triptych_world::{Nanos, World};

/// Connects to a ring; the server at this place of the file is asked first.
///
/// # Errors
/// Which server cannot be reached and why, if that is so of all.
pub fn port<'a>(
    world: &'a World,
    file: &'a CacheFile,
    server: usize,
) -> LocalBoxFuture<'a, Result<Rc<dyn Port>, String>> {
    Box::pin(async move {
        let port = TcpPort::new(world, file, server);
        let patience = Duration::from_secs(10);
        match tokio::time::timeout(patience, port.ask(Request::Status)).await {
            Ok(Ok(_)) => Ok(Rc::new(port) as Rc<dyn Port>),
            Ok(Err(_)) | Err(_) => {
                let lost = port.shared.lost.borrow().clone();
                let lost = lost.unwrap_or_else(|| "no server answers".to_owned());
                Err(format!(
                    "cluster `{}` cannot be reached: {lost}; is it running?",
                    file.name
                ))
            }
        }
    })
}

/// What a port and its pump share.
struct Shared {
    client: Client<Message>,
    waiting: Waiting,
    /// Who was asked what is not answered, by the number of the request.
    asked: RefCell<BTreeMap<u64, NodeId>>,
    /// What was last heard of a connection that was lost.
    lost: RefCell<Option<String>>,
}

/// The connections end with it.
struct TcpPort {
    shared: Rc<Shared>,
    port: ServerPort,
    pump: AbortHandle,
}

impl Drop for TcpPort {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl TcpPort {
    fn new(world: &World, file: &CacheFile, server: usize) -> TcpPort {
        let nodes = file.servers();
        let book = nodes.iter().map(|node| (node.id, node.listen.to_string()));
        let book: Book = book.collect();
        let mut servers: Vec<NodeId> = nodes.iter().map(|node| node.id).collect();
        let first = server % servers.len().max(1);
        servers.rotate_left(first);
        let shared = Rc::new(Shared {
            client: Client::new(&file.spoken_name(), book, Limits::default()),
            waiting: Waiting::default(),
            asked: RefCell::default(),
            lost: RefCell::default(),
        });
        let sending = Rc::clone(&shared);
        let waiting = shared.waiting.clone();
        let port = ServerPort::new(world, servers, waiting, move |node, message| {
            sending.send(node, &message);
        });
        let pumping = Rc::clone(&shared);
        let pump = spawn_local(async move { pumping.pump().await }).abort_handle();
        TcpPort { shared, port, pump }
    }
}

impl Port for TcpPort {
    fn ask(&self, request: Request) -> LocalBoxFuture<'static, Result<Reply, Failure>> {
        self.port.ask(request)
    }

    fn ask_again(
        &self,
        first: Nanos,
        request: Request,
    ) -> LocalBoxFuture<'static, Result<Reply, Failure>> {
        self.port.ask_again(first, request)
    }
}

impl Shared {
    fn send(&self, node: NodeId, message: &Message) {
        let Message::Request { op, .. } = message else {
            return;
        };
        if self.client.send(node, message) {
            self.asked.borrow_mut().insert(*op, node);
        } else {
            // It did not leave, so nobody has to wait for it.
            self.fail(*op, Failure::Unavailable);
        }
    }

    fn fail(&self, op: u64, failure: Failure) {
        let reply = Reply::Failed(failure);
        self.waiting.deliver(Message::Reply { op, reply });
    }

    /// Hands replies to who waits for them, for ever.
    async fn pump(&self) {
        loop {
            match self.client.next().await {
                Event::Message(_, message) => {
                    if let Message::Reply { op, .. } = &message {
                        self.asked.borrow_mut().remove(op);
                    }
                    self.waiting.deliver(message);
                }
                Event::Lost(node, why) => {
                    self.lost.replace(Some(format!("{node}: {why}")));
                    let mut asked = self.asked.borrow_mut();
                    let lost = asked.extract_if(.., |_, asked| *asked == node);
                    let lost: Vec<u64> = lost.map(|(op, _)| op).collect();
                    drop(asked);
                    for op in lost {
                        self.fail(op, Failure::Unknown);
                    }
                }
            }
        }
    }
}
