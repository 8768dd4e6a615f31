//! Latency statistics: high-dynamic-range histograms, and quantiles that say how sure they are.
//!
//! Three significant digits from 1 ns to 10 minutes (127 KiB a histogram), saturation counted, the
//! maximum exact. Quantiles are never averaged and histograms are merged only by adding. A request
//! that was never answered is *censored*: it waited at least as long as the client did. It counts as
//! later than every answer, so a quantile that falls among such requests is a lower bound.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest time that a histogram tells from longer ones: ten minutes.
pub const LONGEST_NS: u64 = 600_000_000_000;
/// How many samples must lie beyond a quantile before it may stand without a caveat.
pub const SUPPORT: u64 = 100;

/// An empty histogram of the one shape that the suite uses.
pub fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are constants and valid")
}

/// Records a duration; one beyond the histogram's range is counted at its end. Returns whether
/// that happened.
pub fn record(histogram: &mut Histogram<u32>, duration_ns: u64) -> bool {
    histogram.saturating_record(duration_ns);
    duration_ns > LONGEST_NS
}

/// The value below or at which the `rank` smallest samples lie (rank from 1), as the upper end of
/// its histogram cell; nothing if there are fewer samples.
pub fn at_rank(histogram: &Histogram<u32>, rank: u64) -> Option<u64> {
    let mut seen = 0;
    for cell in histogram.iter_recorded() {
        seen += u64::from(cell.count_at_value());
        if seen >= rank {
            return Some(cell.value_iterated_to());
        }
    }
    None
}

/// A quantile with its caveats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantile {
    /// The value.
    pub value_ns: u64,
    /// Whether at least [`SUPPORT`] samples lie beyond it. Without, it is an anecdote, and must be
    /// shown as one.
    pub supported: bool,
    /// Whether the true value is only known to be at least this: so many requests were never
    /// answered that the quantile falls among them.
    pub at_least: bool,
}

/// The distribution of one kind of duration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    /// How many durations ended and are in the distribution.
    pub count: u64,
    /// How many never ended: they were given up, and count as later than all others.
    pub censored: u64,
    /// How many were longer than [`LONGEST_NS`] and are in the distribution as that.
    pub saturated: u64,
    /// The mean of those that ended, exact.
    pub mean_ns: Option<u64>,
    /// The median.
    pub p50: Option<Quantile>,
    /// The 90th percentile.
    pub p90: Option<Quantile>,
    /// The 95th percentile.
    pub p95: Option<Quantile>,
    /// The 99th percentile.
    pub p99: Option<Quantile>,
    /// The 99.9th percentile.
    pub p99_9: Option<Quantile>,
    /// The longest that ended, exact.
    pub max_ns: Option<u64>,
}

/// Collects durations.
#[derive(Clone, Debug)]
pub struct Recorder {
    ended: Histogram<u32>,
    /// Ended and censored together, the latter at the time when they were given up.
    all: Option<Box<Histogram<u32>>>,
    count: u64,
    censored: u64,
    saturated: u64,
    sum_ns: u128,
    max_ns: u64,
    longest_censored_ns: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder {
            ended: histogram(),
            all: None,
            count: 0,
            censored: 0,
            saturated: 0,
            sum_ns: 0,
            max_ns: 0,
            longest_censored_ns: 0,
        }
    }
}

impl Recorder {
    /// Adds a duration that ended.
    pub fn ended(&mut self, duration_ns: u64) {
        self.saturated += u64::from(record(&mut self.ended, duration_ns));
        if let Some(all) = &mut self.all {
            record(all, duration_ns);
        }
        self.count += 1;
        self.sum_ns += u128::from(duration_ns);
        self.max_ns = self.max_ns.max(duration_ns);
    }

    /// Adds one that was given up after `duration_ns`.
    pub fn censored(&mut self, duration_ns: u64) {
        // Most distributions have no such sample; they do without the second histogram.
        let all = self.all.get_or_insert_with(|| Box::new(self.ended.clone()));
        record(all, duration_ns);
        self.censored += 1;
        self.longest_censored_ns = self.longest_censored_ns.max(duration_ns);
    }

    /// How many ended.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The histogram of those that ended.
    pub fn histogram(&self) -> &Histogram<u32> {
        &self.ended
    }

    /// The quantile `per_100_000 / 100,000`.
    pub fn quantile(&self, per_100_000: u64) -> Option<Quantile> {
        let total = self.count + self.censored;
        let share = u128::from(total) * u128::from(per_100_000);
        let rank = (share.div_ceil(100_000) as u64).max(1);
        let beyond = (u128::from(total) * u128::from(100_000 - per_100_000) / 100_000) as u64;
        let supported = beyond >= SUPPORT;
        if rank <= self.count {
            // The end of the cell may lie beyond the largest sample, which is known exactly.
            let value_ns = at_rank(&self.ended, rank)?.min(self.max_ns);
            return Some(Quantile {
                value_ns,
                supported,
                at_least: false,
            });
        }
        // Among the censored. Every answer came sooner, and so did the smaller give-up times.
        let all = self.all.as_ref()?;
        let value_ns = at_rank(all, rank)?
            .min(self.longest_censored_ns)
            .max(self.max_ns);
        Some(Quantile {
            value_ns,
            supported,
            at_least: true,
        })
    }

    /// The distribution, as it is published.
    pub fn latencies(&self) -> Latencies {
        let ended = |value: u64| (self.count > 0).then_some(value);
        Latencies {
            count: self.count,
            censored: self.censored,
            saturated: self.saturated,
            mean_ns: ended((self.sum_ns / u128::from(self.count.max(1))) as u64),
            p50: self.quantile(50_000),
            p90: self.quantile(90_000),
            p95: self.quantile(95_000),
            p99: self.quantile(99_000),
            p99_9: self.quantile(99_900),
            max_ns: ended(self.max_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relative_error_is_a_thousandth_everywhere() {
        let mut value = 1u64;
        while value < LONGEST_NS {
            for probe in [value, value + value / 3, value * 2 - 1] {
                let mut histogram = histogram();
                record(&mut histogram, probe.min(LONGEST_NS));
                let back = at_rank(&histogram, 1).unwrap();
                let error = back.abs_diff(probe.min(LONGEST_NS)) as f64 / probe as f64;
                assert!(error <= 0.001, "{probe} came back as {back}");
            }
            value *= 2;
        }
    }

    #[test]
    fn a_histogram_fits_its_budget() {
        let cells = histogram().distinct_values();
        assert!(cells * size_of::<u32>() <= 200 << 10, "{cells}");
    }

    #[test]
    fn a_quantile_needs_a_hundred_samples_beyond_it() {
        let mut recorder = Recorder::default();
        (0..9_999).for_each(|i| recorder.ended(i * 1_000));
        assert!(!recorder.latencies().p99.unwrap().supported);
        recorder.ended(1);
        let latencies = recorder.latencies();
        assert!(latencies.p99.unwrap().supported && !latencies.p99_9.unwrap().supported);
        assert_eq!(latencies.max_ns, Some(9_998_000));
        assert_eq!(Recorder::default().latencies(), Latencies::default());
    }

    /// H13: two per cent of timeouts at 10 s must show in the 99th percentile.
    #[test]
    fn a_quantile_among_the_unanswered_is_a_lower_bound() {
        let mut recorder = Recorder::default();
        (0..9_800).for_each(|_| recorder.ended(1_000_000));
        (0..200).for_each(|_| recorder.censored(10_000_000_000));
        let latencies = recorder.latencies();
        let p95 = latencies.p95.unwrap();
        assert!(!p95.at_least && p95.value_ns == 1_000_000);
        let p99 = latencies.p99.unwrap();
        assert!(
            p99.at_least && p99.supported && p99.value_ns == 10_000_000_000,
            "{p99:?}"
        );
        assert_eq!((latencies.count, latencies.censored), (9_800, 200));
    }

    #[test]
    fn a_lower_bound_is_never_below_an_answer() {
        let mut recorder = Recorder::default();
        (0..50).for_each(|_| recorder.ended(2_000_000_000));
        (0..50).for_each(|_| recorder.censored(60_000_000));
        let latencies = recorder.latencies();
        assert!(latencies.p99.unwrap().value_ns >= latencies.p50.unwrap().value_ns);
    }

    #[test]
    fn what_is_too_long_is_counted_at_the_end() {
        let mut recorder = Recorder::default();
        recorder.ended(2 * LONGEST_NS);
        let latencies = recorder.latencies();
        assert_eq!((latencies.saturated, latencies.count), (1, 1));
        assert_eq!(latencies.max_ns, Some(2 * LONGEST_NS));
        assert!(latencies.p50.unwrap().value_ns >= LONGEST_NS);
    }
}
