//! What surrounds every function: its start on the log, the app's code, its end on the log.
//!
//! The start says all that it takes to execute the instance again: the whole envelope, with the
//! caller's step and the transaction. The end has the result, and is one record in three streams: the
//! function's, where the intent collector looks; the instance's, so that whoever executes it again
//! answers from it; and the caller's, so that a caller that is executed again need not ask. So the
//! caller has the result no later than the instance is over, and either can be collected without the
//! other.
//!
//! **No execution begins with an old view of the log.** It may find its own steps missing, or those of
//! its callees, only if they are: what is over is forgotten `T` later, and to repeat a step then is to
//! do it twice. Whoever appends the start has seen the log as it was then. Who finds a start that
//! somebody recorded who sent this after it (an event, from the sender or from the intent collector)
//! was told what they had seen, and they were up to date when they sent it. Who finds one otherwise is
//! repeating a call of which nobody knows how old it is: it makes sure ([`Journal::freshen`]).
//!
//! [`Journal::freshen`]: crate::journal::Journal::freshen

use crate::collector::{restart, sweep};
use crate::machine::{BEGIN, END, End};
use crate::record::{Envelope, Start, What, intents, steps};
use crate::run::Run;
use crate::{Bug, Shared};
use std::rc::Rc;
use triptych_api::model::{from_value, to_value};
use triptych_api::{Call, Error, Name, Result, Value, encode_reply};
use triptych_faas::{Execution, timer_payload};
use triptych_log::Progress;
use triptych_site::Effects;

/// The step of an instance's start, and that of its end. No operation has them.
pub(crate) const START: &str = "start";
pub(crate) const FINISH: &str = "finish";

/// What timers ask for: to execute again what has not finished, and to forget what is long over.
pub(crate) const RESTART: &str = "restart";
pub(crate) const SWEEP: &str = "sweep";

/// Serves a call, an event, or a timer.
pub(crate) async fn serve(shared: Rc<Shared>, execution: Execution) -> Result<Value> {
    let (function, scope) = (execution.function, execution.scope);
    let site = Rc::clone(&shared.site);
    let effects = Effects { site, scope };
    let body = execution.payload.body;
    let collector = |shared| {
        let nobody = Name::from("collector");
        Run::new(
            shared,
            effects.clone(),
            function.clone(),
            nobody,
            Progress::default(),
        )
    };
    if body == timer_payload(RESTART) {
        return restart(&collector(shared)).await;
    }
    if body == timer_payload(SWEEP) {
        return sweep(&collector(shared)).await;
    }
    let envelope: Envelope = from_value(&body)?;
    shared.site.world.describe(&effects.scope, || {
        // A repeated execution must be told to be the same as the first one.
        format!("{} of {}", envelope.op, envelope.instance)
    });
    let progress = Progress::from_bits(envelope.progress);
    let instance = envelope.instance.clone();
    let run = Run::new(shared, effects, function, instance, progress);
    let (run, reply) = execute(run, envelope).await?;
    Ok(reply_with(reply, run.progress()))
}

/// A reply on its way, with how much of the log whoever gives it has seen.
pub(crate) fn reply_with(reply: Value, progress: u64) -> Value {
    Value::map([("reply", reply), ("progress", Value::Int(progress as i64))])
}

/// The reply, and how much of the log was seen.
pub(crate) fn reply_of(body: &Value) -> Result<(Value, Progress)> {
    let progress = body.get("progress").and_then(Value::as_int).unwrap_or(0);
    let reply = body.get("reply").cloned();
    let reply = reply.ok_or_else(|| Error::Bug(format!("not a reply: {body:?}")))?;
    Ok((reply, Progress::from_bits(progress as u64)))
}

async fn execute(mut run: Run, envelope: Envelope) -> Result<(Rc<Run>, Value)> {
    run.catch_up().await?;
    let known = run.view.borrow().result.clone();
    if let Some(result) = known.filter(|_| !run.has(Bug::AcceptLateDuplicate)) {
        return Ok((Rc::new(run), result));
    }
    if run.has(Bug::AcceptLateDuplicate) && run.view.borrow().result.is_some() {
        let fresh = Name::from(format!("{}~{}", run.instance, run.fresh_id()));
        let (shared, effects) = (Rc::clone(&run.shared), run.effects.clone());
        let progress = run.log.book.progress();
        run = Run::new(shared, effects, run.function, fresh, progress);
    } else if envelope.registered {
        if run.view.borrow().start.is_none() {
            // It was recorded before it was sent, so it was collected since.
            return Ok((Rc::new(run), Value::Null));
        }
    } else if run.view.borrow().start.is_some() {
        reload(&run).await?;
        let view = run.view.borrow();
        if view.start.is_none() {
            let why = format!("{} was over and collected long ago", run.instance);
            return Err(Error::Interrupted(why));
        }
        let result = view.result.clone();
        drop(view);
        if let Some(result) = result {
            return Ok((Rc::new(run), result));
        }
    }
    let start = begin(&run, envelope).await?;
    run.born.set(start.since);
    run.joined = start.envelope.tx.clone();
    let run = Rc::new(run);
    if run.has(Bug::FinishBeforeResult) {
        finish(&run, &start, Value::Null).await?;
    }
    let Envelope { op, input, .. } = start.envelope.clone();
    let ended = match &*op {
        BEGIN => run.begin_workflow(),
        END => End::of(&input)?.make(&run).await,
        _ => {
            let call = Call { op, input };
            let instance = Rc::clone(&run) as Rc<dyn triptych_api::Instance>;
            let site = Rc::clone(&run.shared.site);
            let reply = triptych_site::run(&site, &run.function, instance, call).await?;
            let result = finish(&run, &start, reply).await?;
            return Ok((run, result));
        }
    };
    // Without an answer the instance has not finished: it is executed again.
    let reply = encode_reply(ended).map_err(Error::Interrupted)?;
    let result = finish(&run, &start, reply).await?;
    Ok((run, result))
}

/// Reads the instance's stream anew, as it is now.
async fn reload(run: &Run) -> Result<()> {
    run.log.freshen("boki.again").await?;
    drop(run.view.take());
    run.catch_up().await
}

/// The instance's start: the one that is recorded, or this one from now on.
async fn begin(run: &Run, envelope: Envelope) -> Result<Start> {
    let known = run.view.borrow().start.clone();
    if let Some(known) = known {
        return Ok(known);
    }
    let start = Start {
        function: run.function.clone(),
        envelope,
        request: run.effects.scope.request().id,
        since: run.effects.site.world.unix_ms(),
        sender: None,
    };
    let tags = [run.stream(), intents(&run.function)];
    let entry = run.entry(START, What::Start(start));
    run.log.append("boki.start", &tags, &entry).await?;
    run.catch_up().await?;
    let start = run.view.borrow().start.clone();
    start.ok_or_else(|| Error::Interrupted("the start of the instance is gone".to_owned()))
}

/// Records the end of an instance, and returns the result that counts.
async fn finish(run: &Run, start: &Start, result: Value) -> Result<Value> {
    let caller = start.envelope.caller.clone();
    let mut tags = vec![run.stream(), intents(&run.function)];
    tags.extend(caller.iter().map(|caller| steps(&caller.instance)));
    let what = What::Finish {
        function: run.function.clone(),
        result: result.clone(),
        at: run.effects.site.world.unix_ms(),
        caller,
    };
    let entry = run.entry(FINISH, what);
    run.log.append("boki.finish", &tags, &entry).await?;
    if run.has(Bug::FinishBeforeResult) {
        return Ok(result);
    }
    run.catch_up().await?;
    let known = run.view.borrow().result.clone();
    known.ok_or_else(|| Error::Interrupted("the end of the instance is gone".to_owned()))
}

impl Run {
    /// Makes the transaction of a workflow.
    fn begin_workflow(&self) -> Result<Value> {
        let tx = crate::record::Tx {
            born: self.born.get(),
            id: self.instance.clone(),
        };
        Ok(to_value(&tx)?)
    }
}
