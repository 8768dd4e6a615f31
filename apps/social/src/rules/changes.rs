//! What is known of one edge: the follows and unfollows that may have changed it.
//!
//! A run asks about the same few edges once per post, so each question must not look at every
//! change. Changes to either value are kept twice, by their beginnings and by their ends, with
//! running maxima; every question is then a binary search, and judging `p` posts against `c` changes
//! of an edge takes `O((p + c) log c)`.

/// A follow or unfollow that may have had an effect.
#[derive(Clone, Copy)]
pub(super) struct Change {
    pub(super) index: u64,
    pub(super) sent: u64,
    /// When it surely had happened, if it was acknowledged.
    pub(super) done: Option<u64>,
    /// When its last execution ended, if that is known.
    pub(super) settled: Option<u64>,
    /// What the edge is after it.
    pub(super) there: bool,
}

/// Which values an edge may have had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Possible {
    pub(super) there: bool,
    pub(super) gone: bool,
}

impl Possible {
    pub(super) fn allows(self, there: bool) -> bool {
        match there {
            true => self.there,
            false => self.gone,
        }
    }

    pub(super) fn open(self) -> bool {
        self.there && self.gone
    }
}

/// A request that is known to have happened, by when it was sent.
type Acknowledged = (u64, u64);

/// The changes of one edge to one value.
#[derive(Default)]
struct Side {
    /// By their beginnings: when the change was sent; of those up to it, the latest end (the end of
    /// time if one was not acknowledged) and the latest end of an execution (likewise).
    by_sent: Vec<(u64, u64, u64)>,
    /// The acknowledged ones by their ends: when it had happened; of those up to it, the one that was
    /// sent last.
    by_done: Vec<(u64, Acknowledged)>,
}

impl Side {
    fn of(changes: impl Iterator<Item = Change>) -> Self {
        let mut side = Side::default();
        for change in changes {
            let (done, settled) = (change.done, change.settled);
            side.by_sent.push((
                change.sent,
                done.unwrap_or(u64::MAX),
                settled.unwrap_or(u64::MAX),
            ));
            if let Some(done) = done {
                side.by_done.push((done, (change.sent, change.index)));
            }
        }
        side.by_sent.sort_unstable();
        side.by_done.sort_unstable();
        let mut latest = (0, 0);
        for (_, done, settled) in &mut side.by_sent {
            latest = (latest.0.max(*done), latest.1.max(*settled));
            (*done, *settled) = latest;
        }
        let mut last = (0, 0);
        for (_, change) in &mut side.by_done {
            last = last.max(*change);
            *change = last;
        }
        side
    }

    /// Of the changes that were sent by an instant, the latest end and the latest end of an
    /// execution; none if there are no such changes.
    fn sent_by(&self, instant: u64) -> Option<(u64, u64)> {
        let count = self.by_sent.partition_point(|(sent, ..)| *sent <= instant);
        let (_, done, settled) = self.by_sent.get(count.checked_sub(1)?)?;
        Some((*done, *settled))
    }

    /// Of the changes that were acknowledged by an instant, the one that was sent last.
    fn done_by(&self, instant: u64) -> Option<Acknowledged> {
        let count = self.by_done.partition_point(|(done, _)| *done <= instant);
        let (_, change) = self.by_done.get(count.checked_sub(1)?)?;
        Some(*change)
    }
}

/// The changes of one edge.
#[derive(Default)]
pub(super) struct Changes {
    loaded: bool,
    first: Option<u64>,
    there: Side,
    gone: Side,
}

impl Changes {
    /// Those of an edge that was `loaded` or not.
    pub(super) fn of(loaded: bool, changes: &[Change]) -> Self {
        let to = |there| {
            let changes = changes.iter().filter(move |change| change.there == there);
            Side::of(changes.copied())
        };
        Changes {
            loaded,
            first: changes.iter().map(|change| change.index).min(),
            there: to(true),
            gone: to(false),
        }
    }

    /// The request of the first of them, in the order of the schedule.
    pub(super) fn first(&self) -> Option<u64> {
        self.first
    }

    /// What the edge may have been at any instant of an interval.
    pub(super) fn during(&self, from: u64, to: u64) -> Possible {
        // The latest beginning of what had surely happened when the interval began: what ended
        // before it came earlier for sure.
        let surely = [&self.there, &self.gone].map(|side| side.done_by(from));
        let surely = surely.into_iter().flatten().map(|(sent, _)| sent).max();
        let may = |side: &Side| {
            let latest = side.sent_by(to);
            latest.is_some_and(|(done, _)| surely.is_none_or(|surely| done >= surely))
        };
        Possible {
            there: may(&self.there) || (surely.is_none() && self.loaded),
            gone: may(&self.gone) || (surely.is_none() && !self.loaded),
        }
    }

    /// The last unfollow that was acknowledged by `from` (its request), if no follow that was sent by
    /// `to` can have had an effect after it was sent: not even one whose function was executed
    /// twice.
    pub(super) fn left(&self, from: u64, to: u64) -> Option<u64> {
        let (sent, index) = self.gone.done_by(from)?;
        let over = self.there.sent_by(to);
        over.is_none_or(|(_, settled)| settled <= sent)
            .then_some(index)
    }

    /// The last follow that was acknowledged by `from` (its request), if the edge would not surely be
    /// there by `to` without it. As with [`Changes::left`], no unfollow may have had an effect after
    /// it was sent.
    pub(super) fn joined(&self, from: u64, to: u64) -> Option<u64> {
        let (sent, index) = self.there.done_by(from)?;
        let needed = match self.gone.sent_by(to) {
            Some((_, settled)) => settled <= sent,
            None => !self.loaded,
        };
        needed.then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_api::model::Random;

    fn changes(changes: &[(u64, Option<u64>, bool)]) -> Vec<Change> {
        let change = |(index, (sent, done, there)): (u64, &(u64, Option<u64>, bool))| Change {
            index,
            sent: *sent,
            done: *done,
            settled: *done,
            there: *there,
        };
        (0..).zip(changes).map(change).collect()
    }

    fn edge(of: &[(u64, Option<u64>, bool)]) -> Changes {
        Changes::of(false, &changes(of))
    }

    const THERE: Possible = Possible {
        there: true,
        gone: false,
    };
    const GONE: Possible = Possible {
        there: false,
        gone: true,
    };
    const EITHER: Possible = Possible {
        there: true,
        gone: true,
    };

    #[test]
    fn an_edge_is_certain_between_answers_and_open_while_one_is_awaited() {
        let edge = edge(&[(10, Some(20), true), (30, Some(40), false)]);
        assert_eq!(edge.during(0, 9), GONE);
        assert_eq!(edge.during(0, 10), EITHER);
        assert_eq!(edge.during(15, 18), EITHER);
        assert_eq!(edge.during(20, 29), THERE);
        assert_eq!(edge.during(20, 30), EITHER);
        assert_eq!(edge.during(40, 99), GONE);
        assert_eq!(edge.left(39, 99), None);
        assert_eq!(edge.left(40, 99), Some(1));
        assert_eq!(edge.joined(19, 29), None);
        assert_eq!(edge.joined(20, 29), Some(0));
    }

    #[test]
    fn what_overlaps_or_has_no_answer_leaves_both_open() {
        let overlapping = edge(&[(10, Some(30), true), (20, Some(25), false)]);
        assert_eq!(overlapping.during(99, 99), EITHER);
        // An answer says nothing about a request without one, whichever was sent first.
        let lost = edge(&[(10, None, true), (20, Some(25), false)]);
        assert_eq!(lost.during(99, 99), EITHER);
        let lost = edge(&[(10, Some(15), false), (20, None, true)]);
        assert_eq!(lost.during(15, 19), GONE);
        assert_eq!(lost.during(15, 20), EITHER);
    }

    #[test]
    fn nobody_has_left_while_a_follow_may_still_be_executed() {
        let mut all = changes(&[(10, Some(20), true), (30, Some(40), false)]);
        for (settled, left) in [(Some(30), Some(1)), (Some(31), None), (None, None)] {
            all[0].settled = settled;
            assert_eq!(Changes::of(false, &all).left(50, 60), left, "{settled:?}");
        }
        // The other way round it is the same.
        let mut all = changes(&[(10, Some(20), false), (30, Some(40), true)]);
        for (settled, joined) in [(Some(30), Some(1)), (Some(31), None), (None, None)] {
            all[0].settled = settled;
            assert_eq!(
                Changes::of(true, &all).joined(50, 60),
                joined,
                "{settled:?}"
            );
        }
        // Who was loaded and only followed again would be there without that.
        let again = Changes::of(true, &changes(&[(10, Some(20), true)]));
        assert_eq!(again.joined(30, 40), None);
    }

    /// The same questions, answered by looking at every change.
    fn slowly(loaded: bool, changes: &[Change], from: u64, to: u64) -> Possible {
        let acknowledged = |change: &&Change| change.done.is_some_and(|done| done <= from);
        let surely = changes.iter().filter(acknowledged);
        let surely = surely.map(|change| change.sent).max();
        let may = changes.iter().filter(|change| {
            let before = surely
                .zip(change.done)
                .is_some_and(|(sent, done)| sent > done);
            change.sent <= to && !before
        });
        let mut possible = Possible {
            there: surely.is_none() && loaded,
            gone: surely.is_none() && !loaded,
        };
        for change in may {
            possible.there |= change.there;
            possible.gone |= !change.there;
        }
        possible
    }

    #[test]
    fn searching_finds_what_looking_at_every_change_finds() {
        let random = &mut Random::new(7);
        let mut seen = [0; 3];
        for round in 0..400 {
            let all: Vec<_> = (0..random.below(9))
                .map(|_| {
                    let sent = random.below(50);
                    let answered = random.below(6) > 0;
                    let done = answered.then(|| sent + random.below(20));
                    (sent, done, random.below(2) == 0)
                })
                .collect();
            let (loaded, all) = (random.below(2) == 0, changes(&all));
            let edge = Changes::of(loaded, &all);
            for from in 0..70 {
                let to = from + random.below(20);
                let possible = edge.during(from, to);
                assert_eq!(possible, slowly(loaded, &all, from, to), "round {round}");
                seen[usize::from(possible.there) + 2 * usize::from(possible.gone) - 1] += 1;
            }
        }
        assert!(seen.iter().all(|count| *count > 2_000), "{seen:?}");
    }

    #[test]
    fn many_posts_against_many_changes_are_no_product() {
        // Looked at one by one these would be 400 million changes.
        let all: Vec<_> = (0..20_000)
            .map(|n| (10 * n, Some(10 * n + 5), n % 2 == 0))
            .collect();
        let edge = edge(&all);
        let certain = (0..20_000).filter(|n| !edge.during(10 * n + 6, 10 * n + 9).open());
        assert_eq!(certain.count(), 20_000);
        assert_eq!(edge.left(200_000, 200_000), Some(19_999));
    }
}
