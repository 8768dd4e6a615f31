//! Rules about what is reserved by seats: T1, T2, T3, T5, T6, T7, T8.
//!
//! Where nights are reserved a hotel's row has no seats to count, so of hotels these rules are silent
//! there; flights are always reserved by seats.

use super::Book;
use super::facts::{Facts, Reserve};
use crate::seats::Leg;
use crate::{Formulation, Mode};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::OutcomeClass;

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
        refusals(facts, leg, book);
    }
    atomicity(facts, book);
}

/// T1: total − cap = number of orders.
fn conservation(facts: &Facts<'_>, leg: Leg, book: &mut Book) {
    let mut named: BTreeMap<&str, (i64, Option<u64>)> = BTreeMap::new();
    for order in &facts.orders {
        if let Some(id) = order.leg(leg) {
            let (count, request) = named.entry(id).or_default();
            *count += 1;
            *request = (*request).into_iter().chain(facts.request_of(order)).min();
        }
    }
    for (id, place) in facts.places(leg) {
        let (orders, request) = named.remove(id).unwrap_or_default();
        let gone = place.total.unwrap_or_default() - place.cap.unwrap_or_default();
        book.t1.expect(gone == orders, request, || {
            format!("{gone} places of {leg} {id} are gone, and {orders} orders name it")
        });
    }
    for (id, (orders, request)) in named {
        book.t1.expect(false, request, || {
            format!("{orders} orders name {leg} {id}, which does not exist")
        });
    }
}

/// T5, T5-once and T6: who has a place.
fn customers(facts: &Facts<'_>, leg: Leg, book: &mut Book) {
    let mut holds: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (id, place) in facts.places(leg) {
        let mut given_back: BTreeMap<&str, i64> = BTreeMap::new();
        for order in &place.released {
            *given_back.entry(order).or_default() += 1;
        }
        let mut seen = BTreeSet::new();
        for order in &place.customers {
            let request = facts.request_of_id(order);
            book.once.expect(seen.insert(*order), request, || {
                format!("{order} is a customer of {leg} {id} twice")
            });
            let back = given_back.get_mut(order).filter(|times| **times > 0);
            if let Some(times) = back {
                *times -= 1;
                continue;
            }
            holds.insert((id, order));
            let own = facts.ordered.get(order);
            let own = own.and_then(|at| facts.orders[*at].leg(leg));
            book.t6.expect(own == Some(*id), request, || match own {
                None => format!("{order} holds a place of {leg} {id}, and there is no such order"),
                Some(own) => format!("{order} holds a place of {leg} {id}, and is of {own}"),
            });
        }
        for (order, times) in given_back.into_iter().filter(|(_, times)| *times > 0) {
            book.once.expect(false, facts.request_of_id(order), || {
                format!("{order} gave back {times} places of {leg} {id} more than it had")
            });
        }
        let held = place.customers.len() as i64 - place.released.len() as i64;
        let gone = place.total.unwrap_or_default() - place.cap.unwrap_or_default();
        book.t5.expect(held == gone, None, || {
            format!("{gone} places of {leg} {id} are gone, and it has {held} customers")
        });
    }
    for order in &facts.orders {
        if let Some(id) = order.leg(leg) {
            let found = holds.contains(&(id, order.key));
            book.t5.expect(found, facts.request_of(order), || {
                format!("{} is not a customer of its {leg} {id}", order.key)
            });
        }
    }
}

/// T3: places of hotels, places of flights and orders add up alike, and an order has both legs.
fn atomicity(facts: &Facts<'_>, book: &mut Book) {
    let gone = |leg| -> i64 {
        let places = facts.places(leg).values();
        let gone = places.map(|p| p.total.unwrap_or_default() - p.cap.unwrap_or_default());
        gone.sum()
    };
    for &leg in legs(facts) {
        let with = facts.orders.iter().filter(|order| order.leg(leg).is_some());
        let (gone, with) = (gone(leg), with.count() as i64);
        book.t3.expect(gone == with, None, || {
            format!("{gone} places of {leg}s are gone, and {with} orders have one")
        });
    }
    for order in &facts.orders {
        let asked = order.reserve.map(|at| &facts.reserves[at]);
        let lacks = |leg: &Leg| {
            let asked = asked.is_none_or(|reserve| reserve.leg(*leg).is_some());
            asked && order.leg(*leg).is_none()
        };
        let lacks = Leg::BOTH.into_iter().find(lacks);
        // A place that was asked for and not answered was never taken.
        let untaken = asked
            .filter(|reserve| reserve.acknowledged())
            .and_then(|reserve| {
                let untaken =
                    |leg: &&Leg| reserve.leg(**leg).is_some() && reserve.remaining(**leg).is_none();
                legs(facts).iter().find(untaken).copied()
            });
        let wrong = lacks.or(untaken);
        book.t3
            .expect(wrong.is_none(), facts.request_of(order), || {
                let leg = wrong.map_or_else(String::new, |leg| leg.to_string());
                format!("{} is without the {leg} that was asked for", order.key)
            });
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
        let (cap, total) = (
            place.cap.unwrap_or_default(),
            place.total.unwrap_or_default(),
        );
        book.t7.expect((cap..total).contains(&left), index, || {
            format!(
                "reservation {} was answered that {left} of {leg} {id} are left, which had {total} \
                 and has {cap}",
                reserve.req_id
            )
        });
    }
}

/// T8: sold out is said only where it may have been.
fn refusals(facts: &Facts<'_>, leg: Leg, book: &mut Book) {
    let saga = facts.config.formulation == Formulation::Saga;
    // When each reservation that may have held a place, even for a while, was sent.
    let mut takers: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for reserve in &facts.reserves {
        let may_hold = match reserve.class {
            OutcomeClass::Ok
            | OutcomeClass::Indeterminate
            | OutcomeClass::InFlight
            | OutcomeClass::Aborted => true,
            // A saga whose flight was refused had the hotel until then.
            OutcomeClass::Rejected => saga && leg == Leg::Hotel,
            _ => false,
        };
        if let (true, Some(id)) = (may_hold, reserve.leg(leg)) {
            takers.entry(id).or_default().push(reserve.op.sent_ns);
        }
    }
    takers.values_mut().for_each(|sent| sent.sort_unstable());
    for reserve in &facts.reserves {
        let Some(id) = reserve.leg(leg) else { continue };
        if reserve.class != OutcomeClass::Rejected
            || reserve.op.outcome.reason() != leg.sold_out(id)
        {
            continue;
        }
        let index = Some(reserve.op.index);
        let place = facts.places(leg).get(id);
        let total = place.and_then(|place| place.total).unwrap_or_default();
        let before = takers.get(id).map_or(0, |sent| {
            sent.partition_point(|sent| *sent < reserve.op.done_ns)
        });
        book.t8.expect(before as i64 >= total, index, || {
            format!(
                "reservation {} was told that {leg} {id} is sold out, and only {before} of {total} \
                 places can have been taken by then",
                reserve.req_id
            )
        });
        let left = place.filter(|place| place.released.is_empty());
        let left = left.and_then(|place| place.cap).unwrap_or_default();
        book.t8.expect(left <= 0, index, || {
            format!(
                "reservation {} was told that {leg} {id} is sold out, and {left} places are left",
                reserve.req_id
            )
        });
    }
}
