//! Effects: the named crash points of a runtime, and what the fault plan does there.

use crate::fault::{Action, CrashKind, Injection};
use crate::{Scope, World};
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::rc::Rc;

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
        let crash = match self.next_injections(scope) {
            None => None,
            Some(injections) => self.strike(scope, point, &injections),
        };
        let Some((kind, injection)) = crash else {
            return scope.life().unless_dead(action).await;
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
        scope.life().kill();
        // The caller may get one more turn before its supervisor acts. It must not see a value, or
        // it could begin the next effect.
        self.crashed().await
    }

    async fn crashed<T>(&self) -> T {
        self.waiting("its supervisor, for it has crashed", pending())
            .await
    }

    /// Counts the effect, and takes what is planned for it.
    fn next_injections(&self, scope: &Scope) -> Option<Vec<Injection>> {
        let request = scope.request();
        let nth = request.effects.get();
        request.effects.set(nth.wrapping_add(1));
        let mut planned = request.planned.borrow_mut();
        if planned.iter().all(|injection| injection.nth != nth) {
            return None;
        }
        Some(planned.extract_if(.., |i| i.nth == nth).collect())
    }

    /// Starts the duplicates that are planned here, and says how the execution crashes, if it does.
    /// It can crash but once: were two crashes planned here, the first one strikes.
    fn strike(
        &self,
        scope: &Scope,
        point: &'static str,
        injections: &[Injection],
    ) -> Option<(CrashKind, Injection)> {
        let mut crash = None;
        for &injection in injections {
            match injection.action {
                Action::Duplicate => scope.life().duplicate(),
                Action::Crash(kind) if crash.is_none() => crash = Some((kind, injection)),
                Action::Crash(_) => continue,
            }
            self.faults().strike(point, injection.action);
            let fired = &scope.request().fired;
            fired.set(fired.get() + 1);
        }
        crash
    }

    /// How often each crash point struck, by its name and kind (no kind: a duplicate).
    pub fn struck(&self) -> BTreeMap<(&'static str, Option<CrashKind>), u64> {
        self.faults().struck()
    }
}
