//! What has to be true of what clients were told.
//!
//! All acknowledged writes are known with their clocks, so every answer is judged when it comes:
//!
//! * *back*: what a client sees of a key never goes back, neither its clock nor its last write.
//! * *own*: a client sees its own writes, or newer ones.
//! * *cut*: everything that a client depends on, and everything that one answer shows, counts writes;
//!   of a key that it shows, an answer has all acknowledged ones of them. So several keys are shown as
//!   of one causal cut, and causality is kept over keys, clients and servers.
//! * *value*: a value is what the write that is named with it has written.
//!
//! When all is quiet, every server shows the same of every key, and has every acknowledged write
//! ([`Judge::converged`]).

use super::keys::written_by;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_mesh::{Clock, Seen, Slot, Version};
use triptych_model::Value;

/// So many broken promises are told in words.
const TOLD: usize = 10;

/// A promise that an answer can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promise {
    /// What a client sees never goes back.
    Back,
    /// A client sees its own writes.
    Own,
    /// What is shown is one causal cut with all that the client depends on.
    Cut,
    /// A value is what was written.
    Value,
    /// Servers show the same when all is quiet.
    Same,
    /// What was acknowledged is there when all is quiet.
    Lost,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Values that clients were shown and that were judged.
    pub shown: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes of which nobody knows whether they took effect.
    pub doubtful: u64,
    /// Values that were shown under another version than the acknowledged one: a request that was
    /// repeated at another server becomes two versions, of which one counts.
    pub twins: u64,
    /// Keys that were compared on all servers when all was quiet.
    pub compared: u64,
    /// Whether all became quiet in time.
    pub quiet: bool,
    /// Broken promises, by which.
    pub broken: BTreeMap<Promise, u64>,
    /// Some of them in words.
    pub told: Vec<String>,
}

impl Verdict {
    /// Whether no promise was broken.
    pub fn kept(&self) -> bool {
        self.broken.is_empty()
    }

    /// Whether enough was seen to say so.
    pub fn seen(&self) -> bool {
        self.shown + self.acknowledged > 0 && self.quiet && self.compared > 0
    }

    /// In words.
    pub fn told(&self) -> String {
        if !self.kept() {
            let broken = self.broken.iter();
            let broken: Vec<String> = broken
                .map(|(promise, count)| format!("{count} {promise:?}").to_lowercase())
                .collect();
            return format!("BROKEN: {}", broken.join(", "));
        }
        let Verdict {
            shown,
            acknowledged,
            compared,
            ..
        } = self;
        match (self.shown + self.acknowledged, self.quiet) {
            (0, _) => "unknown: nothing was answered".to_owned(),
            (_, false) => format!(
                "unknown: {shown} values were shown in causal order, but the ring did not become quiet"
            ),
            (_, true) => format!(
                "kept: {shown} values were shown in causal order, and all {acknowledged} acknowledged \
                 writes are at every server ({compared} keys compared)"
            ),
        }
    }

    fn broke(&mut self, promise: Promise, told: impl FnOnce() -> String) {
        *self.broken.entry(promise).or_default() += 1;
        if self.told.len() < TOLD {
            self.told.push(told());
        }
    }
}

/// What one client has been told of one key.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The last write that it was shown.
    win: Clock,
    /// The writes that it was shown.
    clock: Clock,
    /// Its own last write.
    own: Option<Clock>,
}

/// What a client has been told, by key: to judge it by, not for the protocol.
#[derive(Clone, Debug, Default)]
pub struct Memory(FxHashMap<usize, Told>);

/// The acknowledged writes of a key: of each server its own, ascending by number.
type OfKey = BTreeMap<Slot, Vec<Arc<Version>>>;

/// Knows what was acknowledged.
pub struct Judge {
    /// Bytes of a value.
    payload: usize,
    by_key: Vec<OfKey>,
    /// By the number of the write, which the value has in it.
    by_write: FxHashMap<u64, (usize, Clock)>,
    /// Writes whose fate nobody knows, by key.
    doubtful: FxHashMap<usize, u64>,
    /// What was shown before it was acknowledged: key, write, and the clock that was named.
    early: Vec<(usize, u64, Clock)>,
    /// So far.
    pub verdict: Verdict,
}

impl Judge {
    /// Knows of nothing yet.
    pub fn new(keys: usize, payload: usize) -> Judge {
        Judge {
            payload,
            by_key: vec![OfKey::new(); keys],
            by_write: FxHashMap::default(),
            doubtful: FxHashMap::default(),
            early: Vec::new(),
            verdict: Verdict::default(),
        }
    }

    /// There is a write of this key, with this number, as this version.
    pub fn knows(&mut self, key: usize, write: u64, version: &Arc<Version>) {
        self.by_write.insert(write, (key, version.clock.clone()));
        let of_origin = self.by_key[key].entry(version.origin).or_default();
        // Answers overtake each other.
        let at = of_origin.partition_point(|known| known.number() < version.number());
        of_origin.insert(at, Arc::clone(version));
    }

    /// A client's write was acknowledged.
    pub fn wrote(&mut self, memory: &mut Memory, key: usize, write: u64, version: &Arc<Version>) {
        self.verdict.acknowledged += 1;
        self.knows(key, write, version);
        memory.0.entry(key).or_default().own = Some(version.clock.clone());
    }

    /// A write of a key may have taken effect or not.
    pub fn is_doubtful(&mut self, key: usize) {
        self.verdict.doubtful += 1;
        *self.doubtful.entry(key).or_default() += 1;
    }

    /// A client that depends on `deps` was shown some keys in one answer.
    pub fn shown(&mut self, memory: &mut Memory, deps: &Clock, keys: &[usize], seen: &[Seen]) {
        let mut counted = deps.clone();
        seen.iter().for_each(|seen| counted.join(&seen.clock));
        for (&key, seen) in keys.iter().zip(seen) {
            self.verdict.shown += 1;
            if let Some(missing) = missing(&self.by_key[key], &counted, seen) {
                self.verdict.broke(Promise::Cut, || {
                    format!(
                        "key {key} is shown with {:?} of {:?}, but write {} of {} is counted by {counted:?} \
                         and missing",
                        seen.win,
                        seen.clock,
                        missing.number(),
                        missing.origin
                    )
                });
            }
            let told = memory.0.entry(key).or_default();
            if seen.win.lex(&told.win) == Ordering::Less || !seen.clock.covers(&told.clock) {
                let Told { win, clock, .. } = &told;
                self.verdict.broke(Promise::Back, || {
                    format!("key {key} went back from {win:?} of {clock:?} to {seen:?}")
                });
            }
            if let Some(own) = &told.own
                && seen.win.lex(own) == Ordering::Less
            {
                self.verdict.broke(Promise::Own, || {
                    format!("key {key} is shown as {seen:?} to who wrote it with {own:?}")
                });
            }
            told.win = seen.win.clone();
            told.clock = seen.clock.clone();
            self.value(key, seen);
        }
    }

    /// Whether a value is that of the write that is named with it.
    fn value(&mut self, key: usize, seen: &Seen) {
        let write = match &seen.value {
            Some(Value::Bytes(bytes)) => written_by(bytes, self.payload),
            Some(_) => None,
            None if seen.win.is_zero() => return,
            None => None,
        };
        match write {
            Some(write) => match self.by_write.get(&write) {
                Some(known) => {
                    same_write(&mut self.verdict, &self.by_key[key], key, known, &seen.win);
                }
                None => self.early.push((key, write, seen.win.clone())),
            },
            None => self.verdict.broke(Promise::Value, || {
                format!("key {key} is shown as {:?}, which nobody wrote", seen.value)
            }),
        }
    }

    /// All answers have come: judges what was shown before it was acknowledged.
    pub fn all_answered(&mut self) {
        for (key, write, win) in std::mem::take(&mut self.early) {
            match self.by_write.get(&write) {
                Some(known) => {
                    same_write(&mut self.verdict, &self.by_key[key], key, known, &win);
                }
                None if self.doubtful.contains_key(&key) => {}
                None => self.verdict.broke(Promise::Value, || {
                    format!("key {key} is shown with write {write}, which was refused or never asked for")
                }),
            }
        }
    }

    /// A clock that counts every acknowledged write.
    pub fn all(&self) -> Clock {
        let mut all = Clock::default();
        let last = self.by_key.iter().flat_map(|of_key| of_key.values());
        last.filter_map(|versions| versions.last())
            .for_each(|last| all.join(&last.clock));
        all
    }

    /// Keys that were written.
    pub fn written(&self) -> Vec<usize> {
        let keys = self.by_key.iter().enumerate();
        let keys = keys.filter(|(_, of_key)| !of_key.is_empty());
        keys.map(|(key, _)| key).collect()
    }

    /// All is quiet, and each server has shown some keys.
    pub fn converged(&mut self, keys: &[usize], by_server: &[Vec<Seen>]) {
        for (at, &key) in keys.iter().enumerate() {
            self.verdict.compared += 1;
            let all: Vec<&Seen> = by_server.iter().filter_map(|seen| seen.get(at)).collect();
            let Some((first, others)) = all.split_first() else {
                continue;
            };
            if let Some(other) = others
                .iter()
                .find(|other| other.value != first.value || other.win != first.win)
            {
                self.verdict.broke(Promise::Same, || {
                    format!("key {key} is {first:?} at one server and {other:?} at another")
                });
            }
            self.value(key, first);
            let everything = |seen: &&&Seen| {
                let mut all = Clock::default();
                for of_origin in self.by_key[key].values() {
                    of_origin.last().inspect(|last| all.join(&last.clock));
                }
                missing(&self.by_key[key], &all, seen).is_some()
            };
            if let Some(seen) = all.iter().find(everything) {
                self.verdict.broke(Promise::Lost, || {
                    format!("key {key} is {seen:?}, without all acknowledged writes")
                });
            }
        }
        self.all_answered();
    }
}

/// Whether a value, of which is known who wrote what with which clock, is named rightly.
fn same_write(
    verdict: &mut Verdict,
    of_key: &OfKey,
    key: usize,
    known: &(usize, Clock),
    win: &Clock,
) {
    let (of, clock) = known;
    if *of == key && clock == win {
        return;
    }
    let mut versions = of_key.values().flatten();
    let anothers = versions.any(|version| version.clock == *win);
    if *of == key && !anothers && !win.is_zero() {
        // Nobody else was told of that version.
        verdict.twins += 1;
    } else {
        verdict.broke(Promise::Value, || {
            format!("key {key} is shown as of {win:?}, with what {clock:?} wrote to key {of}")
        });
    }
}

/// An acknowledged write that a clock counts and that what is shown of its key does not have.
fn missing<'a>(of_key: &'a OfKey, counted: &Clock, seen: &Seen) -> Option<&'a Version> {
    of_key.iter().find_map(|(&origin, versions)| {
        let counted = counted.get(origin);
        let upto = versions.partition_point(|version| version.number() <= counted);
        // Clocks of one server only grow, so the last of them stands for all.
        let last = versions[..upto].last()?;
        let there = last.is_counted_by(&seen.clock) || last.clock == seen.win;
        let shown = seen.win.lex(&last.clock) != Ordering::Less;
        (!there || !shown).then_some(&**last)
    })
}

#[cfg(test)]
mod tests {
    use super::super::keys::{key, value};
    use super::*;
    use triptych_mesh::{Op, WriteId};

    fn version(origin: u16, clock: &[u64], of: usize, write: u64) -> Arc<Version> {
        Arc::new(Version {
            origin: Slot(origin),
            clock: Clock::from(clock.to_vec()),
            write: WriteId {
                client: 1,
                number: write,
            },
            ops: vec![(key(of), Op::Put(value(write, 8)))],
        })
    }

    fn seen(write: u64, win: &[u64], clock: &[u64]) -> Seen {
        Seen {
            value: (write > 0).then(|| value(write, 8)),
            win: Clock::from(win.to_vec()),
            clock: Clock::from(clock.to_vec()),
        }
    }

    /// Two writes of key 0, the second of which knows the first, and one of key 1 that knows both.
    fn judge() -> Judge {
        let mut judge = Judge::new(2, 8);
        judge.knows(0, 1, &version(0, &[1], 0, 1));
        judge.knows(0, 2, &version(1, &[1, 1], 0, 2));
        judge.knows(1, 3, &version(0, &[2, 1], 1, 3));
        judge
    }

    #[track_caller]
    fn breaks(judge: &Judge, promises: &[Promise]) {
        let broken: Vec<Promise> = judge.verdict.broken.keys().copied().collect();
        assert_eq!(broken, promises, "{:?}", judge.verdict.told);
    }

    #[test]
    fn what_is_in_order_is_not_complained_about() {
        let (mut judge, mut memory) = (judge(), Memory::default());
        let nothing = Clock::default();
        judge.shown(&mut memory, &nothing, &[0], &[seen(0, &[], &[])]);
        judge.shown(&mut memory, &nothing, &[0], &[seen(1, &[1], &[1])]);
        let both = [seen(2, &[1, 1], &[1, 1]), seen(3, &[2, 1], &[2, 1])];
        judge.shown(&mut memory, &Clock::from(vec![1]), &[0, 1], &both);
        let all = both.to_vec();
        judge.verdict.quiet = true;
        judge.converged(&[0, 1], &[all.clone(), all]);
        breaks(&judge, &[]);
        assert!(judge.verdict.kept() && judge.verdict.seen());
        assert_eq!((judge.verdict.shown, judge.verdict.compared), (4, 2));
    }

    #[test]
    fn each_broken_promise_is_seen() {
        let nothing = Clock::default();
        let mut judge = self::judge();
        let mut memory = Memory::default();
        judge.shown(&mut memory, &nothing, &[0], &[seen(2, &[1, 1], &[1, 1])]);
        judge.shown(&mut memory, &nothing, &[0], &[seen(1, &[1], &[1])]);
        breaks(&judge, &[Promise::Back]);

        // The second key knows of a write of the first that is not shown beside it.
        let mut judge = self::judge();
        let both = [seen(1, &[1], &[1]), seen(3, &[2, 1], &[2, 1])];
        judge.shown(&mut Memory::default(), &nothing, &[0, 1], &both);
        breaks(&judge, &[Promise::Cut]);

        // What the client depends on is not shown.
        let mut judge = self::judge();
        let deps = Clock::from(vec![2, 1]);
        let old = [seen(1, &[1], &[1])];
        judge.shown(&mut Memory::default(), &deps, &[0], &old);
        breaks(&judge, &[Promise::Cut]);

        // A write is counted, but an older value is shown.
        let mut judge = self::judge();
        let resurrected = [seen(1, &[1], &[1, 1])];
        judge.shown(&mut Memory::default(), &deps, &[0], &resurrected);
        breaks(&judge, &[Promise::Cut]);

        let mut judge = self::judge();
        let mut memory = Memory::default();
        judge.wrote(&mut memory, 0, 4, &version(0, &[3, 1], 0, 4));
        judge.shown(&mut memory, &nothing, &[0], &[seen(2, &[1, 1], &[1, 1])]);
        breaks(&judge, &[Promise::Own]);

        let mut judge = self::judge();
        // As if another write had written it.
        let stranger = [seen(1, &[1, 1], &[1, 1])];
        judge.shown(&mut Memory::default(), &nothing, &[0], &stranger);
        breaks(&judge, &[Promise::Value]);

        let mut judge = self::judge();
        let unasked = [seen(9, &[9], &[9, 1])];
        judge.shown(&mut Memory::default(), &nothing, &[0], &unasked);
        breaks(&judge, &[]);
        judge.all_answered();
        breaks(&judge, &[Promise::Value]);
    }

    #[test]
    fn servers_that_do_not_agree_or_lack_something_are_seen() {
        let (old, new) = (seen(1, &[1], &[1]), seen(2, &[1, 1], &[1, 1]));
        let mut judge = self::judge();
        judge.converged(&[0], &[vec![new.clone()], vec![old.clone()]]);
        breaks(&judge, &[Promise::Same, Promise::Lost]);
        let mut judge = self::judge();
        judge.converged(&[0], &[vec![old.clone()], vec![old]]);
        breaks(&judge, &[Promise::Lost]);
    }

    #[test]
    fn a_write_that_nobody_knows_of_may_be_shown() {
        let mut judge = self::judge();
        judge.is_doubtful(0);
        let shown = [seen(7, &[1, 2], &[1, 2])];
        judge.shown(&mut Memory::default(), &Clock::default(), &[0], &shown);
        judge.all_answered();
        breaks(&judge, &[]);
    }
}
