//! What the log is, in a few hundred lines and without a cluster: [`ModelLog`] answers requests from
//! one ordered list in memory.
//!
//! It is the specification that others are held to: a read of the cluster must be one that this
//! would have answered, at some point that the reader has seen or any later one. And it is a log to
//! build on: it takes virtual time, and it promises no more than the cluster does. A read may answer
//! from an older state than the newest, as long as it is not older than [`Read::progress`]; a memo may
//! be forgotten between two reads; and an append may end in [`Failure::Unknown`], with or without
//! having taken effect. All of that is drawn from the world's seed.
//!
//! Every append and every trim is one entry of the metalog, so [`Progress`] counts those. There is one
//! view, and one physical log for all logbooks.

use crate::{
    BookId, Direction, EVERY, Failure, Found, Port, Progress, Read, Record, Reply, Request, SeqNum,
    Tag, Term,
};
use futures_util::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use triptych_world::{MS, Nanos, Random, US, World, mix_str};

/// How a [`ModelLog`] behaves where the contract leaves it open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conduct {
    /// How long an append or a trim takes, about.
    pub append: Nanos,
    /// How long a read takes, about.
    pub read: Nanos,
    /// How often a read is answered from an older state than the newest, where it may be.
    pub stale: f64,
    /// How often a memo is forgotten when somebody asks for its record.
    pub forgets: f64,
    /// How often nobody knows what became of an append: half of these have taken effect.
    pub unknown: f64,
    /// How often a request is turned away without any effect.
    pub unavailable: f64,
}

impl Default for Conduct {
    /// A log without faults, with the times of the published evaluation, whose reads are often stale.
    fn default() -> Self {
        Conduct {
            append: MS,
            read: 50 * US,
            stale: 0.25,
            forgets: 0.05,
            unknown: 0.0,
            unavailable: 0.0,
        }
    }
}

/// The term of everything here.
const TERM: Term = Term { view: 1, log: 0 };

/// See the module documentation. Clones are the same log.
#[derive(Clone)]
pub struct ModelLog(Rc<Inner>);

struct Inner {
    world: World,
    conduct: Conduct,
    /// Requests so far: each has draws of its own.
    asked: Cell<u64>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    books: BTreeMap<BookId, Logbook>,
    /// Records ordered so far, refused ones too.
    positions: u32,
    /// Entries of the metalog so far.
    entries: u32,
    waiting: Vec<Waker>,
}

#[derive(Default)]
struct Logbook {
    records: BTreeMap<SeqNum, Kept>,
    /// The records of each stream, [`EVERY`] included.
    streams: BTreeMap<Tag, BTreeMap<SeqNum, u32>>,
    /// What lies before these was trimmed.
    bounds: BTreeMap<Tag, SeqNum>,
}

struct Kept {
    record: Arc<Record>,
    aux: Option<Arc<[u8]>>,
}

impl ModelLog {
    /// An empty log.
    pub fn new(world: &World, conduct: Conduct) -> Self {
        ModelLog(Rc::new(Inner {
            world: world.clone(),
            conduct,
            asked: Cell::new(0),
            state: RefCell::default(),
        }))
    }
}

impl Port for ModelLog {
    fn ask(&self, request: Request) -> LocalBoxFuture<'static, Result<Reply, Failure>> {
        let inner = Rc::clone(&self.0);
        Box::pin(async move {
            // From its first poll on, the request does not need whoever asked.
            let world = inner.world.clone();
            world.spawn("log", inner.serve(request)).await
        })
    }
}

impl Inner {
    async fn serve(self: Rc<Self>, request: Request) -> Result<Reply, Failure> {
        let number = self.asked.get();
        self.asked.set(number + 1);
        let mut random = self.world.keyed(mix_str(number, "model-log"));
        let conduct = self.conduct;
        let ordered = matches!(request, Request::Append(_) | Request::Trim { .. });
        let about = if ordered {
            conduct.append
        } else {
            conduct.read
        };
        let way = |random: &mut Random| about / 4 + random.below(about / 2 + 1);
        self.world.sleep(way(&mut random)).await;
        if random.chance(conduct.unavailable) {
            return Err(Failure::Unavailable);
        }
        let unknown = ordered && random.chance(conduct.unknown);
        if unknown && random.chance(0.5) {
            return Err(Failure::Unknown);
        }
        let reply = match request {
            Request::Append(record) => self.state.borrow_mut().append(record)?,
            Request::Trim { book, streams } => self.state.borrow_mut().trim(book, &streams)?,
            Request::Annotate { book, seq, aux } => {
                self.state.borrow_mut().annotate(book, seq, aux);
                Reply::Annotated
            }
            Request::Read(read) => self.read(&read, &mut random).await?,
            Request::Status => self.state.borrow().status(),
        };
        self.world.sleep(way(&mut random)).await;
        match unknown {
            true => Err(Failure::Unknown),
            false => Ok(reply),
        }
    }

    async fn read(&self, read: &Read, random: &mut Random) -> Result<Reply, Failure> {
        check(read)?;
        let newest = self.state.borrow().progress();
        if read.progress > newest {
            // It was seen in another log. A cluster would wait for it until it gives up.
            return Err(Failure::Unknown);
        }
        let mut seen = newest;
        if random.chance(self.conduct.stale) {
            let least = match read.progress.view {
                0 => 0,
                _ => read.progress.entries,
            };
            let spread = random.below(u64::from(newest.entries - least) + 1);
            seen.entries -= spread as u32;
        }
        let found = self.state.borrow().find(read, seen);
        if !found.is_empty() || read.wait == 0 {
            return Ok(self.records(found, seen, read.book, random));
        }
        let arrives = poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            let seen = state.progress();
            let found = state.find(read, seen);
            if !found.is_empty() {
                return Poll::Ready((found, seen));
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        });
        let arrives = self.world.waiting("a record of the log", arrives);
        let (found, seen) = match self.world.timeout(read.wait, arrives).await {
            Ok(arrived) => arrived,
            Err(_) => (Vec::new(), self.state.borrow().progress()),
        };
        Ok(self.records(found, seen, read.book, random))
    }

    fn records(
        &self,
        places: Vec<SeqNum>,
        progress: Progress,
        book: BookId,
        random: &mut Random,
    ) -> Reply {
        let mut state = self.state.borrow_mut();
        let book = state.books.entry(book).or_default();
        let mut records = Vec::with_capacity(places.len());
        for seq in places {
            let Some(kept) = book.records.get_mut(&seq) else {
                continue;
            };
            if kept.aux.is_some() && random.chance(self.conduct.forgets) {
                kept.aux = None;
            }
            let (record, aux) = (Arc::clone(&kept.record), kept.aux.clone());
            records.push(Found { seq, record, aux });
        }
        Reply::Records { records, progress }
    }
}

/// Whether anybody may read like this.
fn check(read: &Read) -> Result<(), Failure> {
    let bad = |why: &str| Err(Failure::Bad(why.to_owned()));
    match read.direction {
        _ if read.tag == Tag::MAX => bad("there is no such stream"),
        _ if read.limit == 0 => bad("a read must ask for a record"),
        Direction::Previous if read.limit > 1 || read.wait > 0 => {
            bad("a descending read takes one record, and does not wait")
        }
        _ => Ok(()),
    }
}

impl State {
    fn progress(&self) -> Progress {
        let (view, entries) = (TERM.view, self.entries);
        Progress { view, entries }
    }

    /// Counts an entry, after which those who wait look again.
    fn enter(&mut self) -> Progress {
        self.entries += 1;
        self.waiting.drain(..).for_each(Waker::wake);
        self.progress()
    }

    fn append(&mut self, record: Arc<Record>) -> Result<Reply, Failure> {
        let usable = |tag: &Tag| *tag != EVERY && *tag != Tag::MAX;
        if !record.tags.iter().all(usable) || !record.tags.is_sorted() || record.data.is_empty() {
            return Err(Failure::Bad("a record with these tags or no data".into()));
        }
        let seq = SeqNum::new(TERM, self.positions);
        self.positions += 1;
        let progress = self.enter();
        let book = self.books.entry(record.book).or_default();
        if let Some(condition) = record.condition {
            let bound = book.bound(condition.tag);
            let tail = book.newest(condition.tag);
            let unknown = bound > SeqNum::ZERO && condition.tail.next() < bound;
            if tail > condition.tail || unknown {
                return Ok(Reply::Refused { tail, progress });
            }
        }
        book.insert(seq, record, progress.entries);
        Ok(Reply::Appended { seq, progress })
    }

    fn trim(&mut self, book: BookId, streams: &[(Tag, SeqNum)]) -> Result<Reply, Failure> {
        if streams.iter().any(|(tag, _)| *tag == Tag::MAX) {
            return Err(Failure::Bad("there is no such stream".to_owned()));
        }
        if streams.is_empty() {
            return Err(Failure::Bad("a trim must name a stream".to_owned()));
        }
        let progress = self.enter();
        let book = self.books.entry(book).or_default();
        streams
            .iter()
            .for_each(|(tag, bound)| book.trim(*tag, *bound));
        Ok(Reply::Trimmed { progress })
    }

    fn annotate(&mut self, book: BookId, seq: SeqNum, aux: Arc<[u8]>) {
        let book = self.books.get_mut(&book);
        if let Some(kept) = book.and_then(|book| book.records.get_mut(&seq)) {
            kept.aux = Some(aux);
        }
    }

    /// Places in a stream, as far as the first entries of the metalog say.
    fn find(&self, read: &Read, seen: Progress) -> Vec<SeqNum> {
        let stream = self.books.get(&read.book);
        let Some(stream) = stream.and_then(|book| book.streams.get(&read.tag)) else {
            return Vec::new();
        };
        let ordered = |(_, entry): &(&SeqNum, &u32)| **entry <= seen.entries;
        match read.direction {
            Direction::Next => {
                let ahead = stream.range(read.bound..).take_while(ordered);
                ahead.map(|(seq, _)| *seq).take(read.limit.into()).collect()
            }
            Direction::Previous => {
                let mut behind = stream.range(..=read.bound).rev();
                let last = behind.find(ordered);
                last.map(|(seq, _)| *seq).into_iter().collect()
            }
        }
    }

    fn status(&self) -> Reply {
        let records = self.books.values().flat_map(|book| book.records.values());
        let (mut count, mut bytes) = (0, 0);
        for kept in records {
            count += 1;
            bytes += kept.record.data.len() as u64;
        }
        Reply::Status {
            view: TERM.view,
            gauges: vec![("records".to_owned(), count), ("bytes".to_owned(), bytes)],
        }
    }
}

impl Logbook {
    fn bound(&self, tag: Tag) -> SeqNum {
        let bound = |tag| self.bounds.get(tag).copied().unwrap_or_default();
        bound(&tag).max(bound(&EVERY))
    }

    fn newest(&self, tag: Tag) -> SeqNum {
        let last = self.streams.get(&tag).and_then(BTreeMap::last_key_value);
        last.map_or(SeqNum::ZERO, |(seq, _)| *seq)
    }

    fn insert(&mut self, seq: SeqNum, record: Arc<Record>, entry: u32) {
        // A bound may lie ahead of what is there.
        let holds = |tag: &&Tag| seq >= self.bound(**tag);
        let tags: Vec<Tag> = record.tags.iter().filter(holds).copied().collect();
        if seq < self.bound(EVERY) || (tags.is_empty() && !record.tags.is_empty()) {
            return;
        }
        for tag in tags.into_iter().chain([EVERY]) {
            self.streams.entry(tag).or_default().insert(seq, entry);
        }
        self.records.insert(seq, Kept { record, aux: None });
    }

    fn trim(&mut self, tag: Tag, bound: SeqNum) {
        let known = self.bounds.entry(tag).or_default();
        *known = bound.max(*known);
        let before = (Bound::Unbounded, Bound::Excluded(bound));
        let stream = self.streams.entry(tag).or_default();
        let gone: Vec<SeqNum> = stream.range(before).map(|(seq, _)| *seq).collect();
        for seq in gone {
            self.leave(tag, seq);
        }
        if self.streams.get(&tag).is_some_and(BTreeMap::is_empty) {
            self.streams.remove(&tag);
        }
    }

    /// Takes a record out of a stream, and away once no stream of its own holds it.
    fn leave(&mut self, tag: Tag, seq: SeqNum) {
        let Some(kept) = self.records.get(&seq) else {
            return;
        };
        let record = Arc::clone(&kept.record);
        let leaves = |own: &Tag| tag == EVERY || tag == *own;
        for own in record.tags.iter().filter(|own| leaves(own)) {
            self.streams.get_mut(own).map(|stream| stream.remove(&seq));
        }
        let holds = |own: &Tag| {
            let stream = self.streams.get(own);
            stream.is_some_and(|stream| stream.contains_key(&seq))
        };
        if tag == EVERY || !record.tags.iter().any(holds) {
            self.streams.get_mut(&EVERY).map(|all| all.remove(&seq));
            self.records.remove(&seq);
        }
    }
}

#[cfg(test)]
mod tests;
