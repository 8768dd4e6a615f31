//! What a server shows: a causal cut, and older ones as long as workflows look at them.
//!
//! Invariant: whatever a line of the cut depends on, the cut has, as new as that or newer, unless it
//! is stable. So lines are admitted together with what they lack ([`Cut::missing`]).
//!
//! A workflow that looks at the cut *pins* it: the lines that it has seen, and those that belong to
//! them, stay for it. Something newer is *covered* here once the cut has it and no pin is from before
//! that. What all servers have covered is stable: no dependency on it can ever be found unmet, in a
//! cut or in what a workflow holds, so nobody needs to say that it is there.

use crate::line::{Deps, Line};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_cached::Attempt;
use triptych_mesh::{Clock, Key};
use triptych_nodes::Nanos;

/// What a workflow holds at a server.
#[derive(Clone, Debug, Default)]
pub struct Pin {
    /// The state of the cut when it came here first.
    since: u64,
    /// The state that it looks at.
    pub(crate) seq: u64,
    /// When it came.
    born: Nanos,
    /// What it has read, wherever that was from.
    pub(crate) read: BTreeMap<Key, Arc<Line>>,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Cut {
    /// How often it was changed.
    seq: u64,
    /// Of each key the line as of a state, and older ones that are pinned; oldest first.
    lines: BTreeMap<Key, Vec<(u64, Arc<Line>)>>,
    /// Keys with more than one line.
    several: BTreeSet<Key>,
    pins: BTreeMap<Attempt, Pin>,
}

impl Cut {
    /// The line of a key; none if nobody has asked for the key.
    pub fn current(&self, key: &Key) -> Option<&Arc<Line>> {
        Some(&self.lines.get(key)?.last()?.1)
    }

    /// The line of a key in a state that is pinned.
    pub fn at(&self, key: &Key, seq: u64) -> Option<&Arc<Line>> {
        let lines = self.lines.get(key)?;
        let after = lines.partition_point(|(since, _)| *since <= seq);
        Some(&lines.get(after.checked_sub(1)?)?.1)
    }

    /// Whether the cut has a key that is as new as this or newer.
    pub fn covers(&self, key: &Key, clock: &Clock) -> bool {
        let line = self.current(key);
        line.is_some_and(|line| line.clock.covers(clock))
    }

    /// What some lines depend on that neither they nor the cut have.
    pub fn missing(&self, lines: &BTreeMap<Key, Arc<Line>>, stable: &Clock) -> Deps {
        let mut missing = Deps::new();
        let deps = lines.values().flat_map(|line| &line.deps);
        for (key, clock) in deps {
            let here = lines.get(key).is_some_and(|line| line.clock.covers(clock));
            if !here && !stable.covers(clock) && !self.covers(key, clock) {
                crate::line::demand(&mut missing, key, clock);
            }
        }
        missing
    }

    /// Shows some lines from now on, all at once, where they are newer than what is shown.
    pub fn admit(&mut self, lines: BTreeMap<Key, Arc<Line>>) {
        self.seq += 1;
        let oldest = self.oldest();
        for (key, line) in lines {
            let known = self.lines.entry(key.clone()).or_default();
            let newer = known
                .last()
                .is_none_or(|(_, old)| line.clock.covers(&old.clock) && line.clock != old.clock);
            if newer {
                known.push((self.seq, line));
                forget(known, oldest);
                if known.len() > 1 {
                    self.several.insert(key);
                }
            }
        }
    }

    /// The oldest state that somebody looks at.
    fn oldest(&self) -> u64 {
        let pins = self.pins.values().map(|pin| pin.seq);
        pins.min().unwrap_or(self.seq)
    }

    /// The state in which it is.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether somebody holds something from before a state.
    pub fn is_held_before(&self, seq: u64) -> bool {
        self.pins.values().any(|pin| pin.since < seq)
    }

    /// What a workflow holds; from now on this state, if it comes here for the first time.
    pub fn pin(&mut self, now: Nanos, attempt: &Attempt) -> &mut Pin {
        let seq = self.seq;
        self.pins.entry(attempt.clone()).or_insert_with(|| Pin {
            since: seq,
            seq,
            born: now,
            read: BTreeMap::new(),
        })
    }

    /// What a workflow holds, if it came here.
    pub fn held(&self, attempt: &Attempt) -> Option<&Pin> {
        self.pins.get(attempt)
    }

    /// The same, to add something.
    pub fn held_mut(&mut self, attempt: &Attempt) -> Option<&mut Pin> {
        self.pins.get_mut(attempt)
    }

    /// What a workflow that came here sees of a key: what it has read, or what belongs to it.
    pub fn held_line(&self, attempt: &Attempt, key: &Key) -> Option<&Arc<Line>> {
        let pin = self.pins.get(attempt)?;
        pin.read.get(key).or_else(|| self.at(key, pin.seq))
    }

    /// A workflow is over, or nobody believes any more that it is not. Whether it came here.
    pub fn unpin(&mut self, attempt: &Attempt) -> bool {
        let known = self.pins.remove(attempt).is_some();
        if known {
            self.sweep();
        }
        known
    }

    /// Forgets the workflows that came before a time. How many.
    pub fn expire(&mut self, before: Nanos) -> usize {
        let many = self.pins.len();
        self.pins.retain(|_, pin| pin.born >= before);
        self.sweep();
        many - self.pins.len()
    }

    fn sweep(&mut self) {
        let oldest = self.oldest();
        let lines = &mut self.lines;
        self.several.retain(|key| {
            let Some(known) = lines.get_mut(key) else {
                return false;
            };
            forget(known, oldest);
            known.len() > 1
        });
    }

    /// How many keys it has, how many lines for them, and how many workflows hold some.
    pub fn counts(&self) -> (usize, usize, usize) {
        let more = self.several.iter().map(|key| self.lines[key].len() - 1);
        let lines = self.lines.len() + more.sum::<usize>();
        (self.lines.len(), lines, self.pins.len())
    }

    /// All keys with their lines, for tests of the invariant.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Line>)> {
        let last = self.lines.iter();
        last.filter_map(|(key, lines)| Some((key, &lines.last()?.1)))
    }
}

/// Forgets the lines that nobody looks at who looks at this state or a later one.
fn forget(lines: &mut Vec<(u64, Arc<Line>)>, oldest: u64) {
    let after = lines.partition_point(|(since, _)| *since <= oldest);
    lines.drain(..after.saturating_sub(1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{demand, only};
    use triptych_api::Value;
    use triptych_mesh::Slot;

    fn key(name: &str) -> Key {
        Key::new("t", name)
    }

    fn line(number: u64, on: &[(&str, u64)]) -> Arc<Line> {
        let mut deps = Deps::new();
        for (name, number) in on {
            demand(&mut deps, &key(name), &only(Slot(0), *number));
        }
        Arc::new(Line {
            value: Some(Value::Int(number as i64)),
            clock: only(Slot(0), number),
            deps,
        })
    }

    fn lines(all: &[(&str, Arc<Line>)]) -> BTreeMap<Key, Arc<Line>> {
        let all = all.iter();
        all.map(|(name, line)| (key(name), Arc::clone(line)))
            .collect()
    }

    fn attempt(root: u64) -> Attempt {
        Attempt { root, number: 0 }
    }

    #[test]
    fn what_a_line_depends_on_is_missing_until_something_covers_it() {
        let mut cut = Cut::default();
        let stable = Clock::default();
        let new = lines(&[("a", line(5, &[("b", 3), ("c", 4)]))]);
        assert_eq!(cut.missing(&new, &stable).len(), 2);
        cut.admit(lines(&[("b", line(3, &[])), ("c", line(2, &[]))]));
        let missing = cut.missing(&new, &stable);
        assert_eq!(missing.keys().collect::<Vec<_>>(), [&key("c")]);
        assert!(cut.missing(&new, &only(Slot(0), 4)).is_empty());
        let both = lines(&[("a", line(5, &[("c", 4)])), ("c", line(6, &[]))]);
        assert!(cut.missing(&both, &stable).is_empty());
    }

    #[test]
    fn who_has_pinned_the_cut_goes_on_seeing_it_and_nothing_else_is_kept() {
        let mut cut = Cut::default();
        cut.admit(lines(&[("a", line(1, &[]))]));
        cut.pin(0, &attempt(1));
        cut.admit(lines(&[("a", line(2, &[])), ("b", line(2, &[]))]));
        cut.pin(5, &attempt(2));
        for number in 3..9 {
            cut.admit(lines(&[("a", line(number, &[]))]));
        }
        // Older ones never come back.
        cut.admit(lines(&[("a", line(4, &[]))]));
        let seen = |cut: &Cut, root, name| {
            let line = cut.held_line(&attempt(root), &key(name));
            line.and_then(|line| line.value.clone())
                .and_then(|v| v.as_int())
        };
        assert_eq!((seen(&cut, 1, "a"), seen(&cut, 1, "b")), (Some(1), None));
        assert_eq!((seen(&cut, 2, "a"), seen(&cut, 2, "b")), (Some(2), Some(2)));
        assert!(cut.is_held_before(2) && !cut.is_held_before(1));
        assert_eq!(cut.expire(3), 1);
        assert!(cut.is_held_before(3) && !cut.is_held_before(2));
        assert_eq!(seen(&cut, 2, "a"), Some(2));
        assert!(cut.unpin(&attempt(2)) && !cut.unpin(&attempt(2)));
        assert_eq!(cut.counts(), (2, 2, 0));
        assert_eq!(cut.current(&key("a")).unwrap().clock, only(Slot(0), 8));
    }
}
