//! Seeded defects.

/// A seeded defect, to show that the checkers see it. Campaigns cannot ask for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// Reads do not wait until the index has come to what the reader has seen.
    ReadAhead,
    /// An entry is applied although nothing is known of some of its records, which are skipped.
    ApplyWithoutItems,
    /// The index begins each view empty.
    SkipView,
    /// A trim takes the record at its bound with it.
    TrimInclusive,
    /// The index does not care for trims.
    IgnoreTrim,
    /// Conditional appends are always taken.
    ConditionIgnored,
    /// Conditional appends are decided when they arrive, not when they are ordered.
    ConditionDecidedEarly,
    /// When a view ends, everything that is pending is appended again, although its last entries
    /// have ordered some of it.
    DiscardOrdered,
    /// Some local ids are given to two records.
    LocalIdReuse,
    /// The answer to an append says less of the metalog was seen than orders the record.
    ProgressTooLow,
    /// Conditional appends that were refused are in their streams.
    RefusedVisible,
}
