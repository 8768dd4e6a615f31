//! The requests of one world of a search: many of the kind to be crashed, others between them.
//!
//! They are a pure function of profile, seed and kind, the same in every world of the search, so
//! that the number of a request means the same in all of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use triptych_model::Value;
use triptych_workloads::Generator;
use triptych_world::{MS, Nanos, SECOND};

/// How many requests of the kind are in one world: each can be crashed on its own.
const PROBES: usize = 48;
/// How far the generator is searched for them.
const FARTHEST: u64 = 50_000;
/// Among how many requests one is searched that meets another one on the same keys.
const RIVALS: usize = 400;
/// Between two of them; another request comes halfway.
const APART: Nanos = 2 * SECOND;
/// A conflicting request comes this much after the one that is crashed.
const BEHIND: Nanos = 3 * MS;

/// The requests of a world, and which of them may be crashed.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    /// When each is sent, and which of the generator's it is.
    pub(super) all: Arc<Vec<(Nanos, u64)>>,
    /// Positions in the list.
    pub(super) probes: Vec<u64>,
}

impl Requests {
    /// Around requests of one kind. None if the generator has no such request.
    pub(super) fn of_kind(generator: &Generator, kind: u16, contend: bool) -> Option<Requests> {
        let wanted = if contend { PROBES + RIVALS } else { PROBES };
        let (mut these, mut others) = (Vec::new(), Vec::new());
        for position in 0..FARTHEST {
            if these.len() == wanted && others.len() > PROBES {
                break;
            }
            match generator.request(position).kind == kind {
                true if these.len() < wanted => these.push(position),
                true => {}
                false => others.push(position),
            }
        }
        if these.is_empty() {
            return None;
        }
        let mut rivals = these.split_off(these.len().min(PROBES));
        let mut requests = Builder::default();
        // Whatever comes first finds the app as it was loaded, which later ones do not. None is sent
        // twice: two requests of one name are a fault of the client.
        let mut others = others.into_iter();
        requests.send(0, others.next());
        for (n, position) in these.into_iter().enumerate() {
            let at = APART * n as u64 + APART / 4;
            requests.probes.push(requests.all.len() as u64);
            requests.send(at, Some(position));
            let rival = nearest(generator, position, &rivals);
            let rival = rival.map(|rival| rivals.remove(rival));
            requests.send(at + BEHIND, rival);
            requests.send(at + APART / 2, others.next());
        }
        Some(requests.done())
    }

    /// In the generator's own order, all to be crashed.
    pub(super) fn mixed() -> Requests {
        let mut requests = Builder::default();
        for n in 0..PROBES as u64 {
            requests.probes.push(n);
            requests.send(n * APART / 4, Some(n));
        }
        requests.done()
    }
}

/// Which of some requests has most in common with another one: probably the same keys.
fn nearest(generator: &Generator, position: u64, rivals: &[u64]) -> Option<usize> {
    let words = |position: u64| {
        let mut words = BTreeSet::new();
        collect(&generator.request(position).input, &mut words);
        words
    };
    let own = words(position);
    let common = |rival: &u64| words(*rival).intersection(&own).count();
    let scored = rivals.iter().map(common).enumerate();
    // The first of equally good ones.
    scored
        .rev()
        .max_by_key(|(_, common)| *common)
        .map(|(at, _)| at)
}

/// All texts and numbers in a value.
fn collect(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::List(list) => list.iter().for_each(|value| collect(value, words)),
        Value::Map(map) => map.values().for_each(|value| collect(value, words)),
        Value::Str(text) => {
            words.insert(text.to_string());
        }
        Value::Int(number) => {
            words.insert(number.to_string());
        }
        _ => {}
    }
}

#[derive(Default)]
struct Builder {
    all: Vec<(Nanos, u64)>,
    probes: Vec<u64>,
}

impl Builder {
    fn send(&mut self, at: Nanos, position: Option<u64>) {
        self.all.extend(position.map(|position| (at, position)));
    }

    fn done(self) -> Requests {
        Requests {
            all: Arc::new(self.all),
            probes: self.probes,
        }
    }
}
