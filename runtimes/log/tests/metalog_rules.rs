//! The rules of a metalog, one by one, on the same code that sequencers run.

use std::collections::BTreeMap;
use triptych_log::sequencer::lead::Asked;
use triptych_log::sequencer::metalog::{Bug, FULL, Metalog, TAIL};
use triptych_log::{Final, Member, Shape, Step, Term, Trim, View};
use triptych_nodes::NodeId;

const TERM: Term = Term { view: 1, log: 0 };

fn members(first: u16, count: u16) -> Vec<Member> {
    let member = |node| Member {
        node: NodeId(node),
        life: 1,
    };
    (first..first + count).map(member).collect()
}

/// One log of sequencers from 100, kept by all of them; storages 200 and 201; engines 1000 and 1001,
/// which both storages keep.
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

fn primary(metas: u16, bug: Option<Bug>) -> Metalog {
    Metalog::primary(&view(metas), TERM, bug).expect("the view has this log")
}

/// Both storages say that they have so much of each engine.
fn stored(log: &mut Metalog, first: u32, second: u32) {
    for storage in [200, 201] {
        let below = [(NodeId(1000), first), (NodeId(1001), second)];
        log.report(NodeId(storage), &below);
    }
}

/// A primary's metalog with so many entries, the last of which is not committed.
fn some(entries: u32) -> Metalog {
    let mut log = primary(3, None);
    for number in 0..entries {
        stored(&mut log, number + 1, 0);
        log.cut().expect("there is something to cut");
        log.persisted(number + 1);
        if number + 1 < entries {
            log.accepted(NodeId(101), number + 1);
        }
    }
    log
}

fn cut(first: u32, starts: [u32; 2], deltas: [u32; 2]) -> Step {
    Step::Cut {
        first,
        starts: starts.to_vec(),
        deltas: deltas.to_vec(),
    }
}

fn trim(number: u64) -> Trim {
    Trim {
        book: 7,
        streams: Vec::new(),
        by: (NodeId(1000), number),
    }
}

#[test]
fn a_cut_takes_what_every_holder_has() {
    let mut log = primary(1, None);
    assert!(!log.can_cut() && log.cut().is_none());
    assert!(log.report(NodeId(200), &[(NodeId(1000), 5), (NodeId(1001), 2)]));
    assert!(!log.can_cut(), "the other holder has said nothing");
    assert!(log.report(NodeId(201), &[(NodeId(1000), 3)]));
    let entry = log.cut().expect("both have three of the first engine");
    assert_eq!((entry.number, &entry.step), (0, &cut(0, [0, 0], [3, 0])));
    // Late and repeated reports are no news, nor are those of strangers.
    assert!(!log.report(NodeId(200), &[(NodeId(1000), 4)]));
    assert!(!log.report(NodeId(209), &[(NodeId(1000), 9)]));
    assert!(!log.report(NodeId(200), &[(NodeId(1009), 9)]));
    log.persisted(1);
    assert!(log.report(NodeId(201), &[(NodeId(1000), 4), (NodeId(1001), 9)]));
    let entry = log.cut().expect("one and two more");
    assert_eq!(entry.step, cut(3, [3, 0], [1, 2]));
}

#[test]
fn a_quorum_of_all_that_keep_it_commits_an_entry() {
    for metas in 1..=7 {
        let mut log = primary(metas, None);
        stored(&mut log, 1, 0);
        log.cut().expect("there is something to cut");
        // The primary and as many backups as a majority needs besides.
        let needed = metas / 2;
        assert_eq!(log.persisted(1).len(), usize::from(needed == 0), "{metas}");
        for k in 1..=needed {
            assert_eq!(log.committed(), 0, "{metas} sequencers, {k} of them");
            let committed = log.accepted(NodeId(100 + k), 1);
            assert_eq!(committed.len(), usize::from(k == needed), "{metas}");
        }
        assert_eq!(log.committed(), 1, "{metas}");
        // Again, and by a stranger: nothing new.
        assert!(log.accepted(NodeId(101), 1).is_empty());
        assert!(log.accepted(NodeId(999), 1).is_empty());
    }
}

#[test]
fn a_primary_that_does_not_count_never_commits_alone() {
    // The published code's defect: with one sequencer nothing is ever committed, and here with three
    // of which one has failed neither.
    for metas in [1, 3] {
        let commits = |bug| {
            let mut log = primary(metas, bug);
            stored(&mut log, 1, 0);
            log.cut().expect("there is something to cut");
            log.persisted(1);
            if metas == 3 {
                log.accepted(NodeId(101), 1);
            }
            log.committed()
        };
        assert_eq!(commits(None), 1);
        assert_eq!(commits(Some(Bug::PrimaryDoesNotCount)), 0);
    }
}

#[test]
fn what_the_primary_has_not_persisted_counts_only_if_a_quorum_of_others_has() {
    let mut log = primary(3, None);
    stored(&mut log, 1, 0);
    log.cut().expect("there is something to cut");
    assert!(log.accepted(NodeId(101), 1).is_empty(), "one of three");
    assert_eq!(log.accepted(NodeId(102), 1), 0..1, "two of three");
}

#[test]
fn a_backup_that_claims_more_than_there_is_is_not_believed() {
    let mut log = primary(3, None);
    stored(&mut log, 1, 0);
    log.cut().expect("there is something to cut");
    log.persisted(1);
    assert!(log.accepted(NodeId(101), u32::MAX).is_empty());
    assert_eq!(log.accepted(NodeId(101), 1), 0..1);
}

#[test]
fn one_cut_at_a_time_but_trims_at_any() {
    let mut log = primary(3, None);
    stored(&mut log, 1, 0);
    log.cut().expect("there is something to cut");
    log.persisted(1);
    stored(&mut log, 2, 0);
    assert!(!log.can_cut(), "the first is not committed");
    assert_eq!(log.ask(Step::Trim(trim(1))), Asked::New);
    assert_eq!(log.ask(Step::Trim(trim(1))), Asked::Again(1));
    let release = |number| Step::Release {
        trim: trim(number),
        refused: Vec::new(),
    };
    // The release of a trim has the trim's number, and is another thing.
    assert_eq!(log.ask(release(1)), Asked::New);
    assert_eq!(log.ask(release(1)), Asked::Again(2));
    assert_eq!(log.ask(Step::Trim(trim(2))), Asked::New);
    assert_eq!(log.ask(cut(0, [0, 0], [1, 1])), Asked::Refused);
    log.persisted(4);
    assert_eq!(log.accepted(NodeId(101), 1), 0..1);
    assert!(log.can_cut(), "what is not committed now are trims");
    assert_eq!(log.accepted(NodeId(102), 4), 1..4);
}

#[test]
fn a_backup_takes_entries_in_order_whatever_comes() {
    let all = some(4);
    let all = all.entries(0..4);
    let mut log = Metalog::backup(TERM, None);
    assert!(!log.accept(&all[1..], 3), "the first is missing");
    assert_eq!((log.len(), log.committed()), (0, 0));
    assert!(log.accept(&all[..2], 3));
    assert_eq!((log.len(), log.committed()), (2, 2), "of what is here");
    assert!(!log.accept(&all[..2], 0), "nothing new");
    assert!(log.accept(&all[1..], 1), "what overlaps is left out");
    assert_eq!((log.len(), log.committed()), (4, 2));
    assert_eq!(log.durable(), 0);
    log.persisted(3);
    assert_eq!(log.durable(), 3);
    log.persisted(9);
    assert_eq!(log.durable(), 4, "no more than there is");
    assert_eq!(log.entries(0..9), all);
}

#[test]
fn a_seal_stops_everything() {
    let mut leader = primary(3, None);
    stored(&mut leader, 1, 0);
    let entry = leader.cut().expect("there is something to cut");
    leader.persisted(1);
    leader.seal();
    stored(&mut leader, 2, 0);
    assert!(!leader.can_cut() && leader.cut().is_none());
    assert_eq!(leader.ask(Step::Trim(trim(1))), Asked::Refused);
    assert!(leader.accepted(NodeId(101), 1).is_empty());
    assert_eq!((leader.len(), leader.committed()), (1, 0));
    let mut backup = Metalog::backup(TERM, None);
    backup.seal();
    assert!(!backup.accept(&[entry], 0));
    let sealed = backup.sealed().expect("nothing was lost");
    assert_eq!((sealed.entries, sealed.tail.len()), (0, 0));
}

#[test]
fn a_sealed_metalog_shows_all_that_is_not_surely_committed_and_a_little_more() {
    let mut log = some(40);
    log.seal();
    let sealed = log.sealed().expect("nothing was lost");
    assert_eq!((sealed.entries, sealed.committed), (40, 39));
    assert_eq!(sealed.tail.len() as u32, TAIL);
    let mut backup = Metalog::backup(TERM, None);
    backup.accept(log.entries(0..40), 3);
    let sealed = backup.sealed().expect("nothing was lost");
    assert_eq!((sealed.committed, sealed.tail.len()), (3, 37));
}

#[test]
fn what_a_term_ended_with_replaces_what_was_not_committed_and_fills_what_is_missing() {
    let whole = some(30);
    let end = |entries: u32, from: u32| Final {
        entries,
        tail: whole.entries(from..entries).to_vec(),
    };
    // The primary has an entry that is not part of the log.
    let mut ahead = whole.clone();
    let ended = ahead.end(&end(29, 20));
    assert_eq!((ended.new, ended.discarded), (29..29, 29..30));
    assert_eq!((ahead.len(), ahead.committed()), (29, 29));
    assert!(!ahead.is_missing() && !ahead.is_primary() && ahead.is_sealed());
    // A backup is so far behind that the tail does not help until the rest was fetched.
    let mut behind = Metalog::backup(TERM, None);
    behind.accept(whole.entries(0..10), 10);
    let ended = behind.end(&end(30, 20));
    assert!(ended.new.is_empty() && behind.is_missing());
    assert_eq!(behind.fetch(0, 99).len(), 10, "and serves what it has");
    assert!(behind.learn(whole.entries(12..15)).is_empty());
    assert_eq!(behind.learn(whole.entries(5..30)), 10..30);
    assert!(!behind.is_missing());
    assert_eq!(behind.fetch(28, 99), whole.entries(28..30));
    assert_eq!(behind.fetch(3, 4), whole.entries(3..7));
    assert!(behind.fetch(30, 4).is_empty() && behind.fetch(u32::MAX, 4).is_empty());
    // It ends once.
    assert!(behind.end(&end(3, 0)).discarded.is_empty());
    assert_eq!(behind.len(), 30);
}

#[test]
fn only_what_is_committed_is_served() {
    let log = some(3);
    assert_eq!((log.len(), log.fetch(0, 99).len()), (3, 2));
}

#[test]
fn a_damaged_metalog_is_not_told_until_it_was_repaired() {
    let whole = some(6);
    let found = whole.entries(0..2).to_vec();
    let mut log = Metalog::recovered(TERM, found, 5, true);
    assert_eq!((log.sealed(), log.committed()), (None, 2));
    log.end(&Final {
        entries: 6,
        tail: Vec::new(),
    });
    assert_eq!(log.learn(whole.entries(0..6)), 2..6);
    assert_eq!(log.sealed().map(|sealed| sealed.entries), Some(6));
}

#[test]
fn numbers_never_run_over() {
    let mut log = primary(1, None);
    stored(&mut log, FULL - 1, 0);
    assert!(!log.is_full());
    log.cut().expect("just not too many");
    log.persisted(1);
    stored(&mut log, FULL - 1, 1);
    assert!(log.is_full() && !log.can_cut() && log.cut().is_none());

    let mut log = primary(1, None);
    stored(&mut log, u32::MAX, u32::MAX);
    assert!(log.is_full() && log.cut().is_none() && log.is_empty());
}
