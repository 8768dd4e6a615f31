//! The register under random schedules: at most one value is ever chosen, however many controllers
//! propose at once, whatever is lost, repeated or overtaken; and seeded defects are seen.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use triptych_log::Ballot;
use triptych_log::controller::register::{Acceptor, Bug, Proposer};
use triptych_nodes::NodeId;

/// What may happen next; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Happens {
    /// A proposer begins anew, with a higher ballot.
    Begin { proposer: usize },
    /// It proposes its own value, if it may.
    Offer { proposer: usize },
    /// A message is delivered, and perhaps stays to be delivered again.
    Deliver { which: usize, stays: bool },
}

fn schedule(proposers: usize) -> impl Strategy<Value = Vec<Happens>> {
    let which = any::<prop::sample::Index>();
    let which = which.prop_map(|index| index.index(usize::MAX));
    let happens = prop_oneof![
        2 => (0..proposers).prop_map(|proposer| Happens::Begin { proposer }),
        3 => (0..proposers).prop_map(|proposer| Happens::Offer { proposer }),
        12 => (which, prop::bool::weighted(0.2))
            .prop_map(|(which, stays)| Happens::Deliver { which, stays }),
    ];
    prop::collection::vec(happens, 20..120)
}

type Value = u8;

#[derive(Clone)]
enum Sent {
    Prepare(usize, usize, Ballot),
    Promise(usize, usize, Ballot, Option<(Ballot, Value)>),
    Propose(usize, usize, Ballot, Value),
    Agreed(usize, usize, Ballot),
}

/// How many acceptors and proposers; every acceptor recovers from what it said, as from a disk, after
/// every message.
struct Registers {
    acceptors: Vec<Acceptor<Value>>,
    proposers: Vec<Option<Proposer<Value>>>,
    network: Vec<Sent>,
    chosen: Vec<Value>,
    round: u32,
    bug: Option<Bug>,
}

impl Registers {
    fn new(acceptors: usize, proposers: usize, bug: Option<Bug>) -> Self {
        Registers {
            acceptors: (0..acceptors).map(|_| Acceptor::new(bug)).collect(),
            proposers: vec![None; proposers],
            network: Vec::new(),
            chosen: Vec::new(),
            round: 0,
            bug,
        }
    }

    fn propose(&mut self, proposer: usize, value: Option<Value>) {
        let ballot = self.proposers[proposer].as_ref().map(Proposer::ballot);
        if let (Some(ballot), Some(value)) = (ballot, value) {
            let to = 0..self.acceptors.len();
            let sent = to.map(|to| Sent::Propose(proposer, to, ballot, value));
            self.network.extend(sent);
        }
    }

    fn happen(&mut self, event: &Happens) {
        match *event {
            Happens::Begin { proposer } => {
                self.round += 1;
                let ballot = Ballot {
                    round: self.round,
                    node: proposer as u16,
                };
                let acceptors = self.acceptors.len();
                self.proposers[proposer] = Some(Proposer::new(ballot, acceptors, self.bug));
                let sent = (0..acceptors).map(|to| Sent::Prepare(proposer, to, ballot));
                self.network.extend(sent);
            }
            Happens::Offer { proposer } => {
                let own = proposer as Value;
                let value = self.proposers[proposer].as_mut();
                let value = value.and_then(|it| it.offer(own));
                self.propose(proposer, value);
            }
            Happens::Deliver { which, stays } => {
                if self.network.is_empty() {
                    return;
                }
                let which = which % self.network.len();
                let sent = self.network[which].clone();
                if !stays {
                    self.network.swap_remove(which);
                }
                self.deliver(sent);
            }
        }
    }

    fn deliver(&mut self, sent: Sent) {
        match sent {
            Sent::Prepare(proposer, to, ballot) => {
                if let Ok(accepted) = self.acceptors[to].prepare(ballot) {
                    let promise = Sent::Promise(proposer, to, ballot, accepted);
                    self.network.push(promise);
                }
            }
            Sent::Promise(proposer, from, ballot, accepted) => {
                let from = NodeId(from as u16);
                let value = self.proposers[proposer].as_mut();
                let value = value.and_then(|it| it.promise(from, ballot, accepted));
                self.propose(proposer, value);
            }
            Sent::Propose(proposer, to, ballot, value) => {
                if self.acceptors[to].propose(ballot, value).is_ok() {
                    self.network.push(Sent::Agreed(proposer, to, ballot));
                }
            }
            Sent::Agreed(proposer, from, ballot) => {
                let from = NodeId(from as u16);
                let value = self.proposers[proposer].as_mut();
                let value = value.and_then(|it| it.agreed(from, ballot));
                self.chosen.extend(value);
            }
        }
        for acceptor in &mut self.acceptors {
            let accepted = acceptor.accepted().copied();
            *acceptor = Acceptor::recovered(acceptor.promised(), accepted, self.bug);
        }
    }
}

fn run(
    acceptors: usize,
    proposers: usize,
    events: &[Happens],
    bug: Option<Bug>,
) -> Result<usize, TestCaseError> {
    let mut registers = Registers::new(acceptors, proposers, bug);
    events.iter().for_each(|event| registers.happen(event));
    // And whoever comes last, alone and undisturbed, learns or decides.
    registers.network.clear();
    registers.happen(&Happens::Begin { proposer: 0 });
    for _ in 0..3 {
        while !registers.network.is_empty() {
            let (which, stays) = (0, false);
            registers.happen(&Happens::Deliver { which, stays });
        }
        registers.happen(&Happens::Offer { proposer: 0 });
    }
    let chosen = &registers.chosen;
    prop_assert!(!chosen.is_empty(), "nobody disturbed it");
    let same = chosen.iter().all(|value| *value == chosen[0]);
    prop_assert!(same, "several were chosen: {:?}", chosen);
    Ok(chosen.len())
}

/// Looks for a schedule under which a register with a defect does wrong.
fn caught(bug: Option<Bug>, cases: u32) -> Option<String> {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 100,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let found = runner.run(&schedule(3), |events| run(3, 3, &events, bug).map(drop));
    found.err().map(|error| error.to_string())
}

proptest! {
    #![proptest_config(Config { cases: 500, failure_persistence: None, ..Config::default() })]

    #[test]
    fn at_most_one_value_is_ever_chosen(
        acceptors in 1..=5_usize,
        events in schedule(3),
    ) {
        run(acceptors, 3, &events, None)?;
    }
}

#[test]
fn random_schedules_find_defects() {
    // That a proposer takes what it hears first takes a rare schedule: the model checker finds it.
    for bug in [Bug::IgnoresPromise, Bug::ForgetsAccepted, Bug::ChosenByOne] {
        let found = caught(Some(bug), 3_000);
        let found = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
        assert!(found.contains("several were chosen"), "{bug:?}: {found}");
    }
    assert_eq!(caught(None, 300), None);
}
