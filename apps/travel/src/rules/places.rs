//! Rules about what is reserved by seats: T1, T2, T3, T5, T6, T7.
//!
//! Where nights are reserved a hotel's row has no seats to count, so of hotels most of these rules
//! are silent there; flights are always reserved by seats.

use super::Book;
use super::facts::{Facts, Reserve};
use crate::Mode;
use crate::seats::Leg;
use std::collections::{BTreeMap, BTreeSet};

/// What is reserved by seats.
fn legs(facts: &Facts<'_>) -> &'static [Leg] {
    match facts.config.mode {
        Mode::Seats => &Leg::BOTH,
        Mode::Dates => &[Leg::Flight],
    }
}

/// T2: what is left is within its bounds, in every answer and at the end.
pub(super) fn bounds(facts: &Facts<'_>, book: &mut Book) {
    for leg in Leg::BOTH {
        for (id, place) in facts.places(leg) {
            let fine = match (place.cap, place.total) {
                (Some(cap), Some(total)) => (0..=total).contains(&cap),
                _ => false,
            };
            book.t2.expect(fine, None, || {
                format!("{leg} {id} has {:?} of {:?} left", place.cap, place.total)
            });
        }
    }
    for reserve in facts.reserves.iter().filter(|r| r.acknowledged()) {
        for &leg in legs(facts) {
            let Some((id, left)) = reserve.leg(leg).zip(reserve.remaining(leg)) else {
                continue;
            };
            let total = facts.places(leg).get(id).and_then(|place| place.total);
            let fine = total.is_some_and(|total| (0..=total).contains(&left));
            book.t2.expect(fine, Some(reserve.op.index), || {
                format!(
                    "reservation {} was answered that {left} of {total:?} are left of {leg} {id}",
                    reserve.req_id
                )
            });
        }
    }
}

pub(super) fn check(facts: &Facts<'_>, book: &mut Book) {
    for &leg in legs(facts) {
        conservation(facts, leg, book);
        customers(facts, leg, book);
        witnesses(facts, leg, book);
    }
    atomicity(facts, book);
}

/// T1: total − cap is the number of reservations that have, or must have, a place.
fn conservation(facts: &Facts<'_>, leg: Leg, book: &mut Book) {
    let mut named: BTreeMap<&str, (i64, Option<u64>)> = BTreeMap::new();
    for reserve in &facts.reserves {
        let has = facts.has(reserve, leg) == Some(true);
        if let (true, Some(id)) = (
            reserve.acknowledged() || reserve.open() && has,
            reserve.leg(leg),
        ) {
            let (count, request) = named.entry(id).or_default();
            *count += 1;
            *request = (*request).into_iter().chain([reserve.op.index]).min();
        }
    }
    for (id, place) in facts.places(leg) {
        let (reserved, request) = named.remove(id).unwrap_or_default();
        let gone = place.gone();
        book.t1.expect(gone == reserved, request, || {
            format!("{gone} places of {leg} {id} are gone, and {reserved} reservations have one")
        });
    }
    for (id, (reserved, request)) in named {
        book.t1.expect(false, request, || {
            format!("{reserved} reservations have places of {leg} {id}, which does not exist")
        });
    }
}

/// T5, T5-once and T6: who has a place.
fn customers(facts: &Facts<'_>, leg: Leg, book: &mut Book) {
    for (id, place) in facts.places(leg) {
        for list in [&place.customers, &place.released] {
            let mut seen = BTreeSet::new();
            for order in list {
                let request = facts.request_of_id(order);
                book.once.expect(seen.insert(*order), request, || {
                    format!("{order} took a place of {leg} {id}, or gave it back, twice")
                });
            }
        }
        let held = place.customers.len() as i64 - place.released.len() as i64;
        let gone = place.gone();
        book.t5.expect(held == gone, None, || {
            format!("{gone} places of {leg} {id} are gone, and it has {held} customers")
        });
    }
    for (id, order) in &facts.holders[leg as usize] {
        let reserve = facts.reserve_of(order);
        let own = reserve.is_some_and(|r| r.leg(leg) == Some(*id) && r.may_hold());
        let request = reserve.map(|reserve| reserve.op.index);
        book.t6.expect(own, request, || match reserve {
            None => format!("{order} has a place of {leg} {id}, and nobody sent its reservation"),
            Some(reserve) => format!(
                "{order} has a place of {leg} {id}, and its reservation of {:?} ended as {}: {}",
                reserve.leg(leg),
                reserve.class,
                reserve.op.outcome.reason()
            ),
        });
    }
    for reserve in facts.reserves.iter().filter(|r| r.acknowledged()) {
        if let Some(has) = facts.has(reserve, leg) {
            book.t5.expect(has, Some(reserve.op.index), || {
                let id = reserve.leg(leg).unwrap_or_default();
                format!(
                    "reservation {} was acknowledged, and has no place of {leg} {id}",
                    reserve.req_id
                )
            });
        }
    }
}

/// T3: all that was asked for, or nothing; and what was asked for was answered.
fn atomicity(facts: &Facts<'_>, book: &mut Book) {
    for reserve in &facts.reserves {
        let index = Some(reserve.op.index);
        let has = Leg::BOTH.map(|leg| facts.has(reserve, leg));
        let torn = has.contains(&Some(true)) && has.contains(&Some(false));
        book.t3.expect(!torn, index, || {
            let leg = if has[0] == Some(true) { 0 } else { 1 };
            format!(
                "reservation {} ended as {}, and has the {} alone",
                reserve.req_id,
                reserve.class,
                Leg::BOTH[leg]
            )
        });
        if reserve.acknowledged() {
            let silent =
                |leg: &&Leg| reserve.leg(**leg).is_some() && reserve.remaining(**leg).is_none();
            let silent = legs(facts).iter().find(silent);
            book.t3.expect(silent.is_none(), index, || {
                let leg = silent.map_or_else(String::new, |leg| leg.to_string());
                format!(
                    "reservation {} was acknowledged without the {leg} that it asked for",
                    reserve.req_id
                )
            });
        }
    }
}

/// T7: no two reservations of one thing were answered that equally many remain. Where places come
/// back, that may happen, and nothing is said.
fn witnesses(facts: &Facts<'_>, leg: Leg, book: &mut Book) {
    let mut answered: BTreeMap<(&str, i64), &Reserve<'_>> = BTreeMap::new();
    for reserve in facts.reserves.iter().filter(|r| r.acknowledged()) {
        let Some((id, left)) = reserve.leg(leg).zip(reserve.remaining(leg)) else {
            continue;
        };
        let Some(place) = facts.places(leg).get(id) else {
            continue;
        };
        if !place.released.is_empty() {
            continue;
        }
        let index = Some(reserve.op.index);
        let other = answered.insert((id, left), reserve);
        book.t7.expect(other.is_none(), index, || {
            let other = other.map_or("", |other| other.req_id);
            format!(
                "reservations {other} and {} were both answered that {left} of {leg} {id} are left",
                reserve.req_id
            )
        });
        // One that comes after the last one, or leaves as many as there were, took nothing.
        let cap = place.cap.unwrap_or_default();
        let total = place.total.unwrap_or_default();
        book.t7.expect((cap..total).contains(&left), index, || {
            format!(
                "reservation {} was answered that {left} of {leg} {id} are left, which had {total} \
                 and has {cap}",
                reserve.req_id
            )
        });
    }
}
