//! Nodes of our own clusters: processes of the bench itself.

use std::process::ExitCode;
use std::sync::Arc;
use triptych_cluster::file::{ClusterFile, Role};
use triptych_cluster::node;
use triptych_load::pool::Cancel;

/// A node of the cluster: this program, called as the `triptych` command would be.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let (Some(role), Some(id), Some(config), Some(data)) = (
        arguments.get(1),
        after("--id"),
        after("--config"),
        after("--data"),
    ) else {
        return ExitCode::from(2);
    };
    let role = Role::named(role);
    let text = std::fs::read_to_string(config).unwrap_or_default();
    let file = ClusterFile::parse(config, &text).map_err(|error| error.to_string());
    let at = file.and_then(|file| {
        let role = role.ok_or("no such role")?;
        let id = id.parse().map_err(|_| "no such number")?;
        Ok((file.node(role, id)?, file))
    });
    let options = node::Options {
        data: data.into(),
        leash: true,
        measure: arguments.iter().any(|argument| argument == "--measure"),
    };
    let ran = at.and_then(|(at, file)| {
        let ran = node::run(&file, at, &options, Arc::new(Cancel::new()));
        ran.map_err(|error| error.to_string())
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
