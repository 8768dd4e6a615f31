//! Who causes an operation: the request it belongs to and the execution that issues it.
//!
//! A scope travels with every call into store, platform or log. It keys the latency draws by
//! (seed, request, operation), carries the request's shared slowness factor, counts the request's
//! effects so that the fault plan can name the n-th, and knows how to crash the execution.

use crate::fault::Injection;
use crate::{Life, Nanos, mix};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What of a scope crosses a process boundary, in an envelope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The client request, or [`Trace::BACKGROUND`].
    pub request: u64,
    /// A hash of the path of calls from the request to this execution.
    pub path: u64,
}

impl Trace {
    /// The request number of work that no client request caused (collectors, loading).
    pub const BACKGROUND: u64 = u64::MAX;
}

/// What all executions of one client request share.
pub struct RequestState {
    /// The request's index in the schedule.
    pub id: u64,
    /// Which request kind it is; the fault plan learns the number of effects per kind.
    pub kind: u16,
    /// The slowness that all of its operations share (`C` in the latency profiles).
    pub factor: f64,
    pub(crate) effects: Cell<u32>,
    pub(crate) planned: RefCell<Vec<Injection>>,
    pub(crate) fired: Cell<u16>,
    live: Cell<u32>,
    settled: Cell<Nanos>,
    entry: Cell<Nanos>,
}

impl RequestState {
    pub(crate) fn new(id: u64, kind: u16, factor: f64, planned: Vec<Injection>) -> Self {
        RequestState {
            id,
            kind,
            factor,
            effects: Cell::new(0),
            planned: RefCell::new(planned),
            fired: Cell::new(0),
            live: Cell::new(0),
            settled: Cell::new(0),
            entry: Cell::new(0),
        }
    }

    /// One more execution, or one more event on its way to one.
    pub fn begin(&self) {
        self.live.set(self.live.get() + 1);
    }

    /// An execution ended, or an event was given up.
    pub fn end(&self, now: Nanos) {
        self.live.set(self.live.get().saturating_sub(1));
        self.settled.set(self.settled.get().max(now));
    }

    /// Executions and events that are under way.
    pub fn live(&self) -> u32 {
        self.live.get()
    }

    /// When the last execution ended so far.
    pub fn settled(&self) -> Nanos {
        self.settled.get()
    }

    /// Notes how long the entry function ran. The first report wins: re-executions come later.
    pub fn entry_ran(&self, duration: Nanos) {
        if self.entry.get() == 0 {
            self.entry.set(duration);
        }
    }

    /// How long the entry function ran; 0 if it has not ended.
    pub fn entry(&self) -> Nanos {
        self.entry.get()
    }

    /// Injected faults that took effect.
    pub fn fired(&self) -> u16 {
        self.fired.get()
    }

    /// Effects attempted so far.
    pub fn effects(&self) -> u32 {
        self.effects.get()
    }
}

struct Inner {
    request: Rc<RequestState>,
    path: u64,
    operations: Cell<u64>,
    life: Life,
}

/// See the module documentation. Cheap to clone.
#[derive(Clone)]
pub struct Scope(Rc<Inner>);

impl Scope {
    /// The scope of one execution of one request.
    pub fn new(request: Rc<RequestState>, path: u64, life: Life) -> Self {
        Scope(Rc::new(Inner {
            request,
            path,
            operations: Cell::new(0),
            life,
        }))
    }

    /// The request that this belongs to.
    pub fn request(&self) -> &Rc<RequestState> {
        &self.0.request
    }

    /// How the execution can be crashed.
    pub fn life(&self) -> &Life {
        &self.0.life
    }

    /// Whether this is the client itself, by convention the scope with path 0, rather than an
    /// execution that the request caused.
    pub fn is_client(&self) -> bool {
        self.0.path == 0 && self.0.request.id != Trace::BACKGROUND
    }

    /// A key for the next operation of this execution. The n-th operation always gets the same.
    pub fn next_key(&self) -> u64 {
        let n = self.0.operations.get();
        self.0.operations.set(n + 1);
        mix(mix(self.0.request.id, self.0.path), n)
    }

    /// What a callee's envelope carries: the request, and a path that is this execution's next.
    pub fn next_trace(&self) -> Trace {
        Trace {
            request: self.0.request.id,
            path: self.next_key(),
        }
    }
}
