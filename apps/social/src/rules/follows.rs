//! Who followed whom, and when that is certain; and S7 and S7-sides, which ask for it at the end.
//!
//! A follow or unfollow that was acknowledged takes effect at some instant between its sending and
//! its answer; one without an answer at some instant after its sending, or never. So an edge's value
//! at an instant may be that of any of them that was sent by then, unless another one that began
//! after it ended was acknowledged by then too: that one came later for sure. The value that was
//! loaded counts as an acknowledged change before everything. Where causes and effects alone are
//! ordered, nobody else has to see a change by any instant, so there every change may take effect at
//! any time, as one without an answer.
//!
//! With `causal` there is no such order between sessions: of changes of several of them each may be the
//! last word, or may have found nothing to change where it was made. Where all are of one session, the
//! session's own order binds.
//!
//! **S7 and S7-sides.** That each side of an edge has a value that the requests explain is a matter of
//! effects: S7. Where they explain both, because changes overlapped or one has no answer, a runtime
//! without isolation may order them differently on the two sides though each happened exactly once.
//! That the sides agree even there is what the transaction is for: S7-sides, which speaks of isolation
//! (and not with `compat = dsb`, which has no transaction: D14, nor with `causal`).
//!
//! A rule about isolation makes a runtime answer for it, and then "unknown" is the verdict unless
//! thirty conflicting transactions were seen. With `txn` every request has some, and the history of
//! them is judged as well. With `async` and `sync` only follows and unfollows are transactions, a few
//! in a short run; so there S7-sides is told if it is violated, or if [`ENOUGH_CONFLICTS`] were seen.
//! It never hides a violation, and never takes a verdict back because little was asked.

use super::changes::{Change, Changes, Possible};
use super::facts::{Facts, Span, overlaps, text};
use crate::graph::{FOLLOWEES, FOLLOWERS, LOADED, edges};
use crate::{Compat, Formulation};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::OutcomeClass;
use triptych_api::{Guarantee, RuleReport, Value};

/// An edge: who follows, and who is followed.
type Edge<'a> = (&'a str, &'a str);

/// From how many conflicting changes on S7-sides may say that nothing was found: as many as are
/// asked for before isolation is called valid.
const ENOUGH_CONFLICTS: u64 = 30;

pub(super) struct Follows<'a> {
    /// The edges of the data set, by the one who is followed.
    loaded: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// The edges that somebody wanted to change, by the one who is followed, then who follows.
    changes: BTreeMap<&'a str, BTreeMap<&'a str, Changes>>,
    /// Changes that overlapped another one of the same document.
    pub(super) conflicts: u64,
}

impl<'a> Follows<'a> {
    pub(super) fn of(facts: &Facts<'a>) -> Self {
        let state = facts.evidence.state;
        let mut loaded: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (followee, row) in state.rows(FOLLOWERS) {
            loaded.insert(followee, loaded_edges(row).collect());
        }
        let mut changes: BTreeMap<&str, BTreeMap<&str, Vec<(u32, Change)>>> = BTreeMap::new();
        let mut documents: BTreeMap<(&str, &str), Vec<Span>> = BTreeMap::new();
        for op in facts.evidence.ops {
            let there = match facts.evidence.kind(op) {
                "follow" => true,
                "unfollow" => false,
                _ => continue,
            };
            let done = match op.outcome.class() {
                // Where causes and effects alone are ordered, others may see it later than that.
                OutcomeClass::Ok if !facts.evidence.asks_real_time() => None,
                OutcomeClass::Ok => Some(op.done_ns),
                OutcomeClass::Indeterminate | OutcomeClass::InFlight => None,
                // D14: what is refused on one side may have happened on the other.
                OutcomeClass::Rejected if facts.config.compat == Compat::Dsb => None,
                _ => continue,
            };
            let (user, followee) = (text(&op.input, "userId"), text(&op.input, "followee"));
            let of_edge = changes.entry(followee).or_default().entry(user);
            let change = Change {
                index: op.index,
                sent: op.sent_ns,
                done,
                settled: Some(op.settled_ns).filter(|settled| *settled > 0),
                there,
            };
            of_edge.or_default().push((op.session, change));
            for document in [(FOLLOWERS, followee), (FOLLOWEES, user)] {
                let span = (op.sent_ns, op.done_ns.max(op.settled_ns), op.index);
                documents.entry(document).or_default().push(span);
            }
        }
        let was_loaded = |user: &str, followee: &str| {
            let loaded: Option<&BTreeSet<&str>> = loaded.get(followee);
            loaded.is_some_and(|loaded| loaded.contains(user))
        };
        let changes = changes.into_iter().map(|(followee, users)| {
            let users = users.into_iter().map(|(user, changes)| {
                let loaded = was_loaded(user, followee);
                let several = changes.windows(2).any(|pair| pair[0].0 != pair[1].0);
                let ordered = !several || facts.config.formulation != Formulation::Causal;
                let changes = changes.into_iter().map(|(_, change)| match ordered {
                    true => change,
                    false => Change {
                        done: None,
                        settled: None,
                        ..change
                    },
                });
                (user, Changes::of(loaded, &changes.collect::<Vec<_>>()))
            });
            (followee, users.collect())
        });
        let changes = changes.collect();
        // Both documents of a change may have been contended for; it is one transaction all the same.
        let conflicts: BTreeSet<u64> = documents
            .values_mut()
            .flat_map(|spans| overlaps(spans))
            .collect();
        Follows {
            loaded,
            changes,
            conflicts: conflicts.len() as u64,
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

    /// The changes of an edge, if anybody wanted to change it.
    pub(super) fn changes_of(&self, (user, followee): Edge<'_>) -> Option<&Changes> {
        self.changes.get(followee)?.get(user)
    }

    /// S7: both sides of an edge are as the last acknowledged change of it says. S7-sides, where it is
    /// to be told: they agree also where that is open.
    pub(super) fn check(&self, facts: &Facts<'_>) -> Vec<RuleReport> {
        let mut rule = RuleReport::new("S7", Guarantee::Effects);
        let mut agree = RuleReport::new("S7-sides", Guarantee::Isolation)
            .asked(facts.evidence.asks_serializable());
        let state = facts.evidence.state;
        // Of an edge: what the side of the followee says, and what that of the follower says.
        let mut sides: BTreeMap<Edge<'_>, [bool; 2]> = BTreeMap::new();
        let mut loaded: BTreeMap<Edge<'_>, [bool; 2]> = BTreeMap::new();
        for (at, table) in [FOLLOWERS, FOLLOWEES].into_iter().enumerate() {
            for (key, row) in state.rows(table) {
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
            let request = changes.and_then(Changes::first);
            let itself = user == followee && (followee_says || follower_says);
            rule.expect(!itself, request, || format!("{user} follows oneself"));
            let there = self.was_loaded(edge);
            let loaded = Possible {
                there,
                gone: !there,
            };
            let allowed = changes.map_or(loaded, |changes| changes.during(u64::MAX, u64::MAX));
            if allowed.open() {
                agree.expect(followee_says == follower_says, request, || {
                    let word = |there| if there { "so" } else { "not so" };
                    format!(
                        "that {user} follows {followee} is {} on the side of {followee}, and {} on \
                         that of {user}",
                        word(followee_says),
                        word(follower_says)
                    )
                });
            }
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
        let told = match facts.config.compat {
            Compat::Dsb => false,
            Compat::None | Compat::Beldi => match facts.config.formulation {
                Formulation::Txn => agree.examined > 0,
                Formulation::Async | Formulation::Sync => {
                    let enough = self.conflicts >= ENOUGH_CONFLICTS && agree.examined > 0;
                    enough || agree.violations > 0
                }
                Formulation::Causal => false,
            },
        };
        let mut reports = vec![rule];
        reports.extend(told.then_some(agree));
        reports
    }
}

fn loaded_edges(row: &Value) -> impl Iterator<Item = &str> {
    let loaded = row.get(LOADED).and_then(Value::as_map);
    loaded.into_iter().flatten().map(|(user, _)| &**user)
}
