//! Sending a refused request again, as every SDK does.

use crate::{Request, Response, Store, StoreError};
use std::rc::Rc;
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
