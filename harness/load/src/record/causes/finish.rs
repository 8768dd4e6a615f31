//! From what was heard to a record: only rows that can be judged, numbered densely.

use super::{Kind, Row, Scribe};
use triptych_api::Shows;
use triptych_model::causes::{Act, CausalKey, Causes, Event, Holds};
use triptych_model::{Name, State, Value};

impl Scribe {
    /// The record, once nothing happens any more.
    pub(in super::super) fn finish(mut self, state: &State) -> Option<Causes> {
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
            // Who does not have the row at all has no copy of it.
            let copies = state.copies.iter().filter_map(|(name, tables)| {
                let value = tables.get(&table)?.get(&key)?;
                Some((name.clone(), self.content(row, Some(value))))
            });
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
        causes.truncated = super::super::unfinished(state);
        Some(causes)
    }

    fn content(&mut self, row: u32, value: Option<&Value>) -> Vec<u32> {
        let table = self.rows[row as usize].place.0.clone();
        let shows = value.and_then(|value| (self.elements)(&table, value));
        let names = shows.as_ref().map_or(&[][..], Shows::names);
        names.iter().map(|name| self.number(row, name)).collect()
    }
}
