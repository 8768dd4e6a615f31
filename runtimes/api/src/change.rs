//! The closed algebra of changes: small enough that one conditional update of a store can carry
//! it, which is what makes counters, joins and lists exactly-once without a transaction.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use triptych_model::{Action, Condition, Map, Name, Operand, Path, Update, Value, name};

/// One change of one field of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Sets the field.
    Set(Name, Value),
    /// Adds to a number (absent counts as 0); [`Updated::sum`] is the number after it.
    Add(Name, i64),
    /// Appends to a list (absent counts as empty), oldest first. With `keep`, only the newest that
    /// many stay.
    Append {
        /// The list.
        field: Name,
        /// The new element.
        value: Value,
        /// How many of the newest elements stay; all if there is no bound.
        keep: Option<usize>,
    },
}

impl Change {
    /// Sets a field.
    pub fn set(field: &str, value: impl Into<Value>) -> Self {
        Change::Set(name(field), value.into())
    }

    /// Adds to a number.
    pub fn add(field: &str, by: i64) -> Self {
        Change::Add(name(field), by)
    }

    /// Appends to a list without a bound.
    pub fn append(field: &str, value: impl Into<Value>) -> Self {
        Change::Append {
            field: name(field),
            value: value.into(),
            keep: None,
        }
    }

    /// Appends to a list, keeping the newest `keep`.
    pub fn append_keeping(field: &str, value: impl Into<Value>, keep: Option<usize>) -> Self {
        Change::Append {
            field: name(field),
            value: value.into(),
            keep,
        }
    }

    /// The field that it changes. No two changes of one update may share it.
    pub fn field(&self) -> &Name {
        match self {
            Change::Set(field, _) | Change::Add(field, _) | Change::Append { field, .. } => field,
        }
    }
}

/// What an update did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updated {
    /// Whether the condition held, so that the changes were made.
    pub applied: bool,
    /// The number after the update's [`Change::Add`], if it has one and was applied.
    pub sum: Option<i64>,
}

/// Makes the changes on a document in memory, and returns the sum of the [`Change::Add`] if there
/// is one. A field of another type is replaced, as if it were absent.
pub fn apply(document: &mut Map, changes: &[Change]) -> Option<i64> {
    let mut sum = None;
    for change in changes {
        match change {
            Change::Set(field, value) => {
                document.insert(field.clone(), value.clone());
            }
            Change::Add(field, by) => {
                let old = document.get(field).and_then(Value::as_int).unwrap_or(0);
                let new = old.saturating_add(*by);
                document.insert(field.clone(), Value::Int(new));
                sum = Some(new);
            }
            Change::Append { field, value, keep } => {
                let mut list = match document.remove(field) {
                    Some(Value::List(list)) => list,
                    _ => Arc::default(),
                };
                let items = Arc::make_mut(&mut list);
                items.push(value.clone());
                if let Some(keep) = keep {
                    items.drain(..items.len().saturating_sub(*keep));
                }
                document.insert(field.clone(), Value::List(list));
            }
        }
    }
    sum
}

/// The changes as clauses of one store update on the document under the attribute `root`, and the
/// operand that gives the sum of the [`Change::Add`]. None if one update of the store cannot carry
/// them: a bounded append has to be a conditional replacement of the list.
pub fn lower(changes: &[Change], root: &str) -> Option<(Update, Option<Operand>)> {
    let mut update = Update::new();
    let mut sum = None;
    for change in changes {
        let path = Path::attr(root).field(change.field());
        let operand = match change {
            Change::Set(_, value) => Operand::Value(value.clone()),
            Change::Add(_, by) => {
                let old = Operand::PathOr(path.clone(), Value::Int(0));
                let new = Operand::Plus(Box::new(old), *by);
                sum = Some(new.clone());
                new
            }
            Change::Append {
                value, keep: None, ..
            } => Operand::Append(
                Box::new(Operand::PathOr(path.clone(), Value::list([]))),
                Box::new(Operand::Value(Value::list([value.clone()]))),
            ),
            Change::Append { keep: Some(_), .. } => return None,
        };
        update.push(Action::Set(path, operand));
    }
    Some((update, sum))
}

/// Changes that one store update cannot carry, as a conditional one: the fields are replaced by
/// what [`apply`] makes of `old`, if they are still what `old` says.
pub fn lower_optimistic(
    changes: &[Change],
    old: &Map,
    root: &str,
) -> (Update, Condition, Option<i64>) {
    let mut new = old.clone();
    let sum = apply(&mut new, changes);
    let mut update = Update::new();
    let mut unchanged = Vec::new();
    for change in changes {
        let field = change.field();
        let path = Path::attr(root).field(field);
        unchanged.push(match old.get(field) {
            Some(value) => Condition::equals(path.clone(), value.clone()),
            None => Condition::Absent(path.clone()),
        });
        update.push(Action::Set(path, Operand::Value(new[field].clone())));
    }
    (update, Condition::All(unchanged), sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_treat_absent_fields_as_empty_and_bound_lists() {
        let mut document = Map::new();
        let changes = [
            Change::set("title", "Alien"),
            Change::add("count", 2),
            Change::append_keeping("list", 1, Some(2)),
        ];
        assert_eq!(apply(&mut document, &changes), Some(2));
        for n in 2..5 {
            apply(&mut document, &[Change::append_keeping("list", n, Some(2))]);
        }
        assert_eq!(
            document["list"],
            Value::list([Value::Int(3), Value::Int(4)])
        );
        assert_eq!(apply(&mut document, &[Change::add("count", -5)]), Some(-3));
    }
}
