//! A transaction that reads several keys at once and dies of one of them, although it got the others,
//! is tried again and gets through, wherever it crashes.

mod common;

use common::{cloud, timing};
use std::rc::Rc;
use triptych_api::Value;
use triptych_world::fault::{Action, CrashKind, Faults, Injection};
use triptych_world::{MS, Nanos, Options, SECOND, World};

/// An `Audit` of two accounts this long after a `Move` has begun that takes from one of them; it
/// crashes at an effect, if it has so many. How many effects it had.
fn audit(after: Nanos, crash: Option<(u32, CrashKind)>) -> u32 {
    let injection = |(nth, kind)| Injection {
        nth,
        action: Action::Crash(kind),
        late: 200 * MS,
    };
    let faults = Faults {
        exact: crash
            .map(|crash| (2, injection(crash)))
            .into_iter()
            .collect(),
        ..Faults::default()
    };
    let options = Options {
        faults,
        ..Options::default()
    };
    World::simulate(1, options, move |world| async move {
        let cloud = cloud(&world, timing(), None).await;
        world.begin_request(1, 0);
        let mover = Rc::clone(&cloud);
        let mover = world.spawn("mover", async move { mover.ask(1, "Move", 0, 1).await });
        world.sleep(after).await;
        world.begin_request(2, 0);
        cloud.ask(2, "Audit", 0, 5).await;
        drop(mover.await);
        cloud.settle(600 * SECOND).await;
        let state = cloud.deployment.dump().await.unwrap();
        assert!(state.residue.is_empty(), "{:?}", state.residue);
        let n = |key| state.get("bank", key)?.get("n").and_then(Value::as_int);
        assert_eq!([n("a0"), n("a1")], [Some(-1), Some(1)]);
        // Nothing before the move, and what it left after it.
        assert!(matches!(n("a5"), Some(0 | -1)), "{:?}", n("a5"));
        world.request(2).effects()
    })
    .expect("no deadlock")
}

#[test]
fn who_dies_of_one_key_of_several_is_tried_again_wherever_it_crashes() {
    let alone = audit(60 * SECOND, None);
    let offsets = (1..60).map(|n| n * 10 * MS);
    let dying = offsets.map(|after| (after, audit(after, None)));
    let dying: Vec<_> = dying.filter(|(_, effects)| *effects > alone + 3).collect();
    let (after, effects) = *dying.first().expect("they overlap");
    for nth in 1..effects {
        for kind in CrashKind::ALL {
            audit(after, Some((nth, kind)));
        }
    }
}
