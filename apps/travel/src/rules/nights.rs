//! Rules about nights: T9 and T9-stays, and what T2, T3, T6 and T7 say of them.

use super::Book;
use super::facts::{Facts, number, texts};
use crate::nights::{MOST_ROOMS, key};
use crate::seats::Leg;
use std::collections::{BTreeMap, BTreeSet};

/// A row of the table `Night`.
struct Night<'a> {
    booked: i64,
    stays: Vec<&'a str>,
}

pub(super) fn check(facts: &Facts<'_>, book: &mut Book) {
    let found: BTreeMap<&str, Night<'_>> = facts
        .evidence
        .state
        .rows("Night")
        .map(|(key, row)| {
            let booked = number(row, "booked").unwrap_or_default();
            let stays = texts(row, "stays");
            (key, Night { booked, stays })
        })
        .collect();
    rooms(facts, &found, book);
    stays(facts, &found, book);
    answers(facts, book);
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
        let guests: BTreeSet<&str> = night.stays.iter().copied().collect();
        let rooms = guests.into_iter().fold(0_i64, |sum, id| {
            let rooms = facts.reserve_of(id).map_or(0, |reserve| reserve.rooms());
            sum.saturating_add(rooms)
        });
        book.stays.expect(night.booked == rooms, request, || {
            format!(
                "night {key} has {} rooms booked, and its stays {rooms}",
                night.booked
            )
        });
        let mut seen = BTreeSet::new();
        for order in &night.stays {
            let request = facts.request_of_id(order);
            book.once.expect(seen.insert(*order), request, || {
                format!("{order} stays twice in night {key}")
            });
        }
    }
}

/// A stay has all of its nights and no other, if it has any; an acknowledged one has them.
fn stays(facts: &Facts<'_>, found: &BTreeMap<&str, Night<'_>>, book: &mut Book) {
    let booked: BTreeSet<(&str, &str)> = found
        .iter()
        .flat_map(|(key, night)| night.stays.iter().map(|order| (*key, *order)))
        .collect();
    let mut wanted: BTreeSet<(String, &str)> = BTreeSet::new();
    for reserve in &facts.reserves {
        let (Some(hotel), true) = (reserve.leg(Leg::Hotel), reserve.may_hold()) else {
            continue;
        };
        let (index, order) = (Some(reserve.op.index), reserve.order_id.as_str());
        let nights = reserve.nights();
        let has = |night: &&String| booked.contains(&(key(hotel, night).as_str(), order));
        let missing = nights.iter().find(|night| !has(night));
        if reserve.acknowledged() {
            book.stays.expect(missing.is_none(), index, || {
                let night = missing.map_or("", String::as_str);
                format!("{order} has no room in hotel {hotel} on {night}, a night of its stay")
            });
        } else {
            let torn = missing.is_some() && nights.iter().any(|night| has(&night));
            book.t3.expect(!torn, index, || {
                format!("{order} was never answered, and has a part of its nights in hotel {hotel}")
            });
        }
        wanted.extend(nights.iter().map(|night| (key(hotel, night), order)));
    }
    for (key, order) in booked {
        let reserve = facts.reserve_of(order);
        let request = reserve.map(|reserve| reserve.op.index);
        let own = reserve.is_some_and(|reserve| reserve.may_hold());
        book.t6.expect(own, request, || match reserve {
            None => format!("{order} has a room in night {key}, and nobody sent its reservation"),
            Some(reserve) => format!(
                "{order} has a room in night {key}, and its reservation ended as {}: {}",
                reserve.class,
                reserve.op.outcome.reason()
            ),
        });
        if own {
            let there = wanted.contains(&(key.to_owned(), order));
            book.t9.expect(there, request, || {
                format!("{order} has a room in night {key}, which is not of its stay")
            });
        }
    }
}

/// T7 of nights: a reservation of `r` rooms that leaves `n` has the rooms from `n` to `n + r` for
/// itself.
fn answers(facts: &Facts<'_>, book: &mut Book) {
    let mut taken: BTreeMap<(String, i64), &str> = BTreeMap::new();
    for reserve in facts.reserves.iter().filter(|r| r.acknowledged()) {
        let Some(hotel) = reserve.leg(Leg::Hotel) else {
            continue;
        };
        let (index, nights) = (Some(reserve.op.index), reserve.nights());
        let answered = reserve.hotel_remaining().count();
        book.t7.expect(answered == nights.len(), index, || {
            format!(
                "reservation {} of {} nights was answered for {answered}",
                reserve.req_id,
                nights.len()
            )
        });
        let total = total(facts, hotel);
        let rooms = reserve.rooms().clamp(0, MOST_ROOMS);
        for (night, left) in nights.iter().zip(reserve.hotel_remaining()) {
            let left = left.unwrap_or(i64::MIN);
            let fine = (0..=total.saturating_sub(rooms)).contains(&left);
            book.t2.expect(fine, index, || {
                format!(
                    "reservation {} was answered that {left} of {total} rooms of hotel {hotel} are \
                     left on {night}",
                    reserve.req_id
                )
            });
            for room in 0..if fine { rooms } else { 0 } {
                let room = (key(hotel, night), left + room);
                let other = taken.insert(room, reserve.req_id);
                book.t7.expect(other.is_none(), index, || {
                    format!(
                        "reservations {} and {} were both answered with one room of hotel {hotel} \
                         on {night}",
                        other.unwrap_or_default(),
                        reserve.req_id
                    )
                });
            }
        }
    }
}
