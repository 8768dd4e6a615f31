//! The simulated pool of environments: admission, cold and warm starts, execution, billing.
//!
//! An execution holds one unit of the account's concurrency from the moment it is admitted until
//! its code ends, also while it waits for a callee, and its whole duration is billed. Environments
//! serve one execution at a time, stay warm after it, and are reused latest first; a crashed or
//! timed-out one is gone.

mod platform;

use crate::bucket::Bucket;
use crate::config::{Latencies, PoolConfig, bill};
use crate::machine::Machine;
use crate::{Deployment, Execution, Handler, InvokeError, Payload};
use futures_util::future::{Either, select};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use triptych_model::{Name, Value, Work};
use triptych_world::latency::{Profile, ProfileError};
use triptych_world::trace::What;
use triptych_world::{Life, MS, Nanos, Order, Random, SECOND, Scope, Trace, World, mix, mix_str};

struct FunctionState {
    handler: Handler,
    /// When each idle environment will be reclaimed; the latest used is last.
    warm: Vec<Nanos>,
    starts: Option<Bucket>,
}

/// An execution that its timeout may end.
struct Deadline {
    at: Nanos,
    life: Life,
    state: Rc<Cell<Ended>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    Yes,
    ByTimeout,
}

struct Inner {
    world: World,
    config: PoolConfig,
    latencies: Latencies,
    functions: RefCell<BTreeMap<Name, FunctionState>>,
    machines: RefCell<BTreeMap<Name, Rc<Machine>>>,
    running: Cell<u32>,
    queued: Cell<u64>,
    quota: RefCell<Bucket>,
    account_starts: RefCell<Option<Bucket>>,
    deadlines: RefCell<VecDeque<Deadline>>,
    timers_on: Cell<bool>,
    work: RefCell<Work>,
}

/// A cheap handle to the simulated pool. See the module documentation.
#[derive(Clone)]
pub struct SimPool(Rc<Inner>);

impl SimPool {
    /// An empty pool in this world.
    ///
    /// # Errors
    /// If the profile lacks a latency of the platform.
    pub fn new(world: &World, profile: &Profile, config: PoolConfig) -> Result<Self, ProfileError> {
        let account_starts = match (config.burst.initial, config.burst.per_minute) {
            (Some(initial), Some(rate)) => {
                Some(Bucket::new(f64::from(initial), f64::from(rate) / 60.0))
            }
            _ => None,
        };
        let quota = f64::from(config.requests_per_second);
        let inner = Rc::new(Inner {
            world: world.clone(),
            latencies: Latencies::of(profile)?,
            functions: RefCell::default(),
            machines: RefCell::default(),
            running: Cell::new(0),
            queued: Cell::new(0),
            quota: RefCell::new(Bucket::new(quota, quota)),
            account_starts: RefCell::new(account_starts),
            deadlines: RefCell::default(),
            timers_on: Cell::new(false),
            work: RefCell::default(),
            config,
        });
        // Functions know the runtime, the runtime knows the platform, and that knows the functions.
        let pool = Rc::downgrade(&inner);
        world.at_end(move || {
            if let Some(pool) = pool.upgrade() {
                pool.functions.take();
                pool.machines.take();
            }
        });
        Ok(SimPool(inner))
    }

    /// Registers a function.
    pub fn register(&self, name: Name, handler: Handler) {
        let per_10s = self.0.config.burst.per_function_per_10s.map(f64::from);
        let starts = per_10s.map(|tokens| Bucket::new(tokens, tokens / 10.0));
        let state = FunctionState {
            handler,
            warm: Vec::new(),
            starts,
        };
        self.0.functions.borrow_mut().insert(name, state);
    }

    /// Registers the functions and machines of a deployment and starts its timers.
    pub fn place(&self, deployment: &dyn Deployment) {
        for (name, handler) in deployment.functions() {
            self.register(name, handler);
        }
        for (name, machine) in deployment.machines() {
            self.0.machines.borrow_mut().insert(name, Rc::new(machine));
        }
        self.0.timers_on.set(true);
        for timer in deployment.timers() {
            let pool = self.clone();
            self.0.world.spawn("timer", async move {
                loop {
                    pool.0.world.sleep(timer.period).await;
                    if !pool.0.timers_on.get() {
                        return;
                    }
                    let trace = pool.0.world.background_scope().next_trace();
                    let payload = Payload {
                        body: timer.payload.clone(),
                        trace,
                    };
                    pool.start(&timer.function, payload, false, false, |_| {});
                }
            });
        }
    }

    /// Stops the timers; executions go on.
    pub fn stop_timers(&self) {
        self.0.timers_on.set(false);
    }

    /// Executions alive now.
    pub fn running(&self) -> u32 {
        self.0.running.get()
    }

    /// Events in the asynchronous queue.
    pub fn queued(&self) -> u64 {
        self.0.queued.get()
    }

    /// What has been counted so far.
    pub fn work(&self) -> Work {
        self.0.work.borrow().clone()
    }

    pub(crate) fn world(&self) -> &World {
        &self.0.world
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Work)) {
        count(&mut self.0.work.borrow_mut());
    }

    /// Admits an execution and starts it; `done` gets its end. Refusals are immediate.
    fn start(
        &self,
        function: &Name,
        payload: Payload,
        synchronous: bool,
        entry: bool,
        done: impl FnOnce(Result<Payload, InvokeError>) + 'static,
    ) {
        match self.admit(function, &payload) {
            Err(refusal) => done(Err(refusal)),
            Ok((handler, cold)) => {
                let pool = self.clone();
                let function = function.clone();
                let request = self.0.world.request(payload.trace.request);
                request.begin();
                self.0.world.spawn("function", async move {
                    let begun = Begun {
                        function,
                        handler,
                        cold,
                        synchronous,
                        entry,
                    };
                    let end = pool.execute(begun, payload).await;
                    request.end(pool.0.world.now());
                    done(end);
                });
            }
        }
    }

    /// Takes a unit of concurrency and an environment. Returns how long the environment takes to
    /// be ready.
    fn admit(&self, name: &Name, payload: &Payload) -> Result<(Handler, Nanos), InvokeError> {
        let inner = &*self.0;
        let now = inner.world.now();
        let request = inner.world.request(payload.trace.request);
        if inner.world.throttles(&request, payload.trace.path) {
            self.count(|work| work.throttled_rate += 1);
            return Err(InvokeError::Throttled("injected"));
        }
        if !inner.quota.borrow_mut().take(now) {
            self.count(|work| work.throttled_rate += 1);
            return Err(InvokeError::Throttled("request quota"));
        }
        let mut functions = inner.functions.borrow_mut();
        let Some(function) = functions.get_mut(name) else {
            return Err(InvokeError::NoSuchFunction(name.to_string()));
        };
        if inner.running.get() >= inner.config.concurrency {
            self.count(|work| work.throttled_concurrency += 1);
            return Err(InvokeError::Throttled("concurrency limit"));
        }
        while function.warm.last().is_some_and(|&expires| expires < now) {
            function.warm.pop();
        }
        let mut cold = 0;
        if function.warm.pop().is_none()
            && let Some((placement, init)) = &inner.latencies.cold
        {
            let account = inner
                .account_starts
                .borrow_mut()
                .as_mut()
                .is_none_or(|b| b.take(now));
            if !account
                || !function
                    .starts
                    .as_mut()
                    .is_none_or(|bucket| bucket.take(now))
            {
                self.count(|work| work.throttled_concurrency += 1);
                return Err(InvokeError::Throttled("scaling rate"));
            }
            let mut random = self.draws(payload.trace, "cold");
            let init = init.draw(&mut random, 1.0);
            cold = placement.draw(&mut random, 1.0) + init;
            if let Some(first_call) = &inner.latencies.first_call {
                cold += first_call.draw(&mut random, 1.0);
            }
            self.count(|work| {
                work.cold_starts += 1;
                work.init_ms += init.div_ceil(MS);
            });
        }
        inner.running.set(inner.running.get() + 1);
        self.count(|work| {
            work.invocations += 1;
            work.payload_bytes += payload.body.size() as u64;
            work.peak_concurrency = work.peak_concurrency.max(u64::from(inner.running.get()));
        });
        Ok((Rc::clone(&function.handler), cold))
    }

    fn draws(&self, trace: Trace, purpose: &str) -> Random {
        self.0
            .world
            .keyed(mix_str(mix(trace.request, trace.path), purpose))
    }

    async fn execute(&self, begun: Begun, payload: Payload) -> Result<Payload, InvokeError> {
        let world = &self.0.world;
        let trace = payload.trace;
        let request = world.request(trace.request);
        let name = || begun.function.to_string();
        if begun.cold > 0 {
            let span = world.trace_begin(&request, trace.path, What::Cold, name);
            world.sleep(begun.cold).await;
            world.trace_end(span);
        }
        let started = world.now();
        let life = Life::new();
        let span = world.trace_begin(&request, trace.path, What::Execution, name);
        let scope = Scope::new(Rc::clone(&request), trace.path, life.clone());
        let state = self.watch(started, &life);
        let execution = Execution {
            function: begun.function.clone(),
            scope,
            synchronous: begun.synchronous,
            payload: payload.clone(),
        };
        let cpu = self
            .0
            .latencies
            .handler_cpu
            .draw(&mut self.draws(trace, "cpu"), request.factor);
        let running = (begun.handler)(execution);
        let running = async {
            let compute = || "the handler".to_owned();
            let span = world.trace_begin(&request, trace.path, What::Compute, compute);
            world.sleep(cpu).await;
            world.trace_end(span);
            running.await
        };
        let mut running = Box::pin(running);
        let end = loop {
            let order = Box::pin(life.order());
            match select(order, running.as_mut()).await {
                Either::Left((Order::Crash, _)) => break None,
                Either::Left((Order::Duplicate, _)) => {
                    self.duplicate(&begun, &payload);
                }
                Either::Right((result, _)) => break Some(result),
            }
        };
        drop(running);
        let timed_out = state.get() == Ended::ByTimeout;
        state.set(Ended::Yes);
        world.trace_end(span);
        match &end {
            Some(Ok(_)) => {}
            Some(Err(told)) => world.trace_note(span, || format!("fails: {told}")),
            None if timed_out => world.trace_note(span, || "times out".to_owned()),
            None => world.trace_note(span, || "crashed".to_owned()),
        }
        let duration = world.now() - started;
        self.settle(&begun.function, duration, end.is_some());
        if begun.entry && end.is_some() {
            request.entry_ran(duration);
        }
        match end {
            Some(Ok(reply)) => self.check_reply(reply),
            Some(Err(told)) => Err(InvokeError::Crashed(told)),
            None if timed_out => {
                self.count(|work| work.timeouts += 1);
                Err(InvokeError::Timeout)
            }
            None => {
                self.count(|work| work.crashes += 1);
                Err(InvokeError::Crashed("injected crash".to_owned()))
            }
        }
    }

    fn check_reply(&self, reply: Payload) -> Result<Payload, InvokeError> {
        let size = reply.body.size();
        self.count(|work| work.payload_bytes += size as u64);
        let limit = self.0.config.sync_payload_limit;
        if size > limit {
            // Unlike a request that is too large, this function did run.
            return Err(InvokeError::Crashed(format!(
                "its reply of {size} bytes is over the limit of {limit}"
            )));
        }
        Ok(reply)
    }

    /// Returns the environment and its unit of concurrency, and bills the execution.
    fn settle(&self, function: &Name, duration: Nanos, reusable: bool) {
        let inner = &*self.0;
        inner.running.set(inner.running.get() - 1);
        self.count(|work| bill(work, duration, inner.config.billing_granularity_ms));
        if !reusable {
            return;
        }
        let now = inner.world.now();
        let mut functions = inner.functions.borrow_mut();
        if let Some(state) = functions.get_mut(function) {
            let idle = match &inner.latencies.idle_minutes {
                Some(minutes) => {
                    let key = mix(mix_str(now, function), state.warm.len() as u64);
                    let minutes = minutes.draw_ms(&mut inner.world.keyed(key), 1.0);
                    (minutes * 60.0 * SECOND as f64) as Nanos
                }
                None => Nanos::MAX / 2,
            };
            state.warm.push(now + idle);
        }
    }

    /// A second execution of the same instance, while the first goes on. Nobody waits for it.
    fn duplicate(&self, begun: &Begun, payload: &Payload) {
        let mut payload = payload.clone();
        let first = payload.trace.path;
        payload.trace.path = mix_str(first, "duplicate");
        self.0.world.trace_alias(first, payload.trace.path);
        self.count(|work| work.duplicates += 1);
        self.start(&begun.function, payload, begun.synchronous, false, |_| {});
    }

    /// Sets the execution's timeout. All timeouts are equally long, so they fall due in the order
    /// in which they were set, and one timer at a time is enough for all of them.
    fn watch(&self, started: Nanos, life: &Life) -> Rc<Cell<Ended>> {
        let state = Rc::new(Cell::new(Ended::No));
        let at = started + self.0.config.timeout;
        let mut deadlines = self.0.deadlines.borrow_mut();
        deadlines.push_back(Deadline {
            at,
            life: life.clone(),
            state: Rc::clone(&state),
        });
        if deadlines.len() == 1 {
            let pool = self.clone();
            self.0
                .world
                .after(self.0.config.timeout, move || pool.end_overdue());
        }
        state
    }

    fn end_overdue(&self) {
        let now = self.0.world.now();
        let mut deadlines = self.0.deadlines.borrow_mut();
        while let Some(first) = deadlines.front() {
            if first.state.get() == Ended::No {
                if first.at > now {
                    let pool = self.clone();
                    self.0
                        .world
                        .after(first.at - now, move || pool.end_overdue());
                    return;
                }
                first.state.set(Ended::ByTimeout);
                first.life.kill();
            }
            deadlines.pop_front();
        }
    }

    /// Delivers an event, and again as the platform's rules say.
    fn dispatch(&self, event: Event) {
        let pool = self.clone();
        let function = event.function.clone();
        let payload = event.payload.clone();
        self.start(&function, payload, false, false, move |end| match end {
            Ok(_) => pool.finish(&event),
            Err(InvokeError::Throttled(_)) => {
                // Grows from one second to five minutes, for as long as the event is not too old.
                let wait = (SECOND << event.throttles.min(9)).min(300 * SECOND);
                pool.redeliver(
                    Event {
                        throttles: event.throttles + 1,
                        ..event
                    },
                    wait,
                );
            }
            Err(_) if event.failures < pool.0.config.async_retries => {
                let wait = 60 * SECOND * u64::from(event.failures + 1);
                pool.redeliver(
                    Event {
                        failures: event.failures + 1,
                        ..event
                    },
                    wait,
                );
            }
            Err(_) => {
                pool.count(|work| work.async_dropped += 1);
                pool.finish(&event);
            }
        });
    }

    fn redeliver(&self, mut event: Event, wait: Nanos) {
        let world = &self.0.world;
        if world.now() + wait > event.accepted + self.0.config.queue_age {
            self.count(|work| work.async_dropped += 1);
            self.finish(&event);
            return;
        }
        self.count(|work| work.async_retries += 1);
        let first = event.payload.trace.path;
        event.payload.trace.path = mix_str(first, "again");
        world.trace_alias(first, event.payload.trace.path);
        let pool = self.clone();
        world.after(wait, move || pool.dispatch(event));
    }

    fn finish(&self, event: &Event) {
        self.0.queued.set(self.0.queued.get() - 1);
        self.0
            .world
            .request(event.payload.trace.request)
            .end(self.0.world.now());
    }

    fn check_size(size: usize, limit: usize) -> Result<(), InvokeError> {
        if size > limit {
            Err(InvokeError::PayloadTooLarge { size, limit })
        } else {
            Ok(())
        }
    }
}

/// What was admitted.
struct Begun {
    function: Name,
    handler: Handler,
    cold: Nanos,
    synchronous: bool,
    entry: bool,
}

/// An event in the asynchronous queue.
struct Event {
    function: Name,
    payload: Payload,
    accepted: Nanos,
    failures: u32,
    throttles: u32,
}

/// The body of a timer's payload names what the timer is for.
pub fn timer_payload(what: &str) -> Value {
    Value::map([("kind", Value::str(what))])
}
