//! What can be wrong with a bundle. Every error names the file, and says whether it is missing,
//! unreadable, damaged since it was written, or of a kind that this version does not know.

use crate::price::PriceError;
use crate::summary::SummaryError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a bundle cannot be written, read or believed.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file of the bundle is not there.
    #[error("{}: missing", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: cannot be {action}: {source}", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What was tried: `read`, `written`, ...
        action: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// The file is not what was written: its digest differs, or it cannot be decoded.
    #[error("{}: damaged: {why}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// How it shows.
        why: String,
    },
    /// The file was written by another version of the suite.
    #[error("{}: schema {found} is not known; this version reads schema {known}", file.display())]
    Schema {
        /// The file.
        file: PathBuf,
        /// The schema version in the file.
        found: u32,
        /// The schema version that this code reads.
        known: u32,
    },
    /// The data offered for writing contradict themselves.
    #[error("run `{run}`: {why}")]
    Inconsistent {
        /// The run.
        run: String,
        /// What does not fit.
        why: String,
    },
    /// A bundle or campaign is in the way.
    #[error("{}: exists already{}", path.display(), if why.is_empty() { String::new() } else { format!(": {why}") })]
    Exists {
        /// What is in the way.
        path: PathBuf,
        /// Why it cannot be used as it is.
        why: String,
    },
    /// The campaign has no such run.
    #[error("the campaign has no run `{run}`")]
    UnknownRun {
        /// The run that was asked for.
        run: String,
    },
    /// The numbers cannot be summarised.
    #[error("run `{run}`: {source}")]
    Summary {
        /// The run.
        run: String,
        /// Why not.
        source: SummaryError,
    },
    /// There is no price for the work.
    #[error(transparent)]
    Price(#[from] PriceError),
}

impl BundleError {
    /// The file or folder that the error is about, where there is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            BundleError::Missing { file }
            | BundleError::Io { file, .. }
            | BundleError::Damaged { file, .. }
            | BundleError::Schema { file, .. } => Some(file),
            BundleError::Exists { path, .. } => Some(path),
            _ => None,
        }
    }

    pub(crate) fn damaged(file: &Path, why: impl ToString) -> Self {
        BundleError::Damaged {
            file: file.to_path_buf(),
            why: why.to_string(),
        }
    }

    /// Tells an absent file from one that cannot be read.
    pub(crate) fn io(file: &Path, action: &'static str, source: io::Error) -> Self {
        if action == "read" && source.kind() == io::ErrorKind::NotFound {
            BundleError::Missing {
                file: file.to_path_buf(),
            }
        } else {
            BundleError::Io {
                file: file.to_path_buf(),
                action,
                source,
            }
        }
    }
}
