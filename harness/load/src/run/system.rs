//! A system under test in its world: loading it, counting its work, and waiting until it is quiet.

use super::{LOADED, RunError, Watch};
use crate::free::FreeStore;
use futures_util::future::join_all;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::App;
use triptych_faas::{Deployment, Platform, SimPool};
use triptych_model::{Name, Outcome, Value, Work};
use triptych_store::SimStore;
use triptych_workloads::Load;
use triptych_world::{MS, Nanos, RequestState, SECOND, World};

/// The parts of a running system.
pub(super) struct System {
    pub(super) world: World,
    pub(super) app: Rc<App>,
    pub(super) store: SimStore,
    pub(super) free: Rc<FreeStore>,
    pub(super) pool: SimPool,
    pub(super) deployment: Rc<dyn Deployment>,
    pub(super) watch: Watch,
}

/// How long to wait before a refused call is repeated while loading.
const LOAD_PAUSE: Nanos = 200 * MS;
/// How often; after that the limits are too tight for the data set.
const LOAD_ATTEMPTS: u32 = 1_000;

impl System {
    pub(super) fn work(&self) -> Work {
        let mut work = self.store.work();
        work.add(&self.pool.work());
        let counters = self.deployment.counters().into_iter();
        work.runtime = counters
            .map(|(name, count)| (name.to_string(), count))
            .collect();
        work
    }

    /// Loads the data set through the app. Requests for one entry point go one after another, in
    /// their order, because of two registrations of one name the later must win.
    pub(super) async fn load(self: &Rc<Self>, loads: Vec<Load>) -> Result<(), RunError> {
        let total = loads.len() as u64;
        let mut lanes: BTreeMap<(String, String), Vec<(u64, Load)>> = BTreeMap::new();
        for (n, load) in (0..).zip(loads) {
            lanes
                .entry((load.function.clone(), load.op.clone()))
                .or_default()
                .push((n, load));
        }
        let done = Rc::new(Cell::new(0));
        let lanes = lanes.into_values().map(|lane| {
            let (system, done) = (Rc::clone(self), Rc::clone(&done));
            self.world.spawn("loader", async move {
                // A lane is a client of its own, which goes on from what it did before.
                let mut session = Value::Null;
                for (n, load) in lane {
                    if system.watch.cancel.is_cancelled() {
                        return Err(RunError::Cancelled);
                    }
                    let apart = load.apart;
                    system.load_one(n, load, &mut session).await?;
                    if apart {
                        session = Value::Null;
                    }
                    done.set(done.get() + 1);
                    system.watch.progress.set(0, LOADED, done.get(), total);
                }
                Ok(())
            })
        });
        join_all(lanes.collect::<Vec<_>>())
            .await
            .into_iter()
            .collect()
    }

    async fn load_one(&self, n: u64, load: Load, session: &mut Value) -> Result<(), RunError> {
        let function = Name::from(load.function.as_str());
        let id = format!("load{n}");
        for attempt in 1.. {
            let input = load.input.clone();
            let payload = self.deployment.request(&id, &load.op, input, session);
            let scope = self.world.background_scope();
            let reply = self.pool.invoke(&scope, &function, payload).await;
            let answer = self.deployment.answer(reply);
            if answer.session != Value::Null {
                *session = self.deployment.remember(session, answer.session);
            }
            match answer.outcome {
                Outcome::Ok => break,
                Outcome::Failed(_) | Outcome::Aborted(_) if attempt < LOAD_ATTEMPTS => {
                    self.world.sleep(LOAD_PAUSE).await;
                }
                outcome => {
                    let Load { function, op, .. } = load;
                    return Err(RunError::Loading {
                        function,
                        op,
                        outcome,
                    });
                }
            }
        }
        Ok(())
    }

    /// Waits until nothing is alive, queued or pending, at most `limit`. If it is not quiet by then,
    /// says what is left.
    pub(super) async fn quiet(
        &self,
        requests: &RefCell<Vec<Rc<RequestState>>>,
        limit: Nanos,
    ) -> Result<Option<String>, RunError> {
        let deadline = self.world.now().saturating_add(limit);
        // A request may come alive again as long as anything is pending, so all are asked in the
        // end; until then only those that were alive at the last look.
        let mut watched: Vec<Rc<RequestState>> = requests.borrow().clone();
        loop {
            if self.watch.cancel.is_cancelled() {
                return Err(RunError::Cancelled);
            }
            watched.retain(|request| request.live() > 0);
            let queued = self.pool.queued();
            if watched.is_empty() && queued == 0 {
                let pending = self.free.look(self.deployment.pending()).await;
                let pending = pending.map_err(RunError::Dump)?;
                let live = || requests.borrow().iter().any(|request| request.live() > 0);
                if pending == 0 && !live() {
                    return Ok(None);
                }
            }
            if self.world.now() >= deadline {
                let (alive, after) = (watched.len(), limit / SECOND);
                return Ok(Some(format!(
                    "not quiet {after} s after the load: {alive} requests alive, {queued} events queued"
                )));
            }
            self.world.sleep(SECOND).await;
        }
    }
}

/// What was done since `before`. What is stored, and the peak, are as they are now.
pub(super) fn difference(mut now: Work, before: &Work) -> Work {
    now.invocations -= before.invocations;
    now.cold_starts -= before.cold_starts;
    now.timeouts -= before.timeouts;
    now.crashes -= before.crashes;
    now.duplicates -= before.duplicates;
    now.throttled_concurrency -= before.throttled_concurrency;
    now.throttled_rate -= before.throttled_rate;
    now.async_retries -= before.async_retries;
    now.async_dropped -= before.async_dropped;
    now.state_transitions -= before.state_transitions;
    now.function_ns -= before.function_ns;
    now.billed_ms -= before.billed_ms;
    now.init_ms -= before.init_ms;
    for (name, count) in &before.store_calls {
        if let Some(now) = now.store_calls.get_mut(name) {
            *now -= count;
        }
    }
    now.store_calls.retain(|_, count| *count > 0);
    now.store_condition_failures -= before.store_condition_failures;
    now.store_throttled -= before.store_throttled;
    now.read_half_units -= before.read_half_units;
    now.write_units -= before.write_units;
    now.store_bytes_in -= before.store_bytes_in;
    now.store_bytes_out -= before.store_bytes_out;
    now.payload_bytes -= before.payload_bytes;
    for (name, count) in &before.runtime {
        if let Some(now) = now.runtime.get_mut(name) {
            *now -= count;
        }
    }
    now
}
