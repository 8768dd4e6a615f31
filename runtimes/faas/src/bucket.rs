//! A token bucket in virtual time: scaling rates and request quotas.

use triptych_world::{Nanos, SECOND};

/// Tokens that refill at a rate up to a capacity.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    capacity: f64,
    per_second: f64,
    tokens: f64,
    filled_at: Nanos,
}

impl Bucket {
    pub(crate) fn new(capacity: f64, per_second: f64) -> Self {
        Bucket {
            capacity,
            per_second,
            tokens: capacity,
            filled_at: 0,
        }
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, now: Nanos) -> bool {
        let passed = now.saturating_sub(self.filled_at) as f64 / SECOND as f64;
        self.filled_at = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.capacity);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(10.0, 2.0);
        let granted = (0..100).filter(|_| bucket.take(0)).count();
        assert_eq!(granted, 10);
        let granted = (1..=100u64)
            .filter(|i| bucket.take(i * SECOND / 10))
            .count();
        assert_eq!(granted, 20);
    }
}
