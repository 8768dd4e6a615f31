//! Planting violations in histories that are right.
#![allow(dead_code, missing_docs, unreachable_pub)]

use crate::small::{requests, run_of};
use std::sync::Arc;
use triptych_api::model::{OpRecord, Outcome, Random};
use triptych_api::{Name, Value};
use triptych_reference::Run;

pub const SEEDS: u64 = 24;
pub const ASYNC: &[(&str, &str)] = &[("chunk", "2")];
pub const SYNC: &[(&str, &str)] = &[("formulation", "sync")];
pub const TXN: &[(&str, &str)] = &[("formulation", "txn")];

/// Whether the graph changes in the histories to plant in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Graph {
    Static,
    Dynamic,
}

/// Plants in many histories and checks which rules are named: exactly the expected ones. `plant`
/// answers whether the history had a place for it. Without the plant, the history is right.
pub fn planted(
    variant: &[(&str, &str)],
    graph: Graph,
    expected: &[&str],
    plant: impl Fn(&mut Run, &mut Random) -> bool,
) {
    let mut places = 0;
    for seed in 0..SEEDS {
        let mut requests = requests(70, seed);
        if graph == Graph::Static {
            requests.retain(|request| request.kind < 5);
        }
        let (app, mut run) = run_of(variant, &requests, seed, None, None);
        let right = run.clone();
        if plant(&mut run, &mut Random::new(seed)) {
            places += 1;
            assert_eq!(right.violated(&app), [""; 0], "before, seed {seed}");
            let rules = run.violated(&app);
            let told = run.complaints(&app);
            assert!(rules == expected, "seed {seed}: {told:#?}");
        }
    }
    assert!(
        places >= SEEDS / 6,
        "only {places} histories had a place for it"
    );
}

pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

pub fn list(value: &Value, field: &str) -> Vec<Value> {
    let list = value.get(field).and_then(Value::as_list);
    list.unwrap_or_default().to_vec()
}

pub fn set(value: &mut Value, field: &str, new: impl Into<Value>) {
    let mut map = value.as_map().cloned().unwrap_or_default();
    map.insert(Name::from(field), new.into());
    *value = Value::from(map);
}

pub fn row<'a>(run: &'a mut Run, table: &str, key: &str) -> &'a mut Value {
    let rows = run.state.tables.entry(Name::from(table)).or_default();
    rows.entry(Name::from(key)).or_default()
}

/// Changes the list of a row or of an answer.
pub fn relist(value: &mut Value, field: &str, edit: impl FnOnce(&mut Vec<Value>)) {
    let mut list = list(value, field);
    edit(&mut list);
    set(value, field, Value::List(Arc::new(list)));
}

/// Changes a timeline or thread.
pub fn relisted(run: &mut Run, table: &str, key: &str, edit: impl FnOnce(&mut Vec<Value>)) {
    relist(row(run, table, key), "entries", edit);
}

/// Those of a timeline table that list a post.
pub fn listing(run: &Run, table: &str, post_id: &str) -> Vec<String> {
    let rows = run.state.table(table);
    let rows = rows.filter(|(_, row)| {
        let entries = list(row, "entries");
        entries.iter().any(|entry| text(entry, "postId") == post_id)
    });
    rows.map(|(key, _)| key.to_string()).collect()
}

pub fn place(list: &[Value], post_id: &str) -> usize {
    let same = |entry: &Value| text(entry, "postId") == post_id;
    list.iter().position(same).expect("the post is listed")
}

pub fn id(post: &Value) -> &str {
    text(post, "postId")
}

pub fn author(post: &Value) -> String {
    text(post.get("creator").expect("has an author"), "userId").to_owned()
}

/// Posts of acknowledged requests that somebody looks for, with the positions of their requests.
pub fn posts(run: &Run, wanted: impl Fn(&Value) -> bool) -> Vec<(Value, usize)> {
    let found = run.state.table("Post").filter_map(|(_, post)| {
        let of = |op: &OpRecord| text(&op.input, "reqId") == text(post, "reqId");
        let acknowledged = |op: &OpRecord| op.outcome == Outcome::Ok && of(op);
        let at = run.ops.iter().position(acknowledged)?;
        wanted(post).then(|| (post.clone(), at))
    });
    found.collect()
}

pub fn any<T: Clone>(all: &[T], random: &mut Random) -> Option<T> {
    let all_of = all.len() as u64;
    (all_of > 0).then(|| all[random.below(all_of) as usize].clone())
}

pub fn any_post(run: &Run, random: &mut Random) -> Option<(Value, usize)> {
    any(&posts(run, |_| true), random)
}

/// A post that answers nothing and that nobody answers.
pub fn lonely(run: &Run, random: &mut Random) -> Option<(Value, usize)> {
    let answered: Vec<String> = run
        .state
        .table("Post")
        .map(|(_, post)| text(post, "parent").to_owned())
        .collect();
    let alone = |post: &Value| {
        post.get("parent").is_none() && !answered.iter().any(|parent| parent == id(post))
    };
    any(&posts(run, alone), random)
}

/// Acknowledged requests of a kind, by position.
pub fn answered(run: &Run, kind: &str, wanted: impl Fn(&OpRecord) -> bool) -> Vec<usize> {
    let places = run.ops.iter().enumerate().filter(|(_, op)| {
        let of_kind = run.kinds[usize::from(op.kind)] == kind;
        of_kind && op.outcome == Outcome::Ok && wanted(op)
    });
    places.map(|(at, _)| at).collect()
}
