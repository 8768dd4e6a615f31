//! Outcomes as tables and as JSON.

use super::Outcome;
use super::visibility::Visibility;
use crate::bench::figures::{
    cluster_json, cpu, latencies, load_json, notes, offered_text, quantile,
};
use serde_json::{Value as Json, json};
use triptych_load::table::plain;

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

/// A row of figures for each outcome, and under the table a verdict for each.
pub fn text(outcomes: &[Outcome]) -> String {
    let rows = outcomes.iter().map(|outcome| {
        let (load, driven) = (&outcome.load, &outcome.timed.driven);
        let (reads, writes) = (outcome.latency(true), outcome.latency(false));
        let [per_cpu, nodes_cpu, own_cpu] = cpu(&outcome.timed);
        [
            load.name(),
            load.clients.to_string(),
            load.roaming.name().to_owned(),
            offered_text(&load.plan),
            load.payload.to_string(),
            format!("{:.0}", driven.rate()),
            quantile(&reads, 0.5),
            quantile(&reads, 0.99),
            quantile(&writes, 0.5),
            quantile(&writes, 0.99),
            driven.failed().to_string(),
            format!("{:.0}", outcome.context),
            per_cpu,
            nodes_cpu,
            own_cpu,
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
        let notes = notes(&load.plan, &outcome.timed).into_iter();
        let more = outcome.verdict.told.iter().chain(&outcome.notes).cloned();
        for note in notes.chain(more) {
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

/// Everything, for programs.
pub fn json(
    cluster: &str,
    level: &str,
    outcomes: &[Outcome],
    visibility: Option<&Visibility>,
) -> Json {
    let all = outcomes.iter().map(|outcome| {
        let load = &outcome.load;
        let own = json!({
            "clients": load.clients,
            "keys": load.keys,
            "zipf": load.zipf,
            "payload_bytes": load.payload,
            "reads": load.reads,
            "read_keys": load.read_keys,
            "roaming": load.roaming.name(),
            "session": load.session,
            "writes_per_second": outcome.writes(),
            "read_latency_ns": latencies(&outcome.latency(true)),
            "write_latency_ns": latencies(&outcome.latency(false)),
            "context_bytes": outcome.context,
            "verdict": outcome.verdict,
            "kept": outcome.verdict.kept(),
            "notes": outcome.notes,
        });
        load_json(&load.plan, &outcome.timed, own)
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
    let mut all = cluster_json(cluster, level, all.collect());
    all["visibility"] = json!(visibility);
    all
}
