//! The function binary: one function of one app on one runtime, served through `lambda_runtime`.
//!
//! The same file is uploaded for every function; the environment says which one it is (see
//! [`settings`]). [`serve`] puts the runtime together from the registry and the AWS adapters, and
//! answers what Lambda sends, one event at a time. Everything runs on one thread, as runtimes and
//! apps expect it.

mod serve;
mod settings;

use serve::ServeError;
use settings::Settings;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use triptych_world::{Options, World};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bootstrap: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), ServeError> {
    let settings = Settings::read(|variable| std::env::var(variable).ok())?;
    // Ids are drawn from the seed, so no two processes may have the same: the standard library's
    // hash keys are random ones from the system.
    let seed = RandomState::new().hash_one(std::process::id());
    World::run_real(seed, Options::default(), |world| {
        serve::serve(world, settings)
    })?
}
