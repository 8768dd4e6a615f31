//! Where an app's data lies in a runtime that keeps a document per key: in a table of the same name,
//! an item with the key and the document.

use crate::Site;
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::model::{Action, Item, Map, Operand, Path};
use triptych_api::{App, Change, Condition, Name, State, Updated, Value, apply};
use triptych_store::{Key, Request, TableSchema, Write, holds, patient_pages};

/// The key attribute of every table.
pub const KEY: &str = "K";
/// The attribute that holds the document.
pub const VALUE: &str = "V";

/// The names of an app's tables.
fn names(app: &App) -> impl Iterator<Item = &Name> {
    app.functions.iter().flat_map(|function| &function.tables)
}

/// Creates the app's tables, and those that the runtime needs besides.
///
/// # Errors
/// The store's, in words.
pub async fn create(site: Rc<Site>, more: Vec<TableSchema>) -> Result<(), String> {
    let tables = names(&site.app).map(|table| TableSchema::new(table, KEY));
    for schema in tables.chain(more) {
        let created = site.store.create_table(schema).await;
        created.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The documents of a table, looked at from outside: no crash point, and nobody's work.
///
/// # Errors
/// The store's, in words.
pub async fn look(site: &Site, table: &Name) -> Result<BTreeMap<Name, Value>, String> {
    let (world, store) = (site.world.clone(), Rc::clone(&site.store));
    let scope = world.background_scope();
    let items = patient_pages(world, store, scope, Request::scan(table)).await;
    items.map(rows).map_err(|error| error.to_string())
}

/// The documents of all the app's tables, looked at from outside.
///
/// # Errors
/// The store's, in words.
pub async fn state(site: &Site) -> Result<State, String> {
    let mut state = State::default();
    for table in names(&site.app) {
        let documents = look(site, table).await?;
        state.tables.insert(table.clone(), documents);
    }
    Ok(state)
}

/// Keys and documents of a table's items.
pub fn rows(items: Vec<Item>) -> BTreeMap<Name, Value> {
    let row = |mut item: Item| match (item.remove(KEY)?, item.remove(VALUE)?) {
        (Value::Str(key), document) => Some((key, document)),
        _ => None,
    };
    items.into_iter().filter_map(row).collect()
}

/// The clause of a store update that gives an attribute a value.
pub fn set(attribute: &str, value: Value) -> Action {
    Action::Set(Path::attr(attribute), Operand::Value(value))
}

/// The write that gives a key a document, if the condition holds of the item.
pub fn replace(table: &Name, key: &Name, document: Value, condition: Option<Condition>) -> Write {
    Write::Update {
        table: table.clone(),
        key: Key::hash(key.clone()),
        update: vec![set(VALUE, document)],
        condition,
    }
}

/// The write that removes a key, whether it has a document or not.
pub fn remove(table: &Name, key: &Name) -> Write {
    Write::Delete {
        table: table.clone(),
        key: Key::hash(key.clone()),
        condition: None,
    }
}

/// Holds of an item as long as its document is this one (or missing, as it was).
pub fn unchanged(seen: Option<&Value>) -> Condition {
    let document = Path::attr(VALUE);
    match seen {
        Some(seen) => Condition::equals(document, seen.clone()),
        None => Condition::Absent(document),
    }
}

/// What an app's update comes to: what it did, and the new document if it did anything. What is
/// missing counts as an empty document.
pub fn updated(
    old: Option<&Value>,
    condition: Option<&Condition>,
    changes: &[Change],
) -> (Updated, Option<Value>) {
    let mut document: Map = old.and_then(Value::as_map).cloned().unwrap_or_default();
    if condition.is_some_and(|condition| !holds(condition, &document)) {
        return (Updated::default(), None);
    }
    let sum = apply(&mut document, changes);
    let applied = true;
    (Updated { applied, sum }, Some(Value::from(document)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_document_counts_as_empty_and_a_refused_update_changes_nothing() {
        let add = [Change::add("n", 2)];
        let missing = Condition::Absent(Path::attr("n"));
        let done = |n: i64, sum| {
            let updated = Updated { applied: true, sum };
            (updated, Some(Value::map([("n", Value::Int(n))])))
        };
        let (_, two) = done(2, None);
        assert_eq!(updated(None, Some(&missing), &add), done(2, Some(2)));
        assert_eq!(updated(two.as_ref(), None, &add), done(4, Some(4)));
        let set = [Change::set("n", 3)];
        assert_eq!(updated(Some(&Value::Null), None, &set), done(3, None));
        let refused = updated(two.as_ref(), Some(&missing), &add);
        assert_eq!(refused, (Updated::default(), None));
    }

    #[test]
    fn unchanged_tells_a_missing_document_from_an_empty_one() {
        let item = |document| Item::from([(Name::from(VALUE), document)]);
        let one = Value::Int(1);
        for (seen, now, expected) in [
            (None, Item::new(), true),
            (None, item(Value::Null), false),
            (Some(&Value::Null), Item::new(), false),
            (Some(&one), item(Value::Int(1)), true),
            (Some(&one), item(Value::Int(2)), false),
        ] {
            assert_eq!(holds(&unchanged(seen), &now), expected, "{seen:?} {now:?}");
        }
    }

    #[test]
    fn rows_are_items_with_a_key_and_a_document() {
        let item = |fields: &[(&str, Value)]| -> Item {
            let fields = fields.iter().cloned();
            fields.map(|(at, value)| (Name::from(at), value)).collect()
        };
        let items = vec![
            item(&[(KEY, Value::str("b")), (VALUE, Value::Null)]),
            item(&[(KEY, Value::str("a")), (VALUE, Value::Int(1))]),
            item(&[(KEY, Value::str("c"))]),
            item(&[(VALUE, Value::Int(3))]),
        ];
        let expected = [("a", Value::Int(1)), ("b", Value::Null)];
        let expected = expected.map(|(key, value)| (Name::from(key), value));
        assert_eq!(rows(items), BTreeMap::from(expected));
    }
}
