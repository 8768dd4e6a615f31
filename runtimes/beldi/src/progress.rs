//! How long the oldest transaction can take.
//!
//! Under wait-die with a place in the queue ([`crate::lock`]), the oldest live transaction makes
//! progress whatever the others do. A transaction is as old as its instance, so an instance is live
//! from the moment it is recorded until it is done, even before it begins its transaction: one that
//! crashed early may come with an older birth than those that have long begun. Let `n` be live at
//! most and contend for `m` keys, `k` be the keys that one locks, and `alone` the longest time that
//! one takes if it never waits for a lock, crashes included:
//!
//! * A crashed execution is started again once its intent is older than `restart_after`, by the next
//!   pass of the collector. So `alone` is one execution's time for each execution, and between two of
//!   them that time, `restart_after + collector_period`.
//! * Nobody is older, so it never dies, and it waits for one holder per key. Its claim applies whoever
//!   holds the lock by then, or nobody, and from then on the next one to take the lock is itself. A
//!   claim misses only if the row is full; then it is made in the next row, at once, without a pause.
//! * That holder is younger. It has a key already, so it waits for `k - 1` at most, each time for one
//!   holder that is younger still, or dies and releases. Those who wait for each other are all live and
//!   have a key each, so this goes `d = min(n - 1, m)` deep: `hold(1) = alone`,
//!   `hold(d) = alone + (k - 1) (hold(d - 1) + pause)`. `pause` is how long a lock that was given back
//!   may stay unnoticed.
//! * An attempt of the oldest is therefore over after `attempt = alone + k (hold(d) + pause)`. The
//!   attempt in which it became the oldest may be lost already, because somebody older was in its way
//!   before. Then it backs off, and the next one commits (or is refused by the app).
//!
//! So it is over within `2 attempt + back-off`. A young transaction becomes the oldest when those
//! before it are over, so nobody starves.

use crate::Config;
use crate::tx::{LOCK_PAUSE, RETRY_PAUSE};
use triptych_world::Nanos;

/// What transactions there are to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contention {
    /// How many transactions are live at the same time, at most: instances that are recorded and not
    /// done, whether they have begun theirs or still may.
    pub live: u32,
    /// How many keys there are that more than one of them wants, at most.
    pub contended: u32,
    /// How many keys a transaction locks, at most.
    pub keys: u32,
    /// How long an execution of a transaction takes at most, from its instance's start to the end of
    /// its commit, if it neither waits for a lock nor crashes.
    pub work: Nanos,
    /// How often executions of one transaction crash or run out of time, at most.
    pub crashes: u32,
}

impl Config {
    /// Within what time the oldest transaction of all that are live is over (see the module). The
    /// largest number if that is too long to tell.
    pub fn oldest_is_over_within(&self, contention: Contention) -> Nanos {
        let Contention {
            live,
            contended,
            keys,
            work,
            crashes,
        } = contention;
        let (keys, crashes) = (Nanos::from(keys), Nanos::from(crashes));
        let recovery = self.restart_after.saturating_add(self.collector_period);
        let alone = work
            .saturating_mul(crashes.saturating_add(1))
            .saturating_add(recovery.saturating_mul(crashes));
        let waiting = |keys: Nanos, hold: Nanos| {
            let one = hold.saturating_add(LOCK_PAUSE);
            alone.saturating_add(keys.saturating_mul(one))
        };
        let attempt = match live.saturating_sub(1).min(contended) {
            0 => alone,
            deep => {
                let mut hold = alone;
                for _ in 1..deep {
                    let next = waiting(keys.saturating_sub(1), hold);
                    if next == hold {
                        break;
                    }
                    hold = next;
                }
                waiting(keys, hold)
            }
        };
        attempt.saturating_mul(2).saturating_add(RETRY_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_world::SECOND;

    fn within(live: u32, contended: u32, keys: u32, crashes: u32) -> Nanos {
        let config = Config::paper(60 * SECOND, 50 * SECOND);
        let within = config.oldest_is_over_within(Contention {
            live,
            contended,
            keys,
            work: SECOND,
            crashes,
        });
        within - RETRY_PAUSE
    }

    #[test]
    fn the_bound_counts_holders_and_recoveries() {
        assert_eq!(within(1, 9, 5, 0), 2 * SECOND);
        assert_eq!(within(9, 0, 5, 0), 2 * SECOND);
        // One key: nobody who holds it waits, however many there are.
        assert_eq!(within(2, 9, 1, 0), 2 * (2 * SECOND + LOCK_PAUSE));
        assert_eq!(within(1_000_000, 9, 1, 0), within(2, 9, 1, 0));
        // Two keys: each in the chain waits for the next one once, the oldest twice.
        let hold = |deep: u64| deep * SECOND + (deep - 1) * LOCK_PAUSE;
        let chain = 2 * (SECOND + 2 * (hold(4) + LOCK_PAUSE));
        assert_eq!(within(5, 9, 2, 0), chain);
        // Everybody in it has a key.
        assert_eq!(within(9, 4, 2, 0), chain);
        // A crash costs the work a second time and one recovery.
        assert_eq!(within(1, 1, 1, 1), 2 * (2 * SECOND + 110 * SECOND));
        // Too many to tell.
        assert_eq!(within(1_000, 1_000, 9, 0), Nanos::MAX - RETRY_PAUSE);
    }
}
