//! How long a write takes until others see it, from what requests published and saw.
//!
//! An app says so in its observations: that of a request which published something holds its number
//! under [`PUBLISHED`], that of one which looked for it the number that it found under [`SAW`].
//! Numbers grow; who has seen a number has seen all before it. Everything is measured at the clients,
//! so it includes the way of a look's answer, and is as fine as looks follow each other.
//!
//! * *First seen*: from the acknowledgement to the first answer of a look that shows it; zero if that
//!   was earlier.
//! * *Seen everywhere*: from the acknowledgement to the last answer that does not show it; zero if
//!   every look that was answered since does. Looks go to all hosts alike, so with many of them this
//!   is when the last host had it.

use crate::latency::{Latencies, Recorder};
use serde::{Deserialize, Serialize};
use triptych_model::{OpRecord, OutcomeClass};

/// The field of what was published.
pub const PUBLISHED: &str = "published";
/// The field of what was found.
pub const SAW: &str = "saw";

/// How long writes took until others saw them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Visibility {
    /// How many acknowledged writes of the measured window were published.
    pub published: u64,
    /// How many of them no look ever showed. They count in `first` as never ended.
    pub unseen: u64,
    /// How many answers of looks there were.
    pub looks: u64,
    /// From the acknowledgement until somebody saw it.
    pub first: Latencies,
    /// From the acknowledgement until nobody missed it any more.
    pub everywhere: Latencies,
    /// Each of them, in the order of the schedule.
    pub series: Vec<Lag>,
}

/// What became of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lag {
    /// When it was acknowledged, from the start of the load.
    pub at_ns: u64,
    /// Until it was first seen; nothing if it never was.
    pub first_ns: Option<u64>,
    /// Until nobody missed it any more.
    pub everywhere_ns: u64,
}

/// Collects what was published and seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    /// Number, acknowledgement.
    published: Vec<(i64, u64)>,
    /// Number found, answer.
    looks: Vec<(i64, u64)>,
    /// The end of the load, for what was never seen.
    end: u64,
}

impl Watch {
    /// Adds a request; `measured` if it was intended after the warm-up.
    pub(crate) fn push(&mut self, op: &OpRecord, class: OutcomeClass, measured: bool) {
        if class != OutcomeClass::Ok {
            return;
        }
        let number = |field| op.observed.get(field).and_then(|number| number.as_int());
        self.end = self.end.max(op.done_ns);
        if let Some(n) = number(PUBLISHED).filter(|_| measured) {
            self.published.push((n, op.done_ns));
        }
        if let Some(n) = number(SAW) {
            self.looks.push((n, op.done_ns));
        }
    }

    /// What came of it; nothing if nothing was published or nobody looked.
    pub(crate) fn finish(mut self) -> Option<Visibility> {
        if self.published.is_empty() || self.looks.is_empty() {
            return None;
        }
        self.looks.sort_unstable();
        // By what was found: the first answer with at least so much, and the last one with less.
        let mut first = vec![u64::MAX; self.looks.len() + 1];
        for (at, (_, done)) in self.looks.iter().enumerate().rev() {
            first[at] = first[at + 1].min(*done);
        }
        let mut last = vec![0; self.looks.len() + 1];
        for (at, (_, done)) in self.looks.iter().enumerate() {
            last[at + 1] = last[at].max(*done);
        }
        let (mut firsts, mut everywhere) = (Recorder::default(), Recorder::default());
        let mut series = Vec::with_capacity(self.published.len());
        for (n, done) in &self.published {
            let with = self.looks.partition_point(|(saw, _)| saw < n);
            let seen = Some(first[with]).filter(|first| *first < u64::MAX);
            let lag = Lag {
                at_ns: *done,
                first_ns: seen.map(|first| first.saturating_sub(*done)),
                everywhere_ns: last[with].saturating_sub(*done),
            };
            match lag.first_ns {
                Some(first) => firsts.ended(first),
                None => firsts.censored(self.end.saturating_sub(*done)),
            }
            // What nobody has seen yet is missed for longer than was looked.
            match lag.first_ns {
                Some(_) => everywhere.ended(lag.everywhere_ns),
                None => everywhere.censored(lag.everywhere_ns),
            }
            series.push(lag);
        }
        let unseen = series.iter().filter(|lag| lag.first_ns.is_none());
        Some(Visibility {
            published: self.published.len() as u64,
            unseen: unseen.count() as u64,
            looks: self.looks.len() as u64,
            first: firsts.latencies(),
            everywhere: everywhere.latencies(),
            series,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_model::{Outcome, Value};

    fn op(field: &str, n: i64, done_ns: u64) -> OpRecord {
        OpRecord {
            index: 0,
            kind: 0,
            session: 0,
            intended_ns: done_ns - 1,
            sent_ns: done_ns - 1,
            done_ns,
            settled_ns: done_ns,
            entry_ns: 1,
            outcome: Outcome::Ok,
            input: Value::Null,
            observed: Value::map([(field, Value::Int(n))]),
            faults: 0,
        }
    }

    fn finished(ops: &[(&str, i64, u64)]) -> Option<Visibility> {
        let mut watch = Watch::default();
        for (field, n, done) in ops {
            watch.push(&op(field, *n, *done), OutcomeClass::Ok, *done >= 100);
        }
        watch.finish()
    }

    #[test]
    fn lags_are_from_the_acknowledgement_to_the_first_look_and_the_last_that_missed() {
        let seen = finished(&[
            (PUBLISHED, 1, 50),
            (SAW, 0, 90),
            (PUBLISHED, 2, 100),
            (SAW, 1, 110),
            // Somebody sees it, others do not yet.
            (SAW, 2, 130),
            (SAW, 1, 150),
            (SAW, 2, 170),
            (PUBLISHED, 3, 200),
            // Before the acknowledgement, or never.
            (SAW, 3, 190),
            (SAW, 3, 210),
            (PUBLISHED, 4, 220),
        ]);
        let seen = seen.expect("something was published");
        assert_eq!((seen.published, seen.unseen, seen.looks), (3, 1, 7));
        let lags: Vec<_> = seen
            .series
            .iter()
            .map(|lag| (lag.at_ns, lag.first_ns, lag.everywhere_ns))
            .collect();
        assert_eq!(
            lags,
            [(100, Some(30), 50), (200, Some(0), 0), (220, None, 0)]
        );
        assert_eq!((seen.first.count, seen.first.censored), (2, 1));
        assert_eq!(
            (seen.everywhere.count, seen.everywhere.max_ns),
            (2, Some(50))
        );
    }

    #[test]
    fn nothing_is_told_of_runs_that_publish_nothing() {
        assert_eq!(finished(&[(SAW, 1, 100)]), None);
        assert_eq!(finished(&[(PUBLISHED, 1, 100)]), None);
        assert_eq!(finished(&[]), None);
    }
}
