//! `triptych`: the one command of the suite.
//!
//! Results go to stdout and are safe to pipe; progress and messages go to stderr. The exit status
//! says what came out ([`exit::Exit`]): promises kept, a promise broken, bad input, unknown, or a
//! failure of the suite itself.

mod args;
mod commands;
mod exit;
mod interrupt;
mod progress;

use args::{Args, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Run(args) => commands::run::run(&args),
        Command::Selftest(args) => commands::selftest::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Explore(args) => commands::explore::run(&args),
        Command::Replay(args) => commands::replay::run(&args),
        Command::Conform(args) => commands::conform::run(&args),
        Command::Saturate(args) => commands::saturate::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::History(args) => commands::history::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Cluster(args) => commands::cluster::run(&args),
        Command::Node(args) => commands::node::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Calibrate(args) => commands::calibrate::run(&args),
        Command::List(args) => commands::list::run(&args),
        Command::Schema => commands::list::schema(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("{}", error.to_string().trim_end());
            error.exit().into()
        }
    }
}
