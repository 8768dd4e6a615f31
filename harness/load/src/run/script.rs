//! Runs that are not a campaign's own: requests chosen one by one, faults aimed at single effects,
//! one request traced. A search of crash points and a replay are made of these.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use triptych_world::fault::{Aim, FaultCounts, FaultKind};
use triptych_world::trace::Span;
use triptych_world::{Nanos, RequestState, Struck, Trace, World};

/// What a run does and records beyond what its campaign says. By default nothing.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// When requests are sent, in order, and which of the generator's each of them is. Without it
    /// the campaign's schedule holds.
    pub requests: Option<Arc<Vec<(Nanos, u64)>>>,
    /// Faults at named effects of single requests, and of the background.
    pub aimed: Vec<(u64, Aim)>,
    /// Counts effects by their names.
    pub census: bool,
    /// The request to trace.
    pub trace: Option<u64>,
    /// For how long the world goes on once it is quiet: garbage collectors wait for that.
    pub linger: Nanos,
}

/// Effects by their names.
pub type Census = BTreeMap<&'static str, u32>;

/// What was seen beside what a bundle keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Faults that took effect, per request.
    pub faults: Vec<FaultCounts>,
    /// With [`Script::census`]: the effects of each request, whatever caused them.
    pub effects: Vec<Census>,
    /// The aimed faults that struck, per request.
    pub struck: Vec<Vec<Struck>>,
    /// Effects that no request caused, before the load and at the end.
    pub background: [Census; 2],
    /// The faults that were aimed at those and struck.
    pub background_struck: Vec<Struck>,
    /// The traced request, step by step.
    pub spans: Vec<Span>,
    /// World time at which the load began.
    pub origin: Nanos,
}

impl Seen {
    pub(super) fn new(
        world: &World,
        requests: &[Rc<RequestState>],
        before: Census,
        origin: Nanos,
    ) -> Seen {
        let background = world.request(Trace::BACKGROUND);
        let each = || requests.iter();
        Seen {
            faults: each().map(|request| request.fired_by_kind()).collect(),
            effects: each().map(|request| request.points()).collect(),
            struck: each().map(|request| request.struck()).collect(),
            background: [before, background.points()],
            background_struck: background.struck(),
            spans: world.traced(),
            origin,
        }
    }

    /// How many requests met a fault of each kind.
    pub fn met(&self) -> [u64; FaultKind::ALL.len()] {
        let mut met = [0; FaultKind::ALL.len()];
        for counts in &self.faults {
            for (met, count) in met.iter_mut().zip(counts) {
                *met += u64::from(*count > 0);
            }
        }
        met
    }
}
