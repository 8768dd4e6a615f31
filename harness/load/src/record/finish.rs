//! From what was heard to a history: only lists that can be judged, numbered densely.

use super::book::{Book, Row, listed};
use triptych_model::Name;
use triptych_model::State;
use triptych_model::history::{History, Key, KeyKind, MicroOp, Saw, Transaction, TxStatus};

/// Makes a history of the book; `session` tells who sent a request.
pub(super) fn finish(mut book: Book, state: &State, session: &dyn Fn(u64) -> u32) -> History {
    let mut history = History::default();
    // Of a row: its key, and whether a prefix of its longest form is one of its final order.
    let mut kept: Vec<Option<(u32, bool)>> = Vec::with_capacity(book.rows.len());
    for row in 0..book.rows.len() as u32 {
        let (table, key) = book.rows[row as usize].place.clone();
        let last = state.get(&table, &key);
        let names = last.and_then(|value| listed(book.elements, &table, value));
        let order: Vec<u32> = names
            .iter()
            .flatten()
            .map(|name| book.number(row, name))
            .collect();
        let Row {
            is_list,
            longest,
            keep,
            unfit,
            ..
        } = &book.rows[row as usize];
        if let (true, Some(why)) = (is_list, unfit) {
            history.left_out.push(format!("{table}/{key}: {why}"));
        }
        if !is_list && names.is_none() || unfit.is_some() {
            kept.push(None);
            continue;
        }
        let grown =
            order.len() >= longest.len() && longest.iter().zip(&order).all(|((_, a), b)| a == b);
        kept.push(Some((history.keys.len() as u32, keep.is_none() && grown)));
        history.keys.push(Key {
            name: Name::from(format!("{table}/{key}")),
            kind: keep.map_or(KeyKind::List, KeyKind::Window),
            order: Some(order),
        });
    }
    let mut written = vec![false; book.names.len()];
    let mut seen = vec![None; book.names.len()];
    for (key, order) in (0u32..).zip(history.keys.iter().map(|key| &key.order)) {
        for element in order.iter().flatten() {
            seen[*element as usize] = Some(key);
        }
    }
    for tx in &mut book.transactions {
        let mut ops = Vec::with_capacity(tx.ops.len());
        for op in std::mem::take(&mut tx.ops) {
            let row = op.key() as usize;
            let Some((key, prefixes)) = kept[row] else {
                continue;
            };
            ops.push(match op {
                MicroOp::Append { element, .. } => {
                    written[element as usize] = true;
                    MicroOp::Append { key, element }
                }
                MicroOp::Read { saw, .. } => {
                    let saw = match saw {
                        Saw::Prefix(length) if !prefixes => {
                            let longest = book.rows[row].longest.iter().take(length as usize);
                            Saw::List(longest.map(|(_, element)| *element).collect())
                        }
                        saw => saw,
                    };
                    if let Saw::List(list) = &saw {
                        list.iter()
                            .for_each(|element| seen[*element as usize] = Some(key));
                    }
                    MicroOp::Read { key, saw }
                }
                other => other,
            });
        }
        if !ops.is_empty() {
            history.transactions.push(Transaction {
                id: tx.id.clone(),
                request: tx.request,
                session: session(tx.request),
                begin: tx.begin,
                end: tx.end,
                status: tx.status,
                ops,
            });
        }
    }
    // Effects that nobody heard of, because their executions died before they returned.
    for (element, key) in seen.into_iter().enumerate().filter(|(at, _)| !written[*at]) {
        if let Some(key) = key {
            history
                .transactions
                .push(unheard(element as u32, key, &book.names[element]));
        }
    }
    history.transactions.sort_by_key(|tx| tx.begin);
    history.elements = book.names.len() as u32;
    history.names = book.names;
    history.diverged = book.diverged;
    history
}

fn unheard(element: u32, key: u32, name: &Name) -> Transaction {
    Transaction {
        id: Name::from(format!("unheard/{name}")),
        request: u64::MAX,
        session: triptych_model::history::NOBODY,
        begin: 0,
        end: u64::MAX,
        status: TxStatus::Indeterminate,
        ops: vec![MicroOp::Append { key, element }],
    }
}
