//! Values, keys and tables between the store's model and the SDK's.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use triptych_model::{Item, Map, Name, Value};
use triptych_store::{Key, KeyAttribute, StoreError, TableSchema};

/// What the SDK calls an item or a key.
pub(crate) type Attributes = HashMap<String, AttributeValue>;

pub(crate) fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Int(number) => AttributeValue::N(number.to_string()),
        // Rust prints the shortest text that reads back as the same number.
        Value::Float(number) => AttributeValue::N(number.to_string()),
        Value::Str(text) => AttributeValue::S(text.to_string()),
        Value::Bytes(bytes) => AttributeValue::B(Blob::new(bytes.to_vec())),
        Value::List(list) => AttributeValue::L(list.iter().map(attribute).collect()),
        Value::Map(map) => AttributeValue::M(attributes(map)),
    }
}

pub(crate) fn attributes(map: &Map) -> Attributes {
    map.iter()
        .map(|(name, value)| (name.to_string(), attribute(value)))
        .collect()
}

pub(crate) fn values(values: &BTreeMap<String, Value>) -> Attributes {
    values
        .iter()
        .map(|(name, value)| (name.clone(), attribute(value)))
        .collect()
}

/// # Errors
/// [`StoreError::Unavailable`] for sets and for numbers that fit neither an integer nor a float:
/// no runtime writes these, so the table is somebody else's.
pub(crate) fn value(attribute: &AttributeValue) -> Result<Value, StoreError> {
    Ok(match attribute {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(flag) => Value::Bool(*flag),
        AttributeValue::N(text) => number(text)?,
        AttributeValue::S(text) => Value::str(text),
        AttributeValue::B(bytes) => Value::Bytes(Arc::from(bytes.as_ref())),
        AttributeValue::L(list) => {
            Value::List(Arc::new(list.iter().map(value).collect::<Result<_, _>>()?))
        }
        AttributeValue::M(map) => Value::Map(Arc::new(item(map)?)),
        other => {
            return Err(StoreError::Unavailable(format!(
                "not a value of ours: {other:?}"
            )));
        }
    })
}

fn number(text: &str) -> Result<Value, StoreError> {
    if let Ok(number) = text.parse() {
        return Ok(Value::Int(number));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Value::Float(number)),
        _ => Err(StoreError::Unavailable(format!(
            "not a number of ours: {text}"
        ))),
    }
}

pub(crate) fn item(attributes: &Attributes) -> Result<Item, StoreError> {
    attributes
        .iter()
        .map(|(name, attribute)| Ok((Name::from(name.as_str()), value(attribute)?)))
        .collect()
}

/// A key as the SDK wants it. One that does not fit the schema is refused here, because there is
/// no way to write it down.
pub(crate) fn key(schema: &TableSchema, key: &Key) -> Result<Attributes, StoreError> {
    let mut attributes = Attributes::new();
    attributes.insert(schema.hash.name.to_string(), attribute(&key.hash));
    match (&schema.range, &key.range) {
        (Some(range), Some(value)) => {
            attributes.insert(range.name.to_string(), attribute(value));
        }
        (None, None) => {}
        _ => {
            return Err(StoreError::Validation(
                "the key does not match the schema".to_owned(),
            ));
        }
    }
    Ok(attributes)
}

/// The key of an item that came back, to find out which one was meant.
pub(crate) fn key_of(schema: &TableSchema, item: &Item) -> Option<Key> {
    let value = |attribute: &KeyAttribute| item.get(&attribute.name).cloned();
    let range = match &schema.range {
        Some(range) => Some(value(range)?),
        None => None,
    };
    Some(Key {
        hash: value(&schema.hash)?,
        range,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_survives_the_way_there_and_back() {
        let values = [
            Value::Null,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Float(0.1),
            Value::Float(1e100),
            Value::str("häus"),
            Value::Bytes(Arc::from([0_u8, 255])),
            Value::list([Value::Int(1), Value::map([("x", Value::Null)])]),
        ];
        for known in values {
            assert_eq!(value(&attribute(&known)), Ok(known));
        }
        let set = AttributeValue::Ss(vec!["a".to_owned()]);
        assert!(value(&set).is_err());
    }
}
