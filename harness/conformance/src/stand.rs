//! A runtime with an app in it, in a simulated world of its own, and a client in front of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use triptych_api::model::{Name, Outcome, State, Value};
use triptych_api::{App, Call, Ctx, Function, LocalBoxFuture, Result as ApiResult, Retries};
use triptych_faas::{Answer, Deployment, Platform, PoolConfig, SimPool};
use triptych_site::{RuntimeEntry, SERVERS, Site, Timing};
use triptych_store::{SimStore, StoreConfig};
use triptych_world::latency::Profile;
use triptych_world::{Life, Nanos, Options, SECOND, Scope, Trace, World};

/// Whatever was begun must have ended after this time.
const QUIET_WITHIN: Nanos = 1_800 * SECOND;
const LOOK_EVERY: Nanos = 5 * SECOND;

/// What makes one stand differ from another.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) options: Options,
    /// Executions alive at one time; the platform's own limit if absent.
    pub(crate) concurrency: Option<u32>,
}

/// A call of an entry function.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) function: &'static str,
    pub(crate) op: &'static str,
    pub(crate) input: Value,
}

/// See the module documentation.
pub(crate) struct Stand {
    pub(crate) world: World,
    pub(crate) pool: SimPool,
    pub(crate) deployment: Rc<dyn Deployment>,
    /// The client's side of each request. One that is sent again is a new call of the same request.
    scopes: RefCell<BTreeMap<u64, Scope>>,
}

/// A request that is aborted by a conflict is tried again so often.
const RETRIES: u32 = 12;

/// Builds a stand and runs `body` on it.
///
/// # Errors
/// If the runtime cannot be set up, blocks for ever, or panics.
pub(crate) fn simulate<T, F>(
    entry: &RuntimeEntry,
    setup: Setup,
    app: App,
    body: impl FnOnce(Rc<Stand>) -> F,
) -> Result<T, String>
where
    T: 'static,
    F: Future<Output = Result<T, String>> + 'static,
{
    let deploy = entry.deploy;
    let in_world = |world: World| {
        let stand = Stand::build(world, &setup, app, deploy);
        let running = stand.map(|stand| (body(Rc::clone(&stand)), stand));
        async move {
            let (running, stand) = running?;
            stand.deployment.prepare().await?;
            stand.pool.place(&*stand.deployment);
            running.await
        }
    };
    let simulated =
        AssertUnwindSafe(|| World::simulate(setup.seed, setup.options.clone(), in_world));
    match catch_unwind(simulated) {
        Ok(Ok(end)) => end,
        Ok(Err(deadlock)) => Err(deadlock.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("it panicked: {}", text.unwrap_or("without a word")))
        }
    }
}

thread_local! {
    static LATENCIES: Result<Profile, String> =
        Profile::shipped("ec2-2021").map_err(|error| error.to_string());
}

impl Stand {
    fn build(
        world: World,
        setup: &Setup,
        app: App,
        deploy: fn(Site) -> Rc<dyn Deployment>,
    ) -> Result<Rc<Stand>, String> {
        let profile = LATENCIES.with(Clone::clone)?;
        let store = SimStore::new(&world, &profile, StoreConfig::default());
        let mut config = PoolConfig::for_profile(&profile);
        config.concurrency = setup.concurrency.unwrap_or(config.concurrency);
        let pool = SimPool::new(&world, &profile, config).map_err(|error| error.to_string())?;
        let deployment = deploy(Site {
            world: world.clone(),
            store: Rc::new(store.map_err(|error| error.to_string())?),
            platform: Rc::new(pool.clone()),
            app: Rc::new(app),
            retries: Retries(RETRIES),
            // A request that is sent again is the same one only as long as nothing of it has been
            // collected, and here it is sent again after everything has come to rest.
            timing: Timing {
                t: 24 * 3_600 * SECOND,
                ..Timing::default()
            },
            servers: SERVERS,
        });
        let scopes = RefCell::default();
        Ok(Rc::new(Stand {
            world,
            pool,
            deployment,
            scopes,
        }))
    }

    /// Sends a request, again if it was sent before.
    pub(crate) async fn ask(&self, n: u64, ask: &Ask, session: &Value) -> Answer {
        let scope = {
            let mut scopes = self.scopes.borrow_mut();
            let new = || Scope::new(self.world.begin_request(n, 0), 0, Life::new());
            scopes.entry(n).or_insert_with(new).clone()
        };
        let id = format!("r{n}");
        let payload = self
            .deployment
            .request(&id, ask.op, ask.input.clone(), session);
        let reply = self
            .pool
            .invoke(&scope, &Name::from(ask.function), payload)
            .await;
        self.deployment.answer(reply)
    }

    /// Sends a request that must end well.
    pub(crate) async fn must(&self, n: u64, ask: &Ask) -> Result<Value, String> {
        self.must_after(n, ask, &mut Value::Null).await
    }

    /// Sends a request of a session that must end well.
    pub(crate) async fn must_after(
        &self,
        n: u64,
        ask: &Ask,
        session: &mut Value,
    ) -> Result<Value, String> {
        let answer = self.ask(n, ask, session).await;
        if answer.session != Value::Null {
            *session = answer.session;
        }
        match answer.outcome {
            Outcome::Ok => Ok(answer.output),
            outcome => Err(format!("{} ended {outcome:?}, not ok", ask.op)),
        }
    }

    /// Effects so far of a request, or of what no request caused.
    pub(crate) fn effects(&self, n: u64) -> u32 {
        self.world.request(n).effects()
    }

    /// Waits until nothing is alive, queued or pending.
    ///
    /// # Errors
    /// What is left after a long time.
    pub(crate) async fn settle(&self) -> Result<(), String> {
        let deadline = self.world.now() + QUIET_WITHIN;
        loop {
            let alive = self
                .scopes
                .borrow()
                .values()
                .any(|scope| scope.request().live() > 0);
            let alive = alive || self.world.request(Trace::BACKGROUND).live() > 0;
            let idle = !alive && self.pool.running() == 0 && self.pool.queued() == 0;
            if idle && self.deployment.pending().await? == 0 {
                return Ok(());
            }
            if self.world.now() >= deadline {
                let pending = self.deployment.pending().await?;
                return Err(format!(
                    "not quiet after {} s: {} executions, {} events, {pending} instances pending",
                    QUIET_WITHIN / SECOND,
                    self.pool.running(),
                    self.pool.queued(),
                ));
            }
            self.world.sleep(LOOK_EVERY).await;
        }
    }

    /// The state that is left.
    pub(crate) async fn dump(&self) -> Result<State, String> {
        self.deployment.dump().await
    }

    /// The state that is left once it is quiet, and no more timers.
    pub(crate) async fn end(&self) -> Result<State, String> {
        self.settle().await?;
        self.pool.stop_timers();
        self.dump().await
    }
}

/// What is wrong with a state besides its rows.
pub(crate) fn unclean(state: &State) -> Option<String> {
    let all = [&state.pending, &state.residue, &state.corrupt];
    let first = all.into_iter().flatten().next();
    first.cloned()
}

/// Whether two states have the same rows; if not, where they differ first.
pub(crate) fn difference(
    expected: &BTreeMap<Name, BTreeMap<Name, Value>>,
    found: &BTreeMap<Name, BTreeMap<Name, Value>>,
) -> Option<String> {
    if expected == found {
        return None;
    }
    let empty = BTreeMap::new();
    for table in expected.keys().chain(found.keys()) {
        let (wanted, rows) = (
            expected.get(table).unwrap_or(&empty),
            found.get(table).unwrap_or(&empty),
        );
        for key in wanted.keys().chain(rows.keys()) {
            if wanted.get(key) != rows.get(key) {
                return Some(format!(
                    "{table}[{key}] should be {}, not {}",
                    shown(wanted.get(key)),
                    shown(rows.get(key)),
                ));
            }
        }
    }
    None
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), |value| format!("{value:?}"))
}

/// An app from its functions: nothing else of it matters here.
pub(crate) fn app(functions: Vec<Function>) -> App {
    App {
        name: "conformance",
        functions,
        workflows: Vec::new(),
        kinds: Vec::new(),
        elements: |_, _| None,
        observe: |_, _, _| Value::Null,
        rules: |_| Default::default(),
    }
}

/// A function with some tables.
pub(crate) fn function<H>(name: &str, tables: &[&str], handler: H) -> Function
where
    H: for<'a> Fn(&'a mut Ctx, Call) -> LocalBoxFuture<'a, ApiResult<Value>> + 'static,
{
    Function::new(name, tables, handler)
}
