//! How an operation of a function can end other than well.

use thiserror::Error;

/// The result of an operation of [`crate::Ctx`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a function has no result. Pass it on with `?`: the runtime knows what each kind means.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// A business refusal, decided by some function. It is an answer: final and logged.
    #[error("rejected: {0}")]
    Rejected(String),
    /// A conflict; the transaction had no effect and may be tried again.
    #[error("aborted: {0}")]
    Aborted(String),
    /// This execution cannot go on (a store or platform failed). It is no answer: a runtime that
    /// promises exactly-once effects will execute the instance again.
    #[error("interrupted: {0}")]
    Interrupted(String),
    /// The program is wrong: an input of the wrong shape, a value that is not what the function
    /// stored. Executing it again would not help.
    #[error("bug: {0}")]
    Bug(String),
}

impl Error {
    /// A business refusal.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Error::Rejected(reason.into())
    }
}

impl From<triptych_model::ValueError> for Error {
    fn from(error: triptych_model::ValueError) -> Self {
        Error::Bug(error.to_string())
    }
}
