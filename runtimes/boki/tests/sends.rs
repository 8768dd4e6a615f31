//! Calls that a transaction sends happen once if it commits, and not at all if it does not, whatever
//! crashes.

mod common;

use common::{cloud, timing};
use std::collections::BTreeMap;
use triptych_api::Value;
use triptych_boki::Bug;
use triptych_world::fault::{Action, CrashKind, Faults, Injection};
use triptych_world::{MS, Options, SECOND, World};

/// Notes by account, after one `Tell` that crashes at an effect, if it has so many; and how many
/// effects there were.
fn tell(
    from: i64,
    to: i64,
    crash: Option<(u32, CrashKind)>,
    bug: Option<Bug>,
) -> (BTreeMap<String, i64>, u32) {
    let injection = |(nth, kind)| Injection {
        nth,
        action: Action::Crash(kind),
        late: 200 * MS,
    };
    let faults = Faults {
        exact: crash
            .map(|crash| (1, injection(crash)))
            .into_iter()
            .collect(),
        ..Faults::default()
    };
    let options = Options {
        faults,
        ..Options::default()
    };
    World::simulate(1, options, move |world| async move {
        let cloud = cloud(&world, timing(), bug).await;
        world.begin_request(1, 0);
        cloud.ask(1, "Tell", from, to).await;
        cloud.settle(600 * SECOND).await;
        let state = cloud.deployment.dump().await.unwrap();
        assert!(state.residue.is_empty(), "{:?}", state.residue);
        let n = |row: &Value| row.get("notes").and_then(Value::as_int).unwrap_or(0);
        let notes = state
            .rows("notes")
            .map(|(key, row)| (key.to_owned(), n(row)));
        (notes.collect(), world.request(1).effects())
    })
    .expect("no deadlock")
}

#[test]
fn a_commit_sends_each_once_and_an_abort_none() {
    let both = BTreeMap::from([("a1".to_owned(), 1), ("a2".to_owned(), 1)]);
    let (committed, effects) = tell(1, 2, None, None);
    assert_eq!(committed, both);
    assert!(effects > 10, "{effects}");
    // Before the start is on the log, there is nothing to execute again.
    for nth in 1..effects {
        for kind in CrashKind::ALL {
            assert_eq!(
                tell(1, 2, Some((nth, kind)), None).0,
                both,
                "{kind:?} at {nth}"
            );
        }
    }
    let (aborted, effects) = tell(1, 1, None, None);
    assert_eq!(aborted, BTreeMap::new());
    for nth in 0..effects {
        for kind in CrashKind::ALL {
            let aborted = tell(1, 1, Some((nth, kind)), None).0;
            assert_eq!(aborted, BTreeMap::new(), "{kind:?} at {nth}");
        }
    }
}

#[test]
fn what_is_sent_before_the_commit_shows() {
    let (aborted, _) = tell(1, 1, None, Some(Bug::SendBeforeCommit));
    assert_eq!(aborted, BTreeMap::from([("a1".to_owned(), 2)]));
}
