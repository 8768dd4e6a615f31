//! What recording histories costs: the same runs with and without, in turns, on one core.
//!
//! `cargo bench -p triptych-load --bench record`, or with a number of requests:
//! `cargo bench -p triptych-load --bench record -- 20000`. The smallest of several wall times is
//! shown, because everything else on the machine only adds to them. With recording, judging the
//! history is part of the run; it is shown apart as well.

use std::time::Instant;
use triptych_api::Isolation;
use triptych_load::campaign::Campaign;
use triptych_load::run::{RunOutput, Watch, run};
use triptych_oracle::history::rules;

const RATE: u64 = 200;
const TURNS: usize = 5;

fn main() {
    let asked = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok());
    let requests: u64 = asked.unwrap_or(10_000);
    for profile in ["full-movie", "hot-ledger"] {
        for runtime in ["baseline", "beldi"] {
            let mut best = [f64::MAX; 2];
            let mut last = None;
            for turn in 0..2 * TURNS {
                let (wall, output) = once(profile, runtime, requests, turn % 2 == 1);
                best[turn % 2] = best[turn % 2].min(wall);
                last = Some(output);
            }
            let [without, with] = best;
            let judging = last
                .and_then(|output| output.history)
                .map_or(0.0, |history| {
                    let begun = Instant::now();
                    let _ = std::hint::black_box(rules(&history, Isolation::None));
                    begun.elapsed().as_secs_f64()
                });
            println!(
                "{profile:<11} {runtime:<9} {requests:>7} requests: {without:.3} s without, {with:.3} s \
                 with ({:+.1} %), of which judging {judging:.3} s",
                (with / without - 1.0) * 100.0
            );
        }
    }
}

fn once(profile: &str, runtime: &str, requests: u64, history: bool) -> (f64, RunOutput) {
    let text = format!(
        "name = \"bench\"\nruntimes = [{runtime:?}]\nprofiles = [{profile:?}]\nrates = [{RATE}]\n\
         duration = \"{}s\"\nwarmup = \"1s\"\nhistory = {history}\n",
        requests / RATE
    );
    let campaign = Campaign::parse("bench", &text).unwrap_or_else(|mistakes| {
        eprintln!("{mistakes:?}");
        std::process::exit(2);
    });
    let begun = Instant::now();
    match run(&campaign, &campaign.cells()[0], "", &Watch::default()) {
        Ok(output) => (begun.elapsed().as_secs_f64(), output),
        Err(error) => {
            eprintln!("{profile} on {runtime}: {error}");
            std::process::exit(64);
        }
    }
}
