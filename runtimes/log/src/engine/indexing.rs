//! What keeps an [`Index`] fed: it asks for what is missing, again and again and somebody else each
//! time, and tells who waits how far it has come.
//!
//! An engine that becomes an index of a log builds the index of all views, from what sequencers and
//! holders kept. Until that is done it answers no questions.

use super::Bug;
use super::index::Index;
use super::turn::{Turn, nth};
use crate::{
    BookId, Entry, Item, LogId, Message, Progress, SeqNum, Shard, Step, Tag, Term, ViewId,
};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use triptych_nodes::{Nanos, NodeId, Peer};

/// At most about so many records are asked for ahead.
const AHEAD: u32 = 8_192;
/// Whoever has this many entries to tell does not answer with fewer, so an answer with fewer is all
/// that it knows.
const SHORT: usize = 16;
/// At most so many releases are asked for at once.
const RELEASES: usize = 64;

/// The index of a log, and who waits for it.
#[derive(Debug)]
pub(super) struct Indexing {
    pub(super) log: LogId,
    pub(super) index: Index,
    /// Reads that wait for the index to come so far.
    parked: BTreeMap<Progress, Vec<u64>>,
    /// Reads that wait for a record of a stream.
    watched: FxHashMap<(BookId, Tag), Vec<u64>>,
    /// Other engines that wait for a verdict: by record, who, its number, since when.
    asked: BTreeMap<SeqNum, Vec<(NodeId, u64, Nanos)>>,
    /// Since when the index has been where it is.
    since: Nanos,
    /// When something of the newest view was heard last.
    heard: Nanos,
    /// Which entry was asked for last, when, and how often.
    wanted: Option<((ViewId, u32), Nanos)>,
    attempt: usize,
    /// Of each shard: from which local id on it was asked for last, when, and how often.
    items: BTreeMap<Shard, (u32, Nanos, usize)>,
    /// Inputs with freed records, in order: how many there were then, who told, in which view.
    surveys: VecDeque<(u64, NodeId, ViewId)>,
    /// The survey that is under way: up to which input, whom it asks, since when.
    survey: Option<(u64, NodeId, Nanos)>,
    /// When releases were asked for last.
    released: Option<Nanos>,
}

impl Indexing {
    /// An empty index, which is told of all views that are known.
    pub(super) fn new(turn: &Turn<'_>, log: LogId) -> Self {
        let mut index = Index::new(log, turn.bug);
        for view in (1..=turn.members.newest()).filter_map(|id| turn.members.view(id)) {
            index.learn(view);
        }
        Indexing {
            log,
            index,
            parked: BTreeMap::new(),
            watched: FxHashMap::default(),
            asked: BTreeMap::new(),
            since: turn.now,
            heard: turn.now,
            wanted: None,
            attempt: 0,
            items: BTreeMap::new(),
            surveys: VecDeque::new(),
            survey: None,
            released: None,
        }
    }

    /// Whether it may answer questions: it has applied all of the views before the newest.
    pub(super) fn is_ready(&self, turn: &Turn<'_>) -> bool {
        self.index.is_current() && self.index.newest() == turn.members.newest()
    }

    /// Whether there may be something to ask for.
    pub(super) fn is_busy(&self) -> bool {
        !self.index.is_idle()
            || !self.surveys.is_empty()
            || !self.parked.is_empty()
            || self.index.has_unreleased()
    }

    /// A read waits for the index to come so far.
    pub(super) fn park(&mut self, progress: Progress, reading: u64) {
        self.parked.entry(progress).or_default().push(reading);
    }

    /// A read waits for a record of a stream.
    pub(super) fn watch(&mut self, stream: (BookId, Tag), reading: u64) {
        self.watched.entry(stream).or_default().push(reading);
    }

    /// A read waits no more.
    pub(super) fn forget(&mut self, progress: Progress, stream: (BookId, Tag), reading: u64) {
        if let Some(parked) = self.parked.get_mut(&progress) {
            parked.retain(|&id| id != reading);
            if parked.is_empty() {
                self.parked.remove(&progress);
            }
        }
        if let Some(watching) = self.watched.get_mut(&stream) {
            watching.retain(|&id| id != reading);
            if watching.is_empty() {
                self.watched.remove(&stream);
            }
        }
    }

    /// Entries of the metalog have come.
    pub(super) fn committed(
        &mut self,
        turn: &mut Turn<'_>,
        from: Peer,
        term: Term,
        entries: &[Arc<Entry>],
    ) {
        self.index.entries(term.view, entries);
        let newest = turn.members.newest();
        if term.view == newest {
            self.heard = turn.now;
        }
        if let Some((holes, teller, _)) = self.survey
            && from == Peer::Node(teller)
            && term.view == newest
        {
            let missing = self.index.missing_entry();
            if entries.len() >= SHORT || missing.is_some_and(|(view, _)| view < newest) {
                self.survey = None;
            } else {
                self.surveyed(holes);
            }
        }
    }

    fn surveyed(&mut self, holes: u64) {
        self.survey = None;
        self.index.surveyed(holes);
        while self.surveys.front().is_some_and(|&(at, ..)| at <= holes) {
            self.surveys.pop_front();
        }
    }

    /// A holder tells of records.
    pub(super) fn items(
        &mut self,
        turn: &mut Turn<'_>,
        from: Peer,
        shard: Shard,
        range: (u32, u32),
        items: Vec<(u32, Item)>,
    ) {
        let before = self.index.holes();
        self.index.items(shard, range.0, range.1, items);
        if let Peer::Node(teller) = from
            && self.index.holes() > before
        {
            let view = turn.members.newest();
            self.surveys.push_back((self.index.holes(), teller, view));
        }
    }

    /// Applies what can be applied, and returns the reads that have waited for it.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>) -> Vec<u64> {
        self.resume_surveys(turn);
        let (watched, mut woken) = (&mut self.watched, Vec::new());
        let advanced = self.index.advance(|book, tag| {
            if !watched.is_empty()
                && let Some(readings) = watched.remove(&(book, tag))
            {
                woken.extend(readings);
            }
        });
        if advanced {
            self.since = turn.now;
            let progress = self.index.progress();
            while let Some(first) = self.parked.first_entry()
                && *first.key() <= progress
            {
                woken.extend(first.remove());
            }
            self.tell_verdicts(turn);
        }
        if !self.index.is_current() {
            self.fetch(turn);
        }
        woken.sort_unstable();
        woken.dedup();
        woken
    }

    /// Another engine asks how an append was decided.
    pub(super) fn ask(&mut self, turn: &mut Turn<'_>, from: NodeId, op: u64, seq: SeqNum) {
        match self.index.verdict(seq) {
            Some(taken) => turn.send(from, Message::Verdict { op, taken }),
            None if self.index.has_passed(seq) => {}
            None => {
                let asked = self.asked.entry(seq).or_default();
                asked.retain(|&(node, other, _)| (node, other) != (from, op));
                asked.push((from, op, turn.now));
            }
        }
    }

    fn tell_verdicts(&mut self, turn: &mut Turn<'_>) {
        while let Some(first) = self.asked.first_entry()
            && self.index.has_passed(*first.key())
        {
            let verdict = self.index.verdict(*first.key());
            for (node, op, _) in first.remove() {
                if let Some(taken) = verdict {
                    turn.send(node, Message::Verdict { op, taken });
                }
            }
        }
    }

    /// The next view.
    pub(super) fn learn(&mut self, view: &crate::View) {
        self.index.learn(view);
        self.survey = None;
    }

    /// Ranges with freed records wait until all releases are known that were committed by then.
    /// Whoever told of them knows these; or the view is over, and then everybody does.
    fn resume_surveys(&mut self, turn: &mut Turn<'_>) {
        let Some(&(first, teller, view)) = self.surveys.front() else {
            return;
        };
        let (newest, missing) = (turn.members.newest(), self.index.missing_entry());
        if view < newest && missing.is_none_or(|(view, _)| view == newest) {
            self.surveyed(first);
            return self.resume_surveys(turn);
        }
        let again = turn.again_after();
        if self.survey.is_some_and(|(.., at)| !turn.is_over(at, again)) {
            return;
        }
        let same = self.surveys.iter().take_while(|next| next.1 == teller);
        let upto = same.map(|&(holes, ..)| holes).max().unwrap_or(first);
        self.survey = Some((upto, teller, turn.now));
        let (view, from) = self.index.next_entry();
        let log = self.log;
        let term = Term { view, log };
        turn.send(teller, Message::FetchEntries { term, from });
    }

    /// Asks for what is missing, but not for the same thing again before its time.
    fn fetch(&mut self, turn: &mut Turn<'_>) {
        if let Some(missing) = self.index.missing_entry() {
            self.fetch_entries(turn, missing);
        }
        let again = turn.again_after();
        let mut seen = None;
        for (shard, from, to) in self.index.missing_items(AHEAD) {
            // Of each shard the first range, then the next.
            if seen.replace(shard) == Some(shard) {
                continue;
            }
            let (asked, at, attempt) = self.items.get(&shard).copied().unwrap_or((0, 0, 0));
            if asked == from && attempt > 0 && !turn.is_over(at, again) {
                continue;
            }
            let attempt = if asked == from {
                attempt
            } else {
                attempt.max(1) - 1
            };
            let Some(view) = turn.members.current() else {
                return;
            };
            if let Some(keeper) = nth(view.keepers(shard), attempt) {
                turn.send(keeper, Message::FetchIndex { shard, from, to });
            }
            self.items.insert(shard, (from, turn.now, attempt + 1));
        }
    }

    fn fetch_entries(&mut self, turn: &mut Turn<'_>, wanted: (ViewId, u32)) {
        let attempt = self.attempt;
        let again = turn.again_after();
        let same = self.wanted.is_some_and(|(asked, _)| asked == wanted);
        if same && self.wanted.is_some_and(|(_, at)| !turn.is_over(at, again)) {
            return;
        }
        // Whoever answered last is asked for what follows.
        let attempt = if same { attempt } else { attempt.max(1) - 1 };
        let (view, from) = wanted;
        let log = self.log;
        if let Some(teller) = nth(&turn.tellers(view, log), attempt) {
            let term = Term { view, log };
            turn.send(teller, Message::FetchEntries { term, from });
        }
        self.wanted = Some((wanted, turn.now));
        self.attempt = attempt + 1;
    }

    /// Time has passed: what should have come is asked for, and so are releases.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) {
        let again = turn.again_after();
        if turn.is_over(self.since, again) {
            self.fetch(turn);
        }
        if !self.parked.is_empty() && turn.is_over(self.heard, again) {
            self.poll(turn);
        }
        self.asked.retain(|_, asked| {
            asked.retain(|&(.., since)| !turn.is_over(since, again.saturating_mul(4)));
            !asked.is_empty()
        });
        self.resume_surveys(turn);
        self.ask_for_releases(turn);
    }

    /// If nothing was heard for long, perhaps the last entry was lost.
    pub(super) fn idle(&mut self, turn: &mut Turn<'_>) {
        if turn.is_over(self.heard, turn.timing().alive_every) {
            self.poll(turn);
        }
    }

    fn poll(&mut self, turn: &mut Turn<'_>) {
        if self.index.newest() > 0 && self.index.missing_entry().is_none() {
            self.fetch_entries(turn, self.index.next_entry());
        }
    }

    /// The first index of a log asks for the release of each trim, until it sees it.
    fn ask_for_releases(&mut self, turn: &mut Turn<'_>) {
        let again = turn.again_after();
        if !self.is_ready(turn) || self.released.is_some_and(|at| !turn.is_over(at, again)) {
            return;
        }
        let Some(view) = turn.members.current() else {
            return;
        };
        if view.indexes(self.log).first() != Some(&turn.members.me()) {
            return;
        }
        let (primary, term) = (view.primary(self.log), view.term(self.log));
        let releases: Vec<_> = self.index.unreleased().take(RELEASES).collect();
        for (trim, refused) in releases {
            let step = Step::Release { trim, refused };
            turn.send(primary, Message::Trim { term, step });
            self.released = Some(turn.now);
        }
    }

    /// What the index says of a condition now, for [`Bug::ConditionDecidedEarly`].
    pub(super) fn decided_early(
        &self,
        turn: &Turn<'_>,
        book: BookId,
        on: crate::Condition,
    ) -> Option<SeqNum> {
        if turn.bug != Some(Bug::ConditionDecidedEarly) {
            return None;
        }
        let read = crate::Read {
            book,
            tag: on.tag,
            bound: SeqNum::MAX,
            direction: crate::Direction::Previous,
            limit: 1,
            wait: 0,
            progress: Progress::default(),
        };
        let newest = self.index.find(&read).first().map(|&(seq, _)| seq);
        Some(newest.unwrap_or(SeqNum::ZERO))
    }
}
