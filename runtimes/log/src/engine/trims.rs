//! Trims that clients have asked for: asked of the primary until the entry is seen.

use super::turn::{Turn, Waiter, nth};
use crate::{
    BookId, Entry, Failure, Message, Progress, Reply, SeqNum, Step, Tag, Term, Trim, View,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_nodes::{Nanos, Peer};

/// Trims that are not in a metalog yet, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Trims {
    waiting: BTreeMap<u64, Trimming>,
    /// How many were asked for in this life.
    count: u32,
}

#[derive(Debug)]
struct Trimming {
    waiter: Waiter,
    trim: Trim,
    since: Nanos,
    /// When the primary was asked last, and how often in this view.
    asked: (Option<Nanos>, usize),
    /// In this term, from this entry on it may stand.
    from: (Term, u32),
}

/// Why a trim makes no sense.
///
/// # Errors
/// [`Failure::Bad`].
pub(super) fn check(streams: &[(Tag, SeqNum)]) -> Result<(), Failure> {
    if streams.is_empty() {
        return Err(Failure::Bad("a trim must name a stream".to_owned()));
    }
    if streams.iter().any(|&(tag, _)| tag == Tag::MAX) {
        return Err(Failure::Bad("the highest tag is no stream".to_owned()));
    }
    Ok(())
}

impl Trims {
    pub(super) fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A client wants streams trimmed; that was checked.
    pub(super) fn add(
        &mut self,
        turn: &mut Turn<'_>,
        waiter: Waiter,
        book: BookId,
        streams: Vec<(Tag, SeqNum)>,
    ) {
        let me = turn.members.me();
        self.count += 1;
        // Numbers never repeat, whatever life it is.
        let number = u64::from(me.life) << 32 | u64::from(self.count);
        let by = (me.node, number);
        let log = View::log_of(turn.members.config().shape, book);
        let view = 0;
        let mut trimming = Trimming {
            waiter,
            trim: Trim { book, streams, by },
            since: turn.now,
            asked: (None, 0),
            from: (Term { view, log }, 0),
        };
        trimming.ask(turn);
        self.waiting.insert(number, trimming);
    }

    /// Entries of a metalog: perhaps what somebody waits for is among them.
    pub(super) fn committed(&mut self, turn: &mut Turn<'_>, term: Term, entries: &[Arc<Entry>]) {
        if self.waiting.is_empty() {
            return;
        }
        for entry in entries {
            if let Step::Trim(trim) = &entry.step
                && trim.by.0 == turn.members.me().node
                && let Some(trimming) = self.waiting.remove(&trim.by.1)
            {
                let (view, entries) = (term.view, entry.number.saturating_add(1));
                let progress = Progress { view, entries };
                turn.reply(trimming.waiter, Reply::Trimmed { progress });
            }
            for trimming in self.waiting.values_mut() {
                if trimming.from == (term, entry.number) {
                    trimming.from.1 += 1;
                }
            }
        }
    }

    /// The next view begins: what may stand at the end of the one before is looked for there.
    pub(super) fn begin(&mut self, turn: &mut Turn<'_>, view: &View) {
        for (log, end) in (0..).zip(&view.finals) {
            let view = view.id - 1;
            self.committed(turn, Term { view, log }, &end.tail);
        }
        for trimming in self.waiting.values_mut() {
            trimming.asked = (None, 0);
        }
        if view.id == turn.members.newest() {
            self.tick(turn);
        }
    }

    /// Asks again, and gives up what takes too long.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) {
        let give_up_after = turn.timing().give_up_after;
        let again = turn.again_after();
        self.waiting.retain(|_, trimming| {
            if turn.is_over(trimming.since, give_up_after) {
                turn.fail(trimming.waiter, Failure::Unknown);
                return false;
            }
            let due = trimming.asked.0.is_none_or(|at| turn.is_over(at, again));
            if due {
                trimming.ask(turn);
            }
            true
        });
    }

    pub(super) fn gone(&mut self, peer: Peer) {
        self.waiting
            .retain(|_, trimming| trimming.waiter.peer != peer);
    }
}

impl Trimming {
    /// Asks the primary for the entry; if that was done before, somebody may have it already.
    fn ask(&mut self, turn: &mut Turn<'_>) {
        let members = turn.members;
        let Some(view) = members.current() else {
            return;
        };
        let log = self.from.0.log;
        let term = view.term(log);
        if self.from.0 != term {
            self.from = (term, 0);
        }
        let step = Step::Trim(self.trim.clone());
        turn.send(view.primary(log), Message::Trim { term, step });
        let (_, attempt) = self.asked;
        if attempt > 0
            && let Some(teller) = nth(&turn.tellers(view.id, log), attempt - 1)
        {
            let from = self.from.1;
            turn.send(teller, Message::FetchEntries { term, from });
        }
        self.asked = (Some(turn.now), attempt + 1);
    }
}
