//! A traced request in the trace-event format, which Perfetto and chrome://tracing show: executions
//! on tracks of their own, effects and calls in them, faults as instants, arrows from call to
//! execution.

use crate::timeline::children;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use triptych_world::trace::{Span, What};
use triptych_world::{Nanos, US};

/// The trace as one JSON document.
pub fn json(spans: &[Span], title: &str) -> Json {
    let children = children(spans);
    let mut tracks = Tracks {
        spans,
        children: &children,
        last: spans.iter().filter_map(|span| span.end).max().unwrap_or(0),
        events: vec![json!({
            "ph": "M", "pid": 1, "tid": 0, "name": "process_name", "args": { "name": title },
        })],
        count: 0,
        cold: BTreeMap::new(),
    };
    let client = tracks.track("client");
    for &root in &children[spans.len()] {
        tracks.span(root, client);
    }
    json!({ "displayTimeUnit": "ms", "traceEvents": tracks.events })
}

struct Tracks<'a> {
    spans: &'a [Span],
    children: &'a [Vec<usize>],
    last: Nanos,
    events: Vec<Json>,
    count: u64,
    /// The track on which an environment started, by its call and when it was ready.
    cold: BTreeMap<(Option<usize>, Nanos), u64>,
}

fn micros(time: Nanos) -> f64 {
    time as f64 / US as f64
}

impl Tracks<'_> {
    fn track(&mut self, name: &str) -> u64 {
        let tid = self.count;
        self.count += 1;
        self.events.push(json!({
            "ph": "M", "pid": 1, "tid": tid, "name": "thread_name", "args": { "name": name },
        }));
        self.events.push(json!({
            "ph": "M", "pid": 1, "tid": tid, "name": "thread_sort_index",
            "args": { "sort_index": tid },
        }));
        tid
    }

    /// Shows a span, on the track of what it lies in unless it runs somewhere else.
    fn span(&mut self, at: usize, track: u64) {
        let Span {
            parent,
            what,
            name,
            start,
            end,
            notes,
        } = &self.spans[at];
        let until = end.unwrap_or(self.last);
        let track = match what {
            What::Cold => {
                let track = self.track(name);
                self.cold.insert((*parent, until), track);
                track
            }
            What::Execution => {
                let begun = self.cold.remove(&(*parent, *start));
                let track = begun.unwrap_or_else(|| self.track(name));
                if let Some(call) = parent {
                    let caller = json!({ "ph": "f", "bp": "e", "pid": 1, "tid": track,
                        "ts": micros(*start), "id": call, "name": "call", "cat": "call" });
                    self.events.push(caller);
                }
                track
            }
            _ => track,
        };
        let (shown, category) = match what {
            What::Call => (format!("call {name}"), "call"),
            What::Event => (format!("event for {name}"), "call"),
            What::Cold => ("cold start".to_owned(), "function"),
            What::Execution => (name.clone(), "function"),
            What::Compute => ("computes".to_owned(), "function"),
            What::Effect => (name.clone(), "effect"),
            What::Store => (name.clone(), "store"),
        };
        self.events.push(json!({
            "ph": "X", "pid": 1, "tid": track, "ts": micros(*start),
            "dur": micros(until - start), "name": shown, "cat": category,
            "args": { "notes": notes },
        }));
        if matches!(what, What::Call | What::Event) {
            self.events.push(
                json!({ "ph": "s", "pid": 1, "tid": track, "ts": micros(*start),
                "id": at, "name": "call", "cat": "call" }),
            );
        }
        if *what == What::Effect {
            for note in notes {
                self.events
                    .push(json!({ "ph": "i", "s": "t", "pid": 1, "tid": track,
                    "ts": micros(*start), "name": note, "cat": "fault" }));
            }
        }
        self.inner(at, track);
    }

    /// Shows what lies in a span. Branches that run side by side get tracks of their own, because
    /// slices of one track must nest.
    fn inner(&mut self, at: usize, track: u64) {
        let mut lanes = vec![(track, 0)];
        for &child in &self.children[at] {
            let Span {
                what, start, end, ..
            } = &self.spans[child];
            if matches!(what, What::Execution | What::Cold) {
                self.span(child, track);
                continue;
            }
            let free = lanes.iter().position(|(_, busy)| busy <= start);
            let lane = match free {
                Some(lane) => lane,
                None => {
                    let name = format!("{} (branch {})", self.spans[at].name, lanes.len() + 1);
                    let track = self.track(&name);
                    lanes.push((track, 0));
                    lanes.len() - 1
                }
            };
            lanes[lane].1 = end.unwrap_or(self.last);
            self.span(child, lanes[lane].0);
        }
    }
}
