//! CausalMesh-TCC: a workflow reads one snapshot wherever it goes, and what it writes becomes visible
//! together, or not at all. Seeded defects show that the tests see it.

mod common;

use common::{Do, add, get, put, row, slow, sum, total, with};
use std::rc::Rc;
use triptych_api::Value;
use triptych_api::model::Outcome;
use triptych_cached::Bug as Side;
use triptych_causalmesh::model::Conduct;
use triptych_causalmesh::{Bug, Variant};
use triptych_world::MS;

/// A ring that is fast enough that much becomes visible while a workflow is under way.
fn quick() -> Conduct {
    Conduct {
        hop: 4 * MS,
        ..Conduct::default()
    }
}

/// How often a workflow saw two keys differ that are always written together: at once, and in two
/// functions on two servers.
fn torn(seed: u64, variant: Variant, bug: Option<Bug>) -> usize {
    with(seed, variant, quick(), bug, move |cloud| async move {
        let writer = |client: u64| {
            let cloud = Rc::clone(&cloud);
            let world = cloud.world.clone();
            world.spawn("writer", async move {
                let mut session = Value::Null;
                for n in 0..12 {
                    let number = (100 * client + n) as i64;
                    let first = Do::Call(vec![put("a", number)]);
                    let program = vec![first, Do::Call(vec![put("b", number)])];
                    cloud.ask(100 * client + n, program, &mut session).await;
                }
            })
        };
        let writers = [writer(1), writer(2)];
        let (mut session, mut torn) = (Value::Null, 0);
        for n in 0..40 {
            let pair = || Do::Look(vec!["a".into(), "b".into()]);
            let program = vec![Do::Call(vec![get("a")]), Do::Call(vec![pair()]), get("b")];
            let saw = cloud.ask(n, program, &mut session).await;
            torn += usize::from(saw.iter().any(|n| *n != saw[0]));
        }
        for writer in writers {
            writer.await;
        }
        let state = cloud.end().await;
        if variant == Variant::Tcc && bug.is_none() {
            assert_eq!(row(&state, "a"), row(&state, "b"));
        }
        torn
    })
}

#[test]
fn a_workflow_reads_one_snapshot_that_has_all_or_nothing_of_another_one() {
    let sum = |variant, bug| (0..10).map(|seed| torn(seed, variant, bug)).sum::<usize>();
    assert_eq!(sum(Variant::Tcc, None), 0);
    assert!(sum(Variant::Tcc, Some(Bug::SnapshotRenewed)) > 0);
    assert!(sum(Variant::Tcc, Some(Bug::WrittenOneByOne)) > 0);
    // It is not promised without transactions, so the test would see it.
    assert!(sum(Variant::Causal, None) > 0);
}

/// What a request leaves that ends like this.
fn left(variant: Variant, bug: Option<Bug>, program: Vec<Do>) -> (Outcome, Vec<Option<i64>>) {
    with(1, variant, quick(), bug, |cloud| async move {
        let answer = cloud.send(0, program, &Value::Null).await;
        let state = cloud.end().await;
        let rows = ["x", "y", "z"].map(|key| row(&state, key));
        (answer.outcome, rows.to_vec())
    })
}

fn refused() -> Outcome {
    Outcome::Rejected("refused".to_owned())
}

#[test]
fn a_refused_request_commits_nothing() {
    let program = || vec![put("x", 1), Do::Call(vec![put("y", 1)]), Do::Refuse];
    let nothing = (refused(), vec![None; 3]);
    assert_eq!(left(Variant::Tcc, None, program()), nothing);
    let bug = Some(Bug::Cached(Side::CommitOnRefusal));
    assert_ne!(left(Variant::Tcc, bug, program()), nothing);
    // Nor does it undo anything where nothing of the kind is promised.
    let all = (refused(), vec![Some(1), Some(1), None]);
    assert_eq!(left(Variant::Causal, None, program()), all);
}

#[test]
fn what_a_refused_request_sent_is_never_sent() {
    let program = || vec![Do::Call(vec![Do::Send(vec![put("z", 1)])]), Do::Refuse];
    let nothing = (refused(), vec![None; 3]);
    assert_eq!(left(Variant::Tcc, None, program()), nothing);
    let bug = Some(Bug::Cached(Side::SendBeforeCommit));
    assert_ne!(left(Variant::Tcc, bug, program()), nothing);
}

#[test]
fn what_is_sent_happens_once_it_is_committed() {
    let copy = Do::Copy("x".into(), "z".into());
    let sends = Do::Fork(vec![vec![Do::Send(vec![copy])], vec![put("y", 2)]]);
    let program = vec![put("x", 1), Do::Call(vec![sends])];
    let wanted = (Outcome::Ok, vec![Some(1), Some(2), Some(1)]);
    assert_eq!(left(Variant::Tcc, None, program), wanted);
}

#[test]
fn a_transaction_that_aborts_leaves_nothing_of_what_it_wrote() {
    let aborts = || {
        let inner = vec![put("x", 1), Do::Call(vec![put("y", 1)]), Do::Refuse];
        vec![put("z", 1), Do::Catch(vec![Do::Tx(inner)])]
    };
    let wanted = (Outcome::Ok, vec![None, None, Some(1)]);
    assert_eq!(left(Variant::Tcc, None, aborts()), wanted);
    let bug = Some(Bug::Cached(Side::AbortKeepsWrites));
    assert_ne!(left(Variant::Tcc, bug, aborts()), wanted);
    let all = (Outcome::Ok, vec![Some(1); 3]);
    assert_eq!(left(Variant::Causal, None, aborts()), all);
}

#[test]
fn a_transaction_sees_what_was_before_it_and_is_seen_after_it() {
    for variant in [Variant::Causal, Variant::Tcc] {
        let saw = with(1, variant, slow(), None, |cloud| async move {
            let tx = Do::Tx(vec![get("x"), add("n", 5), Do::Call(vec![add("n", 1)])]);
            let program = vec![put("x", 1), tx, sum("n"), Do::Tx(vec![sum("n")])];
            cloud.ask(0, program, &mut Value::Null).await
        });
        assert_eq!(saw, [1, 5, 6, 6, 6].map(Some), "{variant:?}");
    }
}

/// Readers that take long over keys that change all the time, on servers that keep nothing.
#[test]
fn a_snapshot_that_is_too_old_is_taken_again_and_counted() {
    let conduct = Conduct {
        hop: MS,
        keep: 0,
        ..Conduct::default()
    };
    let (aborts, given_up, saw) = with(1, Variant::Tcc, conduct, None, |cloud| async move {
        let writer = |client: u64| {
            let cloud = Rc::clone(&cloud);
            let world = cloud.world.clone();
            world.spawn("writer", async move {
                let mut session = Value::Null;
                for n in 0..50 {
                    let calls = vec![add("n", 1), Do::Call(vec![add("m", 1)])];
                    cloud.ask(1_000 * client + n, calls, &mut session).await;
                }
            })
        };
        let writers: Vec<_> = (1..9).map(writer).collect();
        let reader = |client: u64| {
            let cloud = Rc::clone(&cloud);
            let world = cloud.world.clone();
            world.spawn("reader", async move {
                let (mut session, mut saw) = (Value::Null, Vec::new());
                for n in 0..6 {
                    // It calls on and on, each one deeper than the last, and reads at the end.
                    let end = vec![Do::Call(vec![sum("n")]), sum("m")];
                    let program = (0..20).fold(end, |inner, _| vec![Do::Call(inner)]);
                    let answer = cloud.send(10 * client + n, program, &session).await;
                    if answer.outcome == Outcome::Ok {
                        session = answer.session;
                        saw.push(answer.output);
                    }
                }
                saw
            })
        };
        let readers: Vec<_> = (0..6).map(reader).collect();
        let mut saw = Vec::new();
        for reader in readers {
            saw.extend(reader.await);
        }
        for writer in writers {
            writer.await;
        }
        let state = cloud.end().await;
        assert_eq!(total(&state, "n"), Some(400));
        let counters = cloud.counters();
        let count = |name: &str| counters.get(name).copied().unwrap_or_default();
        (count("attempts aborted"), count("workflows given up"), saw)
    });
    assert!(aborts > 0);
    assert_eq!(saw.len() as u64 + given_up, 36);
    for saw in saw {
        let both = saw.as_list().expect("two sums");
        assert_eq!(both[0], both[1]);
    }
}
