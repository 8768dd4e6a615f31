//! Runs of the same cell, taken together. The run is the unit of inference: what is shown of
//! several repetitions is the median of per-run statistics with the smallest and the largest, never
//! a statistic of pooled requests.

use crate::manifest::Manifest;
use crate::price::Cost;
use crate::summary::Summary;
use std::collections::BTreeSet;
use triptych_model::Status;

/// One statistic over the repetitions of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median run's value: the lower of the middle two for an even number of runs, because the
    /// mean of two percentiles is the percentile of nothing.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many runs have the statistic.
    pub n: usize,
}

impl Spread {
    /// The spread of some values; nothing for none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let n = values.len();
        Some(Spread {
            median: values[(n - 1) / 2],
            min,
            max,
            n,
        })
    }
}

/// A latency quantile over the repetitions of a cell, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyPoint {
    /// The values.
    pub ms: Spread,
    /// Whether every run had enough samples beyond the quantile.
    pub supported: bool,
    /// Whether some run knows only a lower bound, because too few requests were answered.
    pub at_least: bool,
}

/// All repetitions of one cell of a campaign: a runtime on a profile at a rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The runtime.
    pub runtime: String,
    /// The workload profile.
    pub profile: String,
    /// The app that the profile is of.
    pub app: String,
    /// The latency profile.
    pub latency_profile: String,
    /// The price sheet.
    pub price_sheet: String,
    /// How the times are labelled, see [`Manifest::time_label`].
    pub time_label: String,
    /// Whether times are virtual.
    pub simulated: bool,
    /// The offered rate of the schedule, requests per second.
    pub rate: f64,
    /// The runs' ids.
    pub runs: Vec<String>,
    /// The median response time.
    pub p50: Option<LatencyPoint>,
    /// The 99th percentile of the response time.
    pub p99: Option<LatencyPoint>,
    /// Answers per second.
    pub achieved: Option<Spread>,
    /// US dollars per million answered requests.
    pub cost: Option<Spread>,
    /// The kinds of cost of the run with the median total.
    pub cost_parts: Option<Cost>,
    /// The worst standing over the runs, see [`crate::summary::VerdictSummary::standing`].
    pub standing: Status,
    /// Whether some run broke a promise.
    pub broken: bool,
    /// The rules that some run violated.
    pub violated: BTreeSet<String>,
    /// What is wrong with some run as a measurement.
    pub flags: BTreeSet<String>,
}

/// Groups runs by profile, latency profile, price sheet, runtime and rate, in this order. Runtimes
/// keep the order of their first appearance: the campaign's.
pub fn points<'a>(runs: impl IntoIterator<Item = (&'a Manifest, &'a Summary)>) -> Vec<Point> {
    let mut groups: Vec<Vec<(&Manifest, &Summary)>> = Vec::new();
    let key = |m: &'a Manifest| {
        (
            &m.profile,
            &m.latency_profile,
            &m.price_sheet,
            &m.runtime,
            m.rate.to_bits(),
            m.simulated,
        )
    };
    for run in runs {
        match groups
            .iter_mut()
            .find(|group| key(group[0].0) == key(run.0))
        {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    // The position of the first run with the same value stands for the value's order.
    let first = |same: &dyn Fn(&Manifest) -> bool| groups.iter().position(|g| same(g[0].0));
    let mut order: Vec<_> = groups
        .iter()
        .map(|group| {
            let m = group[0].0;
            let table = first(&|o| {
                (&o.profile, &o.latency_profile, &o.price_sheet)
                    == (&m.profile, &m.latency_profile, &m.price_sheet)
            });
            let runtime = first(&|o| o.runtime == m.runtime);
            ((table, runtime), m.rate, group)
        })
        .collect();
    order.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    order
        .into_iter()
        .map(|(_, _, group)| point(group))
        .collect()
}

fn point(group: &[(&Manifest, &Summary)]) -> Point {
    let (manifest, _) = group[0];
    let latency = |quantile: fn(&Summary) -> Option<crate::Quantile>| {
        let quantiles: Vec<_> = group.iter().filter_map(|(_, s)| quantile(s)).collect();
        Some(LatencyPoint {
            ms: Spread::of(quantiles.iter().map(|q| crate::format::ms(q.value_ns)))?,
            supported: quantiles.iter().all(|q| q.supported),
            at_least: quantiles.iter().any(|q| q.at_least),
        })
    };
    let costs = || group.iter().filter_map(|(_, s)| s.cost.per_million);
    let cost = Spread::of(costs().map(|cost| cost.total()));
    Point {
        runtime: manifest.runtime.clone(),
        profile: manifest.profile.clone(),
        app: manifest.app.clone(),
        latency_profile: manifest.latency_profile.clone(),
        price_sheet: manifest.price_sheet.clone(),
        time_label: manifest.time_label().to_string(),
        simulated: manifest.simulated,
        rate: manifest.rate,
        runs: group.iter().map(|(m, _)| m.run_id.clone()).collect(),
        p50: latency(|s| s.overall.response.p50),
        p99: latency(|s| s.overall.response.p99),
        achieved: Spread::of(group.iter().map(|(_, s)| s.achieved_per_s)),
        cost,
        cost_parts: costs().find(|parts| Some(parts.total()) == cost.map(|cost| cost.median)),
        standing: group
            .iter()
            .map(|(_, s)| s.verdict.standing)
            .max()
            .unwrap_or(Status::Unknown),
        broken: group.iter().any(|(_, s)| s.verdict.broken),
        violated: group
            .iter()
            .flat_map(|(_, s)| s.verdict.violated.iter().cloned())
            .collect(),
        flags: group
            .iter()
            .flat_map(|(_, s)| s.flags.iter().cloned())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_always_a_run_that_happened() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(
            (spread.median, spread.min, spread.max, spread.n),
            (2.0, 1.0, 4.0, 4)
        );
        assert_eq!(Spread::of([5.0, 1.0, 3.0]).unwrap().median, 3.0);
        assert_eq!(Spread::of([]), None);
    }
}
