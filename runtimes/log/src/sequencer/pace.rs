//! When a primary cuts, and what its backups were sent.

use crate::config::Timing;
use std::collections::BTreeMap;
use triptych_nodes::{Nanos, NodeId};

/// What a primary has sent to a backup.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Follower {
    /// So many entries.
    pub(super) sent: u32,
    /// That so many are committed.
    pub(super) told: u32,
    /// When it was sent something last.
    pub(super) at: Nanos,
}

/// The rhythm of one log's primary.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// When it cut last.
    last: Option<Nanos>,
    /// When it may cut, if there is something to cut.
    due: Option<Nanos>,
    /// For when a timer was set.
    rings: Option<Nanos>,
    pub(super) followers: BTreeMap<NodeId, Follower>,
}

/// What to do about a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Cut.
    Now,
    /// Set a timer after this span; then look again.
    Wait(Nanos),
    /// A timer is set already, or there is nothing to cut.
    No,
}

impl Pace {
    pub(super) fn new(backups: impl Iterator<Item = NodeId>) -> Self {
        Pace {
            last: None,
            due: None,
            rings: None,
            followers: backups.map(|node| (node, Follower::default())).collect(),
        }
    }

    /// What to do, if there is something to cut or not.
    pub(super) fn cut(&mut self, now: Nanos, ready: bool, timing: &Timing) -> Cut {
        if !ready {
            self.due = None;
            return Cut::No;
        }
        let every = timing.cut_every;
        let due = *self.due.get_or_insert_with(|| match self.last {
            _ if timing.on_ticks && every > 0 => (now / every + 1) * every,
            Some(last) => now.max(last.saturating_add(every)),
            None => now,
        });
        if now >= due {
            self.last = Some(now);
            self.due = None;
            return Cut::Now;
        }
        // A timer that rings at another time finds nothing due and is no harm.
        if self.rings.is_some_and(|rings| rings > now && rings <= due) {
            return Cut::No;
        }
        self.rings = Some(due);
        Cut::Wait(due - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(on_ticks: bool) -> Timing {
        Timing {
            cut_every: 100,
            on_ticks,
            ..Timing::default()
        }
    }

    #[test]
    fn an_idle_log_cuts_at_once_and_a_busy_one_when_the_time_has_passed() {
        let timing = timing(false);
        let mut pace = Pace::new([].into_iter());
        assert_eq!(pace.cut(7, true, &timing), Cut::Now);
        assert_eq!(pace.cut(50, false, &timing), Cut::No);
        assert_eq!(pace.cut(60, true, &timing), Cut::Wait(47));
        assert_eq!(pace.cut(70, true, &timing), Cut::No, "one timer is enough");
        assert_eq!(pace.cut(107, true, &timing), Cut::Now);
        assert_eq!(pace.cut(500, true, &timing), Cut::Now);
    }

    #[test]
    fn with_ticks_it_cuts_at_the_next_multiple() {
        let timing = timing(true);
        let mut pace = Pace::new([].into_iter());
        assert_eq!(pace.cut(7, true, &timing), Cut::Wait(93));
        assert_eq!(pace.cut(103, true, &timing), Cut::Now, "timers may be late");
        // A cut that is outstanding at the tick makes it skip that one.
        assert_eq!(pace.cut(150, true, &timing), Cut::Wait(50));
        assert_eq!(pace.cut(180, false, &timing), Cut::No);
        assert_eq!(pace.cut(200, false, &timing), Cut::No);
        assert_eq!(pace.cut(200, true, &timing), Cut::Wait(100));
        assert_eq!(pace.cut(300, true, &timing), Cut::Now);
    }
}
