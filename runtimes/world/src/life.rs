//! The life of one function execution: how an injected fault reaches whoever supervises it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

#[derive(Default)]
struct State {
    dead: Cell<bool>,
    duplicates: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

/// What a supervisor should do with the execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Drop it: it has crashed.
    Crash,
    /// Start another execution of the same instance while this one goes on.
    Duplicate,
}

/// A handle shared by an execution's [`crate::Scope`] and its supervisor.
#[derive(Clone, Default)]
pub struct Life(Rc<State>);

impl Life {
    /// A new, living execution.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it has been told to die.
    pub fn is_dead(&self) -> bool {
        self.0.dead.get()
    }

    /// Tells the supervisor to drop the execution.
    pub fn kill(&self) {
        self.0.dead.set(true);
        self.wake();
    }

    /// Tells the supervisor to start a duplicate.
    pub fn duplicate(&self) {
        self.0.duplicates.set(self.0.duplicates.get() + 1);
        self.wake();
    }

    fn wake(&self) {
        // Taken out first: waking may come back here.
        let waker = self.0.waker.borrow_mut().take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Waits for the next order. The supervisor, of which there is one, polls this before the
    /// execution itself, and again after each duplicate; a crash is the last order.
    pub async fn order(&self) -> Order {
        poll_fn(|cx| {
            // A duplicate that was ordered before the crash must not be lost by it.
            if self.0.duplicates.get() > 0 {
                self.0.duplicates.set(self.0.duplicates.get() - 1);
                return Poll::Ready(Order::Duplicate);
            }
            if self.is_dead() {
                return Poll::Ready(Order::Crash);
            }
            let old = self.0.waker.borrow_mut().replace(cx.waker().clone());
            drop(old);
            Poll::Pending
        })
        .await
    }

    /// Awaits what the execution does, as long as it lives. A crash in one of several branches
    /// stops the others at once, in the turn that they may still get before the supervisor acts.
    pub(crate) async fn unless_dead<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if self.is_dead() {
                return Poll::Pending;
            }
            match future.as_mut().poll(cx) {
                // It may have died meanwhile, by the hand of whoever it has woken.
                Poll::Ready(_) if self.is_dead() => Poll::Pending,
                poll => poll,
            }
        })
        .await
    }
}
