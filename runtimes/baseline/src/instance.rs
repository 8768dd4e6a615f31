//! One execution on the baseline.

use std::cell::RefCell;
use triptych_api::model::{Item, Map, Path, Random, Update};
use triptych_api::{
    Change, Condition, Error, Fresh, Instance, LocalBoxFuture, Name, Result, Step, TxEnd, Updated,
    Value, apply, decode_reply, lower, lower_optimistic,
};
use triptych_faas::InvokeError;
use triptych_site::tables::{rows, set};
use triptych_site::{Effects, Envelope, KEY, VALUE, interrupted};
use triptych_store::{Key, Request, Response, Return, StoreError, holds};

/// See the module documentation.
pub(crate) struct Run {
    effects: Effects,
    /// Which of all executions it is.
    number: u64,
    instance: Name,
    /// The transaction that the caller was in.
    joined: Option<Name>,
    /// Transactions that are open here: the steps of their bodies, and their ids.
    open: RefCell<Vec<(Step, Name)>>,
}

/// How often a bounded append is tried again when somebody else changed the list.
const OPTIMISTIC_ATTEMPTS: u32 = 50;

/// What was surely not done may be tried again, as an SDK does. Anything else may have had effects,
/// which a second attempt would repeat.
fn throttled(error: &InvokeError) -> bool {
    matches!(error, InvokeError::Throttled(_))
}

impl Run {
    pub(crate) fn new(effects: Effects, number: u64, instance: Name, joined: Option<Name>) -> Self {
        Run {
            effects,
            number,
            instance,
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
        match self.effects.store(point, request).await? {
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
                    let old = match self.effects.document("baseline.read", at.0, at.1).await? {
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
                self.effects.document("baseline.read", at.0, at.1).await?
            };
            let empty = Map::new();
            let seen = document.as_ref().and_then(Value::as_map).unwrap_or(&empty);
            if !holds(&condition, seen) {
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
        let update = vec![set(VALUE, Value::from(document))];
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

    /// A call of an instance that has never been.
    fn new_call(&self, op: Name, input: Value) -> Envelope {
        Envelope::new(self.fresh_id(), op, input)
    }

    fn fresh_id(&self) -> String {
        let mut random = self.random();
        format!("{:016x}{:06x}", random.bits(), random.bits() & 0xff_ffff)
    }

    /// Other bits at every operation of every execution.
    fn random(&self) -> Random {
        let key = self.effects.scope.next_key() ^ self.number;
        self.effects.site.world.keyed(key)
    }
}

/// The number that an update's addition arrived at, read from the item it returned.
fn added(item: &Item, changes: &[Change]) -> Option<i64> {
    changes.iter().rev().find_map(|change| match change {
        Change::Add(field, _) => item.get(VALUE)?.get(field)?.as_int(),
        _ => None,
    })
}

impl Instance for Run {
    fn id(&self) -> &Name {
        &self.instance
    }

    fn request(&self) -> u64 {
        self.effects.scope.request().id
    }

    fn joined(&self) -> Option<Name> {
        self.joined.clone()
    }

    /// Executions of one instance are not one here, and neither are their transactions.
    fn transaction(&self, tx: &Step, attempt: u32) -> Name {
        let (instance, number) = (&self.instance, self.number);
        Name::from(format!("{instance}#{number}/{tx}.{attempt}"))
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
        Box::pin(async move {
            let found = self.effects.document("baseline.read", &table, &key);
            found.await
        })
    }

    fn read_many(
        &self,
        _step: Step,
        table: Name,
        keys: Vec<Name>,
    ) -> LocalBoxFuture<'_, Result<Vec<Option<Value>>>> {
        Box::pin(async move {
            let found = self.effects.documents("baseline.read_many", &table, &keys);
            let found = found.await?;
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
            let update = vec![set(VALUE, value)];
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
            let items = self.effects.pages("baseline.scan", Request::scan(&table));
            Ok(rows(items.await?).into_iter().collect())
        })
    }

    fn call(
        &self,
        step: Step,
        function: Name,
        op: Name,
        input: Value,
    ) -> LocalBoxFuture<'_, Result<Value>> {
        Box::pin(async move {
            let call = self.new_call(op, input);
            let tx = self.transaction_of(&step);
            let call = Envelope { tx, ..call }.into();
            let invoke = "baseline.invoke";
            let reply = self.effects.invoke(invoke, &function, &call, throttled);
            decode_reply(&reply.await?)
        })
    }

    fn send(
        &self,
        _step: Step,
        function: Name,
        op: Name,
        input: Value,
    ) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let call = self.new_call(op, input).into();
            let enqueue = "baseline.enqueue";
            let event = self.effects.enqueue(enqueue, &function, &call, throttled);
            event.await
        })
    }

    fn fresh(&self, _step: Step, what: Fresh) -> LocalBoxFuture<'_, Result<Value>> {
        Box::pin(async move {
            Ok(match what {
                Fresh::Now => Value::Int(self.effects.site.world.unix_ms()),
                Fresh::UniqueId => Value::from(self.fresh_id()),
                Fresh::Random => Value::Int((self.random().bits() >> 1) as i64),
            })
        })
    }
}
