//! How fast the history checker is and how much memory it takes: valid list-append histories of
//! growing size, serializability alone and with the orders of sessions and of real time.
//!
//! `cargo bench -p triptych-oracle --bench history`, or with a number of transactions:
//! `cargo bench -p triptych-oracle --bench history -- 1000000`. Peak memory is what the operating
//! system says of the whole process (`VmHWM`), the history itself included.

use std::time::Instant;
use triptych_model::history::KeyKind;
use triptych_oracle::history::sample::{Shape, valid};
use triptych_oracle::history::{Options, check};

fn main() {
    let asked: Vec<u32> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let sizes = if asked.is_empty() {
        vec![10_000, 100_000, 1_000_000]
    } else {
        asked
    };
    for transactions in sizes {
        let shape = Shape {
            transactions,
            keys: 10,
            length: 32,
            sessions: 100,
            kind: KeyKind::List,
            failures: true,
        };
        let history = valid(&shape, 1);
        let operations: usize = history.transactions.iter().map(|tx| tx.ops.len()).sum();
        let before = peak_memory();
        for (name, options) in [("serializable", Options::DATA), ("strict", Options::ALL)] {
            let begun = Instant::now();
            let report = check(&history, options);
            let wall = begun.elapsed().as_secs_f64();
            let verdict =
                report.map_or_else(|why| why.to_string(), |report| report.level.to_string());
            println!(
                "{transactions:>9} transactions, {operations:>9} operations, {name:<12}: {wall:7.3} s, \
                 {:>9.0} transactions/s, peak {} MB (history {before} MB): {verdict}",
                f64::from(transactions) / wall,
                peak_memory(),
            );
        }
    }
}

/// The most memory that this process ever had, MB; 0 where the system does not tell.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}
