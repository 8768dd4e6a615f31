//! The log does not grow without bound, and trimming it changes nothing that anybody sees.

mod common;

use common::{cloud_on, timing};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::State;
use triptych_api::model::Outcome;
use triptych_boki::Bug;
use triptych_log::Conduct;
use triptych_site::Timing;
use triptych_world::fault::Faults;
use triptych_world::{MS, Nanos, Options, SECOND, World};

/// What is left after a load of this many requests, and how many records the log kept meanwhile:
/// at most in the second half, and in the end.
fn run(
    seed: u64,
    requests: u64,
    crash_rate: f64,
    timing: Timing,
    bug: Option<Bug>,
) -> (State, u64, u64) {
    run_on(seed, requests, crash_rate, timing, Conduct::default(), bug)
}

/// The same on a log that behaves like this.
fn run_on(
    seed: u64,
    requests: u64,
    crash_rate: f64,
    timing: Timing,
    conduct: Conduct,
    bug: Option<Bug>,
) -> (State, u64, u64) {
    let faults = Faults {
        crash_rate,
        duplicate_rate: crash_rate / 2.0,
        ..Faults::default()
    };
    let options = Options {
        faults,
        ..Options::default()
    };
    World::simulate(seed, options, move |world| async move {
        let cloud = cloud_on(&world, timing, conduct, bug).await;
        let records = async || {
            let gauges = cloud.deployment.gauges().await.unwrap();
            gauges["log_records"]
        };
        let mut most = 0;
        for n in 0..requests {
            world.begin_request(n, 0);
            let own = Rc::clone(&cloud);
            let (op, from, to) = match n % 3 {
                0 => ("Bump", 0, (n % 4) as i64),
                _ => ("Move", (n % 4) as i64, (n % 3) as i64 + 4),
            };
            world.spawn("client", async move {
                // A crash may strike before the request is on the log.
                while own.ask(n, op, from, to).await.outcome != Outcome::Ok {
                    own.world.sleep(SECOND).await;
                }
            });
            world.sleep(500 * MS).await;
            if n > requests / 2 {
                most = most.max(records().await);
            }
        }
        cloud.settle(900 * SECOND).await;
        // Long enough for whatever may be trimmed.
        let passes: Nanos = timing.t + 3 * timing.gc_period.unwrap_or(0);
        world.sleep(passes).await;
        cloud.pool.stop_timers();
        world.sleep(30 * SECOND).await;
        let state = cloud.deployment.dump().await.unwrap();
        (state, most, records().await)
    })
    .expect("no deadlock")
}

fn assert_clean(state: &State) {
    let all = [&state.pending, &state.residue, &state.corrupt];
    assert!(all.iter().all(|list| list.is_empty()), "{all:?}");
}

#[test]
fn a_long_run_keeps_no_more_than_a_short_one_and_in_the_end_one_record_for_each_lock() {
    // Nothing crashes, so no message is late.
    let timing = Timing {
        t: 50 * SECOND,
        ..timing()
    };
    let (_, short, end) = run(1, 500, 0.0, timing, None);
    let (state, long, end_of_long) = run(1, 1_500, 0.0, timing, None);
    assert_clean(&state);
    assert!(long < short * 12 / 10, "{short} records, then {long}");
    // Six accounts and four rows of notes were locked.
    assert_eq!((end, end_of_long), (10, 10));
    let never = Timing {
        gc_period: None,
        ..timing
    };
    let (kept, grown, _) = run(1, 1_500, 0.0, never, None);
    assert!(grown > 4 * long, "{grown} records without a collector");
    assert_eq!(kept.tables, state.tables);
}

/// Also on a log whose reads are always as old as they may be.
#[test]
fn nothing_is_lost_done_twice_or_left_behind_by_trimming_under_crashes() {
    for seed in 1..9 {
        let conduct = Conduct {
            stale: if seed % 2 == 0 { 1.0 } else { 0.25 },
            ..Conduct::default()
        };
        let (state, _, end) = run_on(seed, 300, 0.2, timing(), conduct, None);
        assert_clean(&state);
        assert_eq!(end, 10, "seed {seed}");
        let n = |row: &triptych_api::Value, field| row.get(field).and_then(|n| n.as_int());
        let sum = state
            .rows("bank")
            .filter_map(|(_, row)| n(row, "n"))
            .sum::<i64>();
        let notes: BTreeMap<&str, i64> = state
            .rows("notes")
            .filter_map(|(key, row)| Some((key, n(row, "notes")?)))
            .collect();
        // A hundred bumps, and moves keep the sum; each of them is noted once.
        assert_eq!(
            (sum, notes.values().sum::<i64>()),
            (100, 300),
            "seed {seed}"
        );
    }
}

#[test]
fn a_collector_that_does_not_wait_for_t_shows() {
    let hasty = Timing {
        collector_period: 5 * SECOND,
        gc_period: Some(5 * SECOND),
        ..timing()
    };
    let wrong = |seed, bug| {
        let run = || run(seed, 60, 0.3, hasty, bug);
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        end.map_or(true, |(state, ..)| {
            let n = |row: &triptych_api::Value| row.get("notes").and_then(|n| n.as_int());
            let notes: i64 = state.rows("notes").filter_map(|(_, row)| n(row)).sum();
            notes != 60 || !state.residue.is_empty() || !state.pending.is_empty()
        })
    };
    assert!((1..4).any(|seed| wrong(seed, Some(Bug::CollectorIgnoresT))));
    assert!(!(1..3).any(|seed| wrong(seed, None)));
}
