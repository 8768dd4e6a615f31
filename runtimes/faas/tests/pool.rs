//! The simulated pool against what a cloud's documentation says of the real one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use triptych_faas::{Execution, Handler, InvokeError, Payload, Platform, PoolConfig, SimPool};
use triptych_model::{Name, Value};
use triptych_world::fault::{Action, CrashKind, Faults, Injection};
use triptych_world::latency::Profile;
use triptych_world::{Life, MS, Nanos, Options, SECOND, Scope, World};

const MINUTE: Nanos = 60 * SECOND;

/// Runs a body with a pool of this configuration.
fn with_pool<T: 'static, F: Future<Output = T> + 'static>(
    configure: impl FnOnce(&mut PoolConfig) + 'static,
    faults: Faults,
    body: impl FnOnce(World, SimPool) -> F + 'static,
) -> T {
    let options = Options {
        faults,
        ..Options::default()
    };
    World::simulate(11, options, move |world| async move {
        let profile = Profile::shipped("aws-2020").unwrap();
        let mut config = PoolConfig::for_profile(&profile);
        configure(&mut config);
        let pool = SimPool::new(&world, &profile, config).unwrap();
        body(world, pool).await
    })
    .expect("no deadlock")
}

fn client(world: &World, request: u64) -> Scope {
    Scope::new(world.begin_request(request, 0), 0, Life::new())
}

/// A function that takes this long.
fn sleeper(world: &World, span: Nanos) -> Handler {
    let world = world.clone();
    Rc::new(move |execution: Execution| {
        let world = world.clone();
        Box::pin(async move {
            world.sleep(span).await;
            Ok(Payload::new(execution.payload.body))
        })
    })
}

fn name() -> Name {
    Name::from("f")
}

#[test]
fn an_environment_starts_cold_serves_warm_and_is_reclaimed_when_idle() {
    with_pool(
        |_| {},
        Faults::default(),
        |world, pool| async move {
            pool.register(name(), sleeper(&world, MS));
            let scope = client(&world, 0);
            let call = async || {
                let began = world.now();
                pool.invoke(&scope, &name(), Payload::default())
                    .await
                    .unwrap();
                world.now() - began
            };
            let cold = call().await;
            let warm = call().await;
            assert!(cold > warm + 100 * MS, "cold {cold}, warm {warm}");
            assert_eq!(pool.work().cold_starts, 1);
            world.sleep(24 * MINUTE).await;
            call().await;
            assert_eq!(
                pool.work().cold_starts,
                1,
                "never reclaimed before 25 minutes"
            );
            world.sleep(66 * MINUTE).await;
            call().await;
            assert_eq!(
                pool.work().cold_starts,
                2,
                "always reclaimed after 65 minutes"
            );
            assert_eq!(pool.work().invocations, 4);
        },
    );
}

#[test]
fn a_waiting_function_holds_its_slot_and_the_limit_refuses_the_next() {
    with_pool(
        |config| config.concurrency = 2,
        Faults::default(),
        |world, pool| async move {
            pool.register(name(), sleeper(&world, SECOND));
            let inner = pool.clone();
            let scope = client(&world, 0);
            let nested: Handler = Rc::new(move |execution: Execution| {
                let inner = inner.clone();
                Box::pin(async move {
                    let reply = inner
                        .invoke(&execution.scope, &name(), Payload::default())
                        .await;
                    reply.map_err(|error| error.to_string())
                })
            });
            pool.register(Name::from("outer"), nested);
            let outer = pool.invoke(&scope, &Name::from("outer"), Payload::default());
            let outer = world.spawn("outer", outer);
            world.sleep(900 * MS).await;
            assert_eq!(pool.running(), 2, "the caller waits inside its slot");
            let third = pool.invoke(&scope, &name(), Payload::default()).await;
            assert_eq!(third, Err(InvokeError::Throttled("concurrency limit")));
            assert!(third.unwrap_err().surely_no_effect());
            outer.await.unwrap();
            let work = pool.work();
            assert_eq!((work.throttled_concurrency, work.peak_concurrency), (1, 2));
            // Both were billed for their whole duration, the caller's waiting included.
            assert!(work.function_ns > 2 * SECOND, "{}", work.function_ns);
        },
    );
}

#[test]
fn the_request_quota_binds_before_the_concurrency_of_short_functions() {
    with_pool(
        |config| config.requests_per_second = 50,
        Faults::default(),
        |world, pool| async move {
            pool.register(name(), sleeper(&world, MS));
            let scope = client(&world, 0);
            let calls: Vec<_> = (0..80)
                .map(|_| world.spawn("call", pool.invoke(&scope, &name(), Payload::default())))
                .collect();
            for call in calls {
                drop(call.await);
            }
            let work = pool.work();
            assert!(
                (25..=30).contains(&work.throttled_rate),
                "{}",
                work.throttled_rate
            );
            assert_eq!(work.throttled_concurrency, 0);
        },
    );
}

#[test]
fn environments_start_no_faster_than_the_scaling_rate() {
    with_pool(
        |config| {
            config.burst.initial = Some(20);
            config.burst.per_minute = Some(60);
        },
        Faults::default(),
        |world, pool| async move {
            pool.register(name(), sleeper(&world, 30 * SECOND));
            let scope = client(&world, 0);
            for _ in 0..40 {
                world.spawn("call", pool.invoke(&scope, &name(), Payload::default()));
            }
            world.sleep(SECOND).await;
            assert_eq!(pool.running(), 20);
            world.sleep(5 * SECOND).await;
            for _ in 0..40 {
                world.spawn("call", pool.invoke(&scope, &name(), Payload::default()));
            }
            world.sleep(SECOND).await;
            assert!((25..=27).contains(&pool.running()), "{}", pool.running());
            world.sleep(MINUTE).await;
        },
    );
}

#[test]
fn a_timeout_ends_the_execution_and_bills_it() {
    with_pool(
        |config| {
            config.timeout = 3 * SECOND;
            config.billing_granularity_ms = 100;
        },
        Faults::default(),
        |world, pool| async move {
            pool.register(name(), sleeper(&world, MINUTE));
            let scope = client(&world, 0);
            let end = pool.invoke(&scope, &name(), Payload::default()).await;
            assert_eq!(end, Err(InvokeError::Timeout));
            let work = pool.work();
            assert_eq!((work.timeouts, work.crashes, pool.running()), (1, 0, 0));
            assert_eq!((work.function_ns, work.billed_ms), (3 * SECOND, 3_000));
            // Its environment is gone, and a later execution gets its own full time.
            pool.invoke(&scope, &name(), Payload::default())
                .await
                .unwrap_err();
            assert_eq!(pool.work().cold_starts, 2);
            assert_eq!(pool.work().function_ns, 6 * SECOND);
        },
    );
}

#[test]
fn billing_rounds_every_execution_up() {
    with_pool(
        |config| config.billing_granularity_ms = 100,
        Faults::default(),
        |world, pool| async move {
            pool.register(name(), sleeper(&world, 120 * MS));
            let scope = client(&world, 0);
            for _ in 0..3 {
                pool.invoke(&scope, &name(), Payload::default())
                    .await
                    .unwrap();
            }
            assert_eq!(pool.work().billed_ms, 600);
        },
    );
}

#[test]
fn payload_limits_are_checked_before_anything_happens() {
    with_pool(
        |config| {
            config.sync_payload_limit = 1_000;
            config.async_payload_limit = 100;
        },
        Faults::default(),
        |world, pool| async move {
            pool.register(name(), sleeper(&world, MS));
            let scope = client(&world, 0);
            let sized = |bytes: usize| Payload::new(Value::str("x".repeat(bytes)));
            assert!(pool.invoke(&scope, &name(), sized(1_000)).await.is_ok());
            let large = pool.invoke(&scope, &name(), sized(1_001)).await;
            assert_eq!(
                large,
                Err(InvokeError::PayloadTooLarge {
                    size: 1_001,
                    limit: 1_000
                })
            );
            let event = pool.enqueue(&scope, &name(), sized(101)).await;
            assert_eq!(
                event,
                Err(InvokeError::PayloadTooLarge {
                    size: 101,
                    limit: 100
                })
            );
            pool.register(
                Name::from("wordy"),
                Rc::new(|_| Box::pin(async { Ok(Payload::new(Value::str("x".repeat(1_001)))) })),
            );
            let wordy = pool
                .invoke(&scope, &Name::from("wordy"), Payload::default())
                .await;
            assert!(
                !wordy.unwrap_err().surely_no_effect(),
                "the function did run"
            );
            let nobody = pool.invoke(&scope, &Name::from("g"), sized(1)).await;
            assert_eq!(nobody, Err(InvokeError::NoSuchFunction("g".to_owned())));
            assert_eq!(pool.work().invocations, 2);
        },
    );
}

/// A function that fails its first `failures` executions, and notes when each one began.
fn flaky(world: &World, failures: u32, began: &Rc<RefCell<Vec<Nanos>>>) -> Handler {
    let (world, began) = (world.clone(), Rc::clone(began));
    Rc::new(move |execution: Execution| {
        assert!(!execution.synchronous);
        began.borrow_mut().push(world.now());
        let fails = began.borrow().len() <= failures as usize;
        Box::pin(async move {
            if fails {
                Err("flaky".to_owned())
            } else {
                Ok(Payload::default())
            }
        })
    })
}

#[test]
fn events_are_retried_after_one_and_two_minutes_and_then_given_up() {
    for (failures, runs, dropped) in [(0, 1, 0), (2, 3, 0), (5, 3, 1)] {
        with_pool(
            |config| {
                config.async_retries = 2;
                config.queue_age = 6 * 60 * MINUTE;
            },
            Faults::default(),
            move |world, pool| async move {
                let began = Rc::new(RefCell::new(Vec::new()));
                pool.register(name(), flaky(&world, failures, &began));
                let scope = client(&world, 0);
                pool.enqueue(&scope, &name(), Payload::default())
                    .await
                    .unwrap();
                assert_eq!((pool.queued(), scope.request().live()), (1, 1));
                world.sleep(10 * MINUTE).await;
                let began = began.borrow();
                assert_eq!(began.len(), runs);
                if runs == 3 {
                    assert!(
                        (60..62).contains(&((began[1] - began[0]) / SECOND)),
                        "{began:?}"
                    );
                    assert!(
                        (120..122).contains(&((began[2] - began[1]) / SECOND)),
                        "{began:?}"
                    );
                }
                assert_eq!(pool.work().async_dropped, dropped);
                assert_eq!(
                    (pool.queued(), scope.request().live()),
                    (0, 0),
                    "all is over"
                );
            },
        );
    }
}

#[test]
fn a_throttled_event_waits_in_the_queue_until_it_is_too_old() {
    for (busy, delivered) in [(8 * SECOND, 1), (50 * SECOND, 0)] {
        with_pool(
            |config| {
                config.concurrency = 1;
                config.queue_age = 20 * SECOND;
            },
            Faults::default(),
            move |world, pool| async move {
                let began = Rc::new(RefCell::new(Vec::new()));
                pool.register(Name::from("event"), flaky(&world, 0, &began));
                pool.register(name(), sleeper(&world, busy));
                let scope = client(&world, 0);
                let call = world.spawn("busy", pool.invoke(&scope, &name(), Payload::default()));
                world.sleep(100 * MS).await;
                pool.enqueue(&scope, &Name::from("event"), Payload::default())
                    .await
                    .unwrap();
                call.await.unwrap();
                world.sleep(MINUTE).await;
                assert_eq!(began.borrow().len(), delivered);
                assert_eq!(pool.work().async_dropped, 1 - delivered as u64);
                assert_eq!((pool.queued(), scope.request().live()), (0, 0));
            },
        );
    }
}

#[test]
fn timers_hold_slots_and_are_billed_until_they_are_stopped() {
    struct Timed(Handler);
    impl triptych_faas::Deployment for Timed {
        fn prepare(&self) -> futures_util::future::LocalBoxFuture<'static, Result<(), String>> {
            Box::pin(async { Ok(()) })
        }
        fn functions(&self) -> Vec<(Name, Handler)> {
            vec![(name(), Rc::clone(&self.0))]
        }
        fn timers(&self) -> Vec<triptych_faas::Timer> {
            let payload = triptych_faas::timer_payload("collect");
            vec![triptych_faas::Timer {
                function: name(),
                period: MINUTE,
                payload,
            }]
        }
        fn request(&self, _: &str, _: &str, input: Value, _: &Value) -> Payload {
            Payload::new(input)
        }
        fn answer(&self, _: Result<Payload, InvokeError>) -> triptych_faas::Answer {
            unreachable!("no client asks")
        }
        fn pending(&self) -> futures_util::future::LocalBoxFuture<'static, Result<u64, String>> {
            Box::pin(async { Ok(0) })
        }
        fn dump(
            &self,
        ) -> futures_util::future::LocalBoxFuture<'static, Result<triptych_model::State, String>>
        {
            Box::pin(async { Ok(Default::default()) })
        }
    }
    with_pool(
        |_| {},
        Faults::default(),
        |world, pool| async move {
            pool.place(&Timed(sleeper(&world, 100 * MS)));
            world.sleep(5 * MINUTE + SECOND).await;
            pool.stop_timers();
            world.sleep(5 * MINUTE).await;
            assert_eq!(pool.work().invocations, 5);
            assert!(pool.work().function_ns >= 500 * MS);
        },
    );
}

#[test]
fn a_crash_frees_the_slot_and_a_duplicate_takes_a_second_one() {
    let at = |nth, action| {
        (
            7,
            Injection {
                nth,
                action,
                late: 0,
            },
        )
    };
    let exact = vec![
        at(0, Action::Duplicate),
        at(2, Action::Crash(CrashKind::After)),
    ];
    with_pool(
        |_| {},
        Faults {
            exact,
            ..Faults::default()
        },
        |world, pool| async move {
            let effects = Rc::new(Cell::new(0));
            let count = Rc::clone(&effects);
            let inner = world.clone();
            let handler: Handler = Rc::new(move |execution: Execution| {
                let (world, count) = (inner.clone(), Rc::clone(&count));
                Box::pin(async move {
                    for _ in 0..2 {
                        let (nap, count) = (world.sleep(MS), Rc::clone(&count));
                        let effect = async move {
                            nap.await;
                            count.set(count.get() + 1);
                        };
                        world.effect(&execution.scope, "test.effect", effect).await;
                    }
                    Ok(Payload::default())
                })
            });
            pool.register(name(), handler);
            let scope = client(&world, 7);
            let end = pool.invoke(&scope, &name(), Payload::default()).await;
            world.sleep(MINUTE).await;
            let work = pool.work();
            assert_eq!((work.duplicates, work.crashes, work.invocations), (1, 1, 2));
            assert_eq!(
                (
                    pool.running(),
                    scope.request().live(),
                    scope.request().fired()
                ),
                (0, 0, 2)
            );
            // One execution ended after both of its effects, the other one after one or two.
            assert!((3..=4).contains(&effects.get()), "{}", effects.get());
            let crashed = InvokeError::Crashed("injected crash".to_owned());
            assert!(end == Err(crashed) || end.is_ok());
        },
    );
}

/// Otherwise ten thousand simulations would fill the memory.
#[test]
fn nothing_of_a_pool_is_left_when_its_world_has_ended() {
    let alive = Rc::new(());
    let inside = Rc::clone(&alive);
    with_pool(
        |_| {},
        Faults::default(),
        |world, pool| async move {
            let (platform, serve) = (pool.clone(), sleeper(&world, MS));
            let handler: Handler = Rc::new(move |execution| {
                // A function that knows its platform, as every runtime's does.
                let _ = (&platform, &inside);
                serve(execution)
            });
            pool.register(name(), handler);
            let scope = client(&world, 0);
            pool.invoke(&scope, &name(), Payload::default())
                .await
                .unwrap();
        },
    );
    assert_eq!(Rc::strong_count(&alive), 1);
}
