//! The scenarios of the specification's §14: each holds, and each fails with the defect that it is
//! there for.

#[allow(dead_code, unreachable_pub)]
mod ring_world;

use ring_world::random::{Case, run};
use ring_world::rules::rule;
use ring_world::{Broken, Checked, Client, Mesh, holds, key};
use triptych_api::Value;
use triptych_mesh::{Arrived, Bug, Clock, Key, Op, Seen, Slot};

fn x() -> Key {
    key(0)
}

fn y() -> Key {
    key(1)
}

fn put(key: Key, value: i64) -> Vec<(Key, Op)> {
    vec![(key, Op::Put(Value::Int(value)))]
}

fn clock(counts: &[u64]) -> Clock {
    Clock::from(counts.to_vec())
}

fn shown(seen: &[Seen]) -> Vec<Option<i64>> {
    let value = |seen: &Seen| seen.value.as_ref().and_then(Value::as_int);
    seen.iter().map(value).collect()
}

/// Delivers so many messages of each of these links, one after the other.
fn deliver(mesh: &mut Mesh, links: &[usize]) -> Result<Vec<Arrived>, Broken> {
    let mut all = Vec::new();
    for &link in links {
        let arrived = mesh.deliver(link)?;
        all.push(arrived.expect("something is under way on the link"));
    }
    Ok(all)
}

/// That a scenario holds on the right protocol, and that it breaks one of these rules with a defect.
fn both(scenario: fn(Option<Bug>) -> Checked, bugs: &[(Bug, &[&str])]) {
    assert_eq!(scenario(None), Ok(()));
    for (bug, rules) in bugs {
        let broken = rule(scenario(Some(*bug)));
        let expected = broken.is_some_and(|rule| rules.contains(&rule));
        assert!(expected, "{bug:?} breaks {broken:?}");
    }
}

/// A client writes x at 0 and, before any server has received that, z at 1.
fn sc1(bug: Option<Bug>) -> Checked {
    let mut mesh = Mesh::quiet(2, bug);
    let (mut writer, mut reader) = (Client::new(0), Client::new(1));
    mesh.write(&mut writer, 0, put(x(), 1))?;
    mesh.write(&mut writer, 1, put(y(), 2))?;
    // The link from 0 to 1 is slow; z arrives at 0, its tail, for the first time.
    let arrived = deliver(&mut mesh, &[1]);
    let seen = mesh.read(&mut reader, 0, &[y(), x()])?;
    let before = shown(&seen);
    mesh.read(&mut reader, 1, &[y(), x()])?;
    arrived?;
    holds("H1", before == [None, None], || format!("{before:?}"))?;
    // Now everything arrives, and the reader finds it everywhere.
    while !mesh.links.iter().all(|link| link.is_empty()) {
        for link in [1, 0] {
            mesh.deliver(link)?;
            mesh.check(&[&writer, &reader])?;
        }
    }
    let tail = shown(&mesh.read(&mut reader, 0, &[y(), x()])?);
    let other = shown(&mesh.read(&mut reader, 1, &[y(), x()])?);
    holds("H1", tail == [Some(2), Some(1)] && other == tail, || {
        format!("{tail:?}, {other:?}")
    })
}

#[test]
fn sc1_two_rounds_make_a_version_findable_before_it_is_shown() {
    both(sc1, &[(Bug::OneRound, &["S6", "C7"])]);
}

/// Both servers write x; a reader has read the join of the two.
fn sc2(bug: Option<Bug>) -> Checked {
    let mut mesh = Mesh::quiet(2, bug);
    let (mut a, mut b, mut reader) = (Client::new(0), Client::new(1), Client::new(2));
    mesh.write(&mut a, 0, put(x(), 1))?;
    mesh.write(&mut b, 1, put(x(), 2))?;
    deliver(&mut mesh, &[0, 1, 1, 0, 0, 1])?;
    assert_eq!(mesh.cores[0].applied(), &clock(&[0, 1]));
    assert_eq!(mesh.cores[1].applied(), &clock(&[1]));
    let seen = mesh.read(&mut reader, 0, &[x()])?;
    assert_eq!(seen[0].clock, clock(&[0, 1]));
    let seen = mesh.read(&mut reader, 1, &[x()])?;
    assert_eq!(seen[0].clock, clock(&[1, 1]));
    // No version has this clock; the one that is missing here is below it.
    let seen = mesh.read(&mut reader, 0, &[x()])?;
    let same = seen[0].clock == clock(&[1, 1]) && shown(&seen) == [Some(1)];
    holds("H2", same, || format!("{seen:?}"))?;
    mesh.check(&[&a, &b, &reader])
}

#[test]
fn sc2_dependencies_are_found_at_or_below_their_clock() {
    both(sc2, &[(Bug::ExactMatch, &["S5", "H1", "H2"])]);
}

/// xa at 0 and xb at 1 are concurrent; m at 2 overwrites xa, and comes to a server that has joined xa
/// and xb.
fn sc3(bug: Option<Bug>) -> Checked {
    let mut mesh = Mesh::quiet(3, bug);
    let (mut a, mut b, mut c) = (Client::new(0), Client::new(1), Client::new(2));
    let xa = mesh.write(&mut a, 0, put(x(), 1))?;
    deliver(&mut mesh, &[0])?;
    let xb = mesh.write(&mut c, 1, put(x(), 2))?;
    deliver(&mut mesh, &[1, 2, 0, 1, 1])?;
    assert_eq!(shown(&mesh.read(&mut b, 2, &[x()])?), [Some(1)]);
    let m = mesh.write(&mut b, 2, put(x(), 3))?;
    let clocks = [&xa.clock, &xb.clock, &m.clock].map(Clone::clone);
    assert_eq!(clocks, [clock(&[1]), clock(&[0, 1]), clock(&[1, 0, 1])]);
    // xb becomes stable at 0, and 1 learns of both.
    deliver(&mut mesh, &[2, 0, 1, 2, 2])?;
    mesh.tell(0, 1)?;
    mesh.tell(2, 1)?;
    assert_eq!(mesh.cores[1].applied(), &clock(&[1, 1]));
    mesh.settle()?;
    for at in 0..3 {
        let seen = mesh.read(&mut a, at, &[x()])?;
        let wins = shown(&seen) == [Some(3)] && seen[0].win == m.clock;
        holds("H7", wins, || format!("{seen:?} at {at}"))?;
    }
    mesh.check(&[&a, &b, &c])?;
    mesh.converged()
}

#[test]
fn sc3_the_winners_own_clock_decides() {
    both(sc3, &[(Bug::JoinedTieBreak, &["H6", "H7"])]);
}

/// A writes w and u at 1; B, who has read neither, writes v over u at 0.
fn sc4(bug: Option<Bug>) -> Checked {
    let mut mesh = Mesh::quiet(2, bug);
    let (mut a, mut b, mut reader) = (Client::new(0), Client::new(1), Client::new(2));
    mesh.write(&mut a, 1, put(y(), 1))?;
    let u = mesh.write(&mut a, 1, put(x(), 2))?;
    deliver(&mut mesh, &[1, 1, 0, 0, 1, 1])?;
    assert_eq!(mesh.cores[0].applied(), &clock(&[0, 2]));
    assert_eq!(mesh.cores[1].pending(), 2);
    let v = mesh.write(&mut b, 0, put(x(), 3))?;
    assert!(v.clock.covers(&u.clock));
    deliver(&mut mesh, &[0, 1, 0])?;
    // The state is legal. It is stricter than the published one: w and u are applied with v.
    mesh.check(&[&a, &b, &reader])?;
    assert_eq!(shown(&mesh.read(&mut reader, 1, &[x()])?), [Some(3)]);
    let then = shown(&mesh.read(&mut reader, 1, &[y()])?);
    holds("H1", then == [Some(1)], || format!("{then:?}"))?;
    mesh.check(&[&a, &b, &reader])
}

#[test]
fn sc4_what_a_shown_version_counts_is_shown_too() {
    // Without them the clock of what is applied is not closed, and says nothing about a cut.
    both(sc4, &[(Bug::TailSkipsDependencies, &["C2"])]);
}

/// Write at the head, read at the tail, read at every server with that.
fn sc5(bug: Option<Bug>) -> Checked {
    for servers in 1..=4 {
        let mut mesh = Mesh::quiet(servers, bug);
        let (mut writer, mut reader) = (Client::new(0), Client::new(1));
        mesh.write(&mut writer, 0, put(x(), 1))?;
        while let Some(link) = mesh.links.iter().position(|link| !link.is_empty()) {
            mesh.deliver(link)?;
        }
        let tail = servers - 1;
        let seen = shown(&mesh.read(&mut reader, tail, &[x()])?);
        holds("H2", seen == [Some(1)], || format!("{seen:?} at the tail"))?;
        for at in 0..servers {
            let seen = shown(&mesh.read(&mut reader, at, &[x()])?);
            holds("H2", seen == [Some(1)], || format!("{seen:?} at {at}"))?;
        }
    }
    Ok(())
}

/// A version that is read before the one below it has come to its tail for the second time.
fn sc5_tail(bug: Option<Bug>) -> Checked {
    let mut mesh = Mesh::quiet(3, bug);
    let (mut writer, mut reader) = (Client::new(0), Client::new(1));
    mesh.write(&mut writer, 0, put(x(), 1))?;
    mesh.write(&mut writer, 1, put(y(), 2))?;
    // y goes to 2 and 0 and then follows x once round.
    deliver(&mut mesh, &[1, 2, 0, 0, 1, 1, 2, 2])?;
    assert_eq!(shown(&mesh.read(&mut reader, 0, &[y()])?), [Some(2)]);
    let seen = shown(&mesh.read(&mut reader, 2, &[y(), x()])?);
    holds("H1", seen == [Some(2), Some(1)], || format!("{seen:?}"))
}

#[test]
fn sc5_what_was_read_at_the_tail_is_found_at_the_head() {
    both(sc5, &[(Bug::HeadForgetsOwn, &["S5", "H1", "H2"])]);
    both(sc5_tail, &[(Bug::TailForgetsFirstRound, &["S5", "H1"])]);
}

/// A client writes x at 1 and at once y at 0.
fn sc6(bug: Option<Bug>) -> Checked {
    let mut mesh = Mesh::quiet(2, bug);
    let (mut writer, mut reader) = (Client::new(0), Client::new(1));
    let first = mesh.write(&mut writer, 1, put(x(), 1))?;
    let second = mesh.write(&mut writer, 0, put(y(), 2))?;
    let covers = second.clock.covers(&first.clock) && second.clock != first.clock;
    holds("H8", covers, || format!("{:?}", second.clock))?;
    mesh.settle()?;
    for at in [0, 1] {
        let mut reader = reader.fork(7);
        let seen = shown(&mesh.read(&mut reader, at, &[y()])?);
        assert_eq!(seen, [Some(2)]);
        let seen = shown(&mesh.read(&mut reader, 1 - at, &[x()])?);
        holds("H5", seen == [Some(1)], || format!("{seen:?}"))?;
    }
    mesh.read(&mut reader, 0, &[x(), y()])?;
    mesh.check(&[&writer, &reader])
}

#[test]
fn sc6_a_write_after_a_move_comes_after_the_one_before_it() {
    both(sc6, &[(Bug::WriteForgetsDependencies, &["H8"])]);
}

/// The tail of y gets it while x, on which it depends, waits.
fn sc7(bug: Option<Bug>) -> Checked {
    let mut mesh = Mesh::quiet(3, bug);
    let mut writer = Client::new(0);
    mesh.write(&mut writer, 0, put(x(), 1))?;
    mesh.write(&mut writer, 1, put(y(), 2))?;
    let arrived = deliver(&mut mesh, &[1, 2, 0, 0, 1, 1, 2, 2])?;
    assert_eq!(arrived.last(), Some(&Arrived::Stable));
    mesh.check(&[&writer])?;
    assert_eq!(mesh.cores[0].applied(), &clock(&[1, 1]));
    Ok(())
}

#[test]
fn sc7_the_tail_applies_what_a_version_depends_on() {
    both(sc7, &[(Bug::TailSkipsDependencies, &["S3"])]);
}

/// A reader has read x at its tail, and goes where it is not applied.
fn sc8(bug: Option<Bug>) -> Checked {
    let mut mesh = Mesh::quiet(3, bug);
    let (mut writer, mut reader) = (Client::new(0), Client::new(1));
    mesh.write(&mut writer, 0, put(x(), 1))?;
    deliver(&mut mesh, &[0, 1, 2, 0, 1])?;
    mesh.compact(&mut writer, 2);
    assert!(writer.context.own.is_empty());
    assert_eq!(shown(&mesh.read(&mut reader, 2, &[x()])?), [Some(1)]);
    for client in [&mut reader, &mut writer] {
        let seen = shown(&mesh.read(client, 1, &[x()])?);
        holds("H2", seen == [Some(1)], || format!("{seen:?}"))?;
    }
    mesh.check(&[&writer, &reader])
}

#[test]
fn sc8_a_read_applies_what_the_reader_depends_on() {
    both(sc8, &[(Bug::ReadSkipsDependencies, &["S5", "H1"])]);
}

#[test]
fn sc9_branches_have_copies_and_their_contexts_join() {
    let mut mesh = Mesh::quiet(3, None);
    let mut parent = Client::new(0);
    mesh.write(&mut parent, 0, put(x(), 1)).expect("accepted");
    let mut branches = [parent.fork(1), parent.fork(2)];
    for (at, branch) in branches.iter_mut().enumerate() {
        // A branch has what its parent has made, wherever it is.
        let seen = mesh.read(branch, at + 1, &[x()]).expect("served");
        assert_eq!(shown(&seen), [Some(1)]);
        let write = put(key(at as u64 + 1), 10 + at as i64);
        mesh.write(branch, at + 1, write).expect("accepted");
    }
    // Nobody has what another branch has made before they meet.
    let keys = [x(), y(), key(2)];
    let seen = mesh.read(&mut parent, 0, &keys).expect("served");
    assert_eq!(shown(&seen), [Some(1), None, None]);
    let seen = mesh.read(&mut branches[0], 2, &keys).expect("served");
    assert_eq!(shown(&seen), [Some(1), Some(10), None]);
    branches.iter().for_each(|branch| parent.join(branch));
    assert_eq!(parent.context.own.len(), 3);
    for at in 0..3 {
        let seen = mesh.read(&mut parent, at, &keys).expect("served");
        assert_eq!(shown(&seen), [Some(1), Some(10), Some(11)]);
    }
    // What the parent writes now comes after both.
    let last = mesh.write(&mut parent, 0, put(x(), 2)).expect("accepted");
    let own = parent.context.own.iter();
    assert!(own.clone().all(|own| last.clock.covers(&own.clock)));
    mesh.settle().expect("it arrives");
    mesh.compact(&mut parent, 1);
    assert!(parent.context.own.is_empty());
    mesh.check(&[&parent]).expect("sound");
    mesh.converged().expect("all have the same");
}

#[test]
fn sc10_one_slow_link_breaks_nothing() {
    for seed in 0..60 {
        for delayed in 0..3 {
            let case = Case {
                servers: 3,
                delayed: Some(delayed),
                ..Case::of(seed, None)
            };
            assert_eq!(run(case).err(), None, "seed {seed}, link {delayed}");
        }
    }
}

/// A slow link that lets two messages overtake each other.
fn sc11(reordered: bool) -> Checked {
    let mut mesh = Mesh::quiet(2, None);
    let (mut writer, mut reader) = (Client::new(0), Client::new(1));
    mesh.write(&mut writer, 0, put(x(), 1))?;
    mesh.write(&mut writer, 1, put(y(), 2))?;
    deliver(&mut mesh, &[1])?;
    // On the link from 0 to 1 are x, and y on its way round.
    if reordered {
        mesh.deliver_nth(0, 1)?;
        mesh.deliver(1)?;
    } else {
        deliver(&mut mesh, &[0, 0, 1, 1])?;
    }
    let seen = shown(&mesh.read(&mut reader, 0, &[y()])?);
    assert_eq!(seen, [Some(2)]);
    mesh.read(&mut reader, 1, &[y(), x()])?;
    mesh.check(&[&writer, &reader])
}

#[test]
fn sc11_links_must_keep_the_order() {
    assert_eq!(sc11(false), Ok(()));
    // What the version of y counts has not come to 1 when it is about to be shown.
    let broken = rule(sc11(true));
    assert!(matches!(broken, Some("C4" | "C7")), "{broken:?}");
    // The servers notice it where they can: the second version of an origin before its first.
    let mut mesh = Mesh::quiet(2, None);
    let mut writer = Client::new(0);
    let first = mesh.write(&mut writer, 0, put(x(), 1)).expect("accepted");
    let second = mesh.write(&mut writer, 0, put(x(), 2)).expect("accepted");
    let other = &mut mesh.cores[1];
    assert_eq!(other.arrive(&second, 1, 2), Arrived::OutOfOrder);
    assert_eq!(other.received(), &Clock::default());
    assert_eq!(other.arrive(&first, 1, 2), Arrived::Forward(2));
    assert_eq!(other.arrive(&second, 1, 2), Arrived::Forward(2));
    // And a version that is to be shown without what it depends on.
    let mut mesh = Mesh::quiet(3, None);
    let mut roaming = Client::new(1);
    mesh.write(&mut roaming, 1, put(x(), 1)).expect("accepted");
    let late = mesh.write(&mut roaming, 2, put(y(), 2)).expect("accepted");
    let tail = &mut mesh.cores[1];
    assert_eq!(tail.arrive(&late, 5, 3), Arrived::Stable);
    let mut tail = triptych_mesh::Core::new(Slot(1), true, None);
    assert_eq!(tail.arrive(&late, 5, 3), Arrived::Undeliverable);
    assert!(tail.applied().is_zero());
}

/// Random writes, and then quiet.
fn sc12(bug: Option<Bug>) -> Checked {
    for seed in 0..20 {
        let case = Case {
            servers: 2 + (seed % 4) as usize,
            ..Case::of(seed, bug)
        };
        run(case)?;
    }
    let mut mesh = Mesh::new(3, true, bug);
    let mut writer = Client::new(0);
    for round in 0..30 {
        mesh.write(
            &mut writer,
            round % 3,
            put(key(round as u64 % 4), round as i64),
        )?;
    }
    mesh.settle()?;
    mesh.converged()?;
    assert!(mesh.cores.iter().all(|core| core.pending() == 0));
    let states: Vec<_> = mesh.cores.iter().map(|core| core.state().entries).collect();
    holds(
        "L1",
        states[0] == states[1] && states[1] == states[2],
        || format!("{states:?}"),
    )
}

#[test]
fn sc12_in_the_end_all_caches_are_equal() {
    both(sc12, &[(Bug::NoDissemination, &["L1"])]);
}
