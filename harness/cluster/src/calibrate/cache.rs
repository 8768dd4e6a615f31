//! The loads that a ring of cache servers is measured with.

use super::CalibrateError;
use crate::bench::cache::{Load, Roaming, Target};
use crate::bench::drive::{Pace, Plan};
use crate::connect;
use crate::file::CacheFile;
use crate::up::Cluster;
use std::rc::Rc;
use std::sync::Arc;
use triptych_api::Change;
use triptych_load::pool::Cancel;
use triptych_mesh::{Clock, Key, Port, Reply, Request, WriteId};
use triptych_model::Value;
use triptych_world::{MS, Nanos, Options, World, mix};

/// The share of reads, clients, bytes of a value, keys of a read.
const LOADS: [(f64, usize, usize, usize); 8] = [
    (1.0, 1, 8, 1),
    (1.0, 16, 8, 1),
    (1.0, 8, 8, 16),
    (1.0, 8, 1024, 4),
    (0.0, 1, 8, 1),
    (0.0, 32, 8, 1),
    (0.0, 8, 1024, 1),
    (0.8, 16, 8, 1),
];
/// Few keys, so that most of the time goes into the load.
const KEYS: usize = 2_000;
/// Besides: what the loads do not ask for.
const OTHERS: &str = "updates, snapshots and reads of snapshots, 4 clients";

/// The loads in words.
pub(super) fn names() -> Vec<String> {
    let name = |(reads, clients, payload, keys): &(f64, usize, usize, usize)| {
        let reads = 100.0 * reads;
        format!("{reads}% reads of {keys} keys, {clients} clients, {payload} bytes")
    };
    LOADS.iter().map(name).chain([OTHERS.to_owned()]).collect()
}

/// Puts one of them on a ring.
pub(super) fn drive(
    file: &CacheFile,
    cluster: &Cluster,
    nth: usize,
    span: Nanos,
    cancel: &Arc<Cancel>,
) -> Result<(), CalibrateError> {
    World::run_real(1, Options::default(), |world| async move {
        let connect = |server| connect::cache::port(&world, file, server);
        let Some(&(reads, clients, payload, read_keys)) = LOADS.get(nth) else {
            let mut working = Vec::new();
            for client in 0..4 {
                let port = connect(client as usize)
                    .await
                    .map_err(CalibrateError::Load)?;
                working.push(others(&world, port, client, span, cancel));
            }
            return futures_util::future::try_join_all(working).await.map(drop);
        };
        let load = Load {
            clients,
            keys: KEYS,
            zipf: 1.0,
            payload,
            reads,
            read_keys,
            roaming: Roaming::Random,
            session: 0,
            plan: Plan {
                pace: Pace::Closed,
                warmup: 200 * MS,
                span,
                seed: 1,
            },
        };
        let target = Target {
            world: &world,
            file,
            folder: cluster.folder(),
            connect: &connect,
            cancel,
        };
        let outcome = target.measure(load).await;
        let outcome = outcome.map_err(|error| CalibrateError::Load(error.to_string()))?;
        // Times of a ring that does not do its work are worth nothing.
        match outcome.verdict.kept() && outcome.verdict.seen() {
            true => Ok(()),
            false => Err(CalibrateError::Load(outcome.verdict.told())),
        }
    })?
}

/// One client that asks for the rest, in turn.
async fn others(
    world: &World,
    port: Rc<dyn Port>,
    client: u64,
    span: Nanos,
    cancel: &Arc<Cancel>,
) -> Result<(), CalibrateError> {
    let until = world.now() + span;
    let id = mix(world.unix_ms() as u64, client);
    let mut snapshot = Clock::default();
    for number in 0.. {
        if world.now() >= until || cancel.is_cancelled() {
            break;
        }
        let key = Key::new("calibrate", &(number / 3 % 64).to_string());
        let request = match number % 3 {
            0 => Request::Update {
                write: WriteId { client: id, number },
                deps: Clock::default(),
                own: Vec::new(),
                key,
                condition: None,
                changes: vec![
                    Change::add("count", 1),
                    Change::set("last", Value::Int(number as i64)),
                ],
            },
            1 => Request::Snapshot {
                deps: Clock::default(),
            },
            _ => Request::ReadAt {
                snapshot: snapshot.clone(),
                own: Vec::new(),
                keys: vec![key],
            },
        };
        match port.ask(request).await {
            Ok(Reply::Snapshot { snapshot: taken }) => snapshot = taken,
            Ok(_) => {}
            Err(failure) => return Err(CalibrateError::Load(failure.to_string())),
        }
    }
    Ok(())
}
