//! Beldi: exactly-once effects from logs kept beside the data (OSDI'20).
//!
//! Every instance of a function has an id and is recorded as an *intent* before its code runs.
//! Every effect of the instance has a step, and effect and log record are made atomic: a write puts
//! its log key into the same row that it changes (the [`daal`], a linked list of rows per key), a
//! read is logged after the fact and the first logged value wins ([`log`]), an invocation logs its
//! callee's id first. So an execution can be repeated from its beginning and has its effects once;
//! the [`collector`] repeats executions that did not finish. [`wrapper`] is what surrounds every
//! function; [`instance`] is what an app's operations become.
//!
//! Two variants. `beldi` follows the paper: a callee hands its result over by invoking the caller,
//! and an asynchronous call is registered by invoking the callee, so that nobody writes another
//! function's tables. `beldi-direct` follows the published artifact, which writes them directly and
//! keeps no result in the intent; it costs fewer invocations.

mod collector;
mod daal;
mod dump;
mod envelope;
mod finish;
mod instance;
mod lock;
mod log;
mod names;
mod shadow;
mod tx;
mod wrapper;

use futures_util::future::LocalBoxFuture;
use std::rc::Rc;
use triptych_api::{App, Declares, Isolation, Name, Retries, State, Value, client_view};
use triptych_faas::{Answer, Deployment, Handler, InvokeError, Payload, Platform, Timer};
use triptych_store::Store;
use triptych_world::{Nanos, World};

/// What Beldi promises.
pub const DECLARES: Declares = Declares {
    exactly_once: true,
    transaction: Isolation::Serializable,
    order: true,
    durable: true,
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
            bug: None,
        }
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
                for schema in names::schemas(function) {
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

    fn timers(&self) -> Vec<Timer> {
        let functions = self.0.app.functions.iter();
        let timer = |name: &Name| Timer {
            function: name.clone(),
            period: self.0.config.collector_period,
            payload: triptych_faas::timer_payload(envelope::COLLECT),
        };
        functions.map(|function| timer(&function.name)).collect()
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
}
