//! How the published numbers of a run are computed from its operation log, work counters and verdict.
//!
//! One pass, fixed memory (but for what was published and seen, see [`crate::visibility`]), no clock: the same inputs give the same [`Summary`], which is how
//! [`crate::verify()`] can check every number. Response time counts from the *intended* start,
//! service time from the actual one, waiting is the difference. Only requests that were intended
//! after the warm-up are measured; none is dropped: every request of the schedule is in a count.

use crate::anomalies::Anomalies;
use crate::hlog::{Grid, HlogWriter};
use crate::latency::Recorder;
use crate::manifest::{Manifest, SCHEMA};
use crate::summary::{
    CostSummary, Counts, Interval, Measured, Summary, SummaryError, VerdictSummary,
};
use crate::visibility::Watch;
use std::collections::BTreeMap;
use triptych_model::{OpRecord, OutcomeClass, Verdict, Work};

#[derive(Default)]
struct Recorders {
    all: Counts,
    measured: Counts,
    response: Recorder,
    service: Recorder,
    waiting: Recorder,
    settled: Recorder,
    entry: Recorder,
    effectful: bool,
}

impl Recorders {
    fn push(&mut self, op: &OpRecord, class: OutcomeClass, measured: bool) {
        self.all.add(class);
        if !measured {
            return;
        }
        self.measured.add(class);
        let response_ns = op.done_ns.saturating_sub(op.intended_ns);
        let service_ns = op.done_ns.saturating_sub(op.sent_ns);
        if !matches!(class, OutcomeClass::Shed | OutcomeClass::InFlight) {
            self.waiting.ended(op.sent_ns - op.intended_ns);
        }
        match class {
            OutcomeClass::Ok | OutcomeClass::Rejected => {
                self.response.ended(response_ns);
                self.service.ended(service_ns);
                if op.entry_ns != 0 {
                    self.entry.ended(op.entry_ns);
                }
            }
            OutcomeClass::Indeterminate | OutcomeClass::InFlight => {
                self.response.censored(response_ns);
                self.service.censored(service_ns.min(response_ns));
            }
            OutcomeClass::Aborted | OutcomeClass::Failed | OutcomeClass::Shed => {}
        }
    }

    fn settle(&mut self, op: &OpRecord) {
        if op.settled_ns != 0 {
            self.settled
                .ended(op.settled_ns.saturating_sub(op.intended_ns));
        }
    }

    fn measured(&self) -> Measured {
        Measured {
            all: self.all,
            measured: self.measured,
            response: self.response.latencies(),
            service: self.service.latencies(),
            waiting: self.waiting.latencies(),
            settled: self.effectful.then(|| self.settled.latencies()),
            entry: self.entry.latencies(),
        }
    }
}

/// Computes a summary and a histogram log, one request at a time.
pub struct Summariser<'a> {
    manifest: &'a Manifest,
    grid: Grid,
    hlog: HlogWriter,
    overall: Recorders,
    kinds: Vec<Recorders>,
    halves: [Recorder; 2],
    timeline: Vec<Interval>,
    /// The interval whose latencies are being recorded.
    current: (usize, Recorder),
    answers_in_window: u64,
    faulted: u64,
    found: u64,
    watch: Watch,
}

impl<'a> Summariser<'a> {
    /// Begins.
    ///
    /// # Errors
    /// If the manifest contradicts itself.
    pub fn new(manifest: &'a Manifest) -> Result<Self, SummaryError> {
        manifest.check().map_err(SummaryError::Manifest)?;
        let grid = Grid::new(manifest);
        let effectful = |kind: &String| manifest.effectful.contains(kind);
        let recorders = |kind| Recorders {
            effectful: effectful(kind),
            ..Recorders::default()
        };
        let interval = |index| {
            let (from_ns, to_ns) = grid.bounds(index);
            let warmup = grid.is_warmup(index);
            let (offered, answered, errors, faulted) = (0, 0, 0, 0);
            let (p50, p99) = (None, None);
            Interval {
                from_ns,
                to_ns,
                warmup,
                offered,
                answered,
                errors,
                faulted,
                p50,
                p99,
            }
        };
        Ok(Summariser {
            manifest,
            grid,
            hlog: HlogWriter::new(manifest),
            overall: Recorders {
                effectful: !manifest.effectful.is_empty(),
                ..Recorders::default()
            },
            kinds: manifest.kinds.iter().map(recorders).collect(),
            halves: Default::default(),
            timeline: (0..grid.count()).map(interval).collect(),
            current: Default::default(),
            answers_in_window: 0,
            faulted: 0,
            found: 0,
            watch: Watch::default(),
        })
    }

    /// Adds the next request of the schedule.
    ///
    /// # Errors
    /// If the record cannot be: an unknown kind, or an end before its beginning.
    pub fn push(&mut self, op: &OpRecord) -> Result<(), SummaryError> {
        let wrong = |why: String| SummaryError::Record {
            index: op.index,
            why,
        };
        let class = op.outcome.class();
        if op.index != self.found {
            return Err(wrong(format!("{} was due", self.found)));
        }
        self.found += 1;
        let Some(kind) = self.kinds.get_mut(usize::from(op.kind)) else {
            return Err(wrong(format!("there is no request kind {}", op.kind)));
        };
        let sent = !matches!(class, OutcomeClass::Shed | OutcomeClass::InFlight);
        if sent && !(op.intended_ns <= op.sent_ns && op.sent_ns <= op.done_ns) {
            return Err(wrong(format!(
                "intended at {} ns, sent at {} ns and done at {} ns is not an order",
                op.intended_ns, op.sent_ns, op.done_ns
            )));
        }
        let (from_ns, to_ns) = (self.manifest.warmup_ns, self.manifest.duration_ns);
        if op.intended_ns >= to_ns {
            return Err(wrong(format!(
                "intended at {} ns, after the end",
                op.intended_ns
            )));
        }
        let measured = op.intended_ns >= from_ns;
        kind.push(op, class, measured);
        self.overall.push(op, class, measured);
        self.watch.push(op, class, measured);
        if measured && class == OutcomeClass::Ok && kind.effectful {
            kind.settle(op);
            self.overall.settle(op);
        }
        self.faulted += u64::from(op.faults > 0);
        let answered = matches!(class, OutcomeClass::Ok | OutcomeClass::Rejected);
        let response_ns = op.done_ns.saturating_sub(op.intended_ns);
        if class != OutcomeClass::Shed {
            self.hlog
                .push(op.intended_ns, op.kind, class, response_ns)?;
        }
        if answered && (from_ns..to_ns).contains(&op.done_ns) {
            self.answers_in_window += 1;
        }
        if answered && measured {
            let middle = from_ns + (to_ns - from_ns) / 2;
            self.halves[usize::from(op.intended_ns >= middle)].ended(response_ns);
        }
        self.count_in_timeline(op, class, answered, response_ns);
        Ok(())
    }

    fn count_in_timeline(
        &mut self,
        op: &OpRecord,
        class: OutcomeClass,
        answered: bool,
        response_ns: u64,
    ) {
        let intervals = &mut self.timeline;
        if let Some(index) = self.grid.index(op.done_ns).filter(|_| answered) {
            intervals[index as usize].answered += 1;
        }
        let Some(index) = self.grid.index(op.intended_ns) else {
            return;
        };
        let index = index as usize;
        if index != self.current.0 {
            close(intervals, &self.current);
            self.current = (index, Recorder::default());
        }
        let interval = &mut intervals[index];
        interval.offered += 1;
        interval.errors += u64::from(!answered);
        interval.faulted += u64::from(op.faults > 0);
        if answered {
            self.current.1.ended(response_ns);
        } else if matches!(class, OutcomeClass::Indeterminate | OutcomeClass::InFlight) {
            self.current.1.censored(response_ns);
        }
    }

    /// Ends, with what only the whole run knows. Returns the summary and the histogram log.
    ///
    /// # Errors
    /// If requests are missing, or the work has no price.
    pub fn finish(
        mut self,
        work: &Work,
        verdict: &Verdict,
    ) -> Result<(Summary, Vec<u8>), SummaryError> {
        let manifest = self.manifest;
        if self.found != manifest.intended {
            let (intended, found) = (manifest.intended, self.found);
            return Err(SummaryError::Conservation { intended, found });
        }
        close(&mut self.timeline, &self.current);
        let overall = self.overall.measured();
        let seconds = manifest.measured_ns() as f64 / 1e9;
        let offered_per_s = overall.measured.intended as f64 / seconds;
        let achieved_per_s = self.answers_in_window as f64 / seconds;
        let requests = overall.all.answered();
        let memory_mb = manifest.memory_mb;
        let run = manifest
            .prices()?
            .cost(work, memory_mb, manifest.arch, manifest.duration_ns)?;
        let drift = |per_100_000| {
            let [first, second] = &self.halves;
            let (a, b) = (first.quantile(per_100_000)?, second.quantile(per_100_000)?);
            (a.supported && b.supported && a.value_ns > 0)
                .then(|| b.value_ns as f64 / a.value_ns as f64 - 1.0)
        };
        let (p50_drift, p99_drift) = (drift(50_000), drift(99_000));
        let named = manifest.kinds.iter().zip(&self.kinds);
        let summary = Summary {
            schema: SCHEMA,
            run_id: manifest.run_id.clone(),
            verdict: VerdictSummary::new(verdict),
            flags: flags(
                &overall,
                seconds,
                (offered_per_s, achieved_per_s),
                [("p50", p50_drift, 0.05), ("p99", p99_drift, 0.10)],
                verdict,
            ),
            offered_per_s,
            achieved_per_s,
            kinds: named
                .map(|(name, kind)| (name.clone(), kind.measured()))
                .collect(),
            overall,
            faulted: self.faulted,
            p50_drift,
            p99_drift,
            work_per_request: work_per_request(work, requests),
            transactions: work.transactions,
            visibility: self.watch.finish(),
            anomalies: Anomalies::of(verdict),
            cost: CostSummary {
                sheet: manifest.price_sheet.clone(),
                run,
                requests,
                per_million: run.per_million(requests),
            },
            timeline: self.timeline,
        };
        Ok((summary, self.hlog.finish()?))
    }
}

/// Publishes the latencies of the interval that ended.
fn close(intervals: &mut [Interval], (index, recorder): &(usize, Recorder)) {
    if let Some(interval) = intervals.get_mut(*index) {
        interval.p50 = recorder.quantile(50_000);
        interval.p99 = recorder.quantile(99_000);
    }
}

/// Achieved below this share of offered is falling behind: latencies then depend on the run's
/// length. The wobble of a short window is forgiven, see below.
const KEPT_UP: f64 = 0.98;

/// What a reader must know before believing the numbers.
fn flags(
    overall: &Measured,
    window_s: f64,
    (offered_per_s, achieved_per_s): (f64, f64),
    drifts: [(&str, Option<f64>, f64); 2],
    verdict: &Verdict,
) -> Vec<String> {
    let mut flags = Vec::new();
    let mean_s = overall.response.mean_ns.unwrap_or(0) as f64 / 1e9;
    // How many requests are under way at one time, by Little's law, wobbles by its root; at both
    // ends of a short window that alone can look like falling behind.
    let wobble_per_s = 3.0 * (2.0 * mean_s * offered_per_s).sqrt() / window_s;
    if overall.measured.answered() == 0 {
        flags.push("nothing was answered".to_string());
    } else if achieved_per_s < KEPT_UP * offered_per_s - wobble_per_s {
        flags.push(format!(
            "fell behind: {achieved_per_s:.1} of {offered_per_s:.1} requests/s were answered"
        ));
    }
    if overall.all.shed > 0 {
        flags.push(format!(
            "{} requests were not sent (shed)",
            overall.all.shed
        ));
    }
    if overall.all.in_flight > 0 {
        flags.push(format!(
            "{} requests had no end when the run ended",
            overall.all.in_flight
        ));
    }
    if overall.response.saturated > 0 {
        flags.push(format!(
            "{} responses took over ten minutes",
            overall.response.saturated
        ));
    }
    for (name, drift, bound) in drifts {
        if let Some(drift) = drift.filter(|drift| drift.abs() > bound) {
            let percent = drift * 100.0;
            flags.push(format!(
                "unsteady: {name} changed by {percent:+.0} % within the window"
            ));
        }
    }
    if let Some(stuck) = &verdict.stuck {
        flags.push(format!("never became quiet: {stuck}"));
    }
    flags
}

/// The counters that unequal work shows in.
fn work_per_request(work: &Work, requests: u64) -> BTreeMap<String, f64> {
    let mut each = BTreeMap::new();
    if requests == 0 {
        return each;
    }
    let mut add = |name: &str, amount: f64| {
        each.insert(name.to_string(), amount / requests as f64);
    };
    add("function invocations", work.invocations as f64);
    add("function cold starts", work.cold_starts as f64);
    add("function time, ms", work.function_ns as f64 / 1e6);
    add("function billed time, ms", work.billed_ms as f64);
    add("payload bytes", work.payload_bytes as f64);
    add("store calls", work.store_calls.values().sum::<u64>() as f64);
    for (name, count) in &work.store_calls {
        add(&format!("store calls: {name}"), *count as f64);
    }
    add(
        "store condition failures",
        work.store_condition_failures as f64,
    );
    add("store read units", work.read_half_units as f64 / 2.0);
    add("store write units", work.write_units as f64);
    add("store bytes in", work.store_bytes_in as f64);
    add("store bytes out", work.store_bytes_out as f64);
    add("stored bytes at the end", work.stored_bytes as f64);
    if let Some(transactions) = work.transactions.filter(|all| all.begun > 0) {
        add("transactions", transactions.begun as f64);
        add("transaction attempts", transactions.attempts as f64);
        add("transaction conflicts", transactions.conflicts as f64);
    }
    for (name, count) in &work.runtime {
        add(name, *count as f64);
    }
    each
}

/// Computes the summary of a run from its parts.
///
/// # Errors
/// If the operation log does not account for exactly the requests of the schedule, holds a record
/// that cannot be, or the work has no price.
pub fn summarise<'o>(
    manifest: &Manifest,
    ops: impl IntoIterator<Item = &'o OpRecord>,
    work: &Work,
    verdict: &Verdict,
) -> Result<Summary, SummaryError> {
    let mut summariser = Summariser::new(manifest)?;
    for op in ops {
        summariser.push(op)?;
    }
    Ok(summariser.finish(work, verdict)?.0)
}
