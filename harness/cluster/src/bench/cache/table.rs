//! Outcomes as tables and as JSON.

use super::Outcome;
use super::visibility::Visibility;
use crate::bench::drive::Pace;
use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};
use triptych_load::table::plain;
use triptych_world::MS;

const HEAD: [&str; 15] = [
    "what",
    "clients",
    "roaming",
    "offered/s",
    "value",
    "done/s",
    "read p50 ms",
    "p99 ms",
    "write p50 ms",
    "p99 ms",
    "failed",
    "context B",
    "per CPU-s",
    "nodes CPU s",
    "generator CPU s",
];

fn ms(nanos: u64) -> String {
    format!("{:.3}", nanos as f64 / MS as f64)
}

fn quantile(latency: &Histogram<u64>, at: f64) -> String {
    match latency.is_empty() {
        true => "-".to_owned(),
        false => ms(latency.value_at_quantile(at)),
    }
}

fn offered(outcome: &Outcome) -> Option<f64> {
    match outcome.load.plan.pace {
        Pace::Closed => None,
        Pace::Open(rate) => Some(rate.as_f64()),
    }
}

/// Results per second of the nodes' processor time.
fn per_cpu(outcome: &Outcome) -> Option<f64> {
    let cpu = outcome.nodes_cpu.filter(|cpu| *cpu > 0.0)?;
    Some(outcome.driven.completed() as f64 / cpu)
}

/// A row of figures for each outcome, and under the table a verdict for each.
pub fn text(outcomes: &[Outcome]) -> String {
    let rows = outcomes.iter().map(|outcome| {
        let (load, driven) = (&outcome.load, &outcome.driven);
        let (reads, writes) = (outcome.latency(true), outcome.latency(false));
        let unknown = || "?".to_owned();
        [
            load.name(),
            load.clients.to_string(),
            load.roaming.name().to_owned(),
            offered(outcome).map_or("closed loop".to_owned(), |rate| format!("{rate}")),
            load.payload.to_string(),
            format!("{:.0}", driven.rate()),
            quantile(&reads, 0.5),
            quantile(&reads, 0.99),
            quantile(&writes, 0.5),
            quantile(&writes, 0.99),
            driven.failed().to_string(),
            format!("{:.0}", outcome.context),
            per_cpu(outcome).map_or_else(unknown, |rate| format!("{rate:.0}")),
            outcome
                .nodes_cpu
                .map_or_else(unknown, |cpu| format!("{cpu:.2}")),
            format!("{:.2}", outcome.own_cpu),
        ]
    });
    let mut text = plain(std::iter::once(HEAD.map(str::to_owned)).chain(rows));
    text.push('\n');
    for outcome in outcomes {
        let load = &outcome.load;
        text.push_str(&format!(
            "{}, {} clients, {}: {}\n",
            load.name(),
            load.clients,
            load.roaming.name(),
            outcome.verdict.told()
        ));
        let failures = outcome.failures().into_iter();
        let failures = failures.map(|(what, count)| format!("{count} failed: {what}"));
        let late = offered(outcome).map(|_| {
            let late = outcome.driven.lateness();
            format!(
                "the generator was {} ms late (median), {} ms (p99); latency counts from when a \
                 request was due",
                ms(late.value_at_quantile(0.5)),
                ms(late.value_at_quantile(0.99))
            )
        });
        let cut = outcome
            .driven
            .cut_short
            .then(|| "stopped before its end".to_owned());
        let notes = failures.chain(late).chain(cut);
        let notes = notes
            .chain(outcome.verdict.told.clone())
            .chain(outcome.notes.clone());
        for note in notes {
            text.push_str(&format!("  {note}\n"));
        }
    }
    text
}

/// Visibility: a row for each distance.
pub fn visibility_text(visibility: &Visibility) -> String {
    let head = [
        "seen at",
        "since asked p50 ms",
        "p99 ms",
        "since acknowledged p50 ms",
        "p99 ms",
        "missed",
    ];
    let servers = visibility.ways.len();
    let rows = visibility.ways.iter().map(|way| {
        let at = match way.hops {
            0 => "the server that accepted it".to_owned(),
            // The tail: it shows the write before anybody else.
            hops if hops + 1 == servers => format!("{hops} hops on, its predecessor"),
            1 => "its successor".to_owned(),
            hops => format!("{hops} hops on"),
        };
        [
            at,
            quantile(&way.from_asked, 0.5),
            quantile(&way.from_asked, 0.99),
            quantile(&way.from_acknowledged, 0.5),
            quantile(&way.from_acknowledged, 0.99),
            way.missed.to_string(),
        ]
    });
    let table = plain(std::iter::once(head.map(str::to_owned)).chain(rows));
    format!(
        "a write until somebody sees it who depends on nothing ({} writes, acknowledged after {} ms \
         at the median)\n{table}",
        visibility.writes,
        quantile(&visibility.acknowledged, 0.5)
    )
}

fn latencies(latency: &Histogram<u64>) -> Json {
    let at = |quantile| latency.value_at_quantile(quantile);
    json!({
        "count": latency.len(), "min": latency.min(), "p50": at(0.5), "p90": at(0.9),
        "p99": at(0.99), "p99_9": at(0.999), "max": latency.max(), "mean": latency.mean(),
    })
}

/// Everything, for programs.
pub fn json(
    cluster: &str,
    level: &str,
    outcomes: &[Outcome],
    visibility: Option<&Visibility>,
) -> Json {
    let all = outcomes.iter().map(|outcome| {
        let (load, driven) = (&outcome.load, &outcome.driven);
        let late = driven.lateness();
        json!({
            "clients": load.clients,
            "keys": load.keys,
            "zipf": load.zipf,
            "payload_bytes": load.payload,
            "reads": load.reads,
            "read_keys": load.read_keys,
            "roaming": load.roaming.name(),
            "session": load.session,
            "offered_per_second": offered(outcome),
            "measured_seconds": driven.seconds(),
            "completed": driven.completed(),
            "per_second": driven.rate(),
            "writes_per_second": outcome.writes(),
            "latency_ns": latencies(&driven.latency()),
            "read_latency_ns": latencies(&outcome.latency(true)),
            "write_latency_ns": latencies(&outcome.latency(false)),
            "lateness_ns": { "p50": late.value_at_quantile(0.5), "p99": late.value_at_quantile(0.99) },
            "failed": driven.failed(),
            "failures": outcome.failures(),
            "context_bytes": outcome.context,
            "nodes_cpu_seconds": outcome.nodes_cpu,
            "generator_cpu_seconds": outcome.own_cpu,
            "per_cpu_second": per_cpu(outcome),
            "verdict": outcome.verdict,
            "kept": outcome.verdict.kept(),
            "cut_short": driven.cut_short,
            "notes": outcome.notes,
        })
    });
    let visibility = visibility.map(|visibility| {
        let ways = visibility.ways.iter().map(|way| {
            json!({
                "hops": way.hops,
                "since_asked_ns": latencies(&way.from_asked),
                "since_acknowledged_ns": latencies(&way.from_acknowledged),
                "missed": way.missed,
            })
        });
        json!({
            "writes": visibility.writes,
            "acknowledged_ns": latencies(&visibility.acknowledged),
            "seen": ways.collect::<Vec<Json>>(),
        })
    });
    json!({
        "cluster": cluster,
        "level": level,
        "measured_on": "wall clock of one machine, load generator included",
        "loads": all.collect::<Vec<Json>>(),
        "visibility": visibility,
    })
}
