//! What was seen and done goes with every call and comes back with its reply; branches have copies;
//! sessions and events go on from it. Every call here is on another server than its caller, and the
//! ring is so slow that nothing else brings it there. Seeded defects show that the tests see it.

mod common;

use common::{Do, Saw, add, get, put, row, slow, sum, total, with};
use triptych_api::Value;
use triptych_api::model::Outcome;
use triptych_cached::Bug as Side;
use triptych_causalmesh::model::Conduct;
use triptych_causalmesh::{Bug, Variant};
use triptych_world::MS;

const ALL: [Variant; 3] = [Variant::Causal, Variant::LastWriterWins, Variant::Tcc];

fn side(bug: Side) -> Option<Bug> {
    Some(Bug::Cached(bug))
}

/// What a program reads that runs alone.
fn alone(variant: Variant, bug: Option<Bug>, program: Vec<Do>) -> Saw {
    with(1, variant, slow(), bug, |cloud| async move {
        cloud.ask(0, program, &mut Value::Null).await
    })
}

/// Holds without a defect on every variant, and not with one on those.
fn check(bug: Bug, on: &[Variant], program: Vec<Do>, wanted: &[Option<i64>]) {
    for variant in ALL {
        let saw = alone(variant, None, program.clone());
        assert_eq!(saw, wanted, "{variant:?}");
    }
    for &variant in on {
        let saw = alone(variant, Some(bug), program.clone());
        assert_ne!(saw, wanted, "{variant:?} with {bug:?}");
    }
}

#[test]
fn a_callee_sees_what_its_caller_did() {
    let deep = vec![Do::Call(vec![Do::Call(vec![get("x"), get("y")]), get("x")])];
    let program = [vec![put("x", 1), put("y", 2)], deep].concat();
    let wanted = [Some(1), Some(2), Some(1)];
    let bug = Bug::Cached(Side::CallWithoutContext);
    check(bug, &ALL, program.clone(), &wanted);
    check(Bug::OwnForgotten, &ALL, program, &wanted);
}

#[test]
fn a_caller_sees_what_its_callee_did() {
    let inner = Do::Call(vec![put("x", 1), Do::Call(vec![put("y", 2)])]);
    let program = vec![inner, get("x"), Do::Call(vec![get("y")])];
    let bug = Bug::Cached(Side::ReplyLost);
    check(bug, &ALL, program, &[Some(1), Some(2)]);
}

#[test]
fn branches_do_not_see_each_other_and_both_are_seen_where_they_meet() {
    let left = vec![put("a", 1), Do::Call(vec![get("b")]), get("x")];
    let right = vec![put("b", 2), Do::Call(vec![get("a")]), get("x")];
    let program = vec![
        put("x", 7),
        Do::Fork(vec![left, right]),
        get("a"),
        Do::Call(vec![get("b")]),
    ];
    let wanted = [None, Some(7), None, Some(7), Some(1), Some(2)];
    check(Bug::Cached(Side::BranchLost), &ALL, program, &wanted);
}

#[test]
fn what_the_branches_of_a_callee_did_comes_back_with_its_reply() {
    let fork = Do::Fork(vec![vec![put("a", 1)], vec![put("b", 2)]]);
    let program = vec![Do::Call(vec![fork]), Do::Look(vec!["a".into(), "b".into()])];
    check(
        Bug::Cached(Side::BranchLost),
        &ALL,
        program,
        &[Some(1), Some(2)],
    );
}

#[test]
fn what_branches_add_counts_once_however_often_their_contexts_meet() {
    for variant in [Variant::Causal, Variant::Tcc] {
        let fork = Do::Fork(vec![
            vec![add("n", 10)],
            vec![Do::Call(vec![add("n", 100)])],
        ]);
        let program = vec![add("n", 1), fork, Do::Call(vec![sum("n")]), sum("n")];
        let (saw, left) = with(1, variant, slow(), None, |cloud| async move {
            let saw = cloud.ask(0, program, &mut Value::Null).await;
            (saw, total(&cloud.end().await, "n"))
        });
        // A branch's sum is of what the branch sees.
        let wanted = [1, 11, 101, 111, 111].map(Some).to_vec();
        assert_eq!((saw, left), (wanted, Some(111)), "{variant:?}");
    }
}

#[test]
fn a_scan_has_what_the_workflow_wrote() {
    for variant in ALL {
        let program = vec![
            put("a", 1),
            Do::Call(vec![put("b", 1), Do::Count]),
            Do::Count,
        ];
        assert_eq!(alone(variant, None, program), [Some(2), Some(2)]);
    }
}

/// What two requests of one session read.
fn session(variant: Variant, bug: Option<Bug>) -> Saw {
    with(1, variant, slow(), bug, |cloud| async move {
        let mut session = Value::Null;
        let writes = vec![put("x", 1), Do::Call(vec![add("n", 1)])];
        cloud.ask(0, writes, &mut session).await;
        let reads = vec![get("x"), Do::Call(vec![get("x"), sum("n"), add("n", 1)])];
        let mut saw = cloud.ask(1, reads, &mut session).await;
        saw.extend(cloud.ask(2, vec![sum("n")], &mut session).await);
        saw
    })
}

#[test]
fn a_session_goes_on_from_what_it_did() {
    for variant in ALL {
        let wanted = [1, 1, 1, 2, 2].map(Some);
        assert_eq!(session(variant, None), wanted, "{variant:?}");
        for bug in [Side::SessionDropped, Side::SessionIgnored] {
            assert_ne!(session(variant, side(bug)), wanted, "{variant:?} {bug:?}");
        }
    }
}

/// Two requests of one session at once: what it keeps has both.
#[test]
fn answers_that_cross_are_both_remembered() {
    for variant in ALL {
        let saw = with(1, variant, slow(), None, |cloud| async move {
            let mut session = Value::Null;
            let mut other = session.clone();
            cloud.ask(0, vec![put("x", 1)], &mut other).await;
            cloud.ask(1, vec![put("y", 2)], &mut session).await;
            let merged = cloud.remember(&session, other);
            let both = vec![Do::Look(vec!["x".into(), "y".into()])];
            cloud.ask(2, both, &mut merged.clone()).await
        });
        assert_eq!(saw, [Some(1), Some(2)], "{variant:?}");
    }
}

#[test]
fn an_event_goes_on_from_what_its_sender_did() {
    let copied = |variant, bug| {
        with(1, variant, slow(), bug, |cloud| async move {
            let event = vec![Do::Call(vec![Do::Copy("x".into(), "y".into())])];
            let program = vec![put("x", 1), Do::Call(vec![Do::Send(event)])];
            cloud.ask(0, program, &mut Value::Null).await;
            row(&cloud.end().await, "y")
        })
    };
    for variant in ALL {
        assert_eq!(copied(variant, None), Some(1), "{variant:?}");
        let lost = copied(variant, side(Side::EventWithoutContext));
        assert_eq!(lost, Some(-1), "{variant:?}");
    }
}

/// Whether a session that reads again and again, everywhere, ever saw a number go down.
fn goes_back(seed: u64, variant: Variant, bug: Option<Bug>) -> bool {
    let conduct = Conduct {
        hop: 8 * MS,
        ..Conduct::default()
    };
    with(seed, variant, conduct, bug, |cloud| async move {
        let writer = {
            let cloud = std::rc::Rc::clone(&cloud);
            let world = cloud.world.clone();
            world.spawn("writer", async move {
                let mut session = Value::Null;
                for n in 0..60 {
                    let write = vec![put("x", n as i64)];
                    cloud.ask(n, write, &mut session).await;
                }
            })
        };
        let (mut session, mut last, mut back) = (Value::Null, None, false);
        for n in 100..400 {
            let saw = cloud.ask(n, vec![get("x")], &mut session).await;
            back |= saw[0] < last;
            last = saw[0];
        }
        writer.await;
        back
    })
}

#[test]
fn a_session_never_sees_less_than_it_saw() {
    for variant in ALL {
        assert!((0..10).all(|seed| !goes_back(seed, variant, None)));
        let bug = side(Side::SessionDropped);
        assert!(
            (0..10).any(|seed| goes_back(seed, variant, bug)),
            "{variant:?}"
        );
    }
    let bug = Some(Bug::ReadsForgotten);
    assert!((0..10).any(|seed| goes_back(seed, Variant::Causal, bug)));
}

#[test]
fn a_malformed_context_is_refused_and_the_servers_go_on() {
    for variant in ALL {
        with(1, variant, slow(), None, |cloud| async move {
            let odd = Value::Bytes(vec![255; 40].into());
            for session in [Value::Int(3), odd, Value::str("x")] {
                let session = Value::map([("session", session)]);
                let answer = cloud.send(0, vec![get("x")], &session).await;
                let outcome = answer.outcome;
                assert!(matches!(outcome, Outcome::Indeterminate(_)), "{outcome:?}");
            }
            let nobody = Value::map([("home", Value::Int(99)), ("other", Value::Null)]);
            assert_eq!(cloud.send(1, vec![], &nobody).await.outcome, Outcome::Ok);
            let mut session = Value::Null;
            let saw = cloud
                .ask(2, vec![put("x", 1), get("x")], &mut session)
                .await;
            assert_eq!(saw, [Some(1)]);
        });
    }
}

/// A server that turns requests away, or whose answers get lost: writes count once all the same.
#[test]
fn requests_are_asked_again_and_writes_count_once() {
    for variant in [Variant::Causal, Variant::Tcc] {
        let conduct = Conduct {
            unavailable: 0.2,
            unknown: 0.3,
            ..Conduct::default()
        };
        let left = with(3, variant, conduct, None, |cloud| async move {
            let mut session = Value::Null;
            for n in 0..30 {
                cloud.ask(n, vec![add("n", 1)], &mut session).await;
            }
            total(&cloud.end().await, "n")
        });
        assert_eq!(left, Some(30), "{variant:?}");
    }
}

/// The sum that several clients leave that each add one, as nearly at the same time as can be.
fn added(seed: u64, variant: Variant) -> Option<i64> {
    with(
        seed,
        variant,
        Conduct::default(),
        None,
        |cloud| async move {
            let client = |n: u64| {
                let cloud = std::rc::Rc::clone(&cloud);
                let world = cloud.world.clone();
                world.spawn("client", async move {
                    cloud.ask(n, vec![add("n", 1)], &mut Value::Null).await;
                })
            };
            let clients: Vec<_> = (0..6).map(client).collect();
            for client in clients {
                client.await;
            }
            total(&cloud.end().await, "n")
        },
    )
}

#[test]
fn concurrent_changes_merge_unless_the_last_writer_wins() {
    for seed in 0..10 {
        assert_eq!(added(seed, Variant::Causal), Some(6));
        assert_eq!(added(seed, Variant::Tcc), Some(6));
        let one = added(seed, Variant::LastWriterWins);
        assert!(one < Some(6), "{one:?}");
    }
}
