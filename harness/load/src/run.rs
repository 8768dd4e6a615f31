//! One run: a runtime with an app in it, loaded, measured, drained until quiet, read out, judged.
//!
//! Everything happens in one virtual world, so a run is a pure function of (campaign, cell). The
//! order of things: tables are created; the data set is loaded through the app itself; the counters
//! are noted; the generator keeps its schedule; then the run waits until nothing is alive, queued or
//! pending any more, because only then may "exactly once" be judged. What is counted is all work
//! from the start of the load until quiet, so that recovering from a crash is paid for.

mod clients;
mod gauges;
mod report;
mod script;
mod system;
#[cfg(test)]
mod tests;

use crate::campaign::{Campaign, Cell};
use crate::drive::{self, Driven};
use crate::free::FreeStore;
use crate::pool::Cancel;
use crate::record::Recorder;
use crate::schedule::{Rate, Schedule};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use triptych_api::{App, Retries};
use triptych_faas::{Deployment, PoolConfig, SimPool};
use triptych_model::history::History;
use triptych_model::{OpRecord, Outcome, State, Transactions, Verdict, Work};
use triptych_registry::Site;
use triptych_results::{Environment, Gauge, Manifest, PriceSheet, RunData};
use triptych_store::{SimStore, StoreConfig};
use triptych_workloads::{Generator, Profile};
use triptych_world::fault::Faults;
use triptych_world::latency::{self, ProfileError};
use triptych_world::{Deadlock, Nanos, Options, SECOND, Trace, World};

use clients::Clients;
use gauges::Gauges;
pub use report::{judge, rejudge};
pub use script::{Census, Script, Seen};
use system::{System, difference};

/// Why a run has no result. None of these is a finding about the runtime under test.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RunError {
    /// It was asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// A name or a setting that does not fit; campaigns that were read from a file have none.
    #[error("{0}")]
    Config(String),
    /// The runtime could not create its tables.
    #[error("the runtime could not be prepared: {0}")]
    Prepare(String),
    /// The data set could not be loaded.
    #[error("loading the data set: {function}.{op} ended as {outcome:?}")]
    Loading {
        /// The function that was called.
        function: String,
        /// The entry point.
        op: String,
        /// How the call ended.
        outcome: Outcome,
    },
    /// The runtime could not say what is pending, or what it left behind.
    #[error("the state could not be read out: {0}")]
    Dump(String),
    /// Nothing could happen any more, but the run was not over: a bug of the simulation.
    #[error(transparent)]
    Deadlock(#[from] Deadlock),
    /// A bug of the suite.
    #[error("the suite failed: {0}")]
    Panic(String),
}

impl From<ProfileError> for RunError {
    fn from(error: ProfileError) -> Self {
        RunError::Config(error.to_string())
    }
}

/// What a run hands over for its bundle.
#[derive(Debug)]
pub struct RunOutput {
    /// The facts of the run.
    pub manifest: Manifest,
    /// Every request in the order of the schedule.
    pub ops: Vec<OpRecord>,
    /// The work from the start of the load until quiet.
    pub work: Work,
    /// What the runtime left behind.
    pub state: State,
    /// What it kept over time, if the profile asks.
    pub gauges: Vec<Gauge>,
    /// What transactions read and wrote, if it was recorded and the app has lists.
    pub history: Option<History>,
    /// What the oracle says.
    pub verdict: Verdict,
    /// Where and when it ran.
    pub environment: Environment,
    /// What no bundle keeps.
    pub seen: Seen,
}

impl RunOutput {
    /// As the bundle's writer takes it.
    pub fn data(&self) -> RunData<'_> {
        let RunOutput {
            manifest,
            ops,
            work,
            state,
            gauges,
            history,
            verdict,
            environment,
            ..
        } = self;
        RunData {
            manifest,
            ops,
            work,
            state,
            gauges,
            history: history.as_ref(),
            verdict,
            environment,
        }
    }
}

/// How far a run is, for whoever watches it from another thread.
#[derive(Debug, Default)]
pub struct Progress(AtomicU64);

/// Shares of a run's wall time, roughly, in thousandths.
const LOADED: u64 = 100;
const DRIVEN: u64 = 950;
const FINISHED: u64 = 1_000;

impl Progress {
    /// Thousandths that are done.
    pub fn permille(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, from: u64, to: u64, done: u64, total: u64) {
        let share = (to - from) * done.min(total) / total.max(1);
        self.0.store(from + share, Ordering::Relaxed);
    }
}

/// A handle on a run under way.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Asks it to stop.
    pub cancel: Arc<Cancel>,
    /// Says how far it is.
    pub progress: Arc<Progress>,
}

/// What the world is built from.
struct Plan {
    campaign: Campaign,
    profile: Profile,
    app: App,
    generator: Generator,
    latency: latency::Profile,
    pool: PoolConfig,
    store: StoreConfig,
    deploy: fn(Site) -> Rc<dyn Deployment>,
    schedule: Schedule,
    script: Script,
    /// How many servers a runtime starts that brings its own.
    servers: u16,
    /// How often to note what the runtime keeps, if at all.
    gauge_period: Option<Nanos>,
    watch: Watch,
    /// Whether executions of one instance are one.
    exactly_once: bool,
}

/// What comes out of the world.
struct Done {
    driven: Driven,
    ops: Vec<OpRecord>,
    work: Work,
    state: State,
    gauges: Vec<Gauge>,
    history: Option<History>,
    seen: Seen,
    digest: u64,
}

/// What is put under load: an app, and the runtime that it is deployed on.
pub struct Subject {
    /// The app.
    pub app: App,
    /// Puts the app into the runtime.
    pub deploy: fn(Site) -> Rc<dyn Deployment>,
}

impl Subject {
    /// What a cell names, from the registry.
    ///
    /// # Errors
    /// [`RunError::Config`] if it names something that does not exist.
    pub fn of(campaign: &Campaign, cell: &Cell) -> Result<Subject, RunError> {
        let config = |error: triptych_registry::Unknown| RunError::Config(error.to_string());
        let profile = campaign.profile(&cell.profile).map_err(RunError::Config)?;
        let entry = triptych_registry::app(&profile.app).map_err(config)?;
        let app = (entry.build)(&profile).map_err(RunError::Config)?;
        let runtime = triptych_registry::runtime(&cell.runtime).map_err(config)?;
        Ok(Subject {
            app,
            deploy: runtime.deploy,
        })
    }
}

/// Runs one cell of a campaign. `command` is what the bundle says would run it again.
///
/// # Errors
/// See [`RunError`].
pub fn run(
    campaign: &Campaign,
    cell: &Cell,
    command: &str,
    watch: &Watch,
) -> Result<RunOutput, RunError> {
    run_subject(campaign, cell, command, watch, Subject::of(campaign, cell)?)
}

/// Runs one cell with something else than the registry has in its place: how seeded bugs are put
/// under the same load and before the same judge.
///
/// # Errors
/// See [`RunError`].
pub fn run_subject(
    campaign: &Campaign,
    cell: &Cell,
    command: &str,
    watch: &Watch,
    subject: Subject,
) -> Result<RunOutput, RunError> {
    run_scripted(campaign, cell, command, watch, subject, &Script::default())
}

/// Runs one cell of a campaign with requests, faults or records of one's own.
///
/// # Errors
/// See [`RunError`].
pub fn run_scripted(
    campaign: &Campaign,
    cell: &Cell,
    command: &str,
    watch: &Watch,
    subject: Subject,
    script: &Script,
) -> Result<RunOutput, RunError> {
    let begun = std::time::Instant::now();
    let mut environment = Environment::observe();
    let plan = plan(campaign, cell, watch, subject, script)?;
    let options = Options {
        shuffle: campaign.platform.shuffle,
        faults: Faults {
            aimed: script.aimed.clone(),
            ..campaign.faults.faults()
        },
        request_sigma: plan.latency.request_sigma,
        census: script.census,
        trace: script.trace,
    };
    let (app, profile, pool) = (plan.app.clone(), plan.profile.clone(), plan.pool.clone());
    let kinds = plan.generator.kinds();
    let done = World::simulate(cell.seed, options, |world| simulated(world, plan))??;
    let facts = report::Facts {
        campaign,
        cell,
        command,
        kinds,
        app: &app,
        profile: &profile,
        pool: &pool,
    };
    let manifest = facts.manifest(&done.driven, done.digest);
    let history = done.history.as_ref();
    let verdict =
        judge(&app, &manifest, &done.ops, &done.state, history).map_err(RunError::Config)?;
    watch.progress.set(0, FINISHED, 1, 1);
    environment.wall_ns = begun.elapsed().as_nanos() as u64;
    let Done {
        ops,
        work,
        state,
        gauges,
        history,
        seen,
        ..
    } = done;
    Ok(RunOutput {
        manifest,
        ops,
        work,
        state,
        gauges,
        history,
        verdict,
        environment,
        seen,
    })
}

fn plan(
    campaign: &Campaign,
    cell: &Cell,
    watch: &Watch,
    subject: Subject,
    script: &Script,
) -> Result<Plan, RunError> {
    let config = |error: String| RunError::Config(error);
    let profile = campaign.profile(&cell.profile).map_err(config)?;
    let generator = Generator::new(&profile, cell.seed).map_err(config)?;
    let mut latency = latency::Profile::shipped(&campaign.platform.latency)?;
    if let Some(hop) = campaign.platform.hop_ms {
        latency.set_median("faas.sync_invoke", hop)?;
        latency.set_median("faas.async_enqueue", hop)?;
    }
    let sheet = PriceSheet::shipped(&campaign.prices).map_err(|error| config(error.to_string()))?;
    let mut pool = PoolConfig::for_profile(&latency);
    if let Some(concurrency) = campaign.platform.concurrency {
        pool.concurrency = concurrency;
        pool.requests_per_second = concurrency.saturating_mul(10);
    }
    pool.requests_per_second = campaign
        .platform
        .request_quota
        .unwrap_or(pool.requests_per_second);
    pool.timeout = campaign.timing.timeout.0;
    pool.queue_age = campaign.timing.queue_age.0;
    pool.async_retries = campaign.timing.async_retries;
    pool.billing_granularity_ms = sheet.billing_granularity_ms();
    let store = StoreConfig {
        throttling: campaign.platform.store_throttling,
        txn_max_items: sheet.transaction_items() as usize,
    };
    let rate = Rate::per_second(cell.rate)
        .ok_or_else(|| config(format!("{} is not a rate", cell.rate)))?;
    let schedule = Schedule {
        arrivals: campaign.arrivals,
        rate,
        span: campaign.duration.0,
        ramp: campaign.ramp.0,
        seed: cell.seed,
    };
    let gauge_period = profile.settings.get("gauge_seconds");
    let gauge_period = gauge_period.and_then(|seconds| seconds.parse::<u64>().ok());
    let gauge_period = gauge_period.map(|seconds| seconds.max(1).saturating_mul(SECOND));
    let runtime = triptych_registry::runtime(&cell.runtime);
    let exactly_once = runtime
        .map_err(|error| config(error.to_string()))?
        .declares
        .exactly_once;
    Ok(Plan {
        exactly_once,
        campaign: campaign.clone(),
        servers: campaign.servers(&profile),
        profile,
        app: subject.app,
        generator,
        latency,
        pool,
        store,
        deploy: subject.deploy,
        schedule,
        script: script.clone(),
        gauge_period,
        watch: watch.clone(),
    })
}

async fn simulated(world: World, plan: Plan) -> Result<Done, RunError> {
    let mut app = plan.app;
    let recorder = plan
        .campaign
        .history
        .then(|| Recorder::watch(&world, &mut app, plan.exactly_once));
    let app = Rc::new(app);
    let store = SimStore::new(&world, &plan.latency, plan.store)?;
    let free = Rc::new(FreeStore::new(store.clone()));
    let pool = SimPool::new(&world, &plan.latency, plan.pool)?;
    let deployment = (plan.deploy)(Site {
        world: world.clone(),
        store: free.clone(),
        platform: Rc::new(pool.clone()),
        app: Rc::clone(&app),
        retries: Retries(plan.profile.retries),
        timing: plan.campaign.timing.timing(),
        servers: plan.servers,
    });
    let watch = plan.watch;
    let system = Rc::new(System {
        world,
        app,
        store,
        free,
        pool,
        deployment,
        watch,
    });
    system
        .deployment
        .prepare()
        .await
        .map_err(RunError::Prepare)?;
    system.pool.place(&*system.deployment);

    let loads = plan.generator.loads();
    let drain = plan.campaign.timing.drain.0;
    system.load(loads).await?;
    if let Some(stuck) = system.quiet(&RefCell::default(), drain).await? {
        return Err(RunError::Prepare(format!(
            "never quiet after loading: {stuck}"
        )));
    }
    let before = system.work();
    let transactions_before = recorder.as_ref().map(|recorder| recorder.transactions());
    let background = system.world.request(Trace::BACKGROUND).points();

    let script = plan.script;
    let clients = Rc::new(Clients::new(
        Rc::clone(&system),
        plan.generator,
        script.requests.clone(),
        recorder.clone(),
    ));
    let ops = Rc::new(RefCell::new(Vec::new()));
    let (sink, watch, span) = (Rc::clone(&ops), system.watch.clone(), plan.schedule.span);
    let times: Box<dyn Iterator<Item = Nanos>> = match script.requests {
        Some(requests) => Box::new((0..requests.len()).map(move |n| requests[n].0)),
        None => Box::new(plan.schedule.times()),
    };
    let times = times.take_while({
        let watch = watch.clone();
        move |at| {
            watch.progress.set(LOADED, DRIVEN, *at, span);
            !watch.cancel.is_cancelled()
        }
    });
    let (planner, sender) = (Rc::clone(&clients), Rc::clone(&clients));
    let gauges = Gauges::start(&system, plan.gauge_period, plan.schedule.span);
    let driven = drive::drive(
        &system.world,
        times,
        plan.campaign.limits(),
        move |index| planner.plan(index),
        move |index, _| sender.send(index),
        move |op| sink.borrow_mut().push(op),
    )
    .await;
    let gauges = gauges.take(&system, driven.origin).await?;
    let stuck = system.quiet(&clients.requests, drain).await?;
    let mut work = difference(system.work(), &before);
    if let Some((recorder, before)) = recorder.as_ref().zip(transactions_before) {
        let now = recorder.transactions();
        work.transactions = Some(Transactions {
            begun: now.begun - before.begun,
            attempts: now.attempts - before.attempts,
            conflicts: now.conflicts - before.conflicts,
        });
    }
    if script.linger > 0 {
        system.world.sleep(script.linger).await;
    }
    system.pool.stop_timers();

    let dump = system.deployment.dump();
    let mut state = system.free.look(dump).await.map_err(RunError::Dump)?;
    if let Some(stuck) = stuck {
        state.pending.push(stuck);
    }
    let history = recorder.map(|recorder| recorder.finish(&state));
    // Most apps have no lists, and then there is nothing to say.
    let history = history.filter(|history| !history.is_empty());
    let mut ops = std::mem::take(&mut *ops.borrow_mut());
    ops.sort_by_key(|op: &OpRecord| op.index);
    for (op, request) in ops.iter_mut().zip(&*clients.requests.borrow()) {
        op.entry_ns = request.entry();
        op.faults = request.fired();
        if request.live() == 0 {
            op.settled_ns = request.settled().saturating_sub(driven.origin);
        }
    }
    let requests = clients.requests.borrow();
    let seen = Seen::new(&system.world, &requests, background, driven.origin);
    let digest = clients.digest.get();
    Ok(Done {
        driven,
        ops,
        work,
        state,
        gauges,
        history,
        seen,
        digest,
    })
}
