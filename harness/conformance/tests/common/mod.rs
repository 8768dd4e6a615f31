//! The template with defects: its store, or the functions that it registers, are exchanged for ones
//! that do something else with what it sends them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use triptych_api::LocalBoxFuture;
use triptych_api::model::{Action, Name, Operand, State, Value};
use triptych_conformance::{Depth, Report, check};
use triptych_faas::{Answer, Deployment, Execution, Handler, InvokeError, Payload, Timer};
use triptych_site::{RuntimeEntry, Site};
use triptych_store::{Request, Response, Store, StoreError, TableSchema, Write};
use triptych_world::{Scope, World};

/// The requirements that a report says are failed.
pub(crate) fn names(report: &Report) -> Vec<&'static str> {
    report.failed().map(|line| line.requirement.name).collect()
}

/// What a version of the template fails.
pub(crate) fn broken(deploy: fn(Site) -> Rc<dyn Deployment>) -> Vec<&'static str> {
    let entry = RuntimeEntry {
        name: "broken",
        about: "wrong",
        declares: triptych_template::DECLARES,
        workflows: false,
        deploy,
    };
    names(&check(&entry, Depth::Quick, |_| {}))
}

type Stored = LocalBoxFuture<'static, Result<Response, StoreError>>;
type Change = fn(&Rc<dyn Store>, &World, &Scope, Vec<Write>) -> Stored;

/// A store that does something else with transactions.
struct Changed {
    inner: Rc<dyn Store>,
    world: World,
    change: Change,
}

impl Store for Changed {
    fn call(&self, scope: &Scope, request: Request) -> Stored {
        match request {
            Request::TransactWrite { writes } => {
                (self.change)(&self.inner, &self.world, scope, writes)
            }
            request => self.inner.call(scope, request),
        }
    }

    fn create_table(&self, schema: TableSchema) -> LocalBoxFuture<'static, Result<(), StoreError>> {
        self.inner.create_table(schema)
    }
}

/// Whether a write opens a call (or closes it).
fn is_call(write: &Write) -> bool {
    let (Write::Update { table, .. } | Write::Delete { table, .. }) = write else {
        return false;
    };
    &**table == "template-open"
}

fn with(site: Site, change: Change) -> Rc<dyn Deployment> {
    let store = Rc::new(Changed {
        inner: Rc::clone(&site.store),
        world: site.world.clone(),
        change,
    });
    triptych_template::deploy(Site { store, ..site })
}

/// The effect is made first and the journal entry afterwards, with room for a crash between them.
pub(crate) fn effect_before_journal(site: Site) -> Rc<dyn Deployment> {
    with(site, |store, world, scope, mut writes| {
        let (store, world, scope) = (Rc::clone(store), world.clone(), scope.clone());
        Box::pin(async move {
            if writes.len() == 2 && !is_call(&writes[1]) {
                let effect = writes.pop().into_iter().collect();
                let effect = Request::TransactWrite { writes: effect };
                store.call(&scope, effect).await?;
            }
            let entry = store.call(&scope, Request::TransactWrite { writes });
            world.effect(&scope, "broken.journal", entry).await
        })
    })
}

/// An entry that is in the journal already is put again, and the effect made again.
pub(crate) fn journal_not_checked(site: Site) -> Rc<dyn Deployment> {
    with(site, |store, _, scope, mut writes| {
        let is_step = !writes.iter().any(is_call);
        if let Some(Write::Update { condition, .. }) = writes.first_mut()
            && is_step
        {
            *condition = None;
        }
        store.call(scope, Request::TransactWrite { writes })
    })
}

/// Whether the update that opens a call says that it is one of this function.
fn opens(update: &[Action], function: &str) -> bool {
    let [Action::Set(_, Operand::Value(call))] = update else {
        return false;
    };
    let called = call.as_list().and_then(<[Value]>::first);
    called == Some(&Value::str(function))
}

/// What is sent is handed to the queue and not recorded before.
pub(crate) fn call_not_recorded(site: Site) -> Rc<dyn Deployment> {
    with(site, |store, _, scope, writes| {
        let sent = writes.iter().any(|write| match write {
            Write::Update { update, .. } if is_call(write) => opens(update, "Late"),
            _ => false,
        });
        match sent {
            true => Box::pin(async { Ok(Response::Done) }),
            false => store.call(scope, Request::TransactWrite { writes }),
        }
    })
}

/// A deployment whose functions give every further execution of an instance an id of its own.
struct Fresh {
    inner: Rc<dyn Deployment>,
    seen: Rc<RefCell<BTreeSet<Name>>>,
}

/// See [`Fresh`].
pub(crate) fn fresh_ids(site: Site) -> Rc<dyn Deployment> {
    Rc::new(Fresh {
        inner: triptych_template::deploy(site),
        seen: Rc::default(),
    })
}

fn renamed(execution: &mut Execution, seen: &RefCell<BTreeSet<Name>>) {
    let body = &mut execution.payload.body;
    let Some(Value::Str(instance)) = body.get("instance").cloned() else {
        return;
    };
    let mut seen = seen.borrow_mut();
    if !seen.insert(instance.clone()) {
        let another = format!("{instance}~{}", seen.len());
        seen.insert(Name::from(another.as_str()));
        let mut fields = body.as_map().cloned().unwrap_or_default();
        fields.insert(Name::from("instance"), Value::from(another));
        *body = Value::from(fields);
    }
}

impl Deployment for Fresh {
    fn functions(&self) -> Vec<(Name, Handler)> {
        let rename = |(name, inner): (Name, Handler)| -> (Name, Handler) {
            let seen = Rc::clone(&self.seen);
            let handler = move |mut execution: Execution| {
                renamed(&mut execution, &seen);
                inner(execution)
            };
            (name, Rc::new(handler))
        };
        self.inner.functions().into_iter().map(rename).collect()
    }

    fn prepare(&self) -> LocalBoxFuture<'static, Result<(), String>> {
        self.inner.prepare()
    }

    fn timers(&self) -> Vec<Timer> {
        self.inner.timers()
    }

    fn request(&self, id: &str, op: &str, input: Value, session: &Value) -> Payload {
        self.inner.request(id, op, input, session)
    }

    fn answer(&self, reply: Result<Payload, InvokeError>) -> Answer {
        self.inner.answer(reply)
    }

    fn pending(&self) -> LocalBoxFuture<'static, Result<u64, String>> {
        self.inner.pending()
    }

    fn dump(&self) -> LocalBoxFuture<'static, Result<State, String>> {
        self.inner.dump()
    }
}
