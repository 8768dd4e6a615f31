//! Outcomes as a table and as JSON.

use super::drive::Pace;
use super::log::Outcome;
use serde_json::{Value as Json, json};
use triptych_load::table::plain;
use triptych_world::MS;

const HEAD: [&str; 12] = [
    "what",
    "clients",
    "offered/s",
    "payload",
    "done/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "failed",
    "per CPU-s",
    "nodes CPU s",
    "generator CPU s",
];

fn ms(nanos: u64) -> String {
    format!("{:.3}", nanos as f64 / MS as f64)
}

/// The rate that was offered, in an open loop.
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
        let latency = driven.latency();
        let at = |quantile| ms(latency.value_at_quantile(quantile));
        let unknown = || "?".to_owned();
        [
            load.kind.name().to_owned(),
            load.clients.to_string(),
            offered(outcome).map_or("closed loop".to_owned(), |rate| format!("{rate}")),
            load.payload.to_string(),
            format!("{:.0}", driven.rate()),
            at(0.5),
            at(0.99),
            at(0.999),
            driven.failed().to_string(),
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
        let name = load.kind.name();
        text.push_str(&format!(
            "{name}, {} clients, {} bytes: {}\n",
            load.clients,
            load.payload,
            outcome.told()
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
        for note in failures.chain(late).chain(cut).chain(outcome.notes.clone()) {
            text.push_str(&format!("  {note}\n"));
        }
    }
    text
}

/// Everything, for programs.
pub fn json(cluster: &str, level: &str, outcomes: &[Outcome]) -> Json {
    let all = outcomes.iter().map(|outcome| {
        let (load, driven) = (&outcome.load, &outcome.driven);
        let (latency, late) = (driven.latency(), driven.lateness());
        let at = |quantile| latency.value_at_quantile(quantile);
        json!({
            "what": load.kind.name(),
            "clients": load.clients,
            "offered_per_second": offered(outcome),
            "payload_bytes": load.payload,
            "books": load.books,
            "measured_seconds": driven.seconds(),
            "completed": driven.completed(),
            "per_second": driven.rate(),
            "latency_ns": {
                "min": latency.min(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99),
                "p99_9": at(0.999), "max": latency.max(), "mean": latency.mean(),
            },
            "lateness_ns": { "p50": late.value_at_quantile(0.5), "p99": late.value_at_quantile(0.99) },
            "failed": driven.failed(),
            "failures": outcome.failures(),
            "nodes_cpu_seconds": outcome.nodes_cpu,
            "generator_cpu_seconds": outcome.own_cpu,
            "per_cpu_second": per_cpu(outcome),
            "verdict": outcome.verdict,
            "kept": outcome.verdict.kept(),
            "cut_short": driven.cut_short,
            "notes": outcome.notes,
        })
    });
    json!({
        "cluster": cluster,
        "level": level,
        "measured_on": "wall clock of one machine, load generator included",
        "loads": all.collect::<Vec<Json>>(),
    })
}
