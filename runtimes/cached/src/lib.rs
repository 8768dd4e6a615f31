//! What all cached runtimes share.
//!
//! A cached runtime keeps the app's data in cache servers beside the functions, and a causal context
//! travels with every call. Start with [`system`]: the trait that one implements.

mod points;
pub mod system;

pub use points::Points;
pub use system::{Announced, Attempt, Edit, Here, System, Told};
