//! Who causes an operation: the request it belongs to and the execution that issues it.
//!
//! A scope travels with every call into store, platform or log. It keys the latency draws by
//! (seed, request, operation), carries the request's shared slowness factor, counts the request's
//! effects so that the fault plan can name the n-th, and knows how to crash the execution.

use crate::fault::{FaultCounts, FaultKind, Injection};
use crate::search::{Search, Struck};
use crate::{Life, Nanos, mix};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
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
    fired: Cell<FaultCounts>,
    /// What an exhaustive search counts and does; nothing in other worlds.
    pub(crate) search: Option<RefCell<Search>>,
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
            fired: Cell::default(),
            search: None,
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
        let counts = self.fired.get().into_iter();
        counts.fold(0, u16::saturating_add)
    }

    /// Injected faults that took effect, by kind.
    pub fn fired_by_kind(&self) -> FaultCounts {
        self.fired.get()
    }

    /// Notes a fault that took effect.
    pub(crate) fn strike(&self, kind: FaultKind) {
        let mut counts = self.fired.get();
        let count = &mut counts[kind as usize];
        *count = count.saturating_add(1);
        self.fired.set(counts);
    }

    /// In a world that searches crash points: the effects attempted so far, by their names.
    pub fn points(&self) -> BTreeMap<&'static str, u32> {
        let search = self.search.as_ref();
        search.map_or_else(BTreeMap::new, |search| search.borrow().points().clone())
    }

    /// In a world that searches crash points: the aimed faults that struck, in their order.
    pub fn struck(&self) -> Vec<Struck> {
        let search = self.search.as_ref();
        search.map_or_else(Vec::new, |search| search.borrow().struck().to_vec())
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
    effects: Cell<u64>,
    life: Life,
    /// Which instance this executes: set only in worlds that want to know.
    label: RefCell<String>,
    /// Effects of this execution by name, in worlds that search crash points.
    points: RefCell<BTreeMap<&'static str, u32>>,
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
            effects: Cell::new(0),
            life,
            label: RefCell::default(),
            points: RefCell::default(),
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

    /// Which of its execution's effects comes next, counted apart from the operations so that
    /// nobody's draws shift.
    pub(crate) fn next_effect(&self) -> u64 {
        let n = self.0.effects.get();
        self.0.effects.set(n + 1);
        mix(mix(self.0.request.id, self.0.path), n)
    }

    /// The hash of the path of calls from the request to this execution.
    pub fn path(&self) -> u64 {
        self.0.path
    }

    pub(crate) fn set_label(&self, label: String) {
        *self.0.label.borrow_mut() = label;
    }

    pub(crate) fn label(&self) -> String {
        self.0.label.borrow().clone()
    }

    /// The how-many-th effect of this name of this execution comes now.
    pub(crate) fn next_at(&self, point: &'static str) -> u32 {
        let mut points = self.0.points.borrow_mut();
        let count = points.entry(point).or_default();
        *count += 1;
        *count - 1
    }

    /// What a callee's envelope carries: the request, and a path that is this execution's next.
    pub fn next_trace(&self) -> Trace {
        Trace {
            request: self.0.request.id,
            path: self.next_key(),
        }
    }
}
