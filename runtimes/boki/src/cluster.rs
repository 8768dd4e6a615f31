//! The log that a simulated installation stands on: a cluster of its own in the same world.

use std::rc::Rc;
use triptych_api::LocalBoxFuture;
use triptych_log::sim::{SimCluster, lan};
use triptych_log::{Bugs, Config, Failure, Port, Reply, Request, Shape};
use triptych_world::{Nanos, SECOND, US, World};

/// How long the cluster may take until it serves.
const PATIENCE: Nanos = 60 * SECOND;

/// When storages tell what they have, and primaries cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// When there is something, if it was not just done.
    AtOnce,
    /// Every 300 µs, as in the published experiments (specification §10).
    Ticks,
}

/// Why nothing works in a world of real time.
pub(crate) const NO_LOG: &str = "boki needs a log: in real time its functions run in processes of \
                                 their own, and no log is configured that they could share";

/// What stands where a log should be: it refuses everything.
pub(crate) struct NoLog;

impl Port for NoLog {
    fn ask(&self, _: Request) -> LocalBoxFuture<'static, Result<Reply, Failure>> {
        Box::pin(async { Err(Failure::Bad(NO_LOG.to_owned())) })
    }
}

/// The published clusters' layout (specification §12.1): three sequencers, three storages, eight
/// engines that index everything, one physical log; and a controller instead of a coordination
/// service.
fn config(pace: Pace) -> Config {
    let shape = Shape {
        logs: 1,
        metas: 3,
        copies: 3,
        indexes: 8,
    };
    let mut config = Config::of(1, 3, 3, 8, shape);
    if pace == Pace::Ticks {
        config.timing.on_ticks = true;
        config.timing.report_every = 300 * US;
        config.timing.cut_every = 300 * US;
    }
    // Here only functions fail, and hours may pass: nobody needs to say often that it lives.
    config.timing.alive_every = 2 * SECOND;
    config.timing.dead_after = 20 * SECOND;
    config
}

/// Starts the cluster.
pub(crate) fn start(world: &World, pace: Pace) -> SimCluster {
    let cluster = SimCluster::start(world, config(pace), lan(), Bugs::default());
    cluster.expect("the layout has enough nodes of each role")
}

/// A port on the host of each engine.
pub(crate) fn ports(cluster: &SimCluster) -> Vec<Rc<dyn Port>> {
    let engines = cluster.config().engines.iter();
    engines.map(|&engine| cluster.port(engine)).collect()
}

/// Waits until the cluster serves.
pub(crate) async fn ready(cluster: &SimCluster) -> Result<(), String> {
    match cluster.ready(PATIENCE).await {
        true => Ok(()),
        false => Err(format!(
            "the log is not ready after {} s",
            PATIENCE / SECOND
        )),
    }
}
