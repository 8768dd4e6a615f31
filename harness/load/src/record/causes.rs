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

use super::book::{Elements, Who};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::{Change, Look, Shows, Step, Updated};
use triptych_model::causes::{Act, Batch, CausalKey, Causes, Event, Holds, Strand};
use triptych_model::history::{NOBODY, TxStatus};
use triptych_model::{Name, State, Value, mix, mix_str};

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

    fn row(&mut self, table: &str, key: &str) -> u32 {
        let place = (Name::from(table), Name::from(key));
        if let Some(row) = self.places.get(&place) {
            return *row;
        }
        let row = self.rows.len() as u32;
        self.places.insert(place.clone(), row);
        self.rows.push(Row {
            place,
            kind: Kind::Unknown,
            keep: None,
            unfit: None,
            numbers: BTreeMap::new(),
            view: Vec::new(),
        });
        row
    }

    fn number(&mut self, row: u32, name: &Name) -> u32 {
        let numbers = &mut self.rows[row as usize].numbers;
        if let Some(number) = numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.clone());
        numbers.insert(name.clone(), number);
        number
    }

    /// The transaction of this name.
    fn batch(&mut self, name: &Name) -> u32 {
        if let Some(batch) = self.by_name.get(name) {
            return *batch;
        }
        let batch = self.batches.len() as u32;
        self.batches.push(Batch {
            name: name.clone(),
            status: TxStatus::Indeterminate,
        });
        self.by_name.insert(name.clone(), batch);
        batch
    }

    fn is(&mut self, row: u32, shows: &Shows) {
        let kind = match shows {
            Shows::List(_) | Shows::Set(_) => Kind::List,
            Shows::Version(_) => Kind::Document,
        };
        let row = &mut self.rows[row as usize];
        if row.kind != Kind::Unknown && row.kind != kind {
            let why = "it is a list at times and a document at others".to_owned();
            row.unfit.get_or_insert(why);
        }
        row.kind = kind;
    }

    pub(super) fn read(
        &mut self,
        who: &Who<'_>,
        (table, key): (&str, &str),
        value: Option<&Value>,
        look: Look,
    ) {
        if look == Look::Scan {
            return;
        }
        let shows = match value {
            None => None,
            Some(value) => match (self.elements)(table, value) {
                Some(shows) => Some(shows),
                None => return,
            },
        };
        let Some(strand) = self.place(who.execution, who.step) else {
            return;
        };
        let row = self.row(table, key);
        if let Some(shows) = &shows {
            self.is(row, shows);
        }
        let names = shows.as_ref().map_or(&[][..], Shows::names);
        let now: Vec<u32> = names.iter().map(|name| self.number(row, name)).collect();
        let old = std::mem::take(&mut self.rows[row as usize].view);
        let (more, less) = difference(&old, &now);
        self.rows[row as usize].view = now;
        let look = (look == Look::Many).then(|| self.look_of(who));
        let tx = who.transaction.map(|name| self.batch(name));
        let act = Act::Read {
            key: row,
            more,
            less,
            look,
            tx,
        };
        self.event(strand, act);
    }

    /// The number of a look at several keys.
    fn look_of(&mut self, who: &Who<'_>) -> u32 {
        let whose = (who.execution, who.step.clone());
        if let Some((known, number)) = &self.look
            && *known == whose
        {
            return *number;
        }
        self.looks += 1;
        self.look = Some((whose, self.looks));
        self.looks
    }

    fn wrote(&mut self, who: &Who<'_>, row: u32, name: &Name) {
        let write = self.number(row, name);
        if !self.measured {
            self.loaded.insert(write);
            return;
        }
        let Some(strand) = self.place(who.execution, who.step) else {
            // Nobody knows whose it is, so nothing is concluded from it.
            return;
        };
        let step = (who.instance.clone(), who.step.clone(), write);
        if let Some(made) = self.made.get(&step) {
            return self.after(strand, Some(*made));
        }
        let tx = who.transaction.map(|name| self.batch(name));
        let event = self.event(
            strand,
            Act::Write {
                key: row,
                write,
                tx,
            },
        );
        if self.exactly_once {
            self.made.insert(step, event);
        }
    }

    pub(super) fn write(&mut self, who: &Who<'_>, table: &str, key: &str, value: &Value) {
        let Some(shows) = (self.elements)(table, value) else {
            return;
        };
        let row = self.row(table, key);
        self.is(row, &shows);
        match &shows {
            Shows::Version(name) => self.wrote(who, row, name),
            Shows::List(names) | Shows::Set(names) => self.replace(who, row, names),
        }
    }

    /// A list was replaced as a whole: of one that was loaded so, its elements are known.
    fn replace(&mut self, who: &Who<'_>, row: u32, names: &[Name]) {
        if self.measured {
            let why = format!("step {} of {} replaced it", who.step, who.instance);
            self.rows[row as usize].unfit.get_or_insert(why);
        } else {
            for name in names {
                self.wrote(who, row, name);
            }
        }
    }

    pub(super) fn update(
        &mut self,
        who: &Who<'_>,
        (table, key): (&str, &str),
        changes: &[Change],
        updated: Updated,
    ) {
        if !updated.applied {
            return;
        }
        for change in changes {
            let (field, value, keep) = match change {
                Change::Append { field, value, keep } => {
                    (field, Value::list([value.clone()]), Some(*keep))
                }
                Change::Set(field, value) => (field, value.clone(), None),
                Change::Add(..) => continue,
            };
            let part = Value::map([(field, value)]);
            let Some(shows) = (self.elements)(table, &part) else {
                continue;
            };
            match (&shows, keep) {
                (Shows::Version(name), None) => {
                    let row = self.row(table, key);
                    self.is(row, &shows);
                    self.wrote(who, row, name);
                }
                (Shows::Version(_), Some(_)) => {}
                // A field that says nothing of the list.
                (Shows::List(names) | Shows::Set(names), _) if names.is_empty() => {}
                (Shows::List(names) | Shows::Set(names), None) => {
                    let row = self.row(table, key);
                    self.is(row, &shows);
                    self.replace(who, row, names);
                }
                (Shows::List(names) | Shows::Set(names), Some(keep)) => {
                    let row = self.row(table, key);
                    self.is(row, &shows);
                    if let Some(keep) = keep {
                        self.rows[row as usize].keep = Some(keep as u32);
                    }
                    for name in names {
                        self.wrote(who, row, name);
                    }
                }
            }
        }
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

    /// The record, once nothing happens any more.
    pub(super) fn finish(mut self, state: &State) -> Option<Causes> {
        let mut causes = Causes::default();
        let mut kept: Vec<Option<u32>> = Vec::with_capacity(self.rows.len());
        for row in 0..self.rows.len() as u32 {
            let (table, key) = self.rows[row as usize].place.clone();
            let Row { kind, unfit, .. } = &self.rows[row as usize];
            if let (Some(why), false) = (unfit, *kind == Kind::Unknown) {
                causes.left_out.push(format!("{table}/{key}: {why}"));
            }
            if *kind == Kind::Unknown || unfit.is_some() {
                kept.push(None);
                continue;
            }
            let last = self.content(row, state.get(&table, &key));
            let copies = state.copies.iter().map(|(name, tables)| {
                let value = tables.get(&table).and_then(|rows| rows.get(&key));
                (name.clone(), value.cloned())
            });
            let copies: Vec<(Name, Option<Value>)> = copies.collect();
            let copies = copies
                .into_iter()
                .map(|(name, value)| (name, self.content(row, value.as_ref())));
            let copies: Vec<(Name, Vec<u32>)> = copies.collect();
            let Row { kind, keep, .. } = &self.rows[row as usize];
            kept.push(Some(causes.keys.len() as u32));
            causes.keys.push(CausalKey {
                name: Name::from(format!("{table}/{key}")),
                holds: match (kind, keep) {
                    (Kind::Document, _) => Holds::Last,
                    (_, Some(keep)) => Holds::Newest(*keep),
                    (_, None) => Holds::All,
                },
                last: Some(last),
                copies,
            });
        }
        if causes.keys.is_empty() && causes.left_out.is_empty() {
            return None;
        }
        for Event { act, .. } in &mut self.events {
            if let Act::Write { key, .. } | Act::Read { key, .. } = act {
                match kept[*key as usize] {
                    Some(number) => *key = number,
                    None => *act = Act::Step,
                }
            }
        }
        causes.names = self.names;
        causes.loaded = self.loaded.into_iter().collect();
        causes.strands = self.strands;
        causes.batches = self.batches;
        causes.events = self.events;
        causes.truncated = super::unfinished(state);
        Some(causes)
    }

    fn content(&mut self, row: u32, value: Option<&Value>) -> Vec<u32> {
        let table = self.rows[row as usize].place.0.clone();
        let shows = value.and_then(|value| (self.elements)(&table, value));
        let names = shows.as_ref().map_or(&[][..], Shows::names);
        names.iter().map(|name| self.number(row, name)).collect()
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

/// What is there and was not, and what was and is not. Lists grow at the end mostly.
fn difference(old: &[u32], now: &[u32]) -> (Vec<u32>, Vec<u32>) {
    if let Some(more) = now.strip_prefix(old) {
        return (more.to_vec(), Vec::new());
    }
    let (before, after): (BTreeSet<u32>, BTreeSet<u32>) =
        (old.iter().copied().collect(), now.iter().copied().collect());
    (
        after.difference(&before).copied().collect(),
        before.difference(&after).copied().collect(),
    )
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
