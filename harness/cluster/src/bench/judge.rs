//! Whether what was acknowledged is there: each record once, at its place, in an order that time
//! allows.

use super::drive::Op;
use std::collections::BTreeMap;

/// An append that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// Its number in the run.
    pub number: u64,
    /// When it was sent.
    pub sent: u64,
    /// When it was acknowledged, by the same clock.
    pub acked: u64,
    /// The place that it was told.
    pub place: u64,
}

impl Acked {
    /// Of a request that was answered with a place.
    pub fn of(op: &Op) -> Option<Acked> {
        let place = *op.result.as_ref().ok()?;
        Some(Acked {
            number: op.number,
            sent: op.sent,
            acked: op.done,
            place,
        })
    }
}

/// A record that was read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct There {
    /// Where.
    pub place: u64,
    /// Which append it comes from; none if its content is not what any append of this run sent.
    pub number: Option<u64>,
}

/// What was found. Everything but the counts of what is fine should be zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// Appends that were acknowledged.
    pub acknowledged: u64,
    /// Of them, those that were looked for.
    pub checked: u64,
    /// Records that are there though nobody knew: their append was not answered. They are allowed.
    pub unanswered_there: u64,
    /// Acknowledged and not there.
    pub lost: u64,
    /// There, but not where it was said.
    pub moved: u64,
    /// There more than once.
    pub duplicated: u64,
    /// Sent after another one was acknowledged, and ordered before it.
    pub misordered: u64,
    /// Read in another order than that of the places.
    pub unsorted: u64,
    /// There with a content that nobody sent, or of an append that was surely refused.
    pub foreign: u64,
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn kept(&self) -> bool {
        let Verdict {
            lost,
            moved,
            duplicated,
            misordered,
            unsorted,
            foreign,
            ..
        } = *self;
        lost + moved + duplicated + misordered + unsorted + foreign == 0
    }

    /// Two parts of one log together.
    #[must_use]
    pub fn and(&self, other: &Verdict) -> Verdict {
        Verdict {
            acknowledged: self.acknowledged + other.acknowledged,
            checked: self.checked + other.checked,
            unanswered_there: self.unanswered_there + other.unanswered_there,
            lost: self.lost + other.lost,
            moved: self.moved + other.moved,
            duplicated: self.duplicated + other.duplicated,
            misordered: self.misordered + other.misordered,
            unsorted: self.unsorted + other.unsorted,
            foreign: self.foreign + other.foreign,
        }
    }

    /// In words, for the line beside the numbers.
    pub fn told(&self) -> String {
        let bad = [
            ("lost", self.lost),
            ("at another place", self.moved),
            ("there twice", self.duplicated),
            ("ordered against time", self.misordered),
            ("read out of order", self.unsorted),
            ("that nobody appended", self.foreign),
        ];
        let bad: Vec<String> = bad
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        let of = match self.checked == self.acknowledged {
            true => format!("all {} acknowledged records", self.checked),
            false => format!(
                "{} of {} acknowledged records",
                self.checked, self.acknowledged
            ),
        };
        match bad.is_empty() {
            true if self.checked == 0 => "unknown: nothing was acknowledged".to_owned(),
            true => format!("kept: {of} read back, each once, at its place, in order"),
            false => format!("BROKEN: {of} read back: {}", bad.join(", ")),
        }
    }
}

/// Judges one log (or one part of it that was read back in full). `acked` is what was acknowledged
/// of it, `refused` says of an append whether it was surely not made, `there` is what was read, in
/// the order of reading.
pub fn judge(acked: &[Acked], refused: impl Fn(u64) -> bool, there: &[There]) -> Verdict {
    let mut verdict = Verdict {
        acknowledged: acked.len() as u64,
        checked: acked.len() as u64,
        ..Verdict::default()
    };
    let unsorted = there.windows(2).filter(|two| two[0].place >= two[1].place);
    verdict.unsorted = unsorted.count() as u64;

    let mut places: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for record in there {
        match record.number {
            Some(number) => places.entry(number).or_default().push(record.place),
            None => verdict.foreign += 1,
        }
    }
    for append in acked {
        let Some(places) = places.remove(&append.number) else {
            verdict.lost += 1;
            continue;
        };
        verdict.duplicated += places.len() as u64 - 1;
        verdict.moved += u64::from(!places.contains(&append.place));
    }
    for (number, places) in places {
        match refused(number) {
            true => verdict.foreign += 1,
            false => verdict.unanswered_there += 1,
        }
        verdict.duplicated += places.len() as u64 - 1;
    }

    // From the newest place down: whoever was sent after a record above was acknowledged is too low.
    let mut by_place: Vec<&Acked> = acked.iter().collect();
    by_place.sort_unstable_by_key(|append| std::cmp::Reverse(append.place));
    let mut earliest = u64::MAX;
    for append in by_place {
        verdict.misordered += u64::from(append.sent > earliest);
        earliest = earliest.min(append.acked);
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten appends, each acknowledged before the next is sent.
    fn run() -> (Vec<Acked>, Vec<There>) {
        let acked = (0..10).map(|n| Acked {
            number: n,
            sent: 10 * n,
            acked: 10 * n + 5,
            place: 100 + 2 * n,
        });
        let there = (0..10).map(|n| There {
            place: 100 + 2 * n,
            number: Some(n),
        });
        (acked.collect(), there.collect())
    }

    fn judged(change: impl FnOnce(&mut Vec<Acked>, &mut Vec<There>)) -> Verdict {
        let (mut acked, mut there) = run();
        change(&mut acked, &mut there);
        judge(&acked, |number| number == 77, &there)
    }

    #[test]
    fn a_log_that_keeps_its_promises() {
        let verdict = judged(|_, _| ());
        assert!(verdict.kept() && verdict.checked == 10, "{verdict:?}");
        assert!(verdict.told().starts_with("kept: all 10"));
        // One that was not answered may be there.
        let verdict = judged(|acked, _| acked.truncate(9));
        assert!(verdict.kept() && verdict.unanswered_there == 1);
        // Two at the same time may come in either order.
        let verdict = judged(|acked, there| {
            acked[4].acked = 56;
            acked[4].place = 110;
            acked[5].place = 108;
            (there[4].number, there[5].number) = (Some(5), Some(4));
        });
        assert!(verdict.kept(), "{verdict:?}");
        assert!(judge(&[], |_| false, &[]).told().starts_with("unknown"));
    }

    #[test]
    fn every_broken_promise_is_seen() {
        type Change = fn(&mut Vec<Acked>, &mut Vec<There>);
        let broken: [(&str, Change); 7] = [
            ("1 lost", |_, there| {
                there.retain(|one| one.number != Some(3))
            }),
            ("1 there twice", |_, there| {
                there.push(There {
                    place: 200,
                    number: Some(3),
                });
            }),
            ("1 at another place", |acked, _| acked[9].place = 119),
            ("ordered against time", |acked, there| {
                (acked[4].place, acked[5].place) = (110, 108);
                (there[4].number, there[5].number) = (Some(5), Some(4));
            }),
            ("read out of order", |_, there| there.swap(2, 3)),
            ("1 that nobody appended", |_, there| there[3].number = None),
            ("1 that nobody appended", |_, there| {
                there.push(There {
                    place: 200,
                    number: Some(77),
                });
            }),
        ];
        for (told, change) in broken {
            let verdict = judged(change);
            assert!(!verdict.kept(), "{told}");
            assert!(verdict.told().contains(told), "{told}: {}", verdict.told());
        }
    }

    #[test]
    fn verdicts_add_up() {
        let (lost, fine) = (judged(|_, there| there.truncate(9)), judged(|_, _| ()));
        let both = lost.and(&fine);
        assert_eq!((both.checked, both.lost, both.kept()), (20, 1, false));
    }
}
