//! Violations told in sentences: who wrote and saw what, one after another, and who then missed it.

use super::{Anomaly, Hop, NONE, Witness};
use triptych_model::causes::{Act, Causes};
use triptych_model::history::NOBODY;

/// What is wrong with a look at several keys, or with a transaction.
#[derive(Clone, Copy)]
pub(super) enum Torn {
    /// It saw a part of a transaction.
    Part,
    /// It saw something and not what came before.
    Before,
}

/// The client of an event, in words.
pub(super) fn client(causes: &Causes, event: u32) -> String {
    let strand = causes.events.get(event as usize).map(|event| event.strand);
    let strand = strand.and_then(|strand| causes.strands.get(strand as usize));
    match strand {
        Some(strand) if strand.session != NOBODY => format!("client {}", strand.session),
        _ => "nobody's".to_owned(),
    }
}

/// Where an event happened.
pub(super) fn place(causes: &Causes, event: u32) -> String {
    let strand = causes.events.get(event as usize).map(|event| event.strand);
    let strand = strand.and_then(|strand| causes.strands.get(strand as usize));
    strand.map_or_else(String::new, |strand| strand.name.to_string())
}

/// The client request of an event.
pub(super) fn request(causes: &Causes, event: u32) -> Option<u64> {
    let event = causes.events.get(event as usize)?;
    let request = causes.strands.get(event.strand as usize)?.request;
    (request != u64::MAX).then_some(request)
}

/// The name of the key of a write or a look.
fn key(causes: &Causes, event: u32) -> String {
    match causes.events.get(event as usize).map(|event| &event.act) {
        Some(Act::Write { key, .. } | Act::Read { key, .. }) => causes.key(*key).to_string(),
        _ => String::new(),
    }
}

/// What happened at a hop; `missed` says that the write was not there.
pub(super) fn did(causes: &Causes, hop: Hop, missed: bool) -> String {
    let name = causes.name(hop.write);
    match causes
        .events
        .get(hop.event as usize)
        .map(|event| &event.act)
    {
        Some(Act::Write { key, .. }) => format!("wrote {name} to {}", causes.key(*key)),
        Some(Act::Commit { .. }) => format!("committed its write of {name}"),
        Some(Act::Read { .. }) if missed => {
            format!("read {} without {name}", key(causes, hop.event))
        }
        Some(Act::Read { .. }) => format!("saw {name} in {}", key(causes, hop.event)),
        _ => "went on".to_owned(),
    }
}

fn sentence(causes: &Causes, hop: Hop, missed: bool) -> String {
    let (who, place) = (client(causes, hop.event), place(causes, hop.event));
    format!("{who} ({place}) {}", did(causes, hop, missed))
}

fn witness(causes: &Causes, hops: Vec<Hop>, write: u32, told: String) -> Witness {
    let last = hops.last().map_or(NONE, |hop| hop.event);
    Witness {
        request: request(causes, last),
        hops,
        write,
        told,
    }
}

/// A look that misses a write which happened before it.
pub(super) fn missed(causes: &Causes, anomaly: Anomaly, hops: Vec<Hop>, write: u32) -> Witness {
    let count = hops.len();
    let parts = hops.iter().enumerate();
    let parts = parts.map(|(at, hop)| sentence(causes, *hop, at + 1 == count));
    let parts: Vec<String> = parts.collect();
    let told = format!("{}. {}", parts.join("; then "), anomaly.because());
    witness(causes, hops, write, told)
}

/// A transaction or a look at several keys that does not hang together.
pub(super) fn torn(
    causes: &Causes,
    anomaly: Anomaly,
    hops: Vec<Hop>,
    write: u32,
    torn: Torn,
) -> Witness {
    let count = hops.len();
    let parts = hops.iter().enumerate();
    let parts = parts.map(|(at, hop)| sentence(causes, *hop, at + 1 == count));
    let parts: Vec<String> = parts.collect();
    let how = match torn {
        Torn::Part => "In one transaction ",
        Torn::Before => "",
    };
    let told = format!("{how}{}. {}", parts.join("; "), anomaly.because());
    witness(causes, hops, write, told)
}

/// Something that nobody should have seen.
pub(super) fn unwanted(causes: &Causes, anomaly: Anomaly, hops: [Hop; 2], write: u32) -> Witness {
    let parts = hops.map(|hop| sentence(causes, hop, false));
    let end = match anomaly {
        Anomaly::AbortedRead => "and was undone",
        _ => "and replaced it in the same transaction",
    };
    let told = format!("{} {end}; {}. {}", parts[0], parts[1], anomaly.because());
    witness(causes, hops.to_vec(), write, told)
}

/// Something that is wrong at the end.
pub(super) fn at_end(
    causes: &Causes,
    anomaly: Anomaly,
    write: u32,
    key: u32,
    copy: &str,
) -> Witness {
    let (name, key) = (causes.name(write), causes.key(key));
    let event = causes
        .events
        .iter()
        .position(|event| matches!(event.act, Act::Write { write: known, .. } if known == write));
    let hops: Vec<Hop> = event
        .map(|event| Hop {
            event: event as u32,
            write,
        })
        .into_iter()
        .collect();
    let began = hops.first().map(|hop| sentence(causes, *hop, false));
    let began = began.map_or_else(String::new, |began| format!("{began}; "));
    let what = match anomaly {
        Anomaly::Lost => format!("{key} ends without {name}, and with nothing newer"),
        Anomaly::Twice => format!("{key} ends with {name} twice"),
        _ => format!("{key} ends differently in the copy {copy}, at {name}"),
    };
    let told = format!("{began}{what}. {}", anomaly.because());
    witness(causes, hops, write, told)
}
