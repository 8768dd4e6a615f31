//! [`World`]: one handle, virtual or real.

use crate::executor::{Deadlock, Executor};
use crate::fault::{FaultPlan, Faults};
use crate::real::Clock;
use crate::scope::RequestState;
use crate::search::Search;
use crate::sleep::{Alarm, Sleep};
use crate::task::{Abort, Elapsed, JoinHandle, JoinState, timeout};
use crate::trace::Tracer;
use crate::{Life, Nanos, Random, Scope, Trace, mix, mix_str};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// What makes one simulation differ from another besides its seed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Takes ready tasks in an order drawn from the seed, to explore interleavings.
    pub shuffle: bool,
    /// The faults to inject.
    pub faults: Faults,
    /// Spread of the slowness that all operations of one request share (sigma of a log-normal
    /// with median 1); the profiles' `request_sigma`.
    pub request_sigma: f64,
    /// Counts the effects of every request by their names, for a search of crash points.
    pub census: bool,
    /// The request to record step by step.
    pub trace: Option<u64>,
}

enum Backend {
    Virtual(Rc<Executor>),
    Real(Clock),
}

struct Inner {
    seed: u64,
    backend: Backend,
    faults: FaultPlan,
    census: bool,
    tracer: Option<Tracer>,
    request_sigma: f64,
    requests: RefCell<BTreeMap<u64, Rc<RequestState>>>,
    background: Rc<RequestState>,
    background_path: Cell<u64>,
}

/// Time, randomness, tasks and faults. Cheap to clone; one thread only.
#[derive(Clone)]
pub struct World(Rc<Inner>);

/// Frees a virtual world, also when a panic ends it.
struct Shutdown(Rc<Executor>);

impl Drop for Shutdown {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// Virtual time begins at this many milliseconds after 1970 (2026-01-01), so that application
/// timestamps look like some.
const EPOCH_MS: i64 = 1_767_225_600_000;

impl World {
    /// Runs `body` in a new world of virtual time and frees the world afterwards: whatever is left
    /// of its tasks is dropped. A panic in any task ends the world with that panic.
    ///
    /// # Errors
    /// [`Deadlock`] if nothing can happen any more before `body` ends.
    pub fn simulate<T, F>(
        seed: u64,
        options: Options,
        body: impl FnOnce(World) -> F,
    ) -> Result<T, Deadlock>
    where
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let shuffle = options
            .shuffle
            .then(|| Random::new(mix_str(seed, "schedule")));
        let executor = Rc::new(Executor::new(shuffle));
        let shutdown = Shutdown(Rc::clone(&executor));
        let world = World::new(seed, Backend::Virtual(Rc::clone(&executor)), options);
        let value = Rc::new(Cell::new(None));
        let (slot, root) = (Rc::clone(&value), Rc::clone(&executor));
        executor.spawn("root", body(world), move |done| {
            slot.set(Some(done));
            root.finish();
        });
        let result = executor.run();
        drop(shutdown);
        result?;
        Ok(value
            .take()
            .expect("the executor returned because the value is there"))
    }

    /// Has something done when a virtual world is freed, after its last task is gone: where things
    /// in it know each other in a circle, somebody must forget, or nobody is ever freed. A world of
    /// real time ends with its process, and nothing is done.
    pub fn at_end(&self, ending: impl FnOnce() + 'static) {
        if let Backend::Virtual(executor) = &self.0.backend {
            executor.at_end(Box::new(ending));
        }
    }

    /// Runs `body` in real time on a tokio runtime of its own. As in virtual time, a panic in any
    /// task ends the world.
    ///
    /// # Errors
    /// If the runtime cannot be started.
    pub fn run_real<T, F>(
        seed: u64,
        options: Options,
        body: impl FnOnce(World) -> F,
    ) -> std::io::Result<T>
    where
        F: Future<Output = T>,
    {
        let clock = Clock::new();
        let world = World::new(seed, Backend::Real(clock.clone()), options);
        clock.run(body(world))
    }

    /// A world of real time for a caller that already runs inside a tokio `LocalSet`. A task's panic
    /// goes on in whoever awaits a [`JoinHandle`] next.
    pub fn real(seed: u64, options: Options) -> World {
        World::new(seed, Backend::Real(Clock::new()), options)
    }

    fn new(seed: u64, backend: Backend, options: Options) -> Self {
        let faults = FaultPlan::new(options.faults);
        // No rate applies to work that no request caused, but exact faults do.
        let planned = faults.exact(Trace::BACKGROUND);
        let mut background = RequestState::new(Trace::BACKGROUND, u16::MAX, 1.0, planned);
        let aims = faults.aimed(Trace::BACKGROUND);
        if options.census || !aims.is_empty() {
            background.search = Some(RefCell::new(Search::new(aims)));
        }
        World(Rc::new(Inner {
            seed,
            backend,
            faults,
            census: options.census,
            tracer: options.trace.map(Tracer::new),
            request_sigma: options.request_sigma,
            requests: RefCell::default(),
            background: Rc::new(background),
            background_path: Cell::new(0),
        }))
    }

    /// The seed that everything random in this world comes from.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Whether time is virtual: then everything happens in this process.
    pub fn is_virtual(&self) -> bool {
        matches!(self.0.backend, Backend::Virtual(_))
    }

    /// Nanoseconds since the world began.
    pub fn now(&self) -> Nanos {
        match &self.0.backend {
            Backend::Virtual(executor) => executor.now(),
            Backend::Real(clock) => clock.now(),
        }
    }

    /// Milliseconds since 1970, for application timestamps.
    pub fn unix_ms(&self) -> i64 {
        match &self.0.backend {
            Backend::Virtual(executor) => EPOCH_MS + (executor.now() / crate::MS) as i64,
            Backend::Real(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as i64),
        }
    }

    /// Waits for a span of time.
    pub fn sleep(&self, span: Nanos) -> impl Future<Output = ()> + 'static + use<> {
        self.sleep_until(self.now().saturating_add(span))
    }

    /// Waits until a point in time.
    pub fn sleep_until(&self, at: Nanos) -> impl Future<Output = ()> + 'static + use<> {
        match &self.0.backend {
            Backend::Virtual(executor) => Sleep::Virtual(Alarm::new(executor, at)),
            Backend::Real(clock) => Sleep::Real(Box::pin(clock.clone().sleep_until(at))),
        }
    }

    /// Lets every other ready task run first (with [`Options::shuffle`]: perhaps).
    pub async fn yield_now(&self) {
        let mut yielded = false;
        poll_fn(|cx| {
            if yielded {
                return Poll::Ready(());
            }
            yielded = true;
            self.waits_for("its next turn");
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Gives up on a future after a span of time.
    ///
    /// # Errors
    /// [`Elapsed`] when the time has passed; the future is dropped.
    pub async fn timeout<T>(
        &self,
        span: Nanos,
        future: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        timeout(self.sleep(span), future).await
    }

    /// Calls `call` after a span of time: how a message reaches the server that owns it, whatever
    /// becomes of the sender.
    pub fn after(&self, span: Nanos, call: impl FnOnce() + 'static) {
        match &self.0.backend {
            Backend::Virtual(executor) => {
                executor.call_at(executor.now().saturating_add(span), Box::new(call));
            }
            Backend::Real(clock) => {
                clock.spawn(self.sleep(span), |()| call());
            }
        }
    }

    /// Starts a task. It goes on if the handle is dropped.
    pub fn spawn<T: 'static>(
        &self,
        label: &str,
        future: impl Future<Output = T> + 'static,
    ) -> JoinHandle<T> {
        let state = Rc::new(RefCell::new(JoinState {
            value: None,
            waker: None,
        }));
        let slot = Rc::clone(&state);
        let done = move |value| {
            let mut state = slot.borrow_mut();
            state.value = Some(value);
            let waker = state.waker.take();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        };
        let abort = match &self.0.backend {
            Backend::Virtual(executor) => Abort::Virtual(executor.spawn(label, future, done)),
            Backend::Real(clock) => Abort::Real(clock.spawn(future, done)),
        };
        JoinHandle {
            state,
            world: self.clone(),
            abort,
        }
    }

    pub(crate) fn abort(&self, abort: &Abort) {
        match (&self.0.backend, abort) {
            (Backend::Virtual(executor), Abort::Virtual(id)) => executor.cancel(*id),
            (_, Abort::Real(handle)) => handle.abort(),
            (Backend::Real(_), Abort::Virtual(_)) => {}
        }
    }

    /// Goes on with the panic of a real task.
    pub(crate) fn propagate(&self) {
        if let Backend::Real(clock) = &self.0.backend {
            clock.propagate();
        }
    }

    pub(crate) fn faults(&self) -> &FaultPlan {
        &self.0.faults
    }

    pub(crate) fn recorder(&self) -> Option<&Tracer> {
        self.0.tracer.as_ref()
    }

    /// Notes what the running task waits for: a deadlock names it.
    pub fn waits_for(&self, what: &'static str) {
        if let Backend::Virtual(executor) = &self.0.backend {
            executor.waits_for(what);
        }
    }

    /// Awaits a future; as long as it is pending, the task says that it waits for `what`.
    pub async fn waiting<T>(&self, what: &'static str, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let poll = future.as_mut().poll(cx);
            if poll.is_pending() {
                self.waits_for(what);
            }
            poll
        })
        .await
    }

    /// The random stream of a purpose. The same purpose gives the same stream from its beginning.
    pub fn random(&self, purpose: &str) -> Random {
        Random::new(mix_str(self.0.seed, purpose))
    }

    /// Draws that belong to one operation, whatever happened before it.
    pub fn keyed(&self, key: u64) -> Random {
        Random::new(mix(self.0.seed, key))
    }

    /// Announces a client request, and draws what all of its executions share.
    pub fn begin_request(&self, id: u64, kind: u16) -> Rc<RequestState> {
        let mut random = self.keyed(mix_str(id, "request"));
        let factor = libm::exp(self.0.request_sigma * random.normal());
        let planned = self.0.faults.plan(id, kind, &mut random);
        let mut state = RequestState::new(id, kind, factor, planned);
        let aims = self.0.faults.aimed(id);
        if self.0.census || !aims.is_empty() {
            state.search = Some(RefCell::new(Search::new(aims)));
        }
        let state = Rc::new(state);
        self.0.requests.borrow_mut().insert(id, Rc::clone(&state));
        state
    }

    /// The state of a request; unknown ones (from another process) begin with their trace.
    pub fn request(&self, id: u64) -> Rc<RequestState> {
        if id == Trace::BACKGROUND {
            return Rc::clone(&self.0.background);
        }
        let known = self.0.requests.borrow().get(&id).cloned();
        known.unwrap_or_else(|| self.begin_request(id, 0))
    }

    /// Says that a request was answered, so that the plan learns how many effects its kind has.
    pub fn request_answered(&self, state: &RequestState) {
        self.0.faults.learn(state.kind, state.effects());
    }

    /// A scope for work that no request caused.
    pub fn background_scope(&self) -> Scope {
        let n = self.0.background_path.get();
        self.0.background_path.set(n + 1);
        Scope::new(Rc::clone(&self.0.background), n, Life::new())
    }
}
