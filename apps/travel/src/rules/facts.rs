//! The evidence, read once: reservations by what they were, rows by what they say.
//!
//! Rows are read leniently. A field that is missing or of another type reads as empty, and the rule
//! that compares it then finds the difference: a broken row is a finding, never a crash.

use crate::frontend::FAILURE;
use crate::nights::nights;
use crate::orders::order_id;
use crate::seats::Leg;
use crate::{Compat, Config, Formulation, Order};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::{OpRecord, OutcomeClass};
use triptych_api::{Coverage, Evidence, Value};

/// A reservation, as its client asked for it and saw it end.
pub(super) struct Reserve<'a> {
    pub(super) op: &'a OpRecord,
    pub(super) class: OutcomeClass,
    pub(super) req_id: &'a str,
    /// The id that its order must have.
    pub(super) order_id: String,
    pub(super) user: &'a str,
    /// Hotel and flight.
    pub(super) legs: [Option<&'a str>; 2],
    /// Where nights are reserved.
    pub(super) stay: Option<Stay<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stay<'a> {
    pub(super) in_date: &'a str,
    pub(super) out_date: &'a str,
    pub(super) rooms: i64,
}

impl<'a> Reserve<'a> {
    pub(super) fn acknowledged(&self) -> bool {
        self.class == OutcomeClass::Ok
    }

    /// Whether nobody was told how it ended.
    pub(super) fn open(&self) -> bool {
        matches!(
            self.class,
            OutcomeClass::Indeterminate | OutcomeClass::InFlight
        )
    }

    pub(super) fn leg(&self, leg: Leg) -> Option<&'a str> {
        self.legs[leg as usize]
    }

    /// Whether it may have had an effect: it has, or nobody knows.
    pub(super) fn may_hold(&self) -> bool {
        self.acknowledged() || self.open()
    }

    /// Whether it may have had an effect, be it for a while: an attempt that was aborted may have.
    pub(super) fn may_have_held(&self) -> bool {
        self.may_hold() || self.class == OutcomeClass::Aborted
    }

    /// The nights of its stay; none if it is no stay, or not one that there can be.
    pub(super) fn nights(&self) -> Vec<String> {
        let nights = self.stay.map(|stay| nights(stay.in_date, stay.out_date));
        nights.and_then(Result::ok).unwrap_or_default()
    }

    /// How many rooms it asked for, one if it asked for seats.
    pub(super) fn rooms(&self) -> i64 {
        self.stay.map_or(1, |stay| stay.rooms)
    }

    /// What remained, as answered: of the hotel for each night, or once.
    pub(super) fn hotel_remaining(&self) -> impl Iterator<Item = Option<i64>> + use<'a> {
        let list = self.op.observed.get("hotelRemaining");
        let list = list.and_then(Value::as_list).unwrap_or_default();
        list.iter().map(Value::as_int)
    }

    /// What remained of a hotel or flight that is reserved by seats, as answered.
    pub(super) fn remaining(&self, leg: Leg) -> Option<i64> {
        match leg {
            Leg::Hotel => self.hotel_remaining().next().flatten(),
            Leg::Flight => number(&self.op.observed, "flightRemaining"),
        }
    }
}

/// A row of the table `Order`.
pub(super) struct OrderRow<'a> {
    pub(super) key: &'a str,
    pub(super) req_id: &'a str,
    pub(super) user: &'a str,
    pub(super) legs: [Option<&'a str>; 2],
    pub(super) stay: Option<Stay<'a>>,
    /// How often it was placed.
    pub(super) placed: i64,
    /// The position of its request in [`Facts::reserves`].
    pub(super) reserve: Option<usize>,
}

impl<'a> OrderRow<'a> {
    pub(super) fn leg(&self, leg: Leg) -> Option<&'a str> {
        self.legs[leg as usize]
    }
}

impl Place<'_> {
    /// How many places are taken.
    pub(super) fn gone(&self) -> i64 {
        let (total, cap) = (self.total.unwrap_or_default(), self.cap.unwrap_or_default());
        total.saturating_sub(cap)
    }
}

/// A row of the tables `Hotel` and `Flight`.
pub(super) struct Place<'a> {
    pub(super) cap: Option<i64>,
    pub(super) total: Option<i64>,
    pub(super) customers: Vec<&'a str>,
    pub(super) released: Vec<&'a str>,
}

pub(super) struct Facts<'a> {
    pub(super) config: Config,
    pub(super) evidence: &'a Evidence<'a>,
    pub(super) reserves: Vec<Reserve<'a>>,
    pub(super) orders: Vec<OrderRow<'a>>,
    /// Ids that orders must have, to positions in `reserves`.
    ids: BTreeMap<String, usize>,
    /// Who has a place of which hotel or flight, by key and order id, once for each.
    pub(super) holders: [BTreeSet<(&'a str, &'a str)>; 2],
    /// Who has a room in some night of which hotel, by hotel and order id.
    pub(super) guests: BTreeSet<(&'a str, &'a str)>,
    /// Hotels and flights.
    pub(super) places: [BTreeMap<&'a str, Place<'a>>; 2],
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    optional(value, field).unwrap_or_default()
}

pub(super) fn optional<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

pub(super) fn number(value: &Value, field: &str) -> Option<i64> {
    value.get(field).and_then(Value::as_int)
}

pub(super) fn texts<'a>(value: &'a Value, field: &str) -> Vec<&'a str> {
    let list = value.get(field).and_then(Value::as_list);
    let list = list.unwrap_or_default().iter();
    list.map(|text| text.as_str().unwrap_or_default()).collect()
}

impl<'a> Facts<'a> {
    pub(super) fn of(evidence: &'a Evidence<'a>) -> Self {
        // The app was built from these settings, so they are known to be good.
        let config = Config::from_settings(evidence.settings).unwrap_or_default();
        let reserves: Vec<Reserve<'a>> = evidence
            .ops
            .iter()
            .filter(|op| evidence.kind(op) == "reserve")
            .map(|op| reserve(config, op))
            .collect();
        let by_request: BTreeMap<&str, usize> = reserves
            .iter()
            .enumerate()
            .map(|(at, reserve)| (reserve.req_id, at))
            .collect();
        let orders: Vec<OrderRow<'a>> = evidence
            .state
            .rows("Order")
            .map(|(key, row)| order(key, row, &by_request))
            .collect();
        let ids = reserves.iter().enumerate();
        let ids = ids.map(|(at, reserve)| (reserve.order_id.clone(), at));
        let ids = ids.collect();
        let places = Leg::BOTH.map(|leg| {
            let places = evidence.state.rows(leg.table());
            places.map(|(key, row)| (key, place(row))).collect()
        });
        let holders = [&places[0], &places[1]].map(holders);
        let nights = evidence.state.rows("Night").flat_map(|(key, row)| {
            let hotel = key.split_once('/').map_or(key, |(hotel, _)| hotel);
            texts(row, "stays")
                .into_iter()
                .map(move |order| (hotel, order))
        });
        Facts {
            config,
            evidence,
            reserves,
            orders,
            ids,
            holders,
            guests: nights.collect(),
            places,
        }
    }

    /// The reservation that an order's id belongs to.
    pub(super) fn reserve_of(&self, order_id: &str) -> Option<&Reserve<'a>> {
        self.ids.get(order_id).map(|at| &self.reserves[*at])
    }

    /// Whether an order placed before the answer, if there is one: elsewhere it is handed over.
    pub(super) fn order_is_placed_before_the_answer(&self) -> bool {
        self.config.compat == Compat::None
            && (self.config.order == Order::Inside || self.config.formulation == Formulation::Steps)
    }

    /// Whether a reservation has what it asked of a leg; none if it did not ask.
    pub(super) fn has(&self, reserve: &Reserve<'a>, leg: Leg) -> Option<bool> {
        let id = reserve.leg(leg)?;
        let order = reserve.order_id.as_str();
        Some(match (leg, reserve.stay) {
            (Leg::Hotel, Some(_)) => self.guests.contains(&(id, order)),
            _ => self.holders[leg as usize].contains(&(id, order)),
        })
    }

    /// Whether a reservation has all that it asked for.
    pub(super) fn has_all(&self, reserve: &Reserve<'a>) -> bool {
        let legs = Leg::BOTH.into_iter();
        legs.filter_map(|leg| self.has(reserve, leg)).all(|has| has)
    }

    pub(super) fn places(&self, leg: Leg) -> &BTreeMap<&'a str, Place<'a>> {
        &self.places[leg as usize]
    }

    /// The schedule's index of the request that an order's id belongs to.
    pub(super) fn request_of_id(&self, order_id: &str) -> Option<u64> {
        self.reserve_of(order_id).map(|reserve| reserve.op.index)
    }

    /// Everything but the session pairs, which the rules of answers count.
    pub(super) fn coverage(&self) -> Coverage {
        let mut coverage = Coverage::default();
        for op in self.evidence.ops {
            coverage.ok += u64::from(op.outcome.class() == OutcomeClass::Ok);
            coverage.faulted += u64::from(op.faults > 0);
        }
        for reserve in &self.reserves {
            coverage.ok_effects += u64::from(reserve.acknowledged());
            coverage.faulted_effects += u64::from(reserve.op.faults > 0);
        }
        coverage.overlapping = self.overlapping();
        coverage
    }

    /// How many reservations were under way at the same time as another one of the same hotel.
    fn overlapping(&self) -> u64 {
        let mut by_hotel: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
        for reserve in &self.reserves {
            if reserve.class == OutcomeClass::Shed {
                continue;
            }
            let (op, hotel) = (reserve.op, reserve.leg(Leg::Hotel).unwrap_or_default());
            let end = op.done_ns.max(op.settled_ns);
            by_hotel.entry(hotel).or_default().push((op.sent_ns, end));
        }
        let mut count = 0;
        for spans in by_hotel.values_mut() {
            spans.sort_unstable();
            let mut latest_end = 0;
            for at in 0..spans.len() {
                let (sent, end) = spans[at];
                let before = latest_end > sent;
                let after = spans.get(at + 1).is_some_and(|next| next.0 < end);
                count += u64::from(before || after);
                latest_end = latest_end.max(end);
            }
        }
        count
    }
}

fn reserve(config: Config, op: &OpRecord) -> Reserve<'_> {
    let mut class = op.outcome.class();
    if config.compat == Compat::Beldi && text(&op.observed, "orderId") == FAILURE {
        class = OutcomeClass::Rejected;
    }
    let req_id = text(&op.input, "reqId");
    let stay = op.input.get("stay").map(|stay| Stay {
        in_date: text(stay, "inDate"),
        out_date: text(stay, "outDate"),
        rooms: number(stay, "rooms").unwrap_or_default(),
    });
    Reserve {
        op,
        class,
        req_id,
        order_id: order_id(req_id),
        user: text(&op.input, "userId"),
        legs: [
            optional(&op.input, "hotelId"),
            optional(&op.input, "flightId"),
        ],
        stay,
    }
}

fn order<'a>(key: &'a str, row: &'a Value, by_request: &BTreeMap<&str, usize>) -> OrderRow<'a> {
    let req_id = text(row, "reqId");
    let stay = row.get("inDate").map(|_| Stay {
        in_date: text(row, "inDate"),
        out_date: text(row, "outDate"),
        rooms: number(row, "rooms").unwrap_or_default(),
    });
    OrderRow {
        key,
        req_id,
        user: text(row, "userId"),
        legs: [optional(row, "hotelId"), optional(row, "flightId")],
        stay,
        placed: number(row, "placed").unwrap_or_default(),
        reserve: by_request.get(req_id).copied(),
    }
}

/// Who took a place and did not give it back.
fn holders<'a>(places: &BTreeMap<&'a str, Place<'a>>) -> BTreeSet<(&'a str, &'a str)> {
    let mut holders = BTreeSet::new();
    for (id, place) in places {
        let back: BTreeSet<&str> = place.released.iter().copied().collect();
        let live = place
            .customers
            .iter()
            .filter(|order| !back.contains(*order));
        holders.extend(live.map(|order| (*id, *order)));
    }
    holders
}

fn place(row: &Value) -> Place<'_> {
    Place {
        cap: number(row, "cap"),
        total: number(row, "total"),
        customers: texts(row, "customers"),
        released: texts(row, "released"),
    }
}
