//! The process of a node: its sockets, and the loop that gives it turns.

use super::clock::{Alarm, Clock, Stopwatch};
use super::control::{Alive, Control, Handle, Report};
use super::core::{Arrived, Backing, Core, Counters, Input, Told};
use super::line::{Change, Line, State, answer, keep};
use super::wire::{Hello, HelloError, Incoming, LineError, Verdict, cluster_hash};
use super::{Book, Options, Place, RunError};
use crate::disk::{DiskStore, Identity, StoreError};
use crate::sim::{SimStore, StoreConfig};
use crate::{Message, Node, NodeId, Peer, Stored};
use futures_util::future::select;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local, yield_now};

/// A node that stops waits so long for what is still to be sent.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs a node until it is stopped: [`Server::bind`], then [`Server::run`].
///
/// # Errors
/// [`RunError`].
pub fn run<M: Message>(
    options: Options,
    book: Book,
    factory: impl FnOnce(&dyn Stored) -> Box<dyn Node<Message = M>>,
) -> Result<Report, RunError> {
    Server::bind(options)?.run(book, factory)
}

/// A node's address and store, not running yet.
pub struct Server {
    options: Options,
    listener: StdListener,
    address: SocketAddr,
    store: Option<DiskStore>,
    alive: Alive,
}

impl Server {
    /// Takes the address and opens the store.
    ///
    /// # Errors
    /// [`RunError::Listen`] with the address, or [`RunError::Store`].
    pub fn bind(options: Options) -> Result<Self, RunError> {
        let address = options.listen;
        let listening = StdListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        let (listener, address) = listening.map_err(|error| RunError::Listen { address, error })?;
        let store = match &options.place {
            Place::Memory => None,
            Place::Folder(folder) => {
                let identity = Identity {
                    cluster: options.cluster.clone(),
                    node: options.node,
                };
                Some(DiskStore::open(folder, &identity)?)
            }
        };
        Ok(Server {
            options,
            listener,
            address,
            store,
            alive: Alive(Arc::new(Control::new())),
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reaches the node from elsewhere.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.alive.0))
    }

    /// Makes the node from what its store has, and runs it until it is stopped. Blocks the thread.
    ///
    /// # Errors
    /// [`RunError::Store`] if the store fails: then the node stops, because it cannot keep what it
    /// promises. [`RunError::Loop`] if the system refuses something.
    pub fn run<M: Message>(
        self,
        book: Book,
        factory: impl FnOnce(&dyn Stored) -> Box<dyn Node<Message = M>>,
    ) -> Result<Report, RunError> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().map_err(RunError::Loop)?;
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, self.serve(book, factory))
    }

    async fn serve<M: Message>(
        self,
        book: Book,
        factory: impl FnOnce(&dyn Stored) -> Box<dyn Node<Message = M>>,
    ) -> Result<Report, RunError> {
        let control = Arc::clone(&self.alive.0);
        let clock = Clock::new();
        let mut alarm = Alarm::new().map_err(RunError::Loop)?;
        let listener = TcpListener::from_std(self.listener).map_err(RunError::Loop)?;
        let (node, backing) = begin(self.store, factory, &control)?;
        let shared = Rc::new(Shared::new(self.options, book, Arc::clone(&control)));
        let mut core = Core::new(Rc::clone(&shared), node, backing, clock);
        core.start();
        spawn_local(accept(Rc::clone(&shared), listener));
        while !control.is_stopping() {
            for asked in control.take_asked() {
                // Who has asked may have gone.
                let _ = asked.send(core.report());
            }
            if core.turn()? && !shared.inbox.borrow().is_empty() {
                // So that the other tasks can read and write between turns. If nothing has come
                // meanwhile, waiting does the same.
                yield_now().await;
                continue;
            }
            let woken = control.wake.notified();
            match core.next().map(|at| at.saturating_sub(clock.now())) {
                None => woken.await,
                Some(0) => yield_now().await,
                Some(span) => {
                    let span = Duration::from_nanos(span);
                    select(pin!(woken), pin!(alarm.after(span))).await;
                }
            }
        }
        shared.last_words().await;
        core.close()?;
        Ok(core.report())
    }
}

/// Makes the node, and gives its store away.
fn begin<M: Message>(
    store: Option<DiskStore>,
    factory: impl FnOnce(&dyn Stored) -> Box<dyn Node<Message = M>>,
    control: &Arc<Control>,
) -> Result<(Box<dyn Node<Message = M>>, Backing), StoreError> {
    let Some(store) = store else {
        // Nobody crashes it, so it need not know how to take anything back.
        let config = StoreConfig {
            writeback: 0,
            ..StoreConfig::ideal()
        };
        let store = SimStore::new(config, 0);
        return Ok((factory(&store), Backing::Memory(Box::new(store))));
    };
    let node = factory(&store);
    store.check()?;
    let told = Told::default();
    let (telling, control) = (Arc::clone(&told), Arc::clone(control));
    let writer = store.start(move |done| {
        let mut told = telling.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend(done);
        drop(told);
        control.wake.notify_one();
    });
    Ok((node, Backing::Disk(writer, told)))
}

/// What the node and its connections share.
pub(super) struct Shared<M> {
    pub(super) options: Options,
    book: Book,
    cluster: u64,
    control: Arc<Control>,
    pub(super) counters: RefCell<Counters>,
    inbox: RefCell<VecDeque<Input<M>>>,
    inbox_bytes: Cell<usize>,
    /// There is room in the inbox again.
    taken: Notify,
    clients: RefCell<BTreeMap<u64, Rc<Line>>>,
    next_client: Cell<u64>,
    routes: RefCell<BTreeMap<NodeId, Rc<Line>>>,
    connections: Cell<usize>,
}

impl<M: Message> Shared<M> {
    fn new(options: Options, book: Book, control: Arc<Control>) -> Self {
        Shared {
            cluster: cluster_hash(&options.cluster),
            options,
            book,
            control,
            counters: RefCell::default(),
            inbox: RefCell::default(),
            inbox_bytes: Cell::new(0),
            taken: Notify::new(),
            clients: RefCell::default(),
            next_client: Cell::new(0),
            routes: RefCell::default(),
            connections: Cell::new(0),
        }
    }

    fn hello(&self, to: NodeId) -> Hello {
        Hello {
            cluster: self.cluster,
            from: Some(self.options.node),
            to,
            verdict: Verdict::Welcome,
        }
    }

    /// Something for the node's next turn.
    pub(super) fn put(&self, input: Input<M>) {
        let bytes = size(&input);
        if let Input::Packet(_, _, Some(line)) = &input {
            line.unread.set(line.unread.get() + bytes);
        }
        self.inbox_bytes.set(self.inbox_bytes.get() + bytes);
        self.inbox.borrow_mut().push_back(input);
        self.control.wake.notify_one();
    }

    pub(super) fn take_input(&self) -> Option<Input<M>> {
        let input = self.inbox.borrow_mut().pop_front()?;
        let (limit, before) = (self.options.limits.inbox_bytes, self.inbox_bytes.get());
        let bytes = size(&input);
        self.inbox_bytes.set(before - bytes);
        if let Input::Packet(_, _, Some(line)) = &input {
            line.unread.set(line.unread.get() - bytes);
            line.moved.notify_waiters();
        }
        if before > limit && self.inbox_bytes.get() <= limit {
            self.taken.notify_waiters();
        }
        Some(input)
    }

    /// Waits until more may be read from a line: until what has come is taken, and who does not take
    /// its answers asks no more.
    async fn room(&self, line: &Line) {
        let limit = self.options.limits.client_bytes;
        while line.unread.get() > 0 || line.out.borrow().len() > limit {
            line.moved.notified().await;
        }
        while self.inbox_bytes.get() > self.options.limits.inbox_bytes {
            self.taken.notified().await;
        }
    }

    pub(super) fn client(&self, client: u64) -> Option<Rc<Line>> {
        self.clients.borrow().get(&client).cloned()
    }

    /// The way to a node; none if nobody knows where it is.
    pub(super) fn route(self: &Rc<Self>, node: NodeId) -> Option<Rc<Line>> {
        if let Some(line) = self.routes.borrow().get(&node) {
            return Some(Rc::clone(line));
        }
        let address = self.book.get(&node)?.clone();
        let line = Rc::new(Line::new());
        self.routes.borrow_mut().insert(node, Rc::clone(&line));
        let changed = {
            let (shared, line) = (Rc::clone(self), Rc::clone(&line));
            let mut complained = String::new();
            move |change| shared.changed(node, &line, change, &mut complained)
        };
        spawn_local(keep(
            Rc::clone(&line),
            address,
            self.hello(node),
            self.options.limits.message_bytes,
            |_| Err(LineError::Unasked),
            async || {},
            changed,
        ));
        Some(line)
    }

    /// The way to a node has changed. `complained` is what was said last of it, so that nothing is
    /// said over and over.
    fn changed(&self, node: NodeId, line: &Line, change: Change, complained: &mut String) {
        let mut counters = self.counters.borrow_mut();
        let complaint = match change {
            Change::Up => {
                counters.metrics.connects += 1;
                complained.clear();
                return;
            }
            Change::Down(error) => {
                counters.metrics.disconnects += 1;
                counters.metrics.refused += u64::from(error.is_offence());
                format!("the connection to {node} has ended: {error}")
            }
            Change::Failed(error) => {
                counters.metrics.refused += u64::from(!matches!(error, HelloError::Io(_)));
                let address = &self.book[&node];
                format!("{node} cannot be reached at {address}: {error}")
            }
        };
        for kind in line.out.borrow_mut().clear() {
            counters.kind(kind).dropped += 1;
        }
        if *complained != complaint {
            complained.clone_from(&complaint);
            counters.notice(complaint);
        }
    }

    /// Gives the node what has come on a connection.
    fn receive(
        &self,
        from: Peer,
        line: &Rc<Line>,
        incoming: &mut Incoming,
    ) -> Result<(), LineError> {
        let measure = self.options.measure;
        let mut messages = Vec::new();
        let ended = loop {
            let begun = measure.then(Stopwatch::start);
            match incoming.next::<M>() {
                Ok(Some((message, bytes))) => messages.push(Arrived {
                    message,
                    bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                    decoding: begun
                        .map_or(0, Stopwatch::nanos)
                        .try_into()
                        .unwrap_or(u32::MAX),
                }),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let mut counters = self.counters.borrow_mut();
        counters.metrics.packets_in += 1;
        if measure {
            let (bytes, took) = incoming.last;
            counters.sample("(packet in)", 1, bytes as u64, took);
        }
        drop(counters);
        if !messages.is_empty() {
            self.put(Input::Packet(from, messages, Some(Rc::clone(line))));
        }
        ended
    }

    /// Waits a little for what is still to be sent.
    async fn last_words(&self) {
        let lines: Vec<Rc<Line>> = {
            let (routes, clients) = (self.routes.borrow(), self.clients.borrow());
            routes.values().chain(clients.values()).cloned().collect()
        };
        let waits = |line: &Rc<Line>| line.state.get() == State::Up && line.out.borrow().len() > 0;
        let begun = Instant::now();
        while lines.iter().any(waits) && begun.elapsed() < LAST_WORDS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn size<M>(input: &Input<M>) -> usize {
    match input {
        Input::Packet(_, messages, _) => {
            messages.iter().map(|arrived| arrived.bytes as usize).sum()
        }
        Input::Gone(_) => 0,
    }
}

async fn accept<M: Message>(shared: Rc<Shared<M>>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, address))
                if shared.connections.get() < shared.options.limits.connections =>
            {
                shared.connections.set(shared.connections.get() + 1);
                spawn_local(answer_call(Rc::clone(&shared), stream, address));
            }
            Ok(_) => shared.counters.borrow_mut().metrics.refused += 1,
            Err(error) => {
                let notice = format!("a connection cannot be taken: {error}");
                shared.counters.borrow_mut().notice(notice);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Uses a connection that somebody has made to this node, until it ends.
async fn answer_call<M: Message>(shared: Rc<Shared<M>>, stream: TcpStream, address: SocketAddr) {
    let this = shared.hello(shared.options.node);
    let knows = |node| shared.book.contains_key(&node);
    let ended = match answer(&stream, this, knows).await {
        Ok(hello) => {
            shared.counters.borrow_mut().metrics.connects += 1;
            let ended = match hello.from {
                Some(node) => listen(&shared, stream, node).await,
                None => attend(&shared, stream).await,
            };
            shared.counters.borrow_mut().metrics.disconnects += 1;
            let who = hello
                .from
                .map_or("a client".to_owned(), |node| node.to_string());
            let said = format!("the connection of {who} at {address} was ended: {ended}");
            ended.is_offence().then_some(said)
        }
        Err(error) => Some(format!(
            "the connection from {address} was refused: {error}"
        )),
    };
    shared.connections.set(shared.connections.get() - 1);
    if let Some(notice) = ended {
        let mut counters = shared.counters.borrow_mut();
        counters.metrics.refused += 1;
        counters.notice(notice);
    }
}

/// Takes what another node sends.
async fn listen<M: Message>(shared: &Rc<Shared<M>>, stream: TcpStream, node: NodeId) -> LineError {
    let line = Rc::new(Line::new());
    line.measure.set(shared.options.measure);
    converse(shared, stream, Peer::Node(node), &line).await
}

/// Takes what a client sends, and sends it what the node has for it.
async fn attend<M: Message>(shared: &Rc<Shared<M>>, stream: TcpStream) -> LineError {
    let number = shared.next_client.get();
    shared.next_client.set(number + 1);
    let line = Rc::new(Line::new());
    line.measure.set(shared.options.measure);
    shared.clients.borrow_mut().insert(number, Rc::clone(&line));
    let ended = converse(shared, stream, Peer::Client(number), &line).await;
    shared.clients.borrow_mut().remove(&number);
    for kind in line.out.borrow_mut().clear() {
        shared.counters.borrow_mut().kind(kind).dropped += 1;
    }
    shared.put(Input::Gone(number));
    ended
}

async fn converse<M: Message>(
    shared: &Rc<Shared<M>>,
    stream: TcpStream,
    peer: Peer,
    line: &Rc<Line>,
) -> LineError {
    let limit = shared.options.limits.message_bytes;
    let take = |incoming: &mut Incoming| shared.receive(peer, line, incoming);
    line.connected(stream, limit, take, async || shared.room(line).await)
        .await
}
