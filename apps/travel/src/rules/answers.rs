//! T10 and T11: what is only read is answered as the data say.
//!
//! The data never change in a run, so every answer can be computed again from the final state; that
//! this still is what was loaded is T-loaded's affair.

use super::facts::{Facts, number, text};
use crate::Mode;
use crate::accounts::stored;
use crate::geometry::{NEAREST, Point, nearest};
use crate::hotels::{AddRecommendation, Require, best};
use crate::nights::{key, nights};
use crate::seats::Leg;
use std::cell::RefCell;
use std::collections::BTreeMap;
use triptych_api::model::{OpRecord, OutcomeClass, from_value};
use triptych_api::{Guarantee, RuleReport, Value};

/// What is read, as the final state has it.
struct Data<'a> {
    points: Vec<(&'a str, Point)>,
    /// What the plans of hotels cost.
    rates: BTreeMap<&'a str, f64>,
    recommended: Vec<AddRecommendation>,
    /// The best by rate and by price, which are the same everywhere.
    best: [Vec<String>; 2],
    passwords: BTreeMap<&'a str, &'a str>,
    /// Places are on a grid, so many requests ask about the same one: what they must be answered.
    found: RefCell<BTreeMap<(u64, u64), Vec<&'a str>>>,
    nearest: RefCell<BTreeMap<(u64, u64), Vec<String>>>,
}

impl<'a> Data<'a> {
    fn of(facts: &Facts<'a>) -> Self {
        let state = facts.evidence.state;
        let point = |row: &Value| {
            let (lat, lon) = (float(row, "lat")?, float(row, "lon")?);
            Some(Point { lat, lon })
        };
        let points = state
            .rows("Geo")
            .filter_map(|(id, row)| Some((id, point(row)?)));
        let rate = |row: &Value| float(row.get("roomType")?, "totalRate");
        let rates = state
            .rows("Rate")
            .filter_map(|(id, row)| Some((id, rate(row)?)));
        let recommended = state.rows("Recommendation");
        let recommended: Vec<AddRecommendation> = recommended
            .filter_map(|(_, row)| from_value(row).ok())
            .collect();
        let passwords = state
            .rows("User")
            .map(|(name, row)| (name, text(row, "password")));
        Data {
            points: points.collect(),
            rates: rates.collect(),
            best: [Require::Rate, Require::Price].map(|require| {
                let nowhere = Point { lat: 0.0, lon: 0.0 };
                best(require, nowhere, &recommended)
            }),
            recommended,
            passwords: passwords.collect(),
            found: RefCell::default(),
            nearest: RefCell::default(),
        }
    }

    /// The hotels that a search must answer, but for those that are fully booked.
    fn found(&self, from: Point) -> Vec<&'a str> {
        let mut known = self.found.borrow_mut();
        known
            .entry(bits(from))
            .or_insert_with(|| self.search(from))
            .clone()
    }

    fn search(&self, from: Point) -> Vec<&'a str> {
        let near = nearest(from, self.points.iter().copied(), NEAREST);
        let mut priced: Vec<(f64, &str)> = near
            .into_iter()
            .filter_map(|id| Some((*self.rates.get(id)?, id)))
            .collect();
        priced.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        priced.into_iter().map(|(_, id)| id).collect()
    }
}

impl Data<'_> {
    /// The hotels that must be recommended.
    fn best(&self, require: Require, from: Point) -> Vec<String> {
        match require {
            Require::Rate => self.best[0].clone(),
            Require::Price => self.best[1].clone(),
            Require::Dis => {
                let mut known = self.nearest.borrow_mut();
                let nearest = known
                    .entry(bits(from))
                    .or_insert_with(|| best(require, from, &self.recommended));
                nearest.clone()
            }
        }
    }
}

fn bits(point: Point) -> (u64, u64) {
    (point.lat.to_bits(), point.lon.to_bits())
}

fn float(value: &Value, field: &str) -> Option<f64> {
    match value.get(field)? {
        Value::Float(number) => Some(*number),
        Value::Int(number) => Some(*number as f64),
        _ => None,
    }
}

/// Judges every answer; answers T10.
pub(super) fn check(facts: &Facts<'_>, t11: &mut RuleReport) -> RuleReport {
    let mut t10 = RuleReport::new("T10", Guarantee::Order);
    let data = Data::of(facts);
    for op in facts.evidence.ops {
        if op.outcome.class() != OutcomeClass::Ok {
            continue;
        }
        match facts.evidence.kind(op) {
            "search" => search(facts, &data, op, &mut t10),
            "recommend" => recommend(&data, op, t11),
            "user" => login(facts, &data, op, t11),
            _ => {}
        }
    }
    t10
}

fn place(op: &OpRecord) -> Point {
    let coordinate = |field| float(&op.input, field).unwrap_or(f64::NAN);
    Point {
        lat: coordinate("lat"),
        lon: coordinate("lon"),
    }
}

fn answered(op: &OpRecord) -> Vec<&str> {
    let list = op.observed.as_list().unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect()
}

fn search(facts: &Facts<'_>, data: &Data<'_>, op: &OpRecord, rule: &mut RuleReport) {
    let (mut expected, answered) = (data.found(place(op)), answered(op));
    if facts.config.mode == Mode::Dates {
        // Bookings only grow: a hotel that has rooms at the end had them all the time.
        let (arrival, departure) = (text(&op.input, "inDate"), text(&op.input, "outDate"));
        let stay = nights(arrival, departure).unwrap_or_default();
        expected.retain(|hotel| answered.contains(hotel) || free(facts, hotel, &stay));
    }
    rule.expect(expected == answered, Some(op.index), || {
        format!("a search found {answered:?}, and there are {expected:?}")
    });
}

/// Whether a hotel has a room for every night at the end.
fn free(facts: &Facts<'_>, hotel: &str, stay: &[String]) -> bool {
    let place = facts.places(Leg::Hotel).get(hotel);
    let total = place.and_then(|place| place.total).unwrap_or_default();
    stay.iter().all(|night| {
        let row = facts.evidence.state.get("Night", &key(hotel, night));
        row.and_then(|row| number(row, "booked")).unwrap_or(0) < total
    })
}

fn recommend(data: &Data<'_>, op: &OpRecord, rule: &mut RuleReport) {
    let require = op.input.get("require").cloned().unwrap_or_default();
    let expected = match from_value::<Require>(&require) {
        Ok(require) => data.best(require, place(op)),
        Err(_) => Vec::new(),
    };
    let answered = answered(op);
    rule.expect(expected == answered, Some(op.index), || {
        format!("{answered:?} were recommended by {require:?}, and {expected:?} are best")
    });
}

fn login(facts: &Facts<'_>, data: &Data<'_>, op: &OpRecord, rule: &mut RuleReport) {
    let (username, password) = (text(&op.input, "username"), text(&op.input, "password"));
    let given = stored(facts.config.compat, username, password);
    let right = data.passwords.get(username) == Some(&given.as_str());
    let answered = op.observed.as_bool();
    rule.expect(answered == Some(right), Some(op.index), || {
        let word = if right { "right" } else { "wrong" };
        format!("the {word} password of {username} was answered with {answered:?}")
    });
}
