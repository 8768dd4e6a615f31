//! `node`: one node of a cluster.

use super::{data_of, read_cluster};
use crate::args::NodeArgs;
use crate::exit::{CliError, Exit};
use crate::interrupt;
use triptych_cluster::file::Role;
use triptych_cluster::node;

/// Runs a node until it is told to stop.
pub(crate) fn run(args: &NodeArgs) -> Result<Exit, CliError> {
    let file = read_cluster(&args.config)?;
    let role = Role::named(&args.role);
    let role = role.ok_or_else(|| CliError::Input(format!("there is no role `{}`", args.role)))?;
    let at = file.node(role, args.id).map_err(CliError::Input)?;
    let options = node::Options {
        data: data_of(&file, args.data.as_ref()),
        leash: args.leash,
        measure: args.measure,
    };
    node::run(
        &file,
        at,
        &options,
        interrupt::flag_that_says("the node stops"),
    )?;
    Ok(Exit::Kept)
}
