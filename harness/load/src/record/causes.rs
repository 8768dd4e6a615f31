//! What happened before what, from what functions do and from when clients send and are answered:
//! [`triptych_model::causes`].
//!
//! * **Branches.** The place of an operation says in which branch it happens. A branch comes after
//!   what its parent had done when it began, and the parent goes on after all of its branches: that is
//!   how apps are written ([`triptych_api::Ctx::fork`]).
//! * **Calls.** No runtime is asked who called whom: a call is announced with what it asks, and an
//!   execution that begins with the same of the same request is the callee. Where several calls of a
//!   request ask the same, or several executions of one call ended, nobody can tell which belongs to
//!   which, and the callee comes after the request's beginning alone, the caller after none.
//! * **Sessions.** A request comes after everything that its client was answered before it was sent.
//! * **Repeated executions.** Each is a strand of its own. Where executions of an instance are one,
//!   a write that is made again is the first one; elsewhere it is a second write of the same, of
//!   which nothing is concluded.
//! * **Loading.** What was written before the first request is older than everything; who loaded it
//!   in which order is not kept.
//! * **Aborted attempts.** What an attempt at a transaction saw that came to nothing, its parent need
//!   not have seen.

mod data;
mod finish;

use super::book::{Elements, Who};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::Step;
use triptych_model::causes::{Act, Batch, Event, Strand};
use triptych_model::history::{NOBODY, TxStatus};
use triptych_model::{Name, Value, mix, mix_str};

/// What a row was seen to hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Only that it was not there.
    Unknown,
    List,
    Document,
}

struct Row {
    place: (Name, Name),
    kind: Kind,
    keep: Option<u32>,
    unfit: Option<String>,
    numbers: BTreeMap<Name, u32>,
    /// What the last look showed.
    view: Vec<u32>,
}

/// One execution.
struct Execution {
    request: u64,
    instance: Name,
    root: u32,
    /// Branches that have begun, by the beginning of their steps.
    branches: BTreeMap<String, u32>,
    /// Its last event, once it has ended.
    ended: Option<u32>,
}

/// Calls that cannot be told from each other.
#[derive(Default)]
struct Calls {
    /// Where each was made, and the event before it.
    sites: BTreeMap<(u64, Name, Step), Option<u32>>,
    executions: Vec<u64>,
}

#[derive(Default)]
struct Request {
    session: u32,
    /// What it comes after.
    base: Option<u32>,
    /// Executions that nobody called.
    roots: Vec<u64>,
}

/// A call by what it asks: request, function, entry point, a digest of the input.
type Asked = (u64, Name, Name, u64);

pub(super) struct Scribe {
    elements: Elements,
    exactly_once: bool,
    events: Vec<Event>,
    strands: Vec<Strand>,
    /// Of a strand: its last event.
    last: Vec<Option<u32>>,
    names: Vec<Name>,
    loaded: BTreeSet<u32>,
    batches: Vec<Batch>,
    by_name: BTreeMap<Name, u32>,
    places: BTreeMap<(Name, Name), u32>,
    rows: Vec<Row>,
    executions: BTreeMap<u64, Execution>,
    requests: BTreeMap<u64, Request>,
    sessions: BTreeMap<u32, u32>,
    calls: BTreeMap<Asked, Calls>,
    /// Where executions are one: the event of each write that was made.
    made: BTreeMap<(Name, Step, u32), u32>,
    /// The look at several keys that goes on: whose, and its number.
    look: Option<((u64, Step), u32)>,
    looks: u32,
    /// Whether a request was sent.
    measured: bool,
}

impl Scribe {
    pub(super) fn new(elements: Elements, exactly_once: bool) -> Self {
        Scribe {
            elements,
            exactly_once,
            events: Vec::new(),
            strands: Vec::new(),
            last: Vec::new(),
            names: Vec::new(),
            loaded: BTreeSet::new(),
            batches: Vec::new(),
            by_name: BTreeMap::new(),
            places: BTreeMap::new(),
            rows: Vec::new(),
            executions: BTreeMap::new(),
            requests: BTreeMap::new(),
            sessions: BTreeMap::new(),
            calls: BTreeMap::new(),
            made: BTreeMap::new(),
            look: None,
            looks: 0,
            measured: false,
        }
    }

    fn strand(&mut self, name: Name, request: u64, session: u32) -> u32 {
        self.strands.push(Strand {
            name,
            request,
            session,
        });
        self.last.push(None);
        self.strands.len() as u32 - 1
    }

    fn event(&mut self, strand: u32, act: Act) -> u32 {
        let event = self.events.len() as u32;
        self.events.push(Event { strand, act });
        self.last[strand as usize] = Some(event);
        event
    }

    fn after(&mut self, strand: u32, event: Option<u32>) {
        if let Some(event) = event {
            self.event(strand, Act::After { event });
        }
    }

    /// A client sends a request.
    pub(super) fn sent(&mut self, request: u64, session: u32) {
        self.measured = true;
        let base = self.sessions.get(&session).copied();
        let base = base.and_then(|strand| self.last[strand as usize]);
        let known = Request {
            session,
            base,
            roots: Vec::new(),
        };
        self.requests.insert(request, known);
    }

    /// The client has the answer.
    pub(super) fn answered(&mut self, request: u64) {
        let Some(Request { session, roots, .. }) = self.requests.get(&request) else {
            return;
        };
        let session = *session;
        let mut ends: BTreeMap<Name, Vec<u32>> = BTreeMap::new();
        for execution in roots {
            let Some(known) = self.executions.get(execution) else {
                continue;
            };
            let of = ends.entry(known.instance.clone()).or_default();
            of.extend(known.ended);
        }
        let ends: Vec<Option<u32>> = ends.values().map(|ends| self.one_of(ends)).collect();
        if session == NOBODY {
            return;
        }
        let strand = match self.sessions.get(&session) {
            Some(strand) => *strand,
            None => {
                let name = Name::from(format!("client {session}"));
                let strand = self.strand(name, u64::MAX, session);
                self.sessions.insert(session, strand);
                strand
            }
        };
        for end in ends {
            self.after(strand, end);
        }
    }

    /// The end that an answer came from, if that is known.
    fn one_of(&self, ends: &[u32]) -> Option<u32> {
        match ends {
            [only] => Some(*only),
            [first, ..] if self.exactly_once => Some(*first),
            _ => None,
        }
    }

    /// An execution begins, with this number.
    pub(super) fn begin(
        &mut self,
        execution: u64,
        request: u64,
        instance: &str,
        (function, op, input): (&Name, &Name, &Value),
    ) {
        let known = self.requests.get(&request);
        let Some(known) = known else { return };
        let (session, base) = (known.session, known.base);
        let instance = Name::from(instance);
        let name = Name::from(format!("{instance} {function}.{op}"));
        let root = self.strand(name, request, session);
        let asked = (request, function.clone(), op.clone(), digest(input));
        let since = match self.calls.get_mut(&asked) {
            Some(calls) => {
                calls.executions.push(execution);
                let mut sites = calls.sites.values();
                match (sites.next(), sites.next()) {
                    (Some(site), None) => *site,
                    _ => base,
                }
            }
            None => {
                if let Some(known) = self.requests.get_mut(&request) {
                    known.roots.push(execution);
                }
                base
            }
        };
        let known = Execution {
            request,
            instance,
            root,
            branches: BTreeMap::from([(String::new(), root)]),
            ended: None,
        };
        self.executions.insert(execution, known);
        self.after(root, since);
    }

    /// The handler of an execution has come to its end.
    pub(super) fn end(&mut self, execution: u64) {
        let Some(known) = self.executions.get(&execution) else {
            return;
        };
        let root = known.root;
        self.gather(execution, "");
        let event = self.event(root, Act::Step);
        if let Some(known) = self.executions.get_mut(&execution) {
            known.ended = Some(event);
        }
    }

    /// The branch that goes on comes after all that it began.
    fn gather(&mut self, execution: u64, prefix: &str) {
        let Some(known) = self.executions.get_mut(&execution) else {
            return;
        };
        let inner: Vec<(String, u32)> = known
            .branches
            .range(prefix.to_owned()..)
            .take_while(|(other, _)| other.starts_with(prefix))
            .filter(|(other, _)| other.len() > prefix.len())
            .map(|(other, strand)| (other.clone(), *strand))
            .collect();
        let Some(own) = known.branches.get(prefix).copied() else {
            return;
        };
        for (other, _) in &inner {
            known.branches.remove(other);
        }
        for (_, strand) in inner {
            self.after(own, self.last[strand as usize]);
        }
    }

    /// The strand in which a step happens. None of an execution that is not followed.
    fn place(&mut self, execution: u64, step: &Step) -> Option<u32> {
        self.executions.get(&execution)?;
        let text = step.as_str();
        let prefix = text.rfind('.').map_or("", |at| &text[..=at]);
        let strand = self.branch(execution, prefix)?;
        self.gather(execution, prefix);
        Some(strand)
    }

    fn branch(&mut self, execution: u64, prefix: &str) -> Option<u32> {
        let known = self.executions.get(&execution)?;
        if let Some(strand) = known.branches.get(prefix) {
            return Some(*strand);
        }
        let (request, root) = (known.request, known.root);
        let parent = self.branch(execution, parent(prefix))?;
        let of = &self.strands[root as usize];
        let (name, session) = (Name::from(format!("{} at {prefix}", of.name)), of.session);
        let strand = self.strand(name, request, session);
        self.after(strand, self.last[parent as usize]);
        let known = self.executions.get_mut(&execution)?;
        known.branches.insert(prefix.to_owned(), strand);
        Some(strand)
    }

    /// A function is about to be called.
    pub(super) fn calling(&mut self, who: &Who<'_>, call: (&Name, &Name, &Value)) {
        let Some(strand) = self.place(who.execution, who.step) else {
            return;
        };
        let (asked, site) = self.site(who, call);
        let before = self.last[strand as usize];
        let calls = self.calls.entry(asked).or_default();
        calls.sites.entry(site).or_insert(before);
    }

    fn site(
        &self,
        who: &Who<'_>,
        (function, op, input): (&Name, &Name, &Value),
    ) -> (Asked, (u64, Name, Step)) {
        let asked = (who.request, function.clone(), op.clone(), digest(input));
        let which = if self.exactly_once { 0 } else { who.execution };
        (asked, (which, who.instance.clone(), who.step.clone()))
    }

    /// It has answered.
    pub(super) fn called(&mut self, who: &Who<'_>, call: (&Name, &Name, &Value)) {
        let Some(strand) = self.place(who.execution, who.step) else {
            return;
        };
        let (asked, _) = self.site(who, call);
        let Some(calls) = self
            .calls
            .get(&asked)
            .filter(|calls| calls.sites.len() == 1)
        else {
            return;
        };
        let ended = calls.executions.iter();
        let ended = ended.filter_map(|execution| self.executions.get(execution)?.ended);
        let end = self.one_of(&ended.collect::<Vec<_>>());
        self.after(strand, end);
    }

    /// A transaction has ended.
    pub(super) fn ended(&mut self, who: &Who<'_>, committed: bool) {
        let Some(name) = who.transaction else { return };
        if !committed && let Some(known) = self.executions.get_mut(&who.execution) {
            let inside = format!("{}.", who.step);
            known
                .branches
                .retain(|prefix, _| !prefix.starts_with(&inside));
        }
        let tx = self.batch(name);
        let status = &mut self.batches[tx as usize].status;
        if *status != TxStatus::Indeterminate {
            return;
        }
        let strand = self.place(who.execution, who.step);
        let status = &mut self.batches[tx as usize].status;
        match (committed, strand) {
            (true, Some(strand)) => {
                *status = TxStatus::Committed;
                self.event(strand, Act::Commit { tx });
            }
            (true, None) => {}
            (false, _) => *status = TxStatus::Aborted,
        }
    }
}

/// The branch that a branch is of.
fn parent(prefix: &str) -> &str {
    let inner = prefix.strip_suffix('.').unwrap_or(prefix);
    // A fork adds its step and a number, a transaction its step, the attempt and a word.
    let parts = if inner.ends_with(".tx") { 3 } else { 2 };
    let cut = inner.rmatch_indices('.').nth(parts - 1);
    cut.map_or("", |(at, _)| &prefix[..=at])
}

/// A number for a value: equal ones have the same.
fn digest(value: &Value) -> u64 {
    match value {
        Value::Null => 1,
        Value::Bool(flag) => mix(2, u64::from(*flag)),
        Value::Int(number) => mix(3, *number as u64),
        // A whole number may come back as one without a fraction.
        Value::Float(number) if *number == (*number as i64) as f64 => mix(3, *number as i64 as u64),
        Value::Float(number) => mix(4, number.to_bits()),
        Value::Str(text) => mix_str(5, text),
        Value::Bytes(bytes) => bytes
            .iter()
            .fold(6, |hash, byte| mix(hash, u64::from(*byte))),
        Value::List(items) => items.iter().fold(7, |hash, item| mix(hash, digest(item))),
        Value::Map(map) => map.iter().fold(8, |hash, (name, item)| {
            mix(mix_str(hash, name), digest(item))
        }),
    }
}
