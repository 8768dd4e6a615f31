//! Every rule on evidence that is right, and on evidence with one violation planted.

mod common;

use common::small_run;
use std::sync::Arc;
use triptych_api::model::{Map, Outcome, OutcomeClass};
use triptych_api::{App, Name, Value};
use triptych_reference::Run;

const RESERVE: u16 = 3;

/// A run with all that the plants need.
fn right(profile: &str) -> (App, Run) {
    let (app, run) = small_run(profile, 500, 7, None, None);
    assert_eq!(run.complaints(&app), [""; 0]);
    (app, run)
}

/// The rules that complain once something is planted.
fn planted(profile: &str, plant: impl FnOnce(&mut Run)) -> Vec<String> {
    let (app, mut run) = right(profile);
    plant(&mut run);
    run.violated(&app)
}

fn change(run: &mut Run, table: &str, key: &str, change: impl FnOnce(&mut Map)) {
    let rows = run.state.tables.get_mut(table).expect("is a table");
    let row = rows.get_mut(key).expect("is a row");
    let mut map = row.as_map().expect("is a document").clone();
    change(&mut map);
    *row = Value::from(map);
}

fn add(run: &mut Run, table: &str, key: &str, field: &str, by: i64) {
    change(run, table, key, |map| {
        let old = map.get(field).and_then(Value::as_int).unwrap_or(0);
        map.insert(Name::from(field), Value::Int(old + by));
    });
}

fn append(run: &mut Run, table: &str, key: &str, field: &str, text: &str) {
    change(run, table, key, |map| {
        let list = map.get(field).and_then(Value::as_list);
        let mut list = list.unwrap_or_default().to_vec();
        list.push(Value::from(text));
        map.insert(Name::from(field), Value::List(Arc::new(list)));
    });
}

/// A key of a table whose list is not empty, and the first element of that.
fn taken(run: &Run, table: &str, field: &str) -> (String, String) {
    let found = run.state.table(table).find_map(|(key, row)| {
        let first = row.get(field)?.as_list()?.first()?;
        Some((key.to_string(), first.as_str()?.to_owned()))
    });
    found.expect("somebody has reserved")
}

fn remove_customer(run: &mut Run, table: &str, key: &str, order: &str) {
    change(run, table, key, |map| {
        let mut rest = map["customers"].as_list().expect("a list").to_vec();
        rest.retain(|customer| customer.as_str() != Some(order));
        map.insert(Name::from("customers"), Value::List(Arc::new(rest)));
    });
}

/// The position of an acknowledged request of a kind.
fn answered(run: &Run, kind: u16) -> usize {
    let at = run.ops.iter().position(|op| {
        let long = op.observed.as_list().is_none_or(|list| list.len() > 1);
        op.kind == kind && op.outcome.class() == OutcomeClass::Ok && long
    });
    at.expect("some are answered")
}

fn answer(run: &mut Run, at: usize, field: &str, value: Value) {
    let mut map = run.ops[at].observed.as_map().expect("fields").clone();
    map.insert(Name::from(field), value);
    run.ops[at].observed = Value::from(map);
}

fn field(run: &Run, at: usize, field: &str) -> String {
    let text = run.ops[at].input.get(field).and_then(Value::as_str);
    text.expect("is in the request").to_owned()
}

#[test]
fn t1_and_t2_capacity_is_conserved_and_bounded() {
    let lost = planted("full-travel", |run| add(run, "Hotel", "1", "cap", 1));
    // One place too many left is no customer too few only: sold out was said, and answers disagree.
    assert_eq!(lost[..2], ["T1", "T5"]);
    let below = planted("full-travel", |run| add(run, "Hotel", "1", "cap", -1_000));
    assert!(below.contains(&"T2".to_owned()), "{below:?}");
    let both = planted("full-travel", |run| {
        add(run, "Hotel", "1", "cap", 1_000);
        add(run, "Hotel", "1", "total", 1_000);
        let at = answered(run, RESERVE);
        answer(run, at, "hotelRemaining", Value::list([Value::Int(-1)]));
    });
    assert!(both.contains(&"T2".to_owned()), "{both:?}");
}

#[test]
fn t3_a_reservation_has_both_legs_or_none() {
    let torn = planted("full-travel", |run| {
        let (key, order) = taken(run, "Flight", "customers");
        let refused = run.ops.iter().position(|op| {
            let text = op.input.get("reqId").and_then(Value::as_str);
            text.is_some_and(|req_id| order == format!("order-{req_id}"))
        });
        remove_customer(run, "Flight", &key, &order);
        add(run, "Flight", &key, "cap", 1);
        run.ops[refused.expect("somebody asked")].outcome = Outcome::Indeterminate("?".to_owned());
    });
    // Half of a reservation that nobody answered; its order says that there should be all of it.
    assert_eq!(torn[0], "T3");
    let silent = planted("full-travel", |run| {
        let at = answered(run, RESERVE);
        answer(run, at, "flightRemaining", Value::Null);
    });
    assert_eq!(silent, ["T3"]);
}

#[test]
fn t4_an_acknowledged_reservation_has_its_order_once() {
    let order_of = |run: &Run| {
        let at = answered(run, RESERVE);
        format!("order-{}", field(run, at, "reqId"))
    };
    let lost = planted("full-travel", |run| {
        let order = order_of(run);
        let orders = run.state.tables.get_mut("Order").expect("is a table");
        orders.remove(order.as_str());
    });
    // The places are as they should be: what is lost is the hand-over.
    assert_eq!(lost, ["T4"]);
    let unwritten = planted("full-travel inside", |run| {
        let order = order_of(run);
        let orders = run.state.tables.get_mut("Order").expect("is a table");
        orders.remove(order.as_str());
    });
    assert_eq!(unwritten, ["T4", "T4-durable"]);
    let twice = planted("full-travel", |run| {
        let order = order_of(run);
        add(run, "Order", &order, "placed", 1);
    });
    assert_eq!(twice, ["T4"]);
    let foreign = planted("full-travel", |run| {
        let order = order_of(run);
        change(run, "Order", &order, |map| {
            map.insert(Name::from("userId"), "somebody".into());
        });
    });
    assert_eq!(foreign, ["T4"]);
    let refused = planted("full-travel", |run| {
        let at = answered(run, RESERVE);
        run.ops[at].outcome = Outcome::Rejected("no".to_owned());
    });
    // With one taker less, somebody may have been told too early that there is nothing left.
    assert!(refused.contains(&"T4".to_owned()), "{refused:?}");
    let misled = planted("full-travel", |run| {
        let at = answered(run, RESERVE);
        answer(run, at, "orderId", "order-other".into());
    });
    assert_eq!(misled, ["T4"]);
}

#[test]
fn t5_and_t6_customers_are_the_orders() {
    let twice = planted("full-travel", |run| {
        let (key, order) = taken(run, "Flight", "customers");
        append(run, "Flight", &key, "customers", &order);
    });
    assert_eq!(twice, ["T5", "T5-once"]);
    let ghost = planted("full-travel", |run| {
        let (key, _) = taken(run, "Hotel", "customers");
        append(run, "Hotel", &key, "customers", "order-of-nobody");
        add(run, "Hotel", &key, "cap", -1);
    });
    assert!(ghost.contains(&"T6".to_owned()), "{ghost:?}");
    let forgotten = planted("full-travel", |run| {
        let (key, order) = taken(run, "Hotel", "customers");
        remove_customer(run, "Hotel", &key, &order);
    });
    assert!(forgotten.contains(&"T5".to_owned()), "{forgotten:?}");
    let back = planted("full-travel-saga", |run| {
        let (key, order) = taken(run, "Flight", "customers");
        append(run, "Flight", &key, "released", &order);
    });
    assert!(back.contains(&"T5".to_owned()), "{back:?}");
}

#[test]
fn t7_no_two_are_answered_that_equally_many_remain() {
    let same = planted("full-travel", |run| {
        let hotel = field(run, answered(run, RESERVE), "hotelId");
        let these: Vec<usize> = (0..run.ops.len())
            .filter(|at| {
                let op = &run.ops[*at];
                let ok = op.kind == RESERVE && op.outcome.class() == OutcomeClass::Ok;
                ok && field(run, *at, "hotelId") == hotel
            })
            .collect();
        let first = run.ops[these[0]].observed.get("hotelRemaining").cloned();
        answer(run, these[1], "hotelRemaining", first.expect("is answered"));
    });
    assert_eq!(same, ["T7"]);
}

#[test]
fn t8_sold_out_is_said_only_of_what_is() {
    let early = planted("full-travel", |run| {
        let at = answered(run, RESERVE);
        let hotel = field(run, at, "hotelId");
        add(run, "Hotel", &hotel, "cap", 1_000);
        add(run, "Hotel", &hotel, "total", 1_000);
        run.ops[at].outcome = Outcome::Rejected(format!("sold out: hotel {hotel}"));
    });
    assert!(early.contains(&"T8".to_owned()), "{early:?}");
}

#[test]
fn t9_nights_are_not_overbooked_and_stays_are_whole() {
    let over = planted("full-travel-dates", |run| {
        let (night, _) = taken(run, "Night", "stays");
        add(run, "Night", &night, "booked", 100);
    });
    assert_eq!(over, ["T9", "T9-stays"]);
    let outside = planted("full-travel-dates", |run| {
        let (night, order) = taken(run, "Night", "stays");
        let hotel = night.split('/').next().expect("a hotel");
        let other = Value::map([
            ("booked", Value::Int(1)),
            ("stays", Value::list([Value::from(order)])),
        ]);
        let nights = run.state.tables.get_mut("Night").expect("is a table");
        nights.insert(Name::from(format!("{hotel}/2016-01-01")), other);
    });
    assert_eq!(outside, ["T9"]);
    let missing = planted("full-travel-dates", |run| {
        let (night, _) = taken(run, "Night", "stays");
        let nights = run.state.tables.get_mut("Night").expect("is a table");
        nights.remove(night.as_str());
    });
    assert!(missing.contains(&"T9-stays".to_owned()), "{missing:?}");
}

#[test]
fn t7_session_what_remains_only_shrinks() {
    let grown = planted("full-travel", |run| {
        // Of two reservations of one hotel by different people, the later sees more than the earlier:
        // had they been one session, it would have gone backwards.
        let told: Vec<(usize, i64, String)> = (0..run.ops.len())
            .filter(|at| run.ops[*at].kind == RESERVE)
            .filter_map(|at| {
                let left = run.ops[at].observed.get("hotelRemaining")?.as_list()?;
                Some((at, left.first()?.as_int()?, field(run, at, "hotelId")))
            })
            .collect();
        let pair = told.iter().find_map(|(one, left, hotel)| {
            let done = run.ops[*one].done_ns;
            let later = told
                .iter()
                .find(|(other, _, same)| same == hotel && run.ops[*other].sent_ns >= done);
            Some((*one, later?.0, *left))
        });
        let (one, later, left) = pair.expect("two reserved one hotel");
        run.ops[one].session = 1_000;
        run.ops[later].session = 1_000;
        answer(
            run,
            later,
            "hotelRemaining",
            Value::list([Value::Int(left)]),
        );
    });
    assert!(grown.contains(&"T7-session".to_owned()), "{grown:?}");
}

#[test]
fn t8_and_t11_a_refusal_has_a_reason_and_it_is_true() {
    let refused = |profile: &str, reason: &dyn Fn(&Run, usize) -> String| {
        planted(profile, |run| {
            let at = answered(run, RESERVE);
            let reason = reason(run, at);
            run.ops[at].outcome = Outcome::Rejected(reason);
        })
    };
    for (profile, rule, reason) in [
        ("full-travel", "T8", "too late today"),
        ("full-travel", "T8", "sold out: hotel 77"),
        ("full-travel", "T11", "unknown hotel: {hotel}"),
        ("full-travel-dates", "T11", "wrong password of {user}"),
    ] {
        let violated = refused(profile, &|run, at| {
            let reason = reason.replace("{hotel}", &field(run, at, "hotelId"));
            reason.replace("{user}", &field(run, at, "userId"))
        });
        assert!(
            violated.contains(&rule.to_owned()),
            "{reason}: {violated:?}"
        );
    }
}

#[test]
fn t_loaded_what_was_loaded_is_still_there() {
    for (table, key) in [("Flight", "2"), ("User", "Cornell_3"), ("Geo", "40")] {
        let lost = planted("full-travel", |run| {
            let rows = run.state.tables.get_mut(table).expect("is a table");
            rows.remove(key).expect("is a row");
        });
        assert!(lost.contains(&"T-loaded".to_owned()), "{table}: {lost:?}");
    }
}

#[test]
fn t10_and_t11_answers_are_what_the_data_say() {
    for (kind, rule) in [(0, "T10"), (1, "T11")] {
        for profile in ["full-travel", "full-travel-dates"] {
            let less = planted(profile, |run| {
                let at = answered(run, kind);
                let list = run.ops[at].observed.as_list().expect("hotels");
                let rest = list[1..].to_vec();
                run.ops[at].observed = Value::List(Arc::new(rest));
            });
            // A hotel that is missing may have been full, where there are nights.
            if (kind, profile) != (0, "full-travel-dates") {
                assert_eq!(less, [rule], "{profile}");
            }
            let other = planted(profile, |run| {
                let at = answered(run, kind);
                let mut list = run.ops[at].observed.as_list().expect("hotels").to_vec();
                list.reverse();
                run.ops[at].observed = Value::List(Arc::new(list));
            });
            assert_eq!(other, [rule], "{profile}");
        }
    }
    let login = planted("full-travel", |run| {
        let at = answered(run, 2);
        run.ops[at].observed = Value::Bool(run.ops[at].observed == Value::Bool(false));
    });
    assert_eq!(login, ["T11"]);
}
