//! A function that ends its transaction otherwise when it is executed again breaks the rules. Its
//! answer is what was decided first all the same: nobody is told that something was committed that was
//! not, or the other way round. If it never comes to that end again it never finishes.

mod common;

use common::{cloud, timing};
use triptych_api::Value;
use triptych_api::model::Outcome;
use triptych_world::fault::{Action, CrashKind, Faults, Injection};
use triptych_world::{MS, Options, SECOND, World};

/// What a request is told of whose executions every other one refuses to commit, from the second one
/// on or from the first one, and that crashes at an effect; what it has added; and how many effects
/// there were.
fn waver(from: i64, nth: u32, kind: CrashKind) -> (Outcome, Option<i64>, u32) {
    let crash = Injection {
        nth,
        action: Action::Crash(kind),
        late: 200 * MS,
    };
    let faults = Faults {
        exact: [(1, crash)].into_iter().collect(),
        ..Faults::default()
    };
    let options = Options {
        faults,
        ..Options::default()
    };
    World::simulate(1, options, move |world| async move {
        let cloud = cloud(&world, timing(), None).await;
        world.begin_request(1, 0);
        cloud.ask(1, "Waver", from, 3).await;
        cloud.settle(600 * SECOND).await;
        let state = cloud.deployment.dump().await.unwrap();
        assert!(state.residue.is_empty(), "{:?}", state.residue);
        let added = state.get("bank", "a3");
        let added = added.and_then(|row| row.get("n").and_then(Value::as_int));
        let effects = world.request(1).effects();
        (cloud.ask(1, "Waver", from, 3).await.outcome, added, effects)
    })
    .expect("no deadlock")
}

#[test]
fn the_answer_is_what_was_decided_first() {
    let mut told = [0; 2];
    for from in [0, 1] {
        let (.., effects) = waver(from, u32::MAX, CrashKind::Before);
        for nth in 1..effects {
            for kind in CrashKind::ALL {
                match waver(from, nth, kind) {
                    (Outcome::Ok, Some(1), _) => told[0] += 1,
                    (Outcome::Rejected(_), None, _) => told[1] += 1,
                    other => panic!("{kind:?} at {nth}, from {from}: {other:?}"),
                }
            }
        }
    }
    assert!(told.iter().all(|&count| count > 3), "{told:?}");
}
