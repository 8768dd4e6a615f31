//! Reads: where, by an index that has come as far as the reader has seen; then what, from the cache
//! or from holders.
//!
//! A read of a client goes to this engine's own index, if that is ready, else to another engine's. A
//! read of another engine is answered with places, and with the records that happen to be cached
//! here. Nothing waits for ever: whom one has asked in vain is given up for the next, a read that
//! waits for a record is answered with nothing when its time is over, and in the end there is
//! [`Failure::Unknown`].
//!
//! *Records that were trimmed between.* If a holder says that a record was freed, then it was trimmed
//! since the index was asked, and is left out. If nothing is left, or more was asked for, the read
//! goes on behind it.
//!
//! *Answers that come late.* A read has a number, under which it asks others, and a new one when it
//! goes on and asks something else. Numbers of different lives differ too. So an answer to anything
//! but the present question finds no read.

use super::Bug;
use super::cache::Cache;
use super::gather::{Gather, Spot, look_up};
use super::indexing::Indexing;
use super::turn::{Turn, Waiter, nth};
use crate::{
    Direction, Failure, Found, LogId, Message, Missing, NotHere, Progress, Read, Reply, SeqNum,
    Tag, View,
};
use std::collections::{BTreeMap, BTreeSet};
use triptych_nodes::{Nanos, NodeId, Peer};

/// The timer of reads that wait for a record.
pub(super) const WAKE: u64 = 2;

/// What a read needs besides itself.
pub(super) struct Sources<'a> {
    pub(super) indexes: &'a mut BTreeMap<LogId, Indexing>,
    pub(super) cache: &'a mut Cache,
}

/// Reads that are not answered.
#[derive(Debug)]
pub(super) struct Reads {
    readings: BTreeMap<u64, Reading>,
    /// The last number given to a read; 0 is none.
    last: u64,
    /// Ends of the time that reads wait, with their numbers.
    ends: BTreeSet<(Nanos, u64)>,
    answered: u64,
}

/// Who has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Client(Waiter),
    Engine { node: NodeId, op: u64 },
}

#[derive(Debug)]
struct Reading {
    /// Its number, as long as it asks for the same.
    id: u64,
    asker: Asker,
    /// What is still wanted.
    read: Read,
    since: Nanos,
    /// Until when to wait for a record.
    until: Nanos,
    /// What was found before the read went on behind freed records.
    got: Vec<Found>,
    /// Of a descending read that goes on behind a freed record: where the index was at first. What was
    /// ordered since then is not looked at, so the answer must not claim it.
    looked: Option<Progress>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// For somebody who can be asked: a view, or an index that is ready.
    Waiting,
    /// For this engine's index, which knows that it does: to come further, or to a record.
    Parked,
    /// For another engine's index.
    Asking {
        /// When to give it up.
        until: Nanos,
        /// How many were asked, and how many of them in a row were not the right ones.
        attempt: usize,
        refused: usize,
    },
    /// For records.
    Gathering(Gather),
}

/// Why a read makes no sense.
///
/// # Errors
/// [`Failure::Bad`].
pub(super) fn check(read: &Read) -> Result<(), Failure> {
    let ascending = read.direction == Direction::Next;
    let bad = |why: &str| Err(Failure::Bad(why.to_owned()));
    match read {
        Read { limit: 0, .. } => bad("a read must ask for a record"),
        Read { tag: Tag::MAX, .. } => bad("the highest tag is no stream"),
        _ if !ascending && read.limit > 1 => bad("only ascending reads may ask for several"),
        _ if !ascending && read.wait > 0 => bad("only ascending reads may wait"),
        _ => Ok(()),
    }
}

/// The number before the first that is given to a question in a life: others than in any life before.
pub(super) fn first_number(life: u32) -> u64 {
    u64::from(life) << 40
}

impl Read {
    /// Whether these places can be what an index finds.
    fn may_find(&self, spots: &[Spot]) -> bool {
        let ascending = spots.is_sorted_by(|a, b| a.0 < b.0);
        let (first, last) = (spots.first(), spots.last());
        let inside = match self.direction {
            Direction::Next => first.is_none_or(|spot| spot.0 >= self.bound),
            Direction::Previous => last.is_none_or(|spot| spot.0 <= self.bound),
        };
        spots.len() <= usize::from(self.limit) && ascending && inside
    }
}

impl Reads {
    /// None, in a life of the engine.
    pub(super) fn new(life: u32) -> Self {
        Reads {
            readings: BTreeMap::new(),
            last: first_number(life),
            ends: BTreeSet::new(),
            answered: 0,
        }
    }

    /// Reads that are not answered, and how many were.
    pub(super) fn gauges(&self) -> (u64, u64) {
        (self.readings.len() as u64, self.answered)
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.readings.is_empty()
    }

    /// A client reads; the read was checked.
    pub(super) fn read(
        &mut self,
        turn: &mut Turn<'_>,
        of: &mut Sources<'_>,
        from: Waiter,
        read: Read,
    ) {
        self.begin(turn, of, Asker::Client(from), read);
    }

    /// Another engine asks the index of this one.
    pub(super) fn query(
        &mut self,
        turn: &mut Turn<'_>,
        of: &mut Sources<'_>,
        node: NodeId,
        op: u64,
        read: Read,
    ) {
        let log = View::log_of(turn.members.config().shape, read.book);
        let own = of.indexes.get(&log);
        if check(&read).is_ok() && own.is_some_and(|own| own.is_ready(turn)) {
            self.begin(turn, of, Asker::Engine { node, op }, read);
        } else {
            let (found, progress) = (Err(NotHere), Progress::default());
            let answer = Message::Answer {
                op,
                found,
                progress,
            };
            turn.send(node, answer);
        }
    }

    fn begin(&mut self, turn: &mut Turn<'_>, of: &mut Sources<'_>, asker: Asker, read: Read) {
        self.last += 1;
        let reading = Reading {
            id: self.last,
            asker,
            read,
            since: turn.now,
            until: turn.now.saturating_add(read.wait),
            got: Vec::new(),
            looked: None,
            stage: Stage::Waiting,
        };
        if let Some(reading) = reading.evaluate(turn, of, &mut self.last) {
            if read.wait > 0 {
                self.ends.insert((reading.until, reading.id));
                turn.out.timer(read.wait, WAKE);
            }
            self.readings.insert(reading.id, reading);
        } else {
            self.answered += 1;
        }
    }

    /// Takes a read that something has come for, and puts it back if it is not answered by it,
    /// perhaps under a new number, which follows the one that the step is given.
    fn step(&mut self, id: u64, step: impl FnOnce(Reading, &mut u64) -> Option<Reading>) {
        let Some(reading) = self.readings.remove(&id) else {
            return;
        };
        let ends = self.ends.remove(&(reading.until, id));
        match step(reading, &mut self.last) {
            Some(reading) => {
                if ends {
                    self.ends.insert((reading.until, reading.id));
                }
                self.readings.insert(reading.id, reading);
            }
            None => self.answered += 1,
        }
    }

    /// An index has come to what these reads wait for.
    pub(super) fn wake(&mut self, turn: &mut Turn<'_>, of: &mut Sources<'_>, ids: Vec<u64>) {
        for id in ids {
            self.step(id, |mut reading, last| match reading.stage {
                Stage::Parked => {
                    reading.leave(turn, of);
                    reading.evaluate(turn, of, last)
                }
                _ => Some(reading),
            });
        }
    }

    /// There is a new view: who answers may be somebody else.
    pub(super) fn view_changed(&mut self, turn: &mut Turn<'_>, of: &mut Sources<'_>) {
        let ids: Vec<u64> = self.readings.keys().copied().collect();
        for id in ids {
            self.step(id, |mut reading, last| {
                match (&reading.stage, reading.asker) {
                    (Stage::Gathering(_), _) => Some(reading),
                    (_, Asker::Engine { node, op }) if !reading.is_local(turn, of) => {
                        let (found, progress) = (Err(NotHere), Progress::default());
                        let answer = Message::Answer {
                            op,
                            found,
                            progress,
                        };
                        turn.send(node, answer);
                        None
                    }
                    _ => {
                        reading.leave(turn, of);
                        reading.stage = Stage::Waiting;
                        reading.evaluate(turn, of, last)
                    }
                }
            });
        }
    }

    /// An index engine has answered.
    pub(super) fn answer(
        &mut self,
        turn: &mut Turn<'_>,
        of: &mut Sources<'_>,
        id: u64,
        found: Result<Vec<(SeqNum, NodeId, Option<Found>)>, NotHere>,
        progress: Progress,
    ) {
        self.step(id, |mut reading, last| {
            let Stage::Asking {
                attempt, refused, ..
            } = reading.stage
            else {
                return Some(reading);
            };
            match found {
                Err(NotHere) => {
                    let refused = refused + 1;
                    let log = View::log_of(turn.members.config().shape, reading.read.book);
                    if refused < turn.other_indexes(log).len() {
                        reading.ask(turn, attempt, refused);
                    } else {
                        // None of them is ready: a little later.
                        reading.stage = Stage::Waiting;
                    }
                    Some(reading)
                }
                // Nobody who was asked this answers so.
                Ok(spots) if !reading.read.may_find(&spots) => Some(reading),
                Ok(spots) => {
                    let too_old = progress < reading.read.progress;
                    if too_old && turn.bug != Some(Bug::ReadAhead) {
                        return Some(reading);
                    }
                    if spots.is_empty() && reading.got.is_empty() && turn.now < reading.until {
                        reading.ask(turn, attempt.max(1) - 1, 0);
                        return Some(reading);
                    }
                    for (_, engine, found) in &spots {
                        if let Some(found) = found {
                            of.cache.put(turn.now, *engine, found.clone());
                        }
                    }
                    reading.gather(turn, of, last, spots, progress)
                }
            }
        });
    }

    /// A holder has answered.
    pub(super) fn read_done(
        &mut self,
        turn: &mut Turn<'_>,
        of: &mut Sources<'_>,
        from: NodeId,
        id: u64,
        seq: SeqNum,
        found: Result<Found, Missing>,
    ) {
        self.step(id, |mut reading, last| {
            let Stage::Gathering(gather) = &mut reading.stage else {
                return Some(reading);
            };
            gather.done(turn, of.cache, id, from, seq, found);
            reading.finish(turn, of, last)
        });
    }

    /// Some reads may have waited long enough for a record.
    pub(super) fn ring(&mut self, turn: &mut Turn<'_>, of: &mut Sources<'_>) {
        while let Some(&(until, id)) = self.ends.first()
            && until <= turn.now
        {
            self.ends.remove(&(until, id));
            self.step(id, |mut reading, last| match reading.stage {
                Stage::Waiting | Stage::Parked => {
                    reading.leave(turn, of);
                    reading.evaluate(turn, of, last)
                }
                _ => Some(reading),
            });
        }
    }

    /// Whom one has asked in vain is given up for the next, and what takes too long altogether.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>, of: &mut Sources<'_>) {
        let ids: Vec<u64> = self.readings.keys().copied().collect();
        for id in ids {
            self.step(id, |mut reading, last| {
                if let Some(failure) = reading.is_hopeless(turn) {
                    reading.leave(turn, of);
                    if let Asker::Client(waiter) = reading.asker {
                        turn.fail(waiter, failure);
                    }
                    return None;
                }
                let is_local = reading.is_local(turn, of);
                match &mut reading.stage {
                    Stage::Gathering(gather) => {
                        gather.tick(turn, id);
                        Some(reading)
                    }
                    // Its own index is ready now.
                    Stage::Asking { .. } if is_local => reading.evaluate(turn, of, last),
                    &mut Stage::Asking { until, attempt, .. } => {
                        if turn.now >= until {
                            reading.ask(turn, attempt, 0);
                        }
                        Some(reading)
                    }
                    Stage::Parked => Some(reading),
                    Stage::Waiting => reading.evaluate(turn, of, last),
                }
            });
        }
    }

    /// A client is gone.
    pub(super) fn gone(&mut self, peer: Peer, indexes: &mut BTreeMap<LogId, Indexing>) {
        let of_peer = |asker| matches!(asker, Asker::Client(waiter) if waiter.peer == peer);
        let gone = self.readings.extract_if(.., |_, one| of_peer(one.asker));
        for (id, reading) in gone {
            self.ends.remove(&(reading.until, id));
            let Read { book, tag, .. } = reading.read;
            for indexing in indexes.values_mut() {
                indexing.forget(reading.read.progress, (book, tag), id);
            }
        }
    }
}

impl Reading {
    fn log(&self, turn: &Turn<'_>) -> LogId {
        View::log_of(turn.members.config().shape, self.read.book)
    }

    /// Whether this engine's own index answers it.
    fn is_local(&self, turn: &Turn<'_>, of: &Sources<'_>) -> bool {
        let own = of.indexes.get(&self.log(turn));
        own.is_some_and(|own| own.is_ready(turn))
    }

    /// Waits in no index any more.
    fn leave(&mut self, turn: &Turn<'_>, of: &mut Sources<'_>) {
        if let Some(own) = of.indexes.get_mut(&self.log(turn)) {
            own.forget(self.read.progress, (self.read.book, self.read.tag), self.id);
        }
    }

    /// Why it must not wait any longer, if so. Other engines have asked somebody else by then.
    fn is_hopeless(&self, turn: &Turn<'_>) -> Option<Failure> {
        let Turn { members, .. } = turn;
        let waited = self.until.max(self.since);
        match self.asker {
            Asker::Client(_) if members.current().is_none() => {
                let over = turn.is_over(waited, turn.timing().dead_after);
                over.then_some(Failure::Unavailable)
            }
            Asker::Client(_) => {
                let over = turn.is_over(waited, turn.timing().give_up_after);
                let lost = match &self.stage {
                    Stage::Gathering(gather) => gather.lost(),
                    _ => None,
                };
                over.then(|| lost.map_or(Failure::Unknown, Failure::Lost))
            }
            Asker::Engine { .. } => {
                let over = turn.is_over(waited, turn.again_after().saturating_mul(2));
                over.then_some(Failure::Unknown)
            }
        }
    }

    /// Asks an index, this engine's own or another. Gives itself back if it is not answered.
    fn evaluate(
        mut self,
        turn: &mut Turn<'_>,
        of: &mut Sources<'_>,
        last: &mut u64,
    ) -> Option<Self> {
        self.stage = Stage::Waiting;
        if self.read.progress.view > turn.members.newest() && turn.bug != Some(Bug::ReadAhead) {
            // Whoever told the reader of it knows a newer view.
            turn.ask_for_views();
            return Some(self);
        }
        let log = self.log(turn);
        let own = of.indexes.get_mut(&log);
        let Some(own) = own.filter(|own| own.is_ready(turn)) else {
            if matches!(self.asker, Asker::Client(_)) {
                self.ask(turn, self.id as usize, 0);
            }
            return Some(self);
        };
        let progress = own.index.progress();
        if progress < self.read.progress && turn.bug != Some(Bug::ReadAhead) {
            own.park(self.read.progress, self.id);
            self.stage = Stage::Parked;
            return Some(self);
        }
        let places = own.index.find(&self.read);
        if places.is_empty() && self.got.is_empty() && turn.now < self.until {
            own.watch((self.read.book, self.read.tag), self.id);
            self.stage = Stage::Parked;
            return Some(self);
        }
        let spots = look_up(turn, of.cache, places);
        self.gather(turn, of, last, spots, progress)
    }

    /// Asks another engine's index: the next one if `attempt` is not the last one's.
    fn ask(&mut self, turn: &mut Turn<'_>, attempt: usize, refused: usize) {
        let others = turn.other_indexes(self.log(turn));
        let Some(index) = nth(&others, attempt) else {
            self.stage = Stage::Waiting;
            return;
        };
        let mut read = self.read;
        // It waits there for a while, so that it need not be asked all the time.
        let longest = turn.timing().dead_after;
        read.wait = self.until.saturating_sub(turn.now).min(longest);
        if !self.got.is_empty() {
            read.wait = 0;
        }
        let op = self.id;
        turn.send(index, Message::Query { op, read });
        let patience = turn.again_after().saturating_mul(2);
        self.stage = Stage::Asking {
            until: turn.now.saturating_add(read.wait).saturating_add(patience),
            attempt: attempt.wrapping_add(1),
            refused,
        };
    }

    fn gather(
        mut self,
        turn: &mut Turn<'_>,
        of: &mut Sources<'_>,
        last: &mut u64,
        spots: Vec<(SeqNum, NodeId, Option<Found>)>,
        progress: Progress,
    ) -> Option<Self> {
        if let Asker::Engine { node, op } = self.asker {
            let found = Ok(spots);
            let answer = Message::Answer {
                op,
                found,
                progress,
            };
            turn.send(node, answer);
            return None;
        }
        self.stage = Stage::Gathering(Gather::new(turn, self.id, spots, progress));
        self.finish(turn, of, last)
    }

    /// Answers if all records are there, or goes on behind those that were freed.
    fn finish(mut self, turn: &mut Turn<'_>, of: &mut Sources<'_>, last: &mut u64) -> Option<Self> {
        let gather = match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Gathering(gather) if gather.is_done() => gather,
            stage => {
                self.stage = stage;
                return Some(self);
            }
        };
        let (progress, (places, newest)) = (gather.progress, gather.places());
        let before = self.got.len();
        self.got.extend(gather.into_records());
        let records = self.got.len() - before;
        let full = places == usize::from(self.read.limit);
        if let Some(at) = newest
            && records < places
            && (full || self.got.is_empty())
            && let Some(bound) = match self.read.direction {
                Direction::Next => at.0.checked_add(1),
                Direction::Previous => at.0.checked_sub(1),
            }
        {
            *last += 1;
            self.id = *last;
            self.read.bound = SeqNum(bound);
            self.read.limit -= records as u16;
            self.read.progress = self.read.progress.max(progress);
            if self.read.direction == Direction::Previous {
                self.looked = self.looked.or(Some(progress));
            }
            return self.evaluate(turn, of, last);
        }
        if let Asker::Client(waiter) = self.asker {
            let records = self.got;
            let progress = self.looked.unwrap_or(progress);
            turn.reply(waiter, Reply::Records { records, progress });
        }
        None
    }
}
