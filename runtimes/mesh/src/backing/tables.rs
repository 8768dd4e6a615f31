//! The bridge to tables: what servers ask becomes calls of a store, counted like any other.

use super::{CLOCK, KEY, clock_of, clock_value, item, row};
use crate::clock::Clock;
use crate::message::{Answer, Question, Row};
use crate::ring::Ring;
use crate::version::Key;
use futures_util::future::join_all;
use std::rc::Rc;
use std::sync::Arc;
use triptych_api::model::{Condition, Item, Path};
use triptych_api::{Name, Value};
use triptych_store::{
    Key as Place, Request, Response, Store, StoreError, TableSchema, patient, patient_pages,
};
use triptych_world::World;

/// The table of the ring's row.
pub const RING_TABLE: &str = "mesh-ring";
/// The key of the ring's row.
const RING_KEY: &str = "ring";
/// The attribute that has the ring.
const RING: &str = "R";
/// The attribute that has its epoch.
const EPOCH: &str = "N";
/// So many keys one read may name.
const BATCH: usize = 100;

/// Answers servers' questions from tables. Cheap to clone.
#[derive(Clone)]
pub struct TableBridge {
    world: World,
    store: Rc<dyn Store>,
    /// The tables whose rows count in a survey.
    tables: Rc<[Name]>,
}

impl TableBridge {
    /// A bridge to some tables of the app; [`TableBridge::schema`] is created besides.
    pub fn new(
        world: &World,
        store: Rc<dyn Store>,
        tables: impl IntoIterator<Item = Name>,
    ) -> Self {
        TableBridge {
            world: world.clone(),
            store,
            tables: tables.into_iter().collect(),
        }
    }

    /// The table of the ring's row.
    pub fn schema() -> TableSchema {
        TableSchema::new(RING_TABLE, KEY)
    }

    /// Answers a question.
    pub async fn answer(&self, question: Question) -> Answer {
        let answer = match question {
            Question::Fetch { keys } => self.fetch(keys).await,
            Question::Store { rows } => self.replace_all(rows).await,
            Question::Ring => self.ring().await,
            Question::Swap { expected, ring } => self.swap(expected, &ring).await,
            Question::Survey => self.survey().await,
        };
        answer.unwrap_or_else(|error| Answer::Failed(error.to_string()))
    }

    async fn call(&self, request: Request) -> Result<Response, StoreError> {
        let scope = self.world.background_scope();
        patient(self.world.clone(), Rc::clone(&self.store), scope, request).await
    }

    async fn get(&self, table: &Name, key: &Name) -> Result<Option<Item>, StoreError> {
        match self
            .call(Request::get(table, Place::hash(key.clone())))
            .await?
        {
            Response::Item(item) => Ok(item),
            other => Err(unexpected(&other)),
        }
    }

    async fn fetch(&self, keys: Vec<Key>) -> Result<Answer, StoreError> {
        let mut rows = Vec::with_capacity(keys.len());
        for keys in keys.chunks(BATCH) {
            let items = match keys {
                [one] => vec![self.get(&one.table, &one.key).await?],
                _ => {
                    let place = |key: &Key| (key.table.clone(), Place::hash(key.key.clone()));
                    let request = Request::BatchGet {
                        keys: keys.iter().map(place).collect(),
                        consistent: true,
                    };
                    match self.call(request).await? {
                        Response::Items(items) => items,
                        other => return Err(unexpected(&other)),
                    }
                }
            };
            let found = keys.iter().zip(items);
            rows.extend(found.map(|(key, item)| item.map(|item| row(key, &item))));
        }
        Ok(Answer::Rows(rows))
    }

    async fn replace_all(&self, rows: Vec<(Clock, Row)>) -> Result<Answer, StoreError> {
        let all = rows
            .iter()
            .map(|(expected, row)| self.replace(expected, row));
        let clocks: Result<Vec<Clock>, StoreError> = join_all(all).await.into_iter().collect();
        clocks.map(Answer::Stored)
    }

    /// Replaces a row if its clock is the expected one. The clock that it has now.
    async fn replace(&self, expected: &Clock, row: &Row) -> Result<Clock, StoreError> {
        let clock = Path::attr(CLOCK);
        let condition = match expected.is_zero() {
            true => Condition::Absent(clock),
            false => Condition::equals(clock, clock_value(expected)),
        };
        let request = Request::Put {
            table: row.key.table.clone(),
            item: item(row),
            condition: Some(condition),
        };
        match self.call(request).await {
            Ok(_) => Ok(row.counted.clone()),
            Err(StoreError::ConditionFailed) => {
                let now = self.get(&row.key.table, &row.key.key).await?;
                Ok(now.as_ref().map(clock_of).unwrap_or_default())
            }
            Err(error) => Err(error),
        }
    }

    async fn ring(&self) -> Result<Answer, StoreError> {
        let item = self
            .get(&Name::from(RING_TABLE), &Name::from(RING_KEY))
            .await?;
        let ring = |item: Item| match item.get(RING) {
            Some(Value::Bytes(bytes)) => postcard::from_bytes::<Ring>(bytes).ok(),
            _ => None,
        };
        Ok(Answer::Ring(item.and_then(ring)))
    }

    async fn swap(&self, expected: u64, ring: &Ring) -> Result<Answer, StoreError> {
        let epoch = Path::attr(EPOCH);
        let condition = match expected {
            0 => Condition::Absent(epoch),
            expected => Condition::equals(epoch, Value::Int(expected as i64)),
        };
        let bytes = postcard::to_stdvec(ring).unwrap_or_default();
        let request = Request::Put {
            table: Name::from(RING_TABLE),
            item: Item::from([
                (Name::from(KEY), Value::str(RING_KEY)),
                (Name::from(EPOCH), Value::Int(ring.epoch as i64)),
                (Name::from(RING), Value::Bytes(Arc::from(bytes))),
            ]),
            condition: Some(condition),
        };
        match self.call(request).await {
            Ok(_) => Ok(Answer::Ring(Some(ring.clone()))),
            Err(StoreError::ConditionFailed) => self.ring().await,
            Err(error) => Err(error),
        }
    }

    async fn survey(&self) -> Result<Answer, StoreError> {
        let mut all = Clock::default();
        for table in self.tables.iter() {
            let (world, store) = (self.world.clone(), Rc::clone(&self.store));
            let scope = self.world.background_scope();
            let items = patient_pages(world, store, scope, Request::scan(table)).await?;
            for item in items {
                let key = Key::new(table, "");
                let row = row(&key, &item);
                all.join(&row.counted);
                all.join(row.entry.clock());
            }
        }
        Ok(Answer::Surveyed(all))
    }
}

fn unexpected(response: &Response) -> StoreError {
    StoreError::Unavailable(format!("an answer to something else: {response:?}"))
}
