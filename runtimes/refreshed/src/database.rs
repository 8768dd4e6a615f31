//! What a server asks of the database, and how it is done on a [`Store`].
//!
//! A row of a table has the document under [`KEY`] and [`VALUE`] like everywhere in the suite, so a
//! dump shows the app's state, and what the system keeps of it in attributes beside that.

use crate::wire::Failure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::model::{Item, Map, Path};
use triptych_api::{Change, Condition, Updated, Value, lower};
use triptych_mesh::Key;
use triptych_site::tables::{set, unchanged, updated};
use triptych_site::{KEY, VALUE};
use triptych_store::{
    Cancellation, Key as StoreKey, Request, Response, Return, Store, StoreError, Write, patient,
};
use triptych_world::{MS, Scope, World};

/// The attributes of a row, without its key.
pub type Row = Map;

/// One write of a row: the attributes that it gets; others stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Put {
    /// The key.
    pub key: Key,
    /// The attributes.
    pub attributes: Row,
    /// What must hold of the row as it is.
    pub condition: Option<Condition>,
}

/// What a server asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Query {
    /// Rows, strongly consistent each.
    Get {
        /// Their keys.
        keys: Vec<Key>,
    },
    /// Writes rows, all of them at one moment or none.
    Put {
        /// No key twice.
        puts: Vec<Put>,
    },
    /// Changes a document if a condition holds of it, as one step.
    Change {
        /// The key.
        key: Key,
        /// The condition; none holds always.
        condition: Option<Condition>,
        /// The changes.
        changes: Vec<Change>,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Of [`Query::Get`]: in the order of the keys.
    Found(Vec<Option<Row>>),
    /// Of [`Query::Put`]; with the row as it is now, if it is one.
    Done(Option<Row>),
    /// Of [`Query::Put`]: a condition did not hold, and nothing was done.
    Refused,
    /// Of [`Query::Change`]: what it did, and the document as it is now.
    Changed(Updated, Option<Value>),
    /// It was not done, or nobody knows.
    Failed {
        /// Why.
        reason: String,
        /// Whether it may have had an effect.
        doubt: bool,
    },
}

impl Outcome {
    /// What a client makes of it if it is no success that was asked for.
    pub fn failure(self) -> Failure {
        match self {
            Outcome::Failed {
                reason,
                doubt: true,
            } => Failure::Unknown(reason),
            Outcome::Failed { reason, .. } => Failure::Bad(reason),
            Outcome::Refused => Failure::Unavailable,
            other => Failure::Unknown(format!("the database answered with {other:?}")),
        }
    }
}

/// About the bytes of a key on the wire.
pub fn key_size(key: &Key) -> usize {
    key.table.len() + key.key.len() + 2
}

fn row_size(row: &Row) -> usize {
    let sizes = row.iter().map(|(name, value)| name.len() + value.size());
    sizes.sum()
}

impl Query {
    /// About its bytes on the wire.
    pub fn size(&self) -> usize {
        match self {
            Query::Get { keys } => keys.iter().map(key_size).sum(),
            Query::Put { puts } => {
                let sizes = puts
                    .iter()
                    .map(|put| key_size(&put.key) + row_size(&put.attributes));
                sizes.sum()
            }
            Query::Change { key, changes, .. } => key_size(key) + changes_size(changes),
        }
    }

    /// How many keys it is about.
    pub fn units(&self) -> usize {
        match self {
            Query::Get { keys } => keys.len().max(1),
            Query::Put { puts } => puts.len().max(1),
            Query::Change { .. } => 1,
        }
    }
}

/// About the bytes of changes on the wire.
pub fn changes_size(changes: &[Change]) -> usize {
    let size = |change: &Change| match change {
        Change::Set(field, value) | Change::Append { field, value, .. } => {
            field.len() + value.size()
        }
        Change::Add(field, _) => field.len() + 8,
    };
    changes.iter().map(size).sum()
}

impl Outcome {
    /// About its bytes on the wire.
    pub fn size(&self) -> usize {
        match self {
            Outcome::Found(rows) => rows.iter().flatten().map(row_size).sum(),
            Outcome::Done(row) => row.as_ref().map_or(0, row_size),
            Outcome::Refused => 0,
            Outcome::Changed(_, document) => document.as_ref().map_or(0, Value::size),
            Outcome::Failed { reason, .. } => reason.len(),
        }
    }

    /// How many keys it is about.
    pub fn units(&self) -> usize {
        match self {
            Outcome::Found(rows) => rows.len().max(1),
            _ => 1,
        }
    }
}

/// How many keys the store takes in one batch.
const BATCH: usize = 100;
/// How often something is tried again that met somebody else's work on the same row.
const ATTEMPTS: u32 = 50;

/// Asks a store.
pub async fn perform(world: World, store: Rc<dyn Store>, query: Query) -> Outcome {
    let scope = world.background_scope();
    let at = At {
        world,
        store,
        scope,
    };
    let done = match query {
        Query::Get { keys } => at.get(&keys).await,
        Query::Put { puts } => at.put(&puts).await,
        Query::Change {
            key,
            condition,
            changes,
        } => at.change(&key, condition, &changes).await,
    };
    done.unwrap_or_else(|error| Outcome::Failed {
        doubt: matches!(error, StoreError::Unavailable(_)),
        reason: error.to_string(),
    })
}

struct At {
    world: World,
    store: Rc<dyn Store>,
    scope: Scope,
}

fn place(key: &Key) -> StoreKey {
    StoreKey::hash(key.key.clone())
}

fn without_key(mut item: Item) -> Row {
    item.remove(KEY);
    item
}

fn unexpected(response: &Response) -> StoreError {
    StoreError::Unavailable(format!("an answer to something else: {response:?}"))
}

impl At {
    async fn call(&self, request: Request) -> Result<Response, StoreError> {
        let (world, store) = (self.world.clone(), Rc::clone(&self.store));
        patient(world, store, self.scope.clone(), request).await
    }

    async fn get(&self, keys: &[Key]) -> Result<Outcome, StoreError> {
        let mut distinct: Vec<&Key> = keys.iter().collect();
        distinct.sort();
        distinct.dedup();
        let mut found: BTreeMap<&Key, Row> = BTreeMap::new();
        for chunk in distinct.chunks(BATCH) {
            let items = match chunk {
                [key] => match self.call(Request::get(&key.table, place(key))).await? {
                    Response::Item(item) => vec![item],
                    other => return Err(unexpected(&other)),
                },
                keys => {
                    let keys = keys.iter().map(|key| (key.table.clone(), place(key)));
                    let request = Request::BatchGet {
                        keys: keys.collect(),
                        consistent: true,
                    };
                    match self.call(request).await? {
                        Response::Items(items) => items,
                        other => return Err(unexpected(&other)),
                    }
                }
            };
            let known = chunk.iter().zip(items);
            found.extend(known.filter_map(|(&key, item)| Some((key, without_key(item?)))));
        }
        let rows = keys.iter().map(|key| found.get(key).cloned());
        Ok(Outcome::Found(rows.collect()))
    }

    async fn put(&self, puts: &[Put]) -> Result<Outcome, StoreError> {
        let update = |put: &Put| {
            let attributes = put.attributes.iter();
            let set = attributes.map(|(name, value)| set(name, value.clone()));
            set.collect::<Vec<_>>()
        };
        if let [put] = puts {
            let request = Request::Update {
                table: put.key.table.clone(),
                key: place(&put.key),
                update: update(put),
                condition: put.condition.clone(),
                returns: Return::AllNew,
            };
            return match self.call(request).await {
                Ok(Response::Item(item)) => Ok(Outcome::Done(item.map(without_key))),
                Ok(other) => Err(unexpected(&other)),
                Err(StoreError::ConditionFailed) => Ok(Outcome::Refused),
                Err(error) => Err(error),
            };
        }
        let writes: Vec<Write> = puts
            .iter()
            .map(|put| Write::Update {
                table: put.key.table.clone(),
                key: place(&put.key),
                update: update(put),
                condition: put.condition.clone(),
            })
            .collect();
        for attempt in 0..ATTEMPTS {
            let writes = writes.clone();
            match self.call(Request::TransactWrite { writes }).await {
                Ok(Response::Done) => return Ok(Outcome::Done(None)),
                Ok(other) => return Err(unexpected(&other)),
                Err(StoreError::Cancelled(reasons)) => {
                    if reasons.contains(&Cancellation::ConditionFailed) {
                        return Ok(Outcome::Refused);
                    }
                    if reasons.contains(&Cancellation::Validation) {
                        return Err(StoreError::Cancelled(reasons));
                    }
                    let pause = self.world.keyed(self.scope.next_key());
                    let pause = { pause }.below((10 * MS) << attempt.min(6));
                    self.world.sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
        // Cancelled every time, so surely without effect.
        Err(StoreError::Throttled)
    }

    /// One conditional update where the store can carry the changes, else a replacement on condition
    /// that nobody else has changed the document meanwhile.
    async fn change(
        &self,
        key: &Key,
        condition: Option<Condition>,
        changes: &[Change],
    ) -> Result<Outcome, StoreError> {
        let condition = condition.unwrap_or(Condition::All(Vec::new()));
        if let Some((update, _)) = lower(changes, VALUE) {
            let exists = Condition::Exists(Path::attr(VALUE));
            let all = Condition::All(vec![exists, condition.under(VALUE)]);
            let request = Request::Update {
                table: key.table.clone(),
                key: place(key),
                update,
                condition: Some(all),
                returns: Return::AllNew,
            };
            match self.call(request).await {
                Ok(Response::Item(item)) => {
                    let document = item.and_then(|mut item| item.remove(VALUE));
                    let sum = document
                        .as_ref()
                        .and_then(|document| sum(document, changes));
                    let applied = true;
                    return Ok(Outcome::Changed(Updated { applied, sum }, document));
                }
                Ok(other) => return Err(unexpected(&other)),
                // The document is missing, or the condition does not hold: looked at below.
                Err(StoreError::ConditionFailed) => {}
                Err(error) => return Err(error),
            }
        }
        for _ in 0..ATTEMPTS {
            let request = Request::get(&key.table, place(key));
            let old = match self.call(request).await? {
                Response::Item(item) => item.and_then(|mut item| item.remove(VALUE)),
                other => return Err(unexpected(&other)),
            };
            let (updated, new) = updated(old.as_ref(), Some(&condition), changes);
            let Some(new) = new else {
                return Ok(Outcome::Changed(updated, old));
            };
            let request = Request::Update {
                table: key.table.clone(),
                key: place(key),
                update: vec![set(VALUE, new.clone())],
                condition: Some(unchanged(old.as_ref())),
                returns: Return::None,
            };
            match self.call(request).await {
                Ok(_) => return Ok(Outcome::Changed(updated, Some(new))),
                Err(StoreError::ConditionFailed) => {}
                Err(error) => return Err(error),
            }
        }
        // Refused every time, so surely without effect.
        Err(StoreError::Throttled)
    }
}

/// The number that the addition among changes has arrived at, in the document after them.
fn sum(document: &Value, changes: &[Change]) -> Option<i64> {
    let added = changes.iter().find_map(|change| match change {
        Change::Add(field, _) => Some(field),
        _ => None,
    })?;
    document.get(added)?.as_int()
}
