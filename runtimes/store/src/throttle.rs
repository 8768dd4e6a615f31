//! Throughput: which requests an on-demand table refuses because they come too fast.
//!
//! Two limits hold at once. A *partition* serves 3,000 read units or 1,000 write units a second, or
//! a mix of both, and saves up to 300 seconds of what it did not use; an item's partition comes
//! from the hash of its hash value. A *table* (and each index by itself) serves 4,000 write and
//! 12,000 read units a second when it is new, and later twice its highest minute of the last 30;
//! it has 4 partitions, and splits them when its limit outgrows them. A request is refused as a
//! whole, without effect, if any partition or table it touches has used up its budget. What a
//! write changes in an index counts there, so an index that is too slow holds up its table.
//!
//! What a request costs is only charged, not demanded in advance: a budget may go below zero once,
//! so that a large request is slow to be followed but never impossible. New budgets hold one
//! second's worth. Not modelled: the split of a partition because of heat.

use crate::PartitionUse;
use triptych_world::{Nanos, SECOND};

/// One partition's rate, in half read units; a write unit weighs as much as three reads.
const PARTITION_RATE: f64 = 6_000.0;
const WRITE_WEIGHT: f64 = 6.0;
/// For how many seconds a partition saves what it does not use.
const BURST_SECONDS: f64 = 300.0;
const PARTITIONS: usize = 4;
/// A new table's rates, in half read units and write units.
const READ_START: f64 = 24_000.0;
const WRITE_START: f64 = 4_000.0;
/// What one partition contributes to these.
const READ_SHARE: f64 = 6_000.0;
const WRITE_SHARE: f64 = 1_000.0;
const WINDOW: Nanos = 60 * SECOND;
const WINDOWS: usize = 30;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Nanos,
}

impl Bucket {
    fn new(rate: f64, at: Nanos) -> Self {
        Bucket { tokens: rate, at }
    }

    fn refill(&mut self, now: Nanos, rate: f64, most: f64) {
        let seconds = now.saturating_sub(self.at) as f64 / SECOND as f64;
        self.tokens = (self.tokens + rate * seconds).min(most);
        self.at = self.at.max(now);
    }
}

/// The budget of a whole table for reads or for writes, and what it learned from the past.
#[derive(Clone, Debug)]
struct Meter {
    bucket: Bucket,
    start: f64,
    window_began: Nanos,
    window_used: f64,
    /// The mean rates of the last minutes, in a ring.
    past: [f64; WINDOWS],
    next: usize,
}

impl Meter {
    fn new(start: f64, now: Nanos) -> Self {
        Meter {
            bucket: Bucket::new(start, now),
            start,
            window_began: now,
            window_used: 0.0,
            past: [0.0; WINDOWS],
            next: 0,
        }
    }

    fn rate(&self) -> f64 {
        self.past
            .iter()
            .fold(self.start, |rate, past| rate.max(2.0 * past))
    }

    /// Says whether a minute ended, so that the rate may have changed.
    fn refill(&mut self, now: Nanos) -> bool {
        let rate = self.rate();
        self.bucket.refill(now, rate, rate);
        let mut ended = 0;
        while now >= self.window_began + WINDOW {
            self.past[self.next] = self.window_used / (WINDOW / SECOND) as f64;
            self.next = (self.next + 1) % WINDOWS;
            self.window_used = 0.0;
            self.window_began += WINDOW;
            ended += 1;
            if ended > WINDOWS {
                self.window_began = now;
            }
        }
        ended > 0
    }

    fn charge(&mut self, units: f64) {
        self.bucket.tokens -= units;
        self.window_used += units;
    }
}

/// The budgets of a table or of an index.
#[derive(Clone, Debug)]
struct Group {
    reads: Meter,
    writes: Meter,
    /// Always a power of two, so that the first bits of a hash choose one.
    partitions: Vec<Bucket>,
}

impl Group {
    fn new(now: Nanos) -> Self {
        Group {
            reads: Meter::new(READ_START, now),
            writes: Meter::new(WRITE_START, now),
            partitions: vec![Bucket::new(PARTITION_RATE, now); PARTITIONS],
        }
    }

    fn partition(&mut self, hash: u64) -> &mut Bucket {
        let bits = self.partitions.len().trailing_zeros();
        &mut self.partitions[(hash >> (64 - bits)) as usize]
    }

    fn admits(&mut self, now: Nanos, one: &PartitionUse) -> bool {
        let rates_change = self.reads.refill(now) | self.writes.refill(now);
        if rates_change {
            self.split();
        }
        let bucket = self.partition(one.hash);
        bucket.refill(now, PARTITION_RATE, PARTITION_RATE * BURST_SECONDS);
        bucket.tokens > 0.0
            && (one.read_half_units == 0 || self.reads.bucket.tokens > 0.0)
            && (one.write_units == 0 || self.writes.bucket.tokens > 0.0)
    }

    fn charge(&mut self, one: &PartitionUse) {
        let (reads, writes) = (one.read_half_units as f64, one.write_units as f64);
        self.reads.charge(reads);
        self.writes.charge(writes);
        self.partition(one.hash).tokens -= reads + WRITE_WEIGHT * writes;
    }

    fn split(&mut self) {
        loop {
            let count = self.partitions.len() as f64;
            if self.reads.rate() <= READ_SHARE * count && self.writes.rate() <= WRITE_SHARE * count
            {
                return;
            }
            let halves = self.partitions.iter().flat_map(|whole| {
                let half = Bucket {
                    tokens: whole.tokens / 2.0,
                    at: whole.at,
                };
                [half, half]
            });
            self.partitions = halves.collect();
        }
    }
}

#[derive(Clone, Debug, Default)]
struct TableBudget {
    own: Option<Group>,
    indexes: Vec<Option<Group>>,
}

/// The budgets of all tables. See the module documentation.
#[derive(Clone, Debug, Default)]
pub struct Throttle {
    tables: Vec<TableBudget>,
}

impl Throttle {
    /// Every table is new when it is first used.
    pub fn new() -> Self {
        Throttle::default()
    }

    /// Charges what a request uses, unless one of its partitions or tables is over its budget.
    /// Says whether the request may happen.
    pub fn admit(&mut self, now: Nanos, uses: &[PartitionUse]) -> bool {
        if !uses.iter().all(|one| self.group(now, one).admits(now, one)) {
            return false;
        }
        for one in uses {
            self.group(now, one).charge(one);
        }
        true
    }

    fn group(&mut self, now: Nanos, one: &PartitionUse) -> &mut Group {
        if self.tables.len() <= one.table {
            self.tables.resize_with(one.table + 1, TableBudget::default);
        }
        let table = &mut self.tables[one.table];
        let group = match one.index {
            None => &mut table.own,
            Some(index) => {
                if table.indexes.len() <= index {
                    table.indexes.resize_with(index + 1, || None);
                }
                &mut table.indexes[index]
            }
        };
        group.get_or_insert_with(|| Group::new(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_world::mix;

    fn write(hash: u64) -> PartitionUse {
        PartitionUse {
            table: 0,
            index: None,
            hash,
            read_half_units: 0,
            write_units: 1,
        }
    }

    /// Tries `rate` writes a second for `seconds`; answers how many were admitted.
    fn drive(
        throttle: &mut Throttle,
        from: u64,
        seconds: u64,
        rate: u64,
        hash: impl Fn(u64) -> u64,
    ) -> u64 {
        let mut admitted = 0;
        for n in 0..rate * seconds {
            let now = from * SECOND + n * SECOND / rate;
            admitted += u64::from(throttle.admit(now, &[write(hash(n))]));
        }
        admitted
    }

    #[test]
    fn one_hot_key_gets_one_partition() {
        let mut throttle = Throttle::new();
        let admitted = drive(&mut throttle, 0, 10, 3_000, |_| 7);
        assert!((10_900..=11_100).contains(&admitted), "{admitted}");
        // After a minute of rest it may use what it saved.
        let admitted = drive(&mut throttle, 70, 10, 3_000, |_| 7);
        assert_eq!(admitted, 30_000);
    }

    #[test]
    fn a_new_table_serves_4000_writes_and_doubles_after_a_minute() {
        let mut throttle = Throttle::new();
        let spread = |n| mix(n, 99);
        let admitted = drive(&mut throttle, 0, 20, 9_000, spread);
        assert!((80_000..=85_000).contains(&admitted), "{admitted}");
        drive(&mut throttle, 20, 40, 4_000, spread);
        let admitted = drive(&mut throttle, 60, 20, 9_000, spread);
        assert!((150_000..=170_000).contains(&admitted), "{admitted}");
        // Half an hour without load makes it forget.
        let admitted = drive(&mut throttle, 3_600, 20, 9_000, spread);
        assert!((80_000..=85_000).contains(&admitted), "{admitted}");
    }

    #[test]
    fn an_index_that_is_too_slow_holds_up_its_table() {
        let mut throttle = Throttle::new();
        let mut admitted = 0;
        for n in 0..30_000 {
            let own = write(mix(n, 5));
            let entry = PartitionUse {
                index: Some(0),
                hash: 1,
                ..own
            };
            admitted += u64::from(throttle.admit(n * SECOND / 3_000, &[own, entry]));
        }
        assert!((10_900..=11_100).contains(&admitted), "{admitted}");
    }

    #[test]
    fn a_refusal_charges_nothing() {
        let mut throttle = Throttle::new();
        let heavy = PartitionUse {
            write_units: 100_000,
            ..write(0)
        };
        assert!(throttle.admit(0, &[heavy]));
        let fresh = PartitionUse {
            table: 1,
            ..write(0)
        };
        for _ in 0..10_000 {
            assert!(!throttle.admit(0, &[fresh, heavy]));
        }
        assert!(throttle.admit(0, &[fresh]));
    }
}
