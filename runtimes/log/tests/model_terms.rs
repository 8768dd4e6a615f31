//! Every behaviour of a small cluster over two views, on the metalogs and the ending that sequencers
//! and controllers run: three sequencers of which one may crash and come back without its memory, two
//! shards on two storages. Messages stay in the network for ever, so each may be lost, repeated, and
//! overtaken.

use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_log::controller::ending::{self, Ending};
use triptych_log::sequencer::metalog::{Bug, Metalog};
use triptych_log::{
    Entry, Final, Level, Member, SealedLog, Shape, Step, Term, View, ViewId, assigned,
};
use triptych_nodes::NodeId;

const FIRST: Term = Term { view: 1, log: 0 };
const SECOND: Term = Term { view: 2, log: 0 };

fn members(first: u16, count: u16) -> Vec<Member> {
    let member = |node| Member {
        node: NodeId(node),
        life: 1,
    };
    (first..first + count).map(member).collect()
}

fn view(id: ViewId, sequencers: Vec<Member>) -> View {
    let storages = members(200, 2);
    let engines = members(1000, 2);
    let holders = engines.iter().enumerate();
    let holders = holders.map(|(at, engine)| (engine.node, View::assign(&storages, at, 2)));
    View {
        id,
        shape: Shape {
            logs: 1,
            metas: sequencers.len() as u16,
            copies: 2,
            indexes: 1,
        },
        holders: BTreeMap::from([(id, holders.collect())]),
        sequencers,
        storages,
        engines,
        finals: Vec::new(),
    }
}

/// What is under way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Sent {
    /// To a backup: entries `from` to before `to` of a term, of which so many are committed.
    Accept {
        view: ViewId,
        to: u16,
        entries: (u32, u32),
        committed: u32,
    },
    Accepted {
        view: ViewId,
        from: u16,
        entries: u32,
    },
    /// To the controller: from a sequencer in one of its lives.
    Sealed { from: u16, life: u32 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// By sequencer; none while it is down.
    first: Vec<Option<Metalog>>,
    /// None until the sequencer has learned of the second view.
    second: Vec<Option<Metalog>>,
    /// All entries that the two primaries ever made: what messages carry.
    made: [Vec<Arc<Entry>>; 2],
    /// What sequencers said when they had sealed the first view, by life.
    said: BTreeMap<(u16, u32), SealedLog>,
    network: BTreeSet<Sent>,
    /// How many records each storage has of each engine, in the first view.
    stored: [[u32; 2]; 2],
    crashed: Option<u16>,
    back: bool,
    ending: Ending,
    /// How the first view ended, and the second.
    ended: Option<(Final, Arc<View>)>,
    /// What anybody outside saw committed.
    seen: [Vec<Arc<Entry>>; 2],
    /// Whether somebody saw two things.
    torn: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    /// The second storage has one more record of an engine, and the primary hears of it.
    Store(usize),
    Cut(ViewId),
    /// The primary sends everything again.
    Again(ViewId),
    Deliver(Sent),
    Crash(u16),
    /// Who crashed is back, and knows nothing.
    Back,
    /// The controller's wish to end the view reaches a sequencer.
    Seal(u16),
    /// The controller has enough answers, and has the second view chosen.
    Choose,
    Learn(u16),
}

struct Terms {
    /// Records of each engine in the first view.
    records: [u32; 2],
    metalog: Option<Bug>,
    ending: Option<ending::Bug>,
}

impl Terms {
    fn new(records: [u32; 2]) -> Self {
        Terms {
            records,
            metalog: None,
            ending: None,
        }
    }

    fn see(state: &mut State, at: usize, log: &Metalog) {
        let seen = &mut state.seen[at];
        for (number, entry) in log.entries(0..log.committed()).iter().enumerate() {
            match seen.get(number) {
                Some(same) => state.torn |= same != entry,
                None => seen.push(Arc::clone(entry)),
            }
        }
    }

    /// The primary of a view has a new entry, or sends all of them again.
    fn send(state: &mut State, view: ViewId, log: &Metalog, from: u32, backups: &[u16]) {
        for &to in backups {
            state.network.insert(Sent::Accept {
                view,
                to,
                entries: (from, log.len()),
                committed: log.committed(),
            });
        }
    }

    fn logs(state: &mut State, view: ViewId) -> &mut Vec<Option<Metalog>> {
        if view == 1 {
            &mut state.first
        } else {
            &mut state.second
        }
    }

    fn primary(state: &State, view: ViewId) -> Option<(u16, Vec<u16>)> {
        let sequencers = match view {
            1 => vec![0, 1, 2],
            _ => {
                let members = state.ended.iter().flat_map(|(_, view)| &view.sequencers);
                members.map(|member| member.node.0 - 100).collect()
            }
        };
        let (&first, others) = sequencers.split_first()?;
        Some((first, others.to_vec()))
    }

    fn deliver(state: &mut State, sent: &Sent) -> Option<()> {
        match *sent {
            Sent::Accept {
                view,
                to,
                entries,
                committed,
            } => {
                let at = usize::from(view) - 1;
                let carried = entries.0 as usize..entries.1 as usize;
                let carried = state.made[at].get(carried)?.to_vec();
                let log = Self::logs(state, view)[usize::from(to)].as_mut()?;
                log.accept(&carried, committed);
                log.persisted(log.len());
                let accepted = Sent::Accepted {
                    view,
                    from: to,
                    entries: log.durable(),
                };
                state.network.insert(accepted);
                Some(())
            }
            Sent::Accepted {
                view,
                from,
                entries,
            } => {
                let at = usize::from(view) - 1;
                let (primary, _) = Self::primary(state, view)?;
                let log = Self::logs(state, view)[usize::from(primary)].as_mut()?;
                let before = log.clone();
                log.accepted(NodeId(100 + from), entries);
                let log = log.clone();
                Self::see(state, at, &log);
                (log != before).then_some(())
            }
            Sent::Sealed { from, life } => {
                let said = state.said.get(&(from, life))?.clone();
                let before = state.ending.clone();
                let node = NodeId(100 + from);
                state.ending.answer(Member { node, life }, vec![said]);
                (state.ending != before).then_some(())
            }
        }
    }

    /// A sequencer has sealed the first view, and says what it keeps.
    fn seal(state: &mut State, at: u16) -> Option<()> {
        let life = if state.back && state.crashed == Some(at) {
            2
        } else {
            1
        };
        let log = state.first[usize::from(at)].as_mut()?;
        log.seal();
        let sealed = log.sealed()?;
        state.said.entry((at, life)).or_insert(sealed);
        let is_new = state.network.insert(Sent::Sealed { from: at, life });
        is_new.then_some(())
    }

    /// Leaves out messages that change nothing, whenever they come: states that differ in them alone
    /// are the same.
    fn tidy(&self, state: &mut State) {
        let before = std::mem::take(&mut state.network);
        let ignored = |sent: &Sent| match *sent {
            Sent::Accept {
                view,
                to,
                entries,
                committed,
            } => {
                let logs = if view == 1 {
                    &state.first
                } else {
                    &state.second
                };
                match &logs[usize::from(to)] {
                    // It has crashed; or it may have yet to learn of the view.
                    None => view == 1 || state.first[usize::from(to)].is_none(),
                    Some(log) => {
                        let sealed = log.is_sealed() && self.metalog != Some(Bug::ForgetSeal);
                        sealed || (entries.1 <= log.len() && committed <= log.committed())
                    }
                }
            }
            Sent::Accepted {
                view,
                from,
                entries,
            } => {
                let primary = Self::primary(state, view).map(|(primary, _)| usize::from(primary));
                let logs = if view == 1 {
                    &state.first
                } else {
                    &state.second
                };
                let log = primary.and_then(|primary| logs[primary].as_ref());
                log.is_none_or(|log| {
                    let sealed = log.is_sealed() && self.metalog != Some(Bug::ForgetSeal);
                    sealed || entries <= log.position(NodeId(100 + from))
                })
            }
            Sent::Sealed { .. } => state.ended.is_some(),
        };
        let network = before.into_iter().filter(|sent| !ignored(sent)).collect();
        state.network = network;
    }

    fn choose(state: &mut State) -> Option<()> {
        let end = state.ending.finals()?.first()?.clone();
        let up = (0..3).filter(|&at| state.first[usize::from(at)].is_some());
        let up = up.filter(|&at| !(state.back && state.crashed == Some(at)));
        let sequencers = up.map(|at| members(100 + at, 1)[0]).collect();
        state.ended = Some((end, Arc::new(view(2, sequencers))));
        Some(())
    }

    fn learn(&self, state: &mut State, at: u16) -> Option<()> {
        let (end, view) = state.ended.clone()?;
        let log = state.first[usize::from(at)].as_mut()?;
        log.end(&end);
        let place = view
            .sequencers
            .iter()
            .position(|member| member.node.0 == 100 + at)?;
        let mut log = match place {
            0 => Metalog::primary(&view, SECOND, self.metalog)?,
            _ => Metalog::backup(SECOND, self.metalog),
        };
        for storage in [200, 201] {
            // In the second view each storage has a record of the first engine from the beginning.
            log.report(NodeId(storage), &[(NodeId(1000), 1)]);
        }
        state.second[usize::from(at)] = Some(log);
        Some(())
    }

    fn step(&self, state: &mut State, action: &Action) -> Option<()> {
        match action {
            &Action::Store(engine) => {
                let below = &mut state.stored[1][engine];
                *below += 1;
                let below = [(NodeId(1000 + engine as u16), *below)];
                state.first[0].as_mut()?.report(NodeId(201), &below);
                Some(())
            }
            &Action::Cut(view) => {
                let (primary, backups) = Self::primary(state, view)?;
                let log = Self::logs(state, view)[usize::from(primary)].as_mut()?;
                let entry = log.cut()?;
                log.persisted(log.len());
                let log = log.clone();
                let at = usize::from(view) - 1;
                Self::see(state, at, &log);
                state.made[at].push(Arc::clone(&entry));
                Self::send(state, view, &log, entry.number, &backups);
                Some(())
            }
            &Action::Again(view) => {
                let (primary, backups) = Self::primary(state, view)?;
                let log = Self::logs(state, view)[usize::from(primary)].clone()?;
                let before = state.network.len();
                Self::send(state, view, &log, 0, &backups);
                (state.network.len() > before).then_some(())
            }
            Action::Deliver(sent) => Self::deliver(state, sent),
            &Action::Crash(at) => {
                state.crashed = Some(at);
                state.first[usize::from(at)] = None;
                state.second[usize::from(at)] = None;
                Some(())
            }
            Action::Back => {
                let at = usize::from(state.crashed?);
                let log = Metalog::recovered(FIRST, Vec::new(), 0, false);
                state.first[at] = Some(log);
                state.back = true;
                Some(())
            }
            &Action::Seal(at) => Self::seal(state, at),
            Action::Choose => Self::choose(state),
            &Action::Learn(at) => self.learn(state, at),
        }
    }
}

impl Model for Terms {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let view = Arc::new(view(1, members(100, 3)));
        let mut primary = Metalog::primary(&view, FIRST, self.metalog);
        // The first storage has everything from the beginning; the second gets one after the other.
        for engine in 0..2 {
            let below = [(NodeId(1000 + engine as u16), self.records[engine])];
            let log = primary.as_mut();
            log.map(|log| log.report(NodeId(200), &below));
        }
        let backup = || Some(Metalog::backup(FIRST, self.metalog));
        vec![State {
            first: vec![primary, backup(), backup()],
            second: vec![None; 3],
            made: [Vec::new(), Vec::new()],
            said: BTreeMap::new(),
            network: BTreeSet::new(),
            stored: [self.records, [0; 2]],
            crashed: None,
            back: false,
            ending: Ending::new(view, Level::Memory, self.ending),
            ended: None,
            seen: [Vec::new(), Vec::new()],
            torn: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let (up, ended) = (|at: usize| state.first[at].is_some(), state.ended.is_some());
        for engine in 0..2 {
            if state.stored[1][engine] < self.records[engine] {
                actions.push(Action::Store(engine));
            }
        }
        for view in [1, 2] {
            actions.push(Action::Cut(view));
            if state.made[usize::from(view) - 1].len() > 1 {
                actions.push(Action::Again(view));
            }
        }
        actions.extend(state.network.iter().cloned().map(Action::Deliver));
        for at in 0..3 {
            if state.crashed.is_none() {
                actions.push(Action::Crash(at));
            }
            if up(usize::from(at)) {
                if !ended {
                    actions.push(Action::Seal(at));
                }
                if ended && state.second[usize::from(at)].is_none() {
                    actions.push(Action::Learn(at));
                }
            }
        }
        if state.crashed.is_some() && !state.back && !ended {
            actions.push(Action::Back);
        }
        if !ended {
            actions.push(Action::Choose);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.step(&mut next, &action)?;
        self.tidy(&mut next);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("what was committed is final", |_, state| {
                let seen = &state.seen[0];
                state.ended.as_ref().is_none_or(|(end, _)| {
                    let missing = end.entries as usize - end.tail.len();
                    let known = seen.iter().skip(missing);
                    seen.len() <= end.entries as usize && known.zip(&end.tail).all(|(a, b)| a == b)
                })
            }),
            Property::<Self>::always("nobody sees two things committed", |_, state| !state.torn),
            Property::<Self>::always("committed prefixes agree", |_, state| {
                [&state.first, &state.second].into_iter().all(|logs| {
                    let logs: Vec<&Metalog> = logs.iter().flatten().collect();
                    let committed = |log: &Metalog| log.entries(0..log.committed()).to_vec();
                    logs.iter().all(|a| {
                        let a = committed(a);
                        logs.iter()
                            .all(|b| a.iter().zip(&committed(b)).all(|(a, b)| a == b))
                    })
                })
            }),
            Property::<Self>::always("a term ends alike everywhere", |_, state| {
                let ended = state.ended.as_ref().map(|(end, _)| end);
                let second = state.second.iter();
                state.first.iter().zip(second).all(|(log, second)| {
                    let (Some(log), Some(_), Some(end)) = (log, second, ended) else {
                        return true;
                    };
                    let tail = log.entries(0..u32::MAX).iter().rev();
                    let same = tail.zip(end.tail.iter().rev()).all(|(a, b)| a == b);
                    !log.is_missing() && log.len() == end.entries && same
                })
            }),
            Property::<Self>::always("a record has one place, and is on all holders", sound),
            Property::<Self>::sometimes("a commit before the seal", |_, state| {
                !state.seen[0].is_empty() && state.said.is_empty()
            }),
            Property::<Self>::sometimes("a commit though one has crashed", |_, state| {
                let primary = state.first[0].as_ref();
                let crashed = state.crashed.filter(|&at| at > 0 && !state.back);
                let unheard = primary.zip(crashed);
                let unheard = unheard.is_some_and(|(log, at)| log.position(NodeId(100 + at)) == 0);
                unheard && !state.seen[0].is_empty() && state.second[0].is_none()
            }),
            Property::<Self>::sometimes("an uncommitted entry becomes final", |_, state| {
                let ended = state.ended.as_ref();
                ended.is_some_and(|(end, _)| state.seen[0].len() < end.entries as usize)
            }),
            Property::<Self>::sometimes("an entry of the primary alone is lost", |_, state| {
                let ended = state.ended.as_ref();
                ended.is_some_and(|(end, _)| state.made[0].len() > end.entries as usize)
            }),
            Property::<Self>::sometimes("a cut of both shards", |_, state| {
                state.made[0].iter().any(|entry| match &entry.step {
                    Step::Cut { deltas, .. } => deltas.iter().all(|&delta| delta > 0),
                    _ => false,
                })
            }),
            Property::<Self>::sometimes("a commit in the second view", |_, state| {
                !state.seen[1].is_empty()
            }),
        ]
    }
}

/// Whether the committed entries of the first view give each record one place, densely, and only
/// records that both storages have.
fn sound(_: &Terms, state: &State) -> bool {
    let engines = members(1000, 2);
    let (mut places, mut records) = (BTreeSet::new(), BTreeSet::new());
    for entry in &state.seen[0] {
        let Step::Cut {
            first,
            starts,
            deltas,
        } = &entry.step
        else {
            return false;
        };
        for (shard, start, delta, at) in assigned(&engines, FIRST, *first, starts, deltas) {
            let engine = usize::from(shard.engine.0 - 1000);
            let kept = state.stored[0][engine].min(state.stored[1][engine]);
            let fresh = (0..delta)
                .all(|k| places.insert(at.position() + k) && records.insert((engine, start + k)));
            if !fresh || start + delta > kept {
                return false;
            }
        }
    }
    places.iter().copied().eq(0..places.len() as u32)
}

#[test]
fn every_behaviour_of_two_views_is_sound() {
    let checker = Terms::new([1, 1]).checker().threads(2);
    let checker = checker.spawn_bfs().join();
    let found = checker.unique_state_count();
    println!("unique states: {found}, depth {}", checker.max_depth());
    checker.assert_properties();
    assert!(checker.is_done());
}

/// Which properties a checker finds violated, or never fulfilled.
fn caught(model: Terms) -> Vec<&'static str> {
    let properties = model.properties();
    let checker = model.checker().threads(2);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let found = checker.discoveries();
    let fails = |property: &&Property<Terms>| {
        found.contains_key(property.name) == property.expectation.discovery_is_failure()
    };
    let violated = |name: &&'static str| found.contains_key(name);
    let failures: Vec<_> = properties.iter().filter(fails).map(|it| it.name).collect();
    let always = properties.iter();
    let always: BTreeSet<_> = always
        .filter(|it| it.expectation.discovery_is_failure())
        .map(|it| it.name)
        .collect();
    let broken: Vec<_> = failures.iter().copied().filter(violated).collect();
    if broken.is_empty() {
        return failures
            .into_iter()
            .filter(|name| !always.contains(name))
            .collect();
    }
    broken
}

#[test]
fn the_checker_finds_every_defect() {
    let metalog = |records, bug| Terms {
        metalog: Some(bug),
        ..Terms::new(records)
    };
    let ending = |records, bug| Terms {
        ending: Some(bug),
        ..Terms::new(records)
    };
    let final_ = "what was committed is final";
    let places = "a record has one place, and is on all holders";
    let defects = [
        (
            "CommitWithoutQuorum",
            metalog([1, 0], Bug::CommitWithoutQuorum),
            final_,
        ),
        (
            "PrimaryDoesNotCount",
            metalog([1, 0], Bug::PrimaryDoesNotCount),
            "a commit though one has crashed",
        ),
        ("AcceptWithGap", metalog([2, 0], Bug::AcceptWithGap), ""),
        ("ForgetSeal", metalog([1, 0], Bug::ForgetSeal), final_),
        (
            "CutBeyondMinimum",
            metalog([1, 0], Bug::CutBeyondMinimum),
            places,
        ),
        ("CutTwice", metalog([1, 0], Bug::CutTwice), places),
        ("ReuseNumbers", metalog([1, 1], Bug::ReuseNumbers), places),
        (
            "FinalFromFirst",
            ending([1, 0], ending::Bug::FinalFromFirst),
            final_,
        ),
        (
            "FinalFromShortest",
            ending([1, 0], ending::Bug::FinalFromShortest),
            final_,
        ),
        (
            "CountAnyLife",
            ending([1, 0], ending::Bug::CountAnyLife),
            final_,
        ),
    ];
    for (name, model, property) in defects {
        let found = caught(model);
        println!("{name}: {found:?}");
        let right = found.iter().any(|found| found.contains(property));
        assert!(right, "{name}: {found:?}");
    }
}
