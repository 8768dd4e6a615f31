//! Violations told in sentences: who read and wrote what, and why that is a contradiction.

use super::graph::{EdgeKind, NONE};
use super::{Anomaly, Step, Witness};
use triptych_model::history::{History, MicroOp, TxStatus};

/// How many elements of a list are shown.
const SHOWN: usize = 8;

/// A transaction by its name, with what is known of where it came from.
pub(super) fn who(history: &History, tx: u32) -> String {
    let tx = &history.transactions[tx as usize];
    match tx.request {
        u64::MAX => tx.id.to_string(),
        request => format!("{} (request {request})", tx.id),
    }
}

/// A list, its end if it is long.
pub(super) fn list(history: &History, elements: &[u32]) -> String {
    let from = elements.len().saturating_sub(SHOWN);
    let shown: Vec<_> = elements[from..]
        .iter()
        .map(|element| history.element(*element).to_string())
        .collect();
    let dots = if from > 0 {
        format!("{from} more, ")
    } else {
        String::new()
    };
    format!("[{dots}{}]", shown.join(", "))
}

fn witness(transactions: &[u32], anomaly: Anomaly, told: String) -> Witness {
    let mut known: Vec<u32> = Vec::new();
    for tx in transactions {
        if *tx != NONE && !known.contains(tx) {
            known.push(*tx);
        }
    }
    Witness {
        transactions: known,
        steps: Vec::new(),
        told: format!("{told}. {}", anomaly.because()),
    }
}

pub(super) fn written_twice(h: &History, a: u32, b: u32, key: u32, element: u32) -> Witness {
    let (name, key) = (h.element(element), h.key(key));
    let told = format!("{} and {} both wrote {name} to {key}", who(h, a), who(h, b));
    witness(&[a, b], Anomaly::Duplicate, told)
}

pub(super) fn in_final_state(
    h: &History,
    fault: Anomaly,
    writer: u32,
    key: u32,
    element: u32,
) -> Witness {
    let (name, at) = (h.element(element), h.key(key));
    let told = match fault {
        Anomaly::Garbage => format!("{at} ends with {name}, which nobody wrote there"),
        Anomaly::Duplicate => format!(
            "{at} ends with {name} twice, which {} wrote once",
            who(h, writer)
        ),
        _ => format!(
            "{at} ends with {name} of {}, which was aborted",
            who(h, writer)
        ),
    };
    let writer = if fault == Anomaly::Garbage {
        NONE
    } else {
        writer
    };
    witness(&[writer], fault, told)
}

pub(super) fn other_neighbours(
    h: &History,
    tx: u32,
    key: u32,
    before: u32,
    element: u32,
    known: (u32, u32),
) -> Witness {
    let seen = match tx {
        NONE => format!("{} ends", h.key(key)),
        tx => format!("{} read {}", who(h, tx), h.key(key)),
    };
    let name = |e: u32| h.element(e);
    let other = match known {
        (NONE, pred) => format!("{} directly before {}", name(pred), name(element)),
        (succ, _) => format!("{} directly before {}", name(before), name(succ)),
    };
    let told = format!(
        "{seen} with {} directly before {}, but elsewhere {other} was seen",
        name(before),
        name(element)
    );
    witness(&[tx], Anomaly::Incompatible, told)
}

pub(super) fn backwards(h: &History, tx: u32, key: u32, before: u32, element: u32) -> Witness {
    let (first, second) = (h.element(before), h.element(element));
    let (who, at) = (who(h, tx), h.key(key));
    let told = format!("{who} wrote {first} to {at} and then {second}, which stands before it");
    witness(&[tx], Anomaly::Incompatible, told)
}

pub(super) fn lost(h: &History, tx: u32, key: u32, element: u32) -> Witness {
    let (name, at) = (h.element(element), h.key(key));
    let how = match h.transactions[tx as usize].status {
        TxStatus::Committed => "is committed",
        _ => "had other effects",
    };
    let told = format!(
        "{} wrote {name} to {at} and {how}, but {at} ends without it",
        who(h, tx)
    );
    witness(&[tx], Anomaly::LostWrite, told)
}

pub(super) fn lost_update(h: &History, a: u32, b: u32, key: u32, version: u32) -> Witness {
    let what = match version {
        NONE => format!("{} when it was empty", h.key(key)),
        version => format!(
            "{} when its last element was {}",
            h.key(key),
            h.element(version)
        ),
    };
    let told = format!(
        "{} and {} both read {what}, and both wrote to it",
        who(h, a),
        who(h, b)
    );
    witness(&[a, b], Anomaly::LostUpdate, told)
}

pub(super) fn internal(h: &History, tx: u32, key: u32, saw: &[u32], own: &[u32]) -> Witness {
    let told = format!(
        "{} wrote {} to {} and then read {} there",
        who(h, tx),
        list(h, own),
        h.key(key),
        list(h, saw)
    );
    witness(&[tx], Anomaly::Internal, told)
}

pub(super) fn too_early(h: &History, tx: u32, key: u32, element: u32) -> Witness {
    let (who, at, name) = (who(h, tx), h.key(key), h.element(element));
    let told = format!("{who} read {name} in {at} before it had written that");
    witness(&[tx], Anomaly::Internal, told)
}

pub(super) fn non_repeatable(
    h: &History,
    tx: u32,
    key: u32,
    first: &[u32],
    later: &[u32],
) -> Witness {
    let told = format!(
        "{} first read {} of {} and later {}",
        who(h, tx),
        list(h, first),
        h.key(key),
        list(h, later)
    );
    witness(&[tx], Anomaly::NonRepeatable, told)
}

pub(super) fn intermediate(h: &History, writer: u32, tx: u32, key: u32, last: u32) -> Witness {
    let told = format!(
        "{} read {} up to {}, which {} followed with another write of its own",
        who(h, tx),
        h.key(key),
        h.element(last),
        who(h, writer)
    );
    witness(&[writer, tx], Anomaly::IntermediateRead, told)
}

pub(super) fn faulty_read(
    h: &History,
    fault: Anomaly,
    writer: u32,
    tx: u32,
    key: u32,
    saw: &[u32],
    element: u32,
) -> Witness {
    let name = h.element(element);
    let why = match fault {
        Anomaly::Garbage => format!("nobody wrote {name} there"),
        Anomaly::Duplicate => format!("{name} is in it twice"),
        _ => format!("{name} is of {}, which was aborted", who(h, writer)),
    };
    let told = format!(
        "{} read {} of {}, and {why}",
        who(h, tx),
        list(h, saw),
        h.key(key)
    );
    let writer = if fault == Anomaly::Garbage {
        NONE
    } else {
        writer
    };
    witness(&[writer, tx], fault, told)
}

pub(super) fn incompatible(h: &History, tx: u32, key: u32, saw: &[u32]) -> Witness {
    let order = h.keys[key as usize].order.as_deref().unwrap_or(&[]);
    let told = format!(
        "{} read {} of {}, which ends as {}",
        who(h, tx),
        list(h, saw),
        h.key(key),
        list(h, order)
    );
    witness(&[tx], Anomaly::Incompatible, told)
}

pub(super) fn session(
    h: &History,
    anomaly: Anomaly,
    earlier: u32,
    later: u32,
    key: u32,
    elements: (u32, u32),
) -> Witness {
    let name = |element: u32| match element {
        NONE => "nothing".to_owned(),
        element => h.element(element).to_string(),
    };
    let (before, after) = (name(elements.0), name(elements.1));
    let session = h.transactions[later as usize].session;
    let (did, does) = match anomaly {
        Anomaly::ReadYourWrites => (format!("wrote {before} to"), format!("read up to {after}")),
        Anomaly::MonotonicReads => (format!("saw {before} in"), format!("read up to {after}")),
        Anomaly::MonotonicWrites => (
            format!("wrote {before} to"),
            format!("wrote {after}, which stands before it"),
        ),
        _ => (
            format!("saw {before} in"),
            format!("wrote {after}, which stands before it"),
        ),
    };
    let told = format!(
        "In session {session} {} {did} {}, and after that {} {does}",
        who(h, earlier),
        h.key(key),
        who(h, later)
    );
    witness(&[earlier, later], anomaly, told)
}

/// A cycle: each transaction in words, then each reason why one comes before the next.
pub(super) fn cycle(h: &History, anomaly: Anomaly, steps: Vec<Step>) -> Witness {
    let transactions: Vec<u32> = steps.iter().map(|step| step.from).collect();
    let label = |tx: u32| {
        let at = transactions.iter().position(|known| *known == tx);
        format!("T{}", at.unwrap_or_default() + 1)
    };
    let names: Vec<String> = transactions
        .iter()
        .map(|tx| format!("{} is {}", label(*tx), who(h, *tx)))
        .collect();
    let reasons: Vec<String> = steps
        .iter()
        .map(|step| {
            let (from, to, key) = (label(step.from), label(step.to), h.key(step.key));
            match step.kind {
                EdgeKind::Ww => format!("{to} wrote {key} after {from}"),
                EdgeKind::Wr => format!("{to} read what {from} wrote to {key}"),
                EdgeKind::Rw => format!("{from} read {key} without what {to} wrote next"),
                EdgeKind::Session => format!("{from} ended before {to} of the same session began"),
                EdgeKind::RealTime => format!("{from} ended before {to} began"),
            }
        })
        .collect();
    let told = format!(
        "{}. {}. {}",
        names.join(", "),
        reasons.join("; "),
        anomaly.because()
    );
    Witness {
        transactions,
        steps,
        told,
    }
}

/// The operations of a transaction, as text.
pub(super) fn operations(h: &History, tx: u32) -> Vec<String> {
    let ops = h.transactions[tx as usize].ops.iter();
    ops.map(|op| {
        let key = h.key(op.key());
        match op {
            MicroOp::Append { element, .. } => format!("append {} to {key}", h.element(*element)),
            MicroOp::Read { key: at, saw } => {
                format!("read {} of {key}", list(h, h.list(*at, saw)))
            }
            MicroOp::Write { version, .. } => format!("write {} to {key}", h.element(*version)),
            MicroOp::Get { version, .. } => match version {
                Some(version) => format!("read {} of {key}", h.element(*version)),
                None => format!("read nothing of {key}"),
            },
        }
    })
    .collect()
}
