//! What was heard, kept small: a read of a list is how much of its longest known form it saw.

use super::Place;
use std::collections::BTreeMap;
use triptych_api::{Change, Shows, Step};
use triptych_model::history::{MicroOp, Saw, TxStatus};
use triptych_model::{Name, Value};
use triptych_world::Nanos;

/// What rows show.
pub(super) type Elements = fn(&str, &Value) -> Option<Shows>;

/// Which rows are lists that transactions append to, and of what.
pub(super) fn listed(elements: Elements, table: &str, row: &Value) -> Option<Vec<Name>> {
    match elements(table, row)? {
        Shows::List(names) => Some(names),
        Shows::Set(_) | Shows::Version(_) => None,
    }
}

/// Who did something, and when.
pub(super) struct Who<'a> {
    pub(super) request: u64,
    pub(super) instance: &'a Name,
    pub(super) transaction: Option<&'a Name>,
    pub(super) step: &'a Step,
    pub(super) execution: u64,
    pub(super) since: Nanos,
    pub(super) now: Nanos,
}

/// What is known of a row.
pub(super) struct Row {
    pub(super) place: Place,
    /// Whether it was ever seen to be a list; until then it is only a row that was not there.
    pub(super) is_list: bool,
    /// The longest form that was seen, names and numbers.
    pub(super) longest: Vec<(Name, u32)>,
    /// How many of the newest elements it keeps, if it does not keep all.
    pub(super) keep: Option<u32>,
    /// Why it cannot be judged.
    pub(super) unfit: Option<String>,
    pub(super) numbers: BTreeMap<Name, u32>,
}

/// What is known of a transaction.
pub(super) struct Tx {
    pub(super) id: Name,
    pub(super) request: u64,
    pub(super) begin: Nanos,
    pub(super) end: Nanos,
    pub(super) status: TxStatus,
    pub(super) ops: Vec<MicroOp>,
}

/// What a list was when it was last read, and what was appended since.
#[derive(Default)]
struct Known {
    saw: Option<Saw>,
    since: Vec<u32>,
}

pub(super) struct Book {
    pub(super) elements: Elements,
    exactly_once: bool,
    executions: u64,
    /// When instances first began.
    begun: BTreeMap<Name, Nanos>,
    places: BTreeMap<Place, u32>,
    pub(super) rows: Vec<Row>,
    /// Element names by number.
    pub(super) names: Vec<Name>,
    open: BTreeMap<Name, usize>,
    pub(super) transactions: Vec<Tx>,
    /// Where the operation of an instance's step on a row stands: for repeated executions.
    steps: BTreeMap<(Name, Step, u32), (usize, usize)>,
    /// What an execution or a transaction last knew a list to be.
    known: BTreeMap<(Option<Name>, u64, u32), Known>,
    pub(super) diverged: Vec<String>,
}

/// How many findings are kept in words.
const TOLD: usize = 20;

impl Book {
    pub(super) fn new(elements: Elements, exactly_once: bool) -> Self {
        Book {
            elements,
            exactly_once,
            executions: 0,
            begun: BTreeMap::new(),
            places: BTreeMap::new(),
            rows: Vec::new(),
            names: Vec::new(),
            open: BTreeMap::new(),
            transactions: Vec::new(),
            steps: BTreeMap::new(),
            known: BTreeMap::new(),
            diverged: Vec::new(),
        }
    }

    /// An execution begins: its number, and since when it may have had effects.
    pub(super) fn begin(&mut self, instance: &str, now: Nanos) -> (u64, Nanos) {
        self.executions += 1;
        let since = match self.exactly_once {
            true => *self.begun.entry(Name::from(instance)).or_insert(now),
            false => now,
        };
        (self.executions, since)
    }

    pub(super) fn row(&mut self, table: &str, key: &str) -> u32 {
        let place = (Name::from(table), Name::from(key));
        if let Some(row) = self.places.get(&place) {
            return *row;
        }
        let row = self.rows.len() as u32;
        self.places.insert(place.clone(), row);
        self.rows.push(Row {
            place,
            is_list: false,
            longest: Vec::new(),
            keep: None,
            unfit: None,
            numbers: BTreeMap::new(),
        });
        row
    }

    /// The number of an element of a row.
    pub(super) fn number(&mut self, row: u32, name: &Name) -> u32 {
        let numbers = &mut self.rows[row as usize].numbers;
        if let Some(number) = numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.clone());
        numbers.insert(name.clone(), number);
        number
    }

    /// A view of a row, as a part of its longest known form if it is one.
    fn view(&mut self, row: u32, names: &[Name]) -> Saw {
        let known = &mut self.rows[row as usize];
        known.is_list = true;
        let longest = known.longest.len();
        let same = known.longest.iter().zip(names).all(|((a, _), b)| a == b);
        if same && known.keep.is_none() {
            for name in names.iter().skip(longest) {
                let number = self.number(row, name);
                self.rows[row as usize].longest.push((name.clone(), number));
            }
            return Saw::Prefix(names.len() as u32);
        }
        Saw::List(names.iter().map(|name| self.number(row, name)).collect())
    }

    /// The numbers of what a view shows.
    fn list(&self, row: u32, saw: &Saw) -> Vec<u32> {
        match saw {
            Saw::List(list) => list.clone(),
            Saw::Prefix(length) => {
                let longest = self.rows[row as usize].longest.iter();
                longest
                    .take(*length as usize)
                    .map(|(_, number)| *number)
                    .collect()
            }
        }
    }

    pub(super) fn read(&mut self, who: &Who<'_>, table: &str, key: &str, value: Option<&Value>) {
        let names = match value {
            None => Vec::new(),
            Some(value) => match listed(self.elements, table, value) {
                Some(names) => names,
                None => return,
            },
        };
        let row = self.row(table, key);
        let saw = match value {
            // Whether a row that is not there would be a list is not known yet.
            None => Saw::Prefix(0),
            Some(_) => self.view(row, &names),
        };
        let known = Known {
            saw: Some(saw.clone()),
            since: Vec::new(),
        };
        self.known.insert(Self::mind(who, row), known);
        self.note(who, row, MicroOp::Read { key: row, saw });
    }

    /// Whose knowledge of a list counts when it is replaced.
    fn mind(who: &Who<'_>, row: u32) -> (Option<Name>, u64, u32) {
        match who.transaction {
            Some(id) => (Some(id.clone()), 0, row),
            None => (None, who.execution, row),
        }
    }

    pub(super) fn write(&mut self, who: &Who<'_>, table: &str, key: &str, value: &Value) {
        if let Some(names) = listed(self.elements, table, value) {
            let row = self.row(table, key);
            self.replace(who, row, &names);
        }
    }

    /// A list was replaced by another one: an append, if there is one element more at its end.
    fn replace(&mut self, who: &Who<'_>, row: u32, names: &[Name]) {
        self.rows[row as usize].is_list = true;
        let known = self.known.get(&Self::mind(who, row));
        let mut old = known
            .and_then(|known| known.saw.as_ref())
            .map_or_else(Vec::new, |saw| self.list(row, saw));
        old.extend(known.iter().flat_map(|known| &known.since));
        let new: Vec<u32> = names.iter().map(|name| self.number(row, name)).collect();
        let grown = new
            .len()
            .checked_sub(1)
            .is_some_and(|rest| new[..rest] == old);
        let moved = new.len() == old.len() && new.len() > 1 && new[..new.len() - 1] == old[1..];
        if new == old {
            return;
        }
        if moved {
            self.rows[row as usize].keep.get_or_insert(new.len() as u32);
        }
        match new.last() {
            Some(&element) if grown || moved => {
                let known = Known {
                    saw: Some(Saw::List(new.clone())),
                    since: Vec::new(),
                };
                self.known.insert(Self::mind(who, row), known);
                self.note(who, row, MicroOp::Append { key: row, element });
            }
            _ => {
                let at = who.step;
                let why = format!("step {at} of {} replaced it by another list", who.instance);
                self.rows[row as usize].unfit.get_or_insert(why);
            }
        }
    }

    pub(super) fn update(&mut self, who: &Who<'_>, table: &str, key: &str, changes: &[Change]) {
        for change in changes {
            let (field, value, keep) = match change {
                Change::Append { field, value, keep } => {
                    (field, Value::list([value.clone()]), Some(*keep))
                }
                Change::Set(field, value) => (field, value.clone(), None),
                Change::Add(..) => continue,
            };
            let part = Value::map([(field, value)]);
            let Some(names) = listed(self.elements, table, &part) else {
                continue;
            };
            match keep {
                // A field that says nothing of the list.
                None if names.is_empty() && !matches!(change, Change::Set(_, Value::List(_))) => {}
                None => {
                    let row = self.row(table, key);
                    self.replace(who, row, &names);
                }
                Some(keep) => {
                    let [name] = names.as_slice() else { continue };
                    let row = self.row(table, key);
                    self.rows[row as usize].is_list = true;
                    if let Some(keep) = keep {
                        self.rows[row as usize].keep = Some(keep as u32);
                    }
                    let element = self.number(row, name);
                    let known = self.known.entry(Self::mind(who, row)).or_default();
                    // A repeated execution of a transaction appends what is known already.
                    if known.since.last() != Some(&element) {
                        known.since.push(element);
                    }
                    self.note(who, row, MicroOp::Append { key: row, element });
                }
            }
        }
    }

    /// The transaction that something belongs to; it begins now if it was not heard of.
    pub(super) fn transaction(&mut self, who: &Who<'_>) -> usize {
        let Some(id) = who.transaction else {
            let id = Name::from(format!("{}.{}", who.instance, who.step));
            return self.add(who, id, who.since);
        };
        if let Some(at) = self.open.get(id) {
            return *at;
        }
        let at = self.add(who, id.clone(), who.now);
        self.open.insert(id.clone(), at);
        at
    }

    fn add(&mut self, who: &Who<'_>, id: Name, begin: Nanos) -> usize {
        self.transactions.push(Tx {
            id,
            request: who.request,
            begin,
            end: Nanos::MAX,
            status: TxStatus::Indeterminate,
            ops: Vec::new(),
        });
        self.transactions.len() - 1
    }

    pub(super) fn end(&mut self, who: &Who<'_>, committed: bool) {
        let at = self.transaction(who);
        let tx = &mut self.transactions[at];
        let status = if committed {
            TxStatus::Committed
        } else {
            TxStatus::Aborted
        };
        if tx.status == TxStatus::Indeterminate {
            (tx.status, tx.end) = (status, who.now);
        } else if tx.status != status {
            let (id, was) = (&tx.id, tx.status.name());
            let told = format!(
                "{id} was {was}, and {} in a repeated execution",
                status.name()
            );
            self.tell(told);
        }
    }

    fn tell(&mut self, told: String) {
        if self.diverged.len() < TOLD {
            self.diverged.push(told);
        }
    }

    fn note(&mut self, who: &Who<'_>, row: u32, op: MicroOp) {
        if self.exactly_once {
            let step = (who.instance.clone(), who.step.clone(), row);
            if let Some((tx, at)) = self.steps.get(&step).copied() {
                return self.compare(who, row, (tx, at), &op);
            }
            let at = self.place(who, op);
            self.steps.insert(step, at);
        } else {
            self.place(who, op);
        }
    }

    fn place(&mut self, who: &Who<'_>, op: MicroOp) -> (usize, usize) {
        let at = self.transaction(who);
        let tx = &mut self.transactions[at];
        if who.transaction.is_none() {
            (tx.status, tx.end) = (TxStatus::Committed, who.now);
        } else {
            // A callee may be heard of before its caller's transaction.
            tx.begin = tx.begin.min(who.now);
        }
        tx.ops.push(op);
        (at, tx.ops.len() - 1)
    }

    /// A repeated execution must see what the first one saw.
    fn compare(&mut self, who: &Who<'_>, row: u32, (tx, at): (usize, usize), op: &MicroOp) {
        let first = &self.transactions[tx].ops[at];
        let same = match (first, op) {
            (MicroOp::Read { saw: a, .. }, MicroOp::Read { saw: b, .. }) => {
                self.list(row, a) == self.list(row, b)
            }
            (a, b) => a == b,
        };
        if !same {
            let (table, key) = self.rows[row as usize].place.clone();
            let told = format!(
                "a replay saw another value: step {} of {} on {table}/{key}",
                who.step, who.instance
            );
            self.tell(told);
        }
    }
}
