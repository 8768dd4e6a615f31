//! One execution of one instance: what an app's operations become.

use futures_util::future::join_all;
use std::rc::Rc;
use triptych_api::model::{Action, Condition, Item, Map, Name, Operand, Path, Value, name};
use triptych_api::{
    Call, Change, Ctx, Error, Fresh, Instance, LocalBoxFuture, Result, Step, Updated, apply,
    decode_reply, encode_reply,
};
use triptych_faas::{Execution, Payload};
use triptych_site::Site;
use triptych_store::{
    Cancellation, Key, Request, Response, Return, StoreError, Write, holds, patient,
};
use triptych_world::{Life, MS, Scope, mix_str};

// Tables, and the attributes of their items.
pub(crate) const JOURNAL: &str = "journal";
pub(crate) const INTENTS: &str = "intents";
pub(crate) const KEY: &str = "K";
pub(crate) const INSTANCE: &str = "Instance";
pub(crate) const STEP: &str = "Step";
/// The function, as long as the instance is not done; also the name of the index over it.
pub(crate) const OPEN: &str = "Open";
/// When the instance was last started.
pub(crate) const SINCE: &str = "Since";
/// An app's document, and what a journal entry says.
const VALUE: &str = "V";
const CALL: &str = "Call";
const REPLY: &str = "Reply";
const REQUEST: &str = "Request";

/// How often an effect is tried that others get in the way of, and an invocation that fails.
const ATTEMPTS: u32 = 60;
const INVOCATIONS: u32 = 5;

pub(crate) struct Run {
    site: Rc<Site>,
    scope: Scope,
    function: Name,
    instance: Name,
}

pub(crate) fn envelope(instance: &str, op: &str, input: Value) -> Value {
    let texts = [("instance", instance), ("op", op)];
    Value::map(
        texts
            .map(|(name, text)| (name, Value::str(text)))
            .into_iter()
            .chain([("input", input)]),
    )
}

fn text(body: &Value, name: &str) -> Option<Name> {
    body.get(name).and_then(Value::as_str).map(Name::from)
}

fn interrupted(error: impl ToString) -> Error {
    Error::Interrupted(error.to_string())
}

fn set(name: &str, value: impl Into<Value>) -> Action {
    Action::Set(Path::attr(name), Operand::Value(value.into()))
}

pub(crate) fn scan(table: &Name) -> Request {
    let (table, filter, projection) = (table.clone(), None, None);
    Request::Scan {
        table,
        filter,
        projection,
        consistent: true,
        limit: None,
        start: None,
    }
}

/// The intents of a function that are not done, and were last started before a time.
pub(crate) fn open(function: &Name, before: Option<i64>) -> Request {
    Request::Query {
        table: Name::from(INTENTS),
        index: Some(Name::from(OPEN)),
        hash: function.clone().into(),
        range_below: before.map(Value::Int),
        filter: None,
        projection: None,
        consistent: false,
        limit: None,
        start: None,
    }
}

/// All pages of a query or scan.
pub(crate) async fn pages(
    site: Rc<Site>,
    scope: Scope,
    mut request: Request,
) -> std::result::Result<Vec<Item>, StoreError> {
    let mut all = Vec::new();
    loop {
        let (world, store) = (site.world.clone(), Rc::clone(&site.store));
        let page = patient(world, store, scope.clone(), request.clone()).await?;
        let Response::Page { items, next } = page else {
            return Ok(all);
        };
        all.extend(items);
        match (&mut request, next) {
            (Request::Query { start, .. } | Request::Scan { start, .. }, Some(next)) => {
                *start = Some(next)
            }
            _ => return Ok(all),
        }
    }
}

/// Key and document of an item in an app's table.
pub(crate) fn row(mut item: Item) -> Option<(Name, Value)> {
    match (item.remove(KEY), item.remove(VALUE)) {
        (Some(Value::Str(key)), Some(value)) => Some((key, value)),
        _ => None,
    }
}

impl Run {
    pub(crate) fn new(site: Rc<Site>, function: Name, execution: &Execution) -> Rc<Run> {
        let instance = text(&execution.payload.body, "instance").unwrap_or_default();
        Rc::new(Run {
            site,
            scope: execution.scope.clone(),
            function,
            instance,
        })
    }

    /// Serves a call, an event, or the timer (which names no instance).
    pub(crate) async fn serve(self: Rc<Self>, body: Value) -> Result<Value> {
        if self.instance.is_empty() {
            return self.restart().await;
        }
        let intent = self.intend(&self.function, &self.instance, body).await?;
        if let Some(reply) = intent.get(REPLY) {
            return Ok(reply.clone());
        }
        let call = intent.get(CALL).cloned().unwrap_or_default();
        let op = text(&call, "op").ok_or_else(|| interrupted("a call without an op"))?;
        let call = Call {
            op,
            input: call.get("input").cloned().unwrap_or_default(),
        };
        let unknown = || Error::Bug(format!("there is no function {}", self.function));
        let function = self.site.app.function(&self.function).ok_or_else(unknown)?;
        let mut ctx = Ctx::new(Rc::clone(&self) as Rc<dyn Instance>, self.site.retries);
        let result = (function.handler)(&mut ctx, call).await;
        let result = ctx.conclude(result);
        // Without an answer the instance stays open, and is executed again.
        let reply = encode_reply(result).map_err(Error::Interrupted)?;
        let update = vec![set(REPLY, reply.clone()), Action::Remove(Path::attr(OPEN))];
        let intent = Key::hash(self.instance.clone());
        self.update("template.finish", intent, update, None).await?;
        Ok(reply)
    }

    /// Records that an instance is to run, unless it is recorded already; returns the record.
    async fn intend(&self, function: &Name, instance: &Name, call: Value) -> Result<Item> {
        let keep =
            |name, value| Action::Set(Path::attr(name), Operand::PathOr(Path::attr(name), value));
        let update = vec![
            keep(CALL, call),
            keep(OPEN, function.clone().into()),
            keep(SINCE, Value::Int(self.site.world.unix_ms())),
            keep(REQUEST, Value::Int(self.scope.request().id as i64)),
        ];
        let key = Key::hash(instance.clone());
        let undone = Condition::Absent(Path::attr(REPLY));
        match self
            .update("template.intend", key.clone(), update, Some(undone))
            .await?
        {
            Some(intent) => Ok(intent),
            None => {
                self.get("template.answered", &Name::from(INTENTS), key)
                    .await
            }
        }
    }

    /// Executes again what was started long ago and is not done.
    async fn restart(&self) -> Result<Value> {
        let (world, now) = (&self.site.world, self.site.world.unix_ms());
        let before = now - (self.site.timing.timeout / MS) as i64;
        for intent in self
            .pages("template.overdue", open(&self.function, Some(before)))
            .await?
        {
            let of = |name| intent.get(name).cloned().unwrap_or_default();
            // Of several timers one wins, and an instance is not restarted at every tick.
            let seen = Condition::equals(Path::attr(SINCE), of(SINCE));
            let seen = seen.and(Condition::Exists(Path::attr(OPEN)));
            let (key, update) = (Key::hash(of(INSTANCE)), vec![set(SINCE, now)]);
            if self
                .update("template.claim", key, update, Some(seen))
                .await?
                .is_some()
            {
                // It is still the client's request that causes the work.
                let request = world.request(of(REQUEST).as_int().unwrap_or(-1) as u64);
                let scope = Scope::new(request, self.scope.next_key() | 1, Life::new());
                let event =
                    self.site
                        .platform
                        .enqueue(&scope, &self.function, Payload::new(of(CALL)));
                // A lost event is found again later.
                drop(world.effect(&self.scope, "template.restart", event).await);
            }
        }
        Ok(Value::Null)
    }

    /// One store call: an effect boundary, hence a crash point.
    async fn store(
        &self,
        point: &'static str,
        request: Request,
    ) -> std::result::Result<Response, StoreError> {
        let (world, store) = (&self.site.world, Rc::clone(&self.site.store));
        let call = patient(world.clone(), store, self.scope.clone(), request);
        world.effect(&self.scope, point, call).await
    }

    async fn pages(&self, point: &'static str, request: Request) -> Result<Vec<Item>> {
        let pages = pages(Rc::clone(&self.site), self.scope.clone(), request);
        self.site
            .world
            .effect(&self.scope, point, pages)
            .await
            .map_err(interrupted)
    }

    async fn get(&self, point: &'static str, table: &Name, key: Key) -> Result<Item> {
        let table = table.clone();
        let request = Request::Get {
            table,
            key,
            projection: None,
            consistent: true,
        };
        match self.store(point, request).await.map_err(interrupted)? {
            Response::Item(item) => Ok(item.unwrap_or_default()),
            other => Err(interrupted(format!("a get was answered with {other:?}"))),
        }
    }

    /// Changes an intent; none if the condition does not hold.
    async fn update(
        &self,
        point: &'static str,
        key: Key,
        update: Vec<Action>,
        condition: Option<Condition>,
    ) -> Result<Option<Item>> {
        let (table, returns) = (Name::from(INTENTS), Return::AllNew);
        match self
            .store(
                point,
                Request::Update {
                    table,
                    key,
                    update,
                    condition,
                    returns,
                },
            )
            .await
        {
            Ok(Response::Item(item)) => Ok(item),
            Ok(other) => Err(interrupted(format!(
                "an update was answered with {other:?}"
            ))),
            Err(StoreError::ConditionFailed) => Ok(None),
            Err(error) => Err(interrupted(error)),
        }
    }

    /// Puts into the journal what came of a step, and makes its effect, both or neither. What the
    /// journal says already stands: it is returned instead. None if the effect's condition failed.
    async fn record(
        &self,
        step: &Step,
        outcome: Value,
        effect: Option<Write>,
    ) -> Result<Option<Value>> {
        let key = Key::range(self.instance.clone(), Value::str(step.as_str()));
        let fields = [
            (INSTANCE, key.hash.clone()),
            (STEP, Value::str(step.as_str())),
            (VALUE, outcome.clone()),
        ];
        let entry = Write::Put {
            table: Name::from(JOURNAL),
            item: fields.map(|(field, value)| (name(field), value)).into(),
            condition: Some(Condition::Absent(Path::attr(INSTANCE))),
        };
        let writes = [entry].into_iter().chain(effect).collect();
        match self
            .store("template.record", Request::TransactWrite { writes })
            .await
        {
            Ok(_) => Ok(Some(outcome)),
            Err(StoreError::Cancelled(why))
                if why.first() == Some(&Cancellation::ConditionFailed) =>
            {
                let mut entry = self
                    .get("template.recorded", &Name::from(JOURNAL), key)
                    .await?;
                Ok(entry.remove(VALUE))
            }
            Err(StoreError::Cancelled(_)) => Ok(None),
            Err(error) => Err(interrupted(error)),
        }
    }

    /// Records something that has no effect.
    async fn note(&self, step: &Step, outcome: Value) -> Result<Value> {
        let noted = self.record(step, outcome, None).await?;
        noted.ok_or_else(|| interrupted("a journal entry was refused"))
    }

    /// Replaces a document by what `change` makes of it (nothing: leave it), once; returns what it
    /// says came of that. Others may change the document meanwhile: then it looks again.
    async fn effect(
        &self,
        step: Step,
        table: Name,
        key: Name,
        change: impl Fn(Option<Value>) -> (Value, Option<Value>),
    ) -> Result<Value> {
        for attempt in 0..ATTEMPTS {
            let old = self
                .get("template.look", &table, Key::hash(key.clone()))
                .await?
                .remove(VALUE);
            let unchanged = match &old {
                Some(old) => Condition::equals(Path::attr(VALUE), old.clone()),
                None => Condition::Absent(Path::attr(VALUE)),
            };
            let (outcome, new) = change(old);
            let effect = new.map(|new| Write::Update {
                table: table.clone(),
                key: Key::hash(key.clone()),
                update: vec![set(VALUE, new)],
                condition: Some(unchanged),
            });
            if let Some(outcome) = self.record(&step, outcome, effect).await? {
                return Ok(outcome);
            }
            self.pause(attempt).await;
        }
        Err(interrupted(format!("others always came first at {key}")))
    }

    async fn pause(&self, attempt: u32) {
        let world = &self.site.world;
        let pause = world
            .keyed(self.scope.next_key())
            .below((20 * MS) << attempt.min(6));
        world.sleep(pause).await;
    }

    /// A callee's id follows from the step, so that it is the same instance on a replay.
    fn callee(&self, step: &Step) -> Name {
        Name::from(format!("{}/{step}", self.instance))
    }

    async fn ask(&self, step: Step, function: Name, op: Name, input: Value) -> Result<Value> {
        let body = envelope(&self.callee(&step), &op, input);
        for attempt in 0.. {
            let call =
                self.site
                    .platform
                    .invoke(&self.scope, &function, Payload::new(body.clone()));
            match self
                .site
                .world
                .effect(&self.scope, "template.call", call)
                .await
            {
                Ok(reply) => return decode_reply(&reply.body),
                Err(error) if attempt + 1 >= INVOCATIONS => return Err(interrupted(error)),
                Err(_) => self.pause(attempt).await,
            }
        }
        unreachable!("the loop ends with its last attempt")
    }

    async fn tell(&self, step: Step, function: Name, op: Name, input: Value) -> Result<()> {
        let body = envelope(&self.callee(&step), &op, input);
        // Once the intent is there, a lost event does not matter: the callee's timer sees to it.
        self.intend(&function, &self.callee(&step), body.clone())
            .await?;
        let event = self
            .site
            .platform
            .enqueue(&self.scope, &function, Payload::new(body));
        drop(
            self.site
                .world
                .effect(&self.scope, "template.send", event)
                .await,
        );
        Ok(())
    }
}

fn optional(value: &Value) -> Option<Value> {
    value.as_list().and_then(<[Value]>::first).cloned()
}

type Answer<'a, T> = LocalBoxFuture<'a, Result<T>>;

impl Instance for Run {
    fn id(&self) -> &Name {
        &self.instance
    }

    fn request(&self) -> u64 {
        self.scope.request().id
    }

    fn read(&self, step: Step, table: Name, key: Name) -> Answer<'_, Option<Value>> {
        Box::pin(async move {
            let many = self.read_many(step, table, vec![key]).await?;
            Ok(many.into_iter().next().flatten())
        })
    }

    fn read_many(
        &self,
        step: Step,
        table: Name,
        keys: Vec<Name>,
    ) -> Answer<'_, Vec<Option<Value>>> {
        Box::pin(async move {
            let looks = keys
                .into_iter()
                .map(|key| self.get("template.read", &table, Key::hash(key)));
            let items = join_all(looks)
                .await
                .into_iter()
                .collect::<Result<Vec<Item>>>()?;
            let found = items
                .into_iter()
                .map(|mut item| Value::list(item.remove(VALUE)));
            let noted = self.note(&step, Value::list(found)).await?;
            Ok(noted
                .as_list()
                .into_iter()
                .flatten()
                .map(optional)
                .collect())
        })
    }

    fn write(&self, step: Step, table: Name, key: Name, value: Value) -> Answer<'_, ()> {
        let change = move |_| (Value::Null, Some(value.clone()));
        Box::pin(async move { self.effect(step, table, key, change).await.map(drop) })
    }

    fn update(
        &self,
        step: Step,
        table: Name,
        key: Name,
        condition: Option<Condition>,
        changes: Vec<Change>,
    ) -> Answer<'_, Updated> {
        let change = move |old: Option<Value>| {
            let mut document: Map = old
                .as_ref()
                .and_then(Value::as_map)
                .cloned()
                .unwrap_or_default();
            if condition
                .as_ref()
                .is_some_and(|condition| !holds(condition, &document))
            {
                return (Value::list([Value::Bool(false)]), None);
            }
            let sum = apply(&mut document, &changes).map(Value::Int);
            (
                Value::list([Value::Bool(true)].into_iter().chain(sum)),
                Some(Value::from(document)),
            )
        };
        Box::pin(async move {
            let outcome = self.effect(step, table, key, change).await?;
            let outcome = outcome.as_list().unwrap_or_default();
            let applied = outcome.first() == Some(&Value::Bool(true));
            Ok(Updated {
                applied,
                sum: outcome.get(1).and_then(Value::as_int),
            })
        })
    }

    fn scan(&self, step: Step, table: Name) -> Answer<'_, Vec<(Name, Value)>> {
        Box::pin(async move {
            let rows = self.pages("template.scan", scan(&table)).await?.into_iter();
            let noted = self.note(&step, Value::list(rows.map(Value::from))).await?;
            let rows = noted
                .as_list()
                .into_iter()
                .flatten()
                .filter_map(Value::as_map);
            Ok(rows.cloned().filter_map(row).collect())
        })
    }

    fn call(&self, step: Step, function: Name, op: Name, input: Value) -> Answer<'_, Value> {
        Box::pin(self.ask(step, function, op, input))
    }

    fn send(&self, step: Step, function: Name, op: Name, input: Value) -> Answer<'_, ()> {
        Box::pin(self.tell(step, function, op, input))
    }

    fn fresh(&self, step: Step, what: Fresh) -> Answer<'_, Value> {
        Box::pin(async move {
            // Derived from the place, an id is unique and the same on a replay.
            let place = self.callee(&step);
            Ok(match what {
                Fresh::Now => {
                    self.note(&step, Value::Int(self.site.world.unix_ms()))
                        .await?
                }
                Fresh::UniqueId => Value::from(place),
                Fresh::Random => Value::Int((mix_str(self.site.world.seed(), &place) >> 1) as i64),
            })
        })
    }
}
