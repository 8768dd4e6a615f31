//! Every behaviour of a small ring of real servers: two clients that roam, write and read, and links
//! that deliver when they please, each in its order. Two keys, three writes.
//!
//! What was broken is kept in the state, so that each step is checked with the rules of the random
//! tests once, and a property says whether one of its rules was broken.

#[allow(dead_code, unreachable_pub)]
mod ring_world;

use ring_world::{Broken, Client, Mesh, key};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use triptych_api::{Change, Value};
use triptych_mesh::{Bug, Key, Op};

/// What a client does, one after the other, each at any server.
#[derive(Clone, Debug)]
enum Does {
    Write(u64),
    /// Two keys at once.
    WriteBoth,
    /// Adds to a number, is not told, and asks again anywhere.
    AddTwice(u64),
    Read(u64),
    ReadBoth,
}

struct Ring {
    servers: usize,
    bug: Option<Bug>,
    scripts: [Vec<Does>; 2],
}

#[derive(Clone, Debug)]
struct State {
    mesh: Mesh,
    clients: [Client; 2],
    /// How much of its script each client has done, in halves.
    done: [usize; 2],
    broken: Option<Broken>,
}

impl State {
    /// All that what comes depends on, as bytes. What was ever sent is left out: rule C4 alone looks at
    /// it, and is checked in one of the ways that lead to a state.
    fn bytes(&self) -> Vec<u8> {
        let mesh = &self.mesh;
        let states: Vec<_> = mesh.cores.iter().map(|core| core.state()).collect();
        let links: Vec<Vec<_>> = mesh
            .links
            .iter()
            .map(|link| {
                let sent = link.iter();
                let sent = sent.map(|it| (it.version.origin, it.version.number(), it.hop));
                sent.collect()
            })
            .collect();
        let stable: Vec<Vec<_>> = mesh
            .links
            .iter()
            .map(|link| link.iter().map(|sent| &sent.stable).collect())
            .collect();
        let made: Vec<_> = mesh.made.iter().collect();
        let made: Vec<_> = made
            .iter()
            .map(|(id, made)| (id, &made.version, &made.past))
            .collect();
        let clients: Vec<_> = self
            .clients
            .iter()
            .map(|client| (&client.context, &client.past, &client.seen))
            .collect();
        let broken = self.broken.as_ref().map(|broken| broken.rule);
        let all = (states, links, stable, made, clients, self.done, broken);
        postcard::to_stdvec(&all).expect("plain data has bytes")
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Deliver(usize),
    /// A client goes on, at a server.
    Go(usize, usize),
}

impl Ring {
    fn step(&self, state: &mut State, action: &Action) -> Result<(), Broken> {
        let before = state.mesh.before();
        let mesh = &mut state.mesh;
        match *action {
            Action::Deliver(link) => {
                mesh.deliver(link)?;
            }
            Action::Go(who, at) => {
                let client = &mut state.clients[who];
                let done = state.done[who];
                let value = (10 * who + done + 1) as i64;
                let put = |number| (key(number), Op::Put(Value::Int(value)));
                state.done[who] += 2;
                match &self.scripts[who][done / 2] {
                    Does::Write(number) => {
                        mesh.write(client, at, vec![put(*number)])?;
                    }
                    Does::WriteBoth => {
                        mesh.write(client, at, vec![put(0), put(1)])?;
                    }
                    Does::AddTwice(number) => {
                        let add = Op::Change(vec![Change::add("sum", 1)]);
                        let write = match done % 2 {
                            0 => client.next(),
                            _ => triptych_mesh::WriteId {
                                client: client.id,
                                number: client.writes,
                            },
                        };
                        let ops = vec![(key(*number), add)];
                        let version = mesh.ask(client, at, write, ops)?;
                        state.done[who] = done + 1;
                        if done % 2 == 1 {
                            Mesh::told(client, &version);
                        }
                    }
                    Does::Read(number) => {
                        mesh.read(client, at, &[key(*number)])?;
                    }
                    Does::ReadBoth => {
                        let keys: [Key; 2] = [key(0), key(1)];
                        mesh.read(client, at, &keys)?;
                    }
                }
            }
        }
        state.mesh.grew(&before)?;
        let clients: Vec<&Client> = state.clients.iter().collect();
        state.mesh.check(&clients)?;
        if self.is_over(state) {
            // What is under way is nothing: only what is stable has to be told.
            let mut end = state.mesh.clone();
            end.settle()?;
            end.converged()?;
        }
        Ok(())
    }

    fn is_over(&self, state: &State) -> bool {
        let done = (0..2).all(|who| state.done[who] == 2 * self.scripts[who].len());
        done && state.mesh.links.iter().all(|link| link.is_empty())
    }
}

const VISIBILITY: &str = "what happened before is shown";
const CUT: &str = "what is applied is a cut of whole versions";
const AVAILABILITY: &str = "what is shown is findable everywhere";
const CLOCKS: &str = "clocks are closed, and cover what a write depends on";
const CONVERGENCE: &str = "in the end all have the same";

/// The property that a rule belongs to.
fn property(rule: &str) -> &'static str {
    match rule {
        "S1" | "S2" | "S3" | "S4" => CUT,
        "S6" | "S8" | "C4" | "C5" | "C6" | "C7" => AVAILABILITY,
        "S7" | "C1" | "C2" | "C3" | "H8" => CLOCKS,
        "L1" => CONVERGENCE,
        _ => VISIBILITY,
    }
}

fn keeps(state: &State, name: &str) -> bool {
    let broken = state.broken.as_ref();
    broken.is_none_or(|broken| property(broken.rule) != name)
}

impl Model for Ring {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            mesh: Mesh::new(self.servers, true, self.bug),
            clients: [Client::new(0), Client::new(1)],
            done: [0; 2],
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        let busy = (0..self.servers).filter(|&link| !state.mesh.links[link].is_empty());
        actions.extend(busy.map(Action::Deliver));
        for who in 0..2 {
            if state.done[who] < 2 * self.scripts[who].len() {
                // The first client begins at the first server: the ring looks alike from any.
                let anywhere = if who == 0 && state.done[0] == 0 {
                    1
                } else {
                    self.servers
                };
                actions.extend((0..anywhere).map(|at| Action::Go(who, at)));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.broken = self.step(&mut next, &action).err();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(VISIBILITY, |_, state| keeps(state, VISIBILITY)),
            Property::<Self>::always(CUT, |_, state| keeps(state, CUT)),
            Property::<Self>::always(AVAILABILITY, |_, state| keeps(state, AVAILABILITY)),
            Property::<Self>::always(CLOCKS, |_, state| keeps(state, CLOCKS)),
            Property::<Self>::always(CONVERGENCE, |_, state| keeps(state, CONVERGENCE)),
            Property::<Self>::sometimes("the end is reached", |ring, state| ring.is_over(state)),
            Property::<Self>::sometimes("one reads what the other has just written", |_, state| {
                let [a, b] = &state.clients;
                let shared = a.past.intersection(&b.past).next().is_some();
                shared && state.mesh.cores.iter().any(|core| core.applied().is_zero())
            }),
        ]
    }
}

/// Two servers, two keys, three writes of which one is a batch.
fn two(bug: Option<Bug>) -> Ring {
    Ring {
        servers: 2,
        bug,
        scripts: [
            vec![Does::Write(0), Does::Write(1), Does::ReadBoth],
            vec![Does::ReadBoth, Does::WriteBoth, Does::Read(0)],
        ],
    }
}

/// Three servers, two keys, three writes.
fn three(bug: Option<Bug>) -> Ring {
    Ring {
        servers: 3,
        bug,
        scripts: [
            vec![Does::Write(0), Does::Write(1)],
            vec![Does::Read(1), Does::Write(0), Does::Read(0)],
        ],
    }
}

/// Three servers; one client overwrites what it has written, the other writes the same key.
fn overwrite(bug: Option<Bug>) -> Ring {
    Ring {
        servers: 3,
        bug,
        scripts: [
            vec![Does::Write(0), Does::Write(0)],
            vec![Does::Write(0), Does::ReadBoth],
        ],
    }
}

/// A request that is made twice, at any two of three servers.
fn again(servers: usize, bug: Option<Bug>) -> Ring {
    Ring {
        servers,
        bug,
        scripts: [
            vec![Does::AddTwice(0), Does::Read(0)],
            vec![Does::Read(0), Does::Write(1)],
        ],
    }
}

fn explored(ring: Ring) -> usize {
    let checker = ring.checker().threads(2).spawn_bfs().join();
    let states = checker.unique_state_count();
    println!("unique states: {states}, depth {}", checker.max_depth());
    for (name, path) in checker.discoveries() {
        let broken = path.last_state().broken.clone();
        assert_eq!(broken, None, "{name}: {:?}", path.into_actions());
    }
    checker.assert_properties();
    assert!(checker.is_done());
    states
}

#[test]
fn every_behaviour_of_two_servers_is_causal() {
    assert_eq!(explored(two(None)), 0);
}

#[test]
fn every_behaviour_of_three_servers_is_causal() {
    assert_eq!(explored(three(None)), 0);
    assert_eq!(explored(overwrite(None)), 0);
}

#[test]
fn a_request_that_is_repeated_counts_once_in_every_behaviour() {
    assert_eq!(explored(again(2, None)), 0);
    assert_eq!(explored(again(3, None)), 0);
}

/// Which properties a checker finds violated.
fn caught(ring: Ring) -> BTreeSet<&'static str> {
    let checker = ring.checker().threads(2);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let found = checker.discoveries();
    let broken = found.values().filter_map(|path| {
        let broken = path.last_state().broken.clone()?;
        println!("  {broken:?}");
        Some(property(broken.rule))
    });
    broken.collect()
}

#[test]
fn the_checker_finds_every_defect() {
    for (bug, ring) in [
        (Bug::OneRound, two(Some(Bug::OneRound))),
        (Bug::ExactMatch, two(Some(Bug::ExactMatch))),
        (Bug::JoinedTieBreak, overwrite(Some(Bug::JoinedTieBreak))),
        (
            Bug::TailSkipsDependencies,
            two(Some(Bug::TailSkipsDependencies)),
        ),
        (
            Bug::ReadSkipsDependencies,
            two(Some(Bug::ReadSkipsDependencies)),
        ),
        (
            Bug::WriteForgetsDependencies,
            two(Some(Bug::WriteForgetsDependencies)),
        ),
        (Bug::HeadForgetsOwn, two(Some(Bug::HeadForgetsOwn))),
        (
            Bug::TailForgetsFirstRound,
            three(Some(Bug::TailForgetsFirstRound)),
        ),
        (Bug::NoDissemination, two(Some(Bug::NoDissemination))),
        (Bug::CountsTwice, again(2, Some(Bug::CountsTwice))),
    ] {
        println!("{bug:?}");
        let found = caught(ring);
        assert!(!found.is_empty(), "{bug:?} is not found");
    }
}
