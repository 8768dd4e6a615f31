//! The intent collector: executes instances again that did not finish (specification §6).
//!
//! Every function has one, run by a timer, over all of its unfinished intents, asynchronous or not.
//! It finds them in a sparse index by start time, and moves the start time forward with a condition
//! before it starts one again, so that an instance that takes long is not restarted at every tick.
//! Safety never depends on this: a duplicate is harmless.

use crate::log::{Run, interrupted};
use crate::names::{
    DONE, INPUT, INSTANCE, OP, PENDING, PENDING_INDEX, PENDING_SHARDS, STARTED, TRACE, intent_table,
};
use crate::{Bug, envelope};
use std::rc::Rc;
use triptych_api::{Error, Result};
use triptych_faas::Payload;
use triptych_model::{Action, Condition, Item, Name, Operand, Path, Value};
use triptych_store::{Key, Request, Response};
use triptych_world::{Life, MS, Scope};

/// One pass over a function's unfinished intents. Returns how many it started.
pub(crate) async fn collect(run: &Run) -> Result<Value> {
    let age = (run.shared.config.restart_after / MS) as i64;
    let before = run.shared.world.unix_ms() - age;
    let mut started = 0;
    for shard in 0..PENDING_SHARDS {
        for found in unfinished(run, shard, before).await? {
            if restart(run, &found).await? {
                started += 1;
            }
        }
    }
    Ok(Value::Int(started))
}

async fn unfinished(run: &Run, shard: u64, before: i64) -> Result<Vec<Item>> {
    let mut found = Vec::new();
    let mut start = None;
    loop {
        let request = Request::Query {
            table: intent_table(&run.function),
            index: Some(Name::from(PENDING_INDEX)),
            hash: Value::from(shard.to_string()),
            range_below: Some(Value::Int(before)),
            filter: None,
            projection: None,
            consistent: false,
            limit: None,
            start: start.take(),
        };
        match run
            .store("beldi.collect.query", request)
            .await
            .map_err(interrupted)?
        {
            Response::Page { items, next } => {
                found.extend(items);
                start = next;
            }
            other => {
                return Err(Error::Interrupted(format!(
                    "a query was answered with {other:?}"
                )));
            }
        }
        if start.is_none() {
            return Ok(found);
        }
    }
}

async fn restart(run: &Run, found: &Item) -> Result<bool> {
    let (Some(Value::Str(instance)), Some(seen)) = (found.get(INSTANCE), found.get(STARTED)) else {
        return Ok(false);
    };
    let table = intent_table(&run.function);
    let key = Key::hash(instance.clone());
    let Some(intent) = run
        .get("beldi.collect.get", (&table, key.clone()), None)
        .await?
    else {
        return Ok(false);
    };
    let now = Value::Int(run.shared.world.unix_ms());
    let bump = vec![Action::Set(Path::attr(STARTED), Operand::Value(now))];
    let unchanged = Condition::All(vec![
        Condition::equals(Path::attr(STARTED), seen.clone()),
        Condition::equals(Path::attr(DONE), false),
    ]);
    if !run
        .update_if("beldi.collect.bump", (&table, key), bump, unchanged)
        .await?
    {
        return Ok(false);
    }
    let op = match intent.get(OP) {
        Some(Value::Str(op)) => op.clone(),
        _ => return Ok(false),
    };
    let input = intent.get(INPUT).cloned().unwrap_or_default();
    let payload = if run.has(Bug::RestartUnderNewId) {
        give_up(run, instance).await?;
        Payload::new(envelope::call(&run.fresh_id(), &op, input, None, None))
    } else {
        Payload::new(envelope::start(instance, &op, input))
    };
    // The repeated execution is the original request's work, not the collector's.
    let request = intent.get(TRACE).and_then(Value::as_int).unwrap_or(-1) as u64;
    let request = run.shared.world.request(request);
    let scope = Scope::new(Rc::clone(&request), run.scope.next_key() | 1, Life::new());
    let event = run.shared.platform.enqueue(&scope, &run.function, payload);
    // A lost event is found again at a later tick.
    drop(
        run.shared
            .world
            .effect(&run.scope, "beldi.collect.enqueue", event)
            .await,
    );
    Ok(true)
}

/// Part of the seeded defect [`Bug::RestartUnderNewId`]: the old instance is left as if done.
async fn give_up(run: &Run, instance: &Name) -> Result<()> {
    let done = Action::Set(Path::attr(DONE), Operand::Value(Value::Bool(true)));
    let update = vec![done, Action::Remove(Path::attr(PENDING))];
    let at = (&intent_table(&run.function), Key::hash(instance.clone()));
    let exists = Condition::Exists(Path::attr(INSTANCE));
    run.update_if("beldi.collect.bump", at, update, exists)
        .await
        .map(drop)
}
