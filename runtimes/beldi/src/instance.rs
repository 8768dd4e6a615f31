//! What an app's operations become on Beldi.

use crate::daal::Effect;
use crate::envelope::{self, Caller};
use crate::log::Run;
use crate::names::{CALLEE, RETURN, intent_table};
use crate::tx::{Context, Mode};
use crate::wrapper::intent_clauses;
use futures_util::future::{LocalBoxFuture, join_all};
use triptych_api::{Change, Error, Fresh, Instance, Result, Step, TxEnd, Updated, decode_reply};
use triptych_faas::Payload;
use triptych_model::{Condition, Name, Path, Value};
use triptych_store::Key;
use triptych_world::{mix, mix_str};

/// A callee whose id is fixed by the invoke log.
struct Callee {
    id: Name,
    /// What the log says of its end, if it says anything.
    result: Option<Value>,
}

impl Run {
    /// Fixes the id of the instance that a step calls. Whoever logs first decides.
    async fn callee(&self, step: &Step) -> Result<Callee> {
        let fresh = self.fresh_id();
        let entry = vec![(CALLEE, Value::str(&fresh))];
        if self
            .put_log("beldi.invoke.log", step.as_str(), entry)
            .await?
        {
            return Ok(Callee {
                id: Name::from(fresh),
                result: None,
            });
        }
        let mut entry = self.get_log(step.as_str()).await?;
        match entry.remove(CALLEE) {
            Some(Value::Str(id)) => Ok(Callee {
                id,
                result: entry.remove(RETURN),
            }),
            _ => Err(Error::Interrupted(format!(
                "the log entry of step {step} names no callee"
            ))),
        }
    }

    fn as_caller(&self, step: &Step) -> Caller {
        Caller {
            function: self.function.clone(),
            instance: self.instance.clone(),
            step: Name::from(step.as_str()),
        }
    }

    async fn sync_call(&self, step: Step, to: Name, op: Name, input: Value) -> Result<Value> {
        let Some(tx) = self.transaction_of(&step) else {
            return self.call_as(step, to, (op, input), None).await;
        };
        let step = self.spoil_step(step).await?;
        // Its participant is recorded before it can lock anything.
        self.record_callee(&tx, &step, &to).await?;
        let context = tx.context(Mode::Execute);
        self.call_as(step, to, (op, input), Some(context)).await
    }

    /// A logged call, with what it is to do in a transaction.
    pub(crate) async fn call_as(
        &self,
        step: Step,
        to: Name,
        (op, input): (Name, Value),
        context: Option<Context>,
    ) -> Result<Value> {
        let callee = self.callee(&step).await?;
        if let Some(result) = callee.result {
            return decode_reply(&result);
        }
        let caller = self.as_caller(&step);
        let body = envelope::call(&callee.id, &op, input, Some(&caller), context.as_ref());
        let reply = self.invoke("beldi.invoke", &to, body).await?;
        decode_reply(&reply)
    }

    pub(crate) async fn async_call(
        &self,
        step: Step,
        to: Name,
        op: Name,
        input: Value,
    ) -> Result<()> {
        let callee = self.callee(&step).await?;
        if callee.result.is_some() {
            // Registered: if the event was lost, the callee's collector starts the instance.
            return Ok(());
        }
        let caller = self.as_caller(&step);
        if self.shared.config.direct {
            self.register_directly(&callee.id, &to, &op, &input, &caller)
                .await?;
        } else {
            let body = envelope::register(&callee.id, &op, input.clone(), &caller);
            self.invoke("beldi.register", &to, body).await?;
        }
        let payload = Payload::new(envelope::start(&callee.id, &op, input));
        let event = self.shared.platform.enqueue(&self.scope, &to, payload);
        // The intent is recorded, so a refused event only means that the collector starts it.
        drop(
            self.shared
                .world
                .effect(&self.scope, "beldi.enqueue", event)
                .await,
        );
        Ok(())
    }

    /// The artifact's shortcut: the caller writes the callee's intent and its own log.
    async fn register_directly(
        &self,
        callee: &Name,
        to: &Name,
        op: &Name,
        input: &Value,
        caller: &Caller,
    ) -> Result<()> {
        let clauses = intent_clauses(
            &self.shared.world,
            callee,
            op,
            input,
            Some(caller),
            true,
            self.scope.request().id,
        );
        let absent = Condition::Absent(Path::attr(crate::names::INSTANCE));
        let at = (&intent_table(to), Key::hash(callee.clone()));
        self.update_if("beldi.register.intent", at, clauses, absent)
            .await?;
        self.deposit(caller, callee, Value::Int(1)).await
    }

    async fn logged_update(
        &self,
        step: Step,
        table: Name,
        key: Name,
        condition: Option<Condition>,
        changes: Vec<Change>,
    ) -> Result<Updated> {
        let condition = condition.unwrap_or(Condition::All(Vec::new()));
        let outcome = match self.transaction_of(&step) {
            Some(tx) => {
                self.tx_update(&tx, &step, (&table, &key), &condition, &changes)
                    .await?
            }
            None => {
                let effect = Effect::Update(condition, changes);
                self.effect(step.as_str(), &table, &key, effect).await?
            }
        };
        match outcome {
            Value::Bool(applied) => Ok(Updated { applied, sum: None }),
            Value::Int(sum) => Ok(Updated {
                applied: true,
                sum: Some(sum),
            }),
            other => Err(Error::Interrupted(format!("an update logged {other:?}"))),
        }
    }

    async fn read_all(
        &self,
        step: Step,
        table: Name,
        keys: Vec<Name>,
    ) -> Result<Vec<Option<Value>>> {
        let found = match self.transaction_of(&step) {
            Some(tx) => self.tx_look(&tx, &step, &table, &keys).await?,
            None => {
                let reads = keys.iter().map(|key| self.current(&table, key));
                join_all(reads).await.into_iter().collect::<Result<_>>()?
            }
        };
        // A missing value is an empty list, a present one a list of one: null is a value too.
        let entries = found.into_iter().map(Value::list).collect();
        let logged = self.log_list(&step, entries).await?;
        Ok(logged
            .iter()
            .map(|entry| entry.as_list().and_then(<[_]>::first).cloned())
            .collect())
    }
}

impl Instance for Run {
    fn id(&self) -> &Name {
        &self.instance
    }

    fn request(&self) -> u64 {
        self.scope.request().id
    }

    fn read(
        &self,
        step: Step,
        table: Name,
        key: Name,
    ) -> LocalBoxFuture<'_, Result<Option<Value>>> {
        Box::pin(async move {
            if let Some(tx) = self.transaction_of(&step) {
                return self.tx_read(&tx, step, &table, &key).await;
            }
            let value = self.current(&table, &key).await?;
            self.log_value(&step, value).await
        })
    }

    fn read_many(
        &self,
        step: Step,
        table: Name,
        keys: Vec<Name>,
    ) -> LocalBoxFuture<'_, Result<Vec<Option<Value>>>> {
        Box::pin(self.read_all(step, table, keys))
    }

    fn write(
        &self,
        step: Step,
        table: Name,
        key: Name,
        value: Value,
    ) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if let Some(tx) = self.transaction_of(&step) {
                return self.tx_write(&tx, step, &table, &key, value).await;
            }
            self.effect(step.as_str(), &table, &key, Effect::Write(value))
                .await
                .map(drop)
        })
    }

    fn update(
        &self,
        step: Step,
        table: Name,
        key: Name,
        condition: Option<Condition>,
        changes: Vec<Change>,
    ) -> LocalBoxFuture<'_, Result<Updated>> {
        Box::pin(self.logged_update(step, table, key, condition, changes))
    }

    fn scan(&self, step: Step, table: Name) -> LocalBoxFuture<'_, Result<Vec<(Name, Value)>>> {
        Box::pin(async move {
            let rows = match self.transaction_of(&step) {
                Some(tx) => self.tx_scan(&tx, &step, &table).await?,
                None => self.scan_lists(&table).await?,
            };
            let pairs = rows
                .into_iter()
                .map(|(key, value)| Value::list([key.into(), value]));
            let logged = self.log_list(&step, pairs.collect()).await?;
            let pair = |entry: &Value| match entry.as_list()? {
                [Value::Str(key), value] => Some((key.clone(), value.clone())),
                _ => None,
            };
            Ok(logged.iter().filter_map(pair).collect())
        })
    }

    fn call(
        &self,
        step: Step,
        function: Name,
        op: Name,
        input: Value,
    ) -> LocalBoxFuture<'_, Result<Value>> {
        Box::pin(self.sync_call(step, function, op, input))
    }

    fn send(
        &self,
        step: Step,
        function: Name,
        op: Name,
        input: Value,
    ) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            match self.transaction_of(&step) {
                Some(tx) => self.tx_send(&tx, step, function, op, input).await,
                None => self.async_call(step, function, op, input).await,
            }
        })
    }

    fn fresh(&self, step: Step, what: Fresh) -> LocalBoxFuture<'_, Result<Value>> {
        Box::pin(async move {
            // Ids and random numbers are derived from the log key: the same on a replay for free.
            let key = mix_str(self.shared.world.seed(), &self.cid(step.as_str()));
            match what {
                Fresh::Now => {
                    let now = Value::Int(self.shared.world.unix_ms());
                    let logged = self.log_value(&step, Some(now)).await?;
                    logged.ok_or_else(|| Error::Interrupted("the logged time is gone".to_owned()))
                }
                Fresh::UniqueId => Ok(Value::from(format!(
                    "{key:016x}{:016x}",
                    mix_str(1, &self.cid(step.as_str()))
                ))),
                Fresh::Random => Ok(Value::Int((mix(key, 2) >> 1) as i64)),
            }
        })
    }

    fn joined(&self) -> Option<Name> {
        self.joined_transaction().map(|tx| tx.id)
    }

    fn begin(&self, tx: Step, attempt: u32) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(self.begin_transaction(tx, attempt))
    }

    fn end(&self, tx: Step, attempt: u32, end: TxEnd) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(self.end_transaction(tx, attempt, end))
    }

    fn back_off(&self, tx: Step, attempt: u32) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(self.wait_before_retry(tx, attempt))
    }
}
