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
mod tests {
    use super::*;
    use crate::{Book, Condition};
    use triptych_world::{Options, SECOND};

    const SURE: Conduct = Conduct {
        append: MS,
        read: 50 * US,
        stale: 0.0,
        forgets: 0.0,
        unknown: 0.0,
        unavailable: 0.0,
    };

    fn with<F: Future<Output = ()> + 'static>(
        seed: u64,
        conduct: Conduct,
        body: impl FnOnce(World, ModelLog) -> F + 'static,
    ) {
        let run = |world: World| {
            let log = ModelLog::new(&world, conduct);
            body(world, log)
        };
        World::simulate(seed, Options::default(), run).expect("no deadlock");
    }

    fn handle(log: &ModelLog) -> Book {
        Book::new(Rc::new(log.clone()), 7)
    }

    async fn texts(book: &Book, tag: Tag) -> Vec<String> {
        let found = book.read_some(tag, SeqNum::ZERO, 100).await.unwrap();
        let text = |found: &Found| String::from_utf8(found.record.data.to_vec()).unwrap();
        found.iter().map(text).collect()
    }

    #[test]
    fn records_are_in_their_streams_in_the_order_of_their_numbers() {
        with(1, SURE, |_, log| async move {
            let book = handle(&log);
            let a = book.append(&[5], b"a").await.unwrap();
            let b = book.append(&[6, 5, 6], b"b").await.unwrap();
            let c = book.append(&[6], b"c").await.unwrap();
            assert!(a < b && b < c);
            assert_eq!(texts(&book, 5).await, ["a", "b"]);
            assert_eq!(texts(&book, 6).await, ["b", "c"]);
            assert_eq!(texts(&book, EVERY).await, ["a", "b", "c"]);
            let at = |found: Option<Found>| found.map(|found| found.seq);
            assert_eq!(at(book.read_next(5, a.next()).await.unwrap()), Some(b));
            assert_eq!(at(book.read_next(5, b.next()).await.unwrap()), None);
            assert_eq!(at(book.read_previous(5, c).await.unwrap()), Some(b));
            assert_eq!(at(book.read_previous(6, a).await.unwrap()), None);
            assert_eq!(at(book.check_tail(6).await.unwrap()), Some(c));
            let other = Book::new(Rc::new(log.clone()), 8);
            assert_eq!(other.check_tail(5).await.unwrap(), None);
            assert!(matches!(
                book.append(&[0], b"x").await,
                Err(Failure::Bad(_))
            ));
            assert!(matches!(book.append(&[5], b"").await, Err(Failure::Bad(_))));
        });
    }

    #[test]
    fn of_many_conditional_appends_on_one_tail_one_is_taken() {
        with(2, SURE, |world, log| async move {
            let append = |n: u8| {
                let book = handle(&log);
                world.spawn("appender", async move {
                    let tail = SeqNum::ZERO;
                    let condition = Condition { tag: 5, tail };
                    book.append_if(&[5], &[n], condition).await.unwrap()
                })
            };
            let all: Vec<_> = (1..9).map(append).collect();
            let mut taken = Vec::new();
            let mut tails = Vec::new();
            for one in all {
                match one.await {
                    Ok(seq) => taken.push(seq),
                    Err(tail) => tails.push(tail),
                }
            }
            assert_eq!((taken.len(), tails.len()), (1, 7));
            assert!(tails.iter().all(|tail| *tail == taken[0]));
            assert_eq!(texts(&handle(&log), 5).await.len(), 1);
        });
    }

    #[test]
    fn what_is_trimmed_is_gone_and_freed_once_no_stream_holds_it() {
        with(3, SURE, |_, log| async move {
            let book = handle(&log);
            let a = book.append(&[5, 6], b"a").await.unwrap();
            let b = book.append(&[5], b"b").await.unwrap();
            let count = || log.0.state.borrow().books[&7].records.len();
            book.trim(vec![(5, b)]).await.unwrap();
            assert_eq!(texts(&book, 5).await, ["b"]);
            assert_eq!(texts(&book, 6).await, ["a"]);
            assert_eq!(count(), 2);
            book.trim(vec![(6, a.next())]).await.unwrap();
            assert_eq!((texts(&book, EVERY).await, count()), (vec!["b".into()], 1));
            // Nobody can tell what was in the stream at such a tail.
            let condition = Condition {
                tag: 5,
                tail: SeqNum::ZERO,
            };
            let refused = book.append_if(&[5], b"c", condition).await.unwrap();
            assert_eq!(refused, Err(b));
            let condition = Condition { tag: 5, tail: b };
            assert!(book.append_if(&[5], b"c", condition).await.unwrap().is_ok());
            book.trim(vec![(EVERY, SeqNum::MAX)]).await.unwrap();
            assert_eq!(count(), 0);
        });
    }

    #[test]
    fn a_handle_sees_what_it_has_seen_and_strangers_may_see_less() {
        let stale = Conduct { stale: 1.0, ..SURE };
        with(4, stale, |_, log| async move {
            let (writer, mut behind) = (handle(&log), 0);
            for n in 1..60 {
                writer.append(&[5], &[n]).await.unwrap();
                let told = handle(&log);
                told.observe(writer.progress());
                for sees in [&writer, &told] {
                    let tail = sees.check_tail(5).await.unwrap().unwrap();
                    assert_eq!(*tail.record.data, [n]);
                }
                let stranger = handle(&log);
                let tail = stranger.check_tail(5).await.unwrap();
                let first = tail.map_or(0, |tail| tail.record.data[0]);
                behind += u32::from(first < n);
                let tail = stranger.check_tail(5).await.unwrap();
                assert!(tail.map_or(0, |tail| tail.record.data[0]) >= first);
            }
            assert!(behind > 20, "{behind}");
        });
    }

    #[test]
    fn a_read_waits_for_a_record_but_not_for_ever() {
        with(5, SURE, |world, log| async move {
            let book = handle(&log);
            let waits = book.read_next_wait(5, SeqNum::ZERO, 3 * SECOND);
            let waits = world.spawn("reader", waits);
            world.sleep(SECOND).await;
            handle(&log).append(&[6], b"other").await.unwrap();
            let seq = handle(&log).append(&[5], b"it").await.unwrap();
            let came = waits.await.unwrap().expect("it came");
            assert_eq!((came.seq, world.now() / SECOND), (seq, 1));
            let none = book.read_next_wait(5, seq.next(), SECOND).await.unwrap();
            assert_eq!((none, world.now() / SECOND), (None, 2));
        });
    }

    #[test]
    fn after_an_unknown_end_the_record_may_be_there_and_may_not() {
        let doubtful = Conduct {
            unknown: 0.5,
            ..SURE
        };
        with(6, doubtful, |_, log| async move {
            let book = handle(&log);
            let mut ends = [0; 3];
            for n in 1..=100 {
                let end = book.append(&[n], b"x").await;
                let there = book.check_tail(n).await.unwrap().is_some();
                match (end, there) {
                    (Ok(_), true) => ends[0] += 1,
                    (Err(Failure::Unknown), true) => ends[1] += 1,
                    (Err(Failure::Unknown), false) => ends[2] += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert!(ends.iter().all(|count| *count > 10), "{ends:?}");
        });
    }

    #[test]
    fn a_request_is_the_logs_once_it_was_polled_and_memos_may_be_forgotten() {
        let forgets = Conduct {
            forgets: 1.0,
            ..SURE
        };
        with(7, forgets, |world, log| async move {
            let book = handle(&log);
            drop(book.append(&[5], b"never polled"));
            drop(world.timeout(1, book.append(&[5], b"polled")).await);
            world.sleep(SECOND).await;
            assert_eq!(texts(&book, 5).await, ["polled"]);
            let tail = book.check_tail(5).await.unwrap().unwrap();
            book.annotate(tail.seq, b"memo").await.unwrap();
            let kept = log.0.state.borrow().books[&7].records[&tail.seq]
                .aux
                .clone();
            assert_eq!(kept.as_deref(), Some(&b"memo"[..]));
            assert_eq!(book.check_tail(5).await.unwrap().unwrap().aux, None);
        });
    }
}
