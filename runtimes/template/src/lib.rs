//! A small runtime with exactly-once effects, written to be read, copied and changed.
//!
//! Whatever an instance of a function learns or does at a step goes into its *journal*, in one
//! store transaction with the effect itself (`record`). Its first entry is the call, its last one
//! the reply. An execution that is repeated from the beginning finds in the journal what it did
//! already, and does only the rest; a timer repeats calls that left no reply (`restart`).
//!
//! What it does not have: transactions, a collector that deletes old journals, a shorter way to a
//! reply than all steps before it, and results of steps over the store's 400 KB an item. Each is a
//! place to go on from.

mod run;

use run::{JOURNAL, OPEN, RESTART, serve};
use std::rc::Rc;
use triptych_api::model::name;
use triptych_api::{Declares, Isolation, LocalBoxFuture, Name, Order, State, Value};
use triptych_faas::{Answer, Deployment, Handler, InvokeError, Payload, Timer};
use triptych_site::{Envelope, KEY, Site, tables};
use triptych_store::TableSchema;

/// What it promises.
pub const DECLARES: Declares = Declares {
    exactly_once: true,
    transaction: Isolation::None,
    order: Order::RealTime,
    durable: true,
};

/// Puts the site's app into it.
pub fn deploy(site: Site) -> Rc<dyn Deployment> {
    Rc::new(Template(Rc::new(site)))
}

struct Template(Rc<Site>);

impl Deployment for Template {
    fn prepare(&self) -> LocalBoxFuture<'static, Result<(), String>> {
        let own = [JOURNAL, OPEN].map(|table| TableSchema::new(table, KEY));
        Box::pin(tables::create(Rc::clone(&self.0), own.into()))
    }

    fn functions(&self) -> Vec<(Name, Handler)> {
        triptych_site::handlers(&self.0.app, &self.0, serve)
    }

    fn timers(&self) -> Vec<Timer> {
        triptych_site::timers(&self.0.app, self.0.timing.collector_period, RESTART)
    }

    fn request(&self, id: &str, op: &str, input: Value, _session: &Value) -> Payload {
        Payload::new(Envelope::new(id, op, input).into())
    }

    fn answer(&self, reply: Result<Payload, InvokeError>) -> Answer {
        triptych_site::answer(reply)
    }

    fn pending(&self) -> LocalBoxFuture<'static, Result<u64, String>> {
        let site = Rc::clone(&self.0);
        Box::pin(async move { Ok(tables::look(&site, &name(OPEN)).await?.len() as u64) })
    }

    fn dump(&self) -> LocalBoxFuture<'static, Result<State, String>> {
        let site = Rc::clone(&self.0);
        Box::pin(async move {
            let mut state = tables::state(&site).await?;
            let open = tables::look(&site, &name(OPEN)).await?.into_keys();
            state.pending = open.map(|call| format!("{call} has no reply")).collect();
            Ok(state)
        })
    }
}
