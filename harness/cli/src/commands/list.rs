//! `list` and `schema`: what exists, and what a campaign may say.

use crate::args::ListArgs;
use crate::exit::{CliError, Exit};
use triptych_load::campaign::{self, known};

/// Prints the names of a kind, each with a line about it, separated by a tab.
pub(crate) fn run(args: &ListArgs) -> Result<Exit, CliError> {
    for (name, about) in known::listed(&args.kind).unwrap_or_default() {
        println!("{name}\t{about}");
    }
    Ok(Exit::Kept)
}

/// Prints the JSON schema of campaign files.
pub(crate) fn schema() -> Result<Exit, CliError> {
    println!("{:#}", campaign::schema());
    Ok(Exit::Kept)
}
