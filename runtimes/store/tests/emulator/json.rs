//! Values, items and table definitions as DynamoDB's JSON.

use dynoxide::AttributeValue;
use serde_json::{Map as Json, Value as Any, json};
use std::sync::Arc;
use triptych_model::{Item, Name, Value};
use triptych_store::{KeyAttribute, KeyType, TableSchema};

fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::NULL(true),
        Value::Bool(flag) => AttributeValue::BOOL(*flag),
        Value::Int(number) => AttributeValue::N(number.to_string()),
        Value::Float(number) => AttributeValue::N(number.to_string()),
        Value::Str(text) => AttributeValue::S(text.to_string()),
        Value::Bytes(bytes) => AttributeValue::B(bytes.to_vec()),
        Value::List(list) => AttributeValue::L(list.iter().map(attribute).collect()),
        Value::Map(map) => AttributeValue::M(
            map.iter()
                .map(|(name, value)| (name.to_string(), attribute(value)))
                .collect(),
        ),
    }
}

fn value(attribute: AttributeValue) -> Value {
    match attribute {
        AttributeValue::NULL(_) => Value::Null,
        AttributeValue::BOOL(flag) => Value::Bool(flag),
        AttributeValue::N(text) => match text.parse::<i64>() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::Float(text.parse().expect("a number")),
        },
        AttributeValue::S(text) => Value::from(text),
        AttributeValue::B(bytes) => Value::Bytes(Arc::from(bytes)),
        AttributeValue::L(list) => Value::list(list.into_iter().map(value)),
        AttributeValue::M(map) => Value::map(map.into_iter().map(|(name, v)| (name, value(v)))),
        other => panic!("no runtime writes {other:?}"),
    }
}

pub(crate) fn json_value(value: &Value) -> Any {
    serde_json::to_value(attribute(value)).expect("values are JSON")
}

pub(crate) fn json_item(item: &Item) -> Any {
    Any::Object(
        item.iter()
            .map(|(name, value)| (name.to_string(), json_value(value)))
            .collect(),
    )
}

pub(crate) fn read_item(json: &Any) -> Item {
    let members = json.as_object().expect("an item is an object");
    members
        .iter()
        .map(|(name, json)| {
            let attribute = serde_json::from_value(json.clone()).expect("an attribute value");
            (Name::from(name.as_str()), value(attribute))
        })
        .collect()
}

pub(crate) fn opt_item(json: &Any, member: &str) -> Option<Item> {
    json.get(member)
        .filter(|json| !json.is_null())
        .map(read_item)
}

pub(crate) fn object(json: Any) -> Json<String, Any> {
    match json {
        Any::Object(members) => members,
        other => panic!("not an object: {other}"),
    }
}

pub(crate) fn create(schema: &TableSchema) -> Any {
    let mut attributes = std::collections::BTreeMap::new();
    let mut keys = |hash: &KeyAttribute, range: Option<&KeyAttribute>| {
        let mut list = Vec::new();
        for (role, key) in std::iter::once(("HASH", hash)).chain(range.map(|key| ("RANGE", key))) {
            let kind = match key.kind {
                KeyType::Str => "S",
                KeyType::Number => "N",
            };
            attributes.insert(key.name.to_string(), kind);
            list.push(json!({ "AttributeName": &*key.name, "KeyType": role }));
        }
        list
    };
    let own = keys(&schema.hash, schema.range.as_ref());
    let indexes: Vec<Any> = schema
        .indexes
        .iter()
        .map(|index| {
            let kind = if index.keys_only { "KEYS_ONLY" } else { "ALL" };
            json!({
                "IndexName": &*index.name,
                "KeySchema": keys(&index.hash, index.range.as_ref()),
                "Projection": { "ProjectionType": kind },
            })
        })
        .collect();
    let attributes: Vec<Any> = attributes
        .iter()
        .map(|(name, kind)| json!({ "AttributeName": name, "AttributeType": kind }))
        .collect();
    let mut body = json!({
        "TableName": &*schema.name,
        "KeySchema": own,
        "AttributeDefinitions": attributes,
        "BillingMode": "PAY_PER_REQUEST",
    });
    if !indexes.is_empty() {
        body["GlobalSecondaryIndexes"] = json!(indexes);
    }
    body
}
