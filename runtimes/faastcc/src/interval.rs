//! The interval in which all that a workflow has read is valid.

use crate::stamp::Stamp;
use serde::{Deserialize, Serialize};

/// See the module documentation. Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The newest version that was read is from then.
    pub low: Stamp,
    /// Up to then all versions that were read are known to be valid.
    pub high: Stamp,
}

impl Default for Interval {
    /// That of a workflow that has read nothing.
    fn default() -> Self {
        Interval {
            low: Stamp(0),
            high: Stamp(u64::MAX),
        }
    }
}

impl Interval {
    /// Where both are.
    #[must_use]
    pub fn and(self, other: Interval) -> Self {
        Interval {
            low: self.low.max(other.low),
            high: self.high.min(other.high),
        }
    }

    /// Whether there is no time in it.
    pub fn is_empty(self) -> bool {
        self.low > self.high
    }

    /// Whether there is a time in both.
    pub fn meets(self, other: Interval) -> bool {
        !self.and(other).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(low: u64, high: u64) -> Interval {
        let (low, high) = (Stamp(low), Stamp(high));
        Interval { low, high }
    }

    #[test]
    fn reads_narrow_the_interval_to_where_all_of_them_are_valid() {
        let read = Interval::default().and(of(3, 9)).and(of(5, 12));
        assert_eq!(read, of(5, 9));
        assert!(read.meets(of(9, 20)) && read.meets(of(0, 5)));
        assert!(!read.meets(of(10, 20)) && !read.meets(of(0, 4)));
        assert!(read.and(of(10, 20)).is_empty());
    }
}
