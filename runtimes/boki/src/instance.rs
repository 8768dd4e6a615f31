//! What an app's operations become.

use crate::item::{Op, Seen};
use crate::record::{Callee, Caller, Envelope, Start, Tx, What, intents, steps, transaction};
use crate::run::{Run, diverged};
use crate::tx::{listed, unlisted};
use crate::wrapper::reply_of;
use crate::{Bug, wrapper};
use std::collections::BTreeMap;
use triptych_api::model::{from_value, to_value};
use triptych_api::{
    Change, Condition, Fresh, Instance, LocalBoxFuture, Name, Result, Step, TxEnd, Updated, Value,
    decode_reply,
};
use triptych_site::tables;
use triptych_store::Request;

type Work<'a, T> = LocalBoxFuture<'a, Result<T>>;

impl Run {
    /// Keys and values of a table, as they are now.
    pub(crate) async fn rows(&self, table: &Name) -> Result<BTreeMap<Name, Value>> {
        let items = self.effects.pages("boki.scan", Request::scan(table));
        Ok(tables::rows(items.await?))
    }

    /// The call that a step makes. The callee's id is that of the step, so whoever makes the call
    /// again asks the same instance.
    fn callee(&self, step: &Step, function: Name, op: Name, input: Value) -> Callee {
        let id = match self.has(Bug::FreshCallees) {
            true => Name::from(self.fresh_id()),
            false => Name::from(format!("{}/{step}", self.instance)),
        };
        Callee {
            id,
            function,
            op,
            input,
        }
    }

    fn envelope(&self, callee: &Callee, tx: Option<Tx>) -> Envelope {
        Envelope {
            instance: callee.id.clone(),
            op: callee.op.clone(),
            input: callee.input.clone(),
            caller: None,
            tx,
            registered: false,
            progress: self.progress(),
        }
    }

    /// Calls a function and waits. The call is on the log first, and what it says is what is asked;
    /// the callee's end comes into this instance's stream by the callee's own hand.
    async fn sync_call(&self, step: Step, callee: Callee, tx: Option<Tx>) -> Result<Value> {
        if let Some(end) = self.end_of(step.as_str()) {
            return decode_reply(&result_of(&step, end)?);
        }
        let also = tx.iter().map(|tx| transaction(&tx.id)).collect::<Vec<_>>();
        let call = What::Call(callee);
        let first = self.propose("boki.call.log", step.as_str(), call, &also);
        let callee = match first.await?.1 {
            What::Call(callee) => callee,
            other => return Err(diverged(step.as_str(), &other)),
        };
        if let Some(end) = self.end_of(step.as_str()) {
            return decode_reply(&result_of(&step, end)?);
        }
        let caller = Caller {
            instance: self.instance.clone(),
            step: Name::from(step.as_str()),
        };
        let envelope = Envelope {
            caller: Some(caller),
            ..self.envelope(&callee, tx)
        };
        let body = to_value(&envelope)?;
        // Whatever failed, to call again is to ask the same instance.
        let reply = self
            .effects
            .invoke("boki.call", &callee.function, &body, |_| true);
        let (reply, progress) = reply_of(&reply.await?)?;
        self.log.book.observe(progress);
        decode_reply(&reply)
    }

    /// Hands a call over for which nobody waits. From its registration on it is executed until it has
    /// finished: a lost event is found by the callee's intent collector.
    pub(crate) async fn hand_over(&self, step: &str, callee: Callee) -> Result<()> {
        if self.known(step).is_some() {
            return Ok(());
        }
        if self.has(Bug::RegisterAfterDispatch) {
            let body = to_value(&self.envelope(&callee, None))?;
            let function = &callee.function;
            let event = self
                .effects
                .enqueue("boki.send", function, &body, |_| false);
            drop(event.await);
            let sent = What::Learned(Value::Null);
            let sent = self.propose("boki.send.log", step, sent, &[]);
            return sent.await.map(drop);
        }
        let mut envelope = self.envelope(&callee, None);
        envelope.registered = true;
        let (instance, step) = (self.instance.clone(), Name::from(step));
        let start = Start {
            function: callee.function.clone(),
            envelope: envelope.clone(),
            request: self.effects.scope.request().id,
            since: self.effects.site.world.unix_ms(),
            sender: Some(Caller { instance, step }),
        };
        let entry = crate::record::Entry {
            instance: callee.id.clone(),
            step: Name::from(wrapper::START),
            what: What::Start(start),
        };
        // In the callee's stream, and in this one: registered here is registered there.
        let tags = [self.stream(), steps(&callee.id), intents(&callee.function)];
        self.log.append("boki.send.log", &tags, &entry).await?;
        envelope.progress = self.progress();
        let body = to_value(&envelope)?;
        let function = &callee.function;
        let event = self
            .effects
            .enqueue("boki.send", function, &body, |_| false);
        drop(event.await);
        Ok(())
    }

    async fn plain_read(&self, step: &Step, table: &Name, key: &Name) -> Result<Option<Value>> {
        let learned = match self.learned(step.as_str())? {
            Some(learned) => learned,
            None => {
                let seen = self.look("boki.read", (table, key)).await?;
                let value = listed(std::slice::from_ref(&seen.value));
                self.remember(table, key, seen);
                self.learn(step.as_str(), value).await?
            }
        };
        Ok(unlisted(&learned)?.pop().flatten())
    }

    /// An item may still be like this when it is changed: then nobody need look again.
    fn remember(&self, table: &Name, key: &Name, seen: Seen) {
        let place = (table.clone(), key.clone());
        self.seen.borrow_mut().insert(place, seen);
    }
}

/// What a callee's end says.
fn result_of(step: &Step, end: What) -> Result<Value> {
    match end {
        What::Finish { result, .. } => Ok(result),
        other => Err(diverged(step.as_str(), &other)),
    }
}

impl Instance for Run {
    fn id(&self) -> &Name {
        &self.instance
    }

    fn request(&self) -> u64 {
        self.effects.scope.request().id
    }

    fn read(&self, step: Step, table: Name, key: Name) -> Work<'_, Option<Value>> {
        Box::pin(async move {
            match self.tx_of(&step) {
                Some(tx) => {
                    let values = self.tx_read(&step, &tx, &table, &[key]).await?;
                    Ok(values.into_iter().next().flatten())
                }
                None => self.plain_read(&step, &table, &key).await,
            }
        })
    }

    fn read_many(&self, step: Step, table: Name, keys: Vec<Name>) -> Work<'_, Vec<Option<Value>>> {
        Box::pin(async move {
            if let Some(tx) = self.tx_of(&step) {
                return self.tx_read(&step, &tx, &table, &keys).await;
            }
            if let Some(learned) = self.learned(step.as_str())? {
                return unlisted(&learned);
            }
            let found = self.effects.documents("boki.read", &table, &keys).await?;
            let values = keys.iter().map(|key| found.get(key).cloned());
            let values = listed(&values.collect::<Vec<_>>());
            unlisted(&self.learn(step.as_str(), values).await?)
        })
    }

    fn write(&self, step: Step, table: Name, key: Name, value: Value) -> Work<'_, ()> {
        Box::pin(async move {
            let op = Op::Write(value);
            let done = match self.tx_of(&step) {
                Some(tx) => self.tx_change(&step, &tx, (&table, &key), op).await,
                None => self.change(step.as_str(), (&table, &key), op).await,
            };
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
    ) -> Work<'_, Updated> {
        Box::pin(async move {
            let op = Op::Update(condition, changes);
            match self.tx_of(&step) {
                Some(tx) => self.tx_change(&step, &tx, (&table, &key), op).await,
                None => self.change(step.as_str(), (&table, &key), op).await,
            }
        })
    }

    fn scan(&self, step: Step, table: Name) -> Work<'_, Vec<(Name, Value)>> {
        Box::pin(async move {
            if let Some(tx) = self.tx_of(&step) {
                return self.tx_scan(&step, &tx, &table).await;
            }
            let learned = match self.learned(step.as_str())? {
                Some(learned) => learned,
                None => {
                    let rows: Vec<(Name, Value)> = self.rows(&table).await?.into_iter().collect();
                    self.learn(step.as_str(), to_value(&rows)?).await?
                }
            };
            Ok(from_value(&learned)?)
        })
    }

    fn call(&self, step: Step, function: Name, op: Name, input: Value) -> Work<'_, Value> {
        Box::pin(async move {
            let tx = self.tx_of(&step);
            let callee = self.callee(&step, function, op, input);
            self.sync_call(step, callee, tx).await
        })
    }

    fn send(&self, step: Step, function: Name, op: Name, input: Value) -> Work<'_, ()> {
        Box::pin(async move {
            let callee = self.callee(&step, function, op, input);
            let tx = self.tx_of(&step);
            match tx.filter(|_| !self.has(Bug::SendBeforeCommit)) {
                Some(tx) => self.tx_send(&step, &tx, callee).await,
                None => self.hand_over(step.as_str(), callee).await,
            }
        })
    }

    fn fresh(&self, step: Step, what: Fresh) -> Work<'_, Value> {
        Box::pin(async move {
            if let Some(learned) = self.learned(step.as_str())? {
                return Ok(learned);
            }
            let world = &self.effects.site.world;
            let fresh = match what {
                Fresh::Now => Value::Int(world.unix_ms()),
                Fresh::UniqueId => Value::from(self.fresh_id()),
                Fresh::Random => {
                    let mut random = world.keyed(self.effects.scope.next_key());
                    Value::Int((random.bits() >> 1) as i64)
                }
            };
            match self.has(Bug::FreshNotLogged) {
                true => Ok(fresh),
                false => self.learn(step.as_str(), fresh).await,
            }
        })
    }

    fn joined(&self) -> Option<Name> {
        self.joined.as_ref().map(|tx| tx.id.clone())
    }

    fn begin(&self, tx: Step, attempt: u32) -> Work<'_, ()> {
        Box::pin(async move {
            self.tx_begin(&tx, attempt);
            Ok(())
        })
    }

    fn end(&self, tx: Step, attempt: u32, end: TxEnd) -> Work<'_, ()> {
        Box::pin(async move { self.tx_end(&tx, attempt, end).await })
    }

    fn back_off(&self, tx: Step, attempt: u32) -> Work<'_, ()> {
        Box::pin(async move {
            self.tx_back_off(&tx, attempt).await;
            Ok(())
        })
    }
}
