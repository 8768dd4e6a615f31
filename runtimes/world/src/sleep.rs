//! The future of a sleep, in virtual and in real time.

use crate::Nanos;
use crate::executor::Executor;
use crate::timers::TimerId;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

pub(crate) enum Sleep {
    Virtual(Alarm),
    Real(Pin<Box<dyn Future<Output = ()>>>),
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Sleep::Virtual(alarm) => alarm.poll(cx),
            Sleep::Real(sleep) => sleep.as_mut().poll(cx),
        }
    }
}

/// A sleep on the virtual clock. The timer is set at the first poll and taken out if the future is
/// dropped, so that the time limit of a finished operation neither wakes anyone nor keeps a
/// deadlocked world going.
pub(crate) struct Alarm {
    executor: Rc<Executor>,
    at: Nanos,
    timer: Option<TimerId>,
}

impl Alarm {
    pub(crate) fn new(executor: &Rc<Executor>, at: Nanos) -> Self {
        Alarm {
            executor: Rc::clone(executor),
            at,
            timer: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.executor.now() >= self.at {
            self.cancel();
            return Poll::Ready(());
        }
        match self.timer {
            // Polled by chance, or moved to another task.
            Some(timer) => self.executor.rewake(timer, cx.waker()),
            None => self.timer = self.executor.wake_at(self.at, cx.waker()),
        }
        self.executor.waits_for_timer();
        Poll::Pending
    }

    fn cancel(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.executor.cancel_timer(timer);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.cancel();
    }
}
