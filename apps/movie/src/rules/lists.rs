//! Rules about lists and totals: M4, M6, M8, and what M7 says of the stored lists.
//!
//! **M7 on stored lists.** A list is stored in the order of its appends, and readers sort it. A
//! timestamp is taken before the append, by another function, so under concurrency a list holds
//! inversions that are nobody's fault. What must hold all the same, and is checked:
//!
//! * an entry has the timestamp of its review, so that every reader sorts alike;
//! * a bounded list has exactly `min(keep, n)` entries of its owner's n reviews;
//! * where an answer means that all is done (`ack = after-store`), real time binds: of two
//!   acknowledged composes of which one was sent after the other was answered, the later one has not
//!   the lower timestamp (but for [`CLOCK_SKEW_MS`]), and is not before the other in a list. Where
//!   only causes and effects are ordered, that binds two composes of one session.
//!
//! **Loaded reviews.** Lists that began with some ([`crate::loaded`]) still have them, each once, and
//! bounded ones count them. The totals do not.

use super::facts::{Entry, Facts, Lists, Review};
use crate::loaded;
use crate::{Ack, Formulation};
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::{Guarantee, RuleReport};

/// How much the clocks of two machines may differ. Virtual clocks do not; those of a cloud are kept
/// within milliseconds of each other, so this tolerates a thousand times what is usual.
const CLOCK_SKEW_MS: i64 = 1_000;

/// One of the two kinds of lists.
struct Kind<'a> {
    name: &'static str,
    lists: &'a Lists<'a>,
    owner: fn(&Review<'a>) -> &'a str,
    /// How many reviews each owner has, the listed ones from before the run among them.
    owned: BTreeMap<&'a str, usize>,
    /// How many of them are from before the run.
    before: BTreeMap<&'a str, usize>,
}

pub(super) fn check(facts: &Facts<'_>, order: &mut RuleReport) -> Vec<RuleReport> {
    let kinds = [
        kind(facts, "user", &facts.user_lists, |review| review.user_id),
        kind(facts, "movie", &facts.movie_lists, |review| review.movie_id),
    ];
    for kind in &kinds {
        entries_agree(facts, kind, order);
        append_order(facts, kind, order);
    }
    timestamps_follow_time(facts, order);
    vec![
        membership(facts, &kinds),
        conservation(facts, &kinds),
        totals(facts),
    ]
}

fn kind<'a>(
    facts: &'a Facts<'a>,
    name: &'static str,
    lists: &'a Lists<'a>,
    owner: fn(&Review<'a>) -> &'a str,
) -> Kind<'a> {
    let mut owned = BTreeMap::new();
    let mut before = BTreeMap::new();
    for (_, review) in facts.loaded.range(..facts.listed) {
        *before.entry(owner(review)).or_default() += 1;
        *owned.entry(owner(review)).or_default() += 1;
    }
    for review in &facts.reviews {
        *owned.entry(owner(review)).or_default() += 1;
    }
    Kind {
        name,
        lists,
        owner,
        owned,
        before,
    }
}

/// M4: a stored review is once in the list of its user, once in that of its movie, and in no other.
/// A bounded list that had more reviews than it keeps may have dropped it.
fn membership<'a>(facts: &Facts<'a>, kinds: &[Kind<'a>; 2]) -> RuleReport {
    let mut rule = RuleReport::new("M4", Guarantee::Effects);
    for kind in kinds {
        let mut own = vec![0_usize; facts.reviews.len()];
        let mut foreign: BTreeMap<usize, &str> = BTreeMap::new();
        for (owner, list) in kind.lists {
            for at in list
                .iter()
                .filter_map(|entry| facts.stored.get(entry.review_id))
            {
                if (kind.owner)(&facts.reviews[*at]) == *owner {
                    own[*at] += 1;
                } else {
                    foreign.insert(*at, owner);
                }
            }
        }
        for (at, review) in facts.reviews.iter().enumerate() {
            let (request, owner) = (facts.request_of(review), (kind.owner)(review));
            let kept = facts
                .config
                .keep
                .is_none_or(|keep| kind.owned[owner] <= keep);
            let count = own[at];
            rule.expect(count == 1 || (count == 0 && !kept), request, || {
                format!(
                    "review {} of compose {} is {count} times in the list of its {} {owner}",
                    review.key, review.req_id, kind.name
                )
            });
            rule.expect(!foreign.contains_key(&at), request, || {
                format!(
                    "review {} of compose {} is in the list of {} {}, not only of {owner}",
                    review.key, review.req_id, kind.name, foreign[&at]
                )
            });
        }
    }
    rule
}

/// M6: the lists of users, the lists of movies and the storage hold equally many reviews, beside those
/// from before the run, which are still there, each once. Entries without a review are told one by
/// one. Of bounded lists M7 knows the lengths.
fn conservation(facts: &Facts<'_>, kinds: &[Kind<'_>; 2]) -> RuleReport {
    let mut rule = RuleReport::new("M6", Guarantee::Effects);
    for kind in kinds {
        let mut entries = 0_i64;
        let mut old = vec![0_usize; facts.listed];
        for (owner, list) in kind.lists {
            for entry in list {
                let number = loaded::number(entry.review_id, facts.config.reviews);
                if let Some(times) = number.and_then(|number| old.get_mut(number)) {
                    *times += 1;
                    entries -= 1;
                }
                rule.expect(facts.is_stored(entry.review_id), None, || {
                    format!(
                        "review {:?} is in the list of {} {owner}, and is not stored",
                        entry.review_id, kind.name
                    )
                });
            }
            entries += list.len() as i64;
        }
        let stored = facts.reviews.len();
        if facts.config.keep.is_none() {
            for (number, times) in old.iter().enumerate() {
                rule.expect(*times == 1, None, || {
                    let id = loaded::id(number);
                    format!(
                        "review {id}, from before the run, is {times} times in the {} lists",
                        kind.name
                    )
                });
            }
            rule.expect(entries == stored as i64, None, || {
                format!(
                    "{stored} reviews are stored, and the {} lists have {entries}",
                    kind.name
                )
            });
        }
    }
    rule
}

/// M8: a movie's totals are those of its stored reviews.
fn totals(facts: &Facts<'_>) -> RuleReport {
    #[derive(Default)]
    struct Totals {
        expected: (i64, i64),
        found: (i64, i64),
        request: Option<u64>,
    }
    let mut movies: BTreeMap<&str, Totals> = BTreeMap::new();
    for review in &facts.reviews {
        let totals = movies.entry(review.movie_id).or_default();
        totals.expected.0 += review.rating.unwrap_or_default();
        totals.expected.1 += 1;
        let request = facts.request_of(review);
        totals.request = totals.request.into_iter().chain(request).min();
    }
    // In `causal` the totals stand beside the list, so that one step changes both.
    let table = match facts.config.formulation {
        Formulation::Causal => "MovieReview",
        Formulation::Orch | Formulation::Choreo => "Rating",
    };
    for (movie, row) in facts.evidence.state.rows(table) {
        let number = |field| super::facts::number(row, field).unwrap_or_default();
        movies.entry(movie).or_default().found = (number("sum"), number("num"));
    }
    let mut rule = RuleReport::new("M8", Guarantee::Effects);
    for (movie, totals) in movies {
        let (expected, found) = (totals.expected, totals.found);
        rule.expect(expected == found, totals.request, || {
            format!(
                "the {} stored reviews of movie {movie} rate it {} in sum, its totals say {} and {}",
                expected.1, expected.0, found.1, found.0
            )
        });
    }
    rule
}

/// The part of M7 about single entries and lengths.
fn entries_agree(facts: &Facts<'_>, kind: &Kind<'_>, rule: &mut RuleReport) {
    for (owner, list) in kind.lists {
        for entry in list {
            let Some(at) = facts.stored.get(entry.review_id) else {
                continue;
            };
            let review = &facts.reviews[*at];
            rule.expect(
                entry.timestamp == review.timestamp,
                facts.request_of(review),
                || {
                    format!(
                        "review {} is of {:?}, and the list of {} {owner} says {:?}",
                        review.key, review.timestamp, kind.name, entry.timestamp
                    )
                },
            );
        }
        if let Some(keep) = facts.config.keep {
            let owned = kind.owned.get(owner).copied().unwrap_or_default();
            let before = kind.before.get(owner).copied().unwrap_or_default();
            // What was loaded may be longer; only an append cuts it.
            let kept = if owned > before {
                keep
            } else {
                keep.max(before)
            };
            rule.expect(list.len() == owned.min(kept), None, || {
                format!(
                    "{} {owner} has {owned} reviews, and of at most {keep} its list has {}",
                    kind.name,
                    list.len()
                )
            });
        }
    }
}

/// The part of M7 about the order of the appends. Of an entry that is there twice (M4's finding) the
/// first one counts.
fn append_order(facts: &Facts<'_>, kind: &Kind<'_>, rule: &mut RuleReport) {
    if facts.config.ack != Ack::AfterStore {
        return;
    }
    for (owner, list) in kind.lists {
        let mut seen = BTreeSet::new();
        // Of the entries so far, the one that was sent last, of those that bind each other.
        let mut latest: BTreeMap<u32, (u64, &Entry<'_>)> = BTreeMap::new();
        for entry in list {
            let review = facts
                .stored
                .get(entry.review_id)
                .map(|at| &facts.reviews[*at]);
            let compose = review
                .and_then(|review| review.compose)
                .map(|at| &facts.composes[at]);
            let Some(compose) = compose.filter(|_| seen.insert(entry.review_id)) else {
                continue;
            };
            let Some(answered) = compose.answered_ns() else {
                continue;
            };
            let bound = facts.bound(compose.op);
            let before = latest.get(&bound).copied();
            if let Some((sent, before)) = before {
                rule.expect(answered > sent, Some(compose.op.index), || {
                    format!(
                        "review {} was acknowledged before {} was sent, and stands after it in the \
                         list of {} {owner}",
                        entry.review_id, before.review_id, kind.name
                    )
                });
            }
            if before.is_none_or(|(sent, _)| sent < compose.op.sent_ns) {
                latest.insert(bound, (compose.op.sent_ns, entry));
            }
        }
    }
}

/// The part of M7 about timestamps: one pass over the starts and ends of all acknowledged composes.
fn timestamps_follow_time(facts: &Facts<'_>, rule: &mut RuleReport) {
    if facts.config.ack != Ack::AfterStore {
        return;
    }
    let mut events = Vec::new();
    for compose in &facts.composes {
        let (Some(answered), [at]) = (compose.answered_ns(), &compose.reviews[..]) else {
            continue;
        };
        let review = &facts.reviews[*at];
        let Some(timestamp) = review.timestamp else {
            continue;
        };
        // At one instant, answers come before what is sent.
        events.push((answered, 0, timestamp, compose));
        events.push((compose.op.sent_ns, 1, timestamp, compose));
    }
    events.sort_by_key(|(time, phase, _, compose)| (*time, *phase, compose.op.index));
    let mut newest: BTreeMap<u32, (i64, &str)> = BTreeMap::new();
    for (_, phase, timestamp, compose) in events {
        let newest = newest.entry(facts.bound(compose.op));
        if phase == 0 {
            let answered = (timestamp, compose.req_id);
            let known = newest.or_insert(answered);
            *known = answered.max(*known);
        } else if let Slot::Occupied(known) = newest {
            let (before, req_id) = *known.get();
            rule.expect(timestamp + CLOCK_SKEW_MS >= before, Some(compose.op.index), || {
                format!(
                    "compose {} was sent after compose {req_id} was acknowledged, and its review is \
                     of {timestamp}, {} ms earlier",
                    compose.req_id,
                    before - timestamp
                )
            });
        }
    }
}
