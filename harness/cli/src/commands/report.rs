//! `report`: table, figures and one HTML file.

use super::Folder;
use crate::args::ReportArgs;
use crate::exit::{CliError, Exit};
use std::path::{Path, PathBuf};
use triptych_results::{Loaded, anomalies, beside, table};

/// Writes the report of a folder.
pub(crate) fn run(args: &ReportArgs) -> Result<Exit, CliError> {
    let folder = Folder::open(&args.dir)?;
    let out = args.out.clone().unwrap_or_else(|| match &folder {
        Folder::Campaign(campaign) => campaign.dir().to_path_buf(),
        // A bundle holds what was measured and nothing else.
        Folder::Bundle(bundle) => beside(bundle.dir()),
    });
    let loaded = folder.load()?;
    write(&loaded, &out)?;
    for (run, problem) in &loaded.damaged {
        eprintln!("{}: left out: {problem}", run.id);
    }
    let incomplete = !loaded.missing.is_empty() || !loaded.damaged.is_empty();
    Ok(if incomplete {
        Exit::Unknown
    } else {
        Exit::Kept
    })
}

fn beside(bundle: &Path) -> PathBuf {
    let mut name = bundle.file_name().unwrap_or_default().to_os_string();
    name.push("-report");
    bundle.with_file_name(name)
}

/// Prints the table, what was counted of anomalies, and published numbers where there are any; writes
/// figures and report, and prints where the report is.
pub(super) fn write(loaded: &Loaded, out: &Path) -> Result<(), CliError> {
    print!("{}", table::table(&loaded.points()));
    for table in anomalies::tables(loaded) {
        print!("\n{}", table.plain(anomalies::WIDTH));
    }
    for table in beside::tables(loaded) {
        print!("\n{}", table.plain(table::WIDTH));
    }
    triptych_plots::write_all(loaded, out)?;
    println!("\nreport: {}", out.join("report.html").display());
    Ok(())
}
