//! Popularity: which of n things a request is about.

use triptych_model::Random;

/// A discrete distribution over `0..n`, sampled exactly by inverting its cumulative sums. The table
/// is built with `libm`, so that every machine draws the same things.
#[derive(Clone, Debug)]
pub(crate) struct Popularity {
    /// `cumulative[i]` is the probability of drawing at most `i`; the last one is exactly 1.
    cumulative: Vec<f64>,
}

impl Popularity {
    /// Zipf's law: the k-th thing, counted from 1, has a weight of k to the power of `-exponent`.
    /// With exponent 0 all are equally likely.
    pub(crate) fn zipf(n: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=n)
            .map(|rank| {
                sum += libm::pow(rank as f64, -exponent);
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|value| *value /= sum);
        Popularity { cumulative }
    }

    /// How probable a thing is.
    pub(crate) fn share(&self, at: usize) -> f64 {
        let below = at
            .checked_sub(1)
            .map_or(0.0, |below| self.cumulative[below]);
        self.cumulative[at] - below
    }

    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let unit = random.unit();
        let drawn = self.cumulative.partition_point(|&bound| bound <= unit);
        // `unit` is below 1 and the last bound is 1, but rounding should not be trusted with an index.
        drawn.min(self.cumulative.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(popularity: &Popularity, n: usize, draws: u64) -> Vec<u64> {
        let mut random = Random::new(11);
        let mut counts = vec![0; n];
        (0..draws).for_each(|_| counts[popularity.draw(&mut random)] += 1);
        counts
    }

    #[test]
    fn a_zipf_draw_has_the_frequencies_of_its_law() {
        let (n, draws) = (1_000, 400_000);
        let counts = counts(&Popularity::zipf(n, 0.99), n, draws);
        let sum: f64 = (1..=n).map(|rank| libm::pow(rank as f64, -0.99)).sum();
        for rank in [1, 2, 3, 10, 100] {
            let expected = draws as f64 * libm::pow(rank as f64, -0.99) / sum;
            let found = counts[rank - 1] as f64;
            // Five standard deviations of a binomial count.
            assert!(
                (found - expected).abs() < 5.0 * expected.sqrt(),
                "{rank}: {found} {expected}"
            );
        }
        assert!(counts.iter().filter(|&&count| count > 0).count() > 900);
    }

    #[test]
    fn exponent_zero_is_uniform_and_one_thing_is_always_drawn() {
        let counts_of_ten = counts(&Popularity::zipf(10, 0.0), 10, 100_000);
        assert!(
            counts_of_ten
                .iter()
                .all(|count| count.abs_diff(10_000) < 500),
            "{counts_of_ten:?}"
        );
        assert_eq!(counts(&Popularity::zipf(1, 0.99), 1, 10), [10]);
    }
}
