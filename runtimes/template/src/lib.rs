//! A small runtime with exactly-once effects, written to be read, copied and changed.
//!
//! Every instance of a function is recorded as an *intent* before its code runs; a timer executes
//! again what did not finish ([`Run::restart`]). Whatever an instance learns or does at a step goes
//! into its *journal*, in one store transaction with the effect itself ([`Run::record`]). So a
//! repeated execution finds in the journal what it did already, and does only the rest.
//!
//! What it does not have: transactions, a collector that deletes old intents and journals, and
//! results of steps over the store's 400 KB an item. Each is a place to go on from.

mod run;

use run::Run;
use std::rc::Rc;
use triptych_api::model::{Map, Name, State, Value};
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

impl Deployment for Template {
    fn prepare(&self) -> LocalBoxFuture<'static, Result<(), String>> {
        let site = Rc::clone(&self.0);
        Box::pin(async move {
            let tables = site.app.functions.iter().flat_map(|f| &f.tables);
            let mut schemas: Vec<_> = tables
                .map(|table| TableSchema::new(table, run::KEY))
                .collect();
            schemas.push(TableSchema::new(run::JOURNAL, run::INSTANCE).with_range(run::STEP));
            let mut intents = TableSchema::new(run::INTENTS, run::INSTANCE);
            // Holds only what is not finished, because finishing removes the attribute.
            intents.indexes.push(IndexSchema {
                name: Name::from(run::OPEN),
                hash: KeyAttribute::str(run::OPEN),
                range: Some(KeyAttribute::number(run::SINCE)),
                keys_only: false,
            });
            schemas.push(intents);
            for schema in schemas {
                let created = site.store.create_table(schema).await;
                created.map_err(|error| error.to_string())?;
            }
            Ok(())
        })
    }

    fn functions(&self) -> Vec<(Name, Handler)> {
        let handler = |name: &Name| -> Handler {
            let (site, name) = (Rc::clone(&self.0), name.clone());
            Rc::new(move |execution| {
                let run = Run::new(Rc::clone(&site), name.clone(), &execution);
                Box::pin(async move {
                    let reply = run.serve(execution.payload.body).await;
                    reply.map(Payload::new).map_err(|error| error.to_string())
                })
            })
        };
        let functions = self.0.app.functions.iter();
        functions
            .map(|f| (f.name.clone(), handler(&f.name)))
            .collect()
    }

    fn timers(&self) -> Vec<Timer> {
        let timer = |name: &Name| Timer {
            function: name.clone(),
            period: self.0.timing.collector_period,
            payload: timer_payload("restart"),
        };
        self.0
            .app
            .functions
            .iter()
            .map(|f| timer(&f.name))
            .collect()
    }

    fn request(&self, id: &str, op: &str, input: Value, _session: &Value) -> Payload {
        Payload::new(run::envelope(id, op, input))
    }

    fn answer(&self, reply: Result<Payload, InvokeError>) -> Answer {
        let (outcome, output) = match reply {
            Ok(payload) => client_view(&payload.body),
            Err(error) => (error.outcome(), Value::Null),
        };
        let session = Value::Null;
        Answer {
            outcome,
            output,
            session,
        }
    }

    fn pending(&self) -> LocalBoxFuture<'static, Result<u64, String>> {
        let site = Rc::clone(&self.0);
        Box::pin(async move {
            let mut pending = 0;
            for function in &site.app.functions {
                pending += look(&site, run::open(&function.name, None)).await?.len() as u64;
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
                    let rows = look(&site, run::scan(table)).await?;
                    let rows = rows.into_iter().filter_map(run::row).collect();
                    state.tables.insert(table.clone(), rows);
                }
                for intent in look(&site, run::open(&function.name, None)).await? {
                    state
                        .pending
                        .push(format!("{:?} is not done", intent.get(run::INSTANCE)));
                }
            }
            Ok(state)
        })
    }
}

/// Looks at the tables from outside: no crash point, and nobody's work.
async fn look(site: &Rc<Site>, request: Request) -> Result<Vec<Map>, String> {
    let pages = run::pages(Rc::clone(site), site.world.background_scope(), request);
    pages.await.map_err(|error| error.to_string())
}
