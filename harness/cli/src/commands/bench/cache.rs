//! `bench cache`: loads on a running ring of cache servers.

use super::super::{data_of, read_cache, write_file};
use super::paces;
use crate::args::BenchCacheArgs;
use crate::exit::{CliError, Exit};
use crate::interrupt;
use std::sync::Arc;
use triptych_cluster::bench::cache::visibility::Visibility;
use triptych_cluster::bench::cache::{Load, Outcome, Roaming, Target, table};
use triptych_cluster::bench::drive::Plan;
use triptych_cluster::connect;
use triptych_cluster::file::CacheFile;
use triptych_cluster::up::folder::DataFolder;
use triptych_load::pool::Cancel;
use triptych_world::{Options, World};

/// Measures what is asked for.
pub(super) fn run(args: &BenchCacheArgs) -> Result<Exit, CliError> {
    let file = read_cache(&args.file)?;
    let folder = DataFolder::at(&data_of(&file.clone().into(), args.data.as_ref()));
    let loads = loads(args)?;
    let cancel = interrupt::flag_that_says("what was measured is judged and shown");
    let measured = World::run_real(args.seed, Options::default(), |world| {
        measure(world, &file, &folder, loads, args, &cancel)
    })?;
    let (outcomes, visibility) = measured?;
    if outcomes.is_empty() && visibility.is_none() {
        return Ok(Exit::Unknown);
    }
    println!(
        "cluster `{}`, {}; wall-clock figures of one machine, which runs the load as well\n",
        file.name,
        file.level.name()
    );
    if !outcomes.is_empty() {
        println!("{}", table::text(&outcomes));
    }
    if let Some(visibility) = &visibility {
        print!("{}", table::visibility_text(visibility));
    }
    if let Some(to) = &args.json {
        let all = table::json(
            &file.name,
            file.level.name(),
            &outcomes,
            visibility.as_ref(),
        );
        write_file(to, &format!("{all:#}\n"))?;
    }
    let kept = outcomes.iter().all(|outcome| outcome.verdict.kept());
    let seen = outcomes.iter().all(|outcome| outcome.verdict.seen());
    Ok(match (kept, seen && !cancel.is_cancelled()) {
        (false, _) => Exit::Broken,
        (true, false) => Exit::Unknown,
        (true, true) => Exit::Kept,
    })
}

fn wanted(args: &BenchCacheArgs, what: &str) -> bool {
    args.what.is_empty() || args.what.iter().any(|wanted| wanted == what)
}

/// Every load that was asked for.
fn loads(args: &BenchCacheArgs) -> Result<Vec<Load>, CliError> {
    let mut loads = Vec::new();
    if !wanted(args, "mix") {
        return Ok(loads);
    }
    let paces = paces(&args.rate)?;
    let policies = args.roaming.iter();
    let policies =
        policies.filter_map(|name| Roaming::ALL.into_iter().find(|known| known.name() == name));
    for roaming in policies {
        for &reads in &args.reads {
            for &read_keys in &args.read_keys {
                for &payload in &args.payload {
                    for &pace in &paces {
                        for &clients in &args.clients {
                            loads.push(Load {
                                clients: usize::from(clients),
                                keys: args.keys as usize,
                                zipf: args.zipf,
                                payload: payload as usize,
                                reads,
                                read_keys: usize::from(read_keys),
                                roaming,
                                session: args.session,
                                plan: Plan {
                                    pace,
                                    warmup: args.warmup.0,
                                    span: args.duration.0.max(1),
                                    seed: args.seed,
                                },
                            });
                        }
                    }
                }
            }
        }
    }
    Ok(loads)
}

async fn measure(
    world: World,
    file: &CacheFile,
    folder: &DataFolder,
    loads: Vec<Load>,
    args: &BenchCacheArgs,
    cancel: &Arc<Cancel>,
) -> Result<(Vec<Outcome>, Option<Visibility>), CliError> {
    let connect = |server| connect::cache::port(&world, file, server);
    let target = Target {
        world: &world,
        file,
        folder,
        connect: &connect,
        cancel,
    };
    let absent = |error: triptych_cluster::bench::cache::BenchError| CliError::Absent(error.0);
    let mut outcomes = Vec::new();
    for load in loads {
        if cancel.is_cancelled() {
            break;
        }
        eprintln!("{}, {} clients …", load.name(), load.clients);
        outcomes.push(target.measure(load).await.map_err(absent)?);
    }
    let mut visibility = None;
    if wanted(args, "visibility") && !cancel.is_cancelled() {
        eprintln!("visibility …");
        let measured = target.visibility(args.duration.0).await;
        visibility = Some(measured.map_err(absent)?);
    }
    Ok((outcomes, visibility))
}
