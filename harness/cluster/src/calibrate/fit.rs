//! Least squares with factors that are not negative: what each thing costs, if costs add up.

/// Observations, summed up as far as least squares need them: memory does not grow with their number.
#[derive(Clone, Debug)]
pub struct Sums {
    /// The sums of products of two counts, row by row.
    products: Vec<Vec<f64>>,
    /// The sums of products of a count and the cost.
    costs: Vec<f64>,
    /// The sum of the squared costs.
    square: f64,
    /// The sum of the weights.
    weight: f64,
}

/// What was fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The cost of one of each thing.
    pub factors: Vec<f64>,
    /// The root of the mean squared difference between a cost and what the factors say.
    pub error: f64,
    /// The same, relative to the root of the mean squared cost: 0 for a fit that explains all of
    /// it, 1 for one that explains nothing.
    pub relative: f64,
}

impl Sums {
    /// No observations of so many things that may cost.
    pub fn new(things: usize) -> Self {
        Sums {
            products: vec![vec![0.0; things]; things],
            costs: vec![0.0; things],
            square: 0.0,
            weight: 0.0,
        }
    }

    /// Adds an observation: how many there were of each thing, what it all cost, and how much the
    /// observation counts.
    pub fn add(&mut self, counts: &[f64], cost: f64, weight: f64) {
        for (row, (&count, costs)) in self
            .products
            .iter_mut()
            .zip(counts.iter().zip(&mut self.costs))
        {
            for (sum, &other) in row.iter_mut().zip(counts) {
                *sum += weight * count * other;
            }
            *costs += weight * count * cost;
        }
        self.square += weight * cost * cost;
        self.weight += weight;
    }

    /// The factors that explain the costs best, none of them negative. A thing that was never there
    /// costs nothing.
    ///
    /// Each factor in turn is set to what is best for it, the others given, until nothing moves any
    /// more: the function is convex, so this finds its one minimum (or one of several that explain
    /// the costs equally well).
    pub fn fit(&self) -> Fit {
        let things = self.costs.len();
        let mut factors = vec![0.0; things];
        for _ in 0..200_000 {
            let mut moved: f64 = 0.0;
            for thing in 0..things {
                let own = self.products[thing][thing];
                if own <= 0.0 {
                    continue;
                }
                let told: f64 = self.products[thing]
                    .iter()
                    .zip(&factors)
                    .map(|(product, factor)| product * factor)
                    .sum();
                let better = (factors[thing] + (self.costs[thing] - told) / own).max(0.0);
                // In units of cost, so that things of different sizes count alike.
                moved = moved.max((better - factors[thing]).abs() * own.sqrt());
                factors[thing] = better;
            }
            if moved <= 1e-10 * self.square.sqrt() {
                break;
            }
        }
        let error = (self.squared_error(&factors) / self.weight.max(1e-300)).sqrt();
        let mean = (self.square / self.weight.max(1e-300)).sqrt();
        Fit {
            factors,
            error,
            relative: if mean > 0.0 { error / mean } else { 0.0 },
        }
    }

    fn squared_error(&self, factors: &[f64]) -> f64 {
        let rows = self.products.iter().zip(factors);
        let quadratic: f64 = rows
            .map(|(row, factor)| {
                let told = row
                    .iter()
                    .zip(factors)
                    .map(|(product, other)| product * other);
                factor * told.sum::<f64>()
            })
            .sum();
        let linear: f64 = self.costs.iter().zip(factors).map(|(a, b)| a * b).sum();
        // Rounding may take what should be nothing below it.
        (self.square - 2.0 * linear + quadratic).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_world::Random;

    #[test]
    fn exact_costs_are_found_again() {
        let truth = [900.0, 40.0, 0.5];
        let mut random = Random::new(1);
        let mut sums = Sums::new(3);
        for _ in 0..500 {
            let counts = [1.0, random.below(64) as f64, random.below(100_000) as f64];
            let cost = counts.iter().zip(truth).map(|(a, b)| a * b).sum();
            sums.add(&counts, cost, 1.0);
        }
        let fit = sums.fit();
        for (found, truth) in fit.factors.iter().zip(truth) {
            assert!((found - truth).abs() < 1e-3 * truth, "{fit:?}");
        }
        assert!(fit.relative < 1e-4, "{fit:?}");
    }

    #[test]
    fn nothing_costs_less_than_nothing() {
        // The best line has a negative slope; the best allowed one is flat.
        let mut sums = Sums::new(2);
        for (x, y) in [(0.0, 12.0), (1.0, 10.0), (2.0, 8.0)] {
            sums.add(&[1.0, x], y, 1.0);
        }
        let fit = sums.fit();
        assert!(
            (fit.factors[0] - 10.0).abs() < 1e-6 && fit.factors[1] == 0.0,
            "{fit:?}"
        );
        assert!((fit.error - (8.0f64 / 3.0).sqrt()).abs() < 1e-6, "{fit:?}");
    }

    #[test]
    fn what_was_never_there_costs_nothing() {
        let mut sums = Sums::new(2);
        sums.add(&[2.0, 0.0], 6.0, 1.0);
        assert_eq!(sums.fit().factors, [3.0, 0.0]);
        assert_eq!(Sums::new(2).fit().factors, [0.0, 0.0]);
    }
}
