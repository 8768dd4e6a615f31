//! The loads that a cluster of the log is measured with.

use super::CalibrateError;
use crate::bench::drive::{Pace, Plan};
use crate::bench::log::{Kind, Load, Served, Target};
use crate::connect;
use crate::file::LogFile;
use crate::up::Cluster;
use std::sync::Arc;
use triptych_load::pool::Cancel;
use triptych_world::{MS, Nanos, Options, World};

/// What is asked, clients, bytes of a record.
const LOADS: [(Kind, usize, usize); 9] = [
    (Kind::Append, 1, 128),
    (Kind::Append, 8, 128),
    (Kind::Append, 64, 128),
    (Kind::Append, 8, 1024),
    (Kind::Append, 1, 8192),
    (Kind::Append, 32, 8192),
    (Kind::Read(Served::Cached), 8, 1024),
    (Kind::Read(Served::Storage), 8, 1024),
    (Kind::Read(Served::Remote), 8, 4096),
];

/// The loads in words.
pub(super) fn names() -> Vec<String> {
    let name = |(kind, clients, payload): (Kind, usize, usize)| {
        format!("{}, {clients} clients, {payload} bytes", kind.name())
    };
    LOADS.map(name).into()
}

/// Puts one of them on a cluster.
pub(super) fn drive(
    file: &LogFile,
    cluster: &Cluster,
    nth: usize,
    span: Nanos,
    cancel: &Arc<Cancel>,
) -> Result<(), CalibrateError> {
    let (kind, clients, payload) = LOADS[nth];
    let load = Load {
        kind,
        clients,
        payload,
        books: 1,
        plan: Plan {
            pace: Pace::Closed,
            warmup: 200 * MS,
            span,
            seed: 1,
        },
        read_back: Some(5_000),
    };
    World::run_real(1, Options::default(), |world| async move {
        let connect = |engine| connect::log::port(&world, file, engine);
        let target = Target {
            world: &world,
            file,
            folder: cluster.folder(),
            connect: &connect,
            cancel,
        };
        let outcome = target.measure(load).await;
        let outcome = outcome.map_err(|error| CalibrateError::Load(error.to_string()))?;
        // Times of a cluster that does not do its work are worth nothing.
        match outcome.verdict.kept() && outcome.verdict.checked > 0 {
            true => Ok(()),
            false => Err(CalibrateError::Load(outcome.told())),
        }
    })?
}
