//! What a bench is asked for on its command line, and how it ends.

use crate::node;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use triptych_world::{Options, World};

/// Reads `--name 1,2` for each of the names. What is not asked for stays as it is.
///
/// # Errors
/// Which argument is wrong, and what may be said instead.
pub(crate) fn numbers(
    arguments: &[String],
    known: &mut [(&str, &mut Vec<usize>)],
) -> Result<(), String> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        // What cargo adds.
        if argument == "--bench" {
            continue;
        }
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let found = known.iter_mut().find(|(name, _)| name == argument);
        let Some((_, numbers)) = found else {
            return Err(format!("{argument}: there are {}", names.join(", ")));
        };
        let value = arguments.next().map_or("", String::as_str);
        let said: Result<Vec<usize>, _> = value.split(',').map(str::parse).collect();
        let said = said.ok().filter(|said| !said.contains(&0));
        **numbers = said.ok_or_else(|| format!("{argument}: `{value}` is no number"))?;
    }
    Ok(())
}

/// Runs a bench in a folder of its own, or a node of our own cluster: those are processes of this same
/// program.
pub(crate) fn main<S, C, F>(
    read: impl FnOnce(&[String]) -> Result<S, String>,
    compare: C,
) -> ExitCode
where
    C: FnOnce(World, S, PathBuf) -> F,
    F: Future<Output = io::Result<bool>>,
{
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "node") {
        return node::run(&arguments);
    }
    let settings = match read(&arguments) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let compared = tempfile::tempdir().and_then(|dir| {
        let dir = Path::to_path_buf(dir.path());
        let compare = |world| compare(world, settings, dir);
        World::run_real(1, Options::default(), compare)?
    });
    match compared {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(64)
        }
    }
}
