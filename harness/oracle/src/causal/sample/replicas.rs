//! The replicas of the sample's store: in which order they apply what, and what they hold at the end.

use super::{Bug, Clock, Store};
use triptych_model::Name;
use triptych_model::causes::{Causes, Holds};

impl Store {
    /// Applies the next version of an origin, if there is one.
    pub(super) fn apply(&mut self, replica: usize, origin: usize) {
        let next = self.replicas[replica].applied[origin] as usize;
        if next >= self.versions[origin].len() {
            return;
        }
        let lost = replica != origin && self.strikes(Bug::LostAtReplica);
        let version = &self.versions[origin][next];
        let own = &mut self.replicas[replica];
        own.applied[origin] += 1;
        if version.lost || lost {
            return;
        }
        for (nth, (key, write)) in (0u32..).zip(&version.writes) {
            let (sum, at, number) = version.place;
            let content = own.keys.entry(*key).or_default();
            content.insert((sum, at, number, nth), (*write, version.clock.clone()));
            // What has long been overwritten is not kept.
            let keep = match self.causes.keys[*key as usize].holds {
                Holds::All => usize::MAX,
                Holds::Last => 1,
                Holds::Newest(keep) => keep as usize,
            };
            while content.len() > keep {
                content.pop_first();
            }
        }
    }

    /// A replica receives the next version of an origin, if it has what that depends on.
    pub(super) fn deliver(&mut self, replica: usize, origin: usize) -> bool {
        let own = &self.replicas[replica].applied;
        let Some(version) = self.versions[origin].get(own[origin] as usize) else {
            return false;
        };
        let mut others = version.clock.iter().zip(own).enumerate();
        let ready = others.all(|(at, (needs, has))| at == origin || needs <= has);
        // Where clients fetch what they need, there is little left to be received too early.
        let ready = ready || self.bug == Some(Bug::Reorder);
        if ready {
            self.apply(replica, origin);
        }
        ready
    }

    /// A replica gets all that a client depends on.
    pub(super) fn pull(&mut self, replica: usize, clock: &Clock) {
        loop {
            let mut moved = false;
            for (origin, count) in clock.iter().enumerate() {
                while self.replicas[replica].applied[origin] < *count
                    && self.deliver(replica, origin)
                {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    pub(super) fn finish(mut self) -> Causes {
        let all: Clock = self.versions.iter().map(|all| all.len() as u32).collect();
        for replica in 0..self.replicas.len() {
            self.pull(replica, &all);
        }
        for key in 0..self.causes.keys.len() as u32 {
            let contents = self.replicas.iter();
            let contents = contents.map(|replica| {
                let content = replica.keys.get(&key).cloned().unwrap_or_default();
                self.shown(key, &content)
            });
            let mut contents: Vec<Vec<u32>> = contents.collect();
            let known = &mut self.causes.keys[key as usize];
            known.last = Some(contents.remove(0));
            let copies = (1..).zip(contents);
            let copies = copies.map(|(n, content)| (Name::from(format!("replica {n}")), content));
            known.copies = copies.collect();
        }
        self.causes
    }
}
