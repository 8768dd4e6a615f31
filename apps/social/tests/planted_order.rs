//! Planted violations of the rules about order (S6, S8, S9, S10), in stored lists and in answers, in
//! many random histories: the rule must find each, and no other rule may be named.

#[path = "common/plant.rs"]
mod plant;
#[path = "common/small.rs"]
mod small;

use plant::Graph::Static;
use plant::{
    ASYNC, SYNC, TXN, answered, any, any_post, id, list, listing, lonely, place, planted, posts,
    relist, relisted, row, set, text,
};
use triptych_api::Value;
use triptych_api::model::{OpRecord, Outcome, Random};
use triptych_reference::Run;

fn ids(op: &OpRecord) -> usize {
    list(&op.observed, "ids").len()
}

#[test]
fn s6_an_answer_is_not_newest_first() {
    planted(ASYNC, Static, &["S6"], |run, random| {
        let reads = answered(run, "read-home", |op| ids(op) > 2);
        let Some(at) = any(&reads, random) else {
            return false;
        };
        relist(&mut run.ops[at].observed, "ids", |ids| ids.swap(0, 1));
        true
    });
}

#[test]
fn s6_an_answer_is_not_as_long_as_it_should_be() {
    planted(ASYNC, Static, &["S6"], |run, random| {
        // From position 2 on: what a session must see again is judged from the newest.
        let later = |op: &OpRecord| ids(op) > 1 && op.input.get("start") == Some(&Value::Int(2));
        let Some(at) = any(&answered(run, "read-home", later), random) else {
            return false;
        };
        relist(&mut run.ops[at].observed, "ids", |ids| {
            ids.remove(0);
        });
        true
    });
}

#[test]
fn s6_an_entry_has_another_timestamp_than_its_post() {
    for table in ["UserTimeline", "HomeTimeline"] {
        planted(ASYNC, Static, &["S6"], |run, random| {
            let Some((post, _)) = any_post(run, random) else {
                return false;
            };
            let Some(owner) = any(&listing(run, table, id(&post)), random) else {
                return false;
            };
            relisted(run, table, &owner, |list| {
                let at = place(list, id(&post));
                set(&mut list[at], "timestamp", 7);
            });
            true
        });
    }
}

#[test]
fn s6_a_post_is_dated_before_one_that_was_there_already() {
    planted(ASYNC, Static, &["S6"], |run, random| {
        let Some((post, at)) = lonely(run, random) else {
            return false;
        };
        let sent = run.ops[at].sent_ns;
        let earlier = posts(run, |_| true).into_iter();
        if earlier
            .filter(|(_, other)| run.ops[*other].done_ns <= sent)
            .count()
            == 0
        {
            return false;
        }
        let old = post
            .get("timestamp")
            .and_then(Value::as_int)
            .expect("is dated")
            - 10_000;
        set(row(run, "Post", id(&post)), "timestamp", old);
        set(&mut run.ops[at].observed, "timestamp", old);
        for table in ["UserTimeline", "HomeTimeline"] {
            for owner in listing(run, table, id(&post)) {
                relisted(run, table, &owner, |list| {
                    let at = place(list, id(&post));
                    set(&mut list[at], "timestamp", old);
                });
            }
        }
        true
    });
}

#[test]
fn s8_an_answer_lists_a_post_without_its_body() {
    for kind in ["read-home", "read-user", "read-thread"] {
        planted(ASYNC, Static, &["S8"], |run, random| {
            let Some(at) = any(&answered(run, kind, |op| ids(op) > 0), random) else {
                return false;
            };
            let observed = &mut run.ops[at].observed;
            let mut gone = Value::Null;
            relist(observed, "ids", |ids| gone = ids.remove(0));
            let gone = gone.as_str().and_then(|key| key.split_once(':'));
            let id = Value::from(gone.expect("is a key").1);
            relist(observed, "missing", |missing| missing.push(id));
            true
        });
    }
}

#[test]
fn s8_says_nothing_of_a_post_that_was_lost() {
    planted(ASYNC, Static, &["S1", "S1-durable", "S5"], |run, random| {
        let Some((post, _)) = lonely(run, random) else {
            return false;
        };
        let key = format!(
            "{}:{}",
            post.get("timestamp")
                .and_then(Value::as_int)
                .expect("is dated"),
            id(&post)
        );
        let key = Value::from(key);
        let lists = |op: &OpRecord| list(&op.observed, "ids").contains(&key);
        let mut reads = answered(run, "read-home", lists);
        reads.extend(answered(run, "read-user", lists));
        for at in &reads {
            let observed = &mut run.ops[*at].observed;
            relist(observed, "ids", |ids| ids.retain(|shown| *shown != key));
            relist(observed, "missing", |missing| {
                missing.push(id(&post).into())
            });
        }
        let posts = run.state.tables.get_mut("Post").expect("there are posts");
        posts.remove(id(&post));
        !reads.is_empty()
    });
}

#[test]
fn s9_a_thread_is_shown_without_what_it_answers() {
    planted(ASYNC, Static, &["S9"], |run, random| {
        let Some(at) = any(&answered(run, "read-thread", |_| true), random) else {
            return false;
        };
        set(&mut run.ops[at].observed, "root", Value::Null);
        true
    });
    // That it shows one less than there are is S6's.
    planted(ASYNC, Static, &["S6", "S9"], |run, random| {
        // An answer to an answer.
        let deep = |op: &OpRecord| {
            let root = op.observed.get("root").cloned().unwrap_or_default();
            list(&op.observed, "parents")
                .iter()
                .any(|parent| *parent != root)
        };
        let Some(at) = any(&answered(run, "read-thread", deep), random) else {
            return false;
        };
        // A session that has neither seen nor written what will be missing.
        run.ops[at].session = 99;
        let observed = &mut run.ops[at].observed;
        let root = observed.get("root").cloned().unwrap_or_default();
        let parents = list(observed, "parents");
        let parent = parents
            .iter()
            .find(|parent| **parent != root)
            .expect("is deep");
        let named = |key: &Value| {
            key.as_str()
                .and_then(|key| key.split_once(':'))
                .map(|key| key.1 == parent.as_str().unwrap_or_default())
        };
        let gone = list(observed, "ids")
            .iter()
            .position(|key| named(key) == Some(true));
        let gone = gone.expect("the parent is shown");
        for field in ["ids", "parents"] {
            relist(observed, field, |list| {
                list.remove(gone);
            });
        }
        true
    });
}

#[test]
fn s2_a_stored_answer_hangs_in_the_air() {
    let answer = |post: &Value| post.get("parent").is_some();
    // That what it answers is lost is no matter of order.
    planted(ASYNC, Static, &["S2"], |run, random| {
        let Some((post, at)) = any(&posts(run, answer), random) else {
            return false;
        };
        // Its parent's author is mentioned, so that only the parent is missing.
        set(row(run, "Post", id(&post)), "parent", "nothing");
        set(&mut run.ops[at].observed, "parent", "nothing");
        let parent = run
            .state
            .get("Post", text(&post, "parent"))
            .expect("is stored");
        let parent = plant::author(parent);
        let followed = small::follows(
            parent.parse().expect("is a number"),
            plant::author(&post).parse().expect("is a number"),
        );
        let mentioned = list(&post, "userMentions")
            .iter()
            .any(|who| text(who, "userId") == parent);
        followed || mentioned
    });
}

#[test]
fn s9_an_answer_came_before_what_it_answers() {
    planted(TXN, Static, &["S9-parents"], |run, random| {
        let mut pairs = Vec::new();
        for (post, _) in posts(run, |post| post.get("parent").is_some()) {
            let parent = text(&post, "parent").to_owned();
            let both = listing(run, "HomeTimeline", id(&post));
            let others = listing(run, "HomeTimeline", &parent);
            let both = both.into_iter().filter(|who| others.contains(who));
            pairs.extend(both.map(|who| (who, id(&post).to_owned(), parent.clone())));
        }
        let Some((reader, post, parent)) = any(&pairs, random) else {
            return false;
        };
        relisted(run, "HomeTimeline", &reader, |list| {
            let (a, b) = (place(list, &post), place(list, &parent));
            list.swap(a, b);
        });
        true
    });
}

/// Two reads of one timeline from the newest by one session, one after the other, both with posts.
fn twice_read(run: &Run, random: &mut Random) -> Option<(usize, usize)> {
    let head = |op: &OpRecord| {
        let stop = op.input.get("stop").and_then(Value::as_int);
        op.input.get("start") == Some(&Value::Int(0)) && stop > Some(50) && ids(op) > 0
    };
    let reads = answered(run, "read-home", head);
    let mut pairs = Vec::new();
    for (one, two) in reads
        .iter()
        .flat_map(|one| reads.iter().map(move |two| (*one, *two)))
    {
        let (a, b) = (&run.ops[one], &run.ops[two]);
        let same = text(&a.input, "userId") == text(&b.input, "userId");
        if a.session == b.session && same && a.done_ns <= b.sent_ns && one != two {
            pairs.push((one, two));
        }
    }
    any(&pairs, random)
}

#[test]
fn s10_a_timeline_shrinks() {
    // Few sessions and users, so that few histories have such a pair; all of them are taken.
    let mut places = 0;
    for seed in 0..200 {
        let mut requests = small::requests(80, seed);
        requests.retain(|request| request.kind < 5);
        let (app, mut run) = small::run_of(ASYNC, &requests, seed, None, None);
        let Some((one, two)) = twice_read(&run, &mut Random::new(seed)) else {
            continue;
        };
        places += 1;
        assert!(run.violated(&app).is_empty());
        let mut shrunk = run.clone();
        let total = run.ops[one].observed.get("total").and_then(Value::as_int);
        let fewer = total.expect("is counted") - 1;
        set(&mut shrunk.ops[two].observed, "total", fewer);
        relist(&mut shrunk.ops[two].observed, "ids", |ids| {
            ids.truncate(fewer as usize)
        });
        assert_eq!(shrunk.violated(&app), ["S10"], "seed {seed}");
        // What was seen is gone, though the length is the same.
        relist(&mut run.ops[two].observed, "ids", |ids| {
            let last = ids.len() - 1;
            ids[last] = "1:another".into();
        });
        assert_eq!(run.violated(&app), ["S10"], "seed {seed}");
    }
    assert!(places >= 10, "only {places} places");
}

#[test]
fn s10_there_is_nothing_to_answer_any_more() {
    let mut places = 0;
    for seed in 0..SEEDS {
        let mut requests = small::requests(80, seed);
        requests.retain(|request| request.kind < 5);
        let (app, mut run) = small::run_of(ASYNC, &requests, seed, None, None);
        let seen = answered(&run, "read-home", |op| ids(op) > 0);
        let later = answered(&run, "read-thread", |op| {
            seen.iter().any(|at| {
                let read = &run.ops[*at];
                let same = text(&read.input, "userId") == text(&op.input, "userId");
                read.session == op.session && same && read.done_ns <= op.sent_ns
            })
        });
        let Some(at) = later.first() else { continue };
        places += 1;
        run.ops[*at].outcome = Outcome::Rejected("nothing to read".to_owned());
        run.ops[*at].observed = Value::Null;
        assert_eq!(run.violated(&app), ["S10"], "seed {seed}");
    }
    assert!(places > SEEDS / 6, "only {places} places");
}

const SEEDS: u64 = 120;

#[test]
fn s10_a_session_does_not_see_its_own_post() {
    let mut places = 0;
    for variant in [SYNC, TXN] {
        for seed in 0..SEEDS {
            let (app, mut run) = small::small_run(variant, 80, seed, None);
            // A read of the own timeline, after which no other one of it follows.
            let reads = answered(&run, "read-user", |op| {
                let stop = op.input.get("stop").and_then(Value::as_int);
                op.input.get("start") == Some(&Value::Int(0)) && stop > Some(50) && ids(op) > 0
            });
            let found = reads.iter().find_map(|at| {
                let read = &run.ops[*at];
                let own = posts(&run, |_| true).into_iter().find(|(_, request)| {
                    let post = &run.ops[*request];
                    let same = text(&post.input, "userId") == text(&read.input, "userId");
                    same && post.session == read.session && post.done_ns <= read.sent_ns
                })?;
                let others = reads.iter().filter(|other| {
                    let other = &run.ops[**other];
                    other.session == read.session
                        && text(&other.input, "userId") == text(&read.input, "userId")
                });
                (others.count() == 1).then_some((*at, own.0))
            });
            let Some((at, post)) = found else { continue };
            places += 1;
            let total = ids(&run.ops[at]) as i64 - 1;
            let observed = &mut run.ops[at].observed;
            set(observed, "total", total);
            relist(observed, "ids", |ids| {
                let own = |key: &Value| key.as_str().is_some_and(|key| key.ends_with(id(&post)));
                let at = ids.iter().position(own).expect("is shown");
                ids.remove(at);
            });
            let violated = run.violated(&app);
            assert!(
                violated.contains(&"S10-own".to_owned()),
                "seed {seed}: {violated:?}"
            );
            assert!(
                violated.iter().all(|rule| rule.starts_with("S10")),
                "{violated:?}"
            );
        }
    }
    assert!(places > 10, "only {places} places");
}

/// Two looks at one thread by one session, one after the other, of which the first shows an answer.
fn twice_in_thread(run: &Run) -> Option<(usize, usize)> {
    let looks = answered(run, "read-thread", |op| ids(op) > 0);
    let root = |at: usize| run.ops[at].observed.get("root");
    let pairs = looks
        .iter()
        .flat_map(|one| looks.iter().map(move |two| (*one, *two)));
    let mut pairs = pairs.filter(|(one, two)| {
        let (a, b) = (&run.ops[*one], &run.ops[*two]);
        a.session == b.session && a.done_ns <= b.sent_ns && root(*one) == root(*two)
    });
    pairs.find(|(one, two)| one != two)
}

/// Takes answers out of what a look at a thread shows.
fn cut(op: &mut Value, from: usize) {
    for field in ["ids", "parents"] {
        relist(op, field, |list| list.truncate(from));
    }
    set(op, "total", from as i64);
}

#[test]
fn s10_a_thread_shrinks() {
    let mut places = 0;
    for seed in 0..200 {
        let (app, mut run) = small::small_run(ASYNC, 120, seed, None);
        let Some((one, two)) = twice_in_thread(&run) else {
            continue;
        };
        places += 1;
        assert!(run.violated(&app).is_empty());
        let shown = ids(&run.ops[one]);
        cut(&mut run.ops[two].observed, shown - 1);
        let violated = run.violated(&app);
        assert!(
            violated.contains(&"S10".to_owned())
                && violated.iter().all(|rule| rule.starts_with("S10")),
            "seed {seed}: {violated:?}"
        );
    }
    assert!(places >= 10, "only {places} places");
}

#[test]
fn s10_a_session_does_not_see_its_own_answer_in_the_thread() {
    let mut places = 0;
    for seed in 0..200 {
        let (app, mut run) = small::small_run(ASYNC, 120, seed, None);
        let looks = answered(&run, "read-thread", |op| ids(op) > 0);
        let found = looks.iter().find_map(|at| {
            let look = &run.ops[*at];
            let thread = look.observed.get("root");
            // Its last answer is one that the session gave before it looked.
            let last = list(&look.observed, "ids").last().cloned()?;
            let own = answered(&run, "reply", |op| {
                let id = text(&op.observed, "postId");
                let same = last.as_str().is_some_and(|key| key.ends_with(id));
                same && op.session == look.session && op.done_ns <= look.sent_ns
            });
            // Nobody of the session has seen it, so that only that it is its own tells.
            let others = looks.iter().filter(|other| {
                let other = &run.ops[**other];
                other.session == look.session && other.observed.get("root") == thread
            });
            (!own.is_empty() && others.count() == 1).then_some(*at)
        });
        let Some(at) = found else { continue };
        places += 1;
        let shown = ids(&run.ops[at]);
        cut(&mut run.ops[at].observed, shown - 1);
        assert_eq!(run.violated(&app), ["S10-own"], "seed {seed}");
    }
    assert!(places >= 10, "only {places} places");
}

#[test]
fn s6_a_look_at_a_thread_is_not_as_long_as_it_should_be() {
    planted(ASYNC, Static, &["S6"], |run, random| {
        let looks = answered(run, "read-thread", |_| true);
        let Some(at) = any(&looks, random) else {
            return false;
        };
        // The session has seen no other length of it.
        let observed = &mut run.ops[at].observed;
        let total = observed.get("total").and_then(Value::as_int);
        let total = total.expect("is counted");
        set(observed, "total", total + 1);
        let root = run.ops[at].observed.get("root").cloned();
        let looked = run
            .ops
            .iter()
            .filter(|op| op.observed.get("root") == root.as_ref());
        looked
            .filter(|op| op.session == run.ops[at].session)
            .count()
            == 1
    });
}

#[test]
fn s10_a_window_further_down_has_a_hole() {
    let mut places = 0;
    for seed in 0..300 {
        let mut requests = small::requests(80, seed);
        requests.retain(|request| request.kind < 5);
        let (app, mut run) = small::run_of(ASYNC, &requests, seed, None, None);
        let deep = |op: &OpRecord| op.input.get("start") == Some(&Value::Int(2)) && ids(op) == 3;
        let found = answered(&run, "read-home", deep).into_iter().find(|at| {
            let read = &run.ops[*at];
            let seen = list(&read.observed, "ids")[1].clone();
            let before = |op: &OpRecord| {
                let same = text(&op.input, "userId") == text(&read.input, "userId");
                let shown = list(&op.observed, "ids").contains(&seen);
                same && shown && op.session == read.session && op.done_ns <= read.sent_ns
            };
            !answered(&run, "read-home", before).is_empty()
        });
        let Some(at) = found else { continue };
        places += 1;
        assert!(run.violated(&app).is_empty());
        // Another post stands in its place, between its neighbours.
        relist(&mut run.ops[at].observed, "ids", |ids| {
            let stamp = ids[1].as_str().and_then(|key| key.split_once(':'));
            let stamp = stamp.expect("is a key").0.to_owned();
            let ends = |at: usize| ids[at].as_str().expect("is a key").starts_with(&stamp);
            // Of one instant, the order of the ids decides; then it is put beside its neighbour.
            let id = if ends(2) { "~" } else { "" };
            let id = if ends(0) && !ends(2) { "!" } else { id };
            ids[1] = format!("{stamp}:{id}").into();
        });
        let violated = run.violated(&app);
        assert!(
            violated.contains(&"S10".to_owned()),
            "seed {seed}: {violated:?}"
        );
    }
    assert!(places >= 10, "only {places} places");
}

#[test]
fn an_answer_with_an_impossible_length_is_a_finding_and_no_crash() {
    planted(ASYNC, Static, &["S6"], |run, random| {
        let empty = |op: &OpRecord| ids(op) > 0 && op.input.get("start") == Some(&Value::Int(2));
        let Some(at) = any(&answered(run, "read-user", empty), random) else {
            return false;
        };
        let (session, user) = (
            run.ops[at].session,
            text(&run.ops[at].input, "userId").to_owned(),
        );
        set(&mut run.ops[at].observed, "total", -1);
        let others = answered(run, "read-user", |op| {
            op.session == session && text(&op.input, "userId") == user
        });
        others.len() == 1
    });
}
