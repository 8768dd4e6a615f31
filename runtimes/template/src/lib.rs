//! A small runtime with exactly-once effects, written to be read, copied and changed.
//!
//! Whatever an instance of a function learns or does at a step goes into its *journal*, in one
//! store transaction with the effect itself (`record`). Its first entry is the call, its last one
//! the reply. An execution that is repeated from the beginning finds in the journal what it did
//! already, and does only the rest; a timer repeats executions that left no reply (`restart`).
//!
//! What it does not have: transactions, a collector that deletes old journals, and results of steps
//! over the store's 400 KB an item. Each is a place to go on from.

mod run;

use run::{INSTANCE, JOURNAL, KEY, OPEN, Run, SINCE, STEP, envelope, overdue, pages, row};
use std::rc::Rc;
use triptych_api::model::{Item, Name, State, Value};
use triptych_api::{Declares, Isolation, LocalBoxFuture, client_view};
use triptych_faas::{Answer, Deployment, Handler, InvokeError, Payload, Timer, timer_payload};
use triptych_site::Site;
use triptych_store::{IndexSchema, KeyAttribute, Request, TableSchema};

/// What it promises.
pub const DECLARES: Declares = Declares {
    exactly_once: true,
    transaction: Isolation::None,
    order: true,
    durable: true,
};

/// Puts the site's app into it.
pub fn deploy(site: Site) -> Rc<dyn Deployment> {
    Rc::new(Template(Rc::new(site)))
}

struct Template(Rc<Site>);

impl Template {
    fn names(&self) -> Vec<Name> {
        let functions = self.0.app.functions.iter();
        functions.map(|function| function.name.clone()).collect()
    }
}

impl Deployment for Template {
    fn prepare(&self) -> LocalBoxFuture<'static, Result<(), String>> {
        let site = Rc::clone(&self.0);
        Box::pin(async move {
            let mut journal = TableSchema::new(JOURNAL, INSTANCE).with_range(STEP);
            // Only calls have these attributes, and lose one of them with the reply.
            journal.indexes.push(IndexSchema {
                name: Name::from(OPEN),
                hash: KeyAttribute::str(OPEN),
                range: Some(KeyAttribute::number(SINCE)),
                keys_only: false,
            });
            let tables = site.app.functions.iter().flat_map(|f| &f.tables);
            let tables = tables.map(|table| TableSchema::new(table, KEY));
            for schema in tables.chain([journal]) {
                let created = site.store.create_table(schema).await;
                created.map_err(|error| error.to_string())?;
            }
            Ok(())
        })
    }

    fn functions(&self) -> Vec<(Name, Handler)> {
        let handler = |name: Name| -> (Name, Handler) {
            let (site, function) = (Rc::clone(&self.0), name.clone());
            let serve = move |execution| {
                let run = Run::new(Rc::clone(&site), function.clone(), &execution);
                run.serve(execution.payload.body)
            };
            (name, Rc::new(serve))
        };
        self.names().into_iter().map(handler).collect()
    }

    fn timers(&self) -> Vec<Timer> {
        let timer = |function| Timer {
            function,
            period: self.0.timing.collector_period,
            payload: timer_payload("restart"),
        };
        self.names().into_iter().map(timer).collect()
    }

    fn request(&self, id: &str, op: &str, input: Value, _session: &Value) -> Payload {
        Payload::new(envelope(id, op, input))
    }

    fn answer(&self, reply: Result<Payload, InvokeError>) -> Answer {
        let failed = |error: InvokeError| (error.outcome(), Value::Null);
        let (outcome, output) = reply.map_or_else(failed, |payload| client_view(&payload.body));
        Answer {
            outcome,
            output,
            session: Value::Null,
        }
    }

    fn pending(&self) -> LocalBoxFuture<'static, Result<u64, String>> {
        let (site, names) = (Rc::clone(&self.0), self.names());
        Box::pin(async move {
            let mut pending = 0;
            for name in names {
                pending += look(&site, overdue(&name, None)).await?.len() as u64;
            }
            Ok(pending)
        })
    }

    fn dump(&self) -> LocalBoxFuture<'static, Result<State, String>> {
        let site = Rc::clone(&self.0);
        Box::pin(async move {
            let mut state = State::default();
            for function in &site.app.functions {
                for table in &function.tables {
                    let rows = look(&site, Request::scan(table)).await?;
                    let rows = rows.into_iter().filter_map(row).collect();
                    state.tables.insert(table.clone(), rows);
                }
                for call in look(&site, overdue(&function.name, None)).await? {
                    let instance = call.get(INSTANCE);
                    state.pending.push(format!("{instance:?} is not done"));
                }
            }
            Ok(state)
        })
    }
}

/// Looks at the tables from outside: no crash point, and nobody's work.
async fn look(site: &Site, request: Request) -> Result<Vec<Item>, String> {
    let pages = pages(site, site.world.background_scope(), request);
    pages.await.map_err(|error| error.to_string())
}
