//! `conform`: whether a runtime keeps what it declares, requirement by requirement.

use crate::args::ConformArgs;
use crate::exit::{CliError, Exit};
use std::time::Instant;
use triptych_conformance::{Case, Depth, REQUIREMENTS, Requirement};

/// Runs the kit, or a part of it, and prints its table.
pub(crate) fn run(args: &ConformArgs) -> Result<Exit, CliError> {
    let entry = triptych_registry::runtime(&args.runtime);
    let entry = entry.map_err(|error| CliError::Input(error.to_string()))?;
    let depth = if args.full { Depth::Full } else { Depth::Quick };
    let only = args.only.as_deref().map(requirement).transpose()?;
    let begun = Instant::now();
    let report = match (only, &args.case) {
        (None, _) => triptych_conformance::check(&entry, depth, |part| eprintln!("{part} ...")),
        (Some(only), None) => triptych_conformance::check_one(&entry, depth, only),
        (Some(only), Some(case)) => {
            let case: Case = case
                .parse()
                .map_err(|error| CliError::Input(format!("{error}")))?;
            triptych_conformance::replay(&entry, only, &case).map_err(CliError::Input)?
        }
    };
    println!("{}: {}\n", entry.name, entry.about);
    print!("{report}");
    eprintln!("{:.1} s", begun.elapsed().as_secs_f64());
    Ok(match report.kept() {
        true => Exit::Kept,
        false => Exit::Broken,
    })
}

fn requirement(name: &str) -> Result<&'static Requirement, CliError> {
    Requirement::find(name).ok_or_else(|| {
        let known = REQUIREMENTS.map(|known| known.name).join(", ");
        CliError::Input(format!(
            "there is no requirement {name:?}; there are {known}"
        ))
    })
}
