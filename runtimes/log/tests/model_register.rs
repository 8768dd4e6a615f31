//! Every behaviour of a register of three controllers of which two propose, on the code that
//! controllers run. Messages stay in the network for ever, so each may be lost, repeated, and
//! overtaken.

use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeSet;
use triptych_log::Ballot;
use triptych_log::controller::register::{Acceptor, Bug, Proposer};
use triptych_nodes::NodeId;

type Value = u16;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Sent {
    Prepare(Ballot),
    Promise(u16, Ballot, Option<(Ballot, Value)>),
    Propose(Ballot, Value),
    Agreed(u16, Ballot),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    acceptors: Vec<Acceptor<Value>>,
    proposers: Vec<Option<Proposer<Value>>>,
    /// How many ballots each proposer has begun.
    begun: [u32; 2],
    network: BTreeSet<Sent>,
    /// What each proposer ever knew to be chosen.
    chosen: BTreeSet<Value>,
    /// Whether one learned what the other had got chosen.
    learned: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Begin(usize),
    Offer(usize),
    /// To an acceptor, or to the proposer whose ballot it is.
    Deliver(Sent, u16),
}

struct Register {
    ballots: [u32; 2],
    bug: Option<Bug>,
}

impl Register {
    fn owner(ballot: Ballot) -> usize {
        usize::from(ballot.node)
    }

    fn deliver(state: &mut State, sent: Sent, to: u16) -> Option<()> {
        match sent {
            Sent::Prepare(ballot) => {
                let acceptor = &mut state.acceptors[usize::from(to)];
                let accepted = acceptor.prepare(ballot).ok()?;
                state.network.insert(Sent::Promise(to, ballot, accepted));
            }
            Sent::Promise(from, ballot, accepted) => {
                let proposer = state.proposers[Self::owner(ballot)].as_mut()?;
                if let Some(value) = proposer.promise(NodeId(from), ballot, accepted) {
                    state.network.insert(Sent::Propose(ballot, value));
                }
            }
            Sent::Propose(ballot, value) => {
                let acceptor = &mut state.acceptors[usize::from(to)];
                acceptor.propose(ballot, value).ok()?;
                state.network.insert(Sent::Agreed(to, ballot));
            }
            Sent::Agreed(from, ballot) => {
                let owner = Self::owner(ballot);
                let proposer = state.proposers[owner].as_mut()?;
                if let Some(value) = proposer.agreed(NodeId(from), ballot) {
                    state.learned |= usize::from(value) != owner;
                    state.chosen.insert(value);
                }
            }
        }
        Some(())
    }
}

impl Register {
    /// Leaves out answers that a proposer will ignore, whenever they come: states that differ in
    /// them alone are the same.
    fn tidy(state: &mut State) {
        let proposers = &state.proposers;
        let of = |ballot: Ballot| {
            let proposer = proposers[Self::owner(ballot)].as_ref();
            proposer.filter(|it| it.ballot() == ballot)
        };
        state.network.retain(|sent| match sent {
            Sent::Prepare(_) | Sent::Propose(..) => true,
            &Sent::Promise(from, ballot, _) => {
                let heard = of(ballot).and_then(Proposer::prepares);
                heard.is_some_and(|heard| !heard.contains(&NodeId(from)))
            }
            &Sent::Agreed(from, ballot) => of(ballot).is_some_and(|it| {
                let heard = it.proposes();
                heard.is_some_and(|(_, heard)| !heard.contains(&NodeId(from)))
            }),
        });
    }
}

impl Model for Register {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            acceptors: vec![Acceptor::new(self.bug); 3],
            proposers: vec![None; 2],
            begun: [0; 2],
            network: BTreeSet::new(),
            chosen: BTreeSet::new(),
            learned: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for proposer in 0..2 {
            if state.begun[proposer] < self.ballots[proposer] {
                actions.push(Action::Begin(proposer));
            }
            if state.proposers[proposer]
                .as_ref()
                .is_some_and(Proposer::is_free)
            {
                actions.push(Action::Offer(proposer));
            }
        }
        for sent in &state.network {
            let to = match sent {
                Sent::Prepare(_) | Sent::Propose(..) => 0..3,
                Sent::Promise(..) | Sent::Agreed(..) => 0..1,
            };
            actions.extend(to.map(|to| Action::Deliver(sent.clone(), to)));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Begin(proposer) => {
                next.begun[proposer] += 1;
                let ballot = Ballot {
                    round: next.begun[proposer],
                    node: proposer as u16,
                };
                next.proposers[proposer] = Some(Proposer::new(ballot, 3, self.bug));
                next.network.insert(Sent::Prepare(ballot));
            }
            Action::Offer(proposer) => {
                let of = next.proposers[proposer].as_mut()?;
                let (ballot, value) = (of.ballot(), of.offer(proposer as Value)?);
                next.network.insert(Sent::Propose(ballot, value));
            }
            Action::Deliver(sent, to) => Self::deliver(&mut next, sent, to)?,
        }
        Self::tidy(&mut next);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("at most one value is chosen", |_, state| {
                state.chosen.len() <= 1
            }),
            Property::<Self>::sometimes("a value is chosen", |_, state| !state.chosen.is_empty()),
            Property::<Self>::sometimes("one learns what the other got chosen", |_, state| {
                state.learned
            }),
        ]
    }
}

#[test]
fn every_behaviour_of_the_register_is_sound() {
    let ballots = [2, 1];
    let checker = Register { ballots, bug: None }.checker().threads(2);
    let checker = checker.spawn_bfs().join();
    let found = checker.unique_state_count();
    println!("unique states: {found}, depth {}", checker.max_depth());
    checker.assert_properties();
    assert!(checker.is_done());
}

#[test]
fn the_checker_finds_every_defect() {
    for bug in [
        Bug::IgnoresPromise,
        Bug::ForgetsAccepted,
        Bug::ProposesFirstHeard,
        Bug::ChosenByOne,
    ] {
        let ballots = match bug {
            Bug::ProposesFirstHeard => [2, 1],
            _ => [1, 1],
        };
        let model = Register {
            ballots,
            bug: Some(bug),
        };
        let checker = model.checker().threads(2);
        let checker = checker.finish_when(HasDiscoveries::AnyFailures);
        let checker = checker.spawn_dfs().join();
        let found = checker.discovery("at most one value is chosen");
        println!("{bug:?}: unique states: {}", checker.unique_state_count());
        assert!(found.is_some(), "{bug:?} was not found");
    }
}
