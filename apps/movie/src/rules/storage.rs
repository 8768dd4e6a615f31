//! Rules about single reviews, joins and stages: M1, M2, M3, M5, M9, M12, M13.

use super::facts::{Compose, Facts, Review, text};
use crate::{Formulation, loaded, stages};
use std::collections::BTreeMap;
use triptych_api::model::OutcomeClass;
use triptych_api::{Guarantee, RuleReport, Value};

pub(super) fn check(facts: &Facts<'_>) -> Vec<RuleReport> {
    let mut reports = exactly_one(facts).to_vec();
    reports.extend([no_ghost(facts), unique(facts), integrity(facts)]);
    reports.extend([joins_closed(facts), refusals(facts)]);
    if facts.config.formulation == Formulation::Causal {
        reports.push(stages_see(facts));
    }
    reports
}

/// Whether a request was given up because a stage did not see the parts.
fn saw_too_little(compose: &Compose<'_>) -> bool {
    compose.op.outcome.reason().starts_with(stages::UNSEEN)
}

/// M13: every stage of a compose has seen what those before it wrote.
fn stages_see(facts: &Facts<'_>) -> RuleReport {
    let mut rule = RuleReport::new("M13", Guarantee::Order);
    let over = [OutcomeClass::Ok, OutcomeClass::Rejected];
    let over = facts
        .composes
        .iter()
        .filter(|compose| over.contains(&compose.class));
    for compose in over {
        rule.expect(!saw_too_little(compose), Some(compose.op.index), || {
            let reason = compose.op.outcome.reason();
            format!("compose {} was given up: {reason}", compose.req_id)
        });
    }
    rule
}

/// M1: an acknowledged compose has exactly one stored review. That there is none at all is a loss as
/// well, and counts under durability too.
fn exactly_one(facts: &Facts<'_>) -> [RuleReport; 2] {
    let mut exact = RuleReport::new("M1", Guarantee::Effects);
    // Where parts meet by counting, two that count where neither knows of the other both miss that they
    // were the last: without linearizable operations nobody stores the review, and nothing was lost.
    let counts = facts.config.formulation == Formulation::Choreo;
    let mut durable = RuleReport::new("M1-durable", Guarantee::Durability)
        .asked(!counts || facts.evidence.asks_real_time());
    for compose in facts
        .composes
        .iter()
        .filter(|compose| compose.acknowledged())
    {
        let count = compose.reviews.len();
        let told = || {
            format!(
                "compose {} was acknowledged, and {count} reviews of it are stored{}",
                compose.req_id,
                ids_of(facts, compose),
            )
        };
        exact.expect(count == 1, Some(compose.op.index), told);
        durable.expect(count > 0, Some(compose.op.index), told);
    }
    // Requests without an answer may have their effect once, but not twice.
    let open = [OutcomeClass::Indeterminate, OutcomeClass::InFlight];
    for compose in facts
        .composes
        .iter()
        .filter(|compose| open.contains(&compose.class))
    {
        let count = compose.reviews.len();
        exact.expect(count <= 1, Some(compose.op.index), || {
            format!(
                "compose {} was never answered, and {count} reviews of it are stored{}",
                compose.req_id,
                ids_of(facts, compose),
            )
        });
    }
    for number in 0..facts.config.reviews {
        let id = loaded::id(number);
        durable.expect(facts.is_stored(&id), None, || {
            format!("review {id}, from before the run, is not stored any more")
        });
    }
    [exact, durable]
}

fn ids_of(facts: &Facts<'_>, compose: &Compose<'_>) -> String {
    let ids: Vec<&str> = compose
        .reviews
        .iter()
        .map(|at| facts.reviews[*at].key)
        .collect();
    if ids.is_empty() {
        String::new()
    } else {
        format!(": {}", ids.join(", "))
    }
}

/// M2: a stored review belongs to a request that may have had an effect. Refused requests are M12's.
fn no_ghost(facts: &Facts<'_>) -> RuleReport {
    let mut rule = RuleReport::new("M2", Guarantee::Effects);
    let effectless = [
        OutcomeClass::Failed,
        OutcomeClass::Aborted,
        OutcomeClass::Shed,
    ];
    for review in &facts.reviews {
        let compose = review.compose.map(|at| &facts.composes[at]);
        let ghost = compose.is_none_or(|compose| effectless.contains(&compose.class));
        rule.expect(!ghost, facts.request_of(review), || match compose {
            Some(compose) => format!(
                "review {} is stored, but its compose {} ended as {}: {}",
                review.key,
                review.req_id,
                compose.class,
                compose.op.outcome.reason()
            ),
            None => format!(
                "review {} is stored, but nobody sent its compose {:?}",
                review.key, review.req_id
            ),
        });
    }
    rule
}

/// M3: a review carries the id it is stored under, two acknowledged requests never got one id, and
/// the id that was answered is the one that is stored.
fn unique(facts: &Facts<'_>) -> RuleReport {
    let mut rule = RuleReport::new("M3", Guarantee::Effects);
    for review in &facts.reviews {
        rule.expect(
            review.review_id == review.key,
            facts.request_of(review),
            || {
                format!(
                    "the review stored as {} says that it is {:?}",
                    review.key, review.review_id
                )
            },
        );
    }
    let mut answered: BTreeMap<&str, &str> = BTreeMap::new();
    for compose in facts
        .composes
        .iter()
        .filter(|compose| compose.acknowledged())
    {
        let id = text(&compose.op.observed, "reviewId");
        let other = answered.insert(id, compose.req_id);
        rule.expect(other.is_none(), Some(compose.op.index), || {
            format!(
                "composes {} and {} were both answered with review {id:?}",
                other.unwrap_or_default(),
                compose.req_id
            )
        });
        // One that is missing, or there twice, is M1's.
        if let [at] = compose.reviews[..] {
            let stored = facts.reviews[at].key;
            rule.expect(stored == id, Some(compose.op.index), || {
                format!(
                    "compose {} was answered with review {id:?}, and is stored as {stored}",
                    compose.req_id
                )
            });
        }
    }
    rule
}

/// M5: nothing of a review comes from another request.
fn integrity(facts: &Facts<'_>) -> RuleReport {
    let mut rule = RuleReport::new("M5", Guarantee::Effects);
    for review in &facts.reviews {
        let Some(compose) = review.compose.map(|at| &facts.composes[at]) else {
            continue;
        };
        if compose.class == OutcomeClass::Rejected {
            continue;
        }
        let wrong = mixed_up(facts, review, compose);
        rule.expect(wrong.is_none(), Some(compose.op.index), || {
            format!(
                "review {} of compose {}: {}",
                review.key,
                review.req_id,
                wrong.unwrap_or_default()
            )
        });
    }
    rule
}

fn mixed_up(facts: &Facts<'_>, review: &Review<'_>, compose: &Compose<'_>) -> Option<String> {
    let (user, movie) = (facts.user(compose.username), facts.movie(compose.title));
    if review.text != compose.text {
        Some(format!(
            "its text begins with {:?}, the request's with {:?}",
            beginning(review.text),
            beginning(compose.text)
        ))
    } else if review.rating != compose.rating {
        Some(format!(
            "its rating is {:?}, the request's {:?}",
            review.rating, compose.rating
        ))
    } else if user != Some(review.user_id) {
        Some(format!(
            "its user is {:?}, the request's {user:?}",
            review.user_id
        ))
    } else if movie != Some(review.movie_id) {
        Some(format!(
            "its movie is {:?}, the request's {movie:?}",
            review.movie_id
        ))
    } else {
        None
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(12).collect()
}

/// M9: no join is left open. Locks, intents and transaction records are the runtime's residue, which
/// the oracle judges for every app.
fn joins_closed(facts: &Facts<'_>) -> RuleReport {
    let mut rule = RuleReport::new("M9", Guarantee::Effects);
    let by_request: BTreeMap<&str, u64> = facts
        .composes
        .iter()
        .map(|compose| (compose.req_id, compose.op.index))
        .collect();
    for (req_id, row) in facts.evidence.state.rows("ComposeReview") {
        rule.expect(flag(row, "fired"), by_request.get(req_id).copied(), || {
            let counter = row
                .get("counter")
                .and_then(Value::as_int)
                .unwrap_or_default();
            format!("the join of compose {req_id} is still open, with {counter} of 5 parts")
        });
    }
    rule
}

/// M12: a request was refused only if its user or its title is unknown, and then there is no review
/// of it, and no join of it that did anything but close.
fn refusals(facts: &Facts<'_>) -> RuleReport {
    let mut rule = RuleReport::new("M12", Guarantee::Effects);
    let refused = facts
        .composes
        .iter()
        .filter(|compose| compose.class == OutcomeClass::Rejected);
    for compose in refused {
        let index = Some(compose.op.index);
        let reason = compose.op.outcome.reason();
        let known = facts.user(compose.username).is_some() && facts.movie(compose.title).is_some();
        rule.expect(!known || saw_too_little(compose), index, || {
            format!(
                "compose {} was refused ({reason}), though user {} and title {:?} are known",
                compose.req_id, compose.username, compose.title
            )
        });
        rule.expect(compose.reviews.is_empty(), index, || {
            let ids = ids_of(facts, compose);
            format!(
                "compose {} was refused ({reason}), and left a review{ids}",
                compose.req_id
            )
        });
        let join = facts.evidence.state.get("ComposeReview", compose.req_id);
        let fired = join.is_some_and(|row| flag(row, "fired") && !flag(row, "cancelled"));
        rule.expect(!fired, index, || {
            format!(
                "compose {} was refused ({reason}), and its join has fired",
                compose.req_id
            )
        });
    }
    rule
}

fn flag(row: &Value, field: &str) -> bool {
    row.get(field).and_then(Value::as_bool).unwrap_or(false)
}
