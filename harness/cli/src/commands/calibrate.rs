//! `calibrate`: service times for the simulator, measured on real nodes.

use super::cluster::start_of;
use super::{read_cluster, write_file};
use crate::args::CalibrateArgs;
use crate::exit::{CliError, Exit};
use crate::interrupt;
use triptych_cluster::calibrate::{self, CalibrateError};
use triptych_cluster::file::{ClusterFile, Kind};

/// Measures, and writes the profile.
pub(crate) fn run(args: &CalibrateArgs) -> Result<Exit, CliError> {
    let mut file = match &args.file {
        Some(file) => read_cluster(file)?,
        None => ClusterFile::parse("the example", Kind::Log.example())?,
    };
    let folder = tempdir()?;
    // On ports of its own, beside whatever runs.
    file.place_anywhere()?;
    let path = folder.join("calibrate.toml");
    std::fs::write(&path, file.to_toml())?;
    let start = start_of(&path, &folder.join("data"), true)?;
    let cancel = interrupt::flag_that_says("the nodes are told to stop");
    let told = |load: &str| eprintln!("{load}");
    let measured = calibrate::calibrate(&file, &start, args.duration.0, &cancel, told);
    // What it leaves is of no use to anybody.
    let _ = std::fs::remove_dir_all(&folder);
    let profile = measured.map_err(|error| match error {
        CalibrateError::Up(error) => CliError::Up(error),
        CalibrateError::System(error) => CliError::System(error),
        other => CliError::Absent(other.to_string()),
    })?;
    let text = calibrate::to_toml(
        &profile,
        file.kind(),
        &calibrate::machine(),
        file.level_name(),
    );
    match &args.out {
        Some(out) => write_file(out, &text)?,
        None => print!("{text}"),
    }
    Ok(Exit::Kept)
}

/// A folder that nobody else uses.
fn tempdir() -> Result<std::path::PathBuf, CliError> {
    let name = format!("triptych-calibrate-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder)?;
    Ok(folder)
}
