//! Timestamps, and what a row has of the versions of a key.

use crate::interval::Interval;
use serde::{Deserialize, Serialize};
use triptych_api::{Name, Value};
use triptych_refreshed::Row;
use triptych_site::VALUE;

/// A time of the storage's hybrid clock: nanoseconds, or one more than the last one if no time has
/// passed. 0 is before everything.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The time before this one.
    #[must_use]
    pub fn before(self) -> Stamp {
        Stamp(self.0.saturating_sub(1))
    }
}

/// Under which a row has the timestamp of its document.
const STAMP: &str = "T";
/// Under which it has the versions before that one.
const OLDER: &str = "P";

/// Versions of a key, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    versions: Vec<(Stamp, Option<Value>)>,
    /// Whether there were older ones that are not kept.
    cut: bool,
}

/// A version, and when it is valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Valid {
    /// The document; none if there was none.
    pub value: Option<Value>,
    /// From its timestamp to where it is known to be the last one.
    pub when: Interval,
    /// Whether it is the newest one that is there.
    pub newest: bool,
}

impl History {
    /// What a row of the database has.
    ///
    /// # Errors
    /// What in it is not this system's, in words.
    pub fn of(row: Option<Row>) -> Result<Self, String> {
        let Some(mut row) = row else {
            return Ok(History::default());
        };
        let mut history = match row.remove(OLDER) {
            None => History::default(),
            Some(Value::Bytes(bytes)) => postcard::from_bytes(&bytes)
                .map_err(|error| format!("versions that cannot be read: {error}"))?,
            Some(_) => return Err("the versions are not bytes".to_owned()),
        };
        let stamp = match row.remove(STAMP) {
            None => Stamp(0),
            Some(stamp) => match stamp.as_int().and_then(|stamp| u64::try_from(stamp).ok()) {
                Some(stamp) => Stamp(stamp),
                None => return Err("the timestamp is none".to_owned()),
            },
        };
        let sorted = history.versions.windows(2).all(|two| two[0].0 > two[1].0);
        let newer = history.versions.first().is_none_or(|old| old.0 < stamp);
        if !sorted || !newer {
            return Err("the versions are not in order".to_owned());
        }
        history.versions.insert(0, (stamp, row.remove(VALUE)));
        Ok(history)
    }

    /// When the newest version is from.
    pub fn newest(&self) -> Stamp {
        self.versions.first().map_or(Stamp(0), |newest| newest.0)
    }

    /// The version that was the last one at a time, with where that is known: up to the next one, or
    /// as far as everything is known. None if it is not kept any more.
    pub fn at(&self, time: Stamp, known: Stamp) -> Option<Valid> {
        let later = self.versions.iter().take_while(|version| version.0 > time);
        let later = later.count();
        let next = later.checked_sub(1).map(|at| self.versions[at].0);
        let high = next.map_or(known, |next| known.min(next.before()));
        let (low, value) = match self.versions.get(later) {
            Some((stamp, value)) => (*stamp, value.clone()),
            None if self.cut => return None,
            None => (Stamp(0), None),
        };
        let when = Interval { low, high };
        let newest = later == 0;
        Some(Valid {
            value,
            when,
            newest,
        })
    }

    /// What a row gets that has a new version: versions are kept that were the last one at or after a
    /// time, so many at most.
    pub fn with(&self, value: Value, stamp: Stamp, since: Stamp, most: usize) -> Row {
        // A version ends where the one after it begins.
        let mut ends = stamp;
        let mut kept = 0;
        for (begins, _) in &self.versions {
            if kept == most || ends <= since {
                break;
            }
            ends = *begins;
            kept += 1;
        }
        let older = History {
            versions: self.versions[..kept].to_vec(),
            cut: self.cut || kept < self.versions.len(),
        };
        let bytes = postcard::to_stdvec(&older).unwrap_or_default();
        let stamp = i64::try_from(stamp.0).unwrap_or(i64::MAX);
        Row::from([
            (Name::from(VALUE), value),
            (Name::from(STAMP), Value::Int(stamp)),
            (Name::from(OLDER), Value::Bytes(bytes.into())),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(stamps: &[u64], since: u64, most: usize) -> History {
        let mut history = History::default();
        for &stamp in stamps {
            let value = Value::Int(stamp as i64);
            let row = history.with(value, Stamp(stamp), Stamp(since), most);
            history = History::of(Some(row)).unwrap();
        }
        history
    }

    fn seen(history: &History, time: u64, known: u64) -> Option<(Option<i64>, u64, u64)> {
        let valid = history.at(Stamp(time), Stamp(known))?;
        let value = valid.value.and_then(|value| value.as_int());
        Some((value, valid.when.low.0, valid.when.high.0))
    }

    #[test]
    fn a_version_is_valid_until_the_next_one() {
        let history = history(&[10, 20, 30], 0, 8);
        assert_eq!(seen(&history, 35, 50), Some((Some(30), 30, 50)));
        assert_eq!(seen(&history, 29, 50), Some((Some(20), 20, 29)));
        assert_eq!(seen(&history, 20, 25), Some((Some(20), 20, 25)));
        assert_eq!(seen(&history, 5, 50), Some((None, 0, 9)));
        assert_eq!(seen(&History::default(), 5, 7), Some((None, 0, 7)));
    }

    #[test]
    fn what_is_not_kept_is_not_taken_for_nothing() {
        let few = history(&[10, 20, 30, 40], 0, 2);
        assert_eq!(seen(&few, 25, 50), Some((Some(20), 20, 29)));
        assert_eq!(seen(&few, 19, 50), None);
        // Valid until 30, so who looks at 25 may still need it; not the one before.
        let young = history(&[10, 20, 30, 40], 25, 8);
        assert_eq!(seen(&young, 25, 50), Some((Some(20), 20, 29)));
        assert_eq!(seen(&young, 15, 50), None);
    }

    #[test]
    fn a_damaged_row_is_refused() {
        let row = History::default().with(Value::Int(1), Stamp(5), Stamp(0), 8);
        for (name, value) in [
            (STAMP, Value::Int(-1)),
            (STAMP, Value::str("5")),
            (OLDER, Value::Int(1)),
            (OLDER, Value::Bytes(vec![200].into())),
        ] {
            let mut row = row.clone();
            row.insert(Name::from(name), value);
            assert!(History::of(Some(row)).is_err(), "{name}");
        }
    }
}
