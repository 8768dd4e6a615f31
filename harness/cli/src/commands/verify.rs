//! `verify`: every number again from the raw data, and the verdict again from the rules.

use super::Folder;
use crate::args::VerifyArgs;
use crate::exit::{CliError, Exit};
use std::path::{Path, PathBuf};
use triptych_load::run::rejudge;
use triptych_results::model::history::History;
use triptych_results::model::{OpRecord, State, Verdict};
use triptych_results::{Manifest, RunBundle};

/// Verifies a bundle or all bundles of a campaign.
pub(crate) fn run(args: &VerifyArgs) -> Result<Exit, CliError> {
    let (bundles, missing): (Vec<PathBuf>, Vec<String>) = match Folder::open(&args.dir)? {
        Folder::Bundle(bundle) => (vec![bundle.dir().to_path_buf()], Vec::new()),
        Folder::Campaign(campaign) => {
            let folder = |id: &String| campaign.runs_dir().join(id);
            let complete = campaign.complete().map(|run| folder(&run.id)).collect();
            (
                complete,
                campaign.missing().map(|run| run.id.clone()).collect(),
            )
        }
    };
    let mut wrong = 0;
    for dir in &bundles {
        let report = verify(dir)?;
        wrong += usize::from(!report.is_ok());
        print!("{report}");
    }
    for run in &missing {
        println!("{run}: missing");
    }
    let (all, absent) = (bundles.len(), missing.len());
    println!(
        "{} of {all} bundles verified, {absent} runs missing",
        all - wrong
    );
    Ok(match (wrong, absent) {
        (0, 0) => Exit::Kept,
        (0, _) => Exit::Unknown,
        _ => Exit::Broken,
    })
}

fn verify(dir: &Path) -> Result<triptych_results::VerifyReport, CliError> {
    // A bundle of a runtime that this build does not have can be recomputed but not judged.
    let manifest = RunBundle::open(dir).and_then(|bundle| bundle.manifest());
    let known = manifest.is_ok_and(|manifest| {
        let nothing = State::default();
        rejudge(&manifest, &[], &nothing, None).is_ok()
    });
    let judge = |manifest: &Manifest,
                 ops: &[OpRecord],
                 state: &State,
                 history: Option<&History>|
     -> Verdict { rejudge(manifest, ops, state, history).unwrap_or_default() };
    let judge: Option<&triptych_results::Judge<'_>> = if known { Some(&judge) } else { None };
    Ok(triptych_results::verify(dir, judge)?)
}
