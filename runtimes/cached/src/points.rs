//! The names of effects, which are crash points.

/// The names of the effects that every cached runtime has; see [`points!`](crate::points).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Points {
    /// A function is called.
    pub invoke: &'static str,
    /// An event is handed over.
    pub enqueue: &'static str,
    /// A table is read from the backing store.
    pub scan: &'static str,
}

/// The names of a runtime's effects, under its own.
#[macro_export]
macro_rules! points {
    ($name:literal) => {
        $crate::Points {
            invoke: concat!($name, ".invoke"),
            enqueue: concat!($name, ".enqueue"),
            scan: concat!($name, ".scan"),
        }
    };
}
