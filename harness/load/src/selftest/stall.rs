//! The stall oracle (H6): two freezes of one second in a hundred, and the percentiles that follow
//! from them by arithmetic.

use super::Check;
use crate::drive::{Driven, Limits, Planned, Sent, drive};
use crate::schedule::{Arrivals, Rate, Schedule};
use hdrhistogram::Histogram;
use std::cell::RefCell;
use std::rc::Rc;
use triptych_model::{OpRecord, Outcome, Value};
use triptych_results::latency;
use triptych_world::{MS, Nanos, Options, SECOND, World};

/// When the server freezes, and until when.
const FREEZES: [(Nanos, Nanos); 2] = [(30 * SECOND, 31 * SECOND), (70 * SECOND, 71 * SECOND)];
const SERVICE: Nanos = MS;

struct Seen {
    response: Histogram<u32>,
    service: Histogram<u32>,
    driven: Driven,
}

/// A thousand requests per second for a hundred seconds against the freezing server.
fn run(in_flight: usize) -> Seen {
    let schedule = Schedule {
        arrivals: Arrivals::Constant,
        rate: Rate::per_second(1_000.0).expect("a rate"),
        span: 100 * SECOND,
        ramp: 0,
        seed: 1,
    };
    let body = move |world: World| async move {
        let seen = Rc::new(RefCell::new((latency::histogram(), latency::histogram())));
        let sink = Rc::clone(&seen);
        let server = world.clone();
        let send =
            move |_: u64, _: &Planned| -> futures_util::future::LocalBoxFuture<'static, Sent> {
                let now = server.now();
                let frozen = FREEZES
                    .iter()
                    .find(|(from, to)| (*from..*to).contains(&now));
                let answer = server.sleep_until(frozen.map_or(now, |(_, to)| *to) + SERVICE);
                Box::pin(async move {
                    answer.await;
                    Sent {
                        outcome: Outcome::Ok,
                        observed: Value::Null,
                    }
                })
            };
        let record = move |op: OpRecord| {
            let (response, service) = &mut *sink.borrow_mut();
            response.saturating_record(op.done_ns - op.intended_ns);
            service.saturating_record(op.done_ns - op.sent_ns);
        };
        let limits = Limits {
            in_flight,
            ..Limits::default()
        };
        let plan = |_| Planned::default();
        let driven = drive(&world, schedule.times(), limits, plan, send, record).await;
        let (response, service) = seen.borrow().clone();
        Seen {
            response,
            service,
            driven,
        }
    };
    World::simulate(1, Options::default(), body).expect("a server with timers never deadlocks")
}

fn seconds(histogram: &Histogram<u32>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / SECOND as f64
}

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (limit, label) in [
        (usize::MAX, "no limit in flight"),
        (256, "at most 256 in flight"),
    ] {
        let seen = run(limit);
        let (p99, p999) = (
            seconds(&seen.response, 0.99),
            seconds(&seen.response, 0.999),
        );
        let max = seen.response.max() as f64 / SECOND as f64;
        let near = |value: f64, theory: f64| (value / theory - 1.0).abs() <= 0.02;
        checks.push(Check::new(
            "H6",
            format!("stall oracle, {label}: response p99, p99.9, max"),
            "0.501 s ± 2 %, 0.951 s ± 2 %, ≤ 1.01 s",
            format!("{p99:.3} s, {p999:.3} s, {max:.3} s"),
            near(p99, 0.501) && near(p999, 0.951) && max <= 1.01 && seen.driven.kept_schedule(),
        ));
        if limit < usize::MAX {
            let hidden = seen.service.value_at_quantile(0.99) as f64 / MS as f64;
            checks.push(Check::new(
                "H6",
                format!("stall oracle, {label}: p99 counted from the send (hides the stall)"),
                "≈ 1 ms",
                format!("{hidden:.3} ms"),
                (0.99..=1.01).contains(&hidden) && seen.driven.over_limit > 0,
            ));
        }
    }
    checks
}
