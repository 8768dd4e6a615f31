//! Outcomes as a table and as JSON.

use super::figures::{cluster_json, cpu, load_json, ms, notes, offered_text};
use super::log::Outcome;
use serde_json::{Value as Json, json};
use triptych_load::table::plain;

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

/// A row of figures for each outcome, and under the table a verdict for each.
pub fn text(outcomes: &[Outcome]) -> String {
    let rows = outcomes.iter().map(|outcome| {
        let (load, driven) = (&outcome.load, &outcome.timed.driven);
        let latency = driven.latency();
        let at = |quantile| ms(latency.value_at_quantile(quantile));
        let [per_cpu, nodes_cpu, own_cpu] = cpu(&outcome.timed);
        [
            load.kind.name().to_owned(),
            load.clients.to_string(),
            offered_text(&load.plan),
            load.payload.to_string(),
            format!("{:.0}", driven.rate()),
            at(0.5),
            at(0.99),
            at(0.999),
            driven.failed().to_string(),
            per_cpu,
            nodes_cpu,
            own_cpu,
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
        let notes = notes(&load.plan, &outcome.timed).into_iter();
        for note in notes.chain(outcome.notes.iter().cloned()) {
            text.push_str(&format!("  {note}\n"));
        }
    }
    text
}

/// Everything, for programs.
pub fn json(cluster: &str, level: &str, outcomes: &[Outcome]) -> Json {
    let all = outcomes.iter().map(|outcome| {
        let load = &outcome.load;
        let own = json!({
            "what": load.kind.name(),
            "clients": load.clients,
            "payload_bytes": load.payload,
            "books": load.books,
            "verdict": outcome.verdict,
            "kept": outcome.verdict.kept(),
            "notes": outcome.notes,
        });
        load_json(&load.plan, &outcome.timed, own)
    });
    cluster_json(cluster, level, all.collect())
}
