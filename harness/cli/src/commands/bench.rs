//! `bench`: loads on a running cluster, measured and judged.

mod cache;

use super::{data_of, read_log, write_file};
use crate::args::{BenchArgs, BenchCommand, BenchLogArgs};
use crate::exit::{CliError, Exit};
use crate::interrupt;
use std::sync::Arc;
use triptych_cluster::bench::drive::{Pace, Plan};
use triptych_cluster::bench::log::{BenchError, Kind, Load, Outcome, Target};
use triptych_cluster::bench::table;
use triptych_cluster::connect;
use triptych_cluster::file::LogFile;
use triptych_cluster::up::folder::DataFolder;
use triptych_load::pool::Cancel;
use triptych_load::schedule::Rate;
use triptych_world::{Options, World};

/// Does what is asked for.
pub(crate) fn run(args: &BenchArgs) -> Result<Exit, CliError> {
    match &args.command {
        BenchCommand::Log(args) => log(args),
        BenchCommand::Cache(args) => cache::run(args),
    }
}

/// When requests are made: at these rates, or in a closed loop if there are none.
fn paces(rates: &[f64]) -> Result<Vec<Pace>, CliError> {
    let mut paces = Vec::new();
    for &rate in rates {
        let known = Rate::per_second(rate).map(Pace::Open);
        paces.push(known.ok_or_else(|| CliError::Input(format!("--rate {rate} is not a rate")))?);
    }
    if paces.is_empty() {
        paces.push(Pace::Closed);
    }
    Ok(paces)
}

fn log(args: &BenchLogArgs) -> Result<Exit, CliError> {
    let file = read_log(&args.file)?;
    let folder = DataFolder::at(&data_of(&file.clone().into(), args.data.as_ref()));
    let loads = loads(args)?;
    let cancel = interrupt::flag_that_says("what was measured is judged and shown");
    let measured = World::run_real(args.seed, Options::default(), |world| {
        measure(world, &file, &folder, loads, args.what.is_empty(), &cancel)
    })?;
    let outcomes = measured?;
    if outcomes.is_empty() {
        return Ok(Exit::Unknown);
    }
    println!(
        "cluster `{}`, {}; wall-clock figures of one machine, which runs the load as well\n",
        file.name,
        file.level.name()
    );
    print!("{}", table::text(&outcomes));
    if let Some(to) = &args.json {
        let all = table::json(&file.name, file.level.name(), &outcomes);
        write_file(to, &format!("{all:#}\n"))?;
    }
    let kept = outcomes.iter().all(|outcome| outcome.verdict.kept());
    let seen = outcomes.iter().all(|outcome| outcome.verdict.checked > 0);
    Ok(match (kept, seen && !cancel.is_cancelled()) {
        (false, _) => Exit::Broken,
        (true, false) => Exit::Unknown,
        (true, true) => Exit::Kept,
    })
}

/// Every load that was asked for.
fn loads(args: &BenchLogArgs) -> Result<Vec<Load>, CliError> {
    let kinds = Kind::ALL
        .into_iter()
        .filter(|kind| args.what.is_empty() || args.what.iter().any(|name| name == kind.name()));
    let paces = paces(&args.rate)?;
    let mut loads = Vec::new();
    for kind in kinds {
        for &pace in &paces {
            for &payload in &args.payload {
                for &clients in &args.clients {
                    loads.push(Load {
                        kind,
                        clients: usize::from(clients),
                        payload: payload as usize,
                        books: args.books,
                        plan: Plan {
                            pace,
                            warmup: args.warmup.0,
                            span: args.duration.0.max(1),
                            seed: args.seed,
                        },
                        read_back: Some(args.read_back),
                    });
                }
            }
        }
    }
    Ok(loads)
}

async fn measure(
    world: World,
    file: &LogFile,
    folder: &DataFolder,
    loads: Vec<Load>,
    skip_impossible: bool,
    cancel: &Arc<Cancel>,
) -> Result<Vec<Outcome>, CliError> {
    let connect = |engine| connect::log::port(&world, file, engine);
    let target = Target {
        world: &world,
        file,
        folder,
        connect: &connect,
        cancel,
    };
    let mut outcomes = Vec::new();
    for load in loads {
        if cancel.is_cancelled() {
            break;
        }
        let name = load.kind.name();
        eprintln!("{name}, {} clients, {} bytes …", load.clients, load.payload);
        match target.measure(load).await {
            Ok(outcome) => outcomes.push(outcome),
            Err(BenchError::Impossible(why)) if skip_impossible => eprintln!("left out: {why}"),
            Err(BenchError::Impossible(why)) => return Err(CliError::Input(why)),
            Err(BenchError::Cluster(why)) => return Err(CliError::Absent(why)),
        }
    }
    Ok(outcomes)
}
