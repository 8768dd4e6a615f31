//! One execution of one instance: what an app's operations become.

use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Display;
use std::rc::Rc;
use triptych_api::model::{from_value, name, to_value};
use triptych_api::{
    Change, Condition, Fresh, Instance, LocalBoxFuture, Name, Result, Step, Updated, Value,
    decode_reply,
};
use triptych_faas::{Execution, timer_payload};
use triptych_site::tables::{remove, replace, rows, unchanged, updated};
use triptych_site::{Effects, Envelope, Site, interrupted};
use triptych_store::Cancellation::{ConditionFailed, Validation};
use triptych_store::{Request, StoreError, Write};
use triptych_world::{MS, mix_str};

/// The table of what was done, by its place: an instance's id is that of its call, a step's and the
/// reply's are under it. A callee's id is the place of the step that calls it.
pub(crate) const JOURNAL: &str = "template-journal";
/// The table of calls that have no reply, by instance: the function, the client's request that
/// caused the call, and when that was.
pub(crate) const OPEN: &str = "template-open";
/// What the timer asks for.
pub(crate) const RESTART: &str = "restart";
/// How often a step is tried that others get in the way of.
const ATTEMPTS: u32 = 60;

type Work<'a, T> = LocalBoxFuture<'a, Result<T>>;

struct Run {
    effects: Effects,
    instance: Name,
}

/// Serves a call, an event, or the timer.
pub(crate) async fn serve(site: Rc<Site>, execution: Execution) -> Result<Value> {
    let (function, scope) = (execution.function, execution.scope);
    let (effects, body) = (Effects { site, scope }, execution.payload.body);
    match body == timer_payload(RESTART) {
        true => restart(&effects, &function).await,
        false => execute(effects, &function, Envelope::try_from(&body)?).await,
    }
}

async fn execute(effects: Effects, function: &Name, call: Envelope) -> Result<Value> {
    let (site, instance) = (Rc::clone(&effects.site), call.instance.clone());
    let run = Rc::new(Run { effects, instance });
    let call = Envelope::try_from(&run.open(function, call).await?)?.call;
    // Without a reply the call stays open, and the timer executes it again.
    let reply = triptych_site::run(&site, function, Rc::clone(&run) as _, call).await?;
    let close = || remove(&name(OPEN), &run.instance);
    let end = async || Ok((reply.clone(), Some(close())));
    run.record(&run.place("reply"), end).await
}

/// Executes again what was called long ago and has no reply. If somebody else still does, no harm.
async fn restart(effects: &Effects, function: &Name) -> Result<Value> {
    let timeout = (effects.site.timing.timeout / MS) as i64;
    let overdue = effects.site.world.unix_ms() - timeout;
    let (open, journal) = (Request::scan(&name(OPEN)), name(JOURNAL));
    let open = effects.pages("template.overdue", open);
    for (instance, call) in rows(open.await?) {
        let (called, request, since): (Name, i64, i64) = from_value(&call)?;
        if called == *function && since < overdue {
            let asked = effects.document("template.asked", &journal, &instance);
            let call = asked.await?.unwrap_or_default();
            let event = effects.resume("template.restart", request as u64, function, call);
            // A lost event is found again later.
            drop(event.await);
        }
    }
    Ok(Value::Null)
}

impl Run {
    /// Opens a call: from now on it is executed until there is a reply. If the instance was called
    /// before, what it was asked then is what counts.
    async fn open(&self, function: &Name, call: Envelope) -> Result<Value> {
        let now = self.effects.site.world.unix_ms();
        let open = to_value(&(function, self.request() as i64, now))?;
        let open = replace(&name(OPEN), &call.instance, open, None);
        let (place, call) = (call.instance.clone(), Value::from(call));
        let begin = async || Ok((call.clone(), Some(open.clone())));
        self.record(&place, begin).await
    }

    /// Does a step once: what came of an attempt and the effect that it asks for go into the store
    /// together, or not at all. If the journal has the step already, there is no effect, and what
    /// came of it then is returned. If the effect's condition fails, somebody else was faster, and
    /// there is another attempt.
    async fn record<T: Serialize + DeserializeOwned>(
        &self,
        place: &Name,
        attempt: impl AsyncFn() -> Result<(T, Option<Write>)>,
    ) -> Result<T> {
        let journal = name(JOURNAL);
        for tried in 0..ATTEMPTS {
            let (outcome, effect) = attempt().await?;
            let entry = replace(&journal, place, to_value(&outcome)?, Some(unchanged(None)));
            let writes = [entry].into_iter().chain(effect).collect();
            let both = Request::TransactWrite { writes };
            match self.effects.store("template.record", both).await {
                Ok(_) => return Ok(outcome),
                Err(StoreError::Cancelled(why)) if why.first() == Some(&ConditionFailed) => {
                    let entry = self.effects.document("template.recorded", &journal, place);
                    return Ok(from_value(&entry.await?.unwrap_or_default())?);
                }
                Err(StoreError::Cancelled(why)) if !why.contains(&Validation) => {
                    self.effects.pause(tried).await;
                }
                Err(error) => return Err(interrupted(error)),
            }
        }
        Err(interrupted("others always came first"))
    }

    fn place(&self, step: impl Display) -> Name {
        Name::from(format!("{}/{step}", self.instance))
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
            let mut found = self.read_many(step, table, vec![key]).await?;
            Ok(found.pop().flatten())
        })
    }

    fn read_many(&self, step: Step, table: Name, keys: Vec<Name>) -> Work<'_, Vec<Option<Value>>> {
        Box::pin(async move {
            let look = async || {
                let found = self.effects.documents("template.read", &table, &keys);
                Ok((found.await?, None))
            };
            let found = self.record(&self.place(step), look).await?;
            Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
        })
    }

    fn write(&self, step: Step, table: Name, key: Name, value: Value) -> Work<'_, ()> {
        Box::pin(async move {
            let write = async || Ok(((), Some(replace(&table, &key, value.clone(), None))));
            self.record(&self.place(step), write).await
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
            let update = async || {
                let old = self.effects.document("template.look", &table, &key).await?;
                let (updated, new) = updated(old.as_ref(), condition.as_ref(), &changes);
                let unchanged = Some(unchanged(old.as_ref()));
                Ok((
                    updated,
                    new.map(|new| replace(&table, &key, new, unchanged)),
                ))
            };
            self.record(&self.place(step), update).await
        })
    }

    fn scan(&self, step: Step, table: Name) -> Work<'_, Vec<(Name, Value)>> {
        Box::pin(async move {
            let scan = async || {
                let items = self.effects.pages("template.scan", Request::scan(&table));
                Ok((rows(items.await?).into_iter().collect(), None))
            };
            self.record(&self.place(step), scan).await
        })
    }

    fn call(&self, step: Step, function: Name, op: Name, input: Value) -> Work<'_, Value> {
        Box::pin(async move {
            let call = Envelope::new(self.place(step), op, input).into();
            // Whatever failed, to call again is to ask the same instance.
            let reply = self
                .effects
                .invoke("template.call", &function, &call, |_| true);
            decode_reply(&reply.await?)
        })
    }

    fn send(&self, step: Step, function: Name, op: Name, input: Value) -> Work<'_, ()> {
        Box::pin(async move {
            let call = Envelope::new(self.place(step), op, input);
            let call = self.open(&function, call).await?;
            let event = self
                .effects
                .enqueue("template.send", &function, &call, |_| false);
            // The call is open, so if the event is lost, the timer sees to it.
            drop(event.await);
            Ok(())
        })
    }

    fn fresh(&self, step: Step, what: Fresh) -> Work<'_, Value> {
        Box::pin(async move {
            let (world, place) = (&self.effects.site.world, self.place(step));
            let now = async || Ok((Value::Int(world.unix_ms()), None));
            match what {
                Fresh::Now => self.record(&place, now).await,
                Fresh::UniqueId => Ok(Value::from(place)),
                Fresh::Random => Ok(Value::Int((mix_str(world.seed(), &place) >> 1) as i64)),
            }
        })
    }
}
