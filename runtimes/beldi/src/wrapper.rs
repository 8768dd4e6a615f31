//! What surrounds every function: recording the intent, running the app's code, handing the result
//! over, and only then declaring the instance done (specification §§2.4, 5).
//!
//! The order matters. The result must be durable at the caller before the callee is done, or a
//! collected callee could be executed a second time by its recovering caller.

use crate::envelope::{self, Caller};
use crate::finish::{self, Finish};
use crate::log::{Run, interrupted};
use crate::names::{
    CALLEE, CALLER, CREATED, DONE, FINISHED, INPUT, INSTANCE, LAUNCHED, OP, OVER, PENDING, RETURN,
    STARTED, TRACE, TX, intent_table, log_table, shard,
};
use crate::tx::TxContext;
use crate::{Bug, Shared, collector, gc, machine};
use std::rc::Rc;
use triptych_api::{Call, Ctx, Error, Result, Step, encode_reply};
use triptych_faas::{Execution, Payload};
use triptych_model::{Action, Condition, Item, Name, Operand, Path, Value};
use triptych_store::{Key, Request, Response, Return, StoreError};
use triptych_world::MS;

/// What to run: an instance with its stored input.
struct Intent {
    call: Call,
    caller: Option<Caller>,
    asynchronous: bool,
    tx: Option<TxContext>,
    /// When it was recorded, milliseconds since 1970.
    created: i64,
}

enum Admission {
    Run(Intent),
    /// Already done: this is its result.
    Done(Value),
    /// Not to be run (any more): a late duplicate.
    Refused,
}

/// Serves one execution of a function.
pub(crate) async fn handle(
    shared: Rc<Shared>,
    function: Name,
    execution: Execution,
) -> std::result::Result<Payload, String> {
    let body = execution.payload.body.clone();
    let kind = envelope::text(&body, "kind")?;
    let instance = match &*kind {
        envelope::COLLECT | envelope::SWEEP => Name::from("collector"),
        _ => envelope::text(&body, "instance")?,
    };
    let mut run = Run::new(shared, execution.scope, function, instance);
    run.shared.world.describe(&run.scope, || {
        // A repeated execution must be told to be the same as the first one.
        let op = match &*kind {
            envelope::CALL | envelope::START => body.get("op").and_then(Value::as_str),
            _ => None,
        };
        format!("{} of {}", op.unwrap_or(&kind), run.instance)
    });
    let reply = match &*kind {
        envelope::CALL | envelope::START => run_instance(run, &kind, &body).await,
        envelope::REGISTER => register(&run, &body).await,
        envelope::CALLBACK => take_callback(&run, &body).await,
        envelope::COLLECT => {
            run.instance = Name::from(run.fresh_id());
            collector::collect(&run).await
        }
        envelope::SWEEP => {
            run.instance = Name::from(run.fresh_id());
            gc::sweep(&run).await
        }
        other => Err(Error::Bug(format!("there is no message {other:?}"))),
    };
    reply.map(Payload::new).map_err(|error| error.to_string())
}

async fn run_instance(mut run: Run, kind: &str, body: &Value) -> Result<Value> {
    let admission = match kind {
        envelope::START => admit_start(&run).await?,
        _ => admit_call(&run, body).await?,
    };
    let intent = match admission {
        Admission::Run(intent) => intent,
        Admission::Refused if run.has(Bug::AcceptCollected) => {
            match admit_call(&run, body).await? {
                Admission::Run(intent) => intent,
                Admission::Done(_) | Admission::Refused => return Ok(Value::Null),
            }
        }
        Admission::Done(_) | Admission::Refused
            if run.shared.config.bug == Some(Bug::AcceptLateDuplicate) =>
        {
            run.instance = Name::from(format!("{}~{}", run.instance, run.fresh_id()));
            match admit_call(&run, body).await? {
                Admission::Run(intent) => intent,
                Admission::Done(_) | Admission::Refused => return Ok(Value::Null),
            }
        }
        Admission::Done(result) => return Ok(result),
        Admission::Refused => return Ok(Value::Null),
    };
    let shared = Rc::clone(&run.shared);
    let Some(function) = shared.app.function(&run.function) else {
        return Err(Error::Bug(format!(
            "the app has no function {:?}",
            run.function
        )));
    };
    if !shared.config.is_cross_table() {
        run.joined = intent.tx;
    }
    run.born = intent.created;
    let run = Rc::new(run);
    let result = match &*intent.call.op {
        finish::FINISH => {
            let finish = Finish::from_value(&intent.call.input)?;
            let ended = run.finish_tx(&Step::new("finish"), &finish).await;
            ended.map(|()| Value::Null)
        }
        machine::BEGIN => run.begin_workflow(&intent.call.input).await,
        _ => {
            let instance = Rc::clone(&run) as Rc<dyn triptych_api::Instance>;
            let mut ctx = Ctx::new(instance, shared.retries);
            let result = (function.handler)(&mut ctx, intent.call).await;
            ctx.conclude(result)
        }
    };
    // Without an answer the instance is not done: it will be executed again.
    let result = encode_reply(result).map_err(Error::Interrupted)?;
    hand_over(&run, &intent.caller, intent.asynchronous, &result).await?;
    finish(&run, &result).await?;
    Ok(result)
}

/// Deposits the result at the caller. An asynchronous caller waits for none; the artifact deposits
/// it all the same.
async fn hand_over(
    run: &Run,
    caller: &Option<Caller>,
    asynchronous: bool,
    result: &Value,
) -> Result<()> {
    if run.has(Bug::CallbackLost) {
        return Ok(());
    }
    match caller {
        Some(caller) if run.shared.config.direct => {
            run.deposit(caller, &run.instance, result.clone()).await
        }
        Some(caller) if !asynchronous => {
            let body = envelope::callback(caller, &run.instance, result.clone());
            run.invoke("beldi.callback", &caller.function, body)
                .await
                .map(drop)
        }
        _ => Ok(()),
    }
}

async fn finish(run: &Run, result: &Value) -> Result<()> {
    let now = Value::Int(run.shared.world.unix_ms());
    let mut update = vec![
        set(DONE, Value::Bool(true)),
        set(FINISHED, now),
        Action::Remove(Path::attr(PENDING)),
    ];
    if !run.shared.config.direct {
        update.push(set(RETURN, result.clone()));
    }
    if run.shared.config.gc_period.is_some() {
        update.push(set(OVER, shard(&run.instance)));
    }
    let at = (
        &intent_table(&run.function),
        Key::hash(run.instance.clone()),
    );
    // An intent that is gone was collected: it must not come back as a stub. And the time of the end
    // is the first one's, or repeating a finished instance would keep it from being collected.
    let open = Condition::equals(Path::attr(DONE), false);
    run.update_if("beldi.intent.done", at, update, open)
        .await
        .map(drop)
}

fn set(name: &str, value: Value) -> Action {
    Action::Set(Path::attr(name), Operand::Value(value))
}

/// The clauses that record an intent at this time, milliseconds since 1970.
pub(crate) fn intent_clauses(
    now: i64,
    instance: &Name,
    op: &Name,
    input: &Value,
    caller: Option<&Caller>,
    asynchronous: bool,
    request: u64,
) -> Vec<Action> {
    let mut clauses = vec![
        set(DONE, Value::Bool(false)),
        set("ASYNC", Value::Bool(asynchronous)),
        set(OP, op.clone().into()),
        set(INPUT, input.clone()),
        set(STARTED, Value::Int(now)),
        set(CREATED, Value::Int(now)),
        set(PENDING, shard(instance)),
        set(TRACE, Value::Int(request as i64)),
    ];
    clauses.extend(caller.map(|caller| set(CALLER, caller.to_value())));
    clauses
}

fn parse_intent(item: &Item) -> Result<Intent> {
    let op = match item.get(OP) {
        Some(Value::Str(op)) => op.clone(),
        other => return Err(Error::Bug(format!("an intent's entry point is {other:?}"))),
    };
    Ok(Intent {
        call: Call {
            op,
            input: item.get(INPUT).cloned().unwrap_or_default(),
        },
        caller: item.get(CALLER).and_then(Caller::from_value),
        asynchronous: item.get("ASYNC").and_then(Value::as_bool).unwrap_or(false),
        tx: item.get(TX).and_then(TxContext::from_word),
        created: item.get(CREATED).and_then(Value::as_int).unwrap_or(0),
    })
}

/// A synchronous call or a client's request: records the intent unless it is recorded already.
async fn admit_call(run: &Run, body: &Value) -> Result<Admission> {
    let op = envelope::text(body, "op").map_err(Error::Bug)?;
    let input = body.get("input").cloned().unwrap_or_default();
    let caller = body.get("caller").and_then(Caller::from_value);
    let tx = envelope::tx(body);
    let request = run.scope.request().id;
    let created = run.shared.world.unix_ms();
    let mut clauses = intent_clauses(
        created,
        &run.instance,
        &op,
        &input,
        caller.as_ref(),
        false,
        request,
    );
    clauses.extend(tx.as_ref().map(|tx| set(TX, tx.to_word())));
    let table = intent_table(&run.function);
    let key = Key::hash(run.instance.clone());
    let absent = Condition::Absent(Path::attr(INSTANCE));
    if run
        .update_if("beldi.intent.put", (&table, key.clone()), clauses, absent)
        .await?
    {
        let call = Call { op, input };
        return Ok(Admission::Run(Intent {
            call,
            caller,
            asynchronous: false,
            tx,
            created,
        }));
    }
    let Some(item) = run.get("beldi.intent.get", (&table, key), None).await? else {
        return Ok(Admission::Refused);
    };
    match (item.get(DONE).and_then(Value::as_bool), item.get(RETURN)) {
        (Some(true), Some(result)) => Ok(Admission::Done(result.clone())),
        // Without a stored result (the artifact) a duplicate replays its logs, if they are all
        // there still.
        (Some(true), None) if !keep(run, &item).await? => Ok(Admission::Refused),
        _ => Ok(Admission::Run(parse_intent(&item)?)),
    }
}

/// Makes the end of a finished instance now, so that nobody collects what is about to be replayed.
/// False if somebody may be doing so.
async fn keep(run: &Run, intent: &Item) -> Result<bool> {
    let config = &run.shared.config;
    let (Some(_), Some(finished)) = (config.gc_period, intent.get(FINISHED)) else {
        return Ok(true);
    };
    let now = run.shared.world.unix_ms();
    if finished.as_int() <= Some(now - (config.t / MS) as i64) {
        return Ok(false);
    }
    let seen = Condition::equals(Path::attr(FINISHED), finished.clone());
    let update = vec![set(FINISHED, Value::Int(now))];
    let table = intent_table(&run.function);
    let at = (&table, Key::hash(run.instance.clone()));
    run.update_if("beldi.intent.keep", at, update, seen).await
}

/// An event: runs only what is recorded and not done, so that a late duplicate stops here.
async fn admit_start(run: &Run) -> Result<Admission> {
    let unfinished = Condition::All(vec![
        Condition::Exists(Path::attr(INSTANCE)),
        Condition::equals(Path::attr(DONE), false),
    ]);
    let request = Request::Update {
        table: intent_table(&run.function),
        key: Key::hash(run.instance.clone()),
        update: vec![set(LAUNCHED, Value::Int(run.shared.world.unix_ms()))],
        condition: Some(unfinished),
        returns: Return::AllNew,
    };
    match run.store("beldi.intent.start", request).await {
        Ok(Response::Item(Some(item))) => Ok(Admission::Run(parse_intent(&item)?)),
        Ok(other) => Err(Error::Interrupted(format!(
            "an update was answered with {other:?}"
        ))),
        Err(StoreError::ConditionFailed) => Ok(Admission::Refused),
        Err(error) => Err(interrupted(error)),
    }
}

/// The callee's stub of an asynchronous call: records the intent and tells the caller.
async fn register(run: &Run, body: &Value) -> Result<Value> {
    let op = envelope::text(body, "op").map_err(Error::Bug)?;
    let input = body.get("input").cloned().unwrap_or_default();
    let caller = body.get("caller").and_then(Caller::from_value);
    let Some(caller) = caller else {
        return Err(Error::Bug("a registration names no caller".to_owned()));
    };
    let request = run.scope.request().id;
    let clauses = intent_clauses(
        run.shared.world.unix_ms(),
        &run.instance,
        &op,
        &input,
        Some(&caller),
        true,
        request,
    );
    let at = (
        &intent_table(&run.function),
        Key::hash(run.instance.clone()),
    );
    let absent = Condition::Absent(Path::attr(INSTANCE));
    run.update_if("beldi.register.intent", at, clauses, absent)
        .await?;
    let body = envelope::callback(&caller, &run.instance, Value::Int(1));
    run.invoke("beldi.register.callback", &caller.function, body)
        .await?;
    Ok(Value::Null)
}

/// The caller's side of a callback.
async fn take_callback(run: &Run, body: &Value) -> Result<Value> {
    let caller = Caller {
        function: run.function.clone(),
        instance: run.instance.clone(),
        step: envelope::text(body, "step").map_err(Error::Bug)?,
    };
    let callee = envelope::text(body, "callee").map_err(Error::Bug)?;
    let result = body.get("result").cloned().unwrap_or_default();
    run.deposit(&caller, &callee, result).await?;
    Ok(Value::Null)
}

impl Run {
    /// Puts a result into the invoke log, if the entry is there and names this callee: a blind
    /// write could bring a collected entry back.
    pub(crate) async fn deposit(
        &self,
        caller: &Caller,
        callee: &Name,
        result: Value,
    ) -> Result<()> {
        let key = Key::range(caller.instance.clone(), Value::from(caller.step.clone()));
        let named = Condition::equals(Path::attr(CALLEE), callee.clone());
        let at = (&log_table(&caller.function), key);
        self.update_if("beldi.callback.log", at, vec![set(RETURN, result)], named)
            .await
            .map(drop)
    }
}
