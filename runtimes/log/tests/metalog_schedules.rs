//! Metalogs under random schedules: whatever is lost, repeated or overtaken, and with up to a
//! minority crashed, no committed entry is missing from what the term ends with; and a checker that
//! sees each seeded defect.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_log::controller::ending::{self, Ending};
use triptych_log::sequencer::metalog::{Bug, Metalog};
use triptych_log::{Entry, Final, Level, Member, Shape, Step, Term, Trim, View, assigned, quorum};
use triptych_nodes::NodeId;

const TERM: Term = Term { view: 1, log: 0 };

fn members(first: u16, count: u16) -> Vec<Member> {
    let member = |node| Member {
        node: NodeId(node),
        life: 1,
    };
    (first..first + count).map(member).collect()
}

fn view(metas: u16) -> View {
    let storages = members(200, 2);
    let engines = members(1000, 2);
    let holders = engines.iter().enumerate();
    let holders = holders.map(|(at, engine)| (engine.node, View::assign(&storages, at, 2)));
    View {
        id: 1,
        shape: Shape {
            logs: 1,
            metas,
            copies: 2,
            indexes: 1,
        },
        sequencers: members(100, metas),
        holders: BTreeMap::from([(1, holders.collect())]),
        storages,
        engines,
        finals: Vec::new(),
    }
}

/// What may happen next; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Happens {
    /// A storage has one more record of an engine, and says so.
    Stored {
        storage: u16,
        engine: u16,
    },
    Cut,
    /// Somebody asks for a trim: an entry that need not wait until the one before is committed.
    Trim,
    /// The primary sends a backup its entries from some number on.
    Send {
        backup: u16,
        from: u32,
    },
    /// A message is delivered, and perhaps stays to be delivered again.
    Deliver {
        which: usize,
        stays: bool,
    },
    /// A message is lost.
    Lose {
        which: usize,
    },
    /// A sequencer has persisted what it has.
    Persist {
        sequencer: u16,
    },
    /// A sequencer fails for good, if that is a minority yet.
    Crash {
        sequencer: u16,
    },
    Seal {
        sequencer: u16,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    let which = any::<prop::sample::Index>();
    let which = which.prop_map(|index| index.index(usize::MAX));
    let at = 0..7_u16;
    // Seals and crashes stop progress, so they are rare.
    prop_oneof![
        9 => (0..2_u16, 0..2_u16).prop_map(|(storage, engine)| Happens::Stored { storage, engine }),
        9 => Just(Happens::Cut),
        2 => Just(Happens::Trim),
        12 => (at.clone(), 0..4_u32).prop_map(|(backup, from)| Happens::Send { backup, from }),
        24 => (which.clone(), prop::bool::weighted(0.3))
            .prop_map(|(which, stays)| Happens::Deliver { which, stays }),
        2 => which.prop_map(|which| Happens::Lose { which }),
        14 => at.clone().prop_map(|sequencer| Happens::Persist { sequencer }),
        1 => at.clone().prop_map(|sequencer| Happens::Crash { sequencer }),
        1 => at.prop_map(|sequencer| Happens::Seal { sequencer }),
    ]
}

#[derive(Clone)]
enum Sent {
    Accept(usize, Vec<Arc<Entry>>, u32),
    Accepted(usize, u32),
}

#[derive(Clone, Copy, Default)]
struct Bugs {
    metalog: Option<Bug>,
    ending: Option<ending::Bug>,
}

/// A term: its sequencers, the network between them, and what anybody outside ever saw.
struct Cluster {
    view: Arc<View>,
    logs: Vec<Option<Metalog>>,
    bugs: Bugs,
    network: Vec<Sent>,
    records: BTreeMap<(u16, u16), u32>,
    trims: u64,
    /// Entries that were committed, by number.
    seen: BTreeMap<u32, Arc<Entry>>,
    ending: Ending,
    /// How the term ended: what the first quorum of answers showed.
    ended: Option<Final>,
}

impl Cluster {
    fn new(metas: u16, bugs: Bugs) -> Self {
        let view = Arc::new(view(metas));
        let primary = Metalog::primary(&view, TERM, bugs.metalog);
        let backups = (1..metas).map(|_| Some(Metalog::backup(TERM, bugs.metalog)));
        Cluster {
            logs: [primary].into_iter().chain(backups).collect(),
            ending: Ending::new(Arc::clone(&view), Level::Memory, bugs.ending),
            view,
            bugs,
            ended: None,
            network: Vec::new(),
            records: BTreeMap::new(),
            trims: 0,
            seen: BTreeMap::new(),
        }
    }

    fn happen(&mut self, event: &Happens) -> Result<(), TestCaseError> {
        let metas = self.logs.len();
        match *event {
            Happens::Stored { storage, engine } => {
                let below = self.records.entry((storage, engine)).or_default();
                *below += 1;
                let below = [(NodeId(1000 + engine), *below)];
                if let Some(primary) = &mut self.logs[0] {
                    primary.report(NodeId(200 + storage), &below);
                }
            }
            Happens::Cut => drop(self.logs[0].as_mut().and_then(Metalog::cut)),
            Happens::Trim => {
                self.trims += 1;
                let trim = Trim {
                    book: 0,
                    streams: Vec::new(),
                    by: (NodeId(1000), self.trims),
                };
                let primary = self.logs[0].as_mut();
                primary.map(|primary| primary.ask(Step::Trim(trim)));
            }
            Happens::Send { backup, from } => {
                let backup = usize::from(backup) % metas;
                if let Some(primary) = &self.logs[0] {
                    let entries = primary.entries(from..primary.len()).to_vec();
                    let sent = Sent::Accept(backup, entries, primary.committed());
                    self.network.push(sent);
                }
            }
            Happens::Deliver { which, stays } if !self.network.is_empty() => {
                let which = which % self.network.len();
                let sent = self.network[which].clone();
                if !stays {
                    self.network.remove(which);
                }
                self.deliver(sent)?;
            }
            Happens::Lose { which } if !self.network.is_empty() => {
                self.network.remove(which % self.network.len());
            }
            Happens::Deliver { .. } | Happens::Lose { .. } => {}
            Happens::Persist { sequencer } => {
                let at = usize::from(sequencer) % metas;
                if let Some(log) = &mut self.logs[at] {
                    log.persisted(log.len());
                    if at > 0 {
                        self.network.push(Sent::Accepted(at, log.durable()));
                    }
                }
                self.look()?;
            }
            Happens::Crash { sequencer } => {
                let down = self.logs.iter().filter(|log| log.is_none()).count();
                if metas - down > quorum(metas) {
                    self.logs[usize::from(sequencer) % metas] = None;
                }
            }
            Happens::Seal { sequencer } => self.seal(usize::from(sequencer) % metas),
        }
        Ok(())
    }

    fn deliver(&mut self, sent: Sent) -> Result<(), TestCaseError> {
        match sent {
            Sent::Accept(backup, entries, committed) => {
                if let Some(log) = &mut self.logs[backup] {
                    log.accept(&entries, committed);
                    let durable = log.durable();
                    self.network.push(Sent::Accepted(backup, durable));
                }
            }
            Sent::Accepted(backup, entries) => {
                if let Some(primary) = &mut self.logs[0] {
                    primary.accepted(NodeId(100 + backup as u16), entries);
                }
                self.look()?;
            }
        }
        Ok(())
    }

    fn seal(&mut self, at: usize) {
        if let Some(log) = &mut self.logs[at] {
            log.seal();
            // What was taken before the seal is durable when the seal is.
            log.persisted(log.len());
            let member = self.view.sequencers[at];
            self.ending
                .answer(member, log.sealed().into_iter().collect());
            if self.ended.is_none() {
                self.ended = self.ending.finals().map(|mut finals| finals.remove(0));
            }
        }
    }

    /// Everybody sees what the primary has committed: it must be sound.
    fn look(&mut self) -> Result<(), TestCaseError> {
        if let Some(primary) = &self.logs[0] {
            for entry in primary.entries(0..primary.committed()) {
                let same = self.seen.entry(entry.number);
                let same = same.or_insert_with(|| Arc::clone(entry));
                prop_assert_eq!(&*same, entry);
            }
        }
        Ok(())
    }

    /// Seals whoever is left. How the term ended, and whether all that was seen is in it.
    fn end(&mut self) -> Result<Final, TestCaseError> {
        (0..self.logs.len()).for_each(|at| self.seal(at));
        self.look()?;
        let ended = self.ended.clone();
        prop_assert!(
            ended.is_some(),
            "a majority lives: {:?}",
            self.ending.missing()
        );
        let end = ended.expect("it was just asserted");
        let seen = self.seen.len() as u32;
        prop_assert!(seen <= end.entries, "{} seen, {} final", seen, end.entries);
        for entry in &end.tail {
            if let Some(same) = self.seen.get(&entry.number) {
                prop_assert_eq!(same, entry);
            }
        }
        // Everybody who lives ends up with the same, which has all that was seen.
        let fetched: Vec<_> = self.seen.values().cloned().collect();
        for log in self.logs.iter_mut().flatten() {
            log.end(&end);
            log.learn(&fetched);
            log.learn(&end.tail);
            prop_assert!(!log.is_missing(), "{:?} {:?}", log, end);
            for entry in log.entries(0..end.entries) {
                if let Some(same) = self.seen.get(&entry.number) {
                    prop_assert_eq!(same, entry);
                }
            }
        }
        for log in self.logs.iter().flatten() {
            self.sound(log.entries(0..end.entries))?;
        }
        Ok(end)
    }

    /// Whether entries give every record one place, without gaps, and only to records that both
    /// storages have.
    fn sound(&self, entries: &[Arc<Entry>]) -> Result<(), TestCaseError> {
        let (mut places, mut records) = (BTreeSet::new(), BTreeSet::new());
        let numbers = entries.iter().map(|entry| entry.number);
        prop_assert!(numbers.eq(0..entries.len() as u32), "an entry out of place");
        for entry in entries {
            let Step::Cut {
                first,
                starts,
                deltas,
            } = &entry.step
            else {
                continue;
            };
            for (shard, start, delta, at) in
                assigned(&self.view.engines, TERM, *first, starts, deltas)
            {
                for k in 0..delta {
                    prop_assert!(places.insert(at.position() + k), "a place for two");
                    prop_assert!(records.insert((shard.engine, start + k)), "two places");
                }
                let of = |storage| {
                    let engine = shard.engine.0 - 1000;
                    self.records.get(&(storage, engine)).copied().unwrap_or(0)
                };
                let kept = of(0).min(of(1));
                prop_assert!(start + delta <= kept, "ordered and not on every holder");
            }
        }
        let dense = places.iter().copied().eq(0..places.len() as u32);
        prop_assert!(dense, "{:?}", places);
        Ok(())
    }
}

fn run(metas: u16, events: &[Happens], bugs: Bugs) -> Result<(), TestCaseError> {
    let mut cluster = Cluster::new(metas, bugs);
    for event in events {
        cluster.happen(event)?;
    }
    cluster.end()?;
    let bugged = cluster.bugs.metalog.is_some() || cluster.bugs.ending.is_some();
    prop_assert!(bugged || cluster.seen.len() <= 120);
    Ok(())
}

fn schedule() -> impl Strategy<Value = Vec<Happens>> {
    prop::collection::vec(happens(), 30..120)
}

/// Looks for a schedule under which a cluster with defects does wrong.
fn caught(metas: u16, bugs: Bugs, cases: u32) -> Option<String> {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 100,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let found = runner.run(&schedule(), |events| run(metas, &events, bugs));
    found.err().map(|error| error.to_string())
}

proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

    #[test]
    fn no_committed_entry_is_missing_from_the_final(
        metas in 1..=7_u16,
        events in schedule(),
    ) {
        run(metas, &events, Bugs::default())?;
    }

    #[test]
    fn whoever_commits_and_whoever_seals_share_a_sequencer(
        metas in 1..=7_usize,
        keeps in prop::collection::vec(any::<bool>(), 7),
        sealed in prop::collection::vec(any::<bool>(), 7),
    ) {
        // By what the metalog commits and the ending accepts, not by what a quorum is said to be.
        let mut cluster = Cluster::new(metas as u16, Bugs::default());
        for storage in 0..2 {
            cluster.happen(&Happens::Stored { storage, engine: 0 })?;
        }
        cluster.happen(&Happens::Cut)?;
        let kept = |at: &usize| keeps[*at];
        for at in (0..metas).filter(kept) {
            if at > 0 {
                let entries = cluster.logs[0].as_ref().map(|log| log.entries(0..1).to_vec());
                let entries = entries.unwrap_or_default();
                cluster.deliver(Sent::Accept(at, entries, 0))?;
            }
            cluster.happen(&Happens::Persist { sequencer: at as u16 })?;
        }
        while let Some(sent) = cluster.network.pop() {
            cluster.deliver(sent)?;
        }
        let committed = !cluster.seen.is_empty();
        let seals: Vec<usize> = (0..metas).filter(|&at| sealed[at]).collect();
        seals.iter().for_each(|&at| cluster.seal(at));
        let ends = cluster.ending.finals().is_some();
        let shared = seals.iter().any(kept);
        prop_assert!(!(committed && ends) || shared, "{:?} {:?}", keeps, sealed);
        prop_assert_eq!(ends, seals.len() > metas / 2);
        prop_assert_eq!(committed, (0..metas).filter(kept).count() > metas / 2);
    }
}

#[test]
fn random_schedules_find_every_defect() {
    let metalog = |bug| Bugs {
        metalog: Some(bug),
        ending: None,
    };
    let ending = |bug| Bugs {
        metalog: None,
        ending: Some(bug),
    };
    let both = Bugs {
        metalog: Some(Bug::HalfIsEnough),
        ending: Some(ending::Bug::HalfIsEnough),
    };
    let defects = [
        (3, metalog(Bug::CommitWithoutQuorum), "seen"),
        (4, both, "seen"),
        // What such a backup tells makes no sense, so that it does not count, and a quorum is missing.
        (3, metalog(Bug::AcceptWithGap), "a majority lives"),
        (3, metalog(Bug::ForgetSeal), "seen"),
        (3, metalog(Bug::CutBeyondMinimum), "not on every holder"),
        (3, metalog(Bug::CutTwice), "two places"),
        (3, metalog(Bug::ReuseNumbers), "a place for two"),
        (3, ending(ending::Bug::FinalFromFirst), "seen"),
        (3, ending(ending::Bug::FinalFromShortest), "seen"),
    ];
    for (metas, bugs, says) in defects {
        let name = format!("{:?} {:?}", bugs.metalog, bugs.ending);
        let found = caught(metas, bugs, 1_500);
        let found = found.unwrap_or_else(|| panic!("{name} was not found"));
        assert!(found.contains(says), "{name}: {found}");
    }
    // Half here and a majority there still meet.
    assert_eq!(caught(4, metalog(Bug::HalfIsEnough), 200), None);
    assert_eq!(caught(4, ending(ending::Bug::HalfIsEnough), 200), None);
}
