//! What every deployment does alike: registering the app's functions, setting their timers, running
//! their code, and what a client makes of an answer.

use crate::Site;
use std::future::Future;
use std::rc::Rc;
use triptych_api::{App, Call, Ctx, Error, Instance, Name, Value, client_view, encode_reply};
use triptych_faas::{Answer, Execution, Handler, InvokeError, Payload, Timer, timer_payload};
use triptych_world::Nanos;

/// A handler for each of the app's functions; an execution says which one it is of. `serve` gives the
/// reply, or says why there is none; `shared` is what all executions share.
pub fn handlers<S, F>(
    app: &App,
    shared: &Rc<S>,
    serve: fn(Rc<S>, Execution) -> F,
) -> Vec<(Name, Handler)>
where
    S: 'static,
    F: Future<Output = triptych_api::Result<Value>> + 'static,
{
    let handler = |name: &Name| -> (Name, Handler) {
        let shared = Rc::clone(shared);
        let handler = move |execution| -> triptych_api::LocalBoxFuture<'static, _> {
            let reply = serve(Rc::clone(&shared), execution);
            Box::pin(async move {
                let reply = reply.await.map(Payload::new);
                reply.map_err(|error| error.to_string())
            })
        };
        (name.clone(), Rc::new(handler))
    };
    app.functions
        .iter()
        .map(|function| handler(&function.name))
        .collect()
}

/// A timer for each of the app's functions, which sends it the [`timer_payload`] of `what`.
pub fn timers(app: &App, period: Nanos, what: &str) -> Vec<Timer> {
    let timer = |name: &Name| Timer {
        function: name.clone(),
        period,
        payload: timer_payload(what),
    };
    app.functions
        .iter()
        .map(|function| timer(&function.name))
        .collect()
}

/// Runs the code of a function once, as an execution of `instance`, and gives its reply: what it
/// decided, as a document ([`triptych_api::decode_reply`]).
///
/// # Errors
/// [`Error::Interrupted`] and [`Error::Bug`], which are no replies.
pub async fn run(
    site: &Site,
    function: &str,
    instance: Rc<dyn Instance>,
    call: Call,
) -> triptych_api::Result<Value> {
    let known = site.app.function(function);
    let known = known.ok_or_else(|| Error::Bug(format!("there is no function {function:?}")))?;
    let mut ctx = Ctx::new(instance, site.retries);
    let result = (known.handler)(&mut ctx, call).await;
    match ctx.conclude(result) {
        Err(error @ (Error::Interrupted(_) | Error::Bug(_))) => Err(error),
        answer => encode_reply(answer).map_err(Error::Bug),
    }
}

/// What a client makes of an entry function's reply or failure, if nothing is promised per session.
pub fn answer(reply: Result<Payload, InvokeError>) -> Answer {
    let failed = |error: InvokeError| (error.outcome(), Value::Null);
    let (outcome, output) = reply.map_or_else(failed, |payload| client_view(&payload.body));
    Answer {
        outcome,
        output,
        session: Value::Null,
    }
}

/// The end of an execution that cannot go on, for this reason.
pub fn interrupted(reason: impl ToString) -> Error {
    Error::Interrupted(reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_api::model::Outcome;

    #[test]
    fn an_answer_tells_an_end_from_a_failure_and_a_failure_from_doubt() {
        let outcome = |reply| answer(reply).outcome;
        let done = Payload::new(Value::map([("ok", Value::Int(1))]));
        let answered = answer(Ok(done));
        assert_eq!(
            (answered.outcome, answered.output),
            (Outcome::Ok, Value::Int(1))
        );
        let refused = Payload::new(Value::map([("rejected", Value::str("sold out"))]));
        assert_eq!(
            outcome(Ok(refused)),
            Outcome::Rejected("sold out".to_owned())
        );
        let throttled = outcome(Err(InvokeError::Throttled("quota")));
        assert!(matches!(throttled, Outcome::Failed(_)), "{throttled:?}");
        let lost = outcome(Err(InvokeError::Timeout));
        assert!(matches!(lost, Outcome::Indeterminate(_)), "{lost:?}");
    }
}
