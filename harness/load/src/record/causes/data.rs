//! Looks and writes: what they show of rows whose elements or versions tell who wrote them.

use super::super::book::Who;
use super::{Kind, Row, Scribe};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::{Change, Look, Shows, Updated};
use triptych_model::causes::{Act, Batch};
use triptych_model::history::TxStatus;
use triptych_model::{Name, Value};

impl Scribe {
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

    /// The transaction of this name.
    pub(super) fn batch(&mut self, name: &Name) -> u32 {
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

    pub(in super::super) fn read(
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

    pub(in super::super) fn write(&mut self, who: &Who<'_>, table: &str, key: &str, value: &Value) {
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

    pub(in super::super) fn update(
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
