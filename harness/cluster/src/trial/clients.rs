//! Clients of a trial: each does one thing after another, as chance has it.

use super::history::{Appended, History, Operation, What, data_of, id_of, is_whole};
use super::{Plan, stream};
use std::cell::RefCell;
use std::rc::Rc;
use triptych_log::sim::SimCluster;
use triptych_log::{Book, BookId, Condition, EVERY, Failure, Found, SeqNum, Tag};
use triptych_world::{MS, Nanos, Random, US, World};

/// A handle of a client, with what it remembers of the streams that it has read.
struct Handle {
    book: BookId,
    at: Book,
    /// The newest record that it saw of each stream, and places that it knows.
    tails: Vec<SeqNum>,
    places: Vec<SeqNum>,
}

/// What one client does until a point in time.
pub(super) fn work(
    world: &World,
    cluster: &SimCluster,
    plan: &Plan,
    client: u64,
    until: Nanos,
    history: &Rc<RefCell<History>>,
) -> impl Future<Output = ()> + 'static + use<> {
    let (world, cluster, plan) = (world.clone(), cluster.clone(), plan.clone());
    let history = Rc::clone(history);
    async move {
        let mut worker = Worker {
            random: stream(&world, "client", client),
            world,
            cluster,
            plan,
            client,
            done: 0,
            history,
            handles: Vec::new(),
        };
        while worker.world.now() < until {
            worker.step().await;
            let pause = worker.random.below(4 * MS);
            worker.world.sleep(pause).await;
        }
    }
}

struct Worker {
    random: Random,
    world: World,
    cluster: SimCluster,
    plan: Plan,
    client: u64,
    done: u64,
    history: Rc<RefCell<History>>,
    handles: Vec<Handle>,
}

impl Worker {
    fn tag(&mut self) -> Tag {
        1 + self.random.below(self.plan.tags)
    }

    /// A handle, sometimes a new one at another engine that is told what an old one has seen: a
    /// call to a function elsewhere.
    fn handle(&mut self) -> usize {
        if !self.handles.is_empty() && self.random.chance(0.9) {
            return self.random.below(self.handles.len() as u64) as usize;
        }
        let engines = &self.cluster.config().engines;
        let engine = engines[self.random.below(engines.len() as u64) as usize];
        let book = 1 + self.random.below(self.plan.book_count);
        let at = Book::new(self.cluster.port(engine), book);
        let caller = self.handles.iter().rev().find(|handle| handle.book == book);
        let tags = self.plan.tags as usize + 1;
        let (mut tails, mut places) = (vec![SeqNum::ZERO; tags], Vec::new());
        if let Some(caller) = caller {
            at.observe(caller.at.progress());
            (tails, places) = (caller.tails.clone(), caller.places.clone());
        }
        self.handles.push(Handle {
            book,
            at,
            tails,
            places,
        });
        if self.handles.len() > 4 {
            self.handles.remove(0);
        }
        self.handles.len() - 1
    }

    async fn step(&mut self) {
        let at = self.handle();
        let (book, start) = (self.handles[at].book, self.world.now());
        let asked = self.handles[at].at.progress();
        let what = match self.random.below(100) {
            0..45 => self.append(at, None).await,
            45..60 => {
                let tag = self.tag();
                let tail = match self.random.chance(0.8) {
                    true => self.handles[at].tails[tag as usize],
                    false => SeqNum::ZERO,
                };
                self.append(at, Some(Condition { tag, tail })).await
            }
            60..78 => self.forward(at).await,
            78..96 => self.backward(at).await,
            96..98 => self.annotate(at).await,
            _ => self.trim(at).await,
        };
        let seen = self.handles[at].at.progress();
        let (client, end) = (self.client, self.world.now());
        self.history.borrow_mut().operations.push(Operation {
            client,
            book,
            start,
            end,
            asked,
            seen,
            what,
        });
    }

    async fn append(&mut self, at: usize, condition: Option<Condition>) -> What {
        self.done += 1;
        let id = self.client << 32 | self.done;
        let mut tags: Vec<Tag> = (0..self.random.below(3)).map(|_| self.tag()).collect();
        tags.extend(condition.map(|condition| condition.tag));
        tags.sort_unstable();
        tags.dedup();
        let length = self.random.below(200) as usize;
        let (book, data) = (&self.handles[at].at, data_of(id, length));
        let outcome = match condition {
            None => book.append(&tags, &data).await.map(Ok),
            Some(condition) => book.append_if(&tags, &data, condition).await,
        };
        let outcome = match outcome {
            Ok(Ok(seq)) => {
                let handle = &mut self.handles[at];
                handle.places.push(seq);
                for &tag in &tags {
                    handle.tails[tag as usize] = seq.max(handle.tails[tag as usize]);
                }
                Appended::At(seq)
            }
            Ok(Err(tail)) => Appended::Refused(tail),
            Err(Failure::Discarded | Failure::Unavailable) => Appended::Never,
            Err(_) => Appended::Unknown,
        };
        What::Append {
            id,
            tags,
            condition,
            outcome,
        }
    }

    fn place(&mut self, at: usize) -> SeqNum {
        let places = &self.handles[at].places;
        match places.is_empty() || self.random.chance(0.3) {
            true => SeqNum::ZERO,
            false => places[self.random.below(places.len() as u64) as usize],
        }
    }

    /// Which stream a read asks for, perhaps all of them.
    fn stream(&mut self) -> Tag {
        match self.random.chance(0.3) {
            true => EVERY,
            false => self.tag(),
        }
    }

    fn saw(&mut self, at: usize, tag: Tag, found: &[Found]) -> Vec<(SeqNum, u64)> {
        let handle = &mut self.handles[at];
        if let Some(last) = found.last() {
            let tail = &mut handle.tails[tag as usize];
            *tail = last.seq.max(*tail);
            handle.places.push(last.seq);
        }
        let whole =
            |found: &&Found| !is_whole(&found.record.data) && id_of(&found.record.data) != u64::MAX;
        let garbled = found.iter().filter(whole).map(|found| found.seq);
        self.history.borrow_mut().garbled.extend(garbled);
        found
            .iter()
            .map(|found| (found.seq, id_of(&found.record.data)))
            .collect()
    }

    async fn forward(&mut self, at: usize) -> What {
        let (tag, mut bound) = (self.stream(), self.place(at));
        let mut limit = 1;
        let book = &self.handles[at].at;
        let found = match self.random.below(4) {
            0 => {
                // Something that is perhaps not there yet.
                bound = self.handles[at].tails[tag as usize].next();
                let wait = self.random.below(20_000) * US;
                book.read_next_wait(tag, bound, wait)
                    .await
                    .map(Vec::from_iter)
            }
            1 => book.read_next(tag, bound).await.map(Vec::from_iter),
            _ => {
                limit = 1 + self.random.below(20) as u16;
                book.read_some(tag, bound, limit).await
            }
        };
        self.read(at, tag, bound, true, limit, found)
    }

    async fn backward(&mut self, at: usize) -> What {
        let tag = self.stream();
        let (bound, book) = match self.random.chance(0.6) {
            true => (SeqNum::MAX, &self.handles[at].at),
            false => (self.place(at), &self.handles[at].at),
        };
        let found = book.read_previous(tag, bound).await;
        self.read(at, tag, bound, false, 1, found.map(Vec::from_iter))
    }

    fn read(
        &mut self,
        at: usize,
        tag: Tag,
        bound: SeqNum,
        ascending: bool,
        limit: u16,
        found: Result<Vec<Found>, Failure>,
    ) -> What {
        let Ok(found) = found else {
            return What::Nothing;
        };
        let found = self.saw(at, tag, &found);
        What::Read {
            tag,
            bound,
            ascending,
            limit,
            found,
        }
    }

    async fn annotate(&mut self, at: usize) -> What {
        let place = self.place(at);
        if place > SeqNum::ZERO {
            // Whatever becomes of a memo, nothing else may change.
            drop(self.handles[at].at.annotate(place, b"memo").await);
        }
        What::Nothing
    }

    async fn trim(&mut self, at: usize) -> What {
        let mut streams = Vec::new();
        for _ in 0..=self.random.below(2) {
            let tag = match self.random.chance(0.2) {
                true => EVERY,
                false => self.tag(),
            };
            streams.push((tag, self.place(at)));
        }
        streams.sort_unstable();
        streams.dedup_by_key(|(tag, _)| *tag);
        let done = self.handles[at].at.trim(streams.clone()).await.is_ok();
        What::Trim { streams, done }
    }
}
