//! A store that can look at itself for free.
//!
//! The harness asks a runtime whether anything is pending, and reads out its final state, through
//! the runtime's own code, which calls the store. Such calls must neither cost nor take time, or the
//! measurement would be part of the bill. So while [`FreeStore::look`] polls that code, calls are
//! answered at once by the tables themselves; nobody else can run meanwhile.

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, ready};
use std::cell::Cell;
use triptych_store::{Request, Response, SimStore, Store, StoreError, TableSchema};
use triptych_world::Scope;

/// See the module documentation.
pub(crate) struct FreeStore {
    store: SimStore,
    free: Cell<bool>,
}

impl FreeStore {
    pub(crate) fn new(store: SimStore) -> Self {
        FreeStore {
            store,
            free: Cell::new(false),
        }
    }

    /// Awaits code of a runtime whose store calls are free. Code that waits for anything else goes
    /// on as a normal client of the store.
    pub(crate) async fn look<T>(&self, mut code: LocalBoxFuture<'static, T>) -> T {
        self.free.set(true);
        let done = (&mut code).now_or_never();
        self.free.set(false);
        match done {
            Some(value) => value,
            None => code.await,
        }
    }
}

impl Store for FreeStore {
    fn call(
        &self,
        scope: &Scope,
        request: Request,
    ) -> LocalBoxFuture<'static, Result<Response, StoreError>> {
        if self.free.get() {
            return Box::pin(ready(self.store.tables_mut().apply(&request).0));
        }
        self.store.call(scope, request)
    }

    fn create_table(&self, schema: TableSchema) -> LocalBoxFuture<'static, Result<(), StoreError>> {
        self.store.create_table(schema)
    }
}
