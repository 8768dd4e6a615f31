//! Rules about nights: T9, and what T7 and T8 say of them.

use super::Book;
use super::facts::{Facts, number, rows, texts};
use crate::nights::{key, nights};
use crate::seats::Leg;
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::OutcomeClass;

/// A row of the table `Night`.
struct Night<'a> {
    booked: i64,
    stays: Vec<&'a str>,
}

pub(super) fn check(facts: &Facts<'_>, book: &mut Book) {
    let found: BTreeMap<&str, Night<'_>> = rows(facts.evidence.state, "Night")
        .map(|(key, row)| {
            let booked = number(row, "booked").unwrap_or_default();
            let stays = texts(row, "stays");
            (key, Night { booked, stays })
        })
        .collect();
    rooms(facts, &found, book);
    stays(facts, &found, book);
    answers(facts, &found, book);
}

fn total(facts: &Facts<'_>, hotel: &str) -> i64 {
    let place = facts.places(Leg::Hotel).get(hotel);
    place.and_then(|place| place.total).unwrap_or_default()
}

/// No night is overbooked, and its counter is the sum of its stays.
fn rooms(facts: &Facts<'_>, found: &BTreeMap<&str, Night<'_>>, book: &mut Book) {
    for (key, night) in found {
        let hotel = key.split_once('/').map_or(*key, |(hotel, _)| hotel);
        let total = total(facts, hotel);
        let requests = night.stays.iter().filter_map(|id| facts.request_of_id(id));
        let request = requests.min();
        book.t9.expect(night.booked <= total, request, || {
            format!(
                "{} rooms are booked in night {key} of {total}",
                night.booked
            )
        });
        let rooms = |id: &&str| {
            let order = facts.ordered.get(id).map(|at| &facts.orders[*at]);
            order
                .and_then(|order| order.stay)
                .map_or(0, |stay| stay.rooms)
        };
        let sum: i64 = night.stays.iter().map(rooms).sum();
        book.t9.expect(night.booked == sum, request, || {
            format!(
                "night {key} has {} rooms booked, and its orders {sum}",
                night.booked
            )
        });
        let mut seen = BTreeSet::new();
        for order in &night.stays {
            book.once
                .expect(seen.insert(*order), facts.request_of_id(order), || {
                    format!("{order} stays twice in night {key}")
                });
        }
    }
}

/// An order stays in all of its nights, and in no other.
fn stays(facts: &Facts<'_>, found: &BTreeMap<&str, Night<'_>>, book: &mut Book) {
    let booked: BTreeSet<(&str, &str)> = found
        .iter()
        .flat_map(|(key, night)| night.stays.iter().map(|order| (*key, *order)))
        .collect();
    let mut wanted: BTreeSet<(String, &str)> = BTreeSet::new();
    for order in &facts.orders {
        let (Some(hotel), Some(stay)) = (order.leg(Leg::Hotel), order.stay) else {
            continue;
        };
        let request = facts.request_of(order);
        for night in nights(stay.in_date, stay.out_date).unwrap_or_default() {
            let key = key(hotel, &night);
            let there = booked.contains(&(key.as_str(), order.key));
            book.t9.expect(there, request, || {
                format!("{} has no room in night {key} of its stay", order.key)
            });
            wanted.insert((key, order.key));
        }
    }
    for (key, order) in booked {
        let there = wanted.contains(&(key.to_owned(), order));
        let request = facts.request_of_id(order);
        let known = facts.ordered.contains_key(order);
        book.t6.expect(known, request, || {
            format!("{order} has a room in night {key}, and there is no such order")
        });
        if known {
            book.t9.expect(there, request, || {
                format!("{order} has a room in night {key}, which is not of its stay")
            });
        }
    }
}

/// T7 and T8 of nights: a reservation of `r` rooms that leaves `n` has the rooms from `n` to `n + r`
/// for itself; and bookings only grow, so what is free at the end was never sold out.
fn answers(facts: &Facts<'_>, found: &BTreeMap<&str, Night<'_>>, book: &mut Book) {
    let mut taken: BTreeMap<(String, i64), &str> = BTreeMap::new();
    for reserve in &facts.reserves {
        let (Some(hotel), Some(stay)) = (reserve.leg(Leg::Hotel), reserve.stay) else {
            continue;
        };
        let index = Some(reserve.op.index);
        let stay = nights(stay.in_date, stay.out_date).unwrap_or_default();
        let total = total(facts, hotel);
        if reserve.acknowledged() {
            for (night, left) in stay.iter().zip(reserve.hotel_remaining()) {
                let left = left.unwrap_or(i64::MIN);
                let fine = (0..=total - reserve.rooms()).contains(&left);
                book.t2.expect(fine, index, || {
                    format!(
                        "reservation {} was answered that {left} of {total} rooms of hotel {hotel} \
                         are left on {night}",
                        reserve.req_id
                    )
                });
                for room in 0..if fine { reserve.rooms() } else { 0 } {
                    let room = (key(hotel, night), left + room);
                    let other = taken.insert(room, reserve.req_id);
                    book.t7.expect(other.is_none(), index, || {
                        format!(
                            "reservations {} and {} were both answered with one room of hotel \
                             {hotel} on {night}",
                            other.unwrap_or_default(),
                            reserve.req_id
                        )
                    });
                }
            }
        }
        if reserve.class == OutcomeClass::Rejected {
            let reason = reserve.op.outcome.reason();
            let refused = stay
                .iter()
                .find(|night| reason == Leg::Hotel.sold_out(&format!("{hotel} on {night}")));
            let Some(night) = refused else { continue };
            let night = key(hotel, night);
            let booked = found.get(night.as_str()).map_or(0, |night| night.booked);
            book.t8.expect(booked + reserve.rooms() > total, index, || {
                format!(
                    "reservation {} was told that night {night} is sold out, and only {booked} of \
                     {total} rooms are taken at the end",
                    reserve.req_id
                )
            });
        }
    }
}
