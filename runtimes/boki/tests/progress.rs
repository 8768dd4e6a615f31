//! What one has seen of the log travels with every call and event: reads of the log may be old, but
//! never older than that.
//!
//! An execution appends before it goes by anything that others may have done, so even one that was
//! told nothing is up to date from its first append on. An event is not: what it reads first is its
//! own registration, and one that does not find it was collected, as far as it can tell.

mod common;

use common::{cloud_on, timing};
use triptych_api::Value;
use triptych_boki::Bug;
use triptych_log::Conduct;
use triptych_world::{Options, SECOND, World};

/// Whether an event finds what was registered for it, on a log whose reads are always as old as they
/// may be, long before the intent collector would.
fn event_is_served(seed: u64, bug: Option<Bug>) -> bool {
    World::simulate(seed, Options::default(), move |world| async move {
        let conduct = Conduct {
            stale: 1.0,
            ..Conduct::default()
        };
        let cloud = cloud_on(&world, timing(), conduct, bug).await;
        world.begin_request(1, 0);
        cloud.ask(1, "Bump", 0, 1).await;
        world.sleep(5 * SECOND).await;
        let state = cloud.deployment.dump().await.unwrap();
        let noted = state
            .get("notes", "a1")
            .and_then(|row| row.get("notes")?.as_int());
        let soon = noted == Some(1);
        cloud.settle(600 * SECOND).await;
        let state = cloud.deployment.dump().await.unwrap();
        let noted = Value::map([("notes", Value::Int(1))]);
        assert_eq!(state.get("notes", "a1"), Some(&noted));
        soon
    })
    .expect("no deadlock")
}

#[test]
fn events_find_what_was_registered_for_them() {
    assert!((0..30).all(|seed| event_is_served(seed, None)));
    assert!(!(0..30).all(|seed| event_is_served(seed, Some(Bug::NoProgressHandover))));
}
