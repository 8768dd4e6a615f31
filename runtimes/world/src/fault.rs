//! The fault plan: which named crash points strike, in which of four kinds.
//!
//! Every effect boundary of a runtime goes through [`crate::World::effect`]. There the plan may
//! crash the execution *before* the effect is sent, while it is *in flight* (it is applied late,
//! after the instance may have been executed again), after it was applied but with the *reply lost*,
//! or right *after* the reply arrived. It may also start a duplicate of the instance at that point.
//! Without a crash, it may delay an effect or its reply, and it may have store calls and invocations
//! refused, as a service does that is asked too much.
//!
//! Faults come at random with a rate, at the n-th effect of a request ([`Injection`]), or at a named
//! effect of a request ([`Aim`]), which is how an exhaustive search addresses them.

use crate::{Nanos, Random, SECOND};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// When, relative to an effect, an execution dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrashKind {
    /// Before the effect is sent: it never happens.
    Before,
    /// The effect is sent, and applied only after a delay.
    InFlight,
    /// The effect is applied; the reply never arrives.
    ReplyLost,
    /// The reply arrived; the execution dies before it does anything with it.
    After,
}

impl CrashKind {
    /// All four kinds.
    pub const ALL: [CrashKind; 4] = [
        CrashKind::Before,
        CrashKind::InFlight,
        CrashKind::ReplyLost,
        CrashKind::After,
    ];
}

/// What is injected at a crash point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The execution dies.
    Crash(CrashKind),
    /// A second execution of the same instance starts; this one goes on.
    Duplicate,
}

/// What kind of fault took effect on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// An execution died.
    Crash,
    /// An execution was started twice.
    Duplicate,
    /// A store call or an invocation was refused, without effect.
    Throttle,
    /// An effect or its reply came late.
    Delay,
}

impl FaultKind {
    /// All kinds, in the order in which tables show them.
    pub const ALL: [FaultKind; 4] = [
        FaultKind::Crash,
        FaultKind::Duplicate,
        FaultKind::Throttle,
        FaultKind::Delay,
    ];

    /// The kind as tables and files call several of it.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Crash => "crashes",
            FaultKind::Duplicate => "duplicates",
            FaultKind::Throttle => "throttles",
            FaultKind::Delay => "delays",
        }
    }
}

/// How many faults of each kind took effect, in the order of [`FaultKind::ALL`].
pub type FaultCounts = [u16; FaultKind::ALL.len()];

/// A fault at a named effect of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    /// The crash point's name.
    pub point: String,
    /// Which effect of that name, counted from 0 over all executions of the request.
    pub occurrence: u32,
    /// What happens there.
    pub action: Action,
    /// For [`CrashKind::InFlight`]: how much later the effect is applied.
    pub late: Nanos,
    /// Whether it strikes once more, at the same effect of the repeated execution.
    pub again: bool,
}

/// One planned fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injection {
    /// Strikes at the request's n-th effect, counted from 0 over all of its executions.
    pub nth: u32,
    /// What happens there.
    pub action: Action,
    /// For [`CrashKind::InFlight`]: how much later the effect is applied.
    pub late: Nanos,
}

/// Rates of random faults, and exact ones for a replay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Share of requests into which a crash is injected.
    pub crash_rate: f64,
    /// Share of requests into which a duplicate is injected.
    pub duplicate_rate: f64,
    /// Share of the store calls and of the invocations of requests that are refused.
    pub throttle_rate: f64,
    /// Share of the effects of requests that are applied late, or whose reply comes late.
    pub delay_rate: f64,
    /// Faults at named effects of single requests, and of [`crate::Trace::BACKGROUND`].
    pub aimed: Vec<(u64, Aim)>,
    /// Faults of single requests, besides the random ones. The request
    /// [`crate::Trace::BACKGROUND`] stands for all that no request caused: its effects are counted
    /// over the whole world.
    pub exact: Vec<(u64, Injection)>,
}

/// The faults of a run, and what has become of them.
pub(crate) struct FaultPlan {
    faults: Faults,
    /// Effects of the last finished request, per request kind: where a random fault may strike.
    hints: RefCell<BTreeMap<u16, u32>>,
    /// How often each (point, action) struck.
    struck: RefCell<BTreeMap<(&'static str, Option<CrashKind>), u64>>,
}

/// Effects assumed for a request kind of which none has finished yet.
const FIRST_HINT: u32 = 8;
/// After a crash, the chance that the re-execution crashes too.
const AGAIN: f64 = 0.25;

impl FaultPlan {
    pub(crate) fn new(faults: Faults) -> Self {
        FaultPlan {
            faults,
            hints: RefCell::default(),
            struck: RefCell::default(),
        }
    }

    /// The faults that were asked for, one by one, of one request.
    pub(crate) fn exact(&self, request: u64) -> Vec<Injection> {
        let exact = self.faults.exact.iter();
        exact
            .filter(|(id, _)| *id == request)
            .map(|(_, injection)| *injection)
            .collect()
    }

    /// The faults that are aimed at one request.
    pub(crate) fn aimed(&self, request: u64) -> Vec<Aim> {
        let aimed = self.faults.aimed.iter();
        aimed
            .filter(|(id, _)| *id == request)
            .map(|(_, aim)| aim.clone())
            .collect()
    }

    pub(crate) fn throttle_rate(&self) -> f64 {
        self.faults.throttle_rate
    }

    pub(crate) fn delay_rate(&self) -> f64 {
        self.faults.delay_rate
    }

    /// Draws the faults of one request.
    pub(crate) fn plan(&self, request: u64, kind: u16, random: &mut Random) -> Vec<Injection> {
        let hint = self
            .hints
            .borrow()
            .get(&kind)
            .copied()
            .unwrap_or(FIRST_HINT)
            .max(1);
        let mut planned = self.exact(request);
        if random.chance(self.faults.crash_rate) {
            let mut nth = 0;
            loop {
                nth += random.below(u64::from(hint)) as u32;
                let kind = CrashKind::ALL[random.below(4) as usize];
                planned.push(Injection {
                    nth,
                    action: Action::Crash(kind),
                    late: late(random),
                });
                if !random.chance(AGAIN) {
                    break;
                }
                nth += 1;
            }
        }
        if random.chance(self.faults.duplicate_rate) {
            let nth = random.below(u64::from(hint)) as u32;
            planned.push(Injection {
                nth,
                action: Action::Duplicate,
                late: 0,
            });
        }
        planned
    }

    /// Learns how many effects a request of this kind has.
    pub(crate) fn learn(&self, kind: u16, effects: u32) {
        self.hints.borrow_mut().insert(kind, effects);
    }

    pub(crate) fn strike(&self, point: &'static str, action: Action) {
        let kind = match action {
            Action::Crash(kind) => Some(kind),
            Action::Duplicate => None,
        };
        *self.struck.borrow_mut().entry((point, kind)).or_default() += 1;
    }

    pub(crate) fn struck(&self) -> BTreeMap<(&'static str, Option<CrashKind>), u64> {
        self.struck.borrow().clone()
    }
}

/// An effect or a reply that is delayed without a crash comes at most this late.
pub const LONGEST_DELAY: Nanos = 5 * SECOND;

/// No effect is applied later than this after its execution crashed, at random faults. A protocol
/// that assumes a bound on the life of a message must assume more.
pub const LATEST: Nanos = 240 * SECOND;

/// Half of the late effects arrive within half a second, half only after the instance was very
/// probably executed again by a collector.
fn late(random: &mut Random) -> Nanos {
    if random.chance(0.5) {
        random.below(SECOND / 2)
    } else {
        60 * SECOND + random.below(LATEST - 60 * SECOND)
    }
}
