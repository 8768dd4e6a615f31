//! Who followed whom, and when that is certain; and S7, which asks for it at the end.
//!
//! A follow or unfollow that was acknowledged takes effect at some instant between its sending and
//! its answer; one without an answer at some instant after its sending, or never. So an edge's value
//! at an instant may be that of any of them that was sent by then, unless another one that began
//! after it ended was acknowledged by then too: that one came later for sure. The value that was
//! loaded counts as an acknowledged change before everything.

use super::facts::{Facts, kind, overlaps, rows, text};
use crate::Compat;
use crate::graph::{FOLLOWEES, FOLLOWERS, LOADED, edges};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::OutcomeClass;
use triptych_api::{Guarantee, RuleReport, Value};

/// An edge: who follows, and who is followed.
type Edge<'a> = (&'a str, &'a str);

/// A follow or unfollow that may have had an effect.
struct Change {
    index: u64,
    sent: u64,
    /// When it surely had happened, if it was acknowledged.
    done: Option<u64>,
    /// What the edge is after it.
    there: bool,
}

/// Which values an edge may have had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Possible {
    pub(super) there: bool,
    pub(super) gone: bool,
}

impl Possible {
    fn add(&mut self, there: bool) {
        match there {
            true => self.there = true,
            false => self.gone = true,
        }
    }

    fn allows(self, there: bool) -> bool {
        match there {
            true => self.there,
            false => self.gone,
        }
    }
}

pub(super) struct Follows<'a> {
    /// The edges of the data set, by the one who is followed.
    loaded: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// The edges that somebody wanted to change, by the one who is followed, then who follows.
    changes: BTreeMap<&'a str, BTreeMap<&'a str, Vec<Change>>>,
    /// Changes that overlapped another one of the same document.
    pub(super) conflicts: u64,
}

impl<'a> Follows<'a> {
    pub(super) fn of(facts: &Facts<'a>) -> Self {
        let state = facts.evidence.state;
        let mut loaded: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (followee, row) in rows(state, FOLLOWERS) {
            loaded.insert(followee, loaded_edges(row).collect());
        }
        let mut changes: BTreeMap<&str, BTreeMap<&str, Vec<Change>>> = BTreeMap::new();
        let mut documents: BTreeMap<(&str, &str), Vec<(u64, u64)>> = BTreeMap::new();
        for op in facts.evidence.ops {
            let there = match kind(facts.evidence, op) {
                "follow" => true,
                "unfollow" => false,
                _ => continue,
            };
            let done = match op.outcome.class() {
                OutcomeClass::Ok => Some(op.done_ns),
                OutcomeClass::Indeterminate | OutcomeClass::InFlight => None,
                // D14: what is refused on one side may have happened on the other.
                OutcomeClass::Rejected if facts.config.compat == Compat::Dsb => None,
                _ => continue,
            };
            let (user, followee) = (text(&op.input, "userId"), text(&op.input, "followee"));
            let of_edge = changes.entry(followee).or_default().entry(user);
            of_edge.or_default().push(Change {
                index: op.index,
                sent: op.sent_ns,
                done,
                there,
            });
            for document in [(FOLLOWERS, followee), (FOLLOWEES, user)] {
                let span = (op.sent_ns, op.done_ns.max(op.settled_ns));
                documents.entry(document).or_default().push(span);
            }
        }
        let conflicts = documents.values_mut().map(|spans| overlaps(spans)).sum();
        Follows {
            loaded,
            changes,
            conflicts,
        }
    }

    /// Everybody who may ever have followed this user, with whether anybody wanted to change that.
    pub(super) fn candidates(&self, followee: &str) -> BTreeMap<&'a str, bool> {
        let loaded = self.loaded.get(followee).into_iter().flatten();
        let changed = self.changes.get(followee).into_iter().flatten();
        let mut all: BTreeMap<&str, bool> = loaded.map(|user| (*user, false)).collect();
        all.extend(changed.map(|(user, _)| (*user, true)));
        all
    }

    /// Whether the edge is of the data set.
    pub(super) fn was_loaded(&self, (user, followee): Edge<'_>) -> bool {
        let loaded = self.loaded.get(followee);
        loaded.is_some_and(|loaded| loaded.contains(user))
    }

    fn changes_of(&self, (user, followee): Edge<'_>) -> &[Change] {
        let changes = self
            .changes
            .get(followee)
            .and_then(|changes| changes.get(user));
        changes.map_or(&[], Vec::as_slice)
    }

    /// What the edge may have been at any instant of an interval.
    pub(super) fn during(&self, edge: Edge<'_>, from: u64, to: u64) -> Possible {
        let changes = self.changes_of(edge);
        // The latest beginning of what had surely happened when the interval began.
        let settled = changes
            .iter()
            .filter(|change| change.done.is_some_and(|done| done <= from));
        let settled = settled.map(|change| change.sent).max();
        let mut possible = Possible::default();
        if settled.is_none() {
            possible.add(self.was_loaded(edge));
        }
        for change in changes {
            let surpassed = settled
                .zip(change.done)
                .is_some_and(|(settled, done)| settled > done);
            if change.sent <= to && !surpassed {
                possible.add(change.there);
            }
        }
        possible
    }

    /// The last unfollow that was acknowledged before an instant: its request.
    pub(super) fn unfollowed_before(&self, edge: Edge<'_>, instant: u64) -> Option<u64> {
        let changes = self.changes_of(edge).iter();
        let before = changes.filter(|change| change.done.is_some_and(|done| done <= instant));
        let gone = before.filter(|change| !change.there);
        gone.max_by_key(|change| change.sent)
            .map(|change| change.index)
    }

    /// S7: the two sides of an edge agree, and with the last acknowledged change of it.
    pub(super) fn check(&self, facts: &Facts<'_>) -> RuleReport {
        let mut rule = RuleReport::new("S7", Guarantee::Effects);
        let state = facts.evidence.state;
        // Of an edge: what the side of the followee says, and what that of the follower says.
        let mut sides: BTreeMap<Edge<'_>, [bool; 2]> = BTreeMap::new();
        let mut loaded: BTreeMap<Edge<'_>, [bool; 2]> = BTreeMap::new();
        for (at, table) in [FOLLOWERS, FOLLOWEES].into_iter().enumerate() {
            for (key, row) in rows(state, table) {
                let edge = |user| if at == 0 { (user, key) } else { (key, user) };
                for (user, there) in edges(row) {
                    sides.entry(edge(user)).or_default()[at] = there;
                }
                for user in loaded_edges(row) {
                    loaded.entry(edge(user)).or_default()[at] = true;
                }
            }
        }
        for (followee, users) in &self.changes {
            for user in users.keys() {
                sides.entry((user, followee)).or_default();
            }
        }
        for ((user, followee), [one, other]) in loaded {
            rule.expect(one == other, None, || {
                format!("that {user} follows {followee} was loaded on one side alone")
            });
        }
        for (edge, [followee_says, follower_says]) in sides {
            let (user, followee) = edge;
            let changes = self.changes_of(edge);
            let request = changes.iter().map(|change| change.index).min();
            let itself = user == followee && (followee_says || follower_says);
            rule.expect(!itself, request, || format!("{user} follows oneself"));
            let allowed = self.during(edge, u64::MAX, u64::MAX);
            // D14: where the order of two changes is open, the sides may have seen different ones.
            let apart = facts.config.compat == Compat::Dsb && allowed.there && allowed.gone;
            rule.expect(apart || followee_says == follower_says, request, || {
                let word = |there| if there { "so" } else { "not so" };
                format!(
                    "that {user} follows {followee} is {} on the side of {followee}, and {} on that \
                     of {user}",
                    word(followee_says),
                    word(follower_says)
                )
            });
            for (side, says) in [("followee", followee_says), ("follower", follower_says)] {
                rule.expect(allowed.allows(says), request, || {
                    let (is, last) = match says {
                        true => ("follows", "an unfollow, or that it never was so"),
                        false => ("does not follow", "a follow, or that it was loaded"),
                    };
                    format!(
                        "{user} {is} {followee} in the end, says the side of the {side}; the last \
                         word was {last}"
                    )
                });
            }
        }
        rule
    }
}

fn loaded_edges(row: &Value) -> impl Iterator<Item = &str> {
    let loaded = row.get(LOADED).and_then(Value::as_map);
    loaded.into_iter().flatten().map(|(user, _)| &**user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follows(changes: &[(u64, Option<u64>, bool)]) -> Follows<'static> {
        let changes = changes.iter().map(|(sent, done, there)| Change {
            index: 0,
            sent: *sent,
            done: *done,
            there: *there,
        });
        Follows {
            loaded: BTreeMap::new(),
            changes: BTreeMap::from([("v", BTreeMap::from([("u", changes.collect())]))]),
            conflicts: 0,
        }
    }

    const THERE: Possible = Possible {
        there: true,
        gone: false,
    };
    const GONE: Possible = Possible {
        there: false,
        gone: true,
    };
    const EITHER: Possible = Possible {
        there: true,
        gone: true,
    };

    #[test]
    fn an_edge_is_certain_between_answers_and_open_while_one_is_awaited() {
        let follows = follows(&[(10, Some(20), true), (30, Some(40), false)]);
        let during = |from, to| follows.during(("u", "v"), from, to);
        assert_eq!(during(0, 9), GONE);
        assert_eq!(during(0, 10), EITHER);
        assert_eq!(during(15, 18), EITHER);
        assert_eq!(during(20, 29), THERE);
        assert_eq!(during(20, 30), EITHER);
        assert_eq!(during(40, 99), GONE);
        assert_eq!(follows.unfollowed_before(("u", "v"), 39), None);
        assert_eq!(follows.unfollowed_before(("u", "v"), 40), Some(0));
    }

    #[test]
    fn what_overlaps_or_has_no_answer_leaves_both_open() {
        let overlapping = follows(&[(10, Some(30), true), (20, Some(25), false)]);
        assert_eq!(overlapping.during(("u", "v"), 99, 99), EITHER);
        // An answer says nothing about a request without one, whichever was sent first.
        let lost = follows(&[(10, None, true), (20, Some(25), false)]);
        assert_eq!(lost.during(("u", "v"), 99, 99), EITHER);
        let lost = follows(&[(10, Some(15), false), (20, None, true)]);
        assert_eq!(lost.during(("u", "v"), 15, 19), GONE);
        assert_eq!(lost.during(("u", "v"), 15, 20), EITHER);
    }
}
