//! One execution of one instance: what an app's operations become.

use std::rc::Rc;
use triptych_api::model::{Action, Condition, Item, Name, Operand, Path, Value, name};
use triptych_api::{
    Call, Change, Ctx, Error, Fresh, Instance, LocalBoxFuture, Result, Step, Updated, apply,
    decode_reply, encode_reply,
};
use triptych_faas::{Execution, Payload};
use triptych_site::Site;
use triptych_store::{
    Cancellation, Key, Request, Response, Return, StoreError, Write, holds, patient, patient_pages,
};
use triptych_world::{Life, MS, Scope, mix_str};

pub(crate) const JOURNAL: &str = "journal";
/// The attributes of its entries.
pub(crate) const INSTANCE: &str = "Instance";
/// See [`INSTANCE`].
pub(crate) const STEP: &str = "Step";
/// In a call's entry: the function, as long as there is no reply. Also the index over it.
pub(crate) const OPEN: &str = "Open";
/// In a call's entry: when it was last executed.
pub(crate) const SINCE: &str = "Since";
/// In a call's entry: the client's request that caused it.
const REQUEST: &str = "Request";
/// What an entry says; and an app's document, in the tables of functions.
const VALUE: &str = "V";
/// The key of an app's document.
pub(crate) const KEY: &str = "K";

/// The steps of an instance's first and last entry; an app's are numbers.
const CALL: &str = "call";
const REPLY: &str = "reply";

/// How often an effect is tried that others get in the way of, and an invocation that fails.
const ATTEMPTS: u32 = 60;
const INVOCATIONS: u32 = 5;

type Future<'a, T> = LocalBoxFuture<'a, Result<T>>;
type Stored<T> = std::result::Result<T, StoreError>;

/// See the module documentation.
pub(crate) struct Run {
    site: Rc<Site>,
    scope: Scope,
    function: Name,
    instance: Name,
}

/// What is sent to a function.
pub(crate) fn envelope(instance: &str, op: &str, input: Value) -> Value {
    let (instance, op) = (Value::str(instance), Value::str(op));
    Value::map([("instance", instance), ("op", op), ("input", input)])
}

/// The calls of a function without a reply that were last executed before a time.
pub(crate) fn overdue(function: &Name, before: Option<i64>) -> Request {
    Request::Query {
        table: Name::from(JOURNAL),
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
pub(crate) fn pages(
    site: &Site,
    scope: Scope,
    request: Request,
) -> LocalBoxFuture<'static, Stored<Vec<Item>>> {
    let (world, store) = (site.world.clone(), Rc::clone(&site.store));
    Box::pin(patient_pages(world, store, scope, request))
}

/// Key and document of an item in an app's table.
pub(crate) fn row(mut item: Item) -> Option<(Name, Value)> {
    Some((text(&item.remove(KEY)?), item.remove(VALUE)?))
}

fn text(value: &Value) -> Name {
    Name::from(value.as_str().unwrap_or_default())
}

fn field(value: &Value, name: &str) -> Value {
    value.get(name).cloned().unwrap_or_default()
}

fn set(name: &str, value: Value) -> Action {
    Action::Set(Path::attr(name), Operand::Value(value))
}

fn interrupted(error: impl ToString) -> Error {
    Error::Interrupted(error.to_string())
}

impl Run {
    pub(crate) fn new(site: Rc<Site>, function: Name, execution: &Execution) -> Rc<Run> {
        Rc::new(Run {
            site,
            scope: execution.scope.clone(),
            function,
            instance: text(&field(&execution.payload.body, "instance")),
        })
    }

    /// Serves a call, an event, or the timer (which names no instance).
    pub(crate) fn serve(
        self: Rc<Self>,
        body: Value,
    ) -> LocalBoxFuture<'static, std::result::Result<Payload, String>> {
        Box::pin(async move {
            let reply = match &*self.instance {
                "" => self.restart().await,
                _ => self.execute(body).await,
            };
            reply.map(Payload::new).map_err(|error| error.to_string())
        })
    }

    async fn execute(self: &Rc<Self>, body: Value) -> Result<Value> {
        let body = self.intend(&self.function, &self.instance, body).await?;
        let replied = self.entry(&self.instance, REPLY);
        if let Some(reply) = self.look("template.replied", replied).await? {
            return Ok(reply);
        }
        let function = self.site.app.function(&self.function);
        let function = function.ok_or_else(|| Error::Bug("no such function".to_owned()))?;
        let (op, input) = (text(&field(&body, "op")), field(&body, "input"));
        let mut ctx = Ctx::new(Rc::clone(self) as Rc<dyn Instance>, self.site.retries);
        let result = (function.handler)(&mut ctx, Call { op, input }).await;
        // Without an answer there is no reply, and the timer executes the instance again.
        let reply = encode_reply(ctx.conclude(result)).map_err(Error::Interrupted)?;
        let (table, key) = self.entry(&self.instance, CALL);
        let done = Write::Update {
            table,
            key,
            update: vec![Action::Remove(Path::attr(OPEN))],
            condition: None,
        };
        let reply = self.record(&self.instance, REPLY, vec![(VALUE, reply)], Some(done));
        reply
            .await?
            .ok_or_else(|| interrupted("no call for the reply"))
    }

    /// Records that an instance is called, and returns what its call says.
    async fn intend(&self, function: &Name, instance: &Name, body: Value) -> Result<Value> {
        let fields = vec![
            (VALUE, body.clone()),
            (OPEN, function.clone().into()),
            (SINCE, Value::Int(self.site.world.unix_ms())),
            (REQUEST, Value::Int(self.scope.request().id as i64)),
        ];
        let recorded = self.record(instance, CALL, fields, None).await?;
        Ok(recorded.unwrap_or(body))
    }

    /// Executes again what began long ago and left no reply.
    async fn restart(&self) -> Result<Value> {
        let world = &self.site.world;
        let before = world.unix_ms() - (self.site.timing.timeout / MS) as i64;
        let request = overdue(&self.function, Some(before));
        let calls = pages(&self.site, self.scope.clone(), request);
        let calls = world.effect(&self.scope, "template.overdue", calls).await;
        for call in calls.map_err(interrupted)?.into_iter().map(Value::from) {
            let (table, key) = self.entry(&text(&field(&call, INSTANCE)), CALL);
            let seen = Condition::equals(Path::attr(SINCE), field(&call, SINCE));
            // Of several timers one wins, and an instance is not repeated at every tick.
            let claim = Request::Update {
                table,
                key,
                update: vec![set(SINCE, Value::Int(world.unix_ms()))],
                condition: Some(seen.and(Condition::Exists(Path::attr(OPEN)))),
                returns: Return::None,
            };
            match self.store("template.claim", claim).await {
                Err(StoreError::ConditionFailed) => continue,
                claimed => drop(claimed.map_err(interrupted)?),
            }
            // It is still the client's request that causes the work.
            let request = field(&call, REQUEST).as_int().unwrap_or(-1) as u64;
            let path = self.scope.next_key() | 1;
            let scope = Scope::new(world.request(request), path, Life::new());
            let body = Payload::new(field(&call, VALUE));
            let event = self.site.platform.enqueue(&scope, &self.function, body);
            // A lost event is found again later.
            drop(world.effect(&self.scope, "template.restart", event).await);
        }
        Ok(Value::Null)
    }

    /// One store call: an effect boundary, hence a crash point.
    async fn store(&self, point: &'static str, request: Request) -> Stored<Response> {
        let (world, store) = (&self.site.world, Rc::clone(&self.site.store));
        let call = patient(world.clone(), store, self.scope.clone(), request);
        world.effect(&self.scope, point, call).await
    }

    async fn look(&self, point: &'static str, at: (Name, Key)) -> Result<Option<Value>> {
        let request = Request::get(&at.0, at.1);
        match self.store(point, request).await.map_err(interrupted)? {
            Response::Item(item) => Ok(item.and_then(|mut item| item.remove(VALUE))),
            other => Err(interrupted(format!("a get was answered with {other:?}"))),
        }
    }

    fn entry(&self, instance: &Name, step: &str) -> (Name, Key) {
        let key = Key::range(instance.clone(), Value::str(step));
        (Name::from(JOURNAL), key)
    }

    /// Puts into the journal what came of a step, and makes its effect: both or neither. What the
    /// journal says already stands, and is returned instead. None if the effect's condition failed.
    async fn record(
        &self,
        instance: &Name,
        step: &str,
        mut fields: Vec<(&str, Value)>,
        effect: Option<Write>,
    ) -> Result<Option<Value>> {
        let outcome = fields[0].1.clone();
        fields.push((INSTANCE, instance.clone().into()));
        fields.push((STEP, Value::str(step)));
        let entry = Write::Put {
            table: Name::from(JOURNAL),
            item: fields
                .into_iter()
                .map(|(at, value)| (name(at), value))
                .collect(),
            condition: Some(Condition::Absent(Path::attr(INSTANCE))),
        };
        let writes = [entry].into_iter().chain(effect).collect();
        match self
            .store("template.record", Request::TransactWrite { writes })
            .await
        {
            Ok(_) => Ok(Some(outcome)),
            Err(StoreError::Cancelled(why)) if why[0] == Cancellation::ConditionFailed => {
                self.look("template.recorded", self.entry(instance, step))
                    .await
            }
            Err(StoreError::Cancelled(_)) => Ok(None),
            Err(error) => Err(interrupted(error)),
        }
    }

    /// Records a step that has no effect.
    async fn note(&self, step: &Step, outcome: Value) -> Result<Value> {
        let noted = self.record(&self.instance, step.as_str(), vec![(VALUE, outcome)], None);
        noted
            .await?
            .ok_or_else(|| interrupted("the journal refused an entry"))
    }

    /// Replaces a document by what `change` makes of it (or leaves it), and records what `change`
    /// says came of that. If somebody else changes the document meanwhile, it looks again.
    async fn effect(
        &self,
        step: Step,
        at: (Name, Key),
        change: impl Fn(Option<Value>) -> (Value, Option<Value>),
    ) -> Result<Value> {
        let value = || Path::attr(VALUE);
        for attempt in 0..ATTEMPTS {
            let old = self.look("template.look", at.clone()).await?;
            let absent = || Condition::Absent(value());
            let same = |old: &Value| Condition::equals(value(), old.clone());
            let unchanged = old.as_ref().map_or_else(absent, same);
            let (outcome, new) = change(old);
            let effect = new.map(|new| Write::Update {
                table: at.0.clone(),
                key: at.1.clone(),
                update: vec![set(VALUE, new)],
                condition: Some(unchanged),
            });
            let fields = vec![(VALUE, outcome)];
            let recorded = self.record(&self.instance, step.as_str(), fields, effect);
            if let Some(outcome) = recorded.await? {
                return Ok(outcome);
            }
            self.pause(attempt).await;
        }
        Err(interrupted("others always came first"))
    }

    async fn pause(&self, attempt: u32) {
        let mut random = self.site.world.keyed(self.scope.next_key());
        let pause = random.below((20 * MS) << attempt.min(6));
        self.site.world.sleep(pause).await;
    }

    /// What follows from a step is the same on a replay, such as the id of whom it calls.
    fn place(&self, step: &Step) -> Name {
        Name::from(format!("{}/{step}", self.instance))
    }
}

fn document((table, key): (Name, Name)) -> (Name, Key) {
    (table, Key::hash(key))
}

impl Instance for Run {
    fn id(&self) -> &Name {
        &self.instance
    }

    fn request(&self) -> u64 {
        self.scope.request().id
    }

    fn read(&self, step: Step, table: Name, key: Name) -> Future<'_, Option<Value>> {
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
    ) -> Future<'_, Vec<Option<Value>>> {
        Box::pin(async move {
            let mut found = Vec::new();
            for key in keys {
                let look = self.look("template.read", document((table.clone(), key)));
                found.push(Value::list(look.await?));
            }
            let noted = self.note(&step, Value::list(found)).await?;
            let one = |value: &Value| value.as_list()?.first().cloned();
            Ok(noted
                .as_list()
                .unwrap_or_default()
                .iter()
                .map(one)
                .collect())
        })
    }

    fn write(&self, step: Step, table: Name, key: Name, value: Value) -> Future<'_, ()> {
        let change = move |_| (Value::Null, Some(value.clone()));
        Box::pin(async move {
            let done = self.effect(step, document((table, key)), change).await;
            done.map(drop)
        })
    }

    fn update(
        &self,
        step: Step,
        table: Name,
        key: Name,
        condition: Option<Condition>,
        changes: Vec<Change>,
    ) -> Future<'_, Updated> {
        let change = move |old: Option<Value>| {
            let mut new = old
                .as_ref()
                .and_then(Value::as_map)
                .cloned()
                .unwrap_or_default();
            if condition
                .as_ref()
                .is_some_and(|wanted| !holds(wanted, &new))
            {
                return (Value::list([]), None);
            }
            let sum = apply(&mut new, &changes);
            let outcome = Value::list([sum.map_or(Value::Null, Value::Int)]);
            (outcome, Some(Value::from(new)))
        };
        Box::pin(async move {
            let outcome = self.effect(step, document((table, key)), change).await?;
            let applied = outcome.as_list().and_then(<[Value]>::first);
            Ok(Updated {
                applied: applied.is_some(),
                sum: applied.and_then(Value::as_int),
            })
        })
    }

    fn scan(&self, step: Step, table: Name) -> Future<'_, Vec<(Name, Value)>> {
        Box::pin(async move {
            let (site, scope) = (&self.site, self.scope.clone());
            let rows = pages(site, scope, Request::scan(&table));
            let rows = site.world.effect(&self.scope, "template.scan", rows).await;
            let rows = rows.map_err(interrupted)?.into_iter().map(Value::from);
            let noted = self.note(&step, Value::list(rows)).await?;
            let items = noted.as_list().unwrap_or_default().iter();
            Ok(items
                .filter_map(|item| row(item.as_map()?.clone()))
                .collect())
        })
    }

    fn call(&self, step: Step, function: Name, op: Name, input: Value) -> Future<'_, Value> {
        Box::pin(async move {
            let body = envelope(&self.place(&step), &op, input);
            for attempt in 0..INVOCATIONS {
                let body = Payload::new(body.clone());
                let call = self.site.platform.invoke(&self.scope, &function, body);
                let reply = self.site.world.effect(&self.scope, "template.call", call);
                if let Ok(reply) = reply.await {
                    return decode_reply(&reply.body);
                }
                self.pause(attempt).await;
            }
            Err(interrupted(format!("{function} does not answer")))
        })
    }

    fn send(&self, step: Step, function: Name, op: Name, input: Value) -> Future<'_, ()> {
        Box::pin(async move {
            let body = envelope(&self.place(&step), &op, input);
            // With the call recorded, a lost event does not matter: a timer sees to it.
            self.intend(&function, &self.place(&step), body.clone())
                .await?;
            let body = Payload::new(body);
            let event = self.site.platform.enqueue(&self.scope, &function, body);
            drop(
                self.site
                    .world
                    .effect(&self.scope, "template.send", event)
                    .await,
            );
            Ok(())
        })
    }

    fn fresh(&self, step: Step, what: Fresh) -> Future<'_, Value> {
        Box::pin(async move {
            let (world, place) = (&self.site.world, self.place(&step));
            Ok(match what {
                Fresh::Now => self.note(&step, Value::Int(world.unix_ms())).await?,
                Fresh::UniqueId => Value::from(place),
                Fresh::Random => Value::Int((mix_str(world.seed(), &place) >> 1) as i64),
            })
        })
    }
}
