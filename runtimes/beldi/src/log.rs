//! The read log and the invoke log: one table per function, one entry per (instance, step).
//!
//! A read has no effect, so it may happen several times; what counts is the first value that was
//! logged, and only a logged value is ever shown to the app.

use crate::names::{INSTANCE, VALUE, log_table};
use crate::tx::{Held, Open, TxContext};
use crate::{Bug, Shared};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use triptych_api::{Error, Result, Step};
use triptych_faas::{InvokeError, Payload};
use triptych_model::{Action, Condition, Item, Name, Operand, Path, Value};
use triptych_store::{Key, Request, Response, Return, StoreError, patient};
use triptych_world::{MS, Scope};

/// One execution of one instance.
pub(crate) struct Run {
    pub(crate) shared: Rc<Shared>,
    pub(crate) scope: Scope,
    pub(crate) function: Name,
    pub(crate) instance: Name,
    /// The transaction that this instance was called in.
    pub(crate) joined: Option<TxContext>,
    /// Transactions that are open here.
    pub(crate) open: RefCell<Vec<Open>>,
    /// When the instance was recorded, milliseconds since 1970: the birth of its transactions.
    pub(crate) born: i64,
    /// Locks that this execution knows transactions to have: transaction, table, key.
    pub(crate) held: RefCell<BTreeMap<(Name, Name, Name), Held>>,
    /// Transactions whose shadow this execution knows to be there; true if it had one row.
    pub(crate) shadows: RefCell<BTreeMap<Name, bool>>,
    /// Callees that this execution knows to be noted: transaction, function.
    pub(crate) called: RefCell<BTreeSet<(Name, Name)>>,
    /// For [`Bug::StepsDependOnLog`] alone.
    pub(crate) calls: Cell<u32>,
}

/// The part of a long logged list that fits well into one item.
const CHUNK_BYTES: usize = 300 * 1024;
/// The id of the set of chunks that a log entry stands for.
const CHUNKS: &str = "CHUNKS";
/// How many there are.
const COUNT: &str = "COUNT";
/// How often a throttled invocation is tried again.
const THROTTLED_RETRIES: u32 = 6;
/// How often a failed one is. The callee's id is logged, so that it is the same instance.
const FAILED_RETRIES: u32 = 2;

pub(crate) fn interrupted(error: StoreError) -> Error {
    Error::Interrupted(error.to_string())
}

impl Run {
    pub(crate) fn new(shared: Rc<Shared>, scope: Scope, function: Name, instance: Name) -> Self {
        Run {
            shared,
            scope,
            function,
            instance,
            joined: None,
            open: RefCell::default(),
            born: 0,
            held: RefCell::default(),
            shadows: RefCell::default(),
            called: RefCell::default(),
            calls: Cell::new(0),
        }
    }

    /// One store call: an effect boundary and a crash point.
    pub(crate) async fn store(
        &self,
        point: &'static str,
        request: Request,
    ) -> std::result::Result<Response, StoreError> {
        let world = &self.shared.world;
        let store = Rc::clone(&self.shared.store);
        let call = patient(world.clone(), store, self.scope.clone(), request);
        world.effect(&self.scope, point, call).await
    }

    /// A conditional update. False if the condition did not hold.
    pub(crate) async fn update_if(
        &self,
        point: &'static str,
        (table, key): (&Name, Key),
        update: Vec<Action>,
        condition: Condition,
    ) -> Result<bool> {
        let (table, condition) = (table.clone(), Some(condition));
        let request = Request::Update {
            table,
            key,
            update,
            condition,
            returns: Return::None,
        };
        match self.store(point, request).await {
            Ok(_) => Ok(true),
            // Only this error means that the condition was false; any other one leaves it open.
            Err(StoreError::ConditionFailed) => Ok(false),
            Err(error) => Err(interrupted(error)),
        }
    }

    /// A strongly consistent read of some attributes.
    pub(crate) async fn get(
        &self,
        point: &'static str,
        (table, key): (&Name, Key),
        projection: Option<Vec<Path>>,
    ) -> Result<Option<Item>> {
        let request = Request::Get {
            table: table.clone(),
            key,
            projection,
            consistent: true,
        };
        match self.store(point, request).await.map_err(interrupted)? {
            Response::Item(item) => Ok(item),
            other => Err(Error::Interrupted(format!(
                "a get was answered with {other:?}"
            ))),
        }
    }

    fn entry(&self, step: &str) -> Key {
        Key::range(self.instance.clone(), Value::str(step))
    }

    /// Puts a log entry if there is none. False if there is one.
    pub(crate) async fn put_log(
        &self,
        point: &'static str,
        step: &str,
        attributes: Vec<(&str, Value)>,
    ) -> Result<bool> {
        let set = |(name, value)| Action::Set(Path::attr(name), Operand::Value(value));
        let mut update: Vec<Action> = attributes.into_iter().map(set).collect();
        if update.is_empty() {
            // An update without a clause would not create the item in every store.
            update.push(Action::Set(
                Path::attr("NONE"),
                Operand::Value(Value::Bool(true)),
            ));
        }
        let absent = Condition::Absent(Path::attr(INSTANCE));
        self.update_if(
            point,
            (&log_table(&self.function), self.entry(step)),
            update,
            absent,
        )
        .await
    }

    /// A log entry that must exist, because putting it failed.
    pub(crate) async fn get_log(&self, step: &str) -> Result<Item> {
        let at = (&log_table(&self.function), self.entry(step));
        let item = self.get("beldi.log.get", at, None).await?;
        item.ok_or_else(|| Error::Interrupted(format!("the log entry of step {step} is gone")))
    }

    /// Logs what was read, and returns what the log says.
    pub(crate) async fn log_value(
        &self,
        step: &Step,
        value: Option<Value>,
    ) -> Result<Option<Value>> {
        if self.shared.config.bug == Some(Bug::SkipReadLog) {
            return Ok(value);
        }
        let attributes = value.iter().map(|value| (VALUE, value.clone())).collect();
        if self
            .put_log("beldi.read.log", step.as_str(), attributes)
            .await?
        {
            return Ok(value);
        }
        Ok(self.get_log(step.as_str()).await?.remove(VALUE))
    }

    /// Logs a list, in several items if one would be too large. The chunks of one execution stand
    /// under an id of their own; the entry that names the id decides whose they are.
    pub(crate) async fn log_list(&self, step: &Step, list: Vec<Value>) -> Result<Vec<Value>> {
        if self.shared.config.bug == Some(Bug::SkipReadLog) {
            return Ok(list);
        }
        if list.iter().map(|value| value.size() + 1).sum::<usize>() <= CHUNK_BYTES {
            let logged = self.log_value(step, Some(Value::list(list))).await?;
            if let Some(Value::List(list)) = logged {
                return Ok((*list).clone());
            }
        } else {
            let id = self.fresh_id();
            let mut chunks: Vec<Vec<Value>> = vec![Vec::new()];
            let mut bytes = 0;
            for value in list.iter().cloned() {
                bytes += value.size() + 1;
                if bytes > CHUNK_BYTES {
                    chunks.push(Vec::new());
                    bytes = value.size() + 1;
                }
                chunks
                    .last_mut()
                    .expect("there is always a chunk")
                    .push(value);
            }
            let count = Value::Int(chunks.len() as i64);
            for (at, chunk) in chunks.into_iter().enumerate() {
                let place = format!("{step}.{id}.{at}");
                self.put_log(
                    "beldi.read.chunk",
                    &place,
                    vec![(VALUE, Value::list(chunk))],
                )
                .await?;
            }
            let entry = vec![(CHUNKS, Value::str(&id)), (COUNT, count)];
            if self.put_log("beldi.read.log", step.as_str(), entry).await? {
                return Ok(list);
            }
        }
        self.read_chunks(step).await
    }

    async fn read_chunks(&self, step: &Step) -> Result<Vec<Value>> {
        let entry = self.get_log(step.as_str()).await?;
        if let Some(Value::List(list)) = entry.get(VALUE) {
            return Ok((**list).clone());
        }
        let (Some(Value::Str(id)), Some(Value::Int(count))) = (entry.get(CHUNKS), entry.get(COUNT))
        else {
            return Err(Error::Interrupted(format!(
                "the log entry of step {step} is no list"
            )));
        };
        let mut list = Vec::new();
        for at in 0..*count {
            let chunk = self.get_log(&format!("{step}.{id}.{at}")).await?;
            list.extend(
                chunk
                    .get(VALUE)
                    .and_then(Value::as_list)
                    .unwrap_or_default()
                    .to_vec(),
            );
        }
        Ok(list)
    }

    /// An id that nobody else has: as good as random, yet the same in every run of a simulation.
    pub(crate) fn fresh_id(&self) -> String {
        const ALPHABET: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
        let mut random = self.shared.world.keyed(self.scope.next_key());
        let letter = |_| ALPHABET[random.below(ALPHABET.len() as u64) as usize] as char;
        (0..22).map(letter).collect()
    }

    /// Invokes a function: again after a pause if it was throttled, and a few times if it failed.
    pub(crate) async fn invoke(
        &self,
        point: &'static str,
        function: &Name,
        body: Value,
    ) -> Result<Value> {
        let world = &self.shared.world;
        let (mut throttled, mut failed) = (0, 0);
        loop {
            let payload = Payload::new(body.clone());
            let call = self.shared.platform.invoke(&self.scope, function, payload);
            let error = match world.effect(&self.scope, point, call).await {
                Ok(reply) => return Ok(reply.body),
                Err(error) => error,
            };
            match error {
                InvokeError::Throttled(_) if throttled < THROTTLED_RETRIES => throttled += 1,
                InvokeError::Crashed(_) | InvokeError::Unavailable(_)
                    if failed < FAILED_RETRIES =>
                {
                    failed += 1;
                }
                error => return Err(Error::Interrupted(error.to_string())),
            }
            let most = (50 * MS) << (throttled + failed).min(8);
            let pause = world.keyed(self.scope.next_key()).below(most);
            world.sleep(pause).await;
        }
    }
}
