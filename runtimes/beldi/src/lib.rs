//! Beldi: exactly-once effects from logs kept beside the data (OSDI'20).
//!
//! Every instance of a function has an id and is recorded as an *intent* before its code runs.
//! Every effect of the instance has a step, and effect and log record are made atomic: a write puts
//! its log key into the same row that it changes (the [`daal`], a linked list of rows per key), a
//! read is logged after the fact and the first logged value wins ([`log`]), an invocation logs its
//! callee's id first. So an execution can be repeated from its beginning and has its effects once;
//! the [`collector`] repeats executions that did not finish. [`wrapper`] is what surrounds every
//! function; [`instance`] is what an app's operations become. What is long over is forgotten by the
//! garbage collector, [`gc`].
//!
//! Two variants. `beldi` follows the paper: a callee hands its result over by invoking the caller,
//! and an asynchronous call is registered by invoking the callee, so that nobody writes another
//! function's tables. `beldi-direct` follows the published artifact, which writes them directly and
//! keeps no result in the intent; it costs fewer invocations.

mod audit;
mod collector;
mod crosstable;
mod daal;
mod dump;
mod envelope;
mod finish;
mod gauges;
mod gc;
mod instance;
mod lock;
mod log;
mod machine;
mod names;
mod progress;
mod rows;
mod shadow;
mod tx;
mod wrapper;

pub use progress::Contention;

use futures_util::future::LocalBoxFuture;
use std::rc::Rc;
use triptych_api::{
    App, Declares, Isolation, Name, Order, Retries, State, Value, Workflow, client_view,
};
use triptych_faas::{
    Answer, Deployment, Gauges, Handler, InvokeError, Machine, Payload, Platform, Timer,
};
use triptych_store::Store;
use triptych_world::{Nanos, World};

/// What Beldi promises.
pub const DECLARES: Declares = Declares {
    exactly_once: true,
    transaction: Isolation::Serializable,
    order: Order::RealTime,
    durable: true,
};

/// What Beldi promises on transactions of the store.
pub const DECLARES_CROSS_TABLE: Declares = Declares {
    transaction: Isolation::None,
    ..DECLARES
};

/// A seeded defect, to show that the oracle sees it. Campaigns cannot ask for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Reads (and the time) are not logged: a repeated execution sees other values.
    SkipReadLog,
    /// A duplicate that arrives after the instance is done is executed as if it were new.
    AcceptLateDuplicate,
    /// Some appends are logged as done but change nothing.
    DropAppend,
    /// A row that is appended to a list does not carry the lock (P1 of the specification).
    LockLostOnAppend,
    /// A call in a transaction takes two steps when it is new and one when it is replayed, so a
    /// replay numbers what follows anew (P2).
    StepsDependOnLog,
    /// An aborted transaction keeps its locks (P3).
    AbortKeepsLocks,
    /// A lock is taken without a note of it, so nobody releases it (P4).
    LockNotNoted,
    /// The commit writes and unlocks whoever holds the lock by now (P5).
    CommitAppliesBlindly,
    /// A further callee replaces those noted before (P6).
    ForgetEarlierCallees,
    /// A transaction does not see what it has written (P19).
    NoReadYourWrites,
    /// A transaction dies of a lock without logging that it does.
    DeathNotLogged,
    /// Whoever comes first takes a lock that is free, also before an older one that waits for it.
    NoQueue,
    /// Reads in a transaction take no lock.
    NoReadLocks,
    /// The commit releases all locks before it applies the writes.
    ReleaseBeforeApply,
    /// The commit leaves out the last of several participants.
    CommitSkipsFunction,
    /// Writes in a transaction are visible at once, and their lock is gone.
    WriteThrough,
    /// An aborted transaction is committed.
    IgnoreAbort,
    /// Calls are handed over at once, although the transaction may abort.
    SendBeforeCommit,
    /// The garbage collector takes every id that begins like a finished one for that one (P13).
    PrefixMatch,
    /// The garbage collector forgets decisions on locks before the transaction is over.
    LocksBeforeShadow,
    /// The garbage collector does not wait for `T` to pass.
    CollectorIgnoresT,
    /// A row is deleted instead of unlinked.
    DeleteReachable,
    /// The intent is deleted before the logs, so a crash between leaves logs for ever.
    IntentBeforeLogs,
    /// Logs of instances that are not done are deleted too.
    CollectUnfinished,
    /// A row that is appended to a list does not carry the value.
    ValueLostOnAppend,
    /// Updates that are refused are logged but not counted, so rows outgrow their size (P11).
    RefusalsUncounted,
    /// The intent collector starts an unfinished instance under a new id.
    RestartUnderNewId,
    /// An event whose intent was collected runs as if it were new (P9, P18).
    AcceptCollected,
    /// The callee is done without having handed its result over.
    CallbackLost,
    /// An asynchronous call is fired without being registered.
    FireOnly,
}

/// Where a write and its log entry are made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In one row: the linked DAAL.
    Daal,
    /// In two tables, by a transaction of the store. Beldi's own transactions are not built on it.
    CrossTable,
}

/// How an installation of Beldi differs from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Log entries per row (`N`) before a row is appended. DynamoDB bills the whole row, so a
    /// small one is cheaper; the artifact has 1,000.
    pub row_capacity: i64,
    /// Write other functions' tables directly, as the artifact does.
    pub direct: bool,
    /// How often each function's intent collector runs.
    pub collector_period: Nanos,
    /// An intent that was started this long ago and is not done is executed again.
    pub restart_after: Nanos,
    /// Where a write and its log entry are made one.
    pub storage: Storage,
    /// How often each function's garbage collector runs; never, if there is no period.
    pub gc_period: Option<Nanos>,
    /// How long after its instance was done an execution or a message of it may still be alive: at
    /// least timeout, queue age and the longest delay of a message together.
    pub t: Nanos,
    /// A seeded defect.
    pub bug: Option<Bug>,
}

impl Config {
    /// The paper's protocol.
    pub fn paper(collector_period: Nanos, restart_after: Nanos) -> Self {
        Config {
            row_capacity: 100,
            direct: false,
            collector_period,
            restart_after,
            storage: Storage::Daal,
            gc_period: None,
            t: 0,
            bug: None,
        }
    }

    /// The artifact's shortcuts and row size.
    pub fn direct(collector_period: Nanos, restart_after: Nanos) -> Self {
        Config {
            row_capacity: 1_000,
            direct: true,
            collector_period,
            restart_after,
            storage: Storage::Daal,
            gc_period: None,
            t: 0,
            bug: None,
        }
    }
}

impl Config {
    /// The paper's protocol on transactions of the store instead of the linked DAAL.
    pub fn cross_table(collector_period: Nanos, restart_after: Nanos) -> Self {
        Config {
            storage: Storage::CrossTable,
            ..Config::paper(collector_period, restart_after)
        }
    }

    /// The same with a garbage collector that runs this often and relies on this `T`.
    #[must_use]
    pub fn with_gc(self, gc_period: Option<Nanos>, t: Nanos) -> Self {
        Config {
            gc_period,
            t,
            ..self
        }
    }

    fn is_cross_table(&self) -> bool {
        self.storage == Storage::CrossTable
    }
}

/// What all executions share.
struct Shared {
    world: World,
    store: Rc<dyn Store>,
    platform: Rc<dyn Platform>,
    app: Rc<App>,
    retries: Retries,
    config: Config,
}

/// An app on Beldi.
pub struct Beldi(Rc<Shared>);

impl Beldi {
    /// Puts an app on Beldi.
    pub fn new(
        world: World,
        store: Rc<dyn Store>,
        platform: Rc<dyn Platform>,
        app: Rc<App>,
        retries: Retries,
        config: Config,
    ) -> Self {
        Beldi(Rc::new(Shared {
            world,
            store,
            platform,
            app,
            retries,
            config,
        }))
    }
}

impl Deployment for Beldi {
    fn prepare(&self) -> LocalBoxFuture<'static, Result<(), String>> {
        let shared = Rc::clone(&self.0);
        Box::pin(async move {
            for function in &shared.app.functions {
                for schema in names::schemas(function, &shared.config) {
                    shared
                        .store
                        .create_table(schema)
                        .await
                        .map_err(|error| error.to_string())?;
                }
            }
            Ok(())
        })
    }

    fn functions(&self) -> Vec<(Name, Handler)> {
        let handler = |name: &Name| -> Handler {
            let (shared, name) = (Rc::clone(&self.0), name.clone());
            Rc::new(move |execution| {
                Box::pin(wrapper::handle(Rc::clone(&shared), name.clone(), execution))
            })
        };
        let functions = self.0.app.functions.iter();
        functions
            .map(|function| (function.name.clone(), handler(&function.name)))
            .collect()
    }

    fn machines(&self) -> Vec<(Name, Machine)> {
        let transactions = !self.0.config.is_cross_table();
        let machine = |workflow: &Workflow| {
            let isolated = workflow.transactional && transactions;
            (workflow.name.clone(), machine::of(workflow, isolated))
        };
        self.0.app.workflows.iter().map(machine).collect()
    }

    fn timers(&self) -> Vec<Timer> {
        let functions = self.0.app.functions.iter();
        let timer = |name: &Name, period: Option<Nanos>, kind: &str| {
            Some(Timer {
                function: name.clone(),
                period: period?,
                payload: triptych_faas::timer_payload(kind),
            })
        };
        let config = &self.0.config;
        let both = |name: &Name| {
            let intents = timer(name, Some(config.collector_period), envelope::COLLECT);
            [intents, timer(name, config.gc_period, envelope::SWEEP)]
        };
        functions
            .flat_map(|function| both(&function.name))
            .flatten()
            .collect()
    }

    fn request(&self, id: &str, op: &str, input: Value, _session: &Value) -> Payload {
        Payload::new(envelope::call(id, op, input, None, None))
    }

    fn answer(&self, reply: Result<Payload, InvokeError>) -> Answer {
        let (outcome, output) = match reply {
            Ok(payload) => client_view(&payload.body),
            Err(error) => (error.outcome(), Value::Null),
        };
        Answer {
            outcome,
            output,
            session: Value::Null,
        }
    }

    fn pending(&self) -> LocalBoxFuture<'static, Result<u64, String>> {
        let shared = Rc::clone(&self.0);
        Box::pin(async move {
            dump::pending(&shared)
                .await
                .map_err(|error| error.to_string())
        })
    }

    fn dump(&self) -> LocalBoxFuture<'static, Result<State, String>> {
        let shared = Rc::clone(&self.0);
        Box::pin(async move { dump::dump(&shared).await.map_err(|error| error.to_string()) })
    }

    fn gauges(&self) -> LocalBoxFuture<'static, Result<Gauges, String>> {
        let shared = Rc::clone(&self.0);
        Box::pin(async move {
            gauges::gauges(&shared)
                .await
                .map_err(|error| error.to_string())
        })
    }
}
