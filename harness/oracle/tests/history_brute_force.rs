//! The history checker against brute force, on all small histories.
//!
//! Enumerated are all histories of up to three transactions of up to two operations on two keys,
//! with every possible order of the appends of a key and every prefix of it as the value of every
//! read, and all of four transactions that each are one operation, or read one key and
//! append to one. A history is
//! serializable if one of all serial orders gives exactly these reads and final lists; a phenomenon
//! is there if one of all simple cycles has the edges of its definition.

use std::collections::BTreeSet;
use triptych_model::Name;
use triptych_model::Random;
use triptych_model::history::{History, Key, KeyKind, MicroOp, Saw, Transaction, TxStatus};
use triptych_oracle::history::{Anomaly, Family, Level, Options, check};

/// An operation without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Append(u32),
    Read(u32),
}

fn history(ops: Vec<Vec<MicroOp>>, orders: [Vec<u32>; 2], elements: u32) -> History {
    let transactions = ops.into_iter().enumerate().map(|(n, ops)| Transaction {
        id: Name::from(format!("t{n}")),
        request: n as u64,
        session: n as u32,
        begin: 0,
        end: 1,
        status: TxStatus::Committed,
        ops,
    });
    let keys = orders.into_iter().zip(["x", "y"]).map(|(order, name)| Key {
        name: Name::from(name),
        kind: KeyKind::List,
        order: Some(order),
    });
    History {
        keys: keys.collect(),
        elements,
        transactions: transactions.collect(),
        ..History::default()
    }
}

/// Every order of some numbers.
fn permutations(items: &[u32]) -> Vec<Vec<u32>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, first) in items.iter().enumerate() {
        let mut rest = items.to_vec();
        rest.remove(at);
        for mut tail in permutations(&rest) {
            tail.insert(0, *first);
            all.push(tail);
        }
    }
    all
}

/// Calls `look` with every history of these transactions' forms.
fn each(forms: &[&[Form]], look: &mut impl FnMut(&History)) -> u64 {
    let mut elements = [Vec::new(), Vec::new()];
    let mut count = 0;
    let mut reads = Vec::new();
    let mut ops: Vec<Vec<MicroOp>> = Vec::new();
    for form in forms {
        let mut tx = Vec::new();
        for op in *form {
            match op {
                Form::Append(key) => {
                    elements[*key as usize].push(count);
                    tx.push(MicroOp::Append {
                        key: *key,
                        element: count,
                    });
                    count += 1;
                }
                Form::Read(key) => {
                    reads.push((ops.len(), tx.len(), *key));
                    let saw = Saw::Prefix(0);
                    tx.push(MicroOp::Read { key: *key, saw });
                }
            }
        }
        ops.push(tx);
    }
    let mut seen = 0;
    for x in permutations(&elements[0]) {
        for y in permutations(&elements[1]) {
            let mut history = history(ops.clone(), [x.clone(), y], count);
            let lengths: Vec<u32> = reads
                .iter()
                .map(|(_, _, key)| elements[*key as usize].len() as u32 + 1)
                .collect();
            let mut values = vec![0; reads.len()];
            'values: loop {
                for ((tx, op, key), length) in reads.iter().zip(&values) {
                    let saw = Saw::Prefix(*length);
                    history.transactions[*tx].ops[*op] = MicroOp::Read { key: *key, saw };
                }
                look(&history);
                seen += 1;
                for at in 0..values.len() {
                    values[at] += 1;
                    if values[at] < lengths[at] {
                        continue 'values;
                    }
                    values[at] = 0;
                }
                break;
            }
        }
    }
    seen
}

/// Whether one of all serial orders explains everything.
fn serializable(history: &History) -> bool {
    let all: Vec<u32> = (0..history.transactions.len() as u32).collect();
    permutations(&all).into_iter().any(|order| {
        let mut lists = vec![Vec::new(); history.keys.len()];
        let fits = order.iter().all(|tx| {
            history.transactions[*tx as usize]
                .ops
                .iter()
                .all(|op| match op {
                    MicroOp::Append { key, element } => {
                        lists[*key as usize].push(*element);
                        true
                    }
                    MicroOp::Read { key, saw } => history.list(*key, saw) == lists[*key as usize],
                    _ => false,
                })
        });
        fits && history
            .keys
            .iter()
            .zip(&lists)
            .all(|(key, list)| key.order.as_ref() == Some(list))
    })
}

/// The families of cycles that are there, from every pair of versions and every simple cycle.
fn families(history: &History) -> BTreeSet<Family> {
    let writer = |element: u32| {
        let has = |tx: &Transaction| tx.ops.iter().any(|op| op.adds() == Some(element));
        history
            .transactions
            .iter()
            .position(has)
            .expect("somebody wrote it")
    };
    let count = history.transactions.len();
    // Bits: 1 ww, 2 wr, 4 rw.
    let mut edges = vec![vec![0u8; count]; count];
    for key in &history.keys {
        let order = key.order.as_deref().unwrap_or(&[]);
        for (at, a) in order.iter().enumerate() {
            for b in &order[at + 1..] {
                edges[writer(*a)][writer(*b)] |= 1;
            }
        }
    }
    for (tx, known) in history.transactions.iter().enumerate() {
        for op in &known.ops {
            if let MicroOp::Read { key, saw } = op {
                let list = history.list(*key, saw);
                if let Some(last) = list.last() {
                    edges[writer(*last)][tx] |= 2;
                }
                let order = history.keys[*key as usize].order.as_deref().unwrap_or(&[]);
                for later in &order[list.len()..] {
                    // A version that its own writer continued is no version of its own.
                    if list
                        .last()
                        .is_none_or(|last| writer(*last) != writer(*later))
                    {
                        edges[tx][writer(*later)] |= 4;
                    }
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    for length in 2..=count {
        for order in permutations(&(0..count as u32).collect::<Vec<_>>()) {
            let cycle = &order[..length];
            let bits: Vec<u8> = (0..length)
                .map(|n| edges[cycle[n] as usize][cycle[(n + 1) % length] as usize])
                .collect();
            if bits.contains(&0) {
                continue;
            }
            // Every choice of a kind for every edge.
            for choice in 0..3u32.pow(length as u32) {
                let kinds: Vec<u8> = (0..length)
                    .map(|n| 1 << (choice / 3u32.pow(n as u32) % 3))
                    .collect();
                if kinds.iter().zip(&bits).all(|(kind, bits)| kind & bits != 0) {
                    let rw = kinds.iter().filter(|kind| **kind == 4).count();
                    found.insert(match (rw, kinds.contains(&2)) {
                        (0, false) => Family::G0,
                        (0, true) => Family::G1c,
                        (1, _) => Family::GSingle,
                        _ => Family::G2Item,
                    });
                }
            }
        }
    }
    found
}

fn compare(history: &History, with_cycles: bool) {
    let report = check(history, Options::DATA).expect("is whole");
    let valid = report.level == Level::Serializable;
    assert_eq!(
        valid,
        serializable(history),
        "{history:#?}\n{:#?}",
        report.found
    );
    if !with_cycles {
        return;
    }
    // Facts within transactions are no cycles; dependencies are not looked for behind them.
    let inside = [
        Anomaly::Internal,
        Anomaly::NonRepeatable,
        Anomaly::IntermediateRead,
    ];
    if report
        .found
        .iter()
        .any(|found| inside.contains(&found.anomaly))
    {
        return;
    }
    let strongest = families(history).into_iter().next();
    let named = report.found.iter().find_map(|found| match found.anomaly {
        Anomaly::Cycle(family) => Some(family),
        _ => None,
    });
    assert_eq!(named, strongest, "{history:#?}\n{:#?}", report.found);
}

/// All transactions of one or two operations.
fn all_forms() -> Vec<Vec<Form>> {
    let ops = [
        Form::Append(0),
        Form::Append(1),
        Form::Read(0),
        Form::Read(1),
    ];
    let one = ops.iter().map(|op| vec![*op]);
    let two = ops.iter().flat_map(|a| ops.iter().map(|b| vec![*a, *b]));
    one.chain(two).collect()
}

#[test]
fn all_histories_of_two_transactions_agree() {
    let forms = all_forms();
    let mut seen = 0;
    for (n, a) in forms.iter().enumerate() {
        for b in &forms[n..] {
            seen += each(&[a, b], &mut |history| compare(history, true));
        }
    }
    assert_eq!(seen, 946);
}

#[test]
fn all_histories_of_three_transactions_agree() {
    let forms = all_forms();
    let mut seen = 0;
    for (n, a) in forms.iter().enumerate() {
        for (m, b) in forms.iter().enumerate().skip(n) {
            for c in &forms[m..] {
                seen += each(&[a, b, c], &mut |history| compare(history, true));
            }
        }
    }
    assert_eq!(seen, 51_326);
}

#[test]
fn all_histories_of_four_short_transactions_agree() {
    let keys = [0, 1];
    let mut forms: Vec<Vec<Form>> = all_forms()
        .into_iter()
        .filter(|form| form.len() == 1)
        .collect();
    for read in keys {
        forms.extend(keys.map(|write| vec![Form::Read(read), Form::Append(write)]));
    }
    let mut seen = 0;
    for (n, a) in forms.iter().enumerate() {
        for (m, b) in forms.iter().enumerate().skip(n) {
            for (o, c) in forms.iter().enumerate().skip(m) {
                for d in &forms[o..] {
                    seen += each(&[a, b, c, d], &mut |history| compare(history, true));
                }
            }
        }
    }
    assert_eq!(seen, 75_525);
}

#[test]
fn random_larger_histories_agree() {
    for seed in 0..3_000 {
        let mut random = Random::new(seed);
        let forms: Vec<Vec<Form>> = (0..4 + random.below(3))
            .map(|_| {
                let ops = 1 + random.below(3);
                let form = |n: u64| {
                    if n < 2 {
                        Form::Append(n as u32)
                    } else {
                        Form::Read(n as u32 - 2)
                    }
                };
                (0..ops).map(|_| form(random.below(4))).collect()
            })
            .collect();
        compare(&drawn(&forms, &mut random), false);
    }
}

/// A history of these forms whose values are drawn, near to a serial execution half of the time.
fn drawn(forms: &[Vec<Form>], random: &mut Random) -> History {
    let mut lists = [Vec::new(), Vec::new()];
    let mut element = 0;
    let careless = random.chance(0.5);
    let mut ops = Vec::new();
    for form in forms {
        let mut tx = Vec::new();
        for op in form {
            match op {
                Form::Append(key) => {
                    lists[*key as usize].push(element);
                    tx.push(MicroOp::Append { key: *key, element });
                    element += 1;
                }
                Form::Read(key) => {
                    let length = lists[*key as usize].len() as u64;
                    let back = if careless {
                        random.below(2).min(length)
                    } else {
                        0
                    };
                    let saw = Saw::Prefix((length - back) as u32);
                    tx.push(MicroOp::Read { key: *key, saw });
                }
            }
        }
        ops.push(tx);
    }
    history(ops, lists, element)
}
