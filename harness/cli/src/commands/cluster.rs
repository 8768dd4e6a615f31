//! `cluster`: a cluster as processes on this machine.

use super::{data_of, read_cluster};
use crate::args::{ClusterArgs, ClusterCommand, KindArgs, StatusArgs, UpArgs};
use crate::exit::{CliError, Exit};
use crate::interrupt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use triptych_cluster::file::{ClusterFile, Kind, NodeAt};
use triptych_cluster::probe;
use triptych_cluster::up::folder::DataFolder;
use triptych_cluster::up::{Cluster, Start, UpError};
use triptych_load::table::plain;

/// How long nodes may take to stop before they are killed.
const STOPPING: Duration = Duration::from_secs(5);

/// Does what is asked for.
pub(crate) fn run(args: &ClusterArgs) -> Result<Exit, CliError> {
    match &args.command {
        ClusterCommand::Up(args) => up(args),
        ClusterCommand::Status(args) => status(args),
        ClusterCommand::Check(args) => super::trial::run(args),
        ClusterCommand::Example(args) => {
            print!("{}", kind_of(args).example());
            Ok(Exit::Kept)
        }
        ClusterCommand::Schema(args) => {
            println!("{:#}", kind_of(args).schema());
            Ok(Exit::Kept)
        }
    }
}

fn kind_of(args: &KindArgs) -> Kind {
    let named = |kind: &Kind| kind.name() == args.kind;
    Kind::ALL.into_iter().find(named).unwrap_or_default()
}

/// A path that means the same in another process.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    Ok(std::path::absolute(path)?)
}

/// How to start the nodes of a file with this executable.
pub(super) fn start_of(file: &Path, data: &Path, fresh: bool) -> Result<Start, CliError> {
    Ok(Start {
        program: std::env::current_exe()?,
        file: absolute(file)?,
        data: absolute(data)?,
        fresh,
        arguments: Vec::new(),
    })
}

fn up(args: &UpArgs) -> Result<Exit, CliError> {
    let file = read_cluster(&args.file)?;
    let data = data_of(&file, args.data.as_ref());
    let cancel = interrupt::flag_that_says("the nodes are told to stop");
    let mut cluster = Cluster::start(&file, &start_of(&args.file, &data, args.fresh)?)?;
    let patience = Duration::from_secs(args.patience);
    match cluster.wait_ready(patience, &cancel) {
        Ok(view) => say_ready(&file, view, &data),
        Err(error) => {
            say_killed(&cluster.stop(STOPPING));
            return match error {
                UpError::Stopped => Ok(Exit::Unknown),
                error => Err(error.into()),
            };
        }
    }
    let mut left = file.nodes().len();
    while !cancel.is_cancelled() && left > 0 {
        for death in cluster.deaths() {
            println!("{death}");
            left -= 1;
        }
        // Whoever reads this wants to know now.
        let _ = std::io::stdout().flush();
        std::thread::sleep(Duration::from_millis(50));
    }
    let killed = cluster.stop(STOPPING);
    say_killed(&killed);
    if left == 0 {
        eprintln!("no node is left");
        return Ok(Exit::Unknown);
    }
    println!("stopped");
    Ok(match killed.is_empty() {
        true => Exit::Kept,
        false => Exit::Unknown,
    })
}

fn say_ready(file: &ClusterFile, view: u64, data: &Path) {
    let serving = file.serving();
    let role = serving.first().map_or("node", |node| node.role.name());
    let serving: Vec<String> = serving.iter().map(|node| node.listen.to_string()).collect();
    println!(
        "ready: cluster `{}` ({}), {} nodes, {} {view}, data in {}; {role}s at {}",
        file.name(),
        file.level_name(),
        file.nodes().len(),
        file.kind().view(),
        data.display(),
        serving.join(", ")
    );
    let _ = std::io::stdout().flush();
}

fn say_killed(killed: &[NodeAt]) {
    for node in killed {
        eprintln!("{node} did not stop and was killed");
    }
}

fn status(args: &StatusArgs) -> Result<Exit, CliError> {
    let file = read_cluster(&args.file)?;
    let folder = DataFolder::at(&data_of(&file, args.data.as_ref()));
    let patience = Duration::from_secs(1);
    let serving = probe::ask_all(&file, patience);
    let mut others = file.nodes();
    others.retain(|node| !node.role.serves());
    let reached = probe::reach(&file, &others, patience);
    let what = file.kind().view();
    let serves = |status: &probe::Status| match status.view {
        0 => Err(format!("up, in no {what}")),
        view => Ok(format!("in {what} {view}")),
    };
    let serving_states = serving.iter().map(|(node, status)| {
        let state = status.as_ref().map_err(String::clone);
        (*node, state.and_then(serves))
    });
    let reached = reached.into_iter();
    let others_states = reached.map(|(node, reached)| (node, reached.map(|()| "up".to_owned())));
    let mut all = true;
    let mut rows = vec![["node", "address", "process", "state"].map(str::to_owned)];
    for (node, state) in others_states.chain(serving_states) {
        let process = folder.process(&node);
        let process = process.map_or("?".to_owned(), |process| process.pid.to_string());
        all &= state.is_ok();
        let (Ok(state) | Err(state)) = state;
        let name = format!("{} {}", node.role, node.id.0);
        rows.push([name, node.listen.to_string(), process, state]);
    }
    print!("{}", plain(rows));
    for (node, status) in &serving {
        if let Ok(status) = status {
            let gauges = status.gauges.iter();
            let gauges: Vec<String> = gauges
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            println!("\n{} {}: {}", node.role, node.id.0, gauges.join(", "));
        }
    }
    Ok(if all { Exit::Kept } else { Exit::Unknown })
}
