//! What is known of a key: the document as one row of the database had it, which writes were in the
//! row, and what the last of them depends on.
//!
//! **Clocks are of one key.** A server numbers what it writes; the row of a key says of each server
//! the number of its last write of that key, in an attribute of its own, so a write needs no look at
//! the row before. A server has one write of a key under way at a time, so a row that has a number
//! of a server has all of its lower ones of that key behind it. Hence one clock covers another exactly
//! if the row with the first one came later, and all rows that a key ever has are in one order: that
//! in which the database took the writes. The last one counts.
//!
//! **Dependencies are whole.** A write says which rows its writer's workflow and session have read,
//! and what those depend on in turn, so the dependencies of what it overwrites may go. They do not
//! grow for ever, because what is stable is left out: a dependency that every server has said nothing
//! older of is shown or held any more (see [`crate::cut`]). The writes of one workflow depend on each
//! other, so nobody sees one of them without the others.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use triptych_api::{Name, Value};
use triptych_mesh::{Clock, Key, Slot};
use triptych_refreshed::Row;
use triptych_site::VALUE;

/// Keys, and which writes of each must have been made.
pub type Deps = BTreeMap<Key, Clock>;

/// Under which a row has its dependencies.
const DEPS: &str = "D";
/// What the attributes begin with that have the numbers of servers' last writes.
const NUMBER: &str = "C";

/// See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The document; none if there is none.
    pub value: Option<Value>,
    /// Which writes of the key were made up to it.
    pub clock: Clock,
    /// What must be seen with it.
    pub deps: Deps,
}

impl Line {
    /// The line that a row of the database is.
    ///
    /// # Errors
    /// What in the row is not this system's, in words.
    pub fn of(row: Option<Row>) -> Result<Arc<Self>, String> {
        let mut line = Line::default();
        for (name, value) in row.into_iter().flatten() {
            if let Some(slot) = name.strip_prefix(NUMBER) {
                let slot = slot.parse::<u16>().ok();
                let number = value.as_int().and_then(|number| u64::try_from(number).ok());
                let (Some(slot), Some(number)) = (slot, number) else {
                    return Err(format!("{name:?} is no number of a write"));
                };
                line.clock.raise(Slot(slot), number);
            } else if *name == *DEPS {
                let Value::Bytes(bytes) = &value else {
                    return Err("the dependencies are not bytes".to_owned());
                };
                let deps = postcard::from_bytes(bytes);
                line.deps = deps.map_err(|error| format!("dependencies: {error}"))?;
            } else if *name == *VALUE {
                line.value = Some(value);
            }
        }
        Ok(Arc::new(line))
    }

    /// About its bytes on the wire.
    pub fn size(&self) -> usize {
        let value = self.value.as_ref().map_or(0, Value::size);
        value + clock_size(&self.clock) + deps_size(&self.deps)
    }
}

/// What a write gives a row.
pub fn attributes(value: Value, deps: &Deps, slot: Slot, number: u64) -> Row {
    let bytes = postcard::to_stdvec(deps).unwrap_or_default();
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    Row::from([
        (Name::from(VALUE), value),
        (Name::from(DEPS), Value::Bytes(bytes.into())),
        (
            Name::from(format!("{NUMBER}{}", slot.0)),
            Value::Int(number),
        ),
    ])
}

/// The clock of one write.
pub fn only(slot: Slot, number: u64) -> Clock {
    let mut clock = Clock::default();
    clock.raise(slot, number);
    clock
}

/// Demands one more thing.
pub fn demand(deps: &mut Deps, key: &Key, clock: &Clock) {
    if clock.is_zero() {
        return;
    }
    match deps.get_mut(key) {
        Some(known) => known.join(clock),
        None => drop(deps.insert(key.clone(), clock.clone())),
    }
}

/// Leaves out what everybody is shown anyway.
pub fn trim(deps: &mut Deps, stable: &Clock) {
    deps.retain(|_, clock| !stable.covers(clock));
}

/// About the bytes of a clock on the wire: counts are small numbers.
pub fn clock_size(clock: &Clock) -> usize {
    1 + 3 * clock.width()
}

/// About the bytes of dependencies on the wire.
pub fn deps_size(deps: &Deps) -> usize {
    let size = |(key, clock): (&Key, &Clock)| {
        triptych_refreshed::database::key_size(key) + clock_size(clock)
    };
    1 + deps.iter().map(size).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_line_that_was_written_to_it_and_anything_else_is_refused() {
        let mut deps = Deps::new();
        demand(&mut deps, &Key::new("t", "a"), &only(Slot(3), 7));
        demand(&mut deps, &Key::new("t", "b"), &Clock::default());
        let mut row = attributes(Value::Int(1), &deps, Slot(2), 5);
        row.extend(attributes(Value::Int(2), &deps, Slot(0), 9));
        let line = Line::of(Some(row.clone())).unwrap();
        assert_eq!(line.value, Some(Value::Int(2)));
        assert_eq!(line.clock, Clock::from(vec![9, 0, 5]));
        assert_eq!(line.deps.len(), 1, "what counts nothing is no dependency");
        assert_eq!(Line::of(None).unwrap().clock, Clock::default());
        for (name, value) in [
            ("C1", Value::str("x")),
            ("Cx", Value::Int(1)),
            ("C1", Value::Int(-1)),
            ("D", Value::Int(1)),
            ("D", Value::Bytes(vec![9, 9].into())),
        ] {
            let mut row = row.clone();
            row.insert(Name::from(name), value);
            assert!(Line::of(Some(row)).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_stable_is_no_dependency_any_more() {
        let mut deps = Deps::new();
        demand(&mut deps, &Key::new("t", "a"), &Clock::from(vec![3, 1]));
        demand(&mut deps, &Key::new("t", "b"), &Clock::from(vec![2, 0]));
        trim(&mut deps, &Clock::from(vec![2, 5]));
        assert_eq!(deps.len(), 1);
        assert!(deps.contains_key(&Key::new("t", "a")));
    }
}
