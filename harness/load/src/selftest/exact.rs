//! Checks that are exact: intended times (H1), conservation (H4), the three histograms (H5), and
//! the histogram itself (H11).

use super::Check;
use crate::drive::{Driven, Limits, Planned, Sent, WhenFull, drive};
use crate::schedule::{Arrivals, Rate, Schedule, constant};
use futures_util::future::LocalBoxFuture;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use triptych_model::{OpRecord, Outcome, Random, Value};
use triptych_results::latency;
use triptych_world::{MS, Nanos, Options, SECOND, US, World};

pub(super) fn checks() -> Vec<Check> {
    vec![
        intended_times(),
        conservation(),
        three_histograms(),
        cells(),
        log_round_trip(),
        foreign_log(),
    ]
}

/// H1: against 128-bit rational arithmetic, at random rates and at indices up to 10⁹.
fn intended_times() -> Check {
    let mut random = Random::new(1);
    let (mut probes, mut worst) = (0u64, 0.0f64);
    let mut exact = true;
    for _ in 0..1_000 {
        let parts = 1 + random.below(100_000_000_000);
        let Some(rate) = Rate::per_second(parts as f64 / 1e6) else {
            continue;
        };
        for index in [
            0,
            1,
            random.below(1_000_000),
            random.below(1_000_000_000),
            1_000_000_000,
        ] {
            // index ÷ (parts ÷ 10⁶) seconds, in units of 1 ns ÷ parts.
            let truth = u128::from(index) * 1_000_000_000_000_000;
            if truth / u128::from(parts) >= u128::from(u64::MAX) {
                continue;
            }
            let at = u128::from(constant(rate, index)) * u128::from(parts);
            exact &= at <= truth && truth - at < u128::from(parts);
            worst = worst.max((truth.abs_diff(at)) as f64 / parts as f64);
            probes += 1;
        }
    }
    Check::new(
        "H1",
        "constant arrivals against rational arithmetic, up to 10⁹ requests",
        "error ≤ 1 ns at any index",
        format!("{worst:.3} ns at worst in {probes} probes"),
        exact && probes > 4_000,
    )
}

/// A run against a server that freezes at random and answers in every way there is.
pub(crate) fn stalling(seed: u64, limits: Limits, rate: f64) -> (Driven, Vec<OpRecord>) {
    let rate = Rate::per_second(rate).expect("a rate");
    let schedule = Schedule {
        arrivals: Arrivals::Poisson,
        rate,
        span: 2 * SECOND,
        ramp: 0,
        seed,
    };
    let options = Options {
        shuffle: true,
        ..Options::default()
    };
    let body = move |world: World| async move {
        let records = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&records);
        let server = world.clone();
        let send = move |index: u64, _: &Planned| -> LocalBoxFuture<'static, Sent> {
            let world = server.clone();
            Box::pin(async move {
                let mut random = world.keyed(index);
                world.sleep(random.exponential(5e6) as Nanos).await;
                if random.chance(0.05) {
                    world.sleep(random.below(3 * SECOND)).await;
                }
                if random.chance(0.02) {
                    std::future::pending::<()>().await;
                }
                let outcome = match random.below(6) {
                    0 => Outcome::Rejected("sold out".to_owned()),
                    1 => Outcome::Aborted("conflict".to_owned()),
                    2 => Outcome::Failed("throttled".to_owned()),
                    3 => Outcome::Indeterminate("connection lost".to_owned()),
                    _ => Outcome::Ok,
                };
                Sent {
                    outcome,
                    observed: Value::Null,
                }
            })
        };
        let record = move |op| sink.borrow_mut().push(op);
        let plan = |_| Planned::default();
        let driven = drive(&world, schedule.times(), limits, plan, send, record).await;
        // Whatever still goes on must change nothing any more.
        world.sleep(100 * SECOND).await;
        let ops = std::mem::take(&mut *records.borrow_mut());
        (driven, ops)
    };
    World::simulate(seed, options, body).expect("a server with timers never deadlocks")
}

/// H4: intended = ok + rejected + aborted + failed + indeterminate + shed + in flight.
fn conservation() -> Check {
    let mut random = Random::new(4);
    let (mut intended, mut ended, mut exact) = (0, 0, true);
    let mut classes = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let limits = Limits {
            in_flight: 1 + random.below(60) as usize,
            when_full: if random.chance(0.5) {
                WhenFull::Queue
            } else {
                WhenFull::Shed
            },
            client_timeout: 1 + random.below(4 * SECOND),
            grace: random.below(4 * SECOND),
        };
        let rate = 10.0 + random.below(500) as f64;
        let (driven, mut ops) = stalling(seed, limits, rate);
        ops.sort_by_key(|op| op.index);
        exact &= ops.iter().enumerate().all(|(n, op)| op.index == n as u64);
        exact &= driven.ended.values().sum::<u64>() == driven.intended;
        intended += driven.intended;
        ended += ops.len() as u64;
        classes.extend(driven.ended.keys().copied());
    }
    Check::new(
        "H4",
        "conservation under random stalls, limits, timeouts (100 seeds)",
        "intended = sum of the 7 ends, every index once",
        format!(
            "{intended} intended, {ended} ended, {} kinds of end seen",
            classes.len()
        ),
        exact && intended == ended && classes.len() == 7,
    )
}

/// H5: what three histograms say of one request agrees to within a cell.
fn three_histograms() -> Check {
    let hist = latency::histogram();
    let mut random = Random::new(5);
    let mut worst = 0.0f64;
    for _ in 0..200_000 {
        let mut draw = || span(random.unit(), random.below(8));
        let (wait, service) = (draw(), draw());
        let told = hist.median_equivalent(wait) + hist.median_equivalent(service);
        let response = wait + service;
        let cell = hist.equivalent_range(response);
        worst = worst.max(told.abs_diff(hist.median_equivalent(response)) as f64 / cell as f64);
    }
    let limits = Limits {
        in_flight: 4,
        ..Limits::default()
    };
    let (_, ops) = stalling(5, limits, 200.0);
    let exact = ops.iter().all(|op| {
        let (wait, service) = (op.sent_ns - op.intended_ns, op.done_ns - op.sent_ns);
        op.done_ns - op.intended_ns == wait + service
    });
    Check::new(
        "H5",
        "response = wait + service, in the log exactly and in histograms",
        "exact, and ≤ 1 cell",
        format!(
            "{}, worst {worst:.2} cells",
            if exact { "exact" } else { "not exact" }
        ),
        exact && worst <= 1.0,
    )
}

/// A span of time between 1 µs and 100 s whose digits are as good as random.
fn span(unit: f64, decade: u64) -> Nanos {
    let scale = 10u64.pow(decade as u32) * US;
    scale + (unit * 9.0 * scale as f64) as Nanos
}

/// H11: every boundary of every bucket, and the values beside it.
fn cells() -> Check {
    let mut hist = latency::histogram();
    let (mut probes, mut worst) = (0u64, 0.0f64);
    let mut edge = US;
    while edge <= latency::LONGEST_NS {
        for value in [edge.saturating_sub(1).max(US), edge, edge + 1] {
            let value = value.min(latency::LONGEST_NS);
            hist.reset();
            hist.saturating_record(value);
            let told = hist.value_at_quantile(0.5);
            worst = worst.max(told.abs_diff(value) as f64 / value as f64);
            probes += 1;
        }
        edge = hist.next_non_equivalent(edge);
    }
    hist.reset();
    hist.saturating_record(latency::LONGEST_NS * 3);
    let counted = hist.len() == 1 && hist.max() >= latency::LONGEST_NS;
    let bytes = hist.distinct_values() * size_of::<u32>();
    Check::new(
        "H11",
        "histogram error at every cell from 1 µs to 10 min; size; overflow counted",
        "≤ 0.1 %, ≤ 200 KiB, counted",
        format!(
            "{:.4} % in {probes} probes, {} KiB, {}",
            worst * 100.0,
            bytes / 1024,
            if counted { "counted" } else { "lost" }
        ),
        worst <= 0.001 && bytes <= 200 * 1024 && counted,
    )
}

/// H11: what is written as an HdrHistogram interval log is read back the same.
fn log_round_trip() -> Check {
    let mut random = Random::new(11);
    let mut written = Vec::new();
    for _ in 0..5 {
        let mut hist = latency::histogram();
        (0..10_000).for_each(|_| hist.saturating_record(random.exponential(2e7) as Nanos + 1));
        written.push(hist);
    }
    let read = round_trip(&written).unwrap_or_default();
    Check::new(
        "H11",
        "HdrHistogram interval log, written and read back",
        format!("{} equal histograms", written.len()),
        format!(
            "{} equal",
            written.iter().zip(&read).filter(|(a, b)| a == b).count()
        ),
        read == written,
    )
}

fn round_trip(written: &[Histogram<u32>]) -> Option<Vec<Histogram<u32>>> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .with_max_value_divisor(MS as f64)
        .begin_log_with(&mut bytes, &mut serializer)
        .ok()?;
    for (n, hist) in (0..).zip(written) {
        let start = Duration::from_secs(n);
        log.write_histogram(hist, start, Duration::from_secs(1), None)
            .ok()?;
    }
    read_log(&bytes)
}

fn read_log(bytes: &[u8]) -> Option<Vec<Histogram<u32>>> {
    let mut read = Vec::new();
    for entry in IntervalLogIterator::new(bytes) {
        if let LogEntry::Interval(interval) = entry.ok()? {
            let bytes = base64(interval.encoded_histogram())?;
            read.push(
                Deserializer::new()
                    .deserialize(&mut bytes.as_slice())
                    .ok()?,
            );
        }
    }
    Some(read)
}

/// The three first intervals of a log that jHiccup (Java) wrote, as the test data of the
/// `hdrhistogram` crate has them; the third column is each interval's largest value in ms.
const FOREIGN: &str = include_str!("../../data/jhiccup.hlog");

/// H11: another implementation's file is read, and says what that implementation said.
fn foreign_log() -> Check {
    let read = read_log(FOREIGN.as_bytes()).unwrap_or_default();
    let largest: Vec<String> = read
        .iter()
        .map(|hist| format!("{:.3}", hist.max() as f64 / 1e6))
        .collect();
    let expected = FOREIGN.lines().filter(|line| line.contains(",HISTF"));
    let expected: Vec<&str> = expected.filter_map(|line| line.split(',').nth(2)).collect();
    Check::new(
        "H11",
        "interval log written by jHiccup (Java): largest values",
        format!("{} ms", expected.join(", ")),
        format!("{} ms", largest.join(", ")),
        largest == expected && !expected.is_empty(),
    )
}

/// Standard base64, which the log format wraps histograms in.
fn base64(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        bits = (bits << 6) | digit as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}
