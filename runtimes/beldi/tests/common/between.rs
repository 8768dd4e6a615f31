//! Something between Beldi and its store: refuses single requests, or lets others come first.

use std::cell::RefCell;
use std::rc::Rc;
use triptych_api::LocalBoxFuture;
use triptych_model::{Action, Item, Name, Operand, Path, Value};
use triptych_store::{Key, Request, Response, Return, Store, StoreError, TableSchema};
use triptych_world::{Scope, World};

/// What happens to a request.
#[allow(dead_code)] // Not every test does all of it.
pub(crate) enum Fate {
    /// Nothing special.
    Served,
    /// It is refused, as by a service that is asked too much.
    Throttled,
    /// These come first.
    After(Vec<Request>),
    /// The reply comes after these.
    Before(Vec<Request>),
}

/// Says what happens to a request.
pub(crate) type Hook = Box<dyn FnMut(&Request) -> Fate>;

pub(crate) struct Between {
    inner: Rc<dyn Store>,
    hook: RefCell<Hook>,
}

impl Between {
    pub(crate) fn new(inner: Rc<dyn Store>, hook: Hook) -> Self {
        Between {
            inner,
            hook: RefCell::new(hook),
        }
    }
}

impl Store for Between {
    fn call(
        &self,
        scope: &Scope,
        request: Request,
    ) -> LocalBoxFuture<'static, Result<Response, StoreError>> {
        let fate = (self.hook.borrow_mut())(&request);
        let (inner, scope) = (Rc::clone(&self.inner), scope.clone());
        let all = async move |requests: Vec<Request>, inner: &dyn Store, scope: &Scope| {
            for request in requests {
                match inner.call(scope, request).await {
                    Ok(_) | Err(StoreError::ConditionFailed) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        Box::pin(async move {
            match fate {
                Fate::Served => inner.call(&scope, request).await,
                Fate::Throttled => Err(StoreError::Throttled),
                Fate::After(first) => {
                    all(first, &*inner, &scope).await;
                    inner.call(&scope, request).await
                }
                Fate::Before(then) => {
                    let reply = inner.call(&scope, request).await;
                    all(then, &*inner, &scope).await;
                    reply
                }
            }
        })
    }

    fn create_table(&self, schema: TableSchema) -> LocalBoxFuture<'static, Result<(), StoreError>> {
        self.inner.create_table(schema)
    }
}

/// A row of a list, as Beldi keeps it, with these attributes besides.
pub(crate) fn row(table: &str, key: &str, row: &str, more: &[(&str, Value)]) -> Request {
    let mut item: Item = [
        ("K", Value::str(key)),
        ("ROWHASH", Value::str(row)),
        ("LOGS", Value::map::<&str>([])),
        ("LOGSIZE", Value::Int(0)),
    ]
    .map(|(name, value)| (Name::from(name), value))
    .into();
    item.extend(
        more.iter()
            .map(|(name, value)| (Name::from(*name), value.clone())),
    );
    Request::Put {
        table: Name::from(table),
        item,
        condition: None,
    }
}

/// Sets attributes of a row, and removes those without a value.
pub(crate) fn change(table: &str, key: &str, row: &str, to: &[(&str, Option<Value>)]) -> Request {
    let action = |(name, value): &(&str, Option<Value>)| match value {
        Some(value) => Action::Set(Path::attr(*name), Operand::Value(value.clone())),
        None => Action::Remove(Path::attr(*name)),
    };
    Request::Update {
        table: Name::from(table),
        key: Key::range(Value::str(key), Value::str(row)),
        update: to.iter().map(action).collect(),
        condition: None,
        returns: Return::None,
    }
}

/// A transaction's word, as it stands beside a lock.
pub(crate) fn word(id: &str, born: i64) -> Value {
    Value::map([("txn", Value::str(id)), ("born", Value::Int(born))])
}

/// All items of a table.
#[allow(dead_code)]
pub(crate) async fn items(world: &World, store: &dyn Store, table: &str) -> Vec<Item> {
    let scan = Request::Scan {
        table: Name::from(table),
        filter: None,
        projection: None,
        consistent: true,
        limit: None,
        start: None,
    };
    let scope = world.background_scope();
    let all = triptych_store::client::all_pages(store, &scope, scan).await;
    all.expect("a simulated store")
}
