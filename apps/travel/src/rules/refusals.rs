//! Why reservations were refused: T8, and what T11 says of names and passwords.
//!
//! A refusal has one of the reasons that there are, and the reason is true. Sold out is true of seats
//! if so many reservations that may have held one were sent before the answer as there are seats, and
//! of a night if their rooms leave too few; and what is free at the end, where nothing ever comes
//! back, was never sold out.

use super::Book;
use super::facts::{Facts, Reserve, number, text};
use crate::accounts::stored;
use crate::nights::{MOST_ROOMS, key, nights};
use crate::seats::Leg;
use crate::{Formulation, Mode};
use std::collections::BTreeMap;
use triptych_api::model::OutcomeClass;

/// When those were sent that may have held places, even for a while, and how many; by what they hold.
type Takers = BTreeMap<String, Vec<(u64, i64)>>;

pub(super) fn check(facts: &Facts<'_>, book: &mut Book) {
    let takers = takers(facts);
    for reserve in &facts.reserves {
        match reserve.class {
            OutcomeClass::Rejected => refusal(facts, reserve, &takers, book),
            OutcomeClass::Ok if reserve.stay.is_some() => {
                let right = password_is_right(facts, reserve);
                book.t11.expect(right, Some(reserve.op.index), || {
                    format!("reservation {} came with a wrong password", reserve.req_id)
                });
            }
            _ => {}
        }
    }
}

/// What a leg is called among the takers.
fn name(leg: Leg, what: &str) -> String {
    format!("{leg} {what}")
}

fn takers(facts: &Facts<'_>) -> Takers {
    let saga = facts.config.formulation == Formulation::Saga;
    let mut takers = Takers::new();
    for reserve in &facts.reserves {
        for leg in Leg::BOTH {
            let Some(id) = reserve.leg(leg) else { continue };
            // A saga whose flight was refused had the hotel until then.
            let had = saga
                && leg == Leg::Hotel
                && reserve.class == OutcomeClass::Rejected
                && reserve.op.outcome.reason() != leg.sold_out(id);
            if !had && !reserve.may_have_held() {
                continue;
            }
            let one = (reserve.op.sent_ns, reserve.rooms());
            if leg == Leg::Hotel && reserve.stay.is_some() {
                for night in reserve.nights() {
                    let name = name(leg, &key(id, &night));
                    takers.entry(name).or_default().push(one);
                }
            } else {
                let one = (one.0, 1);
                takers.entry(name(leg, id)).or_default().push(one);
            }
        }
    }
    for sent in takers.values_mut() {
        sent.sort_unstable();
        // From here on: how many by then.
        let mut sum = 0_i64;
        for (_, count) in sent {
            sum = sum.saturating_add(*count);
            *count = sum;
        }
    }
    takers
}

/// How many may have been taken by a time.
fn taken_by(takers: &Takers, name: &str, time: u64) -> i64 {
    let sent = takers.get(name).map_or(&[][..], Vec::as_slice);
    let before = sent.partition_point(|(sent, _)| *sent <= time);
    before.checked_sub(1).map_or(0, |last| sent[last].1)
}

fn refusal(facts: &Facts<'_>, reserve: &Reserve<'_>, takers: &Takers, book: &mut Book) {
    let (index, reason) = (Some(reserve.op.index), reserve.op.outcome.reason());
    if facts.config.mode == Mode::Dates && reason == format!("wrong password of {}", reserve.user) {
        let right = password_is_right(facts, reserve);
        book.t11.expect(!right, index, || {
            format!(
                "reservation {} was refused: {reason}, which is right",
                reserve.req_id
            )
        });
        return;
    }
    for leg in Leg::BOTH {
        let Some(id) = reserve.leg(leg) else { continue };
        if reason == format!("unknown {leg}: {id}") {
            let known = facts.places(leg).contains_key(id);
            book.t11.expect(!known, index, || {
                format!(
                    "reservation {} was refused: {reason}, which is there",
                    reserve.req_id
                )
            });
            return;
        }
        if reason == leg.sold_out(id) {
            return seats_sold_out(facts, reserve, (leg, id), takers, book);
        }
    }
    let hotel = reserve.leg(Leg::Hotel).unwrap_or_default();
    let sold = |night: &&String| reason == Leg::Hotel.sold_out(&format!("{hotel} on {night}"));
    if let Some(night) = reserve.nights().iter().find(sold) {
        return night_sold_out(facts, reserve, (hotel, night), takers, book);
    }
    // What is left is about the request itself.
    let fits = match (facts.config.mode, reserve.stay) {
        (Mode::Seats, None) => reserve.leg(Leg::Hotel).is_some(),
        (Mode::Dates, Some(stay)) => {
            nights(stay.in_date, stay.out_date).is_ok() && (1..=MOST_ROOMS).contains(&stay.rooms)
        }
        _ => false,
    };
    book.t8.expect(!fits, index, || {
        format!(
            "reservation {} was refused for no reason that there is: {reason}",
            reserve.req_id
        )
    });
}

fn seats_sold_out(
    facts: &Facts<'_>,
    reserve: &Reserve<'_>,
    (leg, id): (Leg, &str),
    takers: &Takers,
    book: &mut Book,
) {
    let index = Some(reserve.op.index);
    let place = facts.places(leg).get(id);
    let total = place.and_then(|place| place.total).unwrap_or_default();
    let before = taken_by(takers, &name(leg, id), reserve.op.done_ns);
    book.t8.expect(before >= total, index, || {
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

fn night_sold_out(
    facts: &Facts<'_>,
    reserve: &Reserve<'_>,
    (hotel, night): (&str, &str),
    takers: &Takers,
    book: &mut Book,
) {
    let index = Some(reserve.op.index);
    let total = facts.places(Leg::Hotel).get(hotel);
    let total = total.and_then(|place| place.total).unwrap_or_default();
    let night = key(hotel, night);
    let row = facts.evidence.state.get("Night", &night);
    let booked = row.and_then(|row| number(row, "booked")).unwrap_or(0);
    let before = taken_by(takers, &name(Leg::Hotel, &night), reserve.op.done_ns);
    for (taken, when) in [(booked, "at the end"), (before, "by then")] {
        let full = taken.saturating_add(reserve.rooms()) > total;
        book.t8.expect(full, index, || {
            format!(
                "reservation {} was told that night {night} is sold out, and {taken} of {total} \
                 rooms can have been taken {when}",
                reserve.req_id
            )
        });
    }
}

fn password_is_right(facts: &Facts<'_>, reserve: &Reserve<'_>) -> bool {
    let stay = reserve.op.input.get("stay");
    let password = stay.map_or("", |stay| text(stay, "password"));
    let row = facts.evidence.state.get("User", reserve.user);
    let known = row.map_or("", |row| text(row, "password"));
    known == stored(facts.config.compat, reserve.user, password)
}
