//! Planting violations in histories that are right.
#![allow(dead_code, missing_docs, unreachable_pub)]

use crate::small::small_run;
use std::sync::Arc;
use triptych_api::model::{Outcome, Random};
use triptych_api::{Change, Name, Value, apply};
use triptych_reference::Run;

pub const SEEDS: u64 = 120;
pub const HANDOFF: &[(&str, &str)] = &[("ack", "after-handoff")];
pub const CHOREO: &[(&str, &str)] = &[("formulation", "choreo")];
pub const LOADED: &[(&str, &str)] = &[("formulation", "causal"), ("reviews", "20")];

/// Plants in many histories and checks which rules are named. `plant` answers whether the history
/// had a place for it.
pub fn planted(
    variant: &[(&str, &str)],
    expected: &[&str],
    plant: impl Fn(&mut Run, &mut Random) -> bool,
) {
    let mut places = 0;
    for seed in 0..SEEDS {
        let (app, mut run) = small_run(variant, 60, seed, None);
        if plant(&mut run, &mut Random::new(seed)) {
            places += 1;
            assert_eq!(
                run.violated(&app),
                expected,
                "seed {seed}: {:#?}",
                run.complaints(&app)
            );
        }
    }
    assert!(
        places > SEEDS / 2,
        "only {places} histories had a place for it"
    );
}

pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

pub fn set(value: &mut Value, field: &str, new: impl Into<Value>) {
    let mut map = value.as_map().cloned().unwrap_or_default();
    map.insert(Name::from(field), new.into());
    *value = Value::from(map);
}

pub fn row<'a>(run: &'a mut Run, table: &str, key: &str) -> &'a mut Value {
    run.state
        .tables
        .entry(Name::from(table))
        .or_default()
        .entry(Name::from(key))
        .or_default()
}

pub fn change(run: &mut Run, table: &str, key: &str, changes: &[Change]) {
    let row = row(run, table, key);
    let mut map = row.as_map().cloned().unwrap_or_default();
    apply(&mut map, changes);
    *row = Value::from(map);
}

/// Changes the list of a row.
pub fn relist(run: &mut Run, table: &str, key: &str, edit: impl FnOnce(&mut Vec<Value>)) {
    let row = row(run, table, key);
    let mut list = row
        .get("reviews")
        .and_then(Value::as_list)
        .unwrap_or_default()
        .to_vec();
    edit(&mut list);
    set(row, "reviews", Value::List(Arc::new(list)));
}

/// A stored review and the position of its acknowledged request.
pub fn any_review(run: &Run, random: &mut Random) -> Option<(Value, usize)> {
    let reviews: Vec<(Value, usize)> = run
        .state
        .table("ReviewStorage")
        .filter_map(|(_, review)| {
            let of = |value: &Value| text(value, "reqId") == text(review, "reqId");
            let at = run
                .ops
                .iter()
                .position(|op| op.outcome == Outcome::Ok && of(&op.input))?;
            Some((review.clone(), at))
        })
        .collect();
    (!reviews.is_empty()).then(|| reviews[random.below(reviews.len() as u64) as usize].clone())
}

pub fn count(run: &mut Run, review: &Value, times: i64) {
    let rating = review
        .get("rating")
        .and_then(Value::as_int)
        .unwrap_or_default();
    let changes = [
        Change::add("sum", times * rating),
        Change::add("num", times),
    ];
    change(run, "Rating", text(review, "movieId"), &changes);
}

pub fn position(list: &[Value], review: &Value) -> usize {
    let same = |entry: &Value| text(entry, "reviewId") == text(review, "reviewId");
    list.iter()
        .position(same)
        .expect("the review is in its lists")
}

pub const LISTS: [(&str, &str); 2] = [("UserReview", "userId"), ("MovieReview", "movieId")];
