//! How long a write takes until others see it.
//!
//! A notice is one document with a number. `publish` writes the next number, always from the same
//! client; `look` reads it, each time as a client that nobody has heard of, which depends on nothing.
//! Both are requests like any other, so where a runtime runs them is its own affair. What was
//! published and seen is in the answers, and the lag follows from them: `triptych-results` measures
//! it for every run whose observations say `published` and `saw`.
//!
//! | rule | about | guarantee |
//! |---|---|---|
//! | `N1` | what is seen or left was published by then | effects |
//! | `N2` | the notice that is left was not overwritten: none was sent after its own answer, and acknowledged | order |
//! | `N3` | something acknowledged is there at the end | durability |
//!
//! One client publishes all of them, but does not wait: two that overlap may come in either order. One
//! in which a fault fell may have been written late, so nothing is asked of it.

use crate::NAME;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use triptych_api::model::OutcomeClass;
use triptych_api::{
    App, Call, Coverage, Ctx, Evidence, Function, Guarantee, KindSpec, Name, Op, Result,
    RuleReport, Shows, Value,
};

/// The function.
pub const NOTICE: &str = "Notice";
/// Its table.
pub const TABLE: &str = "notices";
/// The key of the only notice.
pub const KEY: &str = "P";
/// The field of its document.
pub const FIELD: &str = "n";

/// Writes a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    /// It; every one only once, each larger than the one before.
    pub n: i64,
}

impl Op for Publish {
    const FUNCTION: &'static str = NOTICE;
    const OP: &'static str = "Publish";
    type Output = ();
}

/// Reads the number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {}

impl Op for Look {
    const FUNCTION: &'static str = NOTICE;
    const OP: &'static str = "Look";
    type Output = i64;
}

async fn handle(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        Publish::OP => {
            let Publish { n } = call.input()?;
            let notice = Value::map([(FIELD, Value::Int(n))]);
            ctx.write(TABLE, KEY, &notice).await?;
            Call::output::<Publish>(&())
        }
        Look::OP => {
            let notice: Option<Value> = ctx.read(TABLE, KEY).await?;
            let n = notice.and_then(|notice| notice.get(FIELD)?.as_int());
            Call::output::<Look>(&n.unwrap_or_default())
        }
        _ => Err(call.unknown(NOTICE)),
    }
}

/// Every document names who wrote it: no value is ever written twice.
fn elements(table: &str, row: &Value) -> Option<Shows> {
    let version = row
        .get(FIELD)
        .and_then(Value::as_int)
        .map(|n| Name::from(n.to_string()));
    version.filter(|_| table == TABLE).map(Shows::Version)
}

pub(crate) fn app() -> App {
    let kind = |name, op, effects| KindSpec {
        name,
        function: NOTICE,
        op,
        effects,
    };
    App {
        name: NAME,
        functions: vec![Function::new(NOTICE, &[TABLE], |ctx, call| {
            Box::pin(handle(ctx, call))
        })],
        workflows: Vec::new(),
        kinds: vec![
            kind("publish", Publish::OP, true),
            kind("look", Look::OP, false),
        ],
        elements,
        observe,
        rules: check,
    }
}

/// * `publish` → `{published: <number>}`
/// * `look` → `{saw: <number>}`
fn observe(kind: &str, input: &Value, output: &Value) -> Value {
    match kind {
        "publish" => {
            let n = input.get(FIELD).cloned().unwrap_or_default();
            Value::map([("published", n)])
        }
        _ => Value::map([("saw", output.clone())]),
    }
}

/// Judges what a run left behind and answered.
fn check(evidence: &Evidence<'_>) -> (Vec<RuleReport>, Coverage) {
    let mut sent = RuleReport::new("N1", Guarantee::Effects);
    let mut order = RuleReport::new("N2", Guarantee::Order);
    let mut kept = RuleReport::new("N3", Guarantee::Durability);
    let mut coverage = Coverage::default();
    // By number: when it was sent, and by when it was surely there; the end of time if that is not
    // known. The loaded one is number 0.
    let mut published = BTreeMap::from([(0, (0, 0))]);
    let (mut latest, mut acknowledged, mut before) = (0, false, 0);
    for op in evidence.ops {
        let class = op.outcome.class();
        let (ok, faulted) = (class == OutcomeClass::Ok, op.faults > 0);
        let publish = evidence.kind(op) == "publish";
        coverage.ok += u64::from(ok);
        coverage.ok_effects += u64::from(ok && publish);
        coverage.faulted += u64::from(faulted);
        coverage.faulted_effects += u64::from(faulted && publish);
        coverage.overlapping += u64::from(op.sent_ns < before);
        before = before.max(op.done_ns);
        let open = [OutcomeClass::Indeterminate, OutcomeClass::InFlight];
        if publish && (ok || open.contains(&class)) {
            let n = op.input.get(FIELD).and_then(Value::as_int);
            let done = if ok && !faulted { op.done_ns } else { u64::MAX };
            published.insert(n.unwrap_or(-1), (op.sent_ns, done));
            if ok {
                (latest, acknowledged) = (latest.max(op.sent_ns), true);
                coverage.session_pairs += 1;
            }
        }
    }
    for op in evidence.ops {
        if evidence.kind(op) != "look" || op.outcome.class() != OutcomeClass::Ok {
            continue;
        }
        let saw = op.observed.get("saw").and_then(Value::as_int);
        let since = saw.and_then(|n| published.get(&n));
        let holds = since.is_some_and(|(sent, _)| *sent <= op.done_ns);
        sent.expect(holds, Some(op.index), || {
            format!("notice {saw:?} was seen, and nobody had published it by then")
        });
    }
    let row = evidence.state.get(TABLE, KEY);
    let left = row.and_then(|row| row.get(FIELD)?.as_int());
    if let Some(left) = left {
        sent.expect(published.contains_key(&left), None, || {
            format!("notice {left} is left, and nobody published it")
        });
        let done = published.get(&left).map_or(u64::MAX, |(_, done)| *done);
        order.expect(!acknowledged || latest < done, None, || {
            format!("notice {left} is left, and others were sent after it and acknowledged")
        });
    }
    if acknowledged {
        kept.expect(left.is_some_and(|left| left > 0), None, || {
            format!("{left:?} is left after notices were acknowledged")
        });
    }
    (vec![sent, order, kept], coverage)
}
