//! One execution on the baseline.

use crate::{KEY, Shared, VALUE, envelope};
use futures_util::future::LocalBoxFuture;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::{
    Change, Error, Fresh, Instance, Result, Step, TxEnd, Updated, apply, decode_reply, lower,
    lower_optimistic,
};
use triptych_faas::{InvokeError, Payload};
use triptych_model::{Action, Condition, Item, Map, Name, Operand, Path, Update, Value};
use triptych_store::{Key, Request, Response, Return, StoreError, patient};
use triptych_world::{MS, Scope};

/// See the module documentation.
pub(crate) struct Run {
    shared: Rc<Shared>,
    scope: Scope,
    instance: Name,
    execution: u64,
    /// The transaction that the caller was in.
    joined: Option<Name>,
    /// Transactions that are open here: the steps of their bodies, and their ids.
    open: RefCell<Vec<(Step, Name)>>,
}

/// How often a bounded append is tried again when somebody else changed the list.
const OPTIMISTIC_ATTEMPTS: u32 = 50;
/// How often a throttled invocation is tried again, as an SDK does.
const INVOKE_RETRIES: u32 = 4;

impl Run {
    pub(crate) fn new(
        shared: Rc<Shared>,
        scope: Scope,
        instance: Name,
        joined: Option<Name>,
    ) -> Self {
        let execution = shared.executions.get();
        shared.executions.set(execution + 1);
        Run {
            shared,
            scope,
            instance,
            execution,
            joined,
            open: RefCell::default(),
        }
    }

    /// The transaction that an operation is part of.
    fn transaction_of(&self, step: &Step) -> Option<Name> {
        let open = self.open.borrow();
        let here = open.iter().find(|(body, _)| body.contains(step));
        here.map(|(_, id)| id.clone())
            .or_else(|| self.joined.clone())
    }

    /// One store call: an effect boundary and a crash point.
    async fn store(
        &self,
        point: &'static str,
        request: Request,
    ) -> std::result::Result<Response, StoreError> {
        let world = &self.shared.world;
        let call = patient(
            world.clone(),
            Rc::clone(&self.shared.store),
            self.scope.clone(),
            request,
        );
        world.effect(&self.scope, point, call).await
    }

    async fn get(&self, table: &Name, key: &Name) -> Result<Option<Value>> {
        let request = Request::Get {
            table: table.clone(),
            key: Key::hash(key.clone()),
            projection: Some(vec![Path::attr(VALUE)]),
            consistent: true,
        };
        match self
            .store("baseline.read", request)
            .await
            .map_err(interrupted)?
        {
            Response::Item(item) => Ok(item.and_then(|mut item| item.remove(VALUE))),
            other => Err(unexpected(&other)),
        }
    }

    async fn put(
        &self,
        point: &'static str,
        (table, key): (&Name, &Name),
        update: Update,
        condition: Option<Condition>,
        returns: Return,
    ) -> std::result::Result<Option<Item>, StoreError> {
        let request = Request::Update {
            table: table.clone(),
            key: Key::hash(key.clone()),
            update,
            condition,
            returns,
        };
        match self.store(point, request).await? {
            Response::Item(item) => Ok(item),
            _ => Err(StoreError::Unavailable(
                "an update was not answered with an item".to_owned(),
            )),
        }
    }

    async fn try_update(
        &self,
        at: (&Name, &Name),
        condition: Option<Condition>,
        changes: &[Change],
    ) -> Result<Updated> {
        let condition = condition.unwrap_or(Condition::All(Vec::new()));
        let exists = Condition::Exists(Path::attr(VALUE));
        for _ in 0..OPTIMISTIC_ATTEMPTS {
            let (update, guard, sum) = match lower(changes, VALUE) {
                Some((update, sum)) => (update, None, sum.map(|_| None)),
                None => {
                    let old = match self.get(at.0, at.1).await? {
                        Some(Value::Map(map)) => (*map).clone(),
                        _ => Map::new(),
                    };
                    let (update, guard, sum) = lower_optimistic(changes, &old, VALUE);
                    (update, Some(guard), sum.map(Some))
                }
            };
            let mut all = vec![exists.clone(), condition.under(VALUE)];
            all.extend(guard.clone());
            let returns = if matches!(sum, Some(None)) {
                Return::AllNew
            } else {
                Return::None
            };
            let done = self
                .put(
                    "baseline.update",
                    at,
                    update,
                    Some(Condition::All(all)),
                    returns,
                )
                .await;
            match done {
                Ok(item) => {
                    let sum = match sum {
                        Some(Some(sum)) => Some(sum),
                        Some(None) => item.as_ref().and_then(|item| added(item, changes)),
                        None => None,
                    };
                    return Ok(Updated { applied: true, sum });
                }
                Err(StoreError::ConditionFailed) => {}
                Err(error) => return Err(interrupted(error)),
            }
            // Either the document is missing, or the condition is false of it, or (with a guard) it
            // has changed since it was read.
            let trivial = matches!(&condition, Condition::All(all) if all.is_empty());
            let document = if trivial {
                None
            } else {
                self.get(at.0, at.1).await?
            };
            let empty = Map::new();
            let seen = document.as_ref().and_then(Value::as_map).unwrap_or(&empty);
            if !triptych_store::holds(&condition, seen) {
                return Ok(Updated {
                    applied: false,
                    sum: None,
                });
            }
            if document.is_none()
                && let Some(updated) = self.create(at, changes).await?
            {
                return Ok(updated);
            }
        }
        Err(Error::Interrupted(
            "a document changed too often".to_owned(),
        ))
    }

    /// Creates the document, unless it exists by now.
    async fn create(&self, at: (&Name, &Name), changes: &[Change]) -> Result<Option<Updated>> {
        let mut document = Map::new();
        let sum = apply(&mut document, changes);
        let document = Operand::Value(Value::from(document));
        let update = vec![Action::Set(Path::attr(VALUE), document)];
        let absent = Condition::Absent(Path::attr(KEY));
        match self
            .put("baseline.create", at, update, Some(absent), Return::None)
            .await
        {
            Ok(_) => Ok(Some(Updated { applied: true, sum })),
            Err(StoreError::ConditionFailed) => Ok(None),
            Err(error) => Err(interrupted(error)),
        }
    }

    async fn invoke(
        &self,
        tx: Option<Name>,
        function: Name,
        op: Name,
        input: Value,
    ) -> Result<Value> {
        let world = &self.shared.world;
        let id = self.fresh_id();
        for attempt in 0.. {
            let payload = Payload::new(envelope(&id, &op, input.clone(), tx.clone()));
            let call = self.shared.platform.invoke(&self.scope, &function, payload);
            match world.effect(&self.scope, "baseline.invoke", call).await {
                Ok(reply) => return decode_reply(&reply.body),
                Err(InvokeError::Throttled(_)) if attempt < INVOKE_RETRIES => {
                    self.back_off(attempt).await;
                }
                Err(error) => return Err(Error::Interrupted(error.to_string())),
            }
        }
        unreachable!("the loop ends with its last attempt")
    }

    /// Waits before a refused invocation is repeated.
    async fn back_off(&self, attempt: u32) {
        let world = &self.shared.world;
        let most = (50 * MS) << attempt;
        let pause = world.keyed(self.scope.next_key()).below(most);
        world.sleep(pause).await;
    }

    fn fresh_id(&self) -> String {
        let mut random = self
            .shared
            .world
            .keyed(self.scope.next_key() ^ self.execution);
        format!("{:016x}{:06x}", random.bits(), random.bits() & 0xff_ffff)
    }
}

/// The number that an update's addition arrived at, read from the item it returned.
fn added(item: &Item, changes: &[Change]) -> Option<i64> {
    changes.iter().rev().find_map(|change| match change {
        Change::Add(field, _) => item.get(VALUE)?.get(field)?.as_int(),
        _ => None,
    })
}

fn interrupted(error: StoreError) -> Error {
    Error::Interrupted(error.to_string())
}

fn unexpected(response: &Response) -> Error {
    Error::Interrupted(format!("the store answered something else: {response:?}"))
}

impl Instance for Run {
    fn id(&self) -> &Name {
        &self.instance
    }

    fn request(&self) -> u64 {
        self.scope.request().id
    }

    fn joined(&self) -> Option<Name> {
        self.joined.clone()
    }

    /// Executions of one instance are not one here, and neither are their transactions.
    fn transaction(&self, tx: &Step, attempt: u32) -> Name {
        let (instance, execution) = (&self.instance, self.execution);
        Name::from(format!("{instance}#{execution}/{tx}.{attempt}"))
    }

    fn begin(&self, tx: Step, attempt: u32) -> LocalBoxFuture<'_, Result<()>> {
        let id = self.transaction(&tx, attempt);
        self.open.borrow_mut().push((tx.body(attempt), id));
        Box::pin(async { Ok(()) })
    }

    fn end(&self, tx: Step, attempt: u32, _: TxEnd) -> LocalBoxFuture<'_, Result<()>> {
        let body = tx.body(attempt);
        self.open.borrow_mut().retain(|(open, _)| *open != body);
        Box::pin(async { Ok(()) })
    }

    fn read(
        &self,
        _step: Step,
        table: Name,
        key: Name,
    ) -> LocalBoxFuture<'_, Result<Option<Value>>> {
        Box::pin(async move { self.get(&table, &key).await })
    }

    fn read_many(
        &self,
        _step: Step,
        table: Name,
        keys: Vec<Name>,
    ) -> LocalBoxFuture<'_, Result<Vec<Option<Value>>>> {
        Box::pin(async move {
            let mut distinct: Vec<&Name> = keys.iter().collect();
            distinct.sort();
            distinct.dedup();
            let mut found: BTreeMap<Name, Value> = BTreeMap::new();
            for chunk in distinct.chunks(100) {
                let wanted = chunk
                    .iter()
                    .map(|key| (table.clone(), Key::hash((*key).clone())));
                let request = Request::BatchGet {
                    keys: wanted.collect(),
                    consistent: true,
                };
                let response = self
                    .store("baseline.read_many", request)
                    .await
                    .map_err(interrupted)?;
                let Response::Items(items) = response else {
                    return Err(unexpected(&response));
                };
                for (key, item) in chunk.iter().zip(items) {
                    if let Some(value) = item.and_then(|mut item| item.remove(VALUE)) {
                        found.insert((*key).clone(), value);
                    }
                }
            }
            Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
        })
    }

    fn write(
        &self,
        _step: Step,
        table: Name,
        key: Name,
        value: Value,
    ) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let update = vec![Action::Set(Path::attr(VALUE), Operand::Value(value))];
            let done = self
                .put("baseline.write", (&table, &key), update, None, Return::None)
                .await;
            done.map(drop).map_err(interrupted)
        })
    }

    fn update(
        &self,
        _step: Step,
        table: Name,
        key: Name,
        condition: Option<Condition>,
        changes: Vec<Change>,
    ) -> LocalBoxFuture<'_, Result<Updated>> {
        Box::pin(async move { self.try_update((&table, &key), condition, &changes).await })
    }

    fn scan(&self, _step: Step, table: Name) -> LocalBoxFuture<'_, Result<Vec<(Name, Value)>>> {
        Box::pin(async move {
            let shared = Rc::clone(&self.shared);
            let world = shared.world.clone();
            let rows = async move { crate::scan(&shared, &table).await };
            let rows = world.effect(&self.scope, "baseline.scan", rows).await;
            Ok(rows.map_err(interrupted)?.into_iter().collect())
        })
    }

    fn call(
        &self,
        step: Step,
        function: Name,
        op: Name,
        input: Value,
    ) -> LocalBoxFuture<'_, Result<Value>> {
        Box::pin(self.invoke(self.transaction_of(&step), function, op, input))
    }

    fn send(
        &self,
        _step: Step,
        function: Name,
        op: Name,
        input: Value,
    ) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let world = &self.shared.world;
            let id = self.fresh_id();
            for attempt in 0.. {
                let payload = Payload::new(envelope(&id, &op, input.clone(), None));
                let platform = &self.shared.platform;
                let event = platform.enqueue(&self.scope, &function, payload);
                match world.effect(&self.scope, "baseline.enqueue", event).await {
                    Ok(()) => return Ok(()),
                    Err(InvokeError::Throttled(_)) if attempt < INVOKE_RETRIES => {
                        self.back_off(attempt).await;
                    }
                    Err(error) => return Err(Error::Interrupted(error.to_string())),
                }
            }
            unreachable!("the loop ends with its last attempt")
        })
    }

    fn fresh(&self, _step: Step, what: Fresh) -> LocalBoxFuture<'_, Result<Value>> {
        Box::pin(async move {
            Ok(match what {
                Fresh::Now => Value::Int(self.shared.world.unix_ms()),
                Fresh::UniqueId => Value::from(self.fresh_id()),
                Fresh::Random => {
                    let mut random = self
                        .shared
                        .world
                        .keyed(self.scope.next_key() ^ self.execution);
                    Value::Int((random.bits() >> 1) as i64)
                }
            })
        })
    }
}
