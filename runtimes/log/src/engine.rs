//! The engine: appends, indexes, reads.
