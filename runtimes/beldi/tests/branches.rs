//! Parallel branches of one transaction on the same key: which of them gets to the key first may
//! differ between executions of the instance, and still no lock is left behind.

mod common;
#[path = "common/crashes.rs"]
mod crashes;

use common::app_of;
use crashes::{configs, crash, duplicate, run};
use std::collections::BTreeSet;
use std::rc::Rc;
use triptych_api::{App, Call, Change, Ctx, Handler, Op, Result, join};
use triptych_model::{Outcome, Value};
use triptych_world::fault::CrashKind;

/// Answers, which takes a while when it is called first and none when a replay finds it in the log.
#[derive(serde::Serialize, serde::Deserialize)]
struct Ask {}

impl Op for Ask {
    const FUNCTION: &'static str = "Back";
    const OP: &'static str = "Ask";
    type Output = ();
}

/// Both branches touch `shared`: the left one first when they run first, because the right one waits
/// for its callee, and the right one first on a replay.
async fn front(ctx: &mut Ctx) -> Result<Value> {
    ctx.transaction(async |tx: &mut Ctx| {
        let [mut left, mut right] = tx.fork();
        let (left, right) = join!(
            async {
                left.read::<Value>("front", "own").await?;
                left.read::<Value>("front", "own").await?;
                left.read::<Value>("front", "shared").await
            },
            async {
                for _ in 0..4 {
                    right.call(Ask {}).await?;
                }
                right.read::<Value>("front", "shared").await
            }
        );
        left?;
        right?;
        tx.update("front", "shared", None, vec![Change::add("n", 1)])
            .await
    })
    .await?;
    Ok(Value::Null)
}

fn app() -> App {
    let entry: Handler = Rc::new(|ctx, _: Call| Box::pin(front(ctx)));
    let back: Handler = Rc::new(|_, _: Call| Box::pin(async { Call::output::<Ask>(&()) }));
    app_of(vec![("Front", &["front"], entry), ("Back", &[], back)])
}

#[test]
fn branches_that_meet_at_a_key_leave_no_lock_whoever_comes_first() {
    for (name, config) in configs() {
        let reference = run(app(), "", config, Vec::new());
        assert_eq!(reference.outcome, Outcome::Ok, "{name}");
        let n = |state: &triptych_model::State| state.get("front", "shared")?.get("n")?.as_int();
        assert_eq!(n(&reference.state), Some(1), "{name}");
        let mut points = BTreeSet::new();
        for nth in 0..reference.effects + 10 {
            // Two kinds at each point, in turns.
            for at in [0, 2] {
                let kind = CrashKind::ALL[(nth as usize + at) % 4];
                let plans = [
                    vec![crash(nth, kind)],
                    vec![duplicate(nth), crash(nth + 5, kind)],
                    vec![crash(nth, kind), crash(2 * nth + 2, kind)],
                ];
                for faults in plans {
                    let what = format!("{name}: {faults:?}");
                    let end = run(app(), "", config, faults);
                    for state in [&end.alone, &end.state] {
                        assert_eq!(state.residue, Vec::<String>::new(), "{what}");
                        assert_eq!(state.pending, Vec::<String>::new(), "{what}");
                        assert_eq!(state.corrupt, Vec::<String>::new(), "{what}");
                    }
                    assert_eq!(n(&end.state), Some(1), "{what}");
                    assert_eq!(end.again, (Outcome::Ok, Value::Null), "{what}");
                    if end.outcome == Outcome::Ok {
                        assert_eq!(end.output, Value::Null, "{what}");
                        assert_eq!(n(&end.alone), Some(1), "{what}: at first");
                    }
                    points.extend(end.points);
                }
            }
        }
        assert!(points.len() >= 15, "{name}: only {points:?} were crashed");
    }
}
