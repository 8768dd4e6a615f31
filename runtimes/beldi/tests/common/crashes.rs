//! One request of the function `Front`, with exact faults.

use crate::common::place;
use std::collections::BTreeSet;
use std::rc::Rc;
use triptych_api::App;
use triptych_beldi::Config;
use triptych_faas::{Deployment, Platform};
use triptych_model::{Name, Outcome, State, Value};
use triptych_world::fault::{Action, CrashKind, Faults, Injection};
use triptych_world::{Life, Options, SECOND, Scope, World};

/// What a run left behind.
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) output: Value,
    /// The answer to the same request sent again once it was quiet.
    pub(crate) again: (Outcome, Value),
    /// The state before that.
    pub(crate) alone: State,
    pub(crate) state: State,
    pub(crate) effects: u32,
    pub(crate) points: BTreeSet<&'static str>,
}

/// Runs one request of the function `Front` with these faults.
pub(crate) fn run(app: App, op: &'static str, config: Config, faults: Vec<Injection>) -> End {
    let faults = Faults {
        exact: faults.into_iter().map(|fault| (0, fault)).collect(),
        ..Faults::default()
    };
    let options = Options {
        faults,
        ..Options::default()
    };
    World::simulate(1, options, move |world| async move {
        let (pool, beldi) = place(&world, app, config);
        beldi.prepare().await.unwrap();
        pool.place(&*beldi);
        let state = world.begin_request(0, 0);
        let scope = Scope::new(Rc::clone(&state), 0, Life::new());
        let payload = || beldi.request("r0", op, Value::map::<&str>([]), &Value::Null);
        let front = Name::from("Front");
        let answer = beldi.answer(pool.invoke(&scope, &front, payload()).await);
        let effects = state.effects();
        let settle = async || {
            let quiet = async || {
                pool.running() == 0 && pool.queued() == 0 && beldi.pending().await.unwrap() == 0
            };
            while state.live() > 0 || !quiet().await {
                world.sleep(5 * SECOND).await;
                assert!(world.now() < 7_200 * SECOND, "never quiet");
            }
        };
        settle().await;
        let alone = beldi.dump().await.unwrap();
        // A client that does not know what became of its request sends it again, with the same id.
        let mut again = beldi.answer(pool.invoke(&scope, &front, payload()).await);
        for _ in 0..5 {
            if matches!(again.outcome, Outcome::Indeterminate(_)) {
                again = beldi.answer(pool.invoke(&scope, &front, payload()).await);
            }
        }
        settle().await;
        pool.stop_timers();
        let points = world.struck().keys().map(|(point, _)| *point).collect();
        End {
            outcome: answer.outcome,
            output: answer.output,
            again: (again.outcome, again.output),
            alone,
            state: beldi.dump().await.unwrap(),
            effects,
            points,
        }
    })
    .expect("no deadlock")
}

/// The configurations that every crash point is tried on.
pub(crate) fn configs() -> [(&'static str, Config); 3] {
    let paper = Config::paper(60 * SECOND, 60 * SECOND);
    [
        ("beldi", paper),
        // Rows that fill up at once, so that appending is crashed too.
        (
            "beldi, rows of two",
            Config {
                row_capacity: 2,
                ..paper
            },
        ),
        ("beldi-direct", Config::direct(60 * SECOND, 60 * SECOND)),
    ]
}

/// A crash late enough for a message in flight to meet the repeated execution, or its end.
pub(crate) fn crash(nth: u32, kind: CrashKind) -> Injection {
    Injection {
        nth,
        action: Action::Crash(kind),
        late: 200 * SECOND,
    }
}

/// A second execution that starts at this effect.
pub(crate) fn duplicate(nth: u32) -> Injection {
    Injection {
        nth,
        action: Action::Duplicate,
        late: 0,
    }
}
