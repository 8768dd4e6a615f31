//! The optimistic choice: which state of a key a workflow may read at this server.
//!
//! A workflow has *read* some keys, each in one state, and because of what those depend on it must
//! not see certain others older than so (`seen`, and `floor` because of its session). A line *fits* if
//! it is no older than that, and drags nothing in that is newer than what was read already. The first
//! one that fits is taken: of what the workflow looks at here, of what is shown here now, and of what
//! servers where it was before keep for it. If none fits the attempt is over: no state of the key that
//! any of them still has is in one snapshot with what was read.

use crate::cut::Cut;
use crate::line::{Deps, Line};
use crate::message::{Got, Held, Holds};
use crate::server::Bug;
use std::collections::BTreeSet;
use std::sync::Arc;
use triptych_cached::Attempt;
use triptych_mesh::Key;

/// A read that is under way at a server.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The workflow's attempt.
    pub attempt: Attempt,
    /// What it has read, this read included.
    pub read: Holds,
    /// What it must not see older, this read included.
    pub seen: Holds,
    /// What it must not see older because of its session.
    pub floor: Deps,
    /// The keys of this read.
    pub keys: Vec<Key>,
    /// What was found of the first ones.
    pub got: Vec<Got>,
    /// Keys that were fetched for it.
    pub fetched: BTreeSet<Key>,
    /// Servers that were asked what they keep of a key.
    pub asked: BTreeSet<(Key, u16)>,
}

/// What is to be done about the next key of a read.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// There is none: the read is done.
    Done,
    /// This line is read.
    Take(Arc<Line>),
    /// The key is to be fetched from the database.
    Fetch,
    /// This server is to be asked for what it keeps.
    Ask(u16),
    /// Nothing fits.
    Abort,
}

impl Reading {
    /// Whether the workflow may read this line of a key.
    pub fn fits(&self, key: &Key, line: &Line, bug: Option<Bug>) -> bool {
        let old_enough = match self.read.get(key) {
            Some(read) => line.clock == read.clock,
            None => {
                let seen = self.seen.get(key).map(|held| &held.clock);
                let floor = self.floor.get(key);
                let demanded = seen.into_iter().chain(floor);
                demanded.into_iter().all(|clock| line.clock.covers(clock))
            }
        };
        let mut deps = line.deps.iter();
        let drags = |(key, clock): (&Key, _)| {
            let read = self.read.get(key);
            read.is_some_and(|read| !read.clock.covers(clock))
        };
        (old_enough || bug == Some(Bug::ReadsStale))
            && (bug == Some(Bug::DragsUnchecked) || !deps.any(drags))
    }

    /// What is to be done about the next key, at server `me`.
    pub fn choose(&self, cut: &Cut, me: u16, bug: Option<Bug>) -> Choice {
        let Some(key) = self.keys.get(self.got.len()) else {
            return Choice::Done;
        };
        let here = [cut.held_line(&self.attempt, key), cut.current(key)];
        let mut here = here.into_iter().flatten();
        if let Some(line) = here.find(|line| self.fits(key, line, bug)) {
            return Choice::Take(Arc::clone(line));
        }
        let read = self.read.get(key);
        let held = read.or_else(|| self.seen.get(key)).map(|held| held.at);
        let new = |at: &u16| *at != me && !self.asked.contains(&(key.clone(), *at));
        if let Some(at) = held.filter(new) {
            return Choice::Ask(at);
        }
        // What the database has is as new as anybody has seen it; it helps if what is here is too old
        // or there is nothing.
        let current = cut.current(key).map(|line| &line.clock);
        let old = current.is_none_or(|clock| {
            let floor = self.floor.get(key);
            let seen = self.seen.get(key).map(|held| &held.clock);
            floor.into_iter().chain(seen).any(|c| !clock.covers(c))
        });
        if old && read.is_none() && !self.fetched.contains(key) {
            return Choice::Fetch;
        }
        // What is here is too new. Where the workflow was before there may be an older one.
        let mut before = self.read.values().map(|held| held.at);
        match before.find(|at| read.is_none() && new(at)) {
            Some(at) => Choice::Ask(at),
            None => Choice::Abort,
        }
    }

    /// The next key was read: `at` keeps the line for the workflow, `deps_at` what belongs to it.
    pub fn take(&mut self, line: &Arc<Line>, at: u16, deps_at: u16) {
        let Some(key) = self.keys.get(self.got.len()) else {
            return;
        };
        saw(&mut self.read, &mut self.seen, key, line, at, deps_at);
        self.got.push(Got {
            line: Arc::clone(line),
            at,
            deps_at,
        });
    }
}

/// Notes that a workflow has read a line of a key.
pub fn saw(read: &mut Holds, seen: &mut Holds, key: &Key, line: &Line, at: u16, deps_at: u16) {
    let held = Held {
        clock: line.clock.clone(),
        at,
    };
    read.entry(key.clone()).or_insert(held);
    for (key, clock) in &line.deps {
        let known = seen.entry(key.clone()).or_insert_with(|| Held {
            clock: clock.clone(),
            at: deps_at,
        });
        if !known.clock.covers(clock) {
            known.clock.join(clock);
            known.at = deps_at;
        }
    }
}
