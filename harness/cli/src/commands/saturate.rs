//! `saturate`: how much a runtime carries within a latency bound.

use super::read_campaign;
use crate::args::SaturateArgs;
use crate::exit::{CliError, Exit};
use crate::interrupt;
use std::sync::Arc;
use triptych_load::campaign::Campaign;
use triptych_load::pool::Cancel;
use triptych_load::saturate;
use triptych_results::Saturation;

/// Searches and prints one line per runtime and profile.
pub(crate) fn run(args: &SaturateArgs) -> Result<Exit, CliError> {
    let campaign = read_campaign(args.campaign.as_ref())?;
    let found = search(&campaign, &interrupt::flag())?;
    print!("{}", table(&found));
    let all = found.iter().all(|found| found.highest_rate.is_some());
    Ok(if all { Exit::Kept } else { Exit::Unknown })
}

/// Searches for every runtime on every profile; each step is told on stderr.
pub(super) fn search(
    campaign: &Campaign,
    cancel: &Arc<Cancel>,
) -> Result<Vec<Saturation>, CliError> {
    let bounds = campaign.saturation.unwrap_or_default();
    let mut found = Vec::new();
    for profile in &campaign.profiles {
        for runtime in &campaign.runtimes {
            let told = |tried: &triptych_results::Tried| {
                let p99 = tried.p99_ms.map_or("nothing answered".to_owned(), |p99| {
                    format!("p99 {p99:.0} ms")
                });
                let word = if tried.ok { "carried" } else { "too much" };
                eprintln!(
                    "{profile} on {runtime} at {} req/s: {p99}, {word}",
                    tried.rate
                );
            };
            let result = saturate::search(campaign, &bounds, runtime, profile, cancel, told);
            let named = |error| CliError::Run {
                id: format!("{profile} on {runtime}"),
                error,
            };
            found.push(result.map_err(named)?);
        }
    }
    Ok(found)
}

/// The results as a table.
pub(super) fn table(found: &[Saturation]) -> String {
    let head = [
        "profile",
        "runtime",
        "bound on p99",
        "highest rate",
        "rates tried",
    ];
    let rows = found.iter().map(|found| {
        [
            found.profile.clone(),
            found.runtime.clone(),
            format!("{} ms", found.bound_ms),
            found
                .highest_rate
                .map_or("none".to_owned(), |rate| format!("{rate} req/s")),
            found.tried.len().to_string(),
        ]
    });
    triptych_load::table::plain(std::iter::once(head.map(str::to_owned)).chain(rows))
}
