//! The queue oracle (H7): Poisson arrivals at one exponential server. The response time is then
//! exponential too, with mean S ÷ (1 − load), so its mean, median and 99th percentile are known.

use super::Check;
use crate::drive::{Limits, Planned, Sent, drive};
use crate::pool::{Cancel, each};
use crate::schedule::{Arrivals, Rate, Schedule};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use triptych_model::{OpRecord, Outcome, Value};
use triptych_results::latency;
use triptych_world::{MS, Nanos, Options, SECOND, World};

const SEEDS: u64 = 10;
const SERVICE: Nanos = MS;
/// Student's t for a two-sided 95 % interval over ten seeds.
const T: f64 = 2.262;

/// One load with one seed.
pub(super) struct Point {
    load: f64,
    seed: u64,
}

/// How many seconds of load give intervals below 5 % of the value: the closer to saturation, the
/// longer a busy period, and the fewer independent ones there are in a second.
fn span(load: f64) -> Nanos {
    SECOND
        * if load > 0.8 {
            3_000
        } else if load > 0.6 {
            400
        } else {
            200
        }
}

/// All cells, longest first so that the last ones to end are short.
pub(super) fn cells() -> Vec<Point> {
    let loads = [0.9, 0.7, 0.5].into_iter();
    loads
        .flat_map(|load| (1..=SEEDS).map(move |seed| Point { load, seed }))
        .collect()
}

/// Mean, median and 99th percentile of the response time, in units of the mean service time.
fn measure(cell: &Point) -> [f64; 3] {
    let Point { load, seed } = *cell;
    let schedule = Schedule {
        arrivals: Arrivals::Poisson,
        rate: Rate::per_second(load * SECOND as f64 / SERVICE as f64).expect("a rate"),
        span: span(load),
        ramp: 0,
        seed,
    };
    // From an empty queue to a typical one takes some busy periods.
    let warm_up = schedule.span / 20;
    let body = move |world: World| async move {
        let response = Rc::new(RefCell::new(latency::histogram()));
        let (sink, server) = (Rc::clone(&response), world.clone());
        let sum = Rc::new(Cell::new(0u128));
        let total = Rc::clone(&sum);
        let service = RefCell::new(world.random("service"));
        let free_at = Cell::new(0);
        let send =
            move |_: u64, _: &Planned| -> futures_util::future::LocalBoxFuture<'static, Sent> {
                let span = service.borrow_mut().exponential(SERVICE as f64).round() as Nanos;
                let begin: Nanos = server.now().max(free_at.get());
                free_at.set(begin + span);
                let answer = server.sleep_until(begin + span);
                Box::pin(async move {
                    answer.await;
                    Sent {
                        outcome: Outcome::Ok,
                        observed: Value::Null,
                    }
                })
            };
        let record = move |op: OpRecord| {
            if op.intended_ns >= warm_up {
                let span = op.done_ns - op.intended_ns;
                sink.borrow_mut().saturating_record(span);
                total.set(total.get() + u128::from(span));
            }
        };
        let limits = Limits {
            client_timeout: Nanos::MAX,
            ..Limits::default()
        };
        drive(
            &world,
            schedule.times(),
            limits,
            |_| Planned::default(),
            send,
            record,
        )
        .await;
        let response = response.borrow();
        let at = |q| response.median_equivalent(response.value_at_quantile(q)) as f64;
        let mean = sum.get() as f64 / response.len() as f64;
        [mean, at(0.5), at(0.99)].map(|ns| ns / SERVICE as f64)
    };
    World::simulate(seed, Options::default(), body).expect("a server with timers never deadlocks")
}

pub(super) fn checks(
    jobs: usize,
    cancel: &Cancel,
    cells: &[Point],
    mut progress: impl FnMut(usize),
) -> Vec<Check> {
    let mut done = 0;
    let results = each(
        jobs,
        cells,
        cancel,
        |_, cell| measure(cell),
        |_, _| {
            done += 1;
            progress(done);
        },
    );
    let mut checks = Vec::new();
    for load in [0.5, 0.7, 0.9] {
        let of_load = cells
            .iter()
            .zip(&results)
            .filter(|(cell, _)| cell.load == load);
        let runs: Vec<[f64; 3]> = of_load
            .filter_map(|(_, result)| result.as_ref()?.as_ref().ok().copied())
            .collect();
        let mean = 1.0 / (1.0 - load);
        let theory = [mean, mean * std::f64::consts::LN_2, mean * 100f64.ln()];
        for (n, name) in ["mean", "p50", "p99"].into_iter().enumerate() {
            let values: Vec<f64> = runs.iter().map(|run| run[n]).collect();
            checks.push(interval(load, name, theory[n], &values));
        }
    }
    checks
}

/// Whether the 95 % interval over the seeds holds the theory and is narrower than 5 % of it.
fn interval(load: f64, name: &str, theory: f64, values: &[f64]) -> Check {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / (n - 1.0);
    let half = T * (variance / n).sqrt();
    let (low, high) = (mean - half, mean + half);
    let width = (high - low) / mean;
    Check::new(
        "H7",
        format!("M/M/1 at load {load}: {name} of the response, {SEEDS} seeds"),
        format!("{theory:.3} ms inside the interval, width < 5 %"),
        format!("{low:.3} to {high:.3} ms, width {:.2} %", width * 100.0),
        values.len() as u64 == SEEDS && (low..=high).contains(&theory) && width < 0.05,
    )
}
