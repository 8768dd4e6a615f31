//! The commands, a module each, and what several of them need.

pub(crate) mod bench;
pub(crate) mod calibrate;
pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod conform;
pub(crate) mod explore;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod node;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod saturate;
pub(crate) mod selftest;
pub(crate) mod trial;
pub(crate) mod verify;

use crate::exit::{CliError, Exit};
use std::path::{Path, PathBuf};
use triptych_cluster::file::{CacheFile, ClusterFile, LogFile};
use triptych_cluster::up::folder::DataFolder;
use triptych_load::campaign::{Campaign, DEFAULT};
use triptych_results::{Loaded, RunBundle, model::Status};

/// A campaign from a file, or the default one.
fn read_campaign(file: Option<&PathBuf>) -> Result<Campaign, CliError> {
    let Some(file) = file else {
        return Ok(Campaign::parse("the default campaign", DEFAULT)?);
    };
    Ok(Campaign::parse(
        &file.display().to_string(),
        &read_text(file)?,
    )?)
}

fn read_text(file: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(file).map_err(|source| CliError::Unreadable {
        file: file.to_path_buf(),
        source,
    })
}

/// A cluster of the log from a file.
fn read_log(file: &Path) -> Result<LogFile, CliError> {
    Ok(LogFile::parse(
        &file.display().to_string(),
        &read_text(file)?,
    )?)
}

/// A ring of cache servers from a file.
fn read_cache(file: &Path) -> Result<CacheFile, CliError> {
    Ok(CacheFile::parse(
        &file.display().to_string(),
        &read_text(file)?,
    )?)
}

/// A cluster of either kind from a file.
fn read_cluster(file: &Path) -> Result<ClusterFile, CliError> {
    Ok(ClusterFile::parse(
        &file.display().to_string(),
        &read_text(file)?,
    )?)
}

/// The data folder of a cluster: the one that is named, or the file's.
fn data_of(file: &ClusterFile, named: Option<&PathBuf>) -> PathBuf {
    named
        .cloned()
        .unwrap_or_else(|| DataFolder::default_for(file))
}

/// What is in a folder that somebody names.
enum Folder {
    Campaign(triptych_results::Campaign),
    Bundle(RunBundle),
}

impl Folder {
    /// Opens a campaign or a bundle.
    fn open(dir: &Path) -> Result<Folder, CliError> {
        if dir.join(triptych_results::campaign::CAMPAIGN).exists() {
            return Ok(Folder::Campaign(triptych_results::Campaign::open(dir)?));
        }
        if dir.join(triptych_results::bundle::DIGESTS).exists() {
            return Ok(Folder::Bundle(RunBundle::open(dir)?));
        }
        let what = if dir.is_dir() {
            "is no campaign and no bundle"
        } else {
            "does not exist"
        };
        Err(CliError::Input(format!("{} {what}", dir.display())))
    }

    fn load(&self) -> Result<Loaded, CliError> {
        Ok(match self {
            Folder::Campaign(campaign) => Loaded::campaign(campaign)?,
            Folder::Bundle(bundle) => Loaded::bundle(bundle)?,
        })
    }
}

/// Writes a file that the user asked for.
fn write_file(file: &Path, text: &str) -> Result<(), CliError> {
    std::fs::write(file, text).map_err(|source| CliError::Unwritable {
        dir: file.to_path_buf(),
        source,
    })?;
    eprintln!("{} written", file.display());
    Ok(())
}

/// The exit status that a verdict on the promises comes to.
fn exit_of(status: Status) -> Exit {
    match status {
        Status::Valid => Exit::Kept,
        Status::Unknown => Exit::Unknown,
        Status::Invalid => Exit::Broken,
    }
}
