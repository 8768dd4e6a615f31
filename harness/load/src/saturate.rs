//! The highest rate that a runtime carries while its 99th percentile stays under a bound.
//!
//! Deterministic: from the lowest rate the search doubles until the bound breaks, then halves the
//! gap until it is as small as asked. Steps use the first repetition's seed; the result is confirmed
//! by all repetitions, and if they do not confirm it, the search goes on below it. No faults are
//! injected: a runtime that loses what crashes would otherwise seem to carry nothing at all.

use crate::campaign::{Campaign, Cell, FaultRates, Saturation};
use crate::pool::{self, Cancel};
use crate::run::{self, RunError, Watch};
use std::sync::Arc;
use triptych_results::{Summary, Tried, summarise};

/// More requests without an answer than this share is overload, whatever the latency of the others.
const LOST: f64 = 0.02;

/// What one rate came to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Probe {
    p99_ms: Option<f64>,
    ok: bool,
}

/// Searches for one runtime on one profile. `told` hears of every rate that was tried.
///
/// # Errors
/// If a run has no result.
pub fn search(
    campaign: &Campaign,
    bounds: &Saturation,
    runtime: &str,
    profile: &str,
    cancel: &Arc<Cancel>,
    mut told: impl FnMut(&Tried),
) -> Result<triptych_results::Saturation, RunError> {
    let mut campaign = campaign.clone();
    campaign.faults = FaultRates::default();
    let campaign = &campaign;
    let seeds = campaign.seeds();
    let mut tried = Vec::new();
    let mut probe = |rate: f64, repetitions: usize| -> Result<bool, RunError> {
        let cells: Vec<Cell> = (0..)
            .zip(&seeds[..repetitions.min(seeds.len())])
            .map(|(n, seed)| Cell::new(profile, runtime, rate, n, *seed))
            .collect();
        let Probe { p99_ms, ok } = worst(campaign, bounds, &cells, cancel)?;
        let step = Tried { rate, p99_ms, ok };
        told(&step);
        tried.push(step);
        Ok(ok)
    };
    let highest_rate = bisect(bounds, seeds.len(), &mut probe)?;
    Ok(triptych_results::Saturation {
        runtime: runtime.to_owned(),
        profile: profile.to_owned(),
        bound_ms: bounds.p99_bound.0 as f64 / 1e6,
        highest_rate,
        tried,
    })
}

/// The search itself, over any probe that says whether a rate is carried.
fn bisect<E>(
    bounds: &Saturation,
    repetitions: usize,
    probe: &mut impl FnMut(f64, usize) -> Result<bool, E>,
) -> Result<Option<f64>, E> {
    // Rates are rounded to a tenth of a request per second, so that they can be named.
    let round = |rate: f64| (rate * 10.0).round() / 10.0;
    let (mut carried, mut broken) = (None, None);
    let mut rate = bounds.lowest;
    loop {
        if probe(rate, 1)? {
            carried = Some(rate);
            if rate >= bounds.highest {
                break;
            }
            rate = round(rate * 2.0).min(bounds.highest);
        } else {
            broken = Some(rate);
            break;
        }
    }
    while let (Some(low), Some(high)) = (carried, broken) {
        let middle = round((low + high) / 2.0);
        if high - low <= bounds.precision * low || middle <= low || middle >= high {
            break;
        }
        *(if probe(middle, 1)? {
            &mut carried
        } else {
            &mut broken
        }) = Some(middle);
    }
    let Some(mut found) = carried else {
        return Ok(None);
    };
    // What one seed carries another may not; then the answer is the next rate that all carry.
    while repetitions > 1 && !probe(found, repetitions)? {
        let below = round(found * (1.0 - bounds.precision));
        if below < bounds.lowest || below >= found {
            return Ok(None);
        }
        found = below;
    }
    Ok(Some(found))
}

/// The worst of several repetitions, run side by side.
fn worst(
    campaign: &Campaign,
    bounds: &Saturation,
    cells: &[Cell],
    cancel: &Arc<Cancel>,
) -> Result<Probe, RunError> {
    let watch = Watch {
        cancel: Arc::clone(cancel),
        ..Watch::default()
    };
    let work = |_: usize, cell: &Cell| -> Result<Probe, RunError> {
        let output = run::run(campaign, cell, "", &watch)?;
        let (manifest, ops) = (&output.manifest, &output.ops);
        let summary = summarise(manifest, ops, &output.work, &output.verdict)
            .map_err(|error| RunError::Panic(error.to_string()))?;
        Ok(judge(bounds, &summary))
    };
    let results = pool::each(pool::cores(), cells, cancel, work, |_, _| {});
    let mut worst = Probe {
        p99_ms: None,
        ok: true,
    };
    for result in results {
        let probe = match result {
            None => return Err(RunError::Cancelled),
            Some(Err(panic)) => return Err(RunError::Panic(panic)),
            Some(Ok(result)) => result?,
        };
        worst.ok &= probe.ok;
        worst.p99_ms = larger(worst.p99_ms, probe.p99_ms);
    }
    Ok(worst)
}

fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

fn judge(bounds: &Saturation, summary: &Summary) -> Probe {
    let p99 = summary.overall.response.p99;
    let within = p99.is_some_and(|p99| !p99.at_least && p99.value_ns <= bounds.p99_bound.0);
    let measured = &summary.overall.measured;
    let answered = measured.errors() as f64 <= LOST * measured.intended as f64;
    Probe {
        p99_ms: p99.map(|p99| p99.value_ns as f64 / 1e6),
        ok: within && answered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn found(capacity: f64, confirmed: f64, bounds: &Saturation) -> (Option<f64>, usize) {
        let mut probes = 0;
        let mut probe = |rate: f64, repetitions: usize| -> Result<bool, Infallible> {
            probes += 1;
            Ok(rate <= if repetitions > 1 { confirmed } else { capacity })
        };
        let Ok(found) = bisect(bounds, 3, &mut probe);
        (found, probes)
    }

    #[test]
    fn a_known_capacity_is_found_within_the_precision() {
        let bounds = Saturation::default();
        for capacity in [11.0, 47.3, 100.0, 733.0, 2_999.0] {
            let (rate, probes) = found(capacity, capacity, &bounds);
            let rate = rate.unwrap();
            assert!(
                rate <= capacity && rate >= capacity / 1.05 - 0.1,
                "{capacity}: {rate}"
            );
            assert!(probes < 20, "{capacity}: {probes}");
        }
    }

    #[test]
    fn the_ends_of_the_range_are_answers() {
        let bounds = Saturation::default();
        assert_eq!(found(1e9, 1e9, &bounds).0, Some(bounds.highest));
        assert_eq!(found(5.0, 5.0, &bounds).0, None);
    }

    #[test]
    fn a_result_that_is_not_confirmed_is_lowered() {
        let bounds = Saturation::default();
        let (rate, _) = found(500.0, 400.0, &bounds);
        let rate = rate.unwrap();
        assert!((300.0..=400.0).contains(&rate), "{rate}");
        assert_eq!(found(500.0, 1.0, &bounds).0, None);
    }
}
