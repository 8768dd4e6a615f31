//! One request: sent with the SDK, and its answer read.

use crate::Inner;
use crate::convert::{attributes, item, key, key_of, values};
use crate::error::{plain, transact_get, transact_write};
use crate::table::incomplete;
use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, DeleteRequest, Get, KeysAndAttributes, Put, PutRequest,
    ReturnConsumedCapacity, ReturnValue, TransactGetItem, TransactWriteItem, Update, WriteRequest,
};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use triptych_model::{Item, Name};
use triptych_store::print::Expressions;
use triptych_store::{Key, Request, Response, Return, StoreError, Write};

const TOTAL: ReturnConsumedCapacity = ReturnConsumedCapacity::Total;
/// How often the unprocessed rest of a batch is sent again, with a doubled pause each time.
const BATCH_ATTEMPTS: u32 = 8;
const BATCH_PAUSE: Duration = Duration::from_millis(25);

type Answer = Result<Response, StoreError>;
type Names = Option<HashMap<String, String>>;
type Values = Option<HashMap<String, aws_sdk_dynamodb::types::AttributeValue>>;

/// Placeholders as the SDK wants them; none must not be sent as an empty map.
fn placeholders(printed: &Expressions) -> (Names, Values) {
    let names = (!printed.names.is_empty()).then(|| {
        printed
            .names
            .iter()
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect()
    });
    let constants = (!printed.values.is_empty()).then(|| values(&printed.values));
    (names, constants)
}

fn optional(found: Option<&crate::convert::Attributes>) -> Result<Option<Item>, StoreError> {
    found.map(item).transpose()
}

impl Inner {
    pub(crate) async fn send(&self, request: &Request) -> Answer {
        match request {
            Request::Get {
                table,
                key: wanted,
                projection,
                consistent,
            } => {
                let schema = self.schema(table).await?;
                let printed = Expressions::new().with_projection(projection);
                let answer = self
                    .client
                    .get_item()
                    .table_name(&**table)
                    .set_key(Some(key(&schema, wanted)?))
                    .consistent_read(*consistent)
                    .set_expression_attribute_names(placeholders(&printed).0)
                    .set_projection_expression(printed.projection)
                    .return_consumed_capacity(TOTAL)
                    .send()
                    .await
                    .map_err(|error| plain(error, table))?;
                self.consumed(false, answer.consumed_capacity());
                Ok(Response::Item(optional(answer.item())?))
            }
            Request::Put {
                table,
                item: content,
                condition,
            } => {
                let printed = Expressions::new().with_condition(condition.as_ref());
                let (names, constants) = placeholders(&printed);
                let answer = self
                    .client
                    .put_item()
                    .table_name(&**table)
                    .set_item(Some(attributes(content)))
                    .set_condition_expression(printed.condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(constants)
                    .return_consumed_capacity(TOTAL)
                    .send()
                    .await
                    .map_err(|error| plain(error, table))?;
                self.consumed(true, answer.consumed_capacity());
                Ok(Response::Item(None))
            }
            Request::Update {
                table,
                key: wanted,
                update,
                condition,
                returns,
            } => {
                let schema = self.schema(table).await?;
                let printed = Expressions::new()
                    .with_condition(condition.as_ref())
                    .with_update(update);
                let (names, constants) = placeholders(&printed);
                let returns = match returns {
                    Return::None => ReturnValue::None,
                    Return::AllNew => ReturnValue::AllNew,
                    Return::AllOld => ReturnValue::AllOld,
                };
                let answer = self
                    .client
                    .update_item()
                    .table_name(&**table)
                    .set_key(Some(key(&schema, wanted)?))
                    .set_update_expression(printed.update)
                    .set_condition_expression(printed.condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(constants)
                    .return_values(returns)
                    .return_consumed_capacity(TOTAL)
                    .send()
                    .await
                    .map_err(|error| plain(error, table))?;
                self.consumed(true, answer.consumed_capacity());
                Ok(Response::Item(optional(answer.attributes())?))
            }
            Request::Delete {
                table,
                key: wanted,
                condition,
            } => {
                let schema = self.schema(table).await?;
                let printed = Expressions::new().with_condition(condition.as_ref());
                let (names, constants) = placeholders(&printed);
                let answer = self
                    .client
                    .delete_item()
                    .table_name(&**table)
                    .set_key(Some(key(&schema, wanted)?))
                    .set_condition_expression(printed.condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(constants)
                    .return_consumed_capacity(TOTAL)
                    .send()
                    .await
                    .map_err(|error| plain(error, table))?;
                self.consumed(true, answer.consumed_capacity());
                Ok(Response::Item(None))
            }
            Request::Query { .. } => self.query(request).await,
            Request::Scan {
                table,
                filter,
                projection,
                consistent,
                limit,
                start,
            } => {
                let printed = Expressions::new()
                    .with_filter(filter.as_ref())
                    .with_projection(projection);
                let (names, constants) = placeholders(&printed);
                let answer = self
                    .client
                    .scan()
                    .table_name(&**table)
                    .consistent_read(*consistent)
                    .set_limit(limit.map(clamp))
                    .set_exclusive_start_key(start.as_ref().map(attributes))
                    .set_filter_expression(printed.filter)
                    .set_projection_expression(printed.projection)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(constants)
                    .return_consumed_capacity(TOTAL)
                    .send()
                    .await
                    .map_err(|error| plain(error, table))?;
                self.consumed(false, answer.consumed_capacity());
                let items = answer.items().iter().map(item).collect::<Result<_, _>>()?;
                Ok(Response::Page {
                    items,
                    next: optional(answer.last_evaluated_key())?,
                })
            }
            Request::BatchGet { keys, consistent } => self.batch_get(keys, *consistent).await,
            Request::BatchWrite { writes } => self.batch_write(writes).await,
            Request::TransactGet { keys } => self.transact_get(keys).await,
            Request::TransactWrite { writes } => self.transact_write(writes).await,
        }
    }

    async fn query(&self, request: &Request) -> Answer {
        let Request::Query {
            table,
            index,
            hash,
            range_below,
            filter,
            projection,
            consistent,
            limit,
            start,
        } = request
        else {
            return Err(StoreError::Validation("not a query".to_owned()));
        };
        let schema = self.schema(table).await?;
        let known = schema
            .indexes
            .iter()
            .find(|known| Some(&known.name) == index.as_ref());
        let (own, range) = match known {
            Some(index) => (&index.hash, index.range.as_ref()),
            None => (&schema.hash, schema.range.as_ref()),
        };
        let below = match (range_below, range) {
            (Some(value), Some(range)) => Some((range, value)),
            (Some(_), None) => {
                let message = "there is no range attribute to compare";
                return Err(StoreError::Validation(message.to_owned()));
            }
            (None, _) => None,
        };
        let printed = Expressions::new()
            .with_key((own, hash), below)
            .with_filter(filter.as_ref())
            .with_projection(projection);
        let (names, constants) = placeholders(&printed);
        let answer = self
            .client
            .query()
            .table_name(&**table)
            .set_index_name(index.as_ref().map(ToString::to_string))
            .consistent_read(*consistent)
            .set_limit(limit.map(clamp))
            .set_exclusive_start_key(start.as_ref().map(attributes))
            .set_key_condition_expression(printed.key_condition)
            .set_filter_expression(printed.filter)
            .set_projection_expression(printed.projection)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(constants)
            .return_consumed_capacity(TOTAL)
            .send()
            .await
            .map_err(|error| plain(error, table))?;
        self.consumed(false, answer.consumed_capacity());
        let items = answer.items().iter().map(item).collect::<Result<_, _>>()?;
        Ok(Response::Page {
            items,
            next: optional(answer.last_evaluated_key())?,
        })
    }

    async fn batch_get(&self, keys: &[(Name, Key)], consistent: bool) -> Answer {
        let mut wanted = BTreeMap::<&Name, Vec<_>>::new();
        for (table, one) in keys {
            let schema = self.schema(table).await?;
            wanted.entry(table).or_default().push(key(&schema, one)?);
        }
        let mut rest = HashMap::new();
        for (table, keys) in wanted {
            let keys = KeysAndAttributes::builder().set_keys(Some(keys));
            let keys = keys
                .consistent_read(consistent)
                .build()
                .map_err(incomplete)?;
            rest.insert(table.to_string(), keys);
        }
        let mut found = BTreeMap::<(Name, Key), Item>::new();
        for attempt in 0..BATCH_ATTEMPTS {
            let request = self.client.batch_get_item().set_request_items(Some(rest));
            let answer = request.return_consumed_capacity(TOTAL).send().await;
            let answer =
                answer.map_err(|error| plain(error, &tables(keys.iter().map(|k| &k.0))))?;
            self.consumed(false, answer.consumed_capacity());
            for (table, items) in answer.responses().into_iter().flatten() {
                let table = Name::from(table.as_str());
                let schema = self.schema(&table).await?;
                for content in items {
                    let content = item(content)?;
                    if let Some(key) = key_of(&schema, &content) {
                        found.insert((table.clone(), key), content);
                    }
                }
            }
            rest = answer.unprocessed_keys.unwrap_or_default();
            if rest.is_empty() {
                let items = keys.iter().map(|key| found.get(key).cloned()).collect();
                return Ok(Response::Items(items));
            }
            tokio::time::sleep(BATCH_PAUSE * 2_u32.pow(attempt)).await;
        }
        Err(StoreError::Throttled)
    }

    /// Puts and deletes can be repeated, so what is left over is sent again; but once a part of the
    /// batch has happened, giving up is no refusal any more.
    async fn batch_write(&self, writes: &[Write]) -> Answer {
        let mut rest = HashMap::<String, Vec<WriteRequest>>::new();
        for write in writes {
            let (table, request) = match write {
                Write::Put {
                    table,
                    item,
                    condition: None,
                } => {
                    let put = PutRequest::builder().set_item(Some(attributes(item)));
                    let put = put.build().map_err(incomplete)?;
                    (table, WriteRequest::builder().put_request(put).build())
                }
                Write::Delete {
                    table,
                    key: wanted,
                    condition: None,
                } => {
                    let schema = self.schema(table).await?;
                    let delete = DeleteRequest::builder().set_key(Some(key(&schema, wanted)?));
                    let delete = delete.build().map_err(incomplete)?;
                    (
                        table,
                        WriteRequest::builder().delete_request(delete).build(),
                    )
                }
                _ => {
                    let message = "a batch has puts and deletes without conditions only";
                    return Err(StoreError::Validation(message.to_owned()));
                }
            };
            rest.entry(table.to_string()).or_default().push(request);
        }
        let mut left = writes.len();
        for attempt in 0..BATCH_ATTEMPTS {
            let request = self.client.batch_write_item().set_request_items(Some(rest));
            let answer = request.return_consumed_capacity(TOTAL).send().await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    let error = plain(error, &tables(writes.iter().map(table_of)));
                    return Err(partly(left < writes.len(), error));
                }
            };
            self.consumed(true, answer.consumed_capacity());
            rest = answer.unprocessed_items.unwrap_or_default();
            left = rest.values().map(Vec::len).sum();
            if left == 0 {
                return Ok(Response::Done);
            }
            tokio::time::sleep(BATCH_PAUSE * 2_u32.pow(attempt)).await;
        }
        Err(partly(left < writes.len(), StoreError::Throttled))
    }

    async fn transact_get(&self, keys: &[(Name, Key)]) -> Answer {
        let mut gets = Vec::with_capacity(keys.len());
        for (table, wanted) in keys {
            let schema = self.schema(table).await?;
            let get = Get::builder()
                .table_name(&**table)
                .set_key(Some(key(&schema, wanted)?));
            let get = get.build().map_err(incomplete)?;
            gets.push(TransactGetItem::builder().get(get).build());
        }
        let request = self
            .client
            .transact_get_items()
            .set_transact_items(Some(gets));
        let answer = request.return_consumed_capacity(TOTAL).send().await;
        let answer =
            answer.map_err(|error| transact_get(error, &tables(keys.iter().map(|k| &k.0))))?;
        self.consumed(false, answer.consumed_capacity());
        let items = answer.responses().iter().map(|one| optional(one.item()));
        Ok(Response::Items(items.collect::<Result<_, _>>()?))
    }

    async fn transact_write(&self, writes: &[Write]) -> Answer {
        let mut parts = Vec::with_capacity(writes.len());
        for write in writes {
            parts.push(self.part(write).await?);
        }
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(parts));
        let answer = request.return_consumed_capacity(TOTAL).send().await;
        let answer =
            answer.map_err(|error| transact_write(error, &tables(writes.iter().map(table_of))))?;
        self.consumed(true, answer.consumed_capacity());
        Ok(Response::Done)
    }

    async fn part(&self, write: &Write) -> Result<TransactWriteItem, StoreError> {
        let part = TransactWriteItem::builder();
        Ok(match write {
            Write::Put {
                table,
                item,
                condition,
            } => {
                let printed = Expressions::new().with_condition(condition.as_ref());
                let (names, constants) = placeholders(&printed);
                let put = Put::builder()
                    .table_name(&**table)
                    .set_item(Some(attributes(item)))
                    .set_condition_expression(printed.condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(constants);
                part.put(put.build().map_err(incomplete)?)
            }
            Write::Update {
                table,
                key: wanted,
                update,
                condition,
            } => {
                let schema = self.schema(table).await?;
                let printed = Expressions::new()
                    .with_condition(condition.as_ref())
                    .with_update(update);
                let (names, constants) = placeholders(&printed);
                let update = Update::builder()
                    .table_name(&**table)
                    .set_key(Some(key(&schema, wanted)?))
                    .update_expression(printed.update.unwrap_or_default())
                    .set_condition_expression(printed.condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(constants);
                part.update(update.build().map_err(incomplete)?)
            }
            Write::Delete {
                table,
                key: wanted,
                condition,
            } => {
                let schema = self.schema(table).await?;
                let printed = Expressions::new().with_condition(condition.as_ref());
                let (names, constants) = placeholders(&printed);
                let delete = Delete::builder()
                    .table_name(&**table)
                    .set_key(Some(key(&schema, wanted)?))
                    .set_condition_expression(printed.condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(constants);
                part.delete(delete.build().map_err(incomplete)?)
            }
            Write::Check {
                table,
                key: wanted,
                condition,
            } => {
                let schema = self.schema(table).await?;
                let printed = Expressions::new().with_check(condition);
                let (names, constants) = placeholders(&printed);
                let check = ConditionCheck::builder()
                    .table_name(&**table)
                    .set_key(Some(key(&schema, wanted)?))
                    .condition_expression(printed.condition.unwrap_or_default())
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(constants);
                part.condition_check(check.build().map_err(incomplete)?)
            }
        }
        .build())
    }
}

/// DynamoDB takes limits as 32-bit numbers.
fn clamp(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

fn table_of(write: &Write) -> &Name {
    match write {
        Write::Put { table, .. }
        | Write::Update { table, .. }
        | Write::Delete { table, .. }
        | Write::Check { table, .. } => table,
    }
}

/// The tables of a request, for an error that does not say which of them is missing.
fn tables<'n>(names: impl Iterator<Item = &'n Name>) -> String {
    let names: std::collections::BTreeSet<&str> = names.map(|name| &**name).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn partly(happened: bool, error: StoreError) -> StoreError {
    if happened {
        StoreError::Unavailable(format!("a part of the batch was not written: {error}"))
    } else {
        error
    }
}
