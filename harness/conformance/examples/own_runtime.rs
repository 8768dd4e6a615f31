//! A runtime from outside the repository: added to the registry under a name of its own, and held
//! to what it declares. Put your own `deploy` in place of the template's.
//!
//! `cargo run --release -p triptych-conformance --example own_runtime`

use std::process::ExitCode;
use triptych_conformance::{Depth, check};
use triptych_registry::RuntimeEntry;

fn main() -> ExitCode {
    let mine = RuntimeEntry {
        name: "mine",
        about: "a copy of the template",
        declares: triptych_template::DECLARES,
        workflows: false,
        deploy: triptych_template::deploy,
    };
    if let Err(taken) = triptych_registry::add(mine) {
        eprintln!("{taken}");
        return ExitCode::from(2);
    }
    let report = check(&mine, Depth::Quick, |part| eprintln!("{part} ..."));
    print!("{report}");
    match report.kept() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    }
}
