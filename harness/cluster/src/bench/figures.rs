//! What tables and JSON of all benches have in common.

use super::drive::{Pace, Plan};
use super::timed::Timed;
use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use triptych_world::MS;

pub(super) fn ms(nanos: u64) -> String {
    format!("{:.3}", nanos as f64 / MS as f64)
}

/// A quantile in milliseconds, if there was anything.
pub(super) fn quantile(latency: &Histogram<u64>, at: f64) -> String {
    match latency.is_empty() {
        true => "-".to_owned(),
        false => ms(latency.value_at_quantile(at)),
    }
}

/// The rate that was offered, in an open loop.
fn offered(plan: &Plan) -> Option<f64> {
    match plan.pace {
        Pace::Closed => None,
        Pace::Open(rate) => Some(rate.as_f64()),
    }
}

pub(super) fn offered_text(plan: &Plan) -> String {
    offered(plan).map_or("closed loop".to_owned(), |rate| format!("{rate}"))
}

/// Results per second of the nodes' processor time.
fn per_cpu(timed: &Timed) -> Option<f64> {
    let cpu = timed.nodes_cpu.filter(|cpu| *cpu > 0.0)?;
    Some(timed.driven.completed() as f64 / cpu)
}

/// Results per second of processor time, and that of the nodes and of the generator.
pub(super) fn cpu(timed: &Timed) -> [String; 3] {
    let unknown = || "?".to_owned();
    [
        per_cpu(timed).map_or_else(unknown, |rate| format!("{rate:.0}")),
        timed
            .nodes_cpu
            .map_or_else(unknown, |cpu| format!("{cpu:.2}")),
        format!("{:.2}", timed.own_cpu),
    ]
}

/// Failures by what was said, with how many of each.
fn failures(timed: &Timed) -> BTreeMap<&str, u64> {
    let mut failures = BTreeMap::new();
    for op in timed.driven.measured() {
        if let Err(trouble) = &op.result {
            *failures.entry(trouble.text()).or_default() += 1;
        }
    }
    failures
}

/// What should be known about the figures of a load, a line each.
pub(super) fn notes(plan: &Plan, timed: &Timed) -> Vec<String> {
    let mut notes: Vec<String> = failures(timed)
        .into_iter()
        .map(|(what, count)| format!("{count} failed: {what}"))
        .collect();
    if offered(plan).is_some() {
        let late = timed.driven.lateness();
        notes.push(format!(
            "the generator was {} ms late (median), {} ms (p99); latency counts from when a request \
             was due",
            ms(late.value_at_quantile(0.5)),
            ms(late.value_at_quantile(0.99))
        ));
    }
    if timed.driven.cut_short {
        notes.push("stopped before its end".to_owned());
    }
    notes
}

/// A distribution, in nanoseconds.
pub(super) fn latencies(latency: &Histogram<u64>) -> Json {
    let at = |quantile| latency.value_at_quantile(quantile);
    json!({
        "count": latency.len(), "min": latency.min(), "p50": at(0.5), "p90": at(0.9),
        "p99": at(0.99), "p99_9": at(0.999), "max": latency.max(), "mean": latency.mean(),
    })
}

/// A load's own figures, together with those that every load has.
pub(super) fn load_json(plan: &Plan, timed: &Timed, own: Json) -> Json {
    let driven = &timed.driven;
    let late = driven.lateness();
    let mut all = json!({
        "offered_per_second": offered(plan),
        "measured_seconds": driven.seconds(),
        "completed": driven.completed(),
        "per_second": driven.rate(),
        "latency_ns": latencies(&driven.latency()),
        "lateness_ns": { "p50": late.value_at_quantile(0.5), "p99": late.value_at_quantile(0.99) },
        "failed": driven.failed(),
        "failures": failures(timed),
        "nodes_cpu_seconds": timed.nodes_cpu,
        "generator_cpu_seconds": timed.own_cpu,
        "per_cpu_second": per_cpu(timed),
        "cut_short": driven.cut_short,
    });
    if let (Json::Object(all), Json::Object(own)) = (&mut all, own) {
        all.extend(own);
    }
    all
}

/// Everything about a cluster, for programs.
pub(super) fn cluster_json(cluster: &str, level: &str, loads: Vec<Json>) -> Json {
    json!({
        "cluster": cluster,
        "level": level,
        "measured_on": "wall clock of one machine, load generator included",
        "loads": loads,
    })
}
