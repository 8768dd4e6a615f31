//! Whether what clients were told fits what was there in the end.
//!
//! | rule | what it says (specification §15.3) |
//! |---|---|
//! | `agreement` | all engines give the same records of a logbook |
//! | `rest` | when nothing hurts it any more, the cluster works again |
//! | `whole` | a record says what was appended |
//! | `once` | no record is there twice, or at another place than its writer was told |
//! | `lost` | an acknowledged record is there, unless it was trimmed |
//! | `resurrected` | what was surely not appended, or refused, is never seen |
//! | `real-time` | who appends after another append has returned gets the greater number |
//! | `position` | records and metalog positions are in the same order |
//! | `prefix` | a read sees exactly the records up to its position: none is missing, none is from beyond |
//! | `monotonic` | a handle's position never goes back |
//! | `condition` | between a condition's bound and its record there is no other one; a refusal names one |
//! | `trim` | what is trimmed is not seen any more |

use super::history::{Appended, History, Kept, Operation, What};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use triptych_log::{BookId, EVERY, Progress, SeqNum, Tag};

/// A rule that does not hold, and what shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: &'static str,
    /// What shows it.
    pub witness: String,
}

impl Violation {
    /// A violation.
    pub fn new(rule: &'static str, witness: impl Into<String>) -> Self {
        Violation {
            rule,
            witness: witness.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.witness)
    }
}

/// How many violations of one rule are told.
const MOST: usize = 3;

/// What is known of one logbook.
struct Known<'a> {
    book: BookId,
    operations: Vec<&'a Operation>,
    /// What was there in the end.
    kept: &'a [Kept],
    /// Acknowledged appends: place, position, id, streams; by place.
    acked: BTreeMap<SeqNum, Acked<'a>>,
    /// Bounds of trims that were asked for, by stream: the highest, and of those acknowledged, with
    /// the position from which on they count.
    asked: BTreeMap<Tag, SeqNum>,
    done: Vec<(Progress, Tag, SeqNum)>,
}

struct Acked<'a> {
    id: u64,
    tags: &'a [Tag],
    progress: Progress,
    start: u64,
    end: u64,
}

struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, rule: &'static str, witness: impl FnOnce() -> String) {
        if self.0.iter().filter(|known| known.rule == rule).count() < MOST {
            self.0.push(Violation::new(rule, witness()));
        }
    }
}

/// Holds a history to the rules.
pub fn judge(history: &History) -> Vec<Violation> {
    let mut found = Findings(Vec::new());
    for seq in &history.garbled {
        found.add("whole", || {
            format!("record {seq} does not say what was appended")
        });
    }
    let books: BTreeSet<BookId> = history.finals.iter().map(|(_, book, _)| *book).collect();
    for book in books {
        let finals = history.finals.iter().filter(|(_, of, _)| *of == book);
        let mut finals = finals.map(|(engine, _, kept)| (engine, kept));
        let Some((first, kept)) = finals.next() else {
            continue;
        };
        for (engine, other) in finals {
            if let Some(why) = difference(kept, other) {
                found.add("agreement", || {
                    format!("book {book}, {first} and {engine}: {why}")
                });
            }
        }
        let known = Known::new(book, history, kept);
        known.once(&mut found);
        known.lost(&mut found);
        known.order(&mut found);
        known.conditions(&mut found);
        known.reads(&mut found);
    }
    found.0
}

fn difference(one: &[Kept], other: &[Kept]) -> Option<String> {
    if one == other {
        return None;
    }
    let at = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let tell = |kept: Option<&Kept>| {
        kept.map_or("the end".to_owned(), |kept| {
            format!("{} ({:x})", kept.seq, kept.id)
        })
    };
    let (a, b) = (tell(one.get(at)), tell(other.get(at)));
    Some(format!("record {at} is {a} here and {b} there"))
}

impl<'a> Known<'a> {
    fn new(book: BookId, history: &'a History, kept: &'a [Kept]) -> Self {
        let all = history.operations.iter();
        let operations: Vec<&Operation> = all.filter(|op| op.book == book).collect();
        let (mut acked, mut asked, mut done) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for op in &operations {
            match &op.what {
                What::Append {
                    id,
                    tags,
                    outcome: Appended::At(seq),
                    ..
                } => {
                    let progress = op.seen;
                    let (id, start, end) = (*id, op.start, op.end);
                    acked.insert(
                        *seq,
                        Acked {
                            id,
                            tags,
                            progress,
                            start,
                            end,
                        },
                    );
                }
                What::Trim {
                    streams,
                    done: acknowledged,
                } => {
                    for &(tag, bound) in streams {
                        let most = asked.entry(tag).or_insert(SeqNum::ZERO);
                        *most = bound.max(*most);
                        if *acknowledged {
                            done.push((op.seen, tag, bound));
                        }
                    }
                }
                _ => {}
            }
        }
        Known {
            book,
            operations,
            kept,
            acked,
            asked,
            done,
        }
    }

    /// Whether the record may have been trimmed from a stream by any trim that was asked for.
    fn perhaps_trimmed(&self, seq: SeqNum, tag: Tag, tags: &[Tag]) -> bool {
        let below = |tag: &Tag| self.asked.get(tag).is_some_and(|&bound| seq < bound);
        match tag {
            EVERY => below(&EVERY) || !tags.is_empty() && tags.iter().all(below),
            _ => below(&EVERY) || below(&tag),
        }
    }

    /// Whether whoever has seen so much must not find the record in the stream any more.
    fn surely_trimmed(&self, seq: SeqNum, tag: Tag, tags: &[Tag], seen: Progress) -> bool {
        let below = |tag: Tag| {
            let mut done = self.done.iter();
            done.any(|&(from, of, bound)| from <= seen && of == tag && seq < bound)
        };
        match tag {
            EVERY => below(EVERY) || !tags.is_empty() && tags.iter().all(|&tag| below(tag)),
            _ => below(EVERY) || below(tag),
        }
    }

    fn once(&self, found: &mut Findings) {
        let mut places: BTreeMap<u64, SeqNum> = BTreeMap::new();
        let known = self.kept.iter().filter(|kept| kept.id != u64::MAX);
        for kept in known {
            if let Some(other) = places.insert(kept.id, kept.seq) {
                found.add("once", || {
                    format!("record {:x} is at {other} and at {}", kept.id, kept.seq)
                });
            }
        }
        for (seq, acked) in &self.acked {
            if let Some(place) = places.get(&acked.id).filter(|place| *place != seq) {
                found.add("once", || {
                    format!(
                        "record {:x} was said to be at {seq} and is at {place}",
                        acked.id
                    )
                });
            }
        }
        for op in &self.operations {
            let What::Append { id, outcome, .. } = &op.what else {
                continue;
            };
            let place = places.get(id);
            if let (Appended::Never | Appended::Refused(_), Some(place)) = (outcome, place) {
                found.add("resurrected", || {
                    format!("record {id:x} is at {place}, although its writer was told {outcome:?}")
                });
            }
        }
    }

    fn lost(&self, found: &mut Findings) {
        let end = Progress {
            view: u16::MAX,
            entries: 0,
        };
        let still = self
            .kept
            .iter()
            .filter(|kept| self.surely_trimmed(kept.seq, EVERY, &kept.tags, end));
        still.for_each(|kept| {
            found.add("trim", || format!("{} is still there in the end", kept.seq));
        });
        let kept: BTreeMap<SeqNum, &Kept> = self.kept.iter().map(|kept| (kept.seq, kept)).collect();
        for (&seq, acked) in &self.acked {
            match kept.get(&seq) {
                Some(kept) if kept.id == acked.id && kept.tags == acked.tags => {}
                Some(kept) => found.add("lost", || {
                    format!("at {seq} is {:x}, not {:x}", kept.id, acked.id)
                }),
                None if self.perhaps_trimmed(seq, EVERY, acked.tags) => {}
                None => found.add("lost", || {
                    format!(
                        "record {:x} of book {} at {seq} is gone",
                        acked.id, self.book
                    )
                }),
            }
        }
    }

    fn order(&self, found: &mut Findings) {
        // By place, positions must not fall, and nobody may have ended before an earlier one began.
        let mut last: Option<(SeqNum, Progress)> = None;
        for (&seq, acked) in &self.acked {
            if let Some((before, progress)) = last.filter(|(_, p)| *p > acked.progress) {
                found.add("position", || {
                    format!(
                        "{before} is at {progress:?} and {seq} at {:?}",
                        acked.progress
                    )
                });
            }
            last = Some((seq, acked.progress));
        }
        let mut soonest: Option<(u64, SeqNum)> = None;
        for (&seq, acked) in self.acked.iter().rev() {
            if let Some((end, later)) = soonest.filter(|&(end, _)| end < acked.start) {
                found.add("real-time", || {
                    format!(
                        "{later} was acknowledged at {end} ns, before the append of {seq} began at {} ns",
                        acked.start
                    )
                });
            }
            if soonest.is_none_or(|(end, _)| acked.end < end) {
                soonest = Some((acked.end, seq));
            }
        }
    }

    fn conditions(&self, found: &mut Findings) {
        for kept in self.kept {
            let Some(condition) = kept.condition else {
                continue;
            };
            let between = self.kept.iter().find(|other| {
                condition.tail < other.seq
                    && other.seq < kept.seq
                    && (condition.tag == EVERY || other.tags.contains(&condition.tag))
            });
            if let Some(other) = between {
                found.add("condition", || {
                    format!(
                        "{} asked for nothing after {} in its stream, but there is {}",
                        kept.seq, condition.tail, other.seq
                    )
                });
            }
        }
        for op in &self.operations {
            let What::Append {
                condition: Some(condition),
                outcome: Appended::Refused(tail),
                ..
            } = &op.what
            else {
                continue;
            };
            // What was trimmed cannot be named.
            let trimmed =
                self.asked.contains_key(&condition.tag) || self.asked.contains_key(&EVERY);
            if *tail <= condition.tail && !trimmed {
                found.add("condition", || {
                    format!(
                        "an append was refused because of {tail}, but asked for {}",
                        condition.tail
                    )
                });
            }
        }
    }

    fn reads(&self, found: &mut Findings) {
        for op in &self.operations {
            if op.seen < op.asked {
                found.add("monotonic", || {
                    format!("from {:?} to {:?}", op.asked, op.seen)
                });
            }
            if let What::Read {
                tag,
                bound,
                ascending,
                limit,
                found: records,
            } = &op.what
            {
                self.read(
                    op,
                    *tag,
                    *bound,
                    *ascending,
                    usize::from(*limit),
                    records,
                    found,
                );
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a read")]
    fn read(
        &self,
        op: &Operation,
        tag: Tag,
        bound: SeqNum,
        ascending: bool,
        limit: usize,
        records: &[(SeqNum, u64)],
        found: &mut Findings,
    ) {
        let reader = || format!("client {} at {} ns", op.client, op.end);
        for &(seq, id) in records {
            let known = self.acked.get(&seq);
            if known.is_some_and(|acked| acked.id != id) {
                found.add("once", || format!("{} saw {id:x} at {seq}", reader()));
            }
            if known.is_some_and(|acked| acked.progress > op.seen) {
                found.add("prefix", || {
                    format!("{} saw {seq}, which is beyond {:?}", reader(), op.seen)
                });
            }
            let fits = if ascending {
                seq >= bound
            } else {
                seq <= bound
            };
            let of_stream = tag == EVERY || known.is_none_or(|acked| acked.tags.contains(&tag));
            if !fits || !of_stream {
                found.add("prefix", || {
                    format!("{} saw {seq}, which it did not ask for", reader())
                });
            }
            let tags = known.map_or(&[][..], |acked| acked.tags);
            if self.surely_trimmed(seq, tag, tags, op.asked) {
                found.add("trim", || {
                    format!(
                        "{} saw {seq} in stream {tag}, but had seen it trimmed",
                        reader()
                    )
                });
            }
        }
        // What must have been seen: all that is known to be at or before the read's position, in the
        // part of the stream that the read has covered.
        let full = records.len() >= limit;
        let last = records.last().map(|&(seq, _)| seq);
        let covered = |seq: SeqNum| match (ascending, full, last) {
            (true, true, Some(last)) => bound <= seq && seq <= last,
            (true, ..) => bound <= seq,
            (false, _, Some(last)) => last <= seq && seq <= bound,
            (false, _, None) => seq <= bound,
        };
        let all = self.acked.iter();
        let due = all.filter(|(_, acked)| acked.progress <= op.seen);
        for (&seq, acked) in due {
            let of_stream = tag == EVERY || acked.tags.contains(&tag);
            let seen = records.iter().any(|&(at, _)| at == seq);
            if of_stream && covered(seq) && !seen && !self.perhaps_trimmed(seq, tag, acked.tags) {
                found.add("prefix", || {
                    format!(
                        "{} did not see {seq} (at {:?}) in stream {tag} from {bound} at {:?}: it saw {records:?}",
                        reader(), acked.progress, op.seen
                    )
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
