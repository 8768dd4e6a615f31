//! What an execution does to the world outside of it. Each method is one effect with a name, hence a
//! crash point: an execution that the fault plan crashes there gets no further.

use crate::{Site, VALUE, interrupted};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::model::{Item, Path};
use triptych_api::{LocalBoxFuture, Name, Result, Value};
use triptych_faas::{InvokeError, Payload};
use triptych_store::{Key, Request, Response, StoreError, patient, patient_pages};
use triptych_world::{Life, MS, Scope};

/// How often an invocation is tried again, as an SDK does.
const INVOKE_RETRIES: u32 = 4;
/// How many keys the store takes in one batch.
const BATCH: usize = 100;

/// Where an execution runs, and on whose behalf.
#[derive(Clone)]
pub struct Effects {
    /// World, store, platform and app.
    pub site: Rc<Site>,
    /// The execution.
    pub scope: Scope,
}

impl Effects {
    /// One call to the store, sent again as long as it is throttled.
    ///
    /// # Errors
    /// What the store answered last.
    pub async fn store(
        &self,
        point: &'static str,
        request: Request,
    ) -> std::result::Result<Response, StoreError> {
        let (world, store) = (&self.site.world, Rc::clone(&self.site.store));
        let call = patient(world.clone(), store, self.scope.clone(), request);
        world.effect(&self.scope, point, call).await
    }

    /// An item, as it is now.
    ///
    /// # Errors
    /// [`triptych_api::Error::Interrupted`] if the store does not answer.
    pub async fn get(&self, point: &'static str, table: &Name, key: Key) -> Result<Option<Item>> {
        self.item(point, Request::get(table, key)).await
    }

    /// The document of a key (see [`crate::tables`]), as it is now.
    ///
    /// # Errors
    /// [`triptych_api::Error::Interrupted`] if the store does not answer.
    pub async fn document(
        &self,
        point: &'static str,
        table: &Name,
        key: &Name,
    ) -> Result<Option<Value>> {
        let request = Request::Get {
            table: table.clone(),
            key: Key::hash(key.clone()),
            projection: Some(vec![Path::attr(VALUE)]),
            consistent: true,
        };
        let item = self.item(point, request).await?;
        Ok(item.and_then(|mut item| item.remove(VALUE)))
    }

    async fn item(&self, point: &'static str, request: Request) -> Result<Option<Item>> {
        match self.store(point, request).await.map_err(interrupted)? {
            Response::Item(item) => Ok(item),
            other => Err(interrupted(format!("a get was answered with {other:?}"))),
        }
    }

    /// The documents of several keys, as far as they exist; a batch of them is an effect.
    ///
    /// # Errors
    /// [`triptych_api::Error::Interrupted`] if the store does not answer.
    pub async fn documents(
        &self,
        point: &'static str,
        table: &Name,
        keys: &[Name],
    ) -> Result<BTreeMap<Name, Value>> {
        // No key may stand in a batch twice.
        let mut distinct: Vec<&Name> = keys.iter().collect();
        distinct.sort();
        distinct.dedup();
        let mut found = BTreeMap::new();
        for chunk in distinct.chunks(BATCH) {
            let wanted = chunk
                .iter()
                .map(|&key| (table.clone(), Key::hash(key.clone())));
            let request = Request::BatchGet {
                keys: wanted.collect(),
                consistent: true,
            };
            let items = match self.store(point, request).await.map_err(interrupted)? {
                Response::Items(items) => items,
                other => return Err(interrupted(format!("a batch was answered with {other:?}"))),
            };
            let documents = items.into_iter().map(|item| item?.remove(VALUE));
            let known = chunk.iter().zip(documents);
            found.extend(known.filter_map(|(&key, document)| Some((key.clone(), document?))));
        }
        Ok(found)
    }

    /// All items of a query or scan. However many pages it takes, it is one effect.
    ///
    /// # Errors
    /// [`triptych_api::Error::Interrupted`] if the store does not answer.
    pub async fn pages(&self, point: &'static str, request: Request) -> Result<Vec<Item>> {
        let (world, store) = (&self.site.world, Rc::clone(&self.site.store));
        let pages = patient_pages(world.clone(), store, self.scope.clone(), request);
        let items = world.effect(&self.scope, point, pages).await;
        items.map_err(interrupted)
    }

    /// Invokes a function and waits for its reply; a failure that `again` accepts is tried again.
    ///
    /// # Errors
    /// [`triptych_api::Error::Interrupted`] if there is no reply.
    pub async fn invoke(
        &self,
        point: &'static str,
        function: &Name,
        body: &Value,
        again: fn(&InvokeError) -> bool,
    ) -> Result<Value> {
        let platform = &self.site.platform;
        let call = || platform.invoke(&self.scope, function, Payload::new(body.clone()));
        Ok(self.insist(point, call, again).await?.body)
    }

    /// Hands an event to a function's queue; a failure that `again` accepts is tried again.
    ///
    /// # Errors
    /// [`triptych_api::Error::Interrupted`] if the queue does not take it.
    pub async fn enqueue(
        &self,
        point: &'static str,
        function: &Name,
        body: &Value,
        again: fn(&InvokeError) -> bool,
    ) -> Result<()> {
        let platform = &self.site.platform;
        let event = || platform.enqueue(&self.scope, function, Payload::new(body.clone()));
        self.insist(point, event, again).await
    }

    /// Hands an event over on behalf of the client's request that once caused the work: what a timer
    /// does that finds it unfinished. It is not tried again before the timer finds it again.
    ///
    /// # Errors
    /// [`triptych_api::Error::Interrupted`] if the queue does not take it.
    pub async fn resume(
        &self,
        point: &'static str,
        request: u64,
        function: &Name,
        body: Value,
    ) -> Result<()> {
        let request = self.site.world.request(request);
        let cause = Scope::new(request, self.scope.next_key() | 1, Life::new());
        let platform = &self.site.platform;
        let event = || platform.enqueue(&cause, function, Payload::new(body.clone()));
        self.insist(point, event, |_| false).await
    }

    async fn insist<T: 'static>(
        &self,
        point: &'static str,
        send: impl Fn() -> LocalBoxFuture<'static, std::result::Result<T, InvokeError>>,
        again: fn(&InvokeError) -> bool,
    ) -> Result<T> {
        let mut attempt = 0;
        loop {
            match self.site.world.effect(&self.scope, point, send()).await {
                Err(error) if attempt < INVOKE_RETRIES && again(&error) => {
                    self.pause(attempt).await;
                    attempt += 1;
                }
                end => return end.map_err(interrupted),
            }
        }
    }

    /// Waits before something is tried again: a random time that is longer with each attempt.
    pub async fn pause(&self, attempt: u32) {
        let most = (50 * MS) << attempt.min(6);
        let pause = self.site.world.keyed(self.scope.next_key()).below(most);
        self.site.world.sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Timing, tables};
    use std::cell::RefCell;
    use triptych_api::{App, Error, Function, Retries};
    use triptych_faas::Platform;
    use triptych_store::{SimStore, StoreConfig};
    use triptych_world::latency::Profile;
    use triptych_world::{Options, World};

    /// Answers with the next of these, and counts the calls.
    struct Scripted(RefCell<Vec<Result<(), InvokeError>>>);

    type Result<T, E = InvokeError> = std::result::Result<T, E>;

    impl Platform for Scripted {
        fn invoke(
            &self,
            scope: &Scope,
            function: &Name,
            payload: Payload,
        ) -> LocalBoxFuture<'static, Result<Payload>> {
            let came = self.enqueue(scope, function, payload.clone());
            Box::pin(async move { came.await.map(|()| payload) })
        }

        fn enqueue(&self, _: &Scope, _: &Name, _: Payload) -> LocalBoxFuture<'static, Result<()>> {
            let next = self.0.borrow_mut().remove(0);
            Box::pin(async move { next })
        }
    }

    /// Runs `body` with an app of one table, and a platform that ends calls like this.
    fn with<F: Future<Output = ()> + 'static>(
        ends: Vec<Result<()>>,
        body: impl FnOnce(Effects, Rc<Scripted>) -> F + 'static,
    ) {
        World::simulate(1, Options::default(), |world| async move {
            let profile = Profile::shipped("aws-2020").unwrap();
            let store = SimStore::new(&world, &profile, StoreConfig::default()).unwrap();
            let platform = Rc::new(Scripted(RefCell::new(ends)));
            let function = Function {
                name: Name::from("Front"),
                tables: vec![Name::from("cells")],
                handler: Rc::new(|_, _| Box::pin(async { Ok(Value::Null) })),
                reads: |_| None,
            };
            let app = App {
                name: "one",
                functions: vec![function],
                workflows: Vec::new(),
                kinds: Vec::new(),
                elements: |_, _| None,
                observe: |_, _, _| Value::Null,
                rules: |_| (Vec::new(), Default::default()),
            };
            let site = Rc::new(Site {
                world: world.clone(),
                store: Rc::new(store),
                platform: Rc::clone(&platform) as Rc<dyn Platform>,
                app: Rc::new(app),
                retries: Retries(0),
                timing: Timing::default(),
                servers: crate::SERVERS,
            });
            tables::create(Rc::clone(&site), Vec::new()).await.unwrap();
            let scope = Scope::new(world.begin_request(0, 0), 1, Life::new());
            body(Effects { site, scope }, platform).await;
        })
        .expect("no deadlock");
    }

    #[test]
    fn documents_are_those_that_exist_however_many_and_often_they_are_asked_for() {
        with(Vec::new(), |effects, _| async move {
            let table = Name::from("cells");
            let key = |n: i64| Name::from(n.to_string());
            for n in 0..150 {
                let write = tables::replace(&table, &key(n), Value::Int(n), None);
                let writes = vec![write];
                let done = effects
                    .store("put", Request::TransactWrite { writes })
                    .await;
                assert_eq!(done, Ok(Response::Done));
            }
            let keys: Vec<Name> = (0..200).chain([3, 3]).map(key).collect();
            let found = effects.documents("look", &table, &keys).await.unwrap();
            let all = tables::look(&effects.site, &table).await.unwrap();
            assert_eq!((found.len(), &found), (150, &all));
            let three = effects.document("look", &table, &key(3)).await;
            assert_eq!(three, Ok(Some(Value::Int(3))));
            assert_eq!(effects.document("look", &table, &key(150)).await, Ok(None));
            let state = tables::state(&effects.site).await.unwrap();
            assert_eq!(state.tables[&table], all);
        });
    }

    #[test]
    fn only_failures_that_the_caller_accepts_are_tried_again_and_not_for_ever() {
        let throttled = || Err(InvokeError::Throttled("quota"));
        let mut ends = vec![throttled(), throttled(), Ok(()), Err(InvokeError::Timeout)];
        ends.extend((0..7).map(|_| throttled()));
        with(ends, |effects, platform| async move {
            let (front, body) = (Name::from("Front"), Value::Int(1));
            let refused = |error: &InvokeError| matches!(error, InvokeError::Throttled(_));
            let left = || platform.0.borrow().len();
            let reply = effects.invoke("call", &front, &body, refused).await;
            assert_eq!((reply, left()), (Ok(Value::Int(1)), 8));
            let in_doubt = effects.invoke("call", &front, &body, refused).await;
            assert!(matches!(in_doubt, Err(Error::Interrupted(_))));
            assert_eq!(left(), 7);
            let sent = effects.enqueue("send", &front, &body, refused).await;
            assert!(matches!(sent, Err(Error::Interrupted(_))));
            assert_eq!(left(), 6 - INVOKE_RETRIES as usize);
            let resumed = effects.resume("resume", 0, &front, body).await;
            assert!(matches!(resumed, Err(Error::Interrupted(_))));
            assert_eq!(left(), 5 - INVOKE_RETRIES as usize);
        });
    }
}
