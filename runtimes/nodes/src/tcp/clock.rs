//! Time for a node that runs as a process: a clock, the timers that it has set, and an alarm.
//!
//! Nodes wait for a tenth of a millisecond here and there, and tokio's timers know only whole ones.
//! So on Linux the alarm is a timer of the kernel's, which the event loop waits for like for a socket.

use crate::Nanos;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::time::{Duration, Instant};

/// Nanoseconds since the node's process began.
#[derive(Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn new() -> Self {
        Clock(Instant::now())
    }

    pub(super) fn now(&self) -> Nanos {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }
}

/// How long this thread has worked since a moment. Where the system tells it, time in which others had
/// the processor does not count: on a busy machine most of what a clock on the wall shows is theirs.
#[derive(Clone, Copy)]
pub(super) struct Stopwatch(Option<Duration>, Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Stopwatch(worked(), Instant::now())
    }

    pub(super) fn nanos(self) -> u64 {
        let Stopwatch(before, begun) = self;
        let both = before.zip(worked());
        let took = both.map_or_else(
            || begun.elapsed(),
            |(before, now)| now.saturating_sub(before),
        );
        u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Processor time of this thread.
#[cfg(target_os = "linux")]
fn worked() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (seconds, nanos) = (time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?);
    Some(Duration::new(seconds, nanos))
}

#[cfg(not(target_os = "linux"))]
fn worked() -> Option<Duration> {
    None
}

/// The timers of a node: by time, and of those at the same time by the order in which they were set.
#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Nanos, u64, u64)>>,
    set: u64,
}

impl Timers {
    pub(super) fn set(&mut self, at: Nanos, timer: u64) {
        self.heap.push(Reverse((at, self.set, timer)));
        self.set += 1;
    }

    /// When the next one rings.
    pub(super) fn next(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes one that is due.
    pub(super) fn due(&mut self, now: Nanos) -> Option<u64> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, timer))| timer)
    }
}

#[cfg(target_os = "linux")]
mod alarm {
    use super::*;
    use rustix::fd::OwnedFd;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    /// Rings at a point in time.
    pub(in super::super) struct Alarm {
        timer: AsyncFd<OwnedFd>,
        /// When it will ring, if it is set.
        set: Option<Instant>,
    }

    impl Alarm {
        pub(in super::super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            // The new way is unsafe because a descriptor might not stay what it is; an owned one does.
            #[allow(deprecated)]
            let timer = AsyncFd::new(timer)?;
            Ok(Alarm { timer, set: None })
        }

        /// Returns after a span of time at the latest. It may be earlier: if the system refuses, or if
        /// the alarm is still set for an earlier moment that nobody waits for any more. Then the node
        /// looks once more than it must; to set it anew for every message would cost more.
        pub(in super::super) async fn after(&mut self, span: Duration) {
            let wanted = Instant::now() + span;
            if self.set.is_none_or(|set| set > wanted) {
                if !self.ring_after(span) {
                    return tokio::task::yield_now().await;
                }
                self.set = Some(wanted);
            }
            loop {
                let Ok(mut ready) = self.timer.readable().await else {
                    return tokio::task::yield_now().await;
                };
                let mut rings = [0; 8];
                let read = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut rings)?));
                if read.is_ok() {
                    self.set = None;
                    return;
                }
            }
        }

        /// Whether the system takes it.
        fn ring_after(&self, span: Duration) -> bool {
            let spec = Itimerspec {
                it_interval: Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                },
                // Zero would mean never.
                it_value: Timespec {
                    tv_sec: span.as_secs().try_into().unwrap_or(i64::MAX),
                    tv_nsec: span.subsec_nanos().max(1).into(),
                },
            };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec).is_ok()
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod alarm {
    use super::*;

    /// Rings at a point in time, to the millisecond.
    pub(in super::super) struct Alarm;

    impl Alarm {
        pub(in super::super) fn new() -> io::Result<Self> {
            Ok(Alarm)
        }

        pub(in super::super) async fn after(&mut self, span: Duration) {
            tokio::time::sleep(span).await;
        }
    }
}

pub(super) use alarm::Alarm;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_ring_in_order_and_not_before_their_time() {
        let mut timers = Timers::default();
        for (at, timer) in [(30, 1), (10, 2), (20, 3), (10, 4)] {
            timers.set(at, timer);
        }
        assert_eq!(timers.next(), Some(10));
        assert_eq!(timers.due(9), None);
        let due: Vec<u64> = std::iter::from_fn(|| timers.due(20)).collect();
        assert_eq!(due, [2, 4, 3]);
        assert_eq!(timers.next(), Some(30));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_stopwatch_counts_work_and_not_sleep() {
        let (watch, begun) = (Stopwatch::start(), Instant::now());
        std::thread::sleep(Duration::from_millis(50));
        assert!(watch.nanos() < 40_000_000, "it slept");
        let mut sum = 0u64;
        while watch.nanos() < 5_000_000 && begun.elapsed() < Duration::from_secs(30) {
            sum = (0..10_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        assert!(watch.nanos() >= 5_000_000, "it worked: {sum}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_alarm_rings_within_a_fraction_of_a_millisecond() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut alarm = Alarm::new().unwrap();
            let span = Duration::from_micros(200);
            // The best of many: the machine may be busy with other things.
            let mut best = Duration::MAX;
            for _ in 0..50 {
                let begun = Instant::now();
                alarm.after(span).await;
                assert!(begun.elapsed() >= span);
                best = best.min(begun.elapsed());
            }
            assert!(best < Duration::from_micros(900), "{best:?}");
        });
    }
}
