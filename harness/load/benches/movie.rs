//! How fast the simulation itself is: requests of `full-movie` per second of wall time, on one core.
//!
//! `cargo bench -p triptych-load --bench movie`, or with a number of requests and a runtime:
//! `cargo bench -p triptych-load --bench movie -- 100000 beldi`. Peak memory is what the operating
//! system says of the process (`VmHWM`), so measure one runtime at a time for it.

use std::time::Instant;
use triptych_load::campaign::Campaign;
use triptych_load::run::{Watch, run};

const RATE: u64 = 200;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let requests = arguments
        .first()
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000);
    let runtimes = match arguments.get(1) {
        Some(runtime) => vec![runtime.as_str()],
        None => vec!["baseline", "beldi-direct", "beldi"],
    };
    for runtime in runtimes {
        let text = format!(
            "name = \"bench\"\nruntimes = [{runtime:?}]\nprofiles = [\"full-movie\"]\n\
             rates = [{RATE}]\nduration = \"{}s\"\nwarmup = \"1s\"\n",
            requests / RATE
        );
        let campaign = match Campaign::parse("bench", &text) {
            Ok(campaign) => campaign,
            Err(mistakes) => {
                eprintln!("{mistakes:?}");
                std::process::exit(2);
            }
        };
        let began = Instant::now();
        let output = match run(&campaign, &campaign.cells()[0], "", &Watch::default()) {
            Ok(output) => output,
            Err(error) => {
                eprintln!("{runtime}: {error}");
                std::process::exit(64);
            }
        };
        let wall = began.elapsed().as_secs_f64();
        let calls: u64 = output.work.store_calls.values().sum();
        println!(
            "{runtime:<13} {:>7} requests in {wall:6.2} s of wall time: {:>7.0} requests/s, \
             {:>8.0} store calls/s, {:>7.0} invocations/s; {}",
            output.ops.len(),
            output.ops.len() as f64 / wall,
            calls as f64 / wall,
            output.work.invocations as f64 / wall,
            peak_memory()
        );
    }
}

/// The most memory that this process ever had, where the system tells.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.map_or_else(
        || "peak memory unknown".to_owned(),
        |line| format!("peak {}", line[6..].trim()),
    )
}
