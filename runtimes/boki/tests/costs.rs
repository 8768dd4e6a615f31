//! What each primitive takes: appends to the log, reads of it, and calls to the store. This is the
//! table in section 1.9 of the specification, line by line; where this implementation differs, the
//! line says why. Reads of the log are answered by the local index, and are cheap; appends and calls
//! to the store are what a request waits for.

use std::rc::Rc;
use triptych_api::model::{Outcome, Work};
use triptych_api::{
    App, Call, Change, Condition, Function, Handler, Name, Op, Path, Retries, Value,
};
use triptych_boki::deploy_on_model_log_with;
use triptych_faas::{Platform, PoolConfig, SimPool};
use triptych_log::Conduct;
use triptych_site::{SERVERS, Site, Timing};
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

/// An entry point per primitive, on the key `K`, which exists.
fn app() -> App {
    let front: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            let found = Condition::Exists(Path::attr("n"));
            let missing = Condition::Absent(Path::attr("n"));
            let change = || vec![Change::set("n", 2)];
            let row = Value::map([("n", Value::Int(1))]);
            match &*call.op {
                "read" => drop(ctx.read::<Value>("cells", "K").await?),
                "write" => ctx.write("cells", "K", &row).await?,
                "write-new" => ctx.write("cells", "new", &row).await?,
                "read-write" => {
                    ctx.read::<Value>("cells", "K").await?;
                    ctx.write("cells", "K", &row).await?;
                }
                "cond-true" => {
                    let done = ctx.update("cells", "K", Some(found), change()).await?;
                    assert!(done.applied);
                }
                "cond-false" => {
                    let done = ctx.update("cells", "K", Some(missing), change()).await?;
                    assert!(!done.applied);
                }
                "scan" => drop(ctx.scan::<Value>("cells").await?),
                "call" => ctx.call(Nothing {}).await?,
                "send" => ctx.send(Nothing {}).await?,
                "now" => drop(ctx.now().await?),
                "nothing" => {}
                "tx" => ctx.transaction(async |_| Ok(())).await?,
                "tx-read" => {
                    let read =
                        async |tx: &mut triptych_api::Ctx| tx.read::<Value>("cells", "K").await;
                    drop(ctx.transaction(read).await?);
                }
                "tx-write" => {
                    ctx.transaction(async |tx| tx.write("cells", "K", &row).await)
                        .await?;
                }
                "tx-read-write" => {
                    ctx.transaction(async |tx| {
                        tx.read::<Value>("cells", "K").await?;
                        tx.write("cells", "K", &row).await
                    })
                    .await?;
                }
                "tx-call" => {
                    ctx.transaction(async |tx| tx.call(Nothing {}).await)
                        .await?
                }
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
        name: "costs",
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

/// Appends, reads of the log, calls to the store, invocations; and effects, to aim crashes.
type Took = ([u64; 4], u32);

/// Runs one request after another one has written the key. With `crash`, its execution crashes before
/// that effect, and what is counted is the same request sent again.
fn run(op: &'static str, crash: Option<u32>) -> Took {
    const REQUEST: u64 = 1 << 20;
    let crash = crash.map(|nth| Injection {
        nth,
        action: Action::Crash(CrashKind::Before),
        late: 0,
    });
    let again = crash.is_some();
    let exact = crash.map(|crash| (REQUEST, crash)).into_iter().collect();
    let faults = Faults {
        exact,
        ..Faults::default()
    };
    let options = Options {
        faults,
        ..Options::default()
    };
    World::simulate(1, options, move |world| async move {
        let profile = Profile::shipped("aws-2020").unwrap();
        let store = SimStore::new(&world, &profile, StoreConfig::default()).unwrap();
        let pool = SimPool::new(&world, &profile, PoolConfig::for_profile(&profile)).unwrap();
        let platform: Rc<dyn Platform> = Rc::new(pool.clone());
        let site = Site {
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
        };
        let fresh = Conduct {
            stale: 0.0,
            ..Conduct::default()
        };
        let deployment = deploy_on_model_log_with(site, fresh, None);
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
        let count = async || {
            let gauges = deployment.gauges().await.unwrap();
            let calls = |work: Work| work.store_calls.values().sum::<u64>();
            let (appends, reads) = (gauges["log_appends"], gauges["log_reads"]);
            [appends, reads, calls(store.work()), pool.work().invocations]
        };
        send(0, "write").await;
        if again {
            send(REQUEST, op).await;
        }
        let before = count().await;
        assert_eq!(send(REQUEST, op).await, Outcome::Ok, "{op}");
        let after = count().await;
        let took = std::array::from_fn(|at| after[at] - before[at]);
        (took, world.request(REQUEST).effects())
    })
    .expect("no deadlock")
}

/// What a request with this primitive takes beyond one with another.
fn beyond(op: &'static str, base: &'static str) -> [i64; 4] {
    let (op, base) = (run(op, None).0, run(base, None).0);
    std::array::from_fn(|at| op[at] as i64 - base[at] as i64)
}

fn cost(op: &'static str) -> [i64; 4] {
    beyond(op, "nothing")
}

/// The same of a request that is executed again after it had done everything but end.
fn replay(op: &'static str) -> [i64; 4] {
    let again = |op| run(op, Some(run(op, None).1 - 1)).0;
    let (op, base) = (again(op), again("nothing"));
    std::array::from_fn(|at| op[at] as i64 - base[at] as i64)
}

#[test]
fn what_surrounds_a_request() {
    // The stream is loaded, the start appended and read back, the end appended and read back. The
    // specification reads once: there each execution goes by its own records.
    let ([appends, reads, calls, invocations], _) = run("nothing", None);
    assert_eq!([appends, reads, calls, invocations], [2, 3, 0, 1]);
}

#[test]
fn operations_on_data() {
    // Every record is read back by one read, where the specification reads until there is no further
    // one.
    assert_eq!(cost("read"), [1, 1, 1, 0]);
    assert_eq!(cost("scan"), [1, 1, 1, 0]);
    // In the specification one call to the store: a change there asks whether the version is less.
    // Here it asks for the version that it has read, so that no update is lost, and reads first. The
    // third read of the log finds the outcome of who changed the item before.
    assert_eq!(cost("write"), [2, 3, 2, 0]);
    assert_eq!(cost("cond-true"), [2, 3, 2, 0]);
    assert_eq!(cost("cond-false"), [2, 3, 2, 0]);
    assert_eq!(cost("write-new"), [2, 2, 2, 0]);
    // Who has read the item already need not do so again.
    assert_eq!(beyond("read-write", "read"), [2, 3, 1, 0]);
    // Not in the specification, whose functions draw such things anew.
    assert_eq!(cost("now"), [1, 1, 0, 0]);
}

#[test]
fn operations_that_are_repeated_take_nothing() {
    // The instance's stream has been loaded.
    for op in ["read", "write", "cond-false", "scan", "call", "now"] {
        assert_eq!(replay(op), [0; 4], "{op}");
    }
    // The end of a transaction is made sure of again: its stream, its locks, and the items' seals.
    assert_eq!(replay("tx-read-write"), [0, 2, 1, 0]);
}

#[test]
fn calls() {
    // One append by the caller. The callee has two, not three: its result, and that it is done, are
    // one record in three streams.
    let callee = [2, 3, 0, 1];
    let own: Vec<i64> = cost("call")
        .iter()
        .zip(callee)
        .map(|(all, its)| all - its)
        .collect();
    assert_eq!(own, [1, 1, 0, 0]);
    // The sender's record is the callee's start as well.
    let callee = [1, 2, 0, 1];
    let own: Vec<i64> = cost("send")
        .iter()
        .zip(callee)
        .map(|(all, its)| all - its)
        .collect();
    assert_eq!(own, [1, 0, 0, 0]);
}

#[test]
fn transactions() {
    // The decision, which the specification does not have.
    assert_eq!(cost("tx"), [1, 2, 0, 0]);
    // To lock a key takes an append, as in the specification, and marks the item: that is the read of
    // it as well. Then what was read, or is to be written; at the end the release, which the
    // specification lacks for keys that were only read, and which applies a write: one append and one
    // call to the store for each key, where the specification has three and one.
    assert_eq!(beyond("tx-read", "tx"), [1 + 1 + 1, 8, 2, 0]);
    assert_eq!(beyond("tx-write", "tx"), [1 + 1 + 1, 7, 2, 0]);
    assert_eq!(beyond("tx-read-write", "tx-read"), [1, 1, 0, 0]);
    // Participants are not told of the end: who began the transaction does it all.
    assert_eq!(beyond("tx-call", "tx"), cost("call"));
}
