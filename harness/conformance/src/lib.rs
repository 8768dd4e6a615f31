//! The conformance kit: what a runtime must pass for what it declares.
//!
//! [`check`] takes a runtime as the registry knows it (a [`RuntimeEntry`]: a function from a site to
//! a deployment, and what it promises) and puts small apps of its own on it, each in a simulated
//! world: random programs, concurrent clients, and one request that uses every operation, crashed
//! at every effect boundary in four ways, once, twice, and with a duplicate beside it. It needs
//! nothing of the repository but this crate, so a runtime from outside uses it as ours do.
//!
//! The [`Report`] has a line for each of [`REQUIREMENTS`]: passed, failed with a witness and how to
//! see it again, or unsupported where the runtime does not promise it. What is unsupported is tried
//! all the same, and what was seen is told as data; nothing is skipped in silence.
//!
//! A newcomer can start with [`counter`], the app that is crashed, and [`crash`], which does it.

mod bank;
mod book;
mod case;
mod counter;
mod crash;
mod meaning;
mod order;
mod outcomes;
mod report;
mod requirement;
mod stand;
mod transactions;

pub use case::{BadCase, Case, Strike};
pub use report::{Line, Report, Status};
pub use requirement::{Needs, REQUIREMENTS, Requirement};

use book::Book;
use triptych_site::RuntimeEntry;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// A few seconds: every crash point once, the rest sampled.
    Quick,
    /// A minute or two: everything, with many seeds.
    Full,
}

impl Depth {
    /// The one or the other number.
    fn of<T>(self, quick: T, full: T) -> T {
        match self {
            Depth::Quick => quick,
            Depth::Full => full,
        }
    }
}

/// Checks a runtime against all requirements. `told` hears the name of each part as it begins.
pub fn check(entry: &RuntimeEntry, depth: Depth, mut told: impl FnMut(&'static str)) -> Report {
    let mut book = Book::default();
    for (part, check) in PARTS {
        told(part);
        check(entry, depth, &mut book);
    }
    book.report(entry, &REQUIREMENTS)
}

/// Checks only what one requirement needs.
pub fn check_one(entry: &RuntimeEntry, depth: Depth, requirement: &Requirement) -> Report {
    let mut book = Book::only(requirement.name);
    let part = PARTS.iter().find(|(part, _)| *part == requirement.part);
    if let Some((_, check)) = part {
        check(entry, depth, &mut book);
    }
    book.report(entry, std::slice::from_ref(requirement))
}

/// Runs one case of crashes again, as a witness gives it, under the requirement that it is about.
///
/// # Errors
/// If the requirement is not one of those that crashes are tried for.
pub fn replay(
    entry: &RuntimeEntry,
    requirement: &Requirement,
    case: &Case,
) -> Result<Report, String> {
    let mut book = Book::default();
    crash::replay(entry, requirement, case, &mut book)?;
    Ok(book.report(entry, std::slice::from_ref(requirement)))
}

type Check = fn(&RuntimeEntry, Depth, &mut Book);

/// The parts of the kit, in the order in which they are tried: what is simple first.
const PARTS: &[(&str, Check)] = &[
    ("meaning", meaning::check),
    ("outcomes", outcomes::check),
    ("order", order::check),
    ("crashes", crash::check),
    ("transactions", transactions::check),
    ("transactions under crashes", crash::check_transactions),
];
