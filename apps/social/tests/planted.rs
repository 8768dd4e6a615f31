//! Planted violations of the rules about what a run left behind (S1–S5, S7, S11, S12), in many random
//! histories: the rule must find each, and no other rule may be named. Together with the histories
//! that no rule complains of (`reference_runs`), this is what the verdicts rest on. S6, S8, S9 and S10
//! are in `planted_order`.

#[path = "common/plant.rs"]
mod plant;
#[path = "common/small.rs"]
mod small;

use plant::Graph::{Dynamic, Static};
use plant::{
    ASYNC, SYNC, TXN, answered, any, any_post, author, id, list, listing, lonely, place, planted,
    posts, relist, relisted, row, set, text,
};
use triptych_api::Value;
use triptych_api::model::{OpRecord, Outcome};
use triptych_reference::Run;

/// Takes a post out of all timelines, or puts a copy of its entry after it under another id.
fn everywhere(run: &mut Run, post: &Value, edit: impl Fn(&mut Vec<Value>, usize)) {
    for table in ["UserTimeline", "HomeTimeline"] {
        for owner in listing(run, table, id(post)) {
            relisted(run, table, &owner, |list| {
                let at = place(list, id(post));
                edit(list, at);
            });
        }
    }
}

#[test]
fn s1_a_post_is_lost_without_a_trace() {
    planted(ASYNC, Static, &["S1", "S1-durable"], |run, random| {
        let Some((post, _)) = lonely(run, random) else {
            return false;
        };
        everywhere(run, &post, |list, at| {
            list.remove(at);
        });
        let posts = run.state.tables.get_mut("Post").expect("there are posts");
        posts.remove(id(&post)).is_some()
    });
}

#[test]
fn s1_a_request_has_two_posts() {
    planted(SYNC, Static, &["S1"], |run, random| {
        let plain = |post: &Value| list(post, "urls").is_empty() && post.get("parent").is_none();
        let Some((post, _)) = any(&posts(run, plain), random) else {
            return false;
        };
        let mut second = post.clone();
        set(&mut second, "postId", "second");
        *row(run, "Post", "second") = second;
        everywhere(run, &post, |list, at| {
            let mut entry = list[at].clone();
            set(&mut entry, "postId", "second");
            list.push(entry);
        });
        true
    });
}

#[test]
fn s1_a_failed_request_left_a_post() {
    for outcome in [
        Outcome::Failed("x".into()),
        Outcome::Aborted("x".into()),
        Outcome::Shed,
    ] {
        planted(ASYNC, Static, &["S1"], |run, random| {
            let Some((_, at)) = any_post(run, random) else {
                return false;
            };
            run.ops[at].outcome = outcome.clone();
            true
        });
    }
}

#[test]
fn s1_nobody_sent_the_request() {
    planted(ASYNC, Static, &["S1", "S1-durable"], |run, random| {
        let Some((post, _)) = any_post(run, random) else {
            return false;
        };
        set(row(run, "Post", id(&post)), "reqId", "nobody's");
        true
    });
}

#[test]
fn s1_an_answer_or_a_post_names_another_one() {
    planted(ASYNC, Static, &["S1"], |run, random| {
        let Some((_, at)) = any_post(run, random) else {
            return false;
        };
        set(&mut run.ops[at].observed, "postId", "another");
        true
    });
    planted(ASYNC, Static, &["S1"], |run, random| {
        let Some((post, _)) = any_post(run, random) else {
            return false;
        };
        set(row(run, "Post", id(&post)), "postId", "another");
        true
    });
}

#[test]
fn s2_a_field_is_not_as_the_request_says() {
    let fields: [(&str, Value); 4] = [
        ("text", "something else".into()),
        ("postType", "DM".into()),
        ("media", Value::list([Value::Null])),
        ("userMentions", Value::list([Value::Null])),
    ];
    for (field, wrong) in fields {
        // Who is mentioned is also who must see it; that nobody is one of them is S4's.
        let expected: &[&str] = match field {
            "userMentions" => &["S2", "S4", "S5"],
            _ => &["S2"],
        };
        planted(ASYNC, Static, expected, |run, random| {
            let unmentioned = |post: &Value| list(post, "userMentions").is_empty();
            let Some((post, _)) = any(&posts(run, unmentioned), random) else {
                return false;
            };
            set(row(run, "Post", id(&post)), field, wrong.clone());
            true
        });
    }
    planted(ASYNC, Static, &["S2"], |run, random| {
        let Some((post, _)) = any_post(run, random) else {
            return false;
        };
        let stored = row(run, "Post", id(&post));
        let mut creator = stored.get("creator").cloned().unwrap_or_default();
        set(&mut creator, "username", "username_5x");
        set(stored, "creator", creator);
        true
    });
}

#[test]
fn s2_an_answer_mentions_others_than_the_post() {
    planted(ASYNC, Static, &["S2"], |run, random| {
        let Some((_, at)) = any_post(run, random) else {
            return false;
        };
        relist(&mut run.ops[at].observed, "mentions", |mentions| {
            mentions.push("4".into())
        });
        true
    });
}

#[test]
fn s2_a_link_leads_elsewhere_or_its_end_is_cut_off() {
    let linked = |post: &Value| !list(post, "urls").is_empty();
    planted(ASYNC, Static, &["S2"], |run, random| {
        let Some((post, _)) = any(&posts(run, linked), random) else {
            return false;
        };
        let short = text(&list(&post, "urls")[0], "shortUrl").to_owned();
        set(row(run, "Url", &short), "expandedUrl", "http://elsewhere");
        true
    });
    // D13 is a defect where it is not inherited.
    planted(ASYNC, Static, &["S2"], |run, random| {
        let Some((post, _)) = any(&posts(run, linked), random) else {
            return false;
        };
        let cut = text(&post, "text")
            .strip_suffix(" the end")
            .expect("ends so");
        set(row(run, "Post", id(&post)), "text", cut);
        true
    });
}

#[test]
fn s2_and_s12_two_posts_share_a_short_code() {
    planted(ASYNC, Static, &["S2", "S12"], |run, random| {
        let linked = posts(run, |post| !list(post, "urls").is_empty());
        let (Some((one, _)), Some((two, _))) = (any(&linked, random), any(&linked, random)) else {
            return false;
        };
        let short = text(&list(&one, "urls")[0], "shortUrl").to_owned();
        relist(row(run, "Post", id(&two)), "urls", |urls| {
            set(&mut urls[0], "shortUrl", short);
        });
        one != two
    });
}

#[test]
fn s3_a_post_is_in_a_wrong_timeline() {
    planted(ASYNC, Static, &["S3"], |run, random| {
        let Some((post, _)) = any_post(run, random) else {
            return false;
        };
        let mut moved = Value::Null;
        relisted(run, "UserTimeline", &author(&post), |list| {
            moved = list.remove(place(list, id(&post)));
        });
        relisted(run, "UserTimeline", "elsewhere", |list| list.push(moved));
        true
    });
}

#[test]
fn s3_and_s5_a_post_is_listed_twice() {
    planted(ASYNC, Static, &["S3", "S5"], |run, random| {
        let Some((post, _)) = any_post(run, random) else {
            return false;
        };
        relisted(run, "UserTimeline", &author(&post), |list| {
            list.push(list[place(list, id(&post))].clone());
        });
        true
    });
}

#[test]
fn s3_an_answer_is_in_a_wrong_thread_or_in_none() {
    let answer = |post: &Value| post.get("root").is_some();
    planted(ASYNC, Static, &["S3", "S5"], |run, random| {
        let Some((post, _)) = any(&posts(run, answer), random) else {
            return false;
        };
        relisted(run, "Thread", text(&post, "root"), |list| {
            list.remove(place(list, id(&post)));
        });
        true
    });
    planted(ASYNC, Static, &["S3"], |run, random| {
        let Some((post, _)) = any(&posts(run, answer), random) else {
            return false;
        };
        let mut moved = Value::Null;
        relisted(run, "Thread", text(&post, "root"), |list| {
            moved = list.remove(place(list, id(&post)));
        });
        relisted(run, "Thread", "elsewhere", |list| list.push(moved));
        true
    });
}

#[test]
fn s4_a_follower_does_not_get_a_post_or_gets_it_twice() {
    for twice in [false, true] {
        planted(SYNC, Static, &["S4", "S5"], |run, random| {
            let Some((post, _)) = any_post(run, random) else {
                return false;
            };
            let Some(reader) = any(&listing(run, "HomeTimeline", id(&post)), random) else {
                return false;
            };
            relisted(run, "HomeTimeline", &reader, |list| {
                let entry = list.remove(place(list, id(&post)));
                if twice {
                    list.extend([entry.clone(), entry]);
                }
            });
            true
        });
    }
}

#[test]
fn s4_a_stranger_gets_a_post_instead() {
    planted(TXN, Static, &["S4"], |run, random| {
        let Some((post, _)) = any_post(run, random) else {
            return false;
        };
        let Some(reader) = any(&listing(run, "HomeTimeline", id(&post)), random) else {
            return false;
        };
        let mut moved = Value::Null;
        relisted(run, "HomeTimeline", &reader, |list| {
            moved = list.remove(place(list, id(&post)));
        });
        relisted(run, "HomeTimeline", "stranger", |list| list.push(moved));
        true
    });
}

#[test]
fn s5_a_timeline_has_an_entry_without_a_post() {
    for (table, owner) in [
        ("HomeTimeline", "3"),
        ("UserTimeline", "3"),
        ("Thread", "load-1"),
    ] {
        planted(ASYNC, Static, &["S5"], |run, _| {
            relisted(run, table, owner, |list| {
                let entry = [("postId", "nothing".into()), ("timestamp", Value::Int(0))];
                list.push(Value::map(entry));
            });
            true
        });
    }
}

#[test]
fn s5_a_bounded_timeline_is_shorter_or_longer_than_its_bound() {
    for longer in [true, false] {
        // That an entry is there twice, or is not there, is S4's too.
        planted(&[("keep", "7")], Static, &["S4", "S5"], |run, _| {
            let full = run.state.table("HomeTimeline");
            let full = full.filter(|(_, row)| list(row, "entries").len() == 7);
            let full: Vec<String> = full.map(|(key, _)| key.to_string()).collect();
            let Some(reader) = full.into_iter().find(|reader| reader.as_str() >= "3") else {
                return false;
            };
            relisted(run, "HomeTimeline", &reader, |list| match longer {
                true => list.push(list[6].clone()),
                false => list.truncate(6),
            });
            true
        });
    }
}

#[test]
fn s4_a_full_timeline_lacks_a_post_and_has_an_older_one() {
    planted(&[("keep", "7")], Static, &["S4"], |run, random| {
        let mut places = Vec::new();
        for (reader, row) in run.state.table("HomeTimeline") {
            let entries = list(row, "entries");
            let ids: Vec<&str> = entries.iter().map(|entry| text(entry, "postId")).collect();
            let dropped = (0..6).rev().map(|post| format!("load-{post}"));
            let mut dropped = dropped.filter(|old| !ids.contains(&old.as_str()));
            let old = dropped
                .next()
                .filter(|_| ids.len() == 7 && **reader >= *"3");
            let young = posts(run, |post| ids.contains(&id(post)));
            if let (Some(old), Some((young, _))) = (old, any(&young, random)) {
                places.push((reader.to_string(), old, id(&young).to_owned()));
            }
        }
        let Some((reader, old, young)) = any(&places, random) else {
            return false;
        };
        let old = run.state.get("Post", &old).expect("is stored");
        let stamp = old.get("timestamp").cloned().unwrap_or_default();
        let entry = Value::map([("postId", id(old).into()), ("timestamp", stamp)]);
        relisted(run, "HomeTimeline", &reader, |list| {
            list.remove(place(list, &young));
            list.insert(0, entry);
        });
        true
    });
}

#[test]
fn s7_one_side_of_an_edge_is_missing() {
    // An edge that nobody touched, and one that was loaded.
    planted(ASYNC, Static, &["S7"], |run, random| {
        let follower = 3 + random.below(3);
        let field = format!("u{}", random.below(3));
        set(
            row(run, "Followees", &follower.to_string()),
            &field,
            Value::Null,
        );
        true
    });
    planted(ASYNC, Static, &["S7"], |run, _| {
        set(row(run, "Followees", "5"), "loaded", Value::Null);
        true
    });
}

#[test]
fn s7_the_last_word_was_another_one() {
    planted(ASYNC, Dynamic, &["S7"], |run, random| {
        // The only word about an edge.
        let pair = |run: &Run, at: usize| {
            let input = &run.ops[at].input;
            (
                text(input, "userId").to_owned(),
                text(input, "followee").to_owned(),
            )
        };
        let changed = |kind| answered(run, kind, |_| true);
        let changes: Vec<usize> = changed("follow")
            .into_iter()
            .chain(changed("unfollow"))
            .collect();
        let only = |at: &&usize| {
            let of = |op: &OpRecord| {
                (
                    text(&op.input, "userId").to_owned(),
                    text(&op.input, "followee").to_owned(),
                )
            };
            run.ops
                .iter()
                .filter(|op| of(op) == pair(run, **at))
                .count()
                == 1
        };
        let only: Vec<usize> = changes.iter().filter(only).copied().collect();
        let Some(at) = any(&only, random) else {
            return false;
        };
        let (user, followee) = pair(run, at);
        let now = match run.kinds[usize::from(run.ops[at].kind)].as_str() {
            "follow" => Value::Null,
            _ => Value::Int(1),
        };
        set(
            row(run, "Followers", &followee),
            &format!("u{user}"),
            now.clone(),
        );
        set(row(run, "Followees", &user), &format!("u{followee}"), now);
        true
    });
}

#[test]
fn s7_somebody_follows_oneself() {
    planted(ASYNC, Static, &["S7"], |run, _| {
        set(row(run, "Followers", "4"), "u4", 1);
        set(row(run, "Followees", "4"), "u4", 1);
        true
    });
}

#[test]
fn s7_sides_disagree_where_either_may_be_right() {
    let either = |run: &Run| {
        // Two changes of one edge to different values that overlapped.
        let changes = || {
            run.ops
                .iter()
                .filter(|op| op.kind >= 5 && op.outcome == Outcome::Ok)
        };
        let edge = |op: &OpRecord| {
            (
                text(&op.input, "userId").to_owned(),
                text(&op.input, "followee").to_owned(),
            )
        };
        let mut pairs = Vec::new();
        for one in changes().filter(|op| op.kind == 5) {
            let overlapping = changes().filter(|two| {
                let apart = one.done_ns < two.sent_ns || two.done_ns < one.sent_ns;
                two.kind == 6 && edge(one) == edge(two) && !apart
            });
            // Nothing about the edge came after them.
            let last = |op: &&OpRecord| {
                let end = one.done_ns.min(op.done_ns);
                changes().all(|other| edge(other) != edge(one) || other.sent_ns <= end)
            };
            pairs.extend(overlapping.filter(last).map(edge));
        }
        pairs
    };
    let mut places = 0;
    for (variant, expected) in [(ASYNC, "S7-sides"), (SYNC, "S7-sides"), (TXN, "S7-sides")] {
        for seed in 0..150 {
            let (app, mut run) = small::small_run(variant, 120, seed, None);
            let Some((user, followee)) = either(&run).into_iter().next() else {
                continue;
            };
            places += 1;
            assert!(run.violated(&app).is_empty(), "seed {seed}");
            let (field, there) = (
                format!("u{user}"),
                row(&mut run, "Followees", &user).clone(),
            );
            let now = match there.get(&format!("u{followee}")) {
                Some(Value::Int(_)) => Value::Null,
                _ => Value::Int(1),
            };
            set(row(&mut run, "Followers", &followee), &field, now);
            assert_eq!(run.violated(&app), [expected], "{variant:?}, seed {seed}");
            // D14: who has no transaction is not asked.
            let dsb = [("formulation", "sync"), ("compat", "dsb")];
            run.settings = small::settings(&dsb);
            let rules = run.violated(&app);
            assert!(
                rules.iter().all(|rule| !rule.starts_with("S7")),
                "{rules:?}"
            );
        }
    }
    assert!(places >= 20, "only {places} places");
}

#[test]
fn s11_a_post_does_not_arrive_after_the_follow() {
    planted(ASYNC, Dynamic, &["S11"], |run, random| {
        let mut places = Vec::new();
        for at in answered(run, "follow", |_| true) {
            let op = &run.ops[at];
            let (user, followee) = (text(&op.input, "userId"), text(&op.input, "followee"));
            // The only word about an edge that was not there before.
            let about = |other: &&OpRecord| {
                other.kind >= 5
                    && text(&other.input, "userId") == user
                    && text(&other.input, "followee") == followee
            };
            let (a, b) = (
                user.parse().expect("a user"),
                followee.parse().expect("a user"),
            );
            if small::follows(a, b) || run.ops.iter().filter(about).count() > 1 {
                continue;
            }
            let later = posts(run, |post| {
                let mentions = list(post, "userMentions");
                let named = mentions.iter().any(|who| text(who, "userId") == user);
                let parent = run.state.get("Post", text(post, "parent"));
                let answered = parent.is_some_and(|parent| author(parent) == user);
                author(post) == followee && !named && !answered
            });
            for (post, request) in later {
                if run.ops[request].sent_ns >= op.done_ns {
                    places.push((user.to_owned(), post));
                }
            }
        }
        let Some((user, post)) = any(&places, random) else {
            return false;
        };
        relisted(run, "HomeTimeline", &user, |list| {
            list.remove(place(list, id(&post)));
        });
        true
    });
}

#[test]
fn s11_a_post_arrives_after_the_unfollow() {
    planted(ASYNC, Dynamic, &["S11"], |run, random| {
        let unfollows = answered(run, "unfollow", |_| true);
        let mut places = Vec::new();
        for at in unfollows {
            let op = &run.ops[at];
            let (user, followee) = (text(&op.input, "userId"), text(&op.input, "followee"));
            // The last word about the edge.
            let about = |other: &&OpRecord| {
                other.index > op.index
                    && other.kind >= 5
                    && text(&other.input, "userId") == user
                    && text(&other.input, "followee") == followee
            };
            if run.ops.iter().any(|other| about(&other))
                || run.ops[..at].iter().any(|other| {
                    other.kind >= 5
                        && text(&other.input, "userId") == user
                        && text(&other.input, "followee") == followee
                })
            {
                continue;
            }
            let later = posts(run, |post| author(post) == followee);
            for (post, request) in later {
                let away = !listing(run, "HomeTimeline", id(&post))
                    .iter()
                    .any(|who| who == user);
                if run.ops[request].sent_ns >= op.done_ns && away {
                    places.push((user.to_owned(), post));
                }
            }
        }
        let Some((user, post)) = any(&places, random) else {
            return false;
        };
        let entry = [
            ("postId", id(&post).into()),
            (
                "timestamp",
                post.get("timestamp").cloned().unwrap_or_default(),
            ),
        ];
        relisted(run, "HomeTimeline", &user, |list| {
            list.push(Value::map(entry))
        });
        true
    });
}

#[test]
fn s12_a_short_code_is_nobodys() {
    planted(ASYNC, Static, &["S12"], |run, random| {
        let Some((post, _)) = any_post(run, random) else {
            return false;
        };
        let fields = [
            ("expandedUrl", "http://x".into()),
            ("reqId", text(&post, "reqId").into()),
        ];
        *row(run, "Url", "http://short-url/again") = Value::map(fields);
        true
    });
}

#[test]
fn s12_a_refusal_has_no_reason() {
    planted(ASYNC, Dynamic, &["S12"], |run, random| {
        let reads = answered(run, "read-user", |_| true);
        let Some(at) = any(&reads, random) else {
            return false;
        };
        run.ops[at].outcome = Outcome::Rejected("no".to_owned());
        true
    });
}

#[test]
fn the_witness_is_the_lowest_request() {
    let (app, mut run) = small::small_run(ASYNC, 60, 7, None);
    let mut broken = Vec::new();
    for (post, at) in posts(&run, |_| true) {
        set(row(&mut run, "Post", id(&post)), "text", "altered");
        broken.push(run.ops[at].index);
    }
    let (reports, _) = run.check(&app);
    let report = reports.iter().find(|report| report.rule == "S2");
    let witness = report.and_then(|report| report.witness.as_ref());
    assert_eq!(
        witness.and_then(|witness| witness.request),
        broken.iter().min().copied()
    );
}
