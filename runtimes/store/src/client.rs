//! Shorter ways to say the most frequent things to a [`Store`].

use crate::{Key, Request, Response, Return, Store, StoreError};
use triptych_model::{Condition, Item, Name, Update};
use triptych_world::Scope;

fn unexpected<T>(response: &Response) -> Result<T, StoreError> {
    Err(StoreError::Unavailable(format!(
        "an answer to something else: {response:?}"
    )))
}

/// Reads one item.
///
/// # Errors
/// See [`StoreError`].
pub async fn get(
    store: &dyn Store,
    scope: &Scope,
    table: &Name,
    key: Key,
    consistent: bool,
) -> Result<Option<Item>, StoreError> {
    let request = Request::Get {
        table: table.clone(),
        key,
        projection: None,
        consistent,
    };
    match store.call(scope, request).await? {
        Response::Item(item) => Ok(item),
        other => unexpected(&other),
    }
}

/// Replaces one item, if the condition holds.
///
/// # Errors
/// See [`StoreError`].
pub async fn put(
    store: &dyn Store,
    scope: &Scope,
    table: &Name,
    item: Item,
    condition: Option<Condition>,
) -> Result<(), StoreError> {
    let request = Request::Put {
        table: table.clone(),
        item,
        condition,
    };
    store.call(scope, request).await.map(drop)
}

/// Changes one item, if the condition holds; answers what `returns` asks for.
///
/// # Errors
/// See [`StoreError`].
pub async fn update(
    store: &dyn Store,
    scope: &Scope,
    table: &Name,
    key: Key,
    update: Update,
    condition: Option<Condition>,
    returns: Return,
) -> Result<Option<Item>, StoreError> {
    let request = Request::Update {
        table: table.clone(),
        key,
        update,
        condition,
        returns,
    };
    match store.call(scope, request).await? {
        Response::Item(item) => Ok(item),
        other => unexpected(&other),
    }
}

/// Deletes one item, if the condition holds.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    store: &dyn Store,
    scope: &Scope,
    table: &Name,
    key: Key,
    condition: Option<Condition>,
) -> Result<(), StoreError> {
    let request = Request::Delete {
        table: table.clone(),
        key,
        condition,
    };
    store.call(scope, request).await.map(drop)
}

/// Sends a query or a scan again and again until its last page, and answers the items of all
/// pages. A limit applies to each page.
///
/// # Errors
/// See [`StoreError`].
pub async fn all_pages(
    store: &dyn Store,
    scope: &Scope,
    mut request: Request,
) -> Result<Vec<Item>, StoreError> {
    let mut all = Vec::new();
    loop {
        let (items, next) = match store.call(scope, request.clone()).await? {
            Response::Page { items, next } => (items, next),
            other => return unexpected(&other),
        };
        all.extend(items);
        let Some(next) = next else { return Ok(all) };
        match &mut request {
            Request::Query { start, .. } | Request::Scan { start, .. } => *start = Some(next),
            _ => return Ok(all),
        }
    }
}
