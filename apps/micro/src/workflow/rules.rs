//! What must hold of many keys that workflows read and write.
//!
//! | rule | about | guarantee |
//! |---|---|---|
//! | `W1` | the value at the end, and each value that was read, is one that somebody wrote to that key | effects |
//! | `W2` | nobody sees again what was overwritten by something that the same session had seen | order |
//! | `W3` | nobody sees what was overwritten by the own session's write | order |
//! | `W4` | whoever sees a value does not see afterwards what its writer had seen overwritten | order |
//! | `W5` | what is left at the end was not overwritten by anything that somebody knew of | order |
//! | `W6` | of a key that an acknowledged request wrote, something written is left | durability |
//!
//! **Knowing.** A session knows of each key what its requests have seen or written last, and which
//! values that has replaced. Causal order with one total order per key makes these facts for ever: a
//! value that was replaced never comes back, to nobody who knows. A request knows what its session
//! knew when it was sent, and what it has learnt itself since; what it has learnt its session knows
//! once it is answered. Requests of one session that overlap teach each other nothing, and of two
//! values that such two have seen either may be the newer one.
//!
//! **W4.** A write carries with it what its workflow had learnt before: which values it had seen
//! replaced. Who reads what was written knows that too, and so does its session of the keys that it has
//! looked at. This is one step of causality between sessions, not its whole closure: no violation is
//! told that is none, and some that are may be missed.
//!
//! Values that were there before the run are older than any that was written. A request in which a
//! fault fell, or that was not answered, may have written late or twice, where nobody promises
//! exactly once: what it wrote may come back, and carries nothing.

use super::{Access, FIELD, TABLE, is_loaded};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::{OpRecord, OutcomeClass};
use triptych_api::{Coverage, Evidence, Guarantee, RuleReport, Value};

/// Why a value is known to be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// Something newer was seen.
    Seen,
    /// It was overwritten by a write of one's own.
    Own,
    /// Whoever wrote something that was seen knew it.
    Told,
}

/// What is known of a key.
#[derive(Default)]
struct Known<'a> {
    /// What may be the newest: several if requests overlapped.
    current: BTreeSet<&'a str>,
    past: BTreeMap<&'a str, Why>,
    /// How often anything was learnt.
    learnt: u64,
}

impl<'a> Known<'a> {
    /// Where a request begins that learns more; what is past already is not copied.
    fn after(before: Option<&Known<'a>>) -> Self {
        Known {
            current: before
                .map(|known| known.current.clone())
                .unwrap_or_default(),
            past: BTreeMap::new(),
            learnt: before.map_or(0, |known| known.learnt),
        }
    }

    /// Something newer than all that is known, or the same as what is.
    fn replace(&mut self, value: &'a str, why: Why) {
        for old in std::mem::take(&mut self.current) {
            if old != value {
                self.past.entry(old).or_insert(why);
            }
        }
        if !is_loaded(value) {
            self.past.entry(BEFORE).or_insert(why);
        }
        self.current.insert(value);
    }

    /// Why a value cannot be seen any more, if it cannot.
    fn why_not(&self, value: &str) -> Option<Why> {
        let before = is_loaded(value).then(|| self.past.get(BEFORE)).flatten();
        self.past.get(value).or(before).copied()
    }
}

/// A request's accesses in order, with what its reads found.
struct Request<'a> {
    op: &'a OpRecord,
    accesses: Vec<(Access<'a>, &'a str)>,
}

/// What a write carries: values that its workflow knew to be overwritten, with their keys.
type Carried<'a> = Vec<(&'a str, &'a str)>;

/// Judges what a run left behind and answered.
pub fn check(evidence: &Evidence<'_>) -> (Vec<RuleReport>, Coverage) {
    let requests: Vec<Request<'_>> = evidence.ops.iter().map(request).collect();
    let mut judge = Judge::of(&requests);
    let mut events = Vec::new();
    for (at, request) in requests.iter().enumerate() {
        if request.op.outcome.class() == OutcomeClass::Ok {
            // At one instant, what arrives is known to what is sent.
            events.push((request.op.sent_ns, 1, at));
            events.push((request.op.done_ns, 0, at));
        }
    }
    events.sort_unstable();
    let mut open: BTreeMap<usize, Learnt<'_>> = BTreeMap::new();
    for (_, phase, at) in events {
        let request = &requests[at];
        if phase == 1 {
            let learnt = judge.sent(request);
            // One that was answered at the instant of its sending has its end behind it.
            match request.op.done_ns > request.op.sent_ns {
                true => drop(open.insert(at, learnt)),
                false => judge.answered(request, learnt),
            }
        } else if let Some(learnt) = open.remove(&at) {
            judge.answered(request, learnt);
        }
    }
    judge.end(evidence);
    let mut coverage = coverage(evidence);
    coverage.session_pairs = judge.pairs;
    (judge.rules.into_reports(), coverage)
}

fn request(op: &OpRecord) -> Request<'_> {
    let steps = op.input.get("steps").and_then(Value::as_list);
    let accesses = steps.unwrap_or_default().iter().flat_map(|step| {
        let step = step.as_list().unwrap_or_default().iter();
        step.filter_map(|access| Access::of(access.as_str()?))
    });
    let mut found = op.observed.as_list().unwrap_or_default().iter();
    let accesses = accesses.map(|access| {
        let value = match access {
            // An answer that is too short reads as nothing found, which W1 tells.
            Access::Read(_) => found
                .next()
                .and_then(|found| Some(found.as_str()?.split_once('=')?.1)),
            Access::Write(_, value) => Some(value),
        };
        (access, value.unwrap_or_default())
    });
    Request {
        op,
        accesses: accesses.collect(),
    }
}

struct Rules {
    written: RuleReport,
    seen: RuleReport,
    own: RuleReport,
    told: RuleReport,
    last: RuleReport,
    kept: RuleReport,
}

impl Rules {
    fn into_reports(self) -> Vec<RuleReport> {
        vec![
            self.written,
            self.seen,
            self.own,
            self.told,
            self.last,
            self.kept,
        ]
    }

    /// A read of something, by what is known of it.
    fn judge(&mut self, key: &str, value: &str, why: Option<Why>, op: &OpRecord) {
        for (rule, broken) in [
            (&mut self.seen, Why::Seen),
            (&mut self.own, Why::Own),
            (&mut self.told, Why::Told),
        ] {
            rule.expect(why != Some(broken), Some(op.index), || {
                let by = match broken {
                    Why::Seen => "something that the same session had seen",
                    Why::Own => "the same session's own write",
                    Why::Told => "something that the writer of a value had seen that was seen here",
                };
                format!(
                    "request {} of session {} read {value} of key {key}, which was overwritten by \
                     {by}",
                    op.index, op.session
                )
            });
        }
    }
}

/// What a request has learnt of the keys that it accessed or was told of.
struct Learnt<'a>(BTreeMap<&'a str, Known<'a>>);

struct Judge<'a> {
    rules: Rules,
    /// Who may have written what: by key and value.
    writers: BTreeSet<(&'a str, &'a str)>,
    /// What may have been written late or twice.
    doubtful: BTreeSet<&'a str>,
    /// The keys that acknowledged requests wrote.
    acknowledged: BTreeSet<&'a str>,
    /// What each value that was written carries, by the value.
    carried: BTreeMap<&'a str, Carried<'a>>,
    sessions: BTreeMap<(u32, &'a str), Known<'a>>,
    pairs: u64,
}

impl<'a> Judge<'a> {
    fn of(requests: &[Request<'a>]) -> Self {
        let mut writers = BTreeSet::new();
        let (mut doubtful, mut acknowledged) = (BTreeSet::new(), BTreeSet::new());
        let mut carried = BTreeMap::new();
        for request in requests {
            let effectless = [
                OutcomeClass::Failed,
                OutcomeClass::Rejected,
                OutcomeClass::Aborted,
                OutcomeClass::Shed,
            ];
            let class = request.op.outcome.class();
            if effectless.contains(&class) {
                continue;
            }
            let sure = class == OutcomeClass::Ok && request.op.faults == 0;
            let mut own: BTreeMap<&str, Known<'_>> = BTreeMap::new();
            for (access, value) in &request.accesses {
                match *access {
                    Access::Read(key) => own.entry(key).or_default().replace(value, Why::Seen),
                    Access::Write(key, _) => {
                        let replaced = own.iter().flat_map(|(key, known)| {
                            known
                                .past
                                .keys()
                                .map(|old| (*key, *old))
                                .collect::<Vec<_>>()
                        });
                        match sure {
                            true => drop(carried.insert(*value, replaced.collect())),
                            false => drop(doubtful.insert(*value)),
                        }
                        if class == OutcomeClass::Ok {
                            acknowledged.insert(key);
                        }
                        writers.insert((key, *value));
                        own.entry(key).or_default().replace(value, Why::Own);
                    }
                }
            }
        }
        Judge {
            rules: Rules {
                written: RuleReport::new("W1", Guarantee::Effects),
                seen: RuleReport::new("W2", Guarantee::Order),
                own: RuleReport::new("W3", Guarantee::Order),
                told: RuleReport::new("W4", Guarantee::Order),
                last: RuleReport::new("W5", Guarantee::Order),
                kept: RuleReport::new("W6", Guarantee::Durability),
            },
            writers,
            doubtful,
            acknowledged,
            carried,
            sessions: BTreeMap::new(),
            pairs: 0,
        }
    }

    /// Whether somebody may have written this to that key.
    fn written(&self, key: &str, value: &str) -> bool {
        let digits = value.get(..8).and_then(|digits| digits.parse::<u64>().ok());
        let loaded = is_loaded(value) && digits == key.parse().ok();
        loaded || self.writers.contains(&(key, value))
    }

    /// A request is sent: what it reads is held against what it knows.
    fn sent(&mut self, request: &Request<'a>) -> Learnt<'a> {
        let mut learnt: BTreeMap<&'a str, Known<'a>> = BTreeMap::new();
        for (access, value) in &request.accesses {
            let (Access::Read(key) | Access::Write(key, _)) = *access;
            let before = self.sessions.get(&(request.op.session, key));
            let known = learnt.entry(key).or_insert_with(|| {
                self.pairs += u64::from(before.is_some());
                Known::after(before)
            });
            if let Access::Write(..) = access {
                known.replace(value, Why::Own);
                continue;
            }
            let written = self.written(key, value);
            let index = request.op.index;
            self.rules.written.expect(written, Some(index), || {
                format!("request {index} read {value:?} of key {key}, which nobody wrote")
            });
            if !written || self.doubtful.contains(value) {
                continue;
            }
            let earlier = || before.and_then(|before| before.why_not(value));
            let why = known.why_not(value).or_else(earlier);
            self.rules.judge(key, value, why, request.op);
            if why.is_none() {
                known.replace(value, Why::Seen);
            }
            for (other, old) in self.carried.get(value).into_iter().flatten() {
                let session = (request.op.session, *other);
                let before = || Known::after(self.sessions.get(&session));
                let known = learnt.entry(other).or_insert_with(before);
                known.past.entry(old).or_insert(Why::Told);
                known.current.remove(old);
            }
        }
        Learnt(learnt)
    }

    /// A request is answered: its session knows what it has learnt.
    fn answered(&mut self, request: &Request<'a>, Learnt(learnt): Learnt<'a>) {
        for (key, new) in learnt {
            let session = (request.op.session, key);
            // What was told of keys that the session never looked at would only pile up.
            if new.current.is_empty() && !self.sessions.contains_key(&session) {
                continue;
            }
            let known = self.sessions.entry(session).or_default();
            for (old, why) in new.past {
                known.past.entry(old).or_insert(why);
            }
            // If another request of the session was answered in between, either may be newer.
            match known.learnt == new.learnt {
                true => known.current = new.current,
                false => known.current.extend(new.current),
            }
            let past = &known.past;
            known.current.retain(|value| !past.contains_key(value));
            known.learnt += 1;
        }
    }

    /// What is left at the end is held against what anybody knows.
    fn end(&mut self, evidence: &Evidence<'_>) {
        let mut known: BTreeMap<&str, Vec<&Known<'_>>> = BTreeMap::new();
        for ((_, key), of) in &self.sessions {
            known.entry(key).or_default().push(of);
        }
        for (key, row) in evidence.state.rows(TABLE) {
            let value = row.get(FIELD).and_then(Value::as_str).unwrap_or_default();
            let written = self.written(key, value);
            self.rules.written.expect(written, None, || {
                format!("{value:?} is left of key {key}, which nobody wrote")
            });
            let known = known.get(key).into_iter().flatten();
            let newer = known.filter(|known| known.why_not(value).is_some()).count();
            let holds = newer == 0 || self.doubtful.contains(value);
            self.rules.last.expect(holds, None, || {
                format!(
                    "{value} is left of key {key}, which {newer} sessions know to be overwritten"
                )
            });
        }
        for key in &self.acknowledged {
            let row = evidence.state.get(TABLE, key);
            let value = row.and_then(|row| row.get(FIELD)?.as_str());
            let kept = value.is_some_and(|value| !is_loaded(value));
            self.rules.kept.expect(kept, None, || {
                format!("{value:?} is left of key {key}, and a write of it was acknowledged")
            });
        }
    }
}

/// Stands for whatever a key had before the run, which is older than all that was written.
const BEFORE: &str = "";

fn coverage(evidence: &Evidence<'_>) -> Coverage {
    let mut coverage = Coverage::default();
    let mut latest_end = 0;
    for op in evidence.ops {
        let ok = u64::from(op.outcome.class() == OutcomeClass::Ok);
        let faulted = u64::from(op.faults > 0);
        coverage.ok += ok;
        coverage.ok_effects += ok;
        coverage.faulted += faulted;
        coverage.faulted_effects += faulted;
        coverage.overlapping += u64::from(op.sent_ns < latest_end);
        latest_end = latest_end.max(op.done_ns);
    }
    coverage
}
