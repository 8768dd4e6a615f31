//! What DynamoDB refuses before it looks at an item: sizes, types, depths and paths.

use crate::{Key, KeyAttribute, KeyType, StoreError, TableSchema};
use triptych_model::{Action, Comparison, Condition, Item, Name, Operand, Path, Segment, Value};

/// The largest item, attribute names included.
pub(crate) const MAX_ITEM: usize = 400 * 1024;
const MAX_HASH: usize = 2048;
const MAX_RANGE: usize = 1024;
/// How deep lists and maps may be nested in an item.
pub(crate) const MAX_DEPTH: usize = 32;
/// DynamoDB's numbers reach from 1e-130 to 9.99…e125.
const MAX_NUMBER: f64 = 1e126;
const MIN_NUMBER: f64 = 1e-130;

const EMPTY_KEY: &str = "is an empty string";

pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError::Validation(message.into()))
}

/// How far down the innermost value is: 0 of a scalar or of something empty.
pub(crate) fn depth(value: &Value) -> usize {
    match value {
        Value::List(items) => items.iter().map(|item| 1 + depth(item)).max().unwrap_or(0),
        Value::Map(map) => map.values().map(|item| 1 + depth(item)).max().unwrap_or(0),
        _ => 0,
    }
}

/// A value as it may stand in an item or an expression.
pub(crate) fn value(value: &Value) -> Result<(), StoreError> {
    shape(value)?;
    match value {
        Value::List(_) | Value::Map(_) if depth(value) >= MAX_DEPTH => {
            invalid("nesting levels have exceeded the supported limit")
        }
        _ => Ok(()),
    }
}

fn shape(value: &Value) -> Result<(), StoreError> {
    match value {
        Value::Float(number) => float(*number),
        Value::List(items) => items.iter().try_for_each(shape),
        Value::Map(map) => map.iter().try_for_each(|(field, value)| {
            name(field)?;
            shape(value)
        }),
        _ => Ok(()),
    }
}

pub(crate) fn float(number: f64) -> Result<(), StoreError> {
    let size = number.abs();
    if size == 0.0 || (MIN_NUMBER..MAX_NUMBER).contains(&size) {
        Ok(())
    } else {
        invalid(format!("{number} is not a number that can be stored"))
    }
}

fn name(name: &Name) -> Result<(), StoreError> {
    if name.is_empty() {
        invalid("an attribute name is empty")
    } else {
        Ok(())
    }
}

/// Every attribute of an item to put.
pub(crate) fn item(item: &Item) -> Result<(), StoreError> {
    item.iter().try_for_each(|(field, content)| {
        name(field)?;
        value(content)
    })
}

fn path(path: &Path) -> Result<(), StoreError> {
    path.segments()
        .iter()
        .try_for_each(|segment| match segment {
            Segment::Field(field) => name(field),
            Segment::Index(_) => Ok(()),
        })
}

/// A condition or filter, before any item is looked at.
pub(crate) fn condition(tree: &Condition) -> Result<(), StoreError> {
    match tree {
        Condition::Exists(at) | Condition::Absent(at) => path(at),
        Condition::Compare(at, comparison, operand) => {
            path(at)?;
            value(operand)?;
            let ordered = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
            let orderable = matches!(
                operand,
                Value::Str(_) | Value::Bytes(_) | Value::Int(_) | Value::Float(_)
            );
            if ordered && !orderable {
                return invalid("only strings, numbers and binary values have an order");
            }
            Ok(())
        }
        Condition::All(conditions) | Condition::Any(conditions) => {
            conditions.iter().try_for_each(condition)
        }
        Condition::Not(inner) => condition(inner),
    }
}

/// An update, before any item is looked at.
pub(crate) fn update(actions: &[Action]) -> Result<(), StoreError> {
    for action in actions {
        match action {
            Action::Set(target, operand) => {
                path(target)?;
                set_operand(operand)?;
            }
            Action::Remove(target) => path(target)?,
        }
    }
    disjoint(actions.iter().map(target), true)
}

pub(crate) fn target(action: &Action) -> &Path {
    match action {
        Action::Set(path, _) | Action::Remove(path) => path,
    }
}

fn set_operand(operand: &Operand) -> Result<(), StoreError> {
    match operand {
        Operand::Value(content) => value(content),
        Operand::Path(from) => path(from),
        Operand::PathOr(from, default) => {
            path(from)?;
            value(default)
        }
        Operand::Plus(term, _) => match &**term {
            Operand::Value(Value::Int(_) | Value::Float(_))
            | Operand::Path(_)
            | Operand::PathOr(..) => set_operand(term),
            _ => invalid("only a number, a path or a path with a default can be added to"),
        },
        Operand::Append(first, second) => {
            [first, second]
                .into_iter()
                .try_for_each(|list| match &**list {
                    Operand::Plus(..) => invalid("a sum is no list"),
                    Operand::Value(content) if content.as_list().is_none() => {
                        invalid("list_append takes lists")
                    }
                    _ => set_operand(list),
                })
        }
    }
}

/// A projection: at least one path, and none inside another.
pub(crate) fn projection(paths: &[Path]) -> Result<(), StoreError> {
    if paths.is_empty() {
        return invalid("an empty projection");
    }
    paths.iter().try_for_each(path)?;
    disjoint(paths.iter(), false)
}

/// No path is a prefix of another; in an update, nor do two paths take the same thing for a list
/// and for a map.
fn disjoint<'p>(
    paths: impl Iterator<Item = &'p Path> + Clone,
    conflicts: bool,
) -> Result<(), StoreError> {
    let mut rest = paths.clone();
    for a in paths {
        rest.next();
        for b in rest.clone() {
            let (a, b) = (a.segments(), b.segments());
            let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
            match (a.get(common), b.get(common)) {
                (Some(Segment::Field(_)), Some(Segment::Index(_)))
                | (Some(Segment::Index(_)), Some(Segment::Field(_)))
                    if conflicts =>
                {
                    return invalid("two document paths conflict with each other");
                }
                (Some(_), Some(_)) => {}
                _ => return invalid("two document paths overlap with each other"),
            }
        }
    }
    Ok(())
}

/// A value as the key attribute that it is for.
pub(crate) fn key_value(
    attribute: &KeyAttribute,
    value: &Value,
    limit: usize,
) -> Result<(), StoreError> {
    match (attribute.kind, value) {
        (KeyType::Number, Value::Int(_)) => Ok(()),
        (KeyType::Number, Value::Float(number)) => float(*number),
        (KeyType::Str, Value::Str(text)) if text.is_empty() => {
            invalid(format!("the key attribute {} {EMPTY_KEY}", attribute.name))
        }
        (KeyType::Str, Value::Str(text)) if text.len() > limit => invalid(format!(
            "the key attribute {} is over {limit} bytes",
            attribute.name
        )),
        (KeyType::Str, Value::Str(_)) => Ok(()),
        _ => invalid(format!(
            "the key attribute {} has the wrong type",
            attribute.name
        )),
    }
}

pub(crate) fn hash_value(attribute: &KeyAttribute, value: &Value) -> Result<(), StoreError> {
    key_value(attribute, value, MAX_HASH)
}

pub(crate) fn range_value(attribute: &KeyAttribute, value: &Value) -> Result<(), StoreError> {
    key_value(attribute, value, MAX_RANGE)
}

/// A key of a table.
pub(crate) fn key(schema: &TableSchema, key: &Key) -> Result<(), StoreError> {
    if schema.range.is_some() != key.range.is_some() {
        return invalid("the key does not match the schema");
    }
    hash_value(&schema.hash, &key.hash)?;
    match (&schema.range, &key.range) {
        (Some(attribute), Some(value)) => range_value(attribute, value),
        _ => Ok(()),
    }
}

/// The key of an item to put.
pub(crate) fn key_of(schema: &TableSchema, item: &Item) -> Result<Key, StoreError> {
    let Some(hash) = item.get(&schema.hash.name) else {
        return invalid(format!("the key attribute {} is missing", schema.hash.name));
    };
    let range = match &schema.range {
        None => None,
        Some(attribute) => match item.get(&attribute.name) {
            None => return invalid(format!("the key attribute {} is missing", attribute.name)),
            some => some.cloned(),
        },
    };
    let found = Key {
        hash: hash.clone(),
        range,
    };
    key(schema, &found)?;
    Ok(found)
}

/// Whether a refusal is because of an empty key; that refuses a whole transaction, not a part.
pub(crate) fn is_empty_key(error: &StoreError) -> bool {
    matches!(error, StoreError::Validation(text) if text.ends_with(EMPTY_KEY))
}

/// A schema: names not empty, key attributes different, index names unique.
pub(crate) fn schema(schema: &TableSchema) -> Result<(), StoreError> {
    let fits = |name: &Name| {
        (3..=255).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    if !fits(&schema.name) {
        return invalid(format!("{:?} is not a table name", schema.name));
    }
    keys_differ(&schema.hash, schema.range.as_ref())?;
    let mut kinds: Vec<&KeyAttribute> =
        std::iter::once(&schema.hash).chain(&schema.range).collect();
    for (at, index) in schema.indexes.iter().enumerate() {
        if !fits(&index.name) {
            return invalid(format!("{:?} is not an index name", index.name));
        }
        if schema.indexes[..at]
            .iter()
            .any(|other| other.name == index.name)
        {
            return invalid(format!("two indexes are named {:?}", index.name));
        }
        keys_differ(&index.hash, index.range.as_ref())?;
        kinds.extend(std::iter::once(&index.hash).chain(&index.range));
    }
    for (at, a) in kinds.iter().enumerate() {
        if kinds[..at]
            .iter()
            .any(|b| a.name == b.name && a.kind != b.kind)
        {
            return invalid(format!("the attribute {} has two types", a.name));
        }
    }
    Ok(())
}

fn keys_differ(hash: &KeyAttribute, range: Option<&KeyAttribute>) -> Result<(), StoreError> {
    name(&hash.name)?;
    match range {
        Some(range) if range.name == hash.name => invalid("hash and range attribute are the same"),
        Some(range) => name(&range.name),
        None => Ok(()),
    }
}
