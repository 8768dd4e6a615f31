//! Effects: the named crash points of a runtime, and what the fault plan does there.

use crate::fault::{Action, CrashKind, FaultKind, Injection, LONGEST_DELAY};
use crate::trace::{SpanId, What};
use crate::{Nanos, RequestState, Scope, Trace, World, mix_str};
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::rc::Rc;

/// How an effect is delayed that does not crash.
enum Delay {
    /// It is sent late.
    Effect(Nanos),
    /// Its reply comes late.
    Reply(Nanos),
}

/// An injected fault in words, for a timeline.
fn told(injection: Injection) -> String {
    match injection.action {
        Action::Duplicate => "a duplicate is started".to_owned(),
        Action::Crash(CrashKind::Before) => "crashes before it is sent".to_owned(),
        Action::Crash(CrashKind::InFlight) => {
            let late = injection.late / crate::MS;
            format!("crashes; applied {late} ms later")
        }
        Action::Crash(CrashKind::ReplyLost) => "applied; crashes before the reply".to_owned(),
        Action::Crash(CrashKind::After) => "crashes after the reply".to_owned(),
    }
}

impl World {
    /// One effect of a runtime: a named crash point. The future must not depend on the execution
    /// that issues it, because it may outlive it. An execution that has crashed begins no effect,
    /// and gets no further with those that its other branches had begun.
    pub async fn effect<T: 'static>(
        &self,
        scope: &Scope,
        point: &'static str,
        action: impl Future<Output = T> + 'static,
    ) -> T {
        // Boxed, because an async function keeps a copy of what it awaits for each place where it
        // does, and effects lie deep in functions that lie in functions.
        let action = Box::pin(action);
        if scope.life().is_dead() {
            return self.crashed().await;
        }
        let span = self.trace_begin(scope.request(), scope.path(), What::Effect, || {
            point.to_owned()
        });
        let action = self.inside(span, action);
        let crash = match self.next_injections(scope, point) {
            None => None,
            Some(injections) => self.strike(scope, point, &injections, span),
        };
        let Some((kind, injection)) = crash else {
            let value = match self.delay(scope, span) {
                None => scope.life().unless_dead(action).await,
                Some(delay) => self.delayed(scope, point, action, delay).await,
            };
            self.trace_end(span);
            return value;
        };
        let request = Rc::clone(scope.request());
        match kind {
            CrashKind::Before => {}
            CrashKind::InFlight => {
                let late = self.sleep(injection.late);
                request.begin();
                let world = self.clone();
                self.spawn(point, async move {
                    late.await;
                    drop(action.await);
                    request.end(world.now());
                });
            }
            CrashKind::ReplyLost => {
                // The execution may die earlier, by its time limit or another branch's crash, so
                // the effect must go on without it; the request is not settled before it has.
                request.begin();
                let world = self.clone();
                let reply = self.spawn(point, async move {
                    drop(action.await);
                    request.end(world.now());
                });
                scope.life().unless_dead(reply).await;
            }
            CrashKind::After => drop(scope.life().unless_dead(action).await),
        }
        self.trace_end(span);
        scope.life().kill();
        // The caller may get one more turn before its supervisor acts. It must not see a value, or
        // it could begin the next effect.
        self.crashed().await
    }

    async fn crashed<T>(&self) -> T {
        self.waiting("its supervisor, for it has crashed", pending())
            .await
    }

    /// An effect that comes late, or whose reply does. Once it is under way it is applied even if
    /// the execution ends before.
    async fn delayed<T: 'static>(
        &self,
        scope: &Scope,
        point: &'static str,
        action: impl Future<Output = T> + 'static,
        delay: Delay,
    ) -> T {
        let life = scope.life();
        match delay {
            Delay::Effect(span) => {
                let (world, request) = (self.clone(), Rc::clone(scope.request()));
                request.begin();
                let late = self.spawn(point, async move {
                    world.sleep(span).await;
                    let value = action.await;
                    request.end(world.now());
                    value
                });
                life.unless_dead(late).await
            }
            Delay::Reply(span) => {
                let value = life.unless_dead(action).await;
                life.unless_dead(self.sleep(span)).await;
                value
            }
        }
    }

    /// Draws whether the execution's next effect is delayed.
    fn delay(&self, scope: &Scope, span: Option<SpanId>) -> Option<Delay> {
        let rate = self.faults().delay_rate();
        let request = scope.request();
        if rate == 0.0 || request.id == Trace::BACKGROUND {
            return None;
        }
        let mut random = self.keyed(mix_str(scope.next_effect(), "delay"));
        if !random.chance(rate) {
            return None;
        }
        request.strike(FaultKind::Delay);
        let late = random.below(LONGEST_DELAY);
        let effect = random.chance(0.5);
        self.trace_note(span, || {
            let what = if effect { "applied" } else { "its reply comes" };
            format!("{what} {} ms late", late / crate::MS)
        });
        Some(match effect {
            true => Delay::Effect(late),
            false => Delay::Reply(late),
        })
    }

    /// Whether a service refuses an operation of a request, because the fault plan says so. The key
    /// is the operation's.
    pub fn throttles(&self, request: &RequestState, key: u64) -> bool {
        let rate = self.faults().throttle_rate();
        if rate == 0.0 || request.id == Trace::BACKGROUND {
            return false;
        }
        let refused = self.keyed(mix_str(key, "throttle")).chance(rate);
        if refused {
            request.strike(FaultKind::Throttle);
        }
        refused
    }

    /// Counts the effect, and takes what is planned for it.
    fn next_injections(&self, scope: &Scope, point: &'static str) -> Option<Vec<Injection>> {
        let request = scope.request();
        let nth = request.effects.get();
        request.effects.set(nth.wrapping_add(1));
        let search = request.search.as_ref();
        let mut found =
            search.map_or_else(Vec::new, |search| search.borrow_mut().next(scope, point));
        let mut planned = request.planned.borrow_mut();
        if planned.iter().any(|injection| injection.nth == nth) {
            found.extend(planned.extract_if(.., |i| i.nth == nth));
        }
        (!found.is_empty()).then_some(found)
    }

    /// Starts the duplicates that are planned here, and says how the execution crashes, if it does.
    /// It can crash but once: were two crashes planned here, the first one strikes.
    fn strike(
        &self,
        scope: &Scope,
        point: &'static str,
        injections: &[Injection],
        span: Option<SpanId>,
    ) -> Option<(CrashKind, Injection)> {
        let mut crash = None;
        for &injection in injections {
            match injection.action {
                Action::Duplicate => scope.life().duplicate(),
                Action::Crash(kind) if crash.is_none() => crash = Some((kind, injection)),
                Action::Crash(_) => continue,
            }
            self.faults().strike(point, injection.action);
            scope.request().strike(match injection.action {
                Action::Crash(_) => FaultKind::Crash,
                Action::Duplicate => FaultKind::Duplicate,
            });
            self.trace_note(span, || told(injection));
        }
        crash
    }

    /// How often each crash point struck, by its name and kind (no kind: a duplicate).
    pub fn struck(&self) -> BTreeMap<(&'static str, Option<CrashKind>), u64> {
        self.faults().struck()
    }
}
