//! A connection, or the lack of one, to somebody: what waits to be sent, and the socket.

use super::wire::{
    Hello, HelloError, Incoming, LineError, Outgoing, Verdict, read_hello, write_hello,
};
use crate::NodeId;
use futures_util::future::{Either, select};
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

/// A hello, or a connection, that takes longer than this is given up.
const GREETING: Duration = Duration::from_secs(5);
/// A connection over which nothing could be sent for so long, although something waits, is ended.
const STUCK: Duration = Duration::from_secs(10);
/// Who cannot be reached is called again after this, and then after twice as long, up to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not yet, but it is the first attempt: what is to be sent waits.
    First,
    /// It is there.
    Up,
    /// There was one, or the first attempt has failed: what is to be sent is dropped.
    Down,
}

/// See the module documentation.
pub(super) struct Line {
    pub(super) state: Cell<State>,
    pub(super) out: RefCell<Outgoing>,
    stream: RefCell<Option<Rc<OwnedWriteHalf>>>,
    /// Something was added to what is to be sent in this turn.
    pub(super) touched: Cell<bool>,
    /// There is something to send that the system did not take at once.
    wake: Notify,
    /// Whether it is measured how long reading takes.
    pub(super) measure: Cell<bool>,
    /// Bytes that have come and that the node has not been told of.
    pub(super) unread: Cell<usize>,
    /// Something was sent that had to wait, or what has come was taken.
    pub(super) moved: Notify,
    /// The connection is to end.
    cut_off: Notify,
}

impl Line {
    pub(super) fn new() -> Self {
        Line {
            state: Cell::new(State::First),
            out: RefCell::default(),
            stream: RefCell::default(),
            touched: Cell::new(false),
            wake: Notify::new(),
            measure: Cell::new(false),
            unread: Cell::new(0),
            moved: Notify::new(),
            cut_off: Notify::new(),
        }
    }

    /// Sends what the system takes at once; the rest follows.
    pub(super) fn flush(&self) {
        let stream = self.stream.borrow();
        if let Some(stream) = &*stream {
            let mut out = self.out.borrow_mut();
            // A failure is found again by who writes the rest.
            let failed = out.flush(stream).is_err();
            if failed || out.len() > 0 {
                self.wake.notify_one();
            }
        }
    }

    /// Has what waits sent when the other tasks that are ready have run, who may add to it.
    pub(super) fn flush_soon(&self) {
        self.wake.notify_one();
    }

    /// Ends the connection to somebody who takes too little of what is sent.
    pub(super) fn cut_off(&self) {
        self.cut_off.notify_one();
    }

    /// Uses a connection until it ends, and says why. `room` is waited for before
    /// anything is read, and `take` is called when something has come.
    pub(super) async fn connected(
        &self,
        stream: TcpStream,
        limit: usize,
        take: impl FnMut(&mut Incoming) -> Result<(), LineError>,
        room: impl AsyncFn(),
    ) -> LineError {
        let (from, to) = stream.into_split();
        let to = Rc::new(to);
        *self.stream.borrow_mut() = Some(Rc::clone(&to));
        self.state.set(State::Up);
        self.flush();
        let mut incoming = Incoming::new(limit);
        incoming.measure = self.measure.get();
        let reading = pin!(read(from, incoming, take, room));
        let writing = pin!(self.write(&to));
        let moving = select(reading, writing);
        let ended = match select(moving, pin!(self.cut_off.notified())).await {
            Either::Left((Either::Left((error, _)) | Either::Right((error, _)), _)) => error,
            Either::Right(_) => LineError::Full,
        };
        self.state.set(State::Down);
        *self.stream.borrow_mut() = None;
        ended
    }

    async fn write(&self, stream: &OwnedWriteHalf) -> LineError {
        loop {
            self.wake.notified().await;
            while self.out.borrow().len() > 0 {
                let writable = timeout(STUCK, stream.writable()).await;
                let flushed = match writable {
                    Err(_) => return LineError::Stuck,
                    Ok(Err(error)) => return error.into(),
                    Ok(Ok(())) => self.out.borrow_mut().flush(stream),
                };
                match flushed {
                    Ok(0) => {}
                    Ok(_) => self.moved.notify_waiters(),
                    Err(error) => return error.into(),
                }
            }
        }
    }
}

async fn read(
    mut stream: OwnedReadHalf,
    mut incoming: Incoming,
    mut take: impl FnMut(&mut Incoming) -> Result<(), LineError>,
    room: impl AsyncFn(),
) -> LineError {
    loop {
        room().await;
        let read = incoming.fill(&mut stream).await;
        if let Err(error) = read.and_then(|()| take(&mut incoming)) {
            return error;
        }
    }
}

/// Calls somebody: connects, and exchanges hellos.
pub(super) async fn call(address: &str, hello: Hello) -> Result<TcpStream, HelloError> {
    let calling = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        write_hello(&stream, hello).await?;
        let answer = read_hello(&stream).await?;
        let found = answer.from.unwrap_or(answer.to);
        let stranger = hello.from.unwrap_or(hello.to);
        if answer.cluster != hello.cluster || answer.verdict == Verdict::Cluster {
            return Err(HelloError::Cluster);
        }
        if answer.from != Some(hello.to) || answer.verdict == Verdict::Node {
            let expected = hello.to;
            return Err(HelloError::Node { expected, found });
        }
        match answer.verdict {
            Verdict::Welcome => Ok(stream),
            Verdict::Stranger => Err(HelloError::Stranger(stranger)),
            _ => Err(HelloError::Protocol),
        }
    };
    timeout(GREETING, calling)
        .await
        .unwrap_or(Err(HelloError::Late))
}

/// Answers a call: says who this is, and whether the caller is welcome. `welcome` judges a hello.
pub(super) async fn answer(
    stream: &TcpStream,
    this: Hello,
    knows: impl Fn(NodeId) -> bool,
) -> Result<Hello, HelloError> {
    let answering = async {
        stream.set_nodelay(true)?;
        let hello = read_hello(stream).await;
        let (verdict, error) = match &hello {
            Err(HelloError::Version { .. }) => (Verdict::Version, None),
            Err(_) => return hello,
            Ok(hello) if hello.cluster != this.cluster => {
                (Verdict::Cluster, Some(HelloError::Cluster))
            }
            Ok(hello) if Some(hello.to) != this.from => {
                let (expected, found) = (hello.to, this.to);
                (Verdict::Node, Some(HelloError::Node { expected, found }))
            }
            Ok(hello) => match hello.from {
                Some(node) if !knows(node) => (Verdict::Stranger, Some(HelloError::Stranger(node))),
                _ => (Verdict::Welcome, None),
            },
        };
        write_hello(stream, Hello { verdict, ..this }).await?;
        error.map_or(hello, Err)
    };
    timeout(GREETING, answering)
        .await
        .unwrap_or(Err(HelloError::Late))
}

/// What becomes of a line that is kept up.
pub(super) enum Change {
    /// There is a connection.
    Up,
    /// The connection has ended.
    Down(LineError),
    /// There is none.
    Failed(HelloError),
}

/// Keeps a line up: calls, again and again after longer and longer times, and uses the connection.
/// `changed` is told of each attempt that failed and each connection that ended; what waits to be
/// sent then is for it to drop.
pub(super) async fn keep(
    line: Rc<Line>,
    address: String,
    hello: Hello,
    limit: usize,
    mut take: impl FnMut(&mut Incoming) -> Result<(), LineError>,
    room: impl AsyncFn(),
    mut changed: impl FnMut(Change),
) {
    let mut pause = BACK_OFF.0;
    loop {
        match call(&address, hello).await {
            Ok(stream) => {
                changed(Change::Up);
                pause = BACK_OFF.0;
                let ended = line.connected(stream, limit, &mut take, &room).await;
                changed(Change::Down(ended));
            }
            Err(error) => {
                line.state.set(State::Down);
                changed(Change::Failed(error));
            }
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(BACK_OFF.1);
    }
}
