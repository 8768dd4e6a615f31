//! How a function uses the log: a [`Book`] is a handle on one logbook that remembers what was seen
//! through it.
//!
//! Everything that was seen through a handle, or was told to it with [`Book::observe`], is seen by
//! every later read through it: read-your-writes, monotonic reads, and the same along a chain of
//! calls that hands [`Book::progress`] along, there and back (specification §2.5, pitfall 17).

use crate::{
    BookId, Condition, Direction, Failure, Found, Progress, Read, Record, Reply, Request, SeqNum,
    Tag,
};
use futures_util::future::LocalBoxFuture;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// Where requests to the log go: a simulated cluster, one over TCP, or the model that says what a log
/// is. A request is the log's as soon as the future is first polled: to drop the future does not undo
/// it. The port asks again, elsewhere, where that is safe.
pub trait Port {
    /// What comes of a request.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::Unknown`] says that nobody knows.
    fn ask(&self, request: Request) -> LocalBoxFuture<'static, Result<Reply, Failure>>;
}

/// A handle on a logbook. Clones share what they have seen.
#[derive(Clone)]
pub struct Book {
    port: Rc<dyn Port>,
    book: BookId,
    progress: Rc<Cell<Progress>>,
}

type Answer<T> = LocalBoxFuture<'static, Result<T, Failure>>;

impl Book {
    /// A handle that has seen nothing.
    pub fn new(port: Rc<dyn Port>, book: BookId) -> Self {
        Book {
            port,
            book,
            progress: Rc::default(),
        }
    }

    /// Which logbook it is.
    pub fn id(&self) -> BookId {
        self.book
    }

    /// What was seen through this handle, to be handed along with a call or a reply.
    pub fn progress(&self) -> Progress {
        self.progress.get()
    }

    /// Takes over what somebody else has seen of the same logbook.
    pub fn observe(&self, progress: Progress) {
        self.progress.set(self.progress.get().max(progress));
    }

    fn ask(&self, request: Request) -> impl Future<Output = Result<Reply, Failure>> + use<> {
        let (asked, seen) = (self.port.ask(request), Rc::clone(&self.progress));
        async move {
            let reply = asked.await?;
            let progress = match &reply {
                Reply::Appended { progress, .. }
                | Reply::Refused { progress, .. }
                | Reply::Records { progress, .. }
                | Reply::Trimmed { progress } => *progress,
                Reply::Annotated | Reply::Status { .. } => Progress::default(),
                Reply::Failed(failure) => return Err(failure.clone()),
            };
            seen.set(seen.get().max(progress));
            Ok(reply)
        }
    }

    fn record(&self, tags: &[Tag], data: &[u8], condition: Option<Condition>) -> Request {
        let mut tags = tags.to_vec();
        tags.sort_unstable();
        tags.dedup();
        Request::Append(Arc::new(Record {
            book: self.book,
            tags,
            data: data.into(),
            condition,
        }))
    }

    /// Appends a record to streams, and says where it is.
    ///
    /// # Errors
    /// [`Failure`]; after [`Failure::Unknown`] the record may be there.
    pub fn append(&self, tags: &[Tag], data: &[u8]) -> Answer<SeqNum> {
        let asked = self.ask(self.record(tags, data, None));
        Box::pin(async move {
            match asked.await? {
                Reply::Appended { seq, .. } => Ok(seq),
                other => Err(unexpected(&other)),
            }
        })
    }

    /// Appends a record if a condition holds when it is ordered. If it does not hold, says what the
    /// newest record of the condition's stream is.
    ///
    /// # Errors
    /// [`Failure`]; after [`Failure::Unknown`] the record may be there.
    pub fn append_if(
        &self,
        tags: &[Tag],
        data: &[u8],
        condition: Condition,
    ) -> Answer<Result<SeqNum, SeqNum>> {
        let asked = self.ask(self.record(tags, data, Some(condition)));
        Box::pin(async move {
            match asked.await? {
                Reply::Appended { seq, .. } => Ok(Ok(seq)),
                Reply::Refused { tail, .. } => Ok(Err(tail)),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn read(
        &self,
        tag: Tag,
        bound: SeqNum,
        direction: Direction,
        limit: u16,
        wait: u64,
    ) -> Answer<Vec<Found>> {
        let asked = self.ask(Request::Read(Read {
            book: self.book,
            tag,
            bound,
            direction,
            limit,
            wait,
            progress: self.progress.get(),
        }));
        Box::pin(async move {
            match asked.await? {
                Reply::Records { records, .. } => Ok(records),
                other => Err(unexpected(&other)),
            }
        })
    }

    /// The first record of a stream at or after a place.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn read_next(&self, tag: Tag, from: SeqNum) -> Answer<Option<Found>> {
        let read = self.read(tag, from, Direction::Next, 1, 0);
        Box::pin(async move { Ok(read.await?.pop()) })
    }

    /// The first records of a stream at or after a place, `limit` at most.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn read_some(&self, tag: Tag, from: SeqNum, limit: u16) -> Answer<Vec<Found>> {
        self.read(tag, from, Direction::Next, limit, 0)
    }

    /// The first record of a stream at or after a place; waits so many nanoseconds for one.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn read_next_wait(&self, tag: Tag, from: SeqNum, wait: u64) -> Answer<Option<Found>> {
        let read = self.read(tag, from, Direction::Next, 1, wait);
        Box::pin(async move { Ok(read.await?.pop()) })
    }

    /// The last record of a stream at or before a place.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn read_previous(&self, tag: Tag, upto: SeqNum) -> Answer<Option<Found>> {
        let read = self.read(tag, upto, Direction::Previous, 1, 0);
        Box::pin(async move { Ok(read.await?.pop()) })
    }

    /// The last record of a stream, of all that this handle must see; others may have appended more.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn check_tail(&self, tag: Tag) -> Answer<Option<Found>> {
        self.read_previous(tag, SeqNum::MAX)
    }

    /// Leaves a memo with a record; see [`Request::Annotate`].
    ///
    /// # Errors
    /// [`Failure`].
    pub fn annotate(&self, seq: SeqNum, aux: &[u8]) -> Answer<()> {
        let (book, aux) = (self.book, aux.into());
        let asked = self.ask(Request::Annotate { book, seq, aux });
        Box::pin(async move { asked.await.map(drop) })
    }

    /// Makes what lies before each stream's bound unreadable, and has it freed.
    ///
    /// # Errors
    /// [`Failure`]; after [`Failure::Unknown`] it may be done, and may be asked for again.
    pub fn trim(&self, streams: Vec<(Tag, SeqNum)>) -> Answer<()> {
        let book = self.book;
        let asked = self.ask(Request::Trim { book, streams });
        Box::pin(async move { asked.await.map(drop) })
    }
}

fn unexpected(reply: &Reply) -> Failure {
    Failure::Bad(format!("the log answered with {reply:?}"))
}
