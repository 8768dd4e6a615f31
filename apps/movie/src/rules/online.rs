//! Rules about answers: M10, M11, and what M7 says of them.
//!
//! One pass over the starts and ends of all acknowledged requests, in the order of time. When an
//! answer arrives, its session knows more; when a read is sent, what its session knew at that moment
//! must be in the answer. Reads of one session that overlap bind nothing.
//!
//! **M11.** `total`, the length of the list, never shrinks. A review seen before must be in a later
//! answer if it belongs into its window: if the window begins at the newest, and is either not full
//! or reaches down to a review that is not newer. Bounded lists forget reviews, by the order of the
//! appends, so of them only the length is judged.
//!
//! **M10.** A review that is listed and has no body was listed too early if it is stored in the end.
//! If it is not, it was lost, which is not a matter of order.

use super::facts::{Facts, number, text};
use crate::Ack;
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::{OpRecord, OutcomeClass};
use triptych_api::{Guarantee, RuleReport, Value};

pub(super) struct Online {
    pub(super) reports: Vec<RuleReport>,
    pub(super) session_pairs: u64,
}

/// A review as readers order them.
type Key<'a> = (i64, &'a str);
/// One list, as a reader names it.
type List<'a> = (&'static str, &'a str);

/// An acknowledged read.
struct Read<'a> {
    list: List<'a>,
    /// The window.
    start: i64,
    stop: i64,
    found: Vec<Key<'a>>,
    missing: Vec<&'a str>,
    total: i64,
}

/// What a session knows of a list.
#[derive(Default)]
struct Known<'a> {
    /// The largest length seen, and the request that saw it.
    total: Option<(i64, u64)>,
    /// The reviews seen, and the requests that saw them.
    seen: BTreeMap<Key<'a>, u64>,
    /// The session's own acknowledged reviews.
    own: BTreeMap<Key<'a>, u64>,
}

struct Rules {
    whole: RuleReport,
    session: RuleReport,
    own: RuleReport,
}

pub(super) fn check(facts: &Facts<'_>, order: &mut RuleReport) -> Online {
    let mut rules = Rules {
        whole: RuleReport::new("M10", Guarantee::Order),
        session: RuleReport::new("M11", Guarantee::Order),
        own: RuleReport::new("M11-own", Guarantee::Order),
    };
    let ops = facts.evidence.ops;
    let reads: Vec<Option<Read<'_>>> = ops.iter().map(|op| read(facts, op)).collect();
    let mut events = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        if op.outcome.class() != OutcomeClass::Ok {
            continue;
        }
        if let Some(read) = &reads[at] {
            well_formed(facts, op, read, &mut rules.whole, order);
            events.push((op.sent_ns, 1, at));
        }
        // At one instant, what arrives is known to what is sent.
        events.push((op.done_ns, 0, at));
    }
    events.sort_unstable();

    let mut sessions: BTreeMap<(u32, List<'_>), Known<'_>> = BTreeMap::new();
    let mut session_pairs = 0;
    for (_, phase, at) in events {
        let op = &ops[at];
        match (&reads[at], phase) {
            (Some(read), 1) => {
                if let Some(known) = sessions.get(&(op.session, read.list)) {
                    session_pairs += u64::from(known.total.is_some());
                    not_shrunk(facts, op, read, known, &mut rules);
                }
            }
            (Some(read), _) => {
                let known = sessions.entry((op.session, read.list)).or_default();
                known.total = known.total.max(Some((read.total, op.index)));
                for key in &read.found {
                    known.seen.entry(*key).or_insert(op.index);
                }
            }
            (None, _) => {
                for (list, key) in own_reviews(facts, op) {
                    let known = sessions.entry((op.session, list)).or_default();
                    known.own.insert(key, op.index);
                }
            }
        }
    }
    let Rules {
        whole,
        session,
        own,
    } = rules;
    Online {
        reports: vec![whole, session, own],
        session_pairs,
    }
}

fn read<'a>(facts: &Facts<'a>, op: &'a OpRecord) -> Option<Read<'a>> {
    if op.outcome.class() != OutcomeClass::Ok {
        return None;
    }
    let list = match facts.evidence.kind(op) {
        "read-page" | "read-movie-reviews" => ("movie", text(&op.input, "movieId")),
        "read-user-reviews" => ("user", text(&op.input, "userId")),
        _ => return None,
    };
    let names = |field: &str| {
        let names = op
            .observed
            .get(field)
            .and_then(Value::as_list)
            .unwrap_or_default();
        names.iter().filter_map(Value::as_str)
    };
    let key = |text: &'a str| {
        let (stamp, id) = text.split_once(':').unwrap_or(("", text));
        (stamp.parse().unwrap_or_default(), id)
    };
    Some(Read {
        list,
        start: number(&op.input, "start").unwrap_or_default(),
        stop: number(&op.input, "stop").unwrap_or_default(),
        found: names("ids").map(key).collect(),
        missing: names("missing").collect(),
        total: number(&op.observed, "total").unwrap_or_default(),
    })
}

/// M10, and the order of M7, in one answer.
fn well_formed(
    facts: &Facts<'_>,
    op: &OpRecord,
    read: &Read<'_>,
    whole: &mut RuleReport,
    order: &mut RuleReport,
) {
    let (kind, owner) = read.list;
    let mut missing = read.missing.iter();
    let early = missing.find(|id| facts.stored.contains_key(**id));
    whole.expect(early.is_none(), Some(op.index), || {
        let id = early.copied().unwrap_or_default();
        format!(
            "the answer about {kind} {owner} lists review {id} without its body; it was stored later"
        )
    });
    let inversion = read.found.windows(2).find(|pair| pair[0] <= pair[1]);
    order.expect(inversion.is_none(), Some(op.index), || match inversion {
        Some([(t1, id1), (t2, id2)]) => format!(
            "the answer about {kind} {owner} has review {id1} of {t1} before {id2} of {t2}, which \
             is not newest first"
        ),
        _ => String::new(),
    });
}

/// M11 and M11-own, for one read.
fn not_shrunk(
    facts: &Facts<'_>,
    op: &OpRecord,
    read: &Read<'_>,
    known: &Known<'_>,
    rules: &mut Rules,
) {
    let (kind, owner) = read.list;
    let session = op.session;
    if let Some((total, earlier)) = known.total {
        rules.session.expect(read.total >= total, Some(op.index), || {
            format!(
                "session {session} saw {total} reviews of {kind} {owner} in request {earlier}, and \
                 only {} later in request {}",
                read.total, op.index
            )
        });
    }
    // A listed review without its body hides where the window ends; M10 has told that already.
    if facts.config.keep.is_some() || read.start != 0 || !read.missing.is_empty() {
        return;
    }
    let full = read.found.len() as i64 >= read.stop;
    let window_end = read
        .found
        .last()
        .copied()
        .filter(|_| full)
        .unwrap_or((i64::MIN, ""));
    let ids: BTreeSet<&str> = read.found.iter().map(|(_, id)| *id).collect();
    let absent = |reviews: &BTreeMap<Key<'_>, u64>| {
        // At most a window of them is present, so this ends after that many.
        let mut expected = reviews.range(window_end..);
        expected
            .find(|((_, id), _)| !ids.contains(id))
            .map(|((_, id), from)| ((*id).to_owned(), *from))
    };
    if !known.seen.is_empty() {
        let lost = absent(&known.seen);
        rules.session.expect(lost.is_none(), Some(op.index), || {
            let (id, earlier) = lost.clone().unwrap_or_default();
            format!(
                "session {session} saw review {id} of {kind} {owner} in request {earlier}, and not \
                 any more in request {}",
                op.index
            )
        });
    }
    if !known.own.is_empty() {
        let lost = absent(&known.own);
        rules.own.expect(lost.is_none(), Some(op.index), || {
            let (id, earlier) = lost.clone().unwrap_or_default();
            format!(
                "session {session} composed review {id} of {kind} {owner} in request {earlier}, and \
                 does not see it in request {}",
                op.index
            )
        });
    }
}

/// The lists that an acknowledged compose is in from its answer on. Where the answer does not mean
/// that, none.
fn own_reviews<'a>(facts: &Facts<'a>, op: &'a OpRecord) -> Vec<(List<'a>, Key<'a>)> {
    if facts.config.ack != Ack::AfterStore || facts.evidence.kind(op) != "compose" {
        return Vec::new();
    }
    let Some(timestamp) = number(&op.observed, "timestamp") else {
        return Vec::new();
    };
    let key = (timestamp, text(&op.observed, "reviewId"));
    let movie = ("movie", text(&op.observed, "movieId"));
    let user = facts
        .users
        .get(text(&op.input, "username"))
        .map(|user| ("user", *user));
    [Some(movie), user]
        .into_iter()
        .flatten()
        .map(|list| (list, key))
        .collect()
}
