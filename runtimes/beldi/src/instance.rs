//! What an app's operations become on Beldi.

use crate::Bug;
use crate::daal::Effect;
use crate::envelope::{self, Caller};
use crate::finish::Finish;
use crate::log::Run;
use crate::names::{CALLEE, RETURN, intent_table};
use crate::shadow::Send;
use crate::tx::TxContext;
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
    /// Fixes the id of the instance that a step calls. Whoever logs first decides, unless the id was
    /// fixed elsewhere.
    async fn callee(&self, step: &Step, id: Option<Name>) -> Result<Callee> {
        let fresh = id.map_or_else(|| self.fresh_id(), |id| id.to_string());
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

    pub(crate) async fn sync_call(
        &self,
        step: Step,
        to: Name,
        op: Name,
        input: Value,
        tx: Option<TxContext>,
    ) -> Result<Value> {
        if let Some(tx) = &tx {
            let callee = std::slice::from_ref(&to);
            self.shadow_callees(&step, tx, callee).await?;
        }
        let step = match tx.is_some() && self.has(Bug::StepsDependOnLog) {
            true => Step::new(format!("call{}", self.calls.get())),
            false => step,
        };
        let callee = self.callee(&step, None).await?;
        if let Some(result) = callee.result {
            self.calls.set(self.calls.get() + 1);
            return decode_reply(&result);
        }
        self.calls.set(self.calls.get() + 2);
        let caller = self.as_caller(&step);
        let body = envelope::call(&callee.id, &op, input, Some(&caller), tx.as_ref());
        let reply = self.invoke("beldi.invoke", &to, body).await?;
        decode_reply(&reply)
    }

    /// Makes a call that was kept until its transaction committed.
    pub(crate) async fn hand_over(&self, step: Step, send: Send) -> Result<()> {
        let Send {
            id,
            function,
            op,
            input,
        } = send;
        self.async_call(step, Some(id), function, op, input).await
    }

    async fn async_call(
        &self,
        step: Step,
        id: Option<Name>,
        to: Name,
        op: Name,
        input: Value,
    ) -> Result<()> {
        let callee = self.callee(&step, id).await?;
        if callee.result.is_some() {
            // Registered: if the event was lost, the callee's collector starts the instance.
            return Ok(());
        }
        let caller = self.as_caller(&step);
        if self.has(Bug::FireOnly) {
            let call = Payload::new(envelope::call(&callee.id, &op, input, None, None));
            let event = self.shared.platform.enqueue(&self.scope, &to, call);
            drop(
                self.shared
                    .world
                    .effect(&self.scope, "beldi.enqueue", event)
                    .await,
            );
            return Ok(());
        }
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
            self.shared.world.unix_ms(),
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
        let effect = Effect::Update(condition, changes);
        let outcome = self.effect(step.as_str(), &table, &key, effect).await?;
        updated(&outcome)
    }

    async fn read_all(
        &self,
        step: Step,
        table: Name,
        keys: Vec<Name>,
    ) -> Result<Vec<Option<Value>>> {
        let reads = keys.iter().map(|key| self.current(&table, key));
        let found: Vec<Option<Value>> = join_all(reads).await.into_iter().collect::<Result<_>>()?;
        self.log_values(&step, found).await
    }

    /// Logs several values, of which some are missing.
    pub(crate) async fn log_values(
        &self,
        step: &Step,
        found: Vec<Option<Value>>,
    ) -> Result<Vec<Option<Value>>> {
        // A missing value is an empty list, a present one a list of one: null is a value too.
        let entries = found.into_iter().map(Value::list).collect();
        let logged = self.log_list(step, entries).await?;
        Ok(logged
            .iter()
            .map(|entry| entry.as_list().and_then(<[_]>::first).cloned())
            .collect())
    }
}

/// What the logged outcome of an update says.
pub(crate) fn updated(outcome: &Value) -> Result<Updated> {
    match outcome {
        Value::Bool(applied) => Ok(Updated {
            applied: *applied,
            sum: None,
        }),
        Value::Int(sum) => Ok(Updated {
            applied: true,
            sum: Some(*sum),
        }),
        other => Err(Error::Interrupted(format!("an update logged {other:?}"))),
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
            if let Some(tx) = self.tx_of(&step) {
                return self.tx_read(&step, &tx, &table, &key).await;
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
        Box::pin(async move {
            if let Some(tx) = self.tx_of(&step) {
                return self.tx_read_many(&step, &tx, &table, &keys).await;
            }
            self.read_all(step, table, keys).await
        })
    }

    fn write(
        &self,
        step: Step,
        table: Name,
        key: Name,
        value: Value,
    ) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if let Some(tx) = self.tx_of(&step) {
                return self.tx_write(&step, &tx, (&table, &key), value).await;
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
        Box::pin(async move {
            if let Some(tx) = self.tx_of(&step) {
                let at = (&table, &key);
                return self.tx_update(&step, &tx, at, condition, &changes).await;
            }
            self.logged_update(step, table, key, condition, changes)
                .await
        })
    }

    fn scan(&self, step: Step, table: Name) -> LocalBoxFuture<'_, Result<Vec<(Name, Value)>>> {
        Box::pin(async move {
            if let Some(tx) = self.tx_of(&step) {
                return self.tx_scan(&step, &tx, &table).await;
            }
            let rows = self.scan_lists(&table).await?;
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
        Box::pin(async move {
            let tx = self.tx_of(&step);
            self.sync_call(step, function, op, input, tx).await
        })
    }

    fn send(
        &self,
        step: Step,
        function: Name,
        op: Name,
        input: Value,
    ) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let tx = self
                .tx_of(&step)
                .filter(|_| !self.has(Bug::SendBeforeCommit));
            if let Some(tx) = tx {
                let send = Send {
                    id: Name::from(self.fresh_id()),
                    function,
                    op,
                    input,
                };
                return self.shadow_send(&step, &tx, send).await;
            }
            self.async_call(step, None, function, op, input).await
        })
    }

    fn joined(&self) -> Option<Name> {
        self.joined.as_ref().map(|tx| tx.id.clone())
    }

    fn begin(&self, tx: Step, attempt: u32) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if self.shared.config.is_cross_table() {
                return Ok(());
            }
            self.tx_begin(&tx, attempt);
            Ok(())
        })
    }

    fn end(&self, tx: Step, attempt: u32, end: TxEnd) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if self.shared.config.is_cross_table() {
                return Ok(());
            }
            let Some(context) = self.tx_close(&tx, attempt) else {
                return Err(Error::Bug(format!("no transaction is open at step {tx}")));
            };
            let step = tx.sub(&format!("{attempt}.end"));
            self.finish_tx(&step, &Finish::new(context, end)).await
        })
    }

    fn back_off(&self, tx: Step, attempt: u32) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.tx_back_off(&tx, attempt).await;
            Ok(())
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
}
