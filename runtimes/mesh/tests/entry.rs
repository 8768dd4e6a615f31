//! Entries: whatever the order in which writes come, whatever is folded, forgotten, loaded and
//! repeated, a key has the value that its writes make in their total order.

#[allow(dead_code, unreachable_pub)]
mod ring_world;

use proptest::prelude::*;
use ring_world::random::Draws;
use ring_world::{key, value};
use std::cmp::Ordering;
use std::sync::Arc;
use triptych_api::{Change, Value};
use triptych_mesh::{Bug, Clock, Core, Entry, Op, Slot, Version, WriteId};

/// A write of the one key.
type Write = (Clock, WriteId, Op);

fn op(draws: &mut Draws, number: i64) -> Op {
    match draws.below(5) {
        0 => Op::Put(Value::Int(number)),
        1 => Op::Put(Value::map([("sum", Value::Int(number))])),
        2 => Op::Change(vec![Change::set("last", number)]),
        3 => Op::Change(vec![Change::add("sum", number)]),
        _ => Op::Change(vec![Change::append_keeping("list", number, Some(4))]),
    }
}

/// Writes of some servers that learn of each other now and then, in an order in which they may have
/// been made. Some are the same request as an earlier one that their server had not heard of.
fn writes(seed: u64, many: usize) -> Vec<Write> {
    let mut draws = Draws::new(seed);
    let servers = 1 + draws.below(4);
    let mut clocks = vec![Clock::default(); servers];
    let mut writes: Vec<Write> = Vec::new();
    for number in 0..many {
        let at = draws.below(servers);
        if draws.one_in(2) {
            let other = clocks[draws.below(servers)].clone();
            clocks[at].join(&other);
        }
        let slot = Slot(at as u16);
        let next = clocks[at].get(slot) + 1;
        clocks[at].raise(slot, next);
        let clock = clocks[at].clone();
        let twin = writes.get(draws.below(2 * writes.len()));
        let twin = twin.filter(|(before, ..)| !clock.covers(before)).cloned();
        let write = WriteId {
            client: 1,
            number: number as u64,
        };
        let (write, op) = match twin {
            Some((_, write, op)) => (write, op),
            None => (write, op(&mut draws, number as i64 + 1)),
        };
        writes.push((clock, write, op));
    }
    writes
}

fn shuffled(draws: &mut Draws, writes: &[Write]) -> Vec<Write> {
    let mut rest = writes.to_vec();
    let mut all = Vec::new();
    while !rest.is_empty() {
        all.push(rest.swap_remove(draws.below(rest.len())));
    }
    all
}

fn made(writes: &[Write]) -> Option<Value> {
    value(writes.iter().map(|(clock, write, op)| (clock, *write, op)))
}

fn join(writes: &[Write]) -> Clock {
    let mut join = Clock::default();
    writes.iter().for_each(|(clock, ..)| join.join(clock));
    join
}

/// That an entry shows exactly these writes.
fn shows(entry: &Entry, writes: &[Write]) -> Result<(), TestCaseError> {
    let seen = entry.seen();
    let clocks = writes.iter().map(|(clock, ..)| clock);
    let win = clocks.max_by(|a, b| a.lex(b)).cloned();
    prop_assert_eq!(&seen.value, &made(writes));
    prop_assert_eq!(&seen.win, &win.unwrap_or_default());
    prop_assert_eq!(&seen.clock, &join(writes));
    prop_assert_eq!(entry.clock(), &seen.clock);
    Ok(())
}

/// Up to where writes may be folded if these are still to come: all of them come after it, and none is
/// a request of before.
fn horizon(done: &[Write], rest: &[Write]) -> Clock {
    let known = |(_, write, _): &&Write| done.iter().any(|(_, it, _)| it == write);
    if rest.iter().any(|write| known(&write)) {
        return Clock::default();
    }
    let rest = rest.iter().map(|(clock, ..)| clock.clone());
    rest.reduce(|a, b| a.meet(&b)).unwrap_or_else(|| join(done))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn writes_in_any_order_make_the_same(seed: u64, many in 0..24_usize) {
        let writes = writes(seed, many);
        let mut draws = Draws::new(!seed);
        let order = shuffled(&mut draws, &writes);
        let mut entry = Entry::default();
        for (at, (clock, write, op)) in order.iter().enumerate() {
            // A look with a write that is not there is a look after it came, but for the clock.
            let with = entry.seen_with([(clock, *write, op)].into_iter());
            prop_assert_eq!(&with.clock, entry.clock());
            entry.add(clock, *write, op);
            prop_assert_eq!(with.value, entry.seen().value);
            prop_assert_eq!(with.win, entry.seen().win);
            // What comes twice changes nothing.
            let (clock, write, op) = &order[draws.below(at + 1)];
            let before = entry.clone();
            entry.add(clock, *write, op);
            prop_assert_eq!(&before, &entry);
            shows(&entry, &order[..=at])?;
        }
        let bytes = postcard::to_stdvec(&entry).expect("plain data has bytes");
        let copy: Entry = postcard::from_bytes(&bytes).expect("and is read from them");
        prop_assert_eq!(copy, entry);
    }

    #[test]
    fn own_writes_are_shown_in_their_places(seed: u64, many in 0..16_usize) {
        let writes = writes(seed, many);
        let mut draws = Draws::new(!seed);
        let order = shuffled(&mut draws, &writes);
        let (here, own) = order.split_at(draws.below(many + 1));
        let mut entry = Entry::default();
        here.iter().for_each(|(clock, write, op)| entry.add(clock, *write, op));
        let seen = entry.seen_with(own.iter().map(|(clock, write, op)| (clock, *write, op)));
        prop_assert_eq!(seen.value, made(&writes));
        prop_assert_eq!(seen.clock, join(here));
    }

    #[test]
    fn folding_changes_nothing_that_is_shown(seed: u64, many in 1..32_usize) {
        let writes = writes(seed, many);
        let mut draws = Draws::new(!seed);
        let mut entry = Entry::default();
        let mut folded = false;
        // In an order in which servers may apply them, so that there is something to fold.
        for (at, (clock, write, op)) in writes.iter().enumerate() {
            entry.add(clock, *write, op);
            if draws.one_in(3) {
                let (done, rest) = writes.split_at(at + 1);
                let before = (entry.seen(), entry.kept());
                entry.fold(&horizon(done, rest));
                prop_assert_eq!(before.0, entry.seen());
                folded |= entry.kept() < before.1;
                // Folded writes that come again change nothing either.
                let (clock, write, op) = &done[draws.below(done.len())];
                let before = entry.clone();
                entry.add(clock, *write, op);
                prop_assert_eq!(before, entry.clone());
            }
            shows(&entry, &writes[..=at])?;
        }
        entry.fold(&join(&writes));
        prop_assert_eq!(entry.kept(), 0);
        shows(&entry, &writes)?;
        let _ = folded;
    }

    #[test]
    fn snapshots_show_what_they_count(seed: u64, many in 1..24_usize) {
        let writes = writes(seed, many);
        let mut draws = Draws::new(!seed);
        let mut entry = Entry::default();
        for (clock, write, op) in shuffled(&mut draws, &writes) {
            entry.add(&clock, write, &op);
        }
        let some = |draws: &mut Draws| {
            let some = writes.iter().filter(|_| draws.one_in(3)).cloned();
            join(&some.collect::<Vec<_>>())
        };
        let counted = |clock: &Clock| -> Vec<Write> {
            writes.iter().filter(|(it, ..)| clock.covers(it)).cloned().collect()
        };
        for _ in 0..4 {
            let snapshot = some(&mut draws);
            let then = entry.at(&snapshot).expect("nothing is folded");
            shows(&then, &counted(&snapshot))?;
        }
        // After folding, older snapshots are refused, and the others are what they were.
        entry.fold(&some(&mut draws));
        for _ in 0..4 {
            let snapshot = some(&mut draws);
            if let Some(then) = entry.at(&snapshot) {
                shows(&then, &counted(&snapshot))?;
            }
        }
        let all = entry.at(&join(&writes)).expect("all of it is never too old");
        shows(&all, &writes)?;
    }

    #[test]
    fn what_is_loaded_again_is_complete(seed: u64, many in 1..24_usize) {
        let writes = writes(seed, many);
        let mut draws = Draws::new(!seed);
        // The store has the first ones; the cache has forgotten fewer, and has those since.
        let stored = draws.below(many + 1);
        let forgotten = draws.below(stored + 1);
        let mut row = Entry::default();
        for (at, (clock, write, op)) in writes[..stored].iter().enumerate() {
            row.add(clock, *write, op);
            if draws.one_in(3) {
                let (done, rest) = writes.split_at(at + 1);
                row.fold(&horizon(done, rest));
            }
        }
        let mut line = Entry::default();
        for (clock, write, op) in shuffled(&mut draws, &writes[forgotten..]) {
            line.add(&clock, write, &op);
        }
        line.complete(row);
        shows(&line, &writes)?;
    }
}

/// What a server shows that has applied these versions one after the other.
fn applied(writes: &[Write], bug: Option<Bug>) -> Entry {
    let mut core = Core::new(Slot(99), true, bug);
    for (clock, write, op) in writes {
        let origin = clock.iter().find(|(slot, number)| {
            let mut others = writes.iter().filter(|(it, ..)| it.get(*slot) == *number);
            others.all(|(it, ..)| it.covers(clock))
        });
        let version = Arc::new(Version {
            origin: origin.expect("its own count is new").0,
            clock: clock.clone(),
            write: *write,
            ops: vec![(key(0), op.clone())],
        });
        core.arrive(&version, 1, 99);
        core.integrate(clock).expect("all of it has come");
    }
    core.entry(&key(0)).cloned().unwrap_or_default()
}

#[test]
fn comparing_by_joined_clocks_is_seen() {
    let wrong = |bug| {
        let wrong = (0..200).filter(|&seed| {
            let writes = writes(seed, 10);
            let seen = applied(&writes, bug).seen();
            seen.value != made(&writes)
        });
        wrong.count()
    };
    assert_eq!(wrong(None), 0);
    assert!(wrong(Some(Bug::JoinedTieBreak)) > 10);
}

#[test]
fn the_total_order_extends_the_partial_one() {
    for seed in 0..200 {
        let writes = writes(seed, 12);
        for (a, ..) in &writes {
            for (b, ..) in &writes {
                let before = b.covers(a) && a != b;
                assert!(!before || a.lex(b) == Ordering::Less);
                assert_eq!(a.lex(b) == Ordering::Equal, a == b);
                let (meet, mut join) = (a.meet(b), a.clone());
                join.join(b);
                assert!(join.covers(a) && join.covers(b) && a.covers(&meet) && b.covers(&meet));
            }
        }
    }
}
