//! DynamoDB behind the [`Store`] trait: the same requests, sent with the official SDK.
//!
//! [`connect`] makes a client, [`DynamoStore::new`] a store of it. Conditions, updates and
//! projections are printed by [`triptych_store::print`]. What a call consumed is read back from
//! the answer into the same counters that the simulated store keeps. DynamoDB does not say what a
//! refused call consumed, so unlike there it is not counted here.
//!
//! The SDK's own retries are off: a request that is sent twice because its first answer was lost
//! could fail its condition because of its own effect, and would then be reported as if it had
//! none. Whoever calls decides what may be sent again (see [`StoreError::is_retryable`] and
//! [`triptych_store::patient`]). Calls need a tokio `LocalSet` around them.

mod call;
mod convert;
mod error;
mod table;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::ConsumedCapacity;
use futures_util::future::LocalBoxFuture;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_model::{Name, Work, item_size};
use triptych_store::{Cancellation, Request, Response, Store, StoreError, TableSchema};
use triptych_world::Scope;

/// Makes a client. With an endpoint, such as that of an emulator, the credentials are made up and
/// nothing is read from the environment; without one it talks to AWS as the environment says.
pub async fn connect(endpoint: Option<&str>, region: &str) -> Client {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
    let region = Region::new(region.to_owned());
    match endpoint {
        Some(endpoint) => {
            let config = aws_sdk_dynamodb::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(region)
                .endpoint_url(endpoint)
                .retry_config(RetryConfig::disabled())
                .credentials_provider(Credentials::new("local", "local", None, None, "triptych"))
                .build();
            Client::from_conf(config)
        }
        None => {
            let config = aws_config::defaults(BehaviorVersion::latest())
                .region(region)
                .retry_config(RetryConfig::disabled());
            Client::new(&config.load().await)
        }
    }
}

struct Inner {
    client: Client,
    /// Keys are sent with the names of their attributes, so the schemas must be known.
    schemas: RefCell<BTreeMap<Name, Rc<TableSchema>>>,
    work: RefCell<Work>,
}

/// A store on DynamoDB. Cheap to clone.
#[derive(Clone)]
pub struct DynamoStore(Rc<Inner>);

impl DynamoStore {
    /// A store that uses this client. Tables that exist already are looked up when they are used.
    pub fn new(client: Client) -> Self {
        DynamoStore(Rc::new(Inner {
            client,
            schemas: RefCell::default(),
            work: RefCell::default(),
        }))
    }

    /// What was done so far. Storage is not known here.
    pub fn work(&self) -> Work {
        self.0.work.borrow().clone()
    }
}

impl Store for DynamoStore {
    fn call(
        &self,
        _scope: &Scope,
        request: Request,
    ) -> LocalBoxFuture<'static, Result<Response, StoreError>> {
        let inner = Rc::clone(&self.0);
        Box::pin(async move {
            // A task of its own, because dropping the caller must not take the message back.
            let task = tokio::task::spawn_local(async move {
                let result = inner.send(&request).await;
                inner.count(&request, &result);
                result
            });
            match task.await {
                Ok(result) => result,
                Err(error) => Err(StoreError::Unavailable(error.to_string())),
            }
        })
    }

    fn create_table(&self, schema: TableSchema) -> LocalBoxFuture<'static, Result<(), StoreError>> {
        let inner = Rc::clone(&self.0);
        Box::pin(async move { inner.create_table(schema).await })
    }
}

impl Inner {
    /// Counts how a call ended.
    fn count(&self, request: &Request, result: &Result<Response, StoreError>) {
        let mut work = self.work.borrow_mut();
        *work
            .store_calls
            .entry(request.name().to_owned())
            .or_default() += 1;
        work.store_bytes_in += request.bytes() as u64;
        match result {
            Err(StoreError::ConditionFailed) => work.store_condition_failures += 1,
            Err(StoreError::Cancelled(reasons))
                if reasons.contains(&Cancellation::ConditionFailed) =>
            {
                work.store_condition_failures += 1;
            }
            Err(StoreError::Throttled) => work.store_throttled += 1,
            Err(_) => {}
            Ok(response) => work.store_bytes_out += bytes(response) as u64,
        }
    }

    /// Counts what DynamoDB says that a call consumed.
    fn consumed<'c>(&self, writes: bool, capacity: impl IntoIterator<Item = &'c ConsumedCapacity>) {
        let mut work = self.work.borrow_mut();
        for units in capacity
            .into_iter()
            .filter_map(ConsumedCapacity::capacity_units)
        {
            if writes {
                work.write_units += units.round() as u64;
            } else {
                work.read_half_units += (units * 2.0).round() as u64;
            }
        }
    }
}

fn bytes(response: &Response) -> usize {
    match response {
        Response::Item(item) => item.as_ref().map_or(0, item_size),
        Response::Items(items) => items.iter().flatten().map(item_size).sum(),
        Response::Page { items, .. } => items.iter().map(item_size).sum(),
        Response::Done => 0,
    }
}
