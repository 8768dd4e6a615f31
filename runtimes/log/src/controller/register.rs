//! A register that is written once: one per view number, kept by all controllers (single-decree
//! Paxos). At most one value is ever chosen in it, whatever is lost, repeated, or late, and however
//! many controllers propose at once; while a majority of them answers, one that is alone in proposing
//! gets one chosen.
//!
//! A proposer first has a majority promise to take part in no earlier ballot, and learns what they
//! have accepted before. If it is anything, that of the highest ballot may have been chosen already,
//! so the proposer proposes just that; else what it likes. Acceptors answer when what they say is
//! durable. A ballot is used by one proposer for one value: after a restart a proposer goes on above
//! what its own acceptor has promised, and it asks the others only when that promise is durable.

use crate::{Ballot, quorum};
use std::collections::BTreeSet;
use triptych_nodes::NodeId;

/// A seeded defect, to show that the checkers see it. No controller has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// An acceptor accepts in ballots that it has promised to take no part in.
    IgnoresPromise,
    /// An acceptor does not say what it has accepted.
    ForgetsAccepted,
    /// Of what was accepted a proposer proposes what it hears first, not what has the highest ballot.
    ProposesFirstHeard,
    /// A value is chosen when one acceptor has accepted it.
    ChosenByOne,
}

/// What a controller remembers of a register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acceptor<V> {
    promised: Ballot,
    accepted: Option<(Ballot, V)>,
    bug: Option<Bug>,
}

impl<V: Clone> Acceptor<V> {
    /// One that has promised nothing.
    pub fn new(bug: Option<Bug>) -> Self {
        Acceptor::recovered(Ballot::default(), None, bug)
    }

    /// One that has promised and accepted this.
    pub fn recovered(promised: Ballot, accepted: Option<(Ballot, V)>, bug: Option<Bug>) -> Self {
        Acceptor {
            promised,
            accepted,
            bug,
        }
    }

    /// The highest ballot that it has promised.
    pub fn promised(&self) -> Ballot {
        self.promised
    }

    /// What it has accepted, and in which ballot.
    pub fn accepted(&self) -> Option<&(Ballot, V)> {
        self.accepted.as_ref()
    }

    /// Promises to take part in no ballot before this one, and says what it has accepted.
    ///
    /// # Errors
    /// The ballot that it has promised, which is higher.
    pub fn prepare(&mut self, ballot: Ballot) -> Result<Option<(Ballot, V)>, Ballot> {
        if ballot < self.promised {
            return Err(self.promised);
        }
        self.promised = ballot;
        Ok(match self.bug {
            Some(Bug::ForgetsAccepted) => None,
            _ => self.accepted.clone(),
        })
    }

    /// Accepts a value.
    ///
    /// # Errors
    /// The ballot that it has promised, which is higher.
    pub fn propose(&mut self, ballot: Ballot, value: V) -> Result<(), Ballot> {
        if ballot < self.promised && self.bug != Some(Bug::IgnoresPromise) {
            return Err(self.promised);
        }
        self.promised = self.promised.max(ballot);
        self.accepted = Some((ballot, value));
        Ok(())
    }
}

/// Where a proposer is in its ballot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase<V> {
    /// Collects promises.
    Prepares {
        promised: BTreeSet<NodeId>,
        accepted: Option<(Ballot, V)>,
    },
    /// A majority has promised, and nothing was accepted before: any value will do.
    Free,
    /// Has proposed, and collects agreement.
    Proposes { value: V, agreed: BTreeSet<NodeId> },
    /// Knows what is chosen.
    Done(V),
}

/// A controller that tries to get a value chosen, in one ballot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposer<V> {
    ballot: Ballot,
    acceptors: usize,
    phase: Phase<V>,
    bug: Option<Bug>,
}

impl<V: Clone> Proposer<V> {
    /// One that is about to ask so many acceptors for their promises. The ballot must be higher than
    /// all that this controller has ever used for the register.
    pub fn new(ballot: Ballot, acceptors: usize, bug: Option<Bug>) -> Self {
        Proposer {
            ballot,
            acceptors,
            phase: Phase::Prepares {
                promised: BTreeSet::new(),
                accepted: None,
            },
            bug,
        }
    }

    /// Its ballot.
    pub fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// Whether promises are still wanted, and of whom there is one.
    pub fn prepares(&self) -> Option<&BTreeSet<NodeId>> {
        match &self.phase {
            Phase::Prepares { promised, .. } => Some(promised),
            _ => None,
        }
    }

    /// Whether any value will do now.
    pub fn is_free(&self) -> bool {
        matches!(self.phase, Phase::Free)
    }

    /// What is proposed, and who has agreed.
    pub fn proposes(&self) -> Option<(&V, &BTreeSet<NodeId>)> {
        match &self.phase {
            Phase::Proposes { value, agreed } => Some((value, agreed)),
            _ => None,
        }
    }

    /// What is chosen.
    pub fn chosen(&self) -> Option<&V> {
        match &self.phase {
            Phase::Done(value) => Some(value),
            _ => None,
        }
    }

    /// An acceptor has promised. What is to be proposed, if a majority has now promised and something
    /// was accepted before; if nothing was, see [`Proposer::is_free`].
    pub fn promise(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        before: Option<(Ballot, V)>,
    ) -> Option<V> {
        let Phase::Prepares { promised, accepted } = &mut self.phase else {
            return None;
        };
        if ballot != self.ballot {
            return None;
        }
        promised.insert(from);
        let newer = match (&before, &*accepted) {
            (Some((new, _)), Some((old, _))) => {
                new > old && self.bug != Some(Bug::ProposesFirstHeard)
            }
            (Some(_), None) => true,
            (None, _) => false,
        };
        if newer {
            *accepted = before;
        }
        if promised.len() < quorum(self.acceptors) {
            return None;
        }
        match accepted.take() {
            Some((_, value)) => self.start(value),
            None => {
                self.phase = Phase::Free;
                None
            }
        }
    }

    /// Proposes a value if any will do. What is proposed.
    pub fn offer(&mut self, value: V) -> Option<V> {
        if !self.is_free() {
            return None;
        }
        self.start(value)
    }

    fn start(&mut self, value: V) -> Option<V> {
        self.phase = Phase::Proposes {
            value: value.clone(),
            agreed: BTreeSet::new(),
        };
        Some(value)
    }

    /// An acceptor has agreed. What is chosen, if that makes a majority.
    pub fn agreed(&mut self, from: NodeId, ballot: Ballot) -> Option<V> {
        let Phase::Proposes { value, agreed } = &mut self.phase else {
            return None;
        };
        if ballot != self.ballot {
            return None;
        }
        agreed.insert(from);
        let enough = match self.bug {
            Some(Bug::ChosenByOne) => 1,
            _ => quorum(self.acceptors),
        };
        if agreed.len() < enough {
            return None;
        }
        let value = value.clone();
        self.phase = Phase::Done(value.clone());
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ballot(round: u32, node: u16) -> Ballot {
        Ballot { round, node }
    }

    #[test]
    fn an_acceptor_keeps_its_promise_and_says_what_it_accepted() {
        let mut acceptor = Acceptor::new(None);
        assert_eq!(acceptor.prepare(ballot(2, 1)), Ok(None));
        assert_eq!(acceptor.prepare(ballot(1, 9)), Err(ballot(2, 1)));
        assert_eq!(acceptor.propose(ballot(1, 9), 'x'), Err(ballot(2, 1)));
        assert_eq!(acceptor.propose(ballot(2, 1), 'a'), Ok(()));
        // The same again, because the answer was lost.
        assert_eq!(acceptor.propose(ballot(2, 1), 'a'), Ok(()));
        assert_eq!(
            acceptor.prepare(ballot(2, 2)),
            Ok(Some((ballot(2, 1), 'a')))
        );
        assert_eq!(acceptor.propose(ballot(2, 1), 'a'), Err(ballot(2, 2)));
        // To accept in a higher ballot is to promise it.
        assert_eq!(acceptor.propose(ballot(3, 1), 'b'), Ok(()));
        assert_eq!(acceptor.prepare(ballot(2, 9)), Err(ballot(3, 1)));
    }

    #[test]
    fn a_proposer_proposes_its_own_only_if_nothing_was_accepted() {
        let mut alone = Proposer::new(ballot(1, 1), 3, None);
        assert_eq!(alone.offer('m'), None, "nobody has promised yet");
        assert_eq!(alone.promise(NodeId(1), ballot(1, 1), None), None);
        assert_eq!(alone.promise(NodeId(1), ballot(1, 1), None), None);
        assert!(!alone.is_free(), "one acceptor counts once");
        assert_eq!(alone.promise(NodeId(2), ballot(1, 1), None), None);
        assert!(alone.is_free());
        assert_eq!(alone.offer('m'), Some('m'));
        assert_eq!(alone.offer('n'), None, "one ballot, one value");
        assert_eq!(alone.agreed(NodeId(3), ballot(0, 1)), None);
        assert_eq!(alone.agreed(NodeId(3), ballot(1, 1)), None);
        assert_eq!(alone.agreed(NodeId(1), ballot(1, 1)), Some('m'));
        assert_eq!(alone.chosen(), Some(&'m'));

        let mut late = Proposer::new(ballot(5, 2), 5, None);
        let before = |round, value| Some((ballot(round, 1), value));
        assert_eq!(late.promise(NodeId(1), ballot(5, 2), before(3, 'y')), None);
        assert_eq!(late.promise(NodeId(2), ballot(5, 2), before(4, 'z')), None);
        assert_eq!(
            late.promise(NodeId(3), ballot(5, 2), before(1, 'x')),
            Some('z'),
            "that of the highest ballot"
        );
    }
}
