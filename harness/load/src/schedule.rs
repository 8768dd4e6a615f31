//! Arrivals: when the schedule wants each request sent, fixed before the run begins.
//!
//! The intended time of the n-th request is a pure function of (schedule, seed, n), in whole
//! nanoseconds. Nothing that happens in the run can move it, and rounding never adds up: constant
//! arrivals are divided exactly, and Poisson arrivals are summed in fixed point with 32 bits below
//! the nanosecond. Two runs with the same seed and different rates see the same arrivals, stretched.

use serde::{Deserialize, Serialize};
use triptych_model::{Random, mix_str};
use triptych_world::{Nanos, SECOND};

/// How requests are spaced.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, Default,
)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Equal gaps.
    Constant,
    /// Exponential gaps: independent clients.
    #[default]
    Poisson,
}

impl Arrivals {
    /// The word in campaign files.
    pub fn name(self) -> &'static str {
        match self {
            Arrivals::Constant => "constant",
            Arrivals::Poisson => "poisson",
        }
    }
}

/// Requests per second, exact to a millionth, so that intended times are ratios of whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

/// Parts of a request per second that [`Rate`] counts.
const PER_REQUEST: u64 = 1_000_000;

impl Rate {
    /// A rate in requests per second; nothing if it is not positive, or too large to be one.
    pub fn per_second(rate: f64) -> Option<Rate> {
        let parts = (rate * PER_REQUEST as f64).round();
        (1.0..=1e15).contains(&parts).then_some(Rate(parts as u64))
    }

    /// Requests per second.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / PER_REQUEST as f64
    }

    /// The mean gap between two requests.
    fn mean_gap_ns(self) -> f64 {
        (u128::from(SECOND) * u128::from(PER_REQUEST)) as f64 / self.0 as f64
    }
}

/// The arrivals of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// How requests are spaced.
    pub arrivals: Arrivals,
    /// How many there are per second.
    pub rate: Rate,
    /// How long they are sent.
    pub span: Nanos,
    /// For how long the rate rises from nothing, in a straight line: a platform that starts cold
    /// under the full rate is another experiment. 0 for none.
    pub ramp: Nanos,
    /// The seed of the run.
    pub seed: u64,
}

impl Schedule {
    /// The intended times, counted from the start of the load, of all requests of the run.
    pub fn times(&self) -> impl Iterator<Item = Nanos> + use<> {
        let Schedule {
            arrivals,
            rate,
            span,
            ramp,
            seed,
        } = *self;
        let mut poisson = Poisson::new(rate, seed);
        let next = move |index| match arrivals {
            Arrivals::Constant => constant(rate, index),
            Arrivals::Poisson => poisson.advance(),
        };
        (0..)
            .map(next)
            .map(move |at| ramped(at, ramp))
            .take_while(move |at| *at < span)
    }
}

/// When a request is due that would be due at `at` if the rate did not rise from nothing first.
///
/// While it rises, t²/(2·ramp) is how much of the steady schedule has passed at time t, so the
/// request is due at √(2·ramp·at); later everything is half a ramp behind.
fn ramped(at: Nanos, ramp: Nanos) -> Nanos {
    if at < ramp / 2 {
        let square = 2 * u128::from(ramp) * u128::from(at);
        u64::try_from(square.isqrt()).unwrap_or(Nanos::MAX)
    } else {
        at.saturating_add(ramp - ramp / 2)
    }
}

/// When the n-th of evenly spaced requests is due: n·10⁹ ÷ rate, rounded down once.
pub fn constant(rate: Rate, index: u64) -> Nanos {
    let numerator = u128::from(index) * u128::from(SECOND) * u128::from(PER_REQUEST);
    u64::try_from(numerator / u128::from(rate.0)).unwrap_or(Nanos::MAX)
}

/// Bits below the nanosecond in which Poisson arrivals are summed.
const FRACTION: u32 = 32;

struct Poisson {
    random: Random,
    scale: f64,
    at: u128,
}

impl Poisson {
    fn new(rate: Rate, seed: u64) -> Self {
        let scale = rate.mean_gap_ns() * (1u64 << FRACTION) as f64;
        Poisson {
            random: Random::new(mix_str(seed, "arrivals")),
            scale,
            at: 0,
        }
    }

    fn advance(&mut self) -> Nanos {
        self.at += self.random.exponential(self.scale) as u128;
        u64::try_from(self.at >> FRACTION).unwrap_or(Nanos::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(arrivals: Arrivals, rate: f64, span: Nanos, seed: u64) -> Schedule {
        Schedule {
            arrivals,
            rate: Rate::per_second(rate).unwrap(),
            span,
            ramp: 0,
            seed,
        }
    }

    #[test]
    fn a_ramp_rises_in_a_straight_line_and_ends_at_the_rate() {
        let ramp = 10 * SECOND;
        let ramped = Schedule {
            ramp,
            ..schedule(Arrivals::Constant, 1_000.0, 2 * ramp, 1)
        };
        let times: Vec<Nanos> = ramped.times().collect();
        assert!(times.is_sorted());
        let until = |at| times.iter().filter(|time| **time < at).count() as i64;
        // Half of the rate on average while it rises, a quarter of that in the first half.
        for (at, count) in [(ramp / 2, 1_250), (ramp, 5_000), (2 * ramp, 15_000)] {
            assert!((until(at) - count).abs() <= 1, "{} until {at}", until(at));
        }
    }

    proptest! {
        /// H1, against the rational number: at most 1 ns early, never late, at any index.
        #[test]
        fn constant_arrivals_never_drift(parts in 1u64..1_000_000_000_000, index in 0u64..1_000_000_001) {
            let rate = Rate(parts);
            let at = u128::from(constant(rate, index));
            let exact_times_parts = u128::from(index) * 1_000_000_000_000_000;
            prop_assume!(exact_times_parts / u128::from(parts) < u128::from(u64::MAX));
            prop_assert!(at * u128::from(parts) <= exact_times_parts);
            prop_assert!(exact_times_parts < (at + 1) * u128::from(parts));
            prop_assert!(constant(rate, index + 1) >= constant(rate, index));
        }

        #[test]
        fn the_same_seed_gives_the_same_arrivals(seed: u64, rate in 1.0f64..5_000.0) {
            let schedule = schedule(Arrivals::Poisson, rate, SECOND, seed);
            let times: Vec<Nanos> = schedule.times().collect();
            prop_assert_eq!(&times, &schedule.times().collect::<Vec<_>>());
            prop_assert!(times.is_sorted() && times.iter().all(|at| *at < SECOND));
        }
    }

    #[test]
    fn a_billionth_request_is_on_time() {
        let rate = Rate::per_second(1_000_000.0).unwrap();
        assert_eq!(constant(rate, 1_000_000_000), 1_000 * SECOND);
        let thirds = Rate::per_second(3.0).unwrap();
        assert_eq!(constant(thirds, 3_000_000_000), 1_000_000_000 * SECOND);
        assert_eq!(constant(thirds, 1), 333_333_333);
    }

    #[test]
    fn constant_arrivals_realise_their_rate_exactly() {
        let count = schedule(Arrivals::Constant, 400.0, 25 * SECOND, 1)
            .times()
            .count();
        assert_eq!(count, 10_000);
    }

    /// H2: gaps are exponential (Kolmogorov–Smirnov, p ≥ 0.01 in at least 98 of 100 seeds), and the
    /// rate that is realised is the one that was asked for, within what chance allows.
    #[test]
    fn poisson_gaps_are_exponential() {
        let (rate, n) = (1_000.0, 20_000);
        let mut good = 0;
        let mut total = 0.0;
        for seed in 0..100 {
            let schedule = schedule(Arrivals::Poisson, rate, Nanos::MAX, seed);
            let times: Vec<Nanos> = schedule.times().take(n).collect();
            total += times[n - 1] as f64 / 1e9;
            let mut last = 0;
            let mut gaps: Vec<f64> = times
                .iter()
                .map(|at| (at - std::mem::replace(&mut last, *at)) as f64 / 1e9)
                .collect();
            gaps.sort_by(f64::total_cmp);
            let distance = gaps.iter().enumerate().map(|(i, gap)| {
                let theory = 1.0 - (-gap * rate).exp();
                (theory - i as f64 / n as f64)
                    .abs()
                    .max((theory - (i + 1) as f64 / n as f64).abs())
            });
            let distance = distance.fold(0.0, f64::max);
            // Kolmogorov's distribution: P(D·√n > 1.6276) = 0.01.
            good += u32::from(distance * (n as f64).sqrt() < 1.6276);
        }
        assert!(good >= 98, "only {good} of 100 seeds look exponential");
        let realised = 100.0 * n as f64 / total;
        assert!((realised / rate - 1.0).abs() < 0.002, "{realised}");
    }

    #[test]
    fn another_rate_stretches_the_same_arrivals() {
        let slow: Vec<_> = schedule(Arrivals::Poisson, 10.0, Nanos::MAX, 5)
            .times()
            .take(100)
            .collect();
        let fast: Vec<_> = schedule(Arrivals::Poisson, 100.0, Nanos::MAX, 5)
            .times()
            .take(100)
            .collect();
        assert!(
            slow.iter()
                .zip(&fast)
                .all(|(s, f)| s.abs_diff(f * 10) <= 11)
        );
    }
}
