//! A function that ends its transaction otherwise when it is executed again breaks the rules. It is
//! answered by what was decided first all the same: nobody is told that something was committed that
//! was not, or the other way round.

mod common;

use common::{cloud, timing};
use triptych_api::Value;
use triptych_api::model::Outcome;
use triptych_world::fault::{Action, CrashKind, Faults, Injection};
use triptych_world::{MS, Options, SECOND, World};

/// What a request is told whose execution of this number refuses to commit, the first one of which
/// crashes at an effect; what it has added; and how many effects there were.
fn waver(refuses: i64, nth: u32, kind: CrashKind) -> (Outcome, Option<i64>, u32) {
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
        cloud.ask(1, "Waver", refuses, 3).await;
        cloud.settle(600 * SECOND).await;
        let state = cloud.deployment.dump().await.unwrap();
        assert!(state.residue.is_empty(), "{:?}", state.residue);
        let added = state.get("bank", "a3");
        let added = added.and_then(|row| row.get("n").and_then(Value::as_int));
        let effects = world.request(1).effects();
        (
            cloud.ask(1, "Waver", refuses, 3).await.outcome,
            added,
            effects,
        )
    })
    .expect("no deadlock")
}

#[test]
fn the_answer_is_what_was_decided_first() {
    for refuses in [1, 2] {
        let (.., effects) = waver(refuses, u32::MAX, CrashKind::Before);
        let mut told = [0; 2];
        for nth in 1..effects {
            for kind in CrashKind::ALL {
                match waver(refuses, nth, kind) {
                    (Outcome::Ok, Some(1), _) => told[0] += 1,
                    (Outcome::Rejected(_), None, _) => told[1] += 1,
                    other => panic!("{kind:?} at {nth}, execution {refuses} refuses: {other:?}"),
                }
            }
        }
        assert!(told.iter().all(|&count| count > 0), "{told:?}");
    }
}
