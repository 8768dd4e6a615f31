//! The open-loop generator: sends every request at its intended time, whatever has become of the
//! ones before it, and records every one.
//!
//! Latency counts from the *intended* time. If there is a limit on requests in flight, those above
//! it queue at the client and their waiting is charged to the response time; dropping them (the
//! [`WhenFull::Shed`] policy) has to be asked for, and they are counted. A client that has waited
//! too long gives up, which says nothing about the effect: `indeterminate`. So at the end
//! intended = ok + rejected + aborted + failed + indeterminate + shed + in flight, always.

use futures_util::future::LocalBoxFuture;
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use triptych_model::{OpRecord, Outcome, OutcomeClass, Value};
use triptych_results::latency;
use triptych_world::{MS, Nanos, SECOND, World};

/// What to do with a request that is due while the limit of requests in flight is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It waits at the client, first come first served.
    #[default]
    Queue,
    /// It is not sent, and recorded as shed.
    Shed,
}

/// What bounds the generator.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most requests in flight.
    pub in_flight: usize,
    /// What happens above it.
    pub when_full: WhenFull,
    /// How long a client waits for an answer, from the moment it sent the request.
    pub client_timeout: Nanos,
    /// How long after the last intended time the generator waits for answers before it records the
    /// rest as in flight.
    pub grace: Nanos,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            in_flight: usize::MAX,
            when_full: WhenFull::Queue,
            client_timeout: 60 * SECOND,
            grace: 120 * SECOND,
        }
    }
}

/// What is known of a request before it is sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Planned {
    /// Its kind, as [`OpRecord::kind`].
    pub kind: u16,
    /// The logical client.
    pub session: u32,
    /// What is asked, as the record keeps it.
    pub input: Value,
}

/// What the client has in the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// How it ended.
    pub outcome: Outcome,
    /// What to remember of the answer.
    pub observed: Value,
}

/// What the generator says of itself.
#[derive(Clone, Debug)]
pub struct Driven {
    /// World time at which the load began: the origin of all recorded times.
    pub origin: Nanos,
    /// Requests that the schedule intended.
    pub intended: u64,
    /// How they ended; the counts add up to `intended`.
    pub ended: BTreeMap<OutcomeClass, u64>,
    /// How late the generator itself was for each request, in nanoseconds: 0 in virtual time.
    pub lateness: Histogram<u32>,
    /// Requests that had to wait (or were shed) because the limit in flight was reached: if there
    /// are any, the run was overloaded.
    pub over_limit: u64,
    /// The most requests in flight at one time.
    pub peak_in_flight: u64,
}

impl Driven {
    /// Whether the generator kept its own schedule: the 99th percentile of its lateness is at most
    /// 2 ms, as good as a shared machine can be. In virtual time it is never late at all.
    pub fn kept_schedule(&self) -> bool {
        self.lateness.value_at_quantile(0.99) <= 2 * MS
    }
}

type Send = dyn Fn(u64, &Planned) -> LocalBoxFuture<'static, Sent>;

struct Live {
    planned: Planned,
    intended: Nanos,
    sent: Option<Nanos>,
}

struct Generator<R> {
    world: World,
    origin: Nanos,
    limits: Limits,
    send: Box<Send>,
    record: RefCell<R>,
    live: RefCell<BTreeMap<u64, Live>>,
    waiting: RefCell<VecDeque<u64>>,
    in_flight: Cell<usize>,
    peak: Cell<usize>,
    ended: RefCell<BTreeMap<OutcomeClass, u64>>,
    idle: RefCell<Option<Waker>>,
}

/// Sends the requests of a schedule and hands each one's record to `record` when it ends (so not in
/// the order of the schedule). Returns when all have ended or the grace has passed.
///
/// # Panics
/// If requests were lost or invented; that would be a bug of the generator.
pub async fn drive<R: FnMut(OpRecord) + 'static>(
    world: &World,
    times: impl Iterator<Item = Nanos>,
    limits: Limits,
    plan: impl Fn(u64) -> Planned,
    send: impl Fn(u64, &Planned) -> LocalBoxFuture<'static, Sent> + 'static,
    record: R,
) -> Driven {
    let origin = world.now();
    let grace = limits.grace;
    let generator = Rc::new(Generator {
        world: world.clone(),
        origin,
        limits,
        send: Box::new(send),
        record: RefCell::new(record),
        live: RefCell::default(),
        waiting: RefCell::default(),
        in_flight: Cell::new(0),
        peak: Cell::new(0),
        ended: RefCell::default(),
        idle: RefCell::default(),
    });
    let mut lateness = latency::histogram();
    let (mut intended_count, mut over_limit) = (0, 0);
    for (index, intended) in (0u64..).zip(times) {
        if world.now() < origin + intended {
            world.sleep_until(origin + intended).await;
        }
        let late = world.now() - (origin + intended);
        lateness.saturating_record(late);
        intended_count += 1;
        let live = Live {
            planned: plan(index),
            intended,
            sent: None,
        };
        generator.live.borrow_mut().insert(index, live);
        if !generator.offer(index) {
            over_limit += 1;
        }
    }
    let deadline = world.now() + grace;
    let idle = world.waiting("requests in flight", generator.idle());
    if world.timeout(deadline - world.now(), idle).await.is_err() {
        generator.close();
    }
    let ended = generator.ended.borrow().clone();
    let total: u64 = ended.values().sum();
    assert_eq!(
        total, intended_count,
        "every intended request ends in exactly one way"
    );
    let peak_in_flight = generator.peak.get() as u64;
    Driven {
        origin,
        intended: intended_count,
        ended,
        lateness,
        over_limit,
        peak_in_flight,
    }
}

impl<R: FnMut(OpRecord) + 'static> Generator<R> {
    fn now(&self) -> Nanos {
        self.world.now() - self.origin
    }

    /// Takes a request that is due; false if it could not be sent at once.
    fn offer(self: &Rc<Self>, index: u64) -> bool {
        if self.in_flight.get() < self.limits.in_flight {
            self.in_flight.set(self.in_flight.get() + 1);
            self.peak.set(self.peak.get().max(self.in_flight.get()));
            let generator = Rc::clone(self);
            self.world
                .spawn("client", async move { generator.client(index).await });
            return true;
        }
        match self.limits.when_full {
            WhenFull::Queue => self.waiting.borrow_mut().push_back(index),
            WhenFull::Shed => self.end(index, Outcome::Shed, Value::Null),
        }
        false
    }

    /// Sends one request after another as long as some wait for this place in flight.
    async fn client(self: Rc<Self>, first: u64) {
        let mut next = Some(first);
        while let Some(index) = next {
            let sent = match self.live.borrow_mut().get_mut(&index) {
                Some(live) => {
                    live.sent = Some(self.now());
                    (self.send)(index, &live.planned)
                }
                // The run was closed while it waited.
                None => break,
            };
            let Sent { outcome, observed } = match self.limits.client_timeout {
                Nanos::MAX => sent.await,
                limit => self
                    .world
                    .timeout(limit, sent)
                    .await
                    .unwrap_or_else(|_| Sent {
                        outcome: Outcome::Indeterminate("client timeout".to_owned()),
                        observed: Value::Null,
                    }),
            };
            self.end(index, outcome, observed);
            next = self.waiting.borrow_mut().pop_front();
        }
        self.in_flight.set(self.in_flight.get() - 1);
        if self.in_flight.get() == 0
            && let Some(waker) = self.idle.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Records how a request ended; the first end counts.
    fn end(&self, index: u64, outcome: Outcome, observed: Value) {
        let Some(live) = self.live.borrow_mut().remove(&index) else {
            return;
        };
        *self.ended.borrow_mut().entry(outcome.class()).or_default() += 1;
        let done_ns = self.now();
        (self.record.borrow_mut())(OpRecord {
            index,
            kind: live.planned.kind,
            session: live.planned.session,
            intended_ns: live.intended,
            sent_ns: live.sent.unwrap_or(done_ns),
            done_ns,
            settled_ns: 0,
            entry_ns: 0,
            outcome,
            input: live.planned.input,
            observed,
            faults: 0,
        });
    }

    async fn idle(&self) {
        poll_fn(|cx| {
            if self.in_flight.get() == 0 {
                return Poll::Ready(());
            }
            *self.idle.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Ends the run for every request that has not ended.
    fn close(&self) {
        self.waiting.borrow_mut().clear();
        let left: Vec<u64> = self.live.borrow().keys().copied().collect();
        for index in left {
            self.end(index, Outcome::InFlight, Value::Null);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::stalling;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// H4 and H5 under random stalls, limits, timeouts and policies.
        #[test]
        fn nothing_is_lost_or_invented(
            seed: u64,
            in_flight in 1usize..60,
            shed: bool,
            timeout_ms in 1u64..4_000,
            grace_ms in 0u64..4_000,
            rate in 10.0f64..500.0,
        ) {
            let when_full = if shed { WhenFull::Shed } else { WhenFull::Queue };
            let client_timeout = timeout_ms * MS;
            let limits = Limits { in_flight, when_full, client_timeout, grace: grace_ms * MS };
            let (driven, mut ops) = stalling(seed, limits, rate);
            ops.sort_by_key(|op| op.index);
            prop_assert_eq!(driven.intended, ops.len() as u64);
            prop_assert!(ops.iter().enumerate().all(|(i, op)| op.index == i as u64));
            prop_assert_eq!(driven.ended.values().sum::<u64>(), driven.intended);
            for op in &ops {
                prop_assert!(op.intended_ns <= op.sent_ns && op.sent_ns <= op.done_ns);
                prop_assert!(op.done_ns - op.sent_ns <= client_timeout);
            }
            let shed_count = driven.ended.get(&OutcomeClass::Shed).copied().unwrap_or(0);
            prop_assert_eq!(shed_count, if shed { driven.over_limit } else { 0 });
            prop_assert!(driven.peak_in_flight <= in_flight as u64);
            prop_assert!(driven.kept_schedule() && driven.lateness.max() == 0);
        }
    }

    /// H8: a limit makes requests wait in line, and says that the run was overloaded.
    #[test]
    fn a_full_generator_queues_in_order() {
        let limits = Limits {
            in_flight: 1,
            ..Limits::default()
        };
        let (driven, mut ops) = stalling(3, limits, 50.0);
        assert!(driven.over_limit > 0);
        ops.sort_by_key(|op| op.index);
        assert!(
            ops.windows(2)
                .all(|pair| pair[0].sent_ns <= pair[1].sent_ns)
        );
    }

    #[test]
    fn a_client_that_gives_up_knows_nothing() {
        let limits = Limits {
            client_timeout: MS,
            ..Limits::default()
        };
        let (driven, _) = stalling(3, limits, 200.0);
        assert!(
            driven.ended[&OutcomeClass::Indeterminate] > 100,
            "{:?}",
            driven.ended
        );
    }
}
