//! Seeded defects of the collectors, each of which a run with crashes shows.

// Only a part of what it observes is needed here.
#[allow(dead_code)]
#[path = "common/cloud.rs"]
mod cloud;
mod common;

use cloud::{background, check, config, data, run};
use triptych_beldi::{Bug, Config};
use triptych_model::Value;
use triptych_world::fault::{Action, CrashKind, Injection};

/// The same request crashes again and again, so that it is still at work when `T` has passed since
/// all that it called was done.
fn stubborn(first: u32) -> Vec<(u64, Injection)> {
    let crash = |nth| Injection {
        nth,
        action: Action::Crash(CrashKind::After),
        late: 0,
    };
    (0..9).map(|at| (12, crash(first + 5 * at))).collect()
}

/// Each defect of a collector is seen: by the data, by the audit, or by never getting quiet.
#[test]
fn seeded_bugs_of_collectors_do_not_pass() {
    let mut plans: Vec<Vec<(u64, Injection)>> = vec![Vec::new()];
    // Before its transaction, or its lock would make others give up.
    plans.extend((20..40).step_by(3).map(stubborn));
    let lost = |nth| {
        let action = Action::Crash(CrashKind::Before);
        vec![(
            12,
            Injection {
                nth,
                action,
                late: 0,
            },
        )]
    };
    plans.extend((20..90).map(lost));
    let effects = run(config(), 30, Vec::new()).effects;
    let passes = (effects / 5..effects).step_by(11);
    plans.extend(passes.map(|nth| vec![background(nth, Action::Crash(CrashKind::After), 0)]));
    for (at, plan) in plans.iter().enumerate().step_by(8) {
        check(
            &format!("plan {at} without a bug"),
            30,
            &run(config(), 30, plan.clone()),
        );
    }
    let bugs = [
        Bug::DeleteReachable,
        Bug::LocksBeforeShadow,
        Bug::CollectorIgnoresT,
        Bug::CollectUnfinished,
        Bug::ValueLostOnAppend,
        Bug::RefusalsUncounted,
        Bug::RestartUnderNewId,
        Bug::IntentBeforeLogs,
        Bug::PrefixMatch,
        Bug::FireOnly,
        Bug::CallbackLost,
    ];
    let mut unseen = Vec::new();
    for bug in bugs {
        let config = Config {
            bug: Some(bug),
            ..config()
        };
        let seen = plans.iter().any(|plan| {
            let Ok(end) = std::panic::catch_unwind(|| run(config, 30, plan.clone())) else {
                return true;
            };
            let expected = Value::list([30; 5].map(Value::Int));
            [&end.state, &end.later].iter().any(|state| {
                data(state) != expected || !state.corrupt.is_empty() || !state.pending.is_empty()
            })
        });
        if !seen {
            unseen.push(bug);
        }
    }
    assert_eq!(unseen, Vec::new());
}
