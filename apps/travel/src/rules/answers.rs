//! T10 and T11: what is only read is answered as the data say.
//!
//! The data never change in a run, so every answer can be computed again from the final state, and
//! every answer after a session's first one tells that the session's view did not go backwards.

use super::facts::{Facts, kind, number, rows, text};
use crate::Mode;
use crate::accounts::stored;
use crate::geometry::{NEAREST, Point, nearest};
use crate::hotels::{AddRecommendation, Require, best};
use crate::nights::{key, nights};
use crate::seats::Leg;
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::{OpRecord, OutcomeClass, from_value};
use triptych_api::{Guarantee, RuleReport, Value};

/// What is read, as the final state has it.
struct Data<'a> {
    points: Vec<(&'a str, Point)>,
    /// What the plans of hotels cost.
    rates: BTreeMap<&'a str, f64>,
    recommended: Vec<AddRecommendation>,
    passwords: BTreeMap<&'a str, &'a str>,
}

impl<'a> Data<'a> {
    fn of(facts: &Facts<'a>) -> Self {
        let state = facts.evidence.state;
        let point = |row: &Value| {
            let (lat, lon) = (float(row, "lat")?, float(row, "lon")?);
            Some(Point { lat, lon })
        };
        let points = rows(state, "Geo").filter_map(|(id, row)| Some((id, point(row)?)));
        let rate = |row: &Value| float(row.get("roomType")?, "totalRate");
        let rates = rows(state, "Rate").filter_map(|(id, row)| Some((id, rate(row)?)));
        let recommended = rows(state, "Recommendation");
        let recommended = recommended.filter_map(|(_, row)| from_value(row).ok());
        let passwords = rows(state, "User").map(|(name, row)| (name, text(row, "password")));
        Data {
            points: points.collect(),
            rates: rates.collect(),
            recommended: recommended.collect(),
            passwords: passwords.collect(),
        }
    }

    /// The hotels that a search must answer, but for those that are fully booked.
    fn found(&self, from: Point) -> Vec<&'a str> {
        let near = nearest(from, self.points.iter().copied(), NEAREST);
        let mut priced: Vec<(f64, &str)> = near
            .into_iter()
            .filter_map(|id| Some((*self.rates.get(id)?, id)))
            .collect();
        priced.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        priced.into_iter().map(|(_, id)| id).collect()
    }
}

fn float(value: &Value, field: &str) -> Option<f64> {
    match value.get(field)? {
        Value::Float(number) => Some(*number),
        Value::Int(number) => Some(*number as f64),
        _ => None,
    }
}

/// The two rules, and how many answers were not the first of their kind to their session.
pub(super) fn check(facts: &Facts<'_>) -> (RuleReport, RuleReport, u64) {
    let mut t10 = RuleReport::new("T10", Guarantee::Order);
    let mut t11 = RuleReport::new("T11", Guarantee::Order);
    let data = Data::of(facts);
    let mut known = BTreeSet::new();
    let mut session_pairs = 0;
    for op in facts.evidence.ops {
        let kind = kind(facts.evidence, op);
        if op.outcome.class() != OutcomeClass::Ok {
            continue;
        }
        match kind {
            "search" => search(facts, &data, op, &mut t10),
            "recommend" => recommend(&data, op, &mut t11),
            "user" => login(facts, &data, op, &mut t11),
            _ => continue,
        }
        session_pairs += u64::from(!known.insert((op.session, kind)));
    }
    (t10, t11, session_pairs)
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
        Ok(require) => best(require, place(op), &data.recommended),
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
