//! Random numbers that give the same bits on every machine.
//!
//! A stream belongs to a purpose (`world.random("arrivals")`), so that a draw added in one place
//! shifts no other. A draw that belongs to an operation is keyed by it (`world.keyed(…)`) instead of
//! by order of arrival, so that two runtimes see the same luck for the same request. Everything
//! transcendental comes from `libm`, never from the platform.

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Mixes two numbers into one, well enough to seed a generator (the finaliser of SplitMix64).
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.rotate_left(25) ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Mixes a name into a number (FNV-1a, then [`mix`]).
pub fn mix_str(a: u64, name: &str) -> u64 {
    let fnv = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(a, fnv)
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random(Pcg64Mcg);

impl Random {
    /// The stream with this seed.
    pub fn new(seed: u64) -> Self {
        let state = (u128::from(mix(seed, 1)) << 64) | u128::from(mix(seed, 2));
        Random(Pcg64Mcg::from_seed(state.to_le_bytes()))
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..n`, without bias. Zero if `n` is zero.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        // Lemire's method: reject the few products that would make some results more likely.
        loop {
            let product = u128::from(self.bits()) * u128::from(n);
            if product as u64 >= n.wrapping_neg() % n {
                return (product >> 64) as u64;
            }
        }
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Whether an event of probability `p` happens.
    pub fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && self.unit() < p
    }

    /// A draw of the exponential distribution with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }

    /// A draw of the standard normal distribution (Box–Muller, one of the pair).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_moments_of_their_distributions() {
        let mut random = Random::new(7);
        let n = 200_000;
        let normals: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let mean = normals.iter().sum::<f64>() / f64::from(n);
        let variance = normals.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
        assert!(
            mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02,
            "{mean} {variance}"
        );
        let mean = (0..n).map(|_| random.exponential(4.0)).sum::<f64>() / f64::from(n);
        assert!((mean - 4.0).abs() < 0.05, "{mean}");
        let mut counts = [0u32; 5];
        (0..n).for_each(|_| counts[random.below(5) as usize] += 1);
        assert!(
            counts
                .iter()
                .all(|count| count.abs_diff(n as u32 / 5) < 1_000),
            "{counts:?}"
        );
    }

    #[test]
    fn the_first_draws_never_change() {
        let mut random = Random::new(42);
        let drawn: Vec<u64> = (0..3).map(|_| random.below(1_000_000)).collect();
        let mut again = Random::new(42);
        assert_eq!(
            drawn,
            (0..3).map(|_| again.below(1_000_000)).collect::<Vec<_>>()
        );
        assert_ne!(drawn, {
            let mut other = Random::new(43);
            (0..3).map(|_| other.below(1_000_000)).collect::<Vec<_>>()
        });
    }
}
