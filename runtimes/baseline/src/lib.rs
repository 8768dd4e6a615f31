//! The unsafe baseline: every operation goes straight to the store or the platform.
//!
//! It is what applications do without a stateful serverless runtime, and what the others are
//! measured against. A crash between two effects leaves the first one behind; an execution that is
//! repeated repeats its effects; a transaction is just its body. It promises durability, because the
//! store keeps what it acknowledged, and the session order that strongly consistent reads give.

mod instance;
mod machine;

use instance::Run;
use std::cell::Cell;
use std::rc::Rc;
use triptych_api::{Declares, Isolation, LocalBoxFuture, Name, Order, State, Value};
use triptych_faas::{Answer, Deployment, Execution, Handler, InvokeError, Machine, Payload, Timer};
use triptych_site::{Effects, Envelope, Site, tables};

/// What the baseline promises.
pub const DECLARES: Declares = Declares {
    exactly_once: false,
    transaction: Isolation::None,
    order: Order::RealTime,
    durable: true,
};

/// What all executions share.
pub(crate) struct Shared {
    site: Rc<Site>,
    /// Makes ids differ between executions of the same instance, as a random one would.
    executions: Cell<u64>,
}

/// Puts the site's app on it.
pub fn deploy(site: Site) -> Rc<dyn Deployment> {
    Rc::new(Baseline(Rc::new(Shared {
        site: Rc::new(site),
        executions: Cell::new(0),
    })))
}

struct Baseline(Rc<Shared>);

/// Serves one execution. What an envelope says of a transaction means nothing here, but whoever
/// judges the isolation needs to know what was meant to be one.
async fn serve(shared: Rc<Shared>, execution: Execution) -> triptych_api::Result<Value> {
    let Envelope { instance, call, tx } = Envelope::try_from(&execution.payload.body)?;
    let (site, scope) = (Rc::clone(&shared.site), execution.scope);
    let told = || format!("{} of {instance}", call.op);
    site.world.describe(&scope, told);
    let number = shared.executions.get();
    shared.executions.set(number + 1);
    let effects = Effects { site, scope };
    let run = Run::new(effects, number, instance, tx);
    triptych_site::run(&shared.site, &execution.function, Rc::new(run), call).await
}

impl Deployment for Baseline {
    fn prepare(&self) -> LocalBoxFuture<'static, Result<(), String>> {
        Box::pin(tables::create(Rc::clone(&self.0.site), Vec::new()))
    }

    fn functions(&self) -> Vec<(Name, Handler)> {
        triptych_site::handlers(&self.0.site.app, &self.0, serve)
    }

    fn machines(&self) -> Vec<(Name, Machine)> {
        let workflows = self.0.site.app.workflows.iter();
        workflows
            .map(|workflow| (workflow.name.clone(), machine::of(workflow)))
            .collect()
    }

    fn timers(&self) -> Vec<Timer> {
        Vec::new()
    }

    fn request(&self, id: &str, op: &str, input: Value, _session: &Value) -> Payload {
        Payload::new(Envelope::new(id, op, input).into())
    }

    fn answer(&self, reply: Result<Payload, InvokeError>) -> Answer {
        triptych_site::answer(reply)
    }

    fn pending(&self) -> LocalBoxFuture<'static, Result<u64, String>> {
        // Nobody keeps a record of what was begun.
        Box::pin(async { Ok(0) })
    }

    fn dump(&self) -> LocalBoxFuture<'static, Result<State, String>> {
        let site = Rc::clone(&self.0.site);
        Box::pin(async move { tables::state(&site).await })
    }
}
