//! One planted violation per rule about what a run left behind (M1–M6, M8, M9, M12), in many random
//! histories: the rule must find it, and no other rule may be named. Together with the histories
//! that no rule complains of (`reference_runs`), this is what the verdicts rest on. M7, M10 and M11
//! are in `planted_order`.

#[path = "common/plant.rs"]
mod plant;
#[path = "common/small.rs"]
mod small;

use plant::{
    CHOREO, HANDOFF, LISTS, LOADED, any_review, count, planted, position, relist, row, set, text,
};
use small::small_run;
use triptych_api::model::{OpRecord, Outcome};
use triptych_api::{Change, Value};

#[test]
fn m1_a_review_is_lost_without_a_trace() {
    planted(&[], &["M1", "M1-durable"], |run, random| {
        let Some((review, _)) = any_review(run, random) else {
            return false;
        };
        for (table, owner) in LISTS {
            relist(run, table, text(&review, owner), |list| {
                list.remove(position(list, &review));
            });
        }
        count(run, &review, -1);
        let id = text(&review, "reviewId");
        run.state
            .tables
            .get_mut("ReviewStorage")
            .is_some_and(|rows| rows.remove(id).is_some())
    });
}

#[test]
fn m1_a_request_has_two_reviews() {
    planted(&[], &["M1"], |run, random| {
        let Some((review, _)) = any_review(run, random) else {
            return false;
        };
        let mut second = review.clone();
        set(&mut second, "reviewId", "second");
        *row(run, "ReviewStorage", "second") = second.clone();
        for (table, owner) in LISTS {
            relist(run, table, text(&review, owner), |list| {
                let at = position(list, &review);
                let mut entry = list[at].clone();
                set(&mut entry, "reviewId", "second");
                list.insert(at, entry);
            });
        }
        count(run, &review, 1);
        true
    });
}

#[test]
fn m2_a_failed_request_left_a_review() {
    for outcome in [
        Outcome::Failed("x".into()),
        Outcome::Aborted("x".into()),
        Outcome::Shed,
    ] {
        planted(&[], &["M2"], |run, random| {
            let Some((_, at)) = any_review(run, random) else {
                return false;
            };
            run.ops[at].outcome = outcome.clone();
            true
        });
    }
}

#[test]
fn m2_nobody_sent_the_request() {
    planted(&[], &["M1", "M1-durable", "M2"], |run, random| {
        let Some((review, _)) = any_review(run, random) else {
            return false;
        };
        set(
            row(run, "ReviewStorage", text(&review, "reviewId")),
            "reqId",
            "nobody's",
        );
        true
    });
}

#[test]
fn m3_the_answer_names_another_review() {
    planted(HANDOFF, &["M3"], |run, random| {
        let Some((_, at)) = any_review(run, random) else {
            return false;
        };
        set(&mut run.ops[at].observed, "reviewId", "another");
        true
    });
}

#[test]
fn m3_a_review_has_another_id_than_its_key() {
    planted(HANDOFF, &["M3"], |run, random| {
        let Some((review, _)) = any_review(run, random) else {
            return false;
        };
        set(
            row(run, "ReviewStorage", text(&review, "reviewId")),
            "reviewId",
            "another",
        );
        true
    });
}

#[test]
fn m4_a_review_is_in_a_wrong_list() {
    planted(HANDOFF, &["M4"], |run, random| {
        let Some((review, _)) = any_review(run, random) else {
            return false;
        };
        let mut moved = Value::Null;
        relist(run, "MovieReview", text(&review, "movieId"), |list| {
            moved = list.remove(position(list, &review));
        });
        relist(run, "MovieReview", "elsewhere", |list| list.push(moved));
        true
    });
}

#[test]
fn m4_and_m6_a_review_is_listed_twice() {
    planted(&[], &["M4", "M6"], |run, random| {
        let Some((review, _)) = any_review(run, random) else {
            return false;
        };
        relist(run, "UserReview", text(&review, "userId"), |list| {
            list.push(list[position(list, &review)].clone());
        });
        true
    });
}

#[test]
fn m5_parts_of_two_requests_are_mixed_up() {
    planted(CHOREO, &["M5"], |run, random| {
        let (Some((one, _)), Some((two, _))) = (any_review(run, random), any_review(run, random))
        else {
            return false;
        };
        set(
            row(run, "ReviewStorage", text(&one, "reviewId")),
            "text",
            text(&two, "text"),
        );
        one != two
    });
}

#[test]
fn m6_a_list_has_an_entry_without_a_review() {
    planted(&[], &["M6"], |run, random| {
        let Some((review, _)) = any_review(run, random) else {
            return false;
        };
        relist(run, "MovieReview", text(&review, "movieId"), |list| {
            list.push(Value::map([
                ("reviewId", "nothing".into()),
                ("timestamp", Value::Int(0)),
            ]));
        });
        true
    });
}

#[test]
fn m8_a_rating_is_counted_twice() {
    planted(&[], &["M8"], |run, random| {
        let Some((review, _)) = any_review(run, random) else {
            return false;
        };
        count(run, &review, 1);
        true
    });
}

#[test]
fn m9_a_join_is_left_open() {
    planted(CHOREO, &["M9"], |run, random| {
        let rows = run
            .state
            .tables
            .get("ComposeReview")
            .map_or(0, |rows| rows.len() as u64);
        let chosen = random.below(rows) as usize;
        let key = run
            .state
            .table("ComposeReview")
            .nth(chosen)
            .map(|(key, _)| key.to_string());
        let Some(key) = key else { return false };
        set(row(run, "ComposeReview", &key), "fired", false);
        true
    });
}

#[test]
fn m12_a_refused_request_left_a_review() {
    for variant in [&[], CHOREO] {
        planted(variant, &["M12"], |run, random| {
            let Some((_, at)) = any_review(run, random) else {
                return false;
            };
            run.ops[at].outcome = Outcome::Rejected("unknown title: First".to_owned());
            true
        });
    }
}

#[test]
fn the_witness_is_the_lowest_request() {
    let (app, mut run) = small_run(&[], 60, 7, None);
    let mut broken = Vec::new();
    for (_, review) in run
        .state
        .tables
        .get_mut("ReviewStorage")
        .into_iter()
        .flatten()
    {
        set(review, "text", "altered");
        let of = |op: &&OpRecord| text(&op.input, "reqId") == text(review, "reqId");
        broken.extend(run.ops.iter().find(of).map(|op| op.index));
    }
    let (reports, _) = run.check(&app);
    let report = reports
        .iter()
        .find(|report| report.rule == "M5")
        .expect("is there");
    assert_eq!(report.violations, broken.len() as u64);
    assert_eq!(
        report.witness.as_ref().and_then(|w| w.request),
        broken.iter().min().copied()
    );
}

#[test]
fn m1_a_review_from_before_the_run_is_gone() {
    planted(LOADED, &["M1-durable"], |run, random| {
        let id = format!("old{}", 15 + random.below(5));
        let reviews = run.state.tables.get_mut("ReviewStorage");
        reviews.is_some_and(|reviews| reviews.remove(&*id).is_some())
    });
}

#[test]
fn m6_a_list_has_lost_a_review_from_before_the_run() {
    planted(LOADED, &["M6"], |run, random| {
        let movie = format!("m{}", random.below(3));
        relist(run, "MovieReview", &movie, |list| {
            let old = |entry: &Value| text(entry, "reviewId").starts_with("old");
            let at = list.iter().position(old).expect("it began with five");
            list.remove(at);
        });
        true
    });
}

#[test]
fn m8_a_rating_beside_a_list_is_lost() {
    planted(LOADED, &["M8"], |run, random| {
        let Some((review, _)) = any_review(run, random) else {
            return false;
        };
        let change = [Change::add("num", -1)];
        plant::change(run, "MovieReview", text(&review, "movieId"), &change);
        true
    });
}
