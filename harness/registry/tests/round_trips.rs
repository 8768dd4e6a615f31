//! How many calls to the store a primitive takes, on the baseline, both variants of Beldi, and the
//! cross-table storage: the table in section 4.8 of Beldi's specification, line by line. Where this
//! implementation differs on purpose, the line says why.

use std::rc::Rc;
use triptych_api::{
    App, Call, Change, Condition, Function, Handler, Name, Op, Path, Retries, Value,
};
use triptych_faas::{Platform, PoolConfig, SimPool};
use triptych_registry::{SERVERS, Site, Timing, runtime};
use triptych_store::{SimStore, StoreConfig};
use triptych_world::fault::{Action, CrashKind, Faults, Injection};
use triptych_world::latency::Profile;
use triptych_world::{Life, Options, SECOND, Scope, World};

#[derive(serde::Serialize, serde::Deserialize)]
struct Nothing {}

impl Op for Nothing {
    const FUNCTION: &'static str = "Callee";
    const OP: &'static str = "Nothing";
    type Output = ();
}

/// An entry point per primitive, on the key `K`, which exists; `write-new` is on another one.
fn app() -> App {
    let front: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            let found = Condition::Exists(Path::attr("n"));
            let other = Condition::equals(Path::attr("n"), 7);
            let missing = Condition::Absent(Path::attr("n"));
            let refused = match &*call.op {
                "cond-false" => other,
                _ => missing,
            };
            let change = || vec![Change::set("n", 2)];
            let row = Value::map([("n", Value::Int(1))]);
            match &*call.op {
                "read" => drop(ctx.read::<Value>("cells", "K").await?),
                "write" => ctx.write("cells", "K", &row).await?,
                "write-new" => ctx.write("cells", "new", &row).await?,
                "cond-true" => assert!(
                    ctx.update("cells", "K", Some(found), change())
                        .await?
                        .applied
                ),
                "cond-false" | "cond-absent" => {
                    assert!(
                        !ctx.update("cells", "K", Some(refused), change())
                            .await?
                            .applied
                    );
                }
                "scan" => drop(ctx.scan::<Value>("cells").await?),
                "call" => ctx.call(Nothing {}).await?,
                "send" => ctx.send(Nothing {}).await?,
                "nothing" => {}
                other => panic!("{other}"),
            }
            Ok(Value::Null)
        })
    });
    let callee: Handler = Rc::new(|_, _| Box::pin(async { Ok(Value::Null) }));
    let function = |name, tables: &[&str], handler| Function {
        name: Name::from(name),
        tables: tables.iter().copied().map(Name::from).collect(),
        handler,
        reads: |_| None,
    };
    App {
        name: "round-trips",
        functions: vec![
            function("Front", &["cells"], front),
            function("Callee", &[], callee),
        ],
        workflows: Vec::new(),
        kinds: Vec::new(),
        elements: |_, _| None,
        observe: |_, _, _| Value::Null,
        rules: |_| (Vec::new(), Default::default()),
    }
}

/// What one request took in all functions together.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Took {
    calls: u64,
    invocations: u64,
    effects: u32,
}

/// Runs one request after `writes` others have written the key. With `crash`, its execution crashes
/// before that effect, and what is counted is the same request sent again.
fn run(name: &'static str, op: &'static str, writes: u64, crash: Option<u32>) -> Took {
    const REQUEST: u64 = 1 << 20;
    let crash = crash.map(|nth| Injection {
        nth,
        action: Action::Crash(CrashKind::Before),
        late: 0,
    });
    let faults = Faults {
        exact: crash.map(|crash| (REQUEST, crash)).into_iter().collect(),
        ..Faults::default()
    };
    let again = crash.is_some();
    let options = Options {
        faults,
        ..Options::default()
    };
    World::simulate(1, options, move |world| async move {
        let profile = Profile::shipped("aws-2020").unwrap();
        let store = SimStore::new(&world, &profile, StoreConfig::default()).unwrap();
        let pool = SimPool::new(&world, &profile, PoolConfig::for_profile(&profile)).unwrap();
        let platform: Rc<dyn Platform> = Rc::new(pool.clone());
        let deployment = (runtime(name).unwrap().deploy)(Site {
            world: world.clone(),
            store: Rc::new(store.clone()),
            platform,
            app: Rc::new(app()),
            retries: Retries(0),
            timing: Timing {
                gc_period: None,
                ..Timing::default()
            },
            servers: SERVERS,
        });
        deployment.prepare().await.unwrap();
        pool.place(&*deployment);
        pool.stop_timers();
        let front = Name::from("Front");
        let send = async |n: u64, op: &str| {
            let scope = Scope::new(world.request(n), 0, Life::new());
            let none = Value::map::<&str>([]);
            let payload = deployment.request(&format!("r{n}"), op, none, &Value::Null);
            let reply = deployment.answer(pool.invoke(&scope, &front, payload).await);
            world.sleep(5 * SECOND).await;
            reply.outcome
        };
        for n in 0..writes {
            send(n, "write").await;
        }
        let count = |work: triptych_model::Work| work.store_calls.values().sum::<u64>();
        if again {
            send(REQUEST, op).await;
        }
        let before = (count(store.work()), pool.work().invocations);
        let outcome = send(REQUEST, op).await;
        assert_eq!(outcome, triptych_model::Outcome::Ok, "{name} {op}");
        Took {
            calls: count(store.work()) - before.0,
            invocations: pool.work().invocations - before.1,
            effects: world.request(REQUEST).effects(),
        }
    })
    .expect("no deadlock")
}

/// Calls of a request with this primitive beyond those of one with nothing.
fn cost(name: &'static str, op: &'static str) -> u64 {
    run(name, op, 1, None).calls - run(name, "nothing", 1, None).calls
}

/// The same of a request that is executed again after it had done everything but end.
fn replay(name: &'static str, op: &'static str) -> u64 {
    let again = |op| {
        let last = run(name, op, 1, None).effects - 1;
        run(name, op, 1, Some(last)).calls
    };
    again(op) - again("nothing")
}

const RUNTIMES: [&str; 4] = ["baseline", "beldi", "beldi-direct", "beldi-crosstable"];

/// One line of the table: baseline, Beldi, Beldi direct, cross-table.
fn line(op: &'static str, expected: [u64; 4]) {
    assert_eq!(RUNTIMES.map(|name| cost(name, op)), expected, "{op}");
}

#[test]
fn operations_on_data() {
    line("read", [1, 3, 3, 2]);
    line("write", [1, 2, 2, 1]);
    line("write-new", [1, 3, 3, 1]);
    line("cond-true", [1, 2, 2, 1]);
    // The baseline: 1 in the specification, which tells no reason. Here a refused update is looked at
    // once more: the store's refusal does not tell a false condition from a missing document.
    line("cond-false", [2, 3, 3, 2]);
    // Not in the specification: a condition that would hold of a document that is not there. Whether
    // it is there is tried or looked at as well.
    line("cond-absent", [2, 4, 4, 3]);
    // One page. The cross-table variant's scan is not in the specification; it is a scan and a log
    // entry as well.
    line("scan", [1, 2, 2, 2]);
}

#[test]
fn operations_that_are_repeated_find_their_log_entries() {
    for name in ["beldi", "beldi-direct"] {
        assert_eq!(replay(name, "read"), 3 + 1, "{name}");
        assert_eq!(replay(name, "write"), 1, "{name}");
        assert_eq!(replay(name, "cond-false"), 1, "{name}");
        // The callee's id, and its result beside it: the callee is not asked again.
        assert_eq!(replay(name, "call"), 2, "{name}");
    }
    assert_eq!(replay("beldi-crosstable", "read"), 2 + 1);
    // 1 in the specification, which takes any refusal for "done already". Here the log entry is
    // read, so that a condition that failed and a step that was made are told apart.
    assert_eq!(replay("beldi-crosstable", "write"), 2);
}

#[test]
fn a_full_tail_costs_a_row() {
    for (name, capacity) in [("beldi", 100), ("beldi-direct", 1_000)] {
        let append = run(name, "write", capacity, None).calls;
        assert_eq!(append - run(name, "nothing", 1, None).calls, 7, "{name}");
    }
}

#[test]
fn what_surrounds_a_request_and_what_calls_cost() {
    let nothing = RUNTIMES.map(|name| run(name, "nothing", 1, None).calls);
    assert_eq!(nothing, [0, 2, 2, 2]);
    line("call", [0, 4, 4, 4]);
    // 6 in the specification, which lets the callee deposit a result for which nobody waits.
    line("send", [0, 5, 6, 5]);
    // Where the specification counts one invocation per call, the variant that follows the paper
    // writes nobody else's tables: a result comes back by an invocation of the caller, and a call
    // that is not waited for is first registered by an invocation of the callee, which calls back.
    let invocations = |op| RUNTIMES.map(|name| run(name, op, 1, None).invocations - 1);
    assert_eq!(invocations("call"), [1, 2, 1, 2]);
    assert_eq!(invocations("send"), [1, 3, 1, 3]);
}

/// A step is one store transaction, and one look before it if it needs to know something. A repeated
/// execution finds that out by a transaction that is refused, and reads the entry. Calls and requests
/// that are over are replayed as well; they keep no shorter way to their replies.
#[test]
fn the_template() {
    let name = "template";
    assert_eq!(run(name, "nothing", 1, None).calls, 2);
    for looks in ["read", "cond-true", "cond-false", "cond-absent", "scan"] {
        assert_eq!(cost(name, looks), 1 + 1, "{looks}");
    }
    assert_eq!(cost(name, "write"), 1);
    assert_eq!(cost(name, "write-new"), 1);
    // What the callee would take alone.
    assert_eq!(cost(name, "call"), 2);
    // The call is recorded by the sender, and found recorded by the callee.
    assert_eq!(cost(name, "send"), 1 + 2 + 1);
    assert_eq!(replay(name, "read"), 1 + 2);
    assert_eq!(replay(name, "write"), 2);
    assert_eq!(replay(name, "cond-false"), 1 + 2);
    assert_eq!(replay(name, "call"), 2 + 2);
}
