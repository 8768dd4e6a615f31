//! Until when each write matters: until the last look that misses it.
//!
//! A write that every later look shows cannot be part of a contradiction, so nobody needs to carry
//! it along. What a look shows instead of a newer document, or of a newer element of a full list,
//! matters until that newer one was made: to know which of the two is older. What a look at several
//! keys or a transaction misses matters until its end, because it may learn of it elsewhere.

use super::NONE;
use super::views::Views;
use super::writes::Writes;
use triptych_model::causes::{Act, Causes, Holds};

/// Until when writes matter, and which of their transactions.
pub(super) struct Misses {
    /// Of a write: the last event for which it matters; 0 if for none.
    pub(super) until: Vec<u32>,
    /// Of a transaction: the last look that misses a write of it.
    pub(super) batch_until: Vec<u32>,
    /// Of a write: whether the last state of its document misses it.
    pub(super) at_end: Vec<bool>,
    /// After how many events writes are forgotten.
    pub(super) horizon: Option<u32>,
}

impl Misses {
    /// `alive` bounds how many writes matter at a time, on average.
    pub(super) fn of(causes: &Causes, writes: &Writes, alive: u64) -> Misses {
        let ends = ends(causes);
        let mut until = vec![0u32; causes.names.len()];
        let mut views = Views::new(causes, writes);
        for (at, event) in (0u32..).zip(&causes.events) {
            views.step(at, &event.act);
            if let Act::Read { key, .. } = &event.act {
                for write in views.missed(*key) {
                    let known = &mut until[write as usize];
                    *known = (*known).max(ends[at as usize]);
                }
                note_instead(&views, writes, *key, &mut until);
            }
        }
        // The end is a look at every document. Whether what it shows is older than what it misses is
        // known when that is made, so nothing needs to be remembered from then on until the end.
        let end = causes.events.len() as u64;
        let mut at_end = vec![false; causes.names.len()];
        for key in 0..causes.keys.len() as u32 {
            if causes.keys[key as usize].holds == Holds::Last
                && look_at_end(causes, &mut views, key)
            {
                views
                    .missed(key)
                    .for_each(|write| at_end[write as usize] = true);
                note_instead(&views, writes, key, &mut until);
            }
        }
        let mut misses = Misses {
            batch_until: vec![0; causes.batches.len()],
            until,
            at_end,
            horizon: None,
        };
        misses.bound(writes, alive.saturating_mul(end));
        for (write, until) in misses.until.iter().enumerate() {
            let tx = writes.tx[write];
            if tx != NONE && writes.at[write] != NONE {
                let known = &mut misses.batch_until[tx as usize];
                *known = (*known).max(*until);
            }
        }
        misses
    }

    /// Forgets writes after so many events that all of them together matter for at most `most`.
    fn bound(&mut self, writes: &Writes, most: u64) {
        let mut spans: Vec<u64> = Vec::new();
        for (until, at) in self.until.iter().zip(&writes.at) {
            spans.extend(until.checked_sub(*at).map(u64::from));
        }
        if spans.iter().sum::<u64>() <= most {
            return;
        }
        let mut horizon = spans.iter().max().copied().unwrap_or(0);
        while horizon > 1 && spans.iter().map(|span| *span.min(&horizon)).sum::<u64>() > most {
            horizon /= 2;
        }
        let horizon = u32::try_from(horizon).unwrap_or(u32::MAX);
        self.horizon = Some(horizon);
        for (until, at) in self.until.iter_mut().zip(&writes.at) {
            *until = (*until).min(at.saturating_add(horizon));
        }
    }
}

/// What the last look at a key shows instead of what it misses matters until the newest of that is made.
fn note_instead(views: &Views<'_>, writes: &Writes, key: u32, until: &mut [u32]) {
    let missed = views.missed(key).map(|write| writes.at[write as usize]);
    let newest = missed.max().unwrap_or(0);
    for (at, write) in views.instead(key).into_iter().flatten() {
        if *at < newest {
            let known = &mut until[*write as usize];
            *known = (*known).max(newest);
        }
    }
}

/// Of every look the event with which it ends: a look at several keys with the last of them, a
/// transaction with its commit.
fn ends(causes: &Causes) -> Vec<u32> {
    let mut ends: Vec<u32> = (0..causes.events.len() as u32).collect();
    let mut commits = vec![NONE; causes.batches.len()];
    let mut later: Option<(u32, u32)> = None;
    for (at, event) in causes.events.iter().enumerate().rev() {
        let at = at as u32;
        match &event.act {
            Act::Commit { tx } => commits[*tx as usize] = at,
            Act::Read { look, tx, .. } => {
                let commit = tx.map_or(NONE, |tx| commits[tx as usize]);
                let of_look = look.map(|look| match later {
                    Some((known, end)) if known == look => (look, end),
                    _ => (look, at),
                });
                later = of_look;
                let end = &mut ends[at as usize];
                *end = (*end).max(of_look.map_or(at, |(_, end)| end));
                if commit != NONE {
                    *end = (*end).max(commit);
                }
            }
            _ => {}
        }
    }
    ends
}

/// Takes a document's last state for a look at it; false if nobody looked.
pub(super) fn look_at_end(causes: &Causes, views: &mut Views<'_>, key: u32) -> bool {
    let Some(last) = &causes.keys[key as usize].last else {
        return false;
    };
    let there: Vec<u32> = views
        .of(key)
        .there
        .iter()
        .map(|(_, write)| *write)
        .collect();
    let act = Act::Read {
        key,
        more: last
            .iter()
            .filter(|w| !there.contains(w))
            .copied()
            .collect(),
        less: there
            .iter()
            .filter(|w| !last.contains(w))
            .copied()
            .collect(),
        look: None,
        tx: None,
    };
    views.step(NONE, &act);
    true
}
