//! The pool as whoever calls functions sees it: a call is a message to it and a reply back, an event
//! is handed to its queue.

use super::{Event, SimPool};
use crate::machine;
use crate::{InvokeError, Payload, Platform};
use futures_util::future::LocalBoxFuture;
use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Poll, Waker};
use triptych_model::{Name, mix_str};
use triptych_world::trace::What;
use triptych_world::{Scope, World};

impl Platform for SimPool {
    fn invoke(
        &self,
        scope: &Scope,
        function: &Name,
        mut payload: Payload,
    ) -> LocalBoxFuture<'static, Result<Payload, InvokeError>> {
        if let Some(machine) = self.0.machines.borrow().get(function) {
            let (pool, machine) = (self.clone(), Rc::clone(machine));
            return Box::pin(machine::run(pool, scope.clone(), machine, payload.body));
        }
        payload.trace = scope.next_trace();
        let entry = scope.is_client();
        let pool = self.clone();
        let function = function.clone();
        let caller = scope.path();
        Box::pin(async move {
            let world = pool.0.world.clone();
            Self::check_size(payload.body.size(), pool.0.config.sync_payload_limit)?;
            let hop = pool
                .0
                .latencies
                .sync_invoke
                .draw(&mut pool.draws(payload.trace, "hop"), 1.0);
            let reply = Reply::default();
            let slot = reply.clone();
            let request = world.request(payload.trace.request);
            request.begin();
            let span = world.trace_begin(&request, caller, What::Call, || function.to_string());
            world.trace_starts(span, payload.trace.path);
            world.after(hop / 2, move || {
                let back = pool.0.world.clone();
                pool.start(&function, payload, true, entry, move |end| {
                    request.end(back.now());
                    if let Err(error) = &end {
                        back.trace_note(span, || error.to_string());
                    }
                    back.after(hop - hop / 2, move || slot.put(end));
                });
            });
            let end = reply.take(&world, "a function's reply").await;
            world.trace_end(span);
            end
        })
    }

    fn enqueue(
        &self,
        scope: &Scope,
        function: &Name,
        mut payload: Payload,
    ) -> LocalBoxFuture<'static, Result<(), InvokeError>> {
        payload.trace = scope.next_trace();
        let pool = self.clone();
        let function = function.clone();
        let caller = scope.path();
        Box::pin(async move {
            let world = pool.0.world.clone();
            Self::check_size(payload.body.size(), pool.0.config.async_payload_limit)?;
            if !pool.0.functions.borrow().contains_key(&function) {
                return Err(InvokeError::NoSuchFunction(function.to_string()));
            }
            let mut random = pool.draws(payload.trace, "event");
            let hop = pool.0.latencies.async_enqueue.draw(&mut random, 1.0);
            let dispatch = pool.0.latencies.async_dispatch.draw(&mut random, 1.0);
            let reply = Reply::default();
            let slot = reply.clone();
            let request = world.request(payload.trace.request);
            let span = world.trace_begin(&request, caller, What::Event, || function.to_string());
            world.trace_starts(span, payload.trace.path);
            // The queue refuses by the same limits that functions do, but with luck of its own.
            if world.throttles(&request, mix_str(payload.trace.path, "queue")) {
                pool.count(|work| work.throttled_rate += 1);
                world.trace_note(span, || "throttled: injected".to_owned());
                world.sleep(hop).await;
                world.trace_end(span);
                return Err(InvokeError::Throttled("injected"));
            }
            request.begin();
            pool.0.queued.set(pool.0.queued.get() + 1);
            world.after(hop / 2, move || {
                let world = pool.0.world.clone();
                let accepted = world.now();
                world.after(hop - hop / 2, move || slot.put(Ok(())));
                let event = Event {
                    function,
                    payload,
                    accepted,
                    failures: 0,
                    throttles: 0,
                };
                // The caller's own latency is over before the event reaches the function.
                world.after(hop - hop / 2 + dispatch, move || pool.dispatch(event));
            });
            let end = reply.take(&world, "the asynchronous queue").await;
            world.trace_end(span);
            end
        })
    }
}

/// Where a reply arrives, whether or not somebody still waits for it.
struct Reply<T>(Rc<RefCell<(Option<T>, Option<Waker>)>>);

impl<T> Default for Reply<T> {
    fn default() -> Self {
        Reply(Rc::new(RefCell::new((None, None))))
    }
}

impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Reply(Rc::clone(&self.0))
    }
}

impl<T> Reply<T> {
    fn put(&self, value: T) {
        let waker = {
            let mut slot = self.0.borrow_mut();
            slot.0 = Some(value);
            slot.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn take(&self, world: &World, what: &'static str) -> T {
        let value = std::future::poll_fn(|cx| {
            let mut slot = self.0.borrow_mut();
            match slot.0.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    slot.1 = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        });
        world.waiting(what, value).await
    }
}
