//! Transactions of which one part is dead while nobody knows what became of another one. What is
//! undecided can still take a lock, or leave its word beside one, so nothing ends before it is
//! decided; and should the end find something undecided all the same, it decides it.

#[path = "common/between.rs"]
mod between;
mod common;

use between::{Between, Fate, Hook, change, items, row, word};
use common::{app_of, place_behind};
use std::rc::Rc;
use triptych_api::{App, Call, Change, Ctx, Error, Handler, Op, Result, join};
use triptych_beldi::Config;
use triptych_faas::{Deployment, Platform};
use triptych_model::{Condition, Item, Name, Outcome, Path, State, Value};
use triptych_store::{Key, Request, Store};
use triptych_world::fault::{Action, Aim, CrashKind, Faults};
use triptych_world::{Life, Nanos, Options, SECOND, Scope, World};

macro_rules! part {
    ($op:ident) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct $op {}

        impl Op for $op {
            const FUNCTION: &'static str = stringify!($op);
            const OP: &'static str = stringify!($op);
            type Output = i64;
        }
    };
}

part!(Left);
part!(Right);

async fn add(ctx: &mut Ctx, table: &str, key: &str) -> Result<i64> {
    let changes = vec![Change::add("n", 1)];
    let sum = ctx.update(table, key, None, changes).await?.sum;
    Ok(sum.unwrap_or(-1))
}

async fn front(ctx: &mut Ctx, op: &str) -> Result<Value> {
    ctx.transaction(async |tx: &mut Ctx| {
        match op {
            "many" => drop(tx.read_many::<Value>("front", ["a", "z"]).await?),
            "write" => drop(add(tx, "front", "z").await?),
            "refuse" => {
                tx.read::<Value>("front", "z").await?;
                return Err(Error::rejected("no"));
            }
            _ => {
                let [mut left, mut right] = tx.fork();
                let (left, right) = join!(left.call(Left {}), right.call(Right {}));
                if op == "both" {
                    left?;
                    right?;
                }
            }
        }
        Ok(())
    })
    .await?;
    Ok(Value::Null)
}

fn app() -> App {
    let entry: Handler =
        Rc::new(|ctx, call: Call| Box::pin(async move { front(ctx, &call.op).await }));
    let left: Handler = Rc::new(|ctx, _: Call| {
        Box::pin(async move { Call::output::<Left>(&add(ctx, "left", "k").await?) })
    });
    let right: Handler = Rc::new(|ctx, _: Call| {
        Box::pin(async move {
            // Only this function scans, so its crash points are known.
            ctx.scan::<Value>("right").await?;
            Call::output::<Right>(&add(ctx, "right", "k").await?)
        })
    });
    app_of(vec![
        ("Front", &["front"], entry),
        ("Left", &["left"], left),
        ("Right", &["right"], right),
    ])
}

/// What happens besides the one request.
struct Scene {
    op: &'static str,
    /// What is there before it.
    before: Vec<Request>,
    /// What others do, and when.
    later: Vec<(Nanos, Request)>,
    faults: Faults,
    hook: Hook,
}

struct End {
    outcome: Outcome,
    took: Nanos,
    /// The answer to the same request sent again once it was quiet.
    again: Outcome,
    /// The state before that.
    state: State,
    /// The rows of the table `front`.
    rows: Vec<Item>,
}

fn run(scene: Scene) -> End {
    let options = Options {
        faults: scene.faults,
        ..Options::default()
    };
    let Scene {
        op,
        before,
        later,
        hook,
        ..
    } = scene;
    World::simulate(1, options, move |world| async move {
        let config = Config::paper(60 * SECOND, 60 * SECOND);
        let between = |store| Rc::new(Between::new(store, hook)) as Rc<dyn Store>;
        let (store, pool, beldi) = place_behind(&world, app(), config, between);
        beldi.prepare().await.unwrap();
        pool.place(&*beldi);
        for request in before {
            store
                .call(&world.background_scope(), request)
                .await
                .unwrap();
        }
        for (at, request) in later {
            let (store, world) = (store.clone(), world.clone());
            drop(world.clone().spawn("others", async move {
                world.sleep(at).await;
                store
                    .call(&world.background_scope(), request)
                    .await
                    .unwrap();
            }));
        }
        let state = world.begin_request(0, 0);
        let scope = Scope::new(Rc::clone(&state), 0, Life::new());
        let send = async || {
            let none = Value::map::<&str>([]);
            let payload = beldi.request("r0", op, none, &Value::Null);
            let reply = pool.invoke(&scope, &Name::from("Front"), payload).await;
            beldi.answer(reply).outcome
        };
        let outcome = send().await;
        let took = world.now();
        let quiet = async || {
            pool.running() == 0 && pool.queued() == 0 && beldi.pending().await.unwrap() == 0
        };
        while state.live() > 0 || !quiet().await {
            world.sleep(5 * SECOND).await;
            assert!(world.now() < 7_200 * SECOND, "never quiet");
        }
        let state = beldi.dump().await.unwrap();
        let rows = items(&world, &store, "front").await;
        let again = send().await;
        pool.stop_timers();
        End {
            outcome,
            took,
            again,
            state,
            rows,
        }
    })
    .expect("no deadlock")
}

fn check_sound(state: &State) {
    assert_eq!(state.residue, Vec::<String>::new());
    assert_eq!(state.pending, Vec::<String>::new());
    assert_eq!(state.corrupt, Vec::<String>::new());
}

fn sum(state: &State, table: &str, key: &str) -> Option<i64> {
    state.get(table, key)?.get("n")?.as_int()
}

fn is_key(key: &Key, hash: &str) -> bool {
    key.hash == Value::str(hash)
}

/// A claim, as an update of a data table.
fn claims(request: &Request) -> bool {
    let Request::Update { update, .. } = request else {
        return false;
    };
    let waiter = Path::attr("WAITER");
    update
        .iter()
        .any(|action| matches!(action, triptych_model::Action::Set(path, _) if *path == waiter))
}

const LONG_AGO: i64 = 0;
const LATER: i64 = i64::MAX;

fn locked(table: &str, key: &str, born: i64) -> Request {
    let value = Value::map([("n", Value::Int(0))]);
    let holder = word("other", born);
    row(table, key, "HEAD", &[("V", value), ("HOLDER", holder)])
}

fn unlocked(table: &str, key: &str) -> Request {
    change(table, key, "HEAD", &[("HOLDER", None)])
}

#[test]
fn a_transaction_does_not_die_of_one_key_while_another_one_is_undecided() {
    let mut refusals = 11;
    let end = run(Scene {
        op: "many",
        before: vec![locked("front", "a", LONG_AGO), locked("front", "z", LATER)],
        // After the execution has given up, and before the next one.
        later: vec![
            (50 * SECOND, unlocked("front", "a")),
            (50 * SECOND, unlocked("front", "z")),
        ],
        faults: Faults::default(),
        hook: Box::new(move |request| match request {
            // It has put its word beside the lock, and then asks in vain how things are.
            Request::Get { table, key, .. } if &**table == "front" && is_key(key, "z") => {
                refusals -= 1;
                match refusals {
                    0.. => Fate::Throttled,
                    _ => Fate::Served,
                }
            }
            _ => Fate::Served,
        }),
    });
    assert!(
        matches!(end.outcome, Outcome::Indeterminate(_)),
        "{:?}",
        end.outcome
    );
    assert!(end.took < 50 * SECOND, "{}", end.took);
    check_sound(&end.state);
    assert_eq!(end.again, Outcome::Ok);
}

/// The right function crashes three times, so that its caller gives up, and is restarted by its own
/// collector.
fn crashes() -> Faults {
    let aim = |occurrence| Aim {
        point: "beldi.scan".to_owned(),
        occurrence,
        action: Action::Crash(CrashKind::Before),
        late: 0,
        again: false,
    };
    Faults {
        aimed: (0..3).map(|occurrence| (0, aim(occurrence))).collect(),
        ..Faults::default()
    }
}

#[test]
fn a_participant_that_is_executed_again_after_another_one_aborted_leaves_no_lock() {
    let end = run(Scene {
        op: "both",
        before: vec![locked("left", "k", LONG_AGO)],
        later: vec![(30 * SECOND, unlocked("left", "k"))],
        faults: crashes(),
        hook: Box::new(|_| Fate::Served),
    });
    assert!(
        matches!(end.outcome, Outcome::Indeterminate(_)),
        "{:?}",
        end.outcome
    );
    check_sound(&end.state);
    assert_eq!(end.again, Outcome::Ok);
    assert_eq!(sum(&end.state, "left", "k"), Some(1));
    assert_eq!(sum(&end.state, "right", "k"), Some(1));
}

#[test]
fn a_body_that_swallows_an_interruption_does_not_commit_without_the_part_that_was_interrupted() {
    let end = run(Scene {
        op: "swallow",
        before: Vec::new(),
        later: Vec::new(),
        faults: crashes(),
        hook: Box::new(|_| Fate::Served),
    });
    assert!(
        matches!(end.outcome, Outcome::Indeterminate(_)),
        "{:?}",
        end.outcome
    );
    check_sound(&end.state);
    assert_eq!(end.again, Outcome::Ok);
    assert_eq!(sum(&end.state, "left", "k"), Some(1));
    assert_eq!(sum(&end.state, "right", "k"), Some(1));
}

const TX: &str = "r0/0.0";

/// Runs a transaction that locks `front[z]`, and changes what is there before its end begins.
fn spoilt(op: &'static str, mut by: Vec<Request>) -> End {
    let value = Value::map([("n", Value::Int(0))]);
    run(Scene {
        op,
        before: vec![row("front", "z", "HEAD", &[("V", value)])],
        later: Vec::new(),
        faults: Faults::default(),
        hook: Box::new(move |request| match request {
            // The end looks at the shadow.
            Request::Get { table, .. } if &**table == "Front-local" && !by.is_empty() => {
                Fate::After(std::mem::take(&mut by))
            }
            _ => Fate::Served,
        }),
    })
}

fn undecided(word: Option<(&str, Value)>) -> Request {
    let mut to = vec![("HOLDER", None), ("WAITER", None)];
    to.extend([("LOGS", Some(Value::map::<&str>([])))]);
    if let Some((name, word)) = word {
        to.retain(|(other, _)| *other != name);
        to.push((name, Some(word)));
    }
    change("front", "z", "HEAD", &to)
}

#[test]
fn an_end_that_finds_no_decision_on_a_key_makes_one() {
    let gone = Request::Delete {
        table: Name::from("front"),
        key: Key::range(Value::str("z"), Value::str("HEAD")),
        condition: None,
    };
    let other = word("other", LATER);
    for (what, request, left) in [
        ("nothing", undecided(None), None),
        (
            "its word",
            undecided(Some(("WAITER", word(TX, LONG_AGO)))),
            None,
        ),
        (
            "a word",
            undecided(Some(("WAITER", other.clone()))),
            Some("WAITER"),
        ),
        (
            "a holder",
            undecided(Some(("HOLDER", other.clone()))),
            Some("HOLDER"),
        ),
        ("no row", gone, None),
    ] {
        let end = spoilt("refuse", vec![request]);
        assert!(matches!(end.outcome, Outcome::Rejected(_)), "{what}");
        let [row] = &end.rows[..] else {
            panic!("{what}: {:?}", end.rows);
        };
        let decision = row["LOGS"].get(&format!("{TX}-lock"));
        assert_eq!(decision, Some(&Value::Bool(false)), "{what}");
        for name in ["HOLDER", "WAITER"] {
            let expected = (left == Some(name)).then_some(&other);
            assert_eq!(row.get(name), expected, "{what}: {name}");
        }
        let residue = usize::from(left.is_some());
        assert_eq!(end.state.residue.len(), residue, "{what}: {:?}", end.state);
        assert_eq!(end.state.corrupt, Vec::<String>::new(), "{what}");
    }
}

#[test]
fn a_commit_that_finds_no_decision_on_what_it_writes_does_not_forget_the_write() {
    let end = spoilt("write", vec![undecided(None)]);
    assert!(
        matches!(end.outcome, Outcome::Indeterminate(_)),
        "{:?}",
        end.outcome
    );
    check_sound(&end.state);
    assert_eq!(end.again, Outcome::Ok);
    assert_eq!(sum(&end.state, "front", "z"), Some(1));
}

#[test]
fn a_claim_applies_to_a_lock_that_was_given_back_before_it_came() {
    let mut claimed = 0;
    let end = run(Scene {
        op: "write",
        before: vec![locked("front", "z", LATER)],
        later: vec![(40 * SECOND, unlocked("front", "z"))],
        faults: Faults::default(),
        hook: Box::new(move |request| match request {
            request if claims(request) && claimed == 0 => {
                claimed += 1;
                Fate::After(vec![unlocked("front", "z")])
            }
            // Somebody younger comes by before the transaction looks again.
            Request::Get { table, .. } if &**table == "front" && claimed == 1 => {
                claimed += 1;
                let mut take = change("front", "z", "HEAD", &[("HOLDER", Some(word("y", LATER)))]);
                if let Request::Update { condition, .. } = &mut take {
                    *condition = Some(Condition::Absent(Path::attr("WAITER")));
                }
                Fate::After(vec![take])
            }
            _ => Fate::Served,
        }),
    });
    assert_eq!(end.outcome, Outcome::Ok);
    assert!(end.took < 20 * SECOND, "it waited {} ns", end.took);
    check_sound(&end.state);
    assert_eq!(sum(&end.state, "front", "z"), Some(1));
}

#[test]
fn a_claim_that_misses_because_the_row_is_full_is_made_in_the_next_one() {
    let mut claimed = 0;
    let end = run(Scene {
        op: "write",
        before: vec![locked("front", "z", LATER)],
        later: Vec::new(),
        faults: Faults::default(),
        hook: Box::new(move |request| {
            if !claims(request) {
                return Fate::Served;
            }
            claimed += 1;
            let Request::Update { key, .. } = request else {
                return Fate::Served;
            };
            let row = key.range.as_ref().and_then(Value::as_str).unwrap_or("");
            match claimed {
                1 => Fate::After(vec![change(
                    "front",
                    "z",
                    row,
                    &[("LOGSIZE", Some(Value::Int(100)))],
                )]),
                // Once it waits, the lock is given back.
                _ => Fate::Before(vec![change("front", "z", row, &[("HOLDER", None)])]),
            }
        }),
    });
    assert_eq!(end.outcome, Outcome::Ok);
    check_sound(&end.state);
    assert_eq!(end.rows.len(), 2);
    assert_eq!(sum(&end.state, "front", "z"), Some(1));
}
