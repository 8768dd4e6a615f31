//! One planted violation per rule about order (M7, M10, M11), as in `planted`.

#[path = "common/plant.rs"]
mod plant;
#[path = "common/small.rs"]
mod small;

use plant::{HANDOFF, any_review, planted, position, relist, row, set, text};
use std::sync::Arc;
use triptych_api::model::{OpRecord, Outcome};
use triptych_api::{Evidence, Order, Value};

#[test]
fn m7_an_answer_is_not_sorted() {
    planted(&[], &["M7"], |run, _| {
        let op = run.ops.iter_mut().rev().find(|op| {
            op.observed
                .get("ids")
                .and_then(Value::as_list)
                .is_some_and(|ids| ids.len() > 2)
        });
        let Some(op) = op else { return false };
        let ids = op
            .observed
            .get("ids")
            .and_then(Value::as_list)
            .unwrap_or_default();
        let mut ids = ids.to_vec();
        ids.swap(0, 1);
        set(&mut op.observed, "ids", Value::List(Arc::new(ids)));
        true
    });
}

#[test]
fn m7_a_list_gives_a_review_another_time() {
    planted(&[], &["M7"], |run, random| {
        let Some((review, _)) = any_review(run, random) else {
            return false;
        };
        relist(run, "UserReview", text(&review, "userId"), |list| {
            let at = position(list, &review);
            set(&mut list[at], "timestamp", 5);
        });
        true
    });
}

#[test]
fn m7_a_review_is_listed_long_after_its_answer() {
    planted(&[], &["M7"], |run, _| {
        let ok = |op: &&OpRecord| op.kind == 0 && op.outcome == Outcome::Ok;
        let Some(first) = run.ops.iter().find(ok).cloned() else {
            return false;
        };
        let movie = text(&first.observed, "movieId").to_owned();
        let later = run
            .ops
            .iter()
            .filter(ok)
            .any(|op| text(&op.observed, "movieId") == movie && op.sent_ns >= first.done_ns);
        relist(run, "MovieReview", &movie, |list| {
            let entry = list.remove(position(list, &first.observed));
            list.push(entry);
        });
        later
    });
}

#[test]
fn m7_a_clock_goes_backwards() {
    planted(&[], &["M7"], |run, _| {
        let ok = |op: &&OpRecord| op.kind == 0 && op.outcome == Outcome::Ok;
        let Some(last) = run.ops.iter().rfind(ok).cloned() else {
            return false;
        };
        let Some(first) = run
            .ops
            .iter()
            .find(ok)
            .filter(|op| op.done_ns <= last.sent_ns)
        else {
            return false;
        };
        // The first one claims to be of a much later time, everywhere it is told.
        let (id, movie) = (
            text(&first.observed, "reviewId"),
            text(&first.observed, "movieId"),
        );
        let (id, movie, first) = (id.to_owned(), movie.to_owned(), first.clone());
        let late = i64::MAX / 2;
        set(row(run, "ReviewStorage", &id), "timestamp", late);
        let user = text(row(run, "ReviewStorage", &id), "userId").to_owned();
        for (table, owner) in [("UserReview", user), ("MovieReview", movie)] {
            relist(run, table, &owner, |list| {
                let at = position(list, &first.observed);
                set(&mut list[at], "timestamp", late);
            });
        }
        // Reads are left out: they are sorted by the time that the review had.
        run.ops
            .iter_mut()
            .filter(|op| op.kind != 0)
            .for_each(|op| op.outcome = Outcome::Shed);
        true
    });
}

#[test]
fn m7_a_bounded_list_is_too_short() {
    planted(&[("keep", "2")], &["M7"], |run, _| {
        let owned = |movie: &str| {
            let reviews = run.state.table("ReviewStorage");
            reviews
                .filter(|(_, review)| text(review, "movieId") == movie)
                .count()
        };
        let Some(movie) = ["m1", "m2"].into_iter().find(|movie| owned(movie) > 2) else {
            return false;
        };
        relist(run, "MovieReview", movie, |list| list.truncate(1));
        true
    });
}

#[test]
fn m10_a_listed_review_has_no_body() {
    planted(&[], &["M10"], |run, random| {
        let mut reads: Vec<_> = run
            .ops
            .iter_mut()
            .filter(|op| {
                op.observed
                    .get("ids")
                    .and_then(Value::as_list)
                    .is_some_and(|ids| !ids.is_empty())
            })
            .collect();
        if reads.is_empty() {
            return false;
        }
        let chosen = random.below(reads.len() as u64) as usize;
        let observed = &mut reads[chosen].observed;
        let mut ids = observed
            .get("ids")
            .and_then(Value::as_list)
            .unwrap_or_default()
            .to_vec();
        let id = ids.pop().unwrap_or_default();
        let id = id
            .as_str()
            .and_then(|id| id.split_once(':'))
            .map_or("", |(_, id)| id)
            .to_owned();
        set(observed, "ids", Value::List(Arc::new(ids)));
        set(observed, "missing", Value::list([Value::from(id)]));
        true
    });
}

#[test]
fn m11_a_list_shrinks_before_a_session() {
    planted(&[], &["M11"], |run, _| {
        let reads: Vec<usize> = (0..run.ops.len())
            .filter(|at| matches!(run.ops[*at].kind, 1 | 2) && run.ops[*at].outcome == Outcome::Ok)
            .collect();
        let total = |at: usize| run.ops[at].observed.get("total").and_then(Value::as_int);
        let pair = reads.iter().find_map(|one| {
            let same = |two: &&usize| {
                let (one, two) = (&run.ops[*one], &run.ops[**two]);
                one.session == two.session
                    && one.input.get("movieId") == two.input.get("movieId")
                    && two.sent_ns >= one.done_ns
            };
            let two = reads.iter().find(same)?;
            (total(*one) > Some(0)).then_some((*one, *two))
        });
        let Some((one, two)) = pair else { return false };
        let total = total(one).unwrap_or_default() - 1;
        set(&mut run.ops[two].observed, "total", total);
        true
    });
}

#[test]
fn m11_a_review_vanishes_before_a_session() {
    planted(HANDOFF, &["M11"], |run, _| {
        let ids = |at: usize| run.ops[at].observed.get("ids").and_then(Value::as_list);
        // Two reads of one list by one session, with a review that both answers have.
        let same = |one: usize, two: usize| {
            let (a, b) = (&run.ops[one], &run.ops[two]);
            let first = |op: &OpRecord| op.input.get("start") == Some(&Value::Int(0));
            a.session == b.session
                && ["movieId", "userId"]
                    .iter()
                    .all(|of| a.input.get(of) == b.input.get(of))
                && first(b)
                && a.done_ns <= b.sent_ns
        };
        let pair = (0..run.ops.len()).find_map(|one| {
            let newest = ids(one)?.first()?;
            let has_it = |two: &usize| ids(*two).is_some_and(|ids| ids.contains(newest));
            let two = (one + 1..run.ops.len()).find(|two| same(one, *two) && has_it(two))?;
            Some((newest.clone(), two))
        });
        let Some((gone, two)) = pair else {
            return false;
        };
        let left = ids(two)
            .unwrap_or_default()
            .iter()
            .filter(|id| **id != gone)
            .cloned();
        let left = Value::list(left);
        set(&mut run.ops[two].observed, "ids", left);
        true
    });
}

#[test]
fn m11_a_session_does_not_see_its_own_review() {
    planted(&[], &["M11-own"], |run, _| {
        // The first read of a list by a session, after an acknowledged review of its own.
        let is_read = |kind: u16| matches!(kind, 1 | 2);
        let place = (0..run.ops.len()).find(|at| {
            let read = &run.ops[*at];
            let movie = read.input.get("movieId");
            let full = read.input.get("start") == Some(&Value::Int(0));
            let before = run.ops.iter().filter(|op| {
                op.session == read.session
                    && op.outcome == Outcome::Ok
                    && op.done_ns <= read.sent_ns
            });
            let mut before = before.filter(|op| op.index != read.index);
            is_read(read.kind)
                && full
                && read.outcome == Outcome::Ok
                && before
                    .clone()
                    .all(|op| !is_read(op.kind) || op.input.get("movieId") != movie)
                && before.any(|op| op.kind == 0 && op.observed.get("movieId") == movie)
        });
        let Some(at) = place else { return false };
        set(&mut run.ops[at].observed, "ids", Value::list([]));
        true
    });
}

/// Swaps the places of two composes in their movie's list, of which the first was answered before the
/// second was sent. Whether there were two such, of one session or of different ones as asked.
fn swap_appends(run: &mut triptych_reference::Run, one_session: bool) -> bool {
    let ok = |op: &&OpRecord| op.kind == 0 && op.outcome == Outcome::Ok;
    let composes: Vec<OpRecord> = run.ops.iter().filter(ok).cloned().collect();
    let pairs = composes.windows(2).map(|pair| (&pair[0], &pair[1]));
    let fits = |(a, b): &(&OpRecord, &OpRecord)| {
        let movie = |op: &OpRecord| text(&op.observed, "movieId").to_owned();
        let same = |id: &OpRecord| id.session == a.session;
        let user = |op: &OpRecord| text(&op.input, "username").to_owned();
        // Nobody of either session has sent anything else about the movie in between.
        same(b) == one_session
            && movie(a) == movie(b)
            && user(a) != user(b)
            && a.done_ns <= b.sent_ns
    };
    let Some((a, b)) = pairs.into_iter().find(fits) else {
        return false;
    };
    relist(run, "MovieReview", text(&a.observed, "movieId"), |list| {
        let (a, b) = (position(list, &a.observed), position(list, &b.observed));
        list.swap(a, b);
    });
    true
}

#[test]
fn m7_of_a_session_in_stages_appends_are_in_order() {
    let causal: &[(&str, &str)] = &[("formulation", "causal")];
    let (mut within, mut across) = (0, 0);
    for seed in 0..plant::SEEDS {
        let (app, mut run) = small::small_run(causal, 60, seed, None);
        if swap_appends(&mut run, true) {
            assert_eq!(run.violated(&app), ["M7"], "seed {seed}");
            within += 1;
        }
    }
    // Between sessions nothing is asked where only causes and effects are ordered; elsewhere it is.
    for seed in 0..plant::SEEDS {
        let (app, mut run) = small::small_run(causal, 60, seed, None);
        let (orch, mut other) = small::small_run(&[], 60, seed, None);
        if swap_appends(&mut other, false) {
            assert_eq!(other.violated(&orch), ["M7"], "seed {seed}");
        }
        if swap_appends(&mut run, false) {
            assert_eq!(run.violated(&app), ["M7"], "seed {seed}");
            let evidence = Evidence {
                order: Order::Causal,
                ..run.evidence()
            };
            let (rules, _) = (app.rules)(&evidence);
            // What stood between the two may be of one of their sessions.
            across += u32::from(rules.iter().all(|rule| rule.violations == 0));
        }
    }
    assert!(within > 20 && across > 20, "{within} {across}");
}
