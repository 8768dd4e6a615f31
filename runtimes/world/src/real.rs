//! The real-time backend: tokio's timers and local tasks behind the same calls.

use crate::Nanos;
use futures_util::FutureExt;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// The panic of a task. tokio would keep it to itself; here, as in virtual time, it ends the world.
#[derive(Default)]
struct Failure {
    panic: Cell<Option<Box<dyn Any + Send>>>,
    root: RefCell<Option<Waker>>,
}

/// The clock of a real world.
#[derive(Clone)]
pub(crate) struct Clock {
    start: Instant,
    failure: Rc<Failure>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Clock {
            start: Instant::now(),
            failure: Rc::default(),
        }
    }

    pub(crate) fn now(&self) -> Nanos {
        self.start.elapsed().as_nanos() as Nanos
    }

    pub(crate) async fn sleep_until(self, at: Nanos) {
        // A time that the machine cannot express is as good as never.
        match self.start.checked_add(Duration::from_nanos(at)) {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
        done: impl FnOnce(T) + 'static,
    ) -> AbortHandle {
        let failure = Rc::clone(&self.failure);
        let caught = AssertUnwindSafe(future.map(done)).catch_unwind();
        let task = caught.map(move |result| {
            if let Err(panic) = result {
                failure.panic.set(Some(panic));
                let root = failure.root.borrow_mut().take();
                root.into_iter().for_each(Waker::wake);
            }
        });
        tokio::task::spawn_local(task).abort_handle()
    }

    /// Goes on with the panic of a task, if there was one.
    pub(crate) fn propagate(&self) {
        if let Some(panic) = self.failure.panic.take() {
            resume_unwind(panic);
        }
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> std::io::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let watched = async {
            let mut future = pin!(future);
            poll_fn(|cx| {
                self.propagate();
                let poll = future.as_mut().poll(cx);
                if poll.is_pending() {
                    *self.failure.root.borrow_mut() = Some(cx.waker().clone());
                }
                poll
            })
            .await
        };
        Ok(tokio::task::LocalSet::new().block_on(&runtime, watched))
    }
}
