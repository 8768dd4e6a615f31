//! Exit statuses, and the errors that lead to them.

use std::path::PathBuf;
use std::process::ExitCode;
use triptych_cluster::node::NodeError;
use triptych_cluster::up::UpError;
use triptych_load::campaign::Mistakes;
use triptych_load::run::RunError;
use triptych_plots::PlotError;
use triptych_results::BundleError;

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All promises were kept; everything agrees.
    Kept,
    /// A promise was broken, or a published number is wrong.
    Broken,
    /// The input was bad; nothing was done.
    BadInput,
    /// Too little was seen, or something is missing.
    Unknown,
    /// The suite itself failed.
    Suite,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Kept => 0,
            Exit::Broken => 1,
            Exit::BadInput => 2,
            Exit::Unknown => 3,
            Exit::Suite => 64,
        })
    }
}

/// Why a command stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A campaign file with mistakes.
    #[error(transparent)]
    Campaign(#[from] Mistakes),
    /// A file that cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The refusal.
        source: std::io::Error,
    },
    /// A folder that cannot be written.
    #[error("the output folder {} cannot be written: {source}\nchoose another with --out DIR", dir.display())]
    Unwritable {
        /// The folder.
        dir: PathBuf,
        /// The refusal.
        source: std::io::Error,
    },
    /// Anything else that the caller got wrong.
    #[error("{0}")]
    Input(String),
    /// A bundle or campaign that cannot be used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A figure or report that cannot be made.
    #[error("the report cannot be made: {0}")]
    Plot(#[from] PlotError),
    /// A cluster that does not come up.
    #[error(transparent)]
    Up(#[from] UpError),
    /// A node that cannot run.
    #[error("{0}")]
    Node(Box<NodeError>),
    /// Something that should be there does not answer.
    #[error("{0}")]
    Absent(String),
    /// The system refuses what the suite itself needs.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// A run without a result.
    #[error("{id}: {error}")]
    Run {
        /// The run.
        id: String,
        /// Why.
        error: RunError,
    },
}

impl From<NodeError> for CliError {
    fn from(error: NodeError) -> Self {
        // Boxed because it is much larger than the others.
        CliError::Node(Box::new(error))
    }
}

impl CliError {
    /// The exit status.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            CliError::Campaign(_)
            | CliError::Unreadable { .. }
            | CliError::Unwritable { .. }
            | CliError::Input(_)
            | CliError::Bundle(_)
            | CliError::Run {
                error: RunError::Config(_),
                ..
            } => Exit::BadInput,
            CliError::Up(UpError::Address { .. } | UpError::Folder(_) | UpError::Refused(_)) => {
                Exit::BadInput
            }
            CliError::Node(error) if error.is_bad_input() => Exit::BadInput,
            CliError::Run {
                error: RunError::Cancelled,
                ..
            }
            | CliError::Up(UpError::NotReady(_) | UpError::Stopped)
            | CliError::Absent(_) => Exit::Unknown,
            CliError::Plot(_)
            | CliError::Run { .. }
            | CliError::Up(UpError::Spawn { .. })
            | CliError::Node(_)
            | CliError::System(_) => Exit::Suite,
        }
    }
}
