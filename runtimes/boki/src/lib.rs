//! BokiFlow: exactly-once workflows on the shared log (Boki, SOSP'21).
//!
//! User state stays in the store, one item per key. Everything else is records of one logbook: what
//! instances there are and which of them have finished, what each step of an instance has learned or
//! done, who has which lock, and what transactions wrote and decided. Streams of the logbook are found
//! by tag ([`record`]).
//!
//! * [`run`]: an instance's steps. The first record of a step counts, so an instance can be executed
//!   any number of times, also at the same time, and all executions agree.
//! * [`wrapper`]: what surrounds every function. Starts with whole envelopes, ends with results.
//! * [`item`]: changes of the store that take effect once, although store and log are two.
//! * [`lock`], [`tx`]: locks as registers on the log, and serializable transactions over them.
//! * [`collector`]: what did not finish is executed again, and what is over is trimmed.
//! * [`machine`]: workflows that the platform runs.
//!
//! What the published code leaves open is closed here (specification §6.1, F-1 to F-10): lost updates,
//! transactions that a replay repeats, locks that stay behind, requests lost before their first
//! record, a log that only grows.

mod cluster;
mod collector;
mod dump;
mod instance;
mod item;
mod journal;
mod lock;
mod machine;
mod meter;
mod record;
mod run;
mod tx;
mod wrapper;

use dump::Watch;
use meter::Log;
use std::rc::Rc;
use triptych_api::model::to_value;
use triptych_api::{Declares, Isolation, LocalBoxFuture, Name, Order, State, Value, client_view};
use triptych_faas::{
    Answer, Deployment, Gauges, Handler, InvokeError, Machine, Payload, Timer, timer_payload,
};
use triptych_log::sim::SimCluster;
use triptych_log::{BookId, Conduct, ModelLog, Port};
use triptych_site::{Site, tables};
use wrapper::{RESTART, SWEEP};

/// What BokiFlow promises.
pub const DECLARES: Declares = Declares {
    exactly_once: true,
    transaction: Isolation::Serializable,
    order: Order::RealTime,
    durable: true,
};

/// The logbook of an installation.
const BOOK: BookId = 1;

/// A seeded defect, to show that the oracle sees it. Campaigns cannot ask for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Of several records of a step the last one counts.
    LastRecordWins,
    /// Reads are not logged: a repeated execution sees other values.
    SkipReadLog,
    /// Times, ids and random numbers are not logged.
    FreshNotLogged,
    /// A change is made if the item's version is less, and taken for made if not (F-2).
    VersionLessThan,
    /// What came of a change is not looked up in the item, nor put on the log by who overwrites it.
    NoPostRecovery,
    /// A duplicate that arrives after the instance has finished is executed as if it were new.
    AcceptLateDuplicate,
    /// An instance has finished on the log before it has done anything.
    FinishBeforeResult,
    /// A call is handed over before it is registered (F-9).
    RegisterAfterDispatch,
    /// A repeated execution calls other instances than the first one.
    FreshCallees,
    /// The intent collector starts an unfinished instance under a new id.
    RestartUnderNewId,
    /// The collector does not wait for `T` to pass.
    CollectorIgnoresT,
    /// Nobody is told how much of the log was seen.
    NoProgressHandover,
    /// Whether a transaction has a lock is not a step: a replay takes it again (F-3).
    LocksOutsideSteps,
    /// Only keys that were written are unlocked (F-4).
    UnlockOnlyWritten,
    /// Reads in a transaction take no lock.
    NoReadLocks,
    /// A transaction does not see what it has written (F-6).
    NoReadYourWrites,
    /// Writes of a transaction are in the store before it is decided.
    ApplyBeforeDecision,
    /// The commit releases all locks before it applies the writes.
    ReleaseBeforeApply,
    /// The commit leaves out what callees have written.
    ForgetParticipant,
    /// Calls are handed over at once, although the transaction may abort.
    SendBeforeCommit,
}

/// What all executions share.
struct Shared {
    site: Rc<Site>,
    log: Log,
    watch: Watch,
    bug: Option<Bug>,
}

/// Puts the site's app on BokiFlow, with a simulated cluster of the log beside it: the published
/// layout, service times as measured, links as in the profile `ec2-lan`. An execution is on the host
/// of one of the engines. A site of real time is refused at [`Deployment::prepare`], because there is
/// no log that its processes could share.
pub fn deploy(site: Site) -> Rc<dyn Deployment> {
    on_cluster(site, cluster::Pace::AtOnce)
}

/// The same with the published code's timers: what storages have, and cuts, are told every 300 µs,
/// not at once.
pub fn deploy_on_ticks(site: Site) -> Rc<dyn Deployment> {
    on_cluster(site, cluster::Pace::Ticks)
}

fn on_cluster(site: Site, pace: cluster::Pace) -> Rc<dyn Deployment> {
    let (ports, log) = match site.world.is_virtual() {
        true => {
            let cluster = cluster::start(&site.world, pace);
            (cluster::ports(&cluster), Source::Cluster(cluster))
        }
        false => (vec![Rc::new(cluster::NoLog) as _], Source::None),
    };
    boki(site, ports, log, None)
}

/// Puts the site's app on BokiFlow, with the log behind this port and a seeded defect, if there is
/// one.
pub fn deploy_with(site: Site, port: Rc<dyn Port>, bug: Option<Bug>) -> Rc<dyn Deployment> {
    boki(site, vec![port], Source::Given, bug)
}

/// Puts the site's app on BokiFlow, with the model of a log in memory ([`ModelLog`]), which promises
/// no more than a log must.
pub fn deploy_on_model_log(site: Site) -> Rc<dyn Deployment> {
    deploy_on_model_log_with(site, Conduct::default(), None)
}

/// The same with a log that behaves like this, and with a seeded defect, if there is one.
pub fn deploy_on_model_log_with(
    site: Site,
    conduct: Conduct,
    bug: Option<Bug>,
) -> Rc<dyn Deployment> {
    let log: Rc<dyn Port> = Rc::new(ModelLog::new(&site.world, conduct));
    let source = match site.world.is_virtual() {
        true => Source::Given,
        false => Source::None,
    };
    boki(site, vec![log], source, bug)
}

fn boki(site: Site, ports: Vec<Rc<dyn Port>>, log: Source, bug: Option<Bug>) -> Rc<dyn Deployment> {
    Rc::new(Boki {
        shared: Rc::new(Shared {
            site: Rc::new(site),
            log: Log::new(ports),
            watch: Watch::default(),
            bug,
        }),
        log,
    })
}

struct Boki {
    shared: Rc<Shared>,
    log: Source,
}

/// Where the log comes from.
enum Source {
    /// Whoever deploys has one.
    Given,
    /// It was made for this installation.
    Cluster(SimCluster),
    /// The world is a real one, and nobody has said where its log is.
    None,
}

impl Deployment for Boki {
    fn prepare(&self) -> LocalBoxFuture<'static, Result<(), String>> {
        let tables = tables::create(Rc::clone(&self.shared.site), Vec::new());
        let why = match &self.log {
            Source::Given => return Box::pin(tables),
            Source::Cluster(cluster) => {
                let cluster = cluster.clone();
                return Box::pin(async move {
                    cluster::ready(&cluster).await?;
                    tables.await
                });
            }
            Source::None => cluster::NO_LOG,
        };
        Box::pin(async move { Err(why.to_owned()) })
    }

    fn functions(&self) -> Vec<(Name, Handler)> {
        triptych_site::handlers(&self.shared.site.app, &self.shared, wrapper::serve)
    }

    fn machines(&self) -> Vec<(Name, Machine)> {
        let workflows = self.shared.site.app.workflows.iter();
        workflows
            .map(|workflow| (workflow.name.clone(), machine::of(workflow)))
            .collect()
    }

    fn timers(&self) -> Vec<Timer> {
        let site = &self.shared.site;
        let timing = &site.timing;
        let timer = |function: &Name, period, what| Timer {
            function: function.clone(),
            period,
            payload: timer_payload(what),
        };
        let mut timers = Vec::new();
        for function in &site.app.functions {
            timers.push(timer(&function.name, timing.collector_period, RESTART));
            let sweep = |period| timer(&function.name, period, SWEEP);
            timers.extend(timing.gc_period.map(sweep));
        }
        timers
    }

    fn request(&self, id: &str, op: &str, input: Value, session: &Value) -> Payload {
        let envelope = record::Envelope {
            instance: Name::from(id),
            op: Name::from(op),
            input,
            caller: None,
            tx: None,
            registered: false,
            progress: session.as_int().unwrap_or(0) as u64,
        };
        // An envelope is a document whatever is in it.
        Payload::new(to_value(&envelope).unwrap_or_default())
    }

    fn answer(&self, reply: Result<Payload, InvokeError>) -> Answer {
        let reply = match reply {
            Ok(reply) => reply.body,
            Err(error) => {
                return Answer {
                    outcome: error.outcome(),
                    output: Value::Null,
                    session: Value::Null,
                };
            }
        };
        let (reply, session) = match wrapper::reply_of(&reply) {
            Ok((reply, progress)) => (reply, Value::Int(progress.to_bits() as i64)),
            Err(_) => (reply, Value::Null),
        };
        let (outcome, output) = client_view(&reply);
        Answer {
            outcome,
            output,
            session,
        }
    }

    fn pending(&self) -> LocalBoxFuture<'static, Result<u64, String>> {
        let shared = Rc::clone(&self.shared);
        Box::pin(async move { Ok(dump::pending(&shared).await?.len() as u64) })
    }

    fn dump(&self) -> LocalBoxFuture<'static, Result<State, String>> {
        Box::pin(dump::dump(Rc::clone(&self.shared)))
    }

    fn counters(&self) -> Gauges {
        let asked = self.shared.log.asked();
        let counts = [
            ("log appends", &asked.appends),
            ("log reads", &asked.reads),
            ("log trims", &asked.trims),
        ];
        let counts = counts.into_iter();
        counts
            .map(|(name, count)| (Name::from(name), count.get()))
            .collect()
    }

    fn gauges(&self) -> LocalBoxFuture<'static, Result<Gauges, String>> {
        let shared = Rc::clone(&self.shared);
        Box::pin(async move { dump::gauges(&shared).await })
    }
}
