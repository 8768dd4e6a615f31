//! How many timer events per second the virtual-time executor handles, beside tokio's paused clock.
//!
//! An event is one sleep of one task: set the timer, jump the clock, run the task. Ours draws spans
//! to the nanosecond. tokio's wheel has ticks of 1 ms, so there 1 ms stands for 1 µs of ours, and
//! both sleep between 1 µs and 1 ms. Setting the tasks up is not measured.
//!
//! `cargo bench -p triptych-world --bench timers` prints a table of alternating runs, and then
//! criterion's estimates. The table counts processor time where the system tells it (Linux), so
//! that neither the rates nor their ratio suffer from what else the machine does.

use criterion::{BenchmarkId, Criterion, Throughput};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use triptych_world::{Options, World, mix};

/// The n-th span of a task, in nanoseconds: cheap, so that the timers are what is measured.
fn span(task: u64, n: u64) -> u64 {
    1_000 + mix(task, n) % 999_000
}

/// The time that this thread has run. Every clock tick adds to it, which is exact enough here.
fn processor_time(since: Instant) -> Duration {
    let Ok(stat) = std::fs::read_to_string("/proc/thread-self/schedstat") else {
        return since.elapsed();
    };
    let ran = stat.split(' ').next().and_then(|ns| ns.parse().ok());
    ran.map_or_else(|| since.elapsed(), Duration::from_nanos)
}

/// A stopwatch for both kinds of time: on the wall, and of the processor.
struct Watch(Instant, Duration);

impl Watch {
    fn start() -> Self {
        let now = Instant::now();
        Watch(now, processor_time(now))
    }

    fn stop(self) -> Took {
        let wall = self.0.elapsed();
        let processor = processor_time(self.0).saturating_sub(self.1);
        Took { wall, processor }
    }
}

struct Took {
    wall: Duration,
    processor: Duration,
}

fn ours(tasks: u64, rounds: u64) -> Took {
    World::simulate(1, Options::default(), |world| async move {
        let started = Rc::new(Cell::new(0));
        let handles: Vec<_> = (0..tasks)
            .map(|task| {
                let (sleeper, started) = (world.clone(), Rc::clone(&started));
                world.spawn("sleeper", async move {
                    started.set(started.get() + 1);
                    sleeper.sleep(span(task, 0)).await;
                    for n in 0..rounds {
                        sleeper.sleep(span(task, n)).await;
                    }
                })
            })
            .collect();
        world.yield_now().await;
        assert_eq!(started.get(), tasks, "every first timer is set");
        let watch = Watch::start();
        for handle in handles {
            handle.await;
        }
        watch.stop()
    })
    .expect("sleepers end")
}

fn tokio_paused(tasks: u64, rounds: u64) -> Took {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async move {
        let sleep = |task, n| tokio::time::sleep(Duration::from_millis(span(task, n) / 1_000));
        let handles: Vec<_> = (0..tasks)
            .map(|task| {
                tokio::spawn(async move {
                    sleep(task, 0).await;
                    for n in 0..rounds {
                        sleep(task, n).await;
                    }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        let watch = Watch::start();
        for handle in handles {
            handle.await.expect("sleepers do not panic");
        }
        watch.stop()
    })
}

/// Tasks, and sleeps of each: enough events that a run takes a few tenths of a second.
const SIZES: [(u64, u64); 2] = [(1_000, 1_500), (100_000, 10)];

type Sleepers = fn(u64, u64) -> Took;

const EXECUTORS: [(&str, Sleepers); 2] = [("triptych", ours), ("tokio paused", tokio_paused)];

fn million_per_second(events: u64, took: Duration) -> f64 {
    events as f64 / took.as_secs_f64() / 1e6
}

fn table() {
    println!("| tasks | triptych, million events/s | tokio paused | ratio |\n|---|---|---|---|");
    for (tasks, rounds) in SIZES {
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..5 {
            for (rates, (_, run)) in rates.iter_mut().zip(EXECUTORS) {
                rates.push(million_per_second(
                    tasks * rounds,
                    run(tasks, rounds).processor,
                ));
            }
        }
        let [ours, tokio] = rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        });
        println!("| {tasks} | {ours:.2} | {tokio:.2} | {:.2} |", ours / tokio);
    }
}

fn main() {
    table();
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .configure_from_args();
    for (tasks, rounds) in SIZES {
        let mut group = criterion.benchmark_group("timers");
        group.throughput(Throughput::Elements(tasks * rounds));
        for (name, run) in EXECUTORS {
            group.bench_function(BenchmarkId::new(name, tasks), |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| run(tasks, rounds).wall).sum());
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
