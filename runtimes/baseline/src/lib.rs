//! The unsafe baseline: every operation goes straight to the store or the platform.
//!
//! It is what applications do without a stateful serverless runtime, and what the others are
//! measured against. A crash between two effects leaves the first one behind; an execution that is
//! repeated repeats its effects; a transaction is just its body. It promises durability, because the
//! store keeps what it acknowledged, and the session order that strongly consistent reads give.

mod instance;
mod machine;

use futures_util::future::LocalBoxFuture;
use instance::Run;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::{
    App, Ctx, Declares, Isolation, Name, Retries, State, Value, client_view, encode_reply,
};
use triptych_faas::{
    Answer, Deployment, Execution, Handler, InvokeError, Machine, Payload, Platform, Timer,
};
use triptych_store::{Request, Response, Store, StoreError, TableSchema, patient};
use triptych_world::World;

/// What the baseline promises.
pub const DECLARES: Declares = Declares {
    exactly_once: false,
    transaction: Isolation::None,
    order: true,
    durable: true,
};

/// The key attribute of every table.
pub(crate) const KEY: &str = "K";
/// The attribute that holds an app's document.
pub(crate) const VALUE: &str = "V";

/// What all executions share.
pub(crate) struct Shared {
    pub(crate) world: World,
    pub(crate) store: Rc<dyn Store>,
    pub(crate) platform: Rc<dyn Platform>,
    pub(crate) app: Rc<App>,
    pub(crate) retries: Retries,
    /// Makes ids differ between executions of the same instance, as a random one would.
    pub(crate) executions: Cell<u64>,
}

/// An app on the baseline.
pub struct Baseline(Rc<Shared>);

impl Baseline {
    /// Puts an app on the baseline.
    pub fn new(
        world: World,
        store: Rc<dyn Store>,
        platform: Rc<dyn Platform>,
        app: Rc<App>,
        retries: Retries,
    ) -> Self {
        Baseline(Rc::new(Shared {
            world,
            store,
            platform,
            app,
            retries,
            executions: Cell::new(0),
        }))
    }
}

/// What a baseline envelope says. The name of the transaction that the caller is in means nothing
/// here, but whoever judges the isolation needs to know what was meant to be one.
pub(crate) fn envelope(instance: &str, op: &str, input: Value, tx: Option<Name>) -> Value {
    let mut fields = vec![
        ("instance", Value::str(instance)),
        ("op", Value::str(op)),
        ("input", input),
    ];
    fields.extend(tx.map(|tx| ("tx", Value::from(tx))));
    Value::map(fields)
}

async fn handle(
    shared: Rc<Shared>,
    function: Name,
    execution: Execution,
) -> Result<Payload, String> {
    let body = &execution.payload.body;
    let text = |name: &str| {
        let text = body.get(name).and_then(Value::as_str).map(Name::from);
        text.ok_or_else(|| format!("the envelope has no {name:?}"))
    };
    let instance = text("instance")?;
    let call = triptych_api::Call {
        op: text("op")?,
        input: body.get("input").cloned().unwrap_or_default(),
    };
    let told = || format!("{} of {instance}", call.op);
    shared.world.describe(&execution.scope, told);
    let handler = match shared.app.function(&function) {
        Some(function) => Rc::clone(&function.handler),
        None => return Err(format!("the app has no function {function:?}")),
    };
    let retries = shared.retries;
    let joined = body.get("tx").and_then(Value::as_str).map(Name::from);
    let run = Run::new(shared, execution.scope, instance, joined);
    let mut ctx = Ctx::new(Rc::new(run), retries);
    let result = handler(&mut ctx, call).await;
    let result = ctx.conclude(result);
    encode_reply(result).map(Payload::new)
}

impl Deployment for Baseline {
    fn prepare(&self) -> LocalBoxFuture<'static, Result<(), String>> {
        let shared = Rc::clone(&self.0);
        Box::pin(async move {
            for table in shared
                .app
                .functions
                .iter()
                .flat_map(|function| &function.tables)
            {
                let schema = TableSchema::new(table, KEY);
                shared
                    .store
                    .create_table(schema)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            Ok(())
        })
    }

    fn functions(&self) -> Vec<(Name, Handler)> {
        let handler = |name: &Name| -> Handler {
            let (shared, name) = (Rc::clone(&self.0), name.clone());
            Rc::new(move |execution| Box::pin(handle(Rc::clone(&shared), name.clone(), execution)))
        };
        let functions = self.0.app.functions.iter();
        functions
            .map(|function| (function.name.clone(), handler(&function.name)))
            .collect()
    }

    fn machines(&self) -> Vec<(Name, Machine)> {
        let workflows = self.0.app.workflows.iter();
        workflows
            .map(|workflow| (workflow.name.clone(), machine::of(workflow)))
            .collect()
    }

    fn timers(&self) -> Vec<Timer> {
        Vec::new()
    }

    fn request(&self, id: &str, op: &str, input: Value, _session: &Value) -> Payload {
        Payload::new(envelope(id, op, input, None))
    }

    fn answer(&self, reply: Result<Payload, InvokeError>) -> Answer {
        let (outcome, output) = match reply {
            Ok(payload) => client_view(&payload.body),
            Err(error) => (error.outcome(), Value::Null),
        };
        Answer {
            outcome,
            output,
            session: Value::Null,
        }
    }

    fn pending(&self) -> LocalBoxFuture<'static, Result<u64, String>> {
        // Nobody keeps a record of what was begun.
        Box::pin(async { Ok(0) })
    }

    fn dump(&self) -> LocalBoxFuture<'static, Result<State, String>> {
        let shared = Rc::clone(&self.0);
        Box::pin(async move {
            let mut state = State::default();
            for table in shared
                .app
                .functions
                .iter()
                .flat_map(|function| &function.tables)
            {
                let rows = scan(&shared, table)
                    .await
                    .map_err(|error| error.to_string())?;
                state.tables.insert(table.clone(), rows);
            }
            Ok(state)
        })
    }
}

async fn scan(shared: &Shared, table: &Name) -> Result<BTreeMap<Name, Value>, StoreError> {
    let scope = shared.world.background_scope();
    let mut rows = BTreeMap::new();
    let mut start = None;
    loop {
        let request = Request::Scan {
            table: table.clone(),
            filter: None,
            projection: None,
            consistent: true,
            limit: None,
            start: start.take(),
        };
        let (world, store) = (shared.world.clone(), Rc::clone(&shared.store));
        let Response::Page { items, next } = patient(world, store, scope.clone(), request).await?
        else {
            return Err(StoreError::Unavailable(
                "a scan was not answered with a page".to_owned(),
            ));
        };
        for item in items {
            if let (Some(Value::Str(key)), Some(value)) = (item.get(KEY), item.get(VALUE)) {
                rows.insert(key.clone(), value.clone());
            }
        }
        start = next;
        if start.is_none() {
            return Ok(rows);
        }
    }
}
