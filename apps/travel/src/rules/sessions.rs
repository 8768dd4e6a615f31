//! T7-session: what remains of one thing, as one session is told, only shrinks.
//!
//! Every acknowledged reservation takes something, so of two of one session the later is told less;
//! and who was told that nothing is left does not get anything later. Later means that it was sent
//! when the other was answered. Where places come back, nothing is said.

use super::facts::{Facts, Reserve};
use crate::Mode;
use crate::nights::key;
use crate::seats::Leg;
use std::collections::BTreeMap;
use triptych_api::RuleReport;
use triptych_api::model::OutcomeClass;

/// What a session was told of one thing: when, what remains, and in which request.
#[derive(Default)]
struct Told<'a> {
    /// By when it was answered; what remained is the least so far.
    known: Vec<(u64, i64, &'a str)>,
    /// Acknowledged reservations.
    taken: Vec<(&'a Reserve<'a>, i64)>,
}

/// How many answers there were to compare with an earlier one.
pub(super) fn check(facts: &Facts<'_>, rule: &mut RuleReport) -> u64 {
    let mut told: BTreeMap<(u32, String), Told<'_>> = BTreeMap::new();
    for reserve in &facts.reserves {
        for (thing, left) in answers(facts, reserve) {
            let told = told.entry((reserve.op.session, thing)).or_default();
            told.known.push((reserve.op.done_ns, left, reserve.req_id));
            if reserve.acknowledged() {
                told.taken.push((reserve, left));
            }
        }
    }
    let mut pairs = 0;
    for ((session, thing), mut told) in told {
        told.known.sort_unstable();
        let mut least = (i64::MAX, "");
        for (_, left, request) in &mut told.known {
            least = least.min((*left, *request));
            (*left, *request) = least;
        }
        for (reserve, left) in told.taken {
            let earlier = told
                .known
                .partition_point(|(done, ..)| *done <= reserve.op.sent_ns);
            let Some((_, least, request)) = earlier.checked_sub(1).map(|at| told.known[at]) else {
                continue;
            };
            pairs += 1;
            rule.expect(left < least, Some(reserve.op.index), || {
                format!(
                    "session {session} was told in reservation {request} that {least} of {thing} are \
                     left, and later in {} that {left} are",
                    reserve.req_id
                )
            });
        }
    }
    pairs
}

/// What a reservation's answer says is left, by what.
fn answers(facts: &Facts<'_>, reserve: &Reserve<'_>) -> Vec<(String, i64)> {
    let mut answers = Vec::new();
    for leg in Leg::BOTH {
        let Some(id) = reserve.leg(leg) else { continue };
        let place = facts.places(leg).get(id);
        if place.is_none_or(|place| !place.released.is_empty()) {
            continue;
        }
        if leg == Leg::Hotel && facts.config.mode == Mode::Dates {
            let nights = reserve.nights().into_iter().zip(reserve.hotel_remaining());
            let nights = nights.filter(|_| reserve.acknowledged());
            answers.extend(nights.filter_map(|(night, left)| Some((key(id, &night), left?))));
        } else if reserve.acknowledged() {
            let left = reserve.remaining(leg);
            answers.extend(left.map(|left| (format!("{leg} {id}"), left)));
        } else if reserve.class == OutcomeClass::Rejected
            && reserve.op.outcome.reason() == leg.sold_out(id)
        {
            answers.push((format!("{leg} {id}"), 0));
        }
    }
    answers
}
