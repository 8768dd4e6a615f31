//! Sending a refused request again, as every SDK does.

use crate::{Request, Response, Store, StoreError};
use std::rc::Rc;
use triptych_model::Item;
use triptych_world::{MS, Scope, World};

/// Attempts after the first; what the SDKs use for DynamoDB.
const RETRIES: u32 = 10;

/// Sends a request, and again with a growing, jittered pause as long as it is refused in a way that
/// surely had no effect.
///
/// # Errors
/// What the store answered last.
pub async fn patient(
    world: World,
    store: Rc<dyn Store>,
    scope: Scope,
    request: Request,
) -> Result<Response, StoreError> {
    for attempt in 0..RETRIES {
        match store.call(&scope, request.clone()).await {
            Err(error) if error.is_retryable() => {
                let most = (50 * MS) << attempt.min(8);
                let pause = world.keyed(scope.next_key()).below(most);
                world.sleep(pause).await;
            }
            end => return end,
        }
    }
    store.call(&scope, request).await
}

/// Sends a query or a scan patiently, page after page, and answers the items of all pages.
///
/// # Errors
/// What the store answered last.
pub async fn patient_pages(
    world: World,
    store: Rc<dyn Store>,
    scope: Scope,
    mut request: Request,
) -> Result<Vec<Item>, StoreError> {
    let mut all = Vec::new();
    loop {
        let (world, store) = (world.clone(), Rc::clone(&store));
        let next = match patient(world, store, scope.clone(), request.clone()).await? {
            Response::Page { items, next } => {
                all.extend(items);
                next
            }
            other => {
                let told = format!("a page was asked for, and answered with {other:?}");
                return Err(StoreError::Unavailable(told));
            }
        };
        match (&mut request, next) {
            (Request::Query { start, .. } | Request::Scan { start, .. }, Some(next)) => {
                *start = Some(next);
            }
            _ => return Ok(all),
        }
    }
}
