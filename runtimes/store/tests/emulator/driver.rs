//! Sends a request to the emulator as a DynamoDB client would, and reads its answer back.

use crate::json::{create, json_item, json_value, object, opt_item, read_item};
use dynoxide::{Database, DynoxideError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map as Json, Value as Any, json};
use triptych_model::{Condition, Item, Name};
use triptych_store::print::Expressions;
use triptych_store::{
    Cancellation, Key, KeyAttribute, Request, Response, Return, StoreError, TableSchema, Write,
};

/// The emulator with its tables.
pub(crate) struct Emulator {
    database: Database,
    schemas: Vec<TableSchema>,
}

/// An answer, and the capacity that was reported with it.
pub(crate) struct Answer {
    pub(crate) result: Result<Response, StoreError>,
    pub(crate) capacity: Option<f64>,
}

fn send<Q: DeserializeOwned, A: Serialize>(
    body: Any,
    operation: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> Result<Any, StoreError> {
    // Limits on the request itself are found while it is read.
    let request: Q =
        serde_json::from_value(body).map_err(|error| StoreError::Validation(error.to_string()))?;
    match operation(request) {
        Ok(answer) => Ok(serde_json::to_value(answer).expect("answers are JSON")),
        Err(error) => Err(kind(error)),
    }
}

fn kind(error: DynoxideError) -> StoreError {
    match error {
        DynoxideError::ResourceNotFoundException(text) => StoreError::NoSuchTable(text),
        DynoxideError::ResourceInUseException(text) => StoreError::TableExists(text),
        DynoxideError::ValidationException(text)
        | DynoxideError::KeyEmptyValueValidation(text)
        | DynoxideError::EnvelopedValidation(text) => StoreError::Validation(text),
        DynoxideError::ConditionalCheckFailedException(..) => StoreError::ConditionFailed,
        DynoxideError::TransactionCanceledException(_, reasons) => StoreError::Cancelled(
            reasons
                .iter()
                .map(|reason| match reason.code.as_str() {
                    "None" => Cancellation::None,
                    "ConditionalCheckFailed" => Cancellation::ConditionFailed,
                    "ValidationError" => Cancellation::Validation,
                    other => panic!("unexpected reason {other}"),
                })
                .collect(),
        ),
        other => StoreError::Unavailable(format!("{other:?}")),
    }
}

fn capacity(answer: &Any) -> Option<f64> {
    let one = |json: &Any| json.get("CapacityUnits").and_then(Any::as_f64);
    match answer.get("ConsumedCapacity")? {
        Any::Array(tables) => Some(tables.iter().filter_map(one).sum()),
        single => one(single),
    }
}

fn put_expressions(body: &mut Json<String, Any>, expressions: Expressions) {
    let Expressions {
        condition,
        update,
        projection,
        filter,
        key_condition,
        names,
        values,
        ..
    } = expressions;
    let texts = [
        ("ConditionExpression", condition),
        ("UpdateExpression", update),
        ("ProjectionExpression", projection),
        ("FilterExpression", filter),
        ("KeyConditionExpression", key_condition),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body.insert(name.to_owned(), json!(text));
        }
    }
    if !names.is_empty() {
        body.insert("ExpressionAttributeNames".to_owned(), json!(names));
    }
    if !values.is_empty() {
        let values = values
            .iter()
            .map(|(name, value)| (name.clone(), json_value(value)));
        body.insert(
            "ExpressionAttributeValues".to_owned(),
            Any::Object(values.collect()),
        );
    }
}

impl Emulator {
    pub(crate) fn new(schemas: Vec<TableSchema>) -> Self {
        let database = Database::memory().expect("a database in memory");
        for schema in &schemas {
            let result = send(create(schema), |request| database.create_table(request));
            result.expect("the table is created");
        }
        Emulator { database, schemas }
    }

    fn schema(&self, table: &str) -> TableSchema {
        let known = self.schemas.iter().find(|schema| &*schema.name == table);
        known
            .cloned()
            .unwrap_or_else(|| TableSchema::new(table, "k"))
    }

    fn key(&self, table: &str, key: &Key) -> Any {
        let schema = self.schema(table);
        let mut item = Item::new();
        item.insert(schema.hash.name, key.hash.clone());
        if let Some(range) = &key.range {
            let name = schema.range.map_or(Name::from("extra"), |range| range.name);
            item.insert(name, range.clone());
        }
        json_item(&item)
    }

    /// The body of one write, as single operations and transactions have it.
    fn write(
        &self,
        table: &Name,
        target: (&'static str, Any),
        condition: Option<&Condition>,
        update: Option<&[triptych_model::Action]>,
    ) -> Json<String, Any> {
        let mut body = object(json!({ "TableName": &**table, target.0: target.1 }));
        let mut expressions = Expressions::new().with_condition(condition);
        if let Some(update) = update {
            expressions = expressions.with_update(update);
        }
        put_expressions(&mut body, expressions);
        body
    }

    fn txn_part(&self, write: &Write) -> Any {
        match write {
            Write::Put {
                table,
                item,
                condition,
            } => {
                let target = ("Item", json_item(item));
                json!({ "Put": self.write(table, target, condition.as_ref(), None) })
            }
            Write::Update {
                table,
                key,
                update,
                condition,
            } => {
                let target = ("Key", self.key(table, key));
                let mut body = self.write(table, target, condition.as_ref(), Some(update));
                body.entry("UpdateExpression").or_insert(json!(""));
                json!({ "Update": body })
            }
            Write::Delete {
                table,
                key,
                condition,
            } => {
                let target = ("Key", self.key(table, key));
                json!({ "Delete": self.write(table, target, condition.as_ref(), None) })
            }
            Write::Check {
                table,
                key,
                condition,
            } => {
                let target = ("Key", self.key(table, key));
                let mut body = self.write(table, target, None, None);
                put_expressions(&mut body, Expressions::new().with_check(condition));
                json!({ "ConditionCheck": body })
            }
        }
    }

    pub(crate) fn call(&self, request: &Request) -> Answer {
        let answer = self.raw(request);
        let capacity = answer.as_ref().ok().and_then(capacity);
        Answer {
            result: answer.map(|json| self.response(request, &json)),
            capacity,
        }
    }

    fn raw(&self, request: &Request) -> Result<Any, StoreError> {
        let db = &self.database;
        let total = |mut body: Json<String, Any>| {
            body.insert("ReturnConsumedCapacity".to_owned(), json!("TOTAL"));
            Any::Object(body)
        };
        match request {
            Request::Get {
                table,
                key,
                projection,
                consistent,
            } => {
                let mut body = object(json!({
                    "TableName": &**table, "Key": self.key(table, key), "ConsistentRead": consistent,
                }));
                put_expressions(&mut body, Expressions::new().with_projection(projection));
                send(total(body), |request| db.get_item(request))
            }
            Request::Put {
                table,
                item,
                condition,
            } => {
                let body = self.write(table, ("Item", json_item(item)), condition.as_ref(), None);
                send(total(body), |request| db.put_item(request))
            }
            Request::Update {
                table,
                key,
                update,
                condition,
                returns,
            } => {
                let target = ("Key", self.key(table, key));
                let mut body = self.write(table, target, condition.as_ref(), Some(update));
                let returns = match returns {
                    Return::None => "NONE",
                    Return::AllNew => "ALL_NEW",
                    Return::AllOld => "ALL_OLD",
                };
                body.insert("ReturnValues".to_owned(), json!(returns));
                send(total(body), |request| db.update_item(request))
            }
            Request::Delete {
                table,
                key,
                condition,
            } => {
                let target = ("Key", self.key(table, key));
                let body = self.write(table, target, condition.as_ref(), None);
                send(total(body), |request| db.delete_item(request))
            }
            Request::Query { .. } | Request::Scan { .. } => {
                let body = total(self.page(request));
                if matches!(request, Request::Query { .. }) {
                    send(body, |request| db.query(request))
                } else {
                    send(body, |request| db.scan(request))
                }
            }
            Request::BatchGet { keys, consistent } => {
                let mut tables = Json::new();
                for (table, key) in keys {
                    let entry = tables
                        .entry(&**table)
                        .or_insert_with(|| json!({ "Keys": [], "ConsistentRead": consistent }));
                    entry["Keys"]
                        .as_array_mut()
                        .expect("a list")
                        .push(self.key(table, key));
                }
                let body = object(json!({ "RequestItems": tables }));
                send(total(body), |request| db.batch_get_item(request))
            }
            Request::BatchWrite { writes } => {
                let mut tables = Json::new();
                for write in writes {
                    let (table, part) = match write {
                        Write::Put { table, item, .. } => {
                            (table, json!({ "PutRequest": { "Item": json_item(item) } }))
                        }
                        Write::Delete { table, key, .. } => (
                            table,
                            json!({ "DeleteRequest": { "Key": self.key(table, key) } }),
                        ),
                        Write::Update { .. } | Write::Check { .. } => {
                            return Err(StoreError::Validation("cannot be sent".to_owned()));
                        }
                    };
                    let entry = tables.entry(&**table).or_insert_with(|| json!([]));
                    entry.as_array_mut().expect("a list").push(part);
                }
                let body = object(json!({ "RequestItems": tables }));
                send(total(body), |request| db.batch_write_item(request))
            }
            Request::TransactGet { keys } => {
                let gets = keys.iter().map(|(table, key)| {
                    json!({ "Get": { "TableName": &**table, "Key": self.key(table, key) } })
                });
                let body = object(json!({ "TransactItems": gets.collect::<Vec<_>>() }));
                send(total(body), |request| db.transact_get_items(request))
            }
            Request::TransactWrite { writes } => {
                let parts: Vec<Any> = writes.iter().map(|write| self.txn_part(write)).collect();
                let body = object(json!({ "TransactItems": parts }));
                send(total(body), |request| db.transact_write_items(request))
            }
        }
    }

    fn page(&self, request: &Request) -> Json<String, Any> {
        let (table, filter, projection, consistent, limit, start) = match request {
            Request::Query {
                table,
                filter,
                projection,
                consistent,
                limit,
                start,
                ..
            }
            | Request::Scan {
                table,
                filter,
                projection,
                consistent,
                limit,
                start,
            } => (table, filter, projection, consistent, limit, start),
            other => panic!("no pages in {other:?}"),
        };
        let mut body = object(json!({ "TableName": &**table, "ConsistentRead": consistent }));
        let mut expressions = Expressions::new();
        if let Request::Query {
            index,
            hash,
            range_below,
            ..
        } = request
        {
            let schema = self.schema(table);
            let found = schema
                .indexes
                .iter()
                .find(|known| Some(&known.name) == index.as_ref());
            let (own, range) = match found {
                Some(index) => (index.hash.clone(), index.range.clone()),
                None => (schema.hash.clone(), schema.range.clone()),
            };
            let range = range.unwrap_or_else(|| KeyAttribute::str("extra"));
            let below = range_below.as_ref().map(|value| (&range, value));
            expressions = expressions.with_key((&own, hash), below);
            if let Some(index) = index {
                body.insert("IndexName".to_owned(), json!(&**index));
            }
        }
        let expressions = expressions
            .with_filter(filter.as_ref())
            .with_projection(projection);
        put_expressions(&mut body, expressions);
        if let Some(limit) = limit {
            body.insert("Limit".to_owned(), json!(limit));
        }
        if let Some(start) = start {
            body.insert("ExclusiveStartKey".to_owned(), json_item(start));
        }
        body
    }

    fn response(&self, request: &Request, json: &Any) -> Response {
        let list = |json: &Any, member: &str| -> Vec<Any> {
            json.get(member)
                .and_then(Any::as_array)
                .cloned()
                .unwrap_or_default()
        };
        match request {
            Request::Get { .. } => Response::Item(opt_item(json, "Item")),
            Request::Put { .. } | Request::Delete { .. } | Request::Update { .. } => {
                Response::Item(opt_item(json, "Attributes"))
            }
            Request::Query { .. } | Request::Scan { .. } => Response::Page {
                items: list(json, "Items").iter().map(read_item).collect(),
                next: opt_item(json, "LastEvaluatedKey"),
            },
            Request::BatchGet { keys, .. } => Response::Items(
                keys.iter()
                    .map(|(table, key)| {
                        let found = list(&json["Responses"], table);
                        let wanted = read_item(&self.key(table, key));
                        found.iter().map(read_item).find(|item| {
                            wanted
                                .iter()
                                .all(|(name, value)| item.get(name) == Some(value))
                        })
                    })
                    .collect(),
            ),
            Request::TransactGet { .. } => Response::Items(
                list(json, "Responses")
                    .iter()
                    .map(|one| opt_item(one, "Item"))
                    .collect(),
            ),
            Request::BatchWrite { .. } | Request::TransactWrite { .. } => Response::Done,
        }
    }
}
