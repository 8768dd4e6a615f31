//! On which server's host a function runs.

use std::cell::Cell;
use triptych_world::{mix, mix_str};

/// How executions are spread over servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Each one anywhere, as in the published evaluation.
    #[default]
    Random,
    /// One server after the other, whoever calls.
    RoundRobin,
    /// A session's requests, with all that they call, on one server.
    Affinity,
}

/// A policy at work.
pub(crate) struct Placer {
    policy: Policy,
    servers: usize,
    next: Cell<usize>,
}

impl Placer {
    /// At least one server.
    pub(crate) fn new(policy: Policy, servers: usize) -> Self {
        Placer {
            policy,
            servers: servers.max(1),
            next: Cell::new(0),
        }
    }

    /// Where a workflow stays, if it stays anywhere: where its session has been before, if it has.
    pub(crate) fn home(&self, known: Option<usize>, root: &str) -> Option<usize> {
        let new = || (mix_str(0, root) % self.servers as u64) as usize;
        let known = known.filter(|&home| home < self.servers);
        (self.policy == Policy::Affinity).then(|| known.unwrap_or_else(new))
    }

    /// Where an execution runs, by its path and by where its workflow stays.
    pub(crate) fn server(&self, path: u64, home: Option<usize>) -> usize {
        match (self.policy, home) {
            (Policy::RoundRobin, _) => {
                let next = self.next.get();
                self.next.set((next + 1) % self.servers);
                next
            }
            (Policy::Affinity, Some(home)) => home % self.servers,
            (Policy::Random | Policy::Affinity, _) => (mix(path, 0) % self.servers as u64) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_policy_uses_the_servers_it_should() {
        let random = Placer::new(Policy::Random, 3);
        let used: BTreeSet<usize> = (0..50).map(|path| random.server(path, None)).collect();
        assert_eq!(used.len(), 3);
        assert_eq!(random.home(Some(2), "r1"), None);
        assert_eq!(random.server(7, None), random.server(7, None));

        let turns = Placer::new(Policy::RoundRobin, 3);
        let used: Vec<usize> = (0..4).map(|_| turns.server(7, None)).collect();
        assert_eq!(used, [0, 1, 2, 0]);

        let stays = Placer::new(Policy::Affinity, 3);
        let home = stays.home(None, "r1");
        let used: BTreeSet<usize> = (0..50).map(|path| stays.server(path, home)).collect();
        assert_eq!(used.into_iter().collect::<Vec<_>>(), [home.unwrap()]);
        assert_eq!(stays.home(Some(2), "r1"), Some(2));
        // Of a session that has been where no server is any more.
        assert!(stays.home(Some(9), "r1").is_some_and(|home| home < 3));
    }
}
