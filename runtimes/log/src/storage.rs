//! The storage: keeps records.
