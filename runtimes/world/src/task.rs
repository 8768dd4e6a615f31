//! Handles to tasks, and the small futures that time is made of.

use crate::World;
use crate::executor::TaskId;
use futures_util::future::{Either, select};
use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use thiserror::Error;

/// The time allowed has passed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the time allowed has passed")]
pub struct Elapsed;

pub(crate) struct JoinState<T> {
    pub(crate) value: Option<T>,
    pub(crate) waker: Option<Waker>,
}

/// Waits for a spawned task's value. Dropping it lets the task go on by itself.
pub struct JoinHandle<T> {
    pub(crate) state: Rc<RefCell<JoinState<T>>>,
    pub(crate) world: World,
    pub(crate) abort: Abort,
}

pub(crate) enum Abort {
    Virtual(TaskId),
    Real(tokio::task::AbortHandle),
}

impl<T> JoinHandle<T> {
    /// Never polls the task again and drops its future, at the latest at what would have been its
    /// next turn; what it has sent stays sent. A handle awaited after this never completes, unless
    /// the task had already finished. A task that aborts itself ends at its next await.
    pub fn abort(&self) {
        self.world.abort(&self.abort);
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.world.propagate();
        let mut state = self.state.borrow_mut();
        if let Some(value) = state.value.take() {
            return Poll::Ready(value);
        }
        let old = state.waker.replace(cx.waker().clone());
        drop(state);
        // Whatever the last reference to a waker frees may come back here.
        drop(old);
        self.world.waits_for("another task");
        Poll::Pending
    }
}

pub(crate) async fn timeout<T>(
    sleep: impl Future<Output = ()>,
    future: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    match select(pin!(future), pin!(sleep)).await {
        Either::Left((value, _)) => Ok(value),
        Either::Right(((), _)) => Err(Elapsed),
    }
}
