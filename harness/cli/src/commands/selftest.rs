//! `selftest`: the harness proves itself.

use crate::args::{SelftestArgs, threads};
use crate::exit::{CliError, Exit};
use crate::interrupt;
use crate::progress::Counter;
use std::time::Instant;
use triptych_load::selftest;

/// Runs all checks and prints their table.
pub(crate) fn run(args: &SelftestArgs) -> Result<Exit, CliError> {
    let cancel = interrupt::flag();
    let begun = Instant::now();
    let mut counter: Option<Counter> = None;
    let checks = selftest::run(threads(args.jobs), &cancel, |done, total| {
        let counter = counter.get_or_insert_with(|| Counter::new("selftest", total as u64));
        counter.at(done as u64);
    });
    if let Some(counter) = counter {
        counter.end();
    }
    if cancel.is_cancelled() {
        return Err(CliError::Input(
            "interrupted: not everything was checked".to_owned(),
        ));
    }
    print!("{}", selftest::table(&checks));
    let failed = checks.iter().filter(|check| !check.pass).count();
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!(
        "{} checks, {failed} failed, in {seconds:.0} s",
        checks.len()
    );
    // The harness is the suite, not a system under test.
    Ok(if failed == 0 { Exit::Kept } else { Exit::Suite })
}
