//! The serial reference: whole requests, one at a time, in memory.
//!
//! A request with everything that it calls is executed in a single turn of its task: no other
//! request runs meanwhile, nothing in it can fail half-way, and what it sends runs right after it,
//! in order. So every guarantee holds by construction, and a rule that finds fault with it is wrong:
//! it is the oracle's positive control. It is no competitor: its latencies mean nothing.
//!
//! The one crash point is around the whole request ([`serve`]). A crash before it leaves nothing
//! behind; after it, the answer is kept under the request's id for whoever asks again.

mod run;

use run::Memory;
use std::cell::RefCell;
use std::rc::Rc;
use triptych_api::{Declares, Isolation, LocalBoxFuture, Name, Order, State, Value};
use triptych_faas::{Answer, Deployment, Execution, Handler, InvokeError, Payload, Timer};
use triptych_site::{Envelope, Site};

/// What it promises: everything.
pub const DECLARES: Declares = Declares {
    exactly_once: true,
    transaction: Isolation::Serializable,
    order: Order::RealTime,
    durable: true,
};

/// Puts the site's app into it. Of the site it uses the world and the app alone.
pub fn deploy(site: Site) -> Rc<dyn Deployment> {
    Rc::new(Serial(Rc::new(Shared {
        site,
        memory: RefCell::default(),
    })))
}

/// What all executions share.
pub(crate) struct Shared {
    pub(crate) site: Site,
    pub(crate) memory: RefCell<Memory>,
}

struct Serial(Rc<Shared>);

/// Serves one execution of an entry function.
async fn serve(shared: Rc<Shared>, execution: Execution) -> triptych_api::Result<Value> {
    let Envelope { instance, call, .. } = Envelope::try_from(&execution.payload.body)?;
    let world = shared.site.world.clone();
    let (function, request) = (execution.function, execution.scope.request().id);
    let whole = async move {
        if let Some(reply) = shared.memory.borrow().answered(&instance) {
            return Ok(reply);
        }
        let begun = shared.memory.borrow().mark();
        let reply = run::execute(&shared, &function, instance.clone(), call, None, request).await;
        match &reply {
            Ok(reply) => shared.memory.borrow_mut().answer(instance, reply.clone()),
            // It never happened, and may be asked for again.
            Err(_) => shared.memory.borrow_mut().undo(begun),
        }
        run::send_all(&shared).await;
        reply
    };
    world
        .effect(&execution.scope, "serial.request", whole)
        .await
}

impl Deployment for Serial {
    fn prepare(&self) -> LocalBoxFuture<'static, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn functions(&self) -> Vec<(Name, Handler)> {
        triptych_site::handlers(&self.0.site.app, &self.0, serve)
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
        // A request is done or has not begun.
        Box::pin(async { Ok(0) })
    }

    fn dump(&self) -> LocalBoxFuture<'static, Result<State, String>> {
        let functions = self.0.site.app.functions.iter();
        let tables = functions.flat_map(|function| &function.tables);
        let state = self.0.memory.borrow().state(tables);
        Box::pin(async move { Ok(state) })
    }
}
