//! Faults without a crash, faults at named effects, and traces.

use futures_util::future::{Either, select};
use std::pin::pin;
use std::rc::Rc;
use triptych_world::fault::{Action, Aim, CrashKind, FaultKind, Faults, LONGEST_DELAY};
use triptych_world::trace::{Span, What};
use triptych_world::{Life, MS, Nanos, Options, Order, SECOND, Scope, Struck, Trace, World};

const REQUEST: u64 = 3;

fn with(faults: Faults) -> Options {
    Options {
        faults,
        census: true,
        trace: Some(REQUEST),
        ..Options::default()
    }
}

/// Which of many operations are refused.
fn refused(seed: u64, rate: f64, request: u64) -> (Vec<bool>, u16) {
    let faults = Faults {
        throttle_rate: rate,
        ..Faults::default()
    };
    World::simulate(seed, with(faults), move |world| async move {
        let state = world.request(request);
        let scope = Scope::new(Rc::clone(&state), 1, Life::new());
        let all = (0..4_000).map(|_| world.throttles(&state, scope.next_key()));
        (all.collect(), state.fired())
    })
    .unwrap()
}

#[test]
fn throttles_come_at_their_rate_and_again_the_same() {
    let (some, fired) = refused(1, 0.1, REQUEST);
    let count = some.iter().filter(|refused| **refused).count();
    assert!((340..460).contains(&count), "{count}");
    assert_eq!(usize::from(fired), count);
    assert_eq!(refused(1, 0.1, REQUEST), (some.clone(), fired));
    assert_ne!(refused(2, 0.1, REQUEST).0, some);
    assert_eq!(refused(1, 0.0, REQUEST).1, 0);
    assert!(refused(1, 1.0, REQUEST).0.iter().all(|refused| *refused));
    // No rate applies to what no request caused.
    assert_eq!(refused(1, 1.0, Trace::BACKGROUND).1, 0);
}

/// When each of some effects was applied and answered, if nothing else happens.
fn times(seed: u64, rate: f64) -> (Vec<(Nanos, Nanos)>, [u16; 4]) {
    let faults = Faults {
        delay_rate: rate,
        ..Faults::default()
    };
    World::simulate(seed, with(faults), |world| async move {
        let state = world.begin_request(REQUEST, 0);
        let scope = Scope::new(Rc::clone(&state), 1, Life::new());
        let mut times = Vec::new();
        for _ in 0..400 {
            let began = world.now();
            let inner = world.clone();
            let apply = async move {
                inner.sleep(MS).await;
                inner.now()
            };
            let applied = world.effect(&scope, "effect", apply).await;
            times.push((applied - began, world.now() - began));
        }
        (times, state.fired_by_kind())
    })
    .unwrap()
}

#[test]
fn delays_come_at_their_rate_before_or_after_the_effect() {
    let (some, fired) = times(1, 0.2);
    assert_eq!(times(1, 0.2), (some.clone(), fired));
    let late = some.iter().filter(|(applied, _)| *applied > MS).count();
    let answered = some.iter().filter(|(applied, done)| done > applied);
    let answered = answered.count();
    assert!((20..60).contains(&late), "{late}");
    assert!((20..60).contains(&answered), "{answered}");
    assert_eq!(fired[FaultKind::Delay as usize] as usize, late + answered);
    assert_eq!(
        fired.iter().map(|count| *count as usize).sum::<usize>(),
        late + answered
    );
    assert!(some.iter().all(|(_, done)| *done <= LONGEST_DELAY + MS));
    assert!(times(1, 0.0).0.iter().all(|time| *time == (MS, MS)));
}

/// A delayed effect is a message under way: it is applied though its execution is over.
#[test]
fn a_delayed_effect_outlives_its_execution() {
    let faults = Faults {
        delay_rate: 1.0,
        ..Faults::default()
    };
    let applied = World::simulate(1, with(faults), |world| async move {
        let state = world.begin_request(REQUEST, 0);
        let mut applied = 0;
        for n in 0..20 {
            let life = Life::new();
            let scope = Scope::new(Rc::clone(&state), n, life.clone());
            let done = Rc::new(std::cell::Cell::new(false));
            let mark = Rc::clone(&done);
            let execution = world.effect(&scope, "effect", async move { mark.set(true) });
            // The execution is given up at once.
            assert!(world.timeout(0, execution).await.is_err());
            life.kill();
            world.sleep(LONGEST_DELAY).await;
            applied += u32::from(done.get());
            assert_eq!(state.live(), 0);
        }
        applied
    });
    assert_eq!(applied.unwrap(), 20);
}

/// What a run with aimed faults shows.
struct Shown {
    /// Effects applied, by name.
    applied: Vec<&'static str>,
    struck: Vec<Struck>,
    points: Vec<(&'static str, u32)>,
    spans: Vec<Span>,
}

/// An instance with three effects, executed again whenever it crashed.
fn aimed(aims: Vec<Aim>) -> Shown {
    let faults = Faults {
        aimed: aims.into_iter().map(|aim| (REQUEST, aim)).collect(),
        ..Faults::default()
    };
    World::simulate(1, with(faults), |world| async move {
        let state = world.begin_request(REQUEST, 0);
        let applied = Rc::new(std::cell::RefCell::new(Vec::new()));
        for attempt in 0.. {
            let life = Life::new();
            let scope = Scope::new(Rc::clone(&state), attempt, life.clone());
            let span = world.trace_begin(&state, attempt, What::Execution, || "F".to_owned());
            world.describe(&scope, || "op of r3".to_owned());
            let execution = async {
                for name in ["put", "get", "put"] {
                    let (applied, inner) = (Rc::clone(&applied), world.clone());
                    let apply = async move {
                        inner.sleep(MS).await;
                        applied.borrow_mut().push(name);
                    };
                    world.effect(&scope, name, apply).await;
                }
            };
            let (order, execution) = (pin!(life.order()), pin!(execution));
            let end = select(order, execution).await;
            let crashed = matches!(end, Either::Left((Order::Crash, _)));
            world.trace_end(span);
            if !crashed {
                break;
            }
            world.sleep(SECOND).await;
        }
        let applied = applied.borrow().clone();
        Shown {
            applied,
            struck: state.struck(),
            points: state.points().into_iter().collect(),
            spans: world.traced(),
        }
    })
    .unwrap()
}

fn aim(point: &str, occurrence: u32, again: bool) -> Aim {
    Aim {
        point: point.to_owned(),
        occurrence,
        action: Action::Crash(CrashKind::After),
        late: 0,
        again,
    }
}

#[test]
fn a_fault_strikes_the_effect_that_it_is_aimed_at() {
    let shown = aimed(Vec::new());
    assert_eq!(shown.applied, ["put", "get", "put"]);
    assert_eq!(shown.points, [("get", 1), ("put", 2)]);
    assert_eq!(shown.struck, []);

    let shown = aimed(vec![aim("put", 1, false)]);
    assert_eq!(shown.applied, ["put", "get", "put", "put", "get", "put"]);
    let [struck] = &shown.struck[..] else {
        panic!("{:?}", shown.struck)
    };
    assert_eq!(
        (struck.point, struck.occurrence, struck.second),
        ("put", 1, false)
    );

    let nobody = aimed(vec![aim("put", 2, false), aim("scan", 0, false)]);
    assert_eq!(nobody.struck, []);
}

#[test]
fn a_fault_that_strikes_again_meets_the_same_effect_of_the_repeated_execution() {
    let shown = aimed(vec![aim("put", 1, true)]);
    let all: Vec<_> = shown
        .struck
        .iter()
        .map(|one| (one.occurrence, one.second))
        .collect();
    // The repeated execution's second put is the request's fourth.
    assert_eq!(all, [(1, false), (3, true)]);
    assert_eq!(shown.applied.len(), 9);
}

#[test]
fn a_trace_shows_effects_in_their_executions() {
    let spans = aimed(vec![aim("get", 0, false)]).spans;
    let executions: Vec<usize> = (0..spans.len())
        .filter(|at| spans[*at].what == What::Execution)
        .collect();
    assert_eq!(executions.len(), 2);
    assert!(executions.iter().all(|at| spans[*at].notes == ["op of r3"]));
    let of = |execution: usize| {
        let inner = spans
            .iter()
            .filter(move |span| span.parent == Some(execution));
        inner
            .map(|span| (span.name.as_str(), span.notes.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(executions[0]), [("put", 0), ("get", 1)]);
    assert_eq!(of(executions[1]), [("put", 0), ("get", 0), ("put", 0)]);
    assert!(
        spans
            .iter()
            .all(|span| span.end.is_some_and(|end| end >= span.start))
    );
}
