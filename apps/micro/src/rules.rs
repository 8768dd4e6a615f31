//! What must hold of a register that many clients read and write.
//!
//! | rule | about | guarantee |
//! |---|---|---|
//! | `U1` | the value at the end, and each value that was read, is one that somebody wrote | effects |
//! | `U2` | a condition that holds is answered with true, one that does not with false | effects |
//! | `U3` | no value is seen that was overwritten before: by an acknowledged write that began after its own had been acknowledged, and was over before the look | order |
//! | `U4` | something acknowledged is there at the end | durability |
//!
//! U3 is about the order of time, and not asked of causal order, which the oracle judges along causes
//! and effects.
//!
//! A write that is executed again, late, breaks U3 at the end; one that was lost breaks it as well,
//! since then an older value is still there. Requests that surely had no effect must have written
//! nothing (U1); those whose end is unknown may have, at any time.

use crate::{FIELD, Fill, KEY, TABLE};
use std::collections::BTreeMap;
use triptych_api::model::{OpRecord, OutcomeClass};
use triptych_api::{Coverage, Evidence, Guarantee, Op, RuleReport, Value};

/// Who wrote a value, and until when at most.
struct Writer {
    /// None for the loading requests.
    request: Option<u64>,
    /// When it was acknowledged; never, if its end is unknown.
    done: u64,
}

/// The beginnings of acknowledged writes, by the time of their end: until then, the latest.
struct Overwrites(Vec<(u64, u64)>);

impl Overwrites {
    fn new(mut writes: Vec<(u64, u64)>) -> Self {
        writes.sort_unstable();
        let mut latest = 0;
        for (_, sent) in &mut writes {
            latest = latest.max(*sent);
            *sent = latest;
        }
        Overwrites(writes)
    }

    /// The latest beginning among the writes that were over before `look`.
    fn before(&self, look: u64) -> Option<u64> {
        let count = self.0.partition_point(|(done, _)| *done < look);
        let at = count.checked_sub(1)?;
        self.0.get(at).map(|(_, sent)| *sent)
    }
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

/// Judges what a run left behind and answered.
pub fn check(evidence: &Evidence<'_>) -> (Vec<RuleReport>, Coverage) {
    let kind = |op: &OpRecord| {
        let name = evidence.kinds.get(usize::from(op.kind));
        name.map_or("", String::as_str)
    };
    let is_write = |op: &&OpRecord| matches!(kind(op), "write" | "cond-true");
    let acknowledged = |op: &OpRecord| op.outcome.class() == OutcomeClass::Ok;
    let no_effect = |op: &OpRecord| {
        matches!(
            op.outcome.class(),
            OutcomeClass::Failed
                | OutcomeClass::Rejected
                | OutcomeClass::Aborted
                | OutcomeClass::Shed
        )
    };
    let mut writers: BTreeMap<&str, Writer> = BTreeMap::new();
    let mut overwrites = Vec::new();
    for op in evidence.ops.iter().filter(is_write) {
        let Some(id) = text(&op.input, "id").filter(|_| !no_effect(op)) else {
            continue;
        };
        let done = if acknowledged(op) {
            overwrites.push((op.done_ns, op.sent_ns));
            op.done_ns
        } else {
            u64::MAX
        };
        let request = Some(op.index);
        writers.insert(id, Writer { request, done });
    }
    let acknowledged_writes = overwrites.len() as u64;
    let overwrites = Overwrites::new(overwrites);
    let loading = Writer {
        request: None,
        done: 0,
    };
    let writer = |id: &str| {
        let loaded = id.starts_with(Fill::OP).then_some(&loading);
        writers.get(id).or(loaded)
    };

    let mut sent = RuleReport::new("U1", Guarantee::Effects);
    let mut answers = RuleReport::new("U2", Guarantee::Effects);
    // Who promises causal order alone may show others an older value for a while.
    let mut fresh = RuleReport::new("U3", Guarantee::Order).asked(evidence.asks_real_time());
    let mut kept = RuleReport::new("U4", Guarantee::Durability);
    let mut look = |id: &str, at: u64, who: Option<u64>, what: &str| {
        let Some(Writer { request, done }) = writer(id) else {
            return sent.expect(false, who, || format!("{what} is {id}, which nobody wrote"));
        };
        sent.expect(true, who, String::new);
        // The loaded value has no time of its own: any write that was over has replaced it.
        let newer = overwrites.before(at);
        let holds = newer.is_none_or(|newer| request.is_some() && newer <= *done);
        fresh.expect(holds, who, || {
            let writer = request.map_or("the loading".to_owned(), |n| format!("request {n}"));
            format!("{what} is {id} of {writer}, which was overwritten before")
        });
    };
    for op in evidence.ops.iter().filter(|op| acknowledged(op)) {
        match kind(op) {
            "read" => {
                if let Some(id) = op.observed.as_str() {
                    look(id, op.sent_ns, Some(op.index), "the value read");
                }
            }
            "cond-true" | "cond-false" => {
                let wanted = kind(op) == "cond-true";
                let holds = op.observed == Value::Bool(wanted);
                answers.expect(holds, Some(op.index), || {
                    format!("the change was answered {:?}, not {wanted}", op.observed)
                });
            }
            _ => {}
        }
    }
    let last = evidence.state.get(TABLE, KEY);
    let last = last.and_then(|row| text(row, FIELD));
    if let Some(id) = last {
        look(id, u64::MAX, None, "the value at the end");
    }
    if acknowledged_writes > 0 {
        kept.expect(last.is_some(), None, || {
            format!("nothing is there after {acknowledged_writes} acknowledged writes")
        });
    }
    (vec![sent, answers, fresh, kept], coverage(evidence, kind))
}

fn coverage<'a>(evidence: &'a Evidence<'_>, kind: impl Fn(&OpRecord) -> &'a str) -> Coverage {
    let mut coverage = Coverage::default();
    let mut sessions: BTreeMap<u32, u64> = BTreeMap::new();
    let mut latest_end = 0;
    for op in evidence.ops {
        let ok = op.outcome.class() == OutcomeClass::Ok;
        let effects = matches!(kind(op), "write" | "cond-true" | "cond-false");
        let faulted = op.faults > 0;
        coverage.ok += u64::from(ok);
        coverage.ok_effects += u64::from(ok && effects);
        coverage.faulted += u64::from(faulted);
        coverage.faulted_effects += u64::from(faulted && effects);
        coverage.overlapping += u64::from(op.sent_ns < latest_end);
        latest_end = latest_end.max(op.done_ns);
        // Every operation of a session on the key limits what later looks may show, and where
        // nobody reads, the end of the run is the look.
        if ok && (effects || kind(op) == "read") {
            *sessions.entry(op.session).or_default() += 1;
        }
    }
    coverage.session_pairs = sessions.values().map(|count| count - 1).sum();
    coverage
}
