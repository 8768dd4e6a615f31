//! A client that roams: a context, and a way to each server.

use super::judge::{Judge, Memory};
use super::keys::{self, Keys};
use crate::bench::drive::Trouble;
use std::cell::RefCell;
use std::rc::Rc;
use triptych_mesh::{Clock, Context, Failure, Op, Port, Reply, Request, WriteId};
use triptych_model::Random;
use triptych_world::mix;

/// Which server a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roaming {
    /// Any, at random, for each request.
    Random,
    /// One after the other.
    RoundRobin,
    /// Always the same.
    Affinity,
}

impl Roaming {
    /// All of them.
    pub const ALL: [Roaming; 3] = [Roaming::Random, Roaming::RoundRobin, Roaming::Affinity];

    /// Its name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Roaming::Random => "random",
            Roaming::RoundRobin => "round-robin",
            Roaming::Affinity => "affinity",
        }
    }
}

/// What all clients of a load have in common.
pub(super) struct Shared {
    pub(super) keys: Keys,
    pub(super) payload: usize,
    /// The share of requests that read.
    pub(super) reads: f64,
    /// How many keys a read asks for.
    pub(super) read_keys: usize,
    pub(super) roaming: Roaming,
    /// After so many requests a client begins anew, with nothing that it depends on; 0 is never.
    pub(super) session: u64,
    pub(super) judge: RefCell<Judge>,
    /// Bytes of contexts, and of how many they are.
    pub(super) contexts: RefCell<(u64, u64)>,
}

/// Of so many requests, the size of the context is looked at once.
const LOOK_EVERY: u64 = 64;

/// Results of requests, as the load's driver knows them.
pub(super) const READ: u64 = 0;
pub(super) const WROTE: u64 = 1;

pub(super) struct Client {
    shared: Rc<Shared>,
    /// A way to each server, which is asked first.
    ports: Vec<Rc<dyn Port>>,
    /// A number that no other client has.
    id: u64,
    /// Its place among the clients of the load.
    place: u64,
    random: Random,
    context: Context,
    memory: Memory,
    requests: u64,
    writes: u64,
}

/// The number of a client's n-th write, which is in its value. Clients count from 1.
pub(super) fn write_number(place: u64, nth: u64) -> u64 {
    ((place + 1) << 40) | nth
}

impl Client {
    pub(super) fn new(
        shared: &Rc<Shared>,
        ports: Vec<Rc<dyn Port>>,
        run: u64,
        place: u64,
        seed: u64,
    ) -> Client {
        Client {
            shared: Rc::clone(shared),
            ports,
            id: mix(run, place),
            place,
            random: Random::new(mix(seed, place)),
            context: Context::default(),
            memory: Memory::default(),
            requests: 0,
            writes: 0,
        }
    }

    /// One request, of the kind and the keys that chance has it. What it came to.
    pub(super) async fn one(&mut self) -> Result<u64, Trouble> {
        let shared = Rc::clone(&self.shared);
        if shared.session > 0 && self.requests.is_multiple_of(shared.session) {
            self.begin_anew();
        }
        if self.requests.is_multiple_of(LOOK_EVERY) {
            let mut contexts = shared.contexts.borrow_mut();
            contexts.0 += self.context.encode().len() as u64;
            contexts.1 += 1;
        }
        self.requests += 1;
        let port = self.port();
        match self.random.chance(shared.reads) {
            true => self.read(&port).await,
            false => self.write(&port).await,
        }
    }

    fn port(&mut self) -> Rc<dyn Port> {
        let many = self.ports.len() as u64;
        let at = match self.shared.roaming {
            Roaming::Random => self.random.below(many),
            Roaming::RoundRobin => (self.place + self.requests) % many,
            Roaming::Affinity => self.place % many,
        };
        Rc::clone(&self.ports[at as usize])
    }

    fn begin_anew(&mut self) {
        self.context = Context::default();
        self.memory = Memory::default();
    }

    async fn read(&mut self, port: &Rc<dyn Port>) -> Result<u64, Trouble> {
        let shared = Rc::clone(&self.shared);
        let numbers = shared.keys.draw_some(&mut self.random, shared.read_keys);
        let keys: Vec<_> = numbers.iter().map(|&number| keys::key(number)).collect();
        let deps = self.context.deps.clone();
        let request = Request::Read {
            deps: deps.clone(),
            own: self.context.own_of(keys.iter()),
            keys,
        };
        match port.ask(request).await {
            Ok(Reply::Read { seen, stable }) if seen.len() == numbers.len() => {
                let mut judge = shared.judge.borrow_mut();
                judge.shown(&mut self.memory, &deps, &numbers, &seen);
                seen.iter().for_each(|seen| self.context.saw(seen));
                self.context.is_stable(&stable);
                Ok(READ)
            }
            Ok(other) => Err(strange(&other)),
            // It has read nothing, whatever has happened.
            Err(failure) => Err(Trouble::Refused(self.failed(&failure))),
        }
    }

    async fn write(&mut self, port: &Rc<dyn Port>) -> Result<u64, Trouble> {
        let shared = Rc::clone(&self.shared);
        let number = shared.keys.draw(&mut self.random);
        self.writes += 1;
        let write = write_number(self.place, self.writes);
        let request = Request::Write {
            write: WriteId {
                client: self.id,
                number: self.writes,
            },
            deps: self.context.deps.clone(),
            own: self.context.own_clock(),
            ops: vec![(
                keys::key(number),
                Op::Put(keys::value(write, shared.payload)),
            )],
        };
        match port.ask(request).await {
            Ok(Reply::Written { version, stable }) => {
                let mut judge = shared.judge.borrow_mut();
                judge.wrote(&mut self.memory, number, write, &version);
                self.context.wrote(version);
                self.context.is_stable(&stable);
                Ok(WROTE)
            }
            Ok(other) => {
                shared.judge.borrow_mut().is_doubtful(number);
                Err(strange(&other))
            }
            Err(failure @ (Failure::Unknown | Failure::Forgotten)) => {
                shared.judge.borrow_mut().is_doubtful(number);
                Err(Trouble::Unknown(failure.to_string()))
            }
            Err(failure) => Err(Trouble::Refused(self.failed(&failure))),
        }
    }

    /// What it depends on may be gone, which the level may allow: then it goes on without.
    fn failed(&mut self, failure: &Failure) -> String {
        if let Failure::Lost(_) = failure {
            self.begin_anew();
        }
        failure.to_string()
    }
}

fn strange(reply: &Reply) -> Trouble {
    Trouble::Unknown(format!("answered with {reply:?}"))
}

/// A read of some keys by somebody who depends on so much, and has written nothing.
pub(super) fn fresh_read(deps: &Clock, numbers: &[usize]) -> Request {
    Request::Read {
        deps: deps.clone(),
        own: Vec::new(),
        keys: numbers.iter().map(|&number| keys::key(number)).collect(),
    }
}
