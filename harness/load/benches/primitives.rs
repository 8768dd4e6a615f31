//! What each primitive takes inside a function, in the simulation: the baseline beside Beldi, at
//! three values of the least certain parameter, the latency of an invocation.
//!
//! The function is warm, a key has one row with at most a few dozen log entries, and one request runs
//! at a time, as in the single operation experiment of Beldi's evaluation (which has lists of 20 rows
//! with empty logs). The figures are simulated with the profile `aws-2020`, untouched but for the
//! invocation latency.
//!
//! `cargo bench -p triptych-load --bench primitives`

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::{
    App, Change, Condition, Ctx, Function, Handler, Name, Path, Result, Retries, Value,
};
use triptych_faas::{Platform, PoolConfig, SimPool};
use triptych_registry::{SERVERS, Site, Timing};
use triptych_store::{SimStore, StoreConfig};
use triptych_world::latency::Profile;
use triptych_world::{Life, Nanos, Options, SECOND, Scope, World};

const REQUESTS: u64 = 4_400;
/// Requests take turns on these, because the cost of a row grows with its log.
const KEYS: u64 = 400;
const RUNTIMES: [&str; 3] = ["baseline", "beldi-direct", "beldi"];
const HOPS_MS: [f64; 3] = [10.0, 18.0, 25.0];
const PRIMITIVES: [&str; 6] = [
    "read",
    "write",
    "update, true",
    "update, false",
    "call",
    "send",
];

type Samples = Rc<RefCell<BTreeMap<&'static str, Vec<Nanos>>>>;

#[derive(serde::Serialize, serde::Deserialize)]
struct Nothing {}

impl triptych_api::Op for Nothing {
    const FUNCTION: &'static str = "Nothing";
    const OP: &'static str = "Nothing";
    type Output = ();
}

async fn measure(ctx: &mut Ctx, key: &str, world: &World, samples: &Samples) -> Result<()> {
    let mut began = world.now();
    let mut lap = |what: &'static str| {
        let now = world.now();
        samples
            .borrow_mut()
            .entry(what)
            .or_default()
            .push(now - began);
        began = now;
    };
    let named = |exists: bool| {
        let path = Path::attr("n");
        Some(if exists {
            Condition::Exists(path)
        } else {
            Condition::Absent(path)
        })
    };
    let changes = || vec![Change::set("n", 1)];
    ctx.read::<Value>("rows", key).await?;
    lap("read");
    ctx.write("rows", key, &BTreeMap::from([("n", 1)])).await?;
    lap("write");
    ctx.update("rows", key, named(true), changes()).await?;
    lap("update, true");
    ctx.update("rows", key, named(false), changes()).await?;
    lap("update, false");
    ctx.call(Nothing {}).await?;
    lap("call");
    ctx.send(Nothing {}).await?;
    lap("send");
    Ok(())
}

fn app(world: &World, samples: &Samples) -> App {
    let (world, samples) = (world.clone(), Rc::clone(samples));
    let front: Handler = Rc::new(move |ctx, call| {
        let (world, samples) = (world.clone(), Rc::clone(&samples));
        Box::pin(async move {
            let key = format!("key{}", call.input.as_int().unwrap_or_default());
            measure(ctx, &key, &world, &samples)
                .await
                .map(|()| Value::Null)
        })
    });
    let nothing: Handler = Rc::new(|_, _| Box::pin(async { Ok(Value::Null) }));
    let function = |name: &str, tables: &[&str], handler| Function {
        name: Name::from(name),
        tables: tables.iter().copied().map(Name::from).collect(),
        handler,
        reads: |_| None,
    };
    App {
        name: "primitives",
        functions: vec![
            function("Front", &["rows"], front),
            function("Nothing", &[], nothing),
        ],
        kinds: Vec::new(),
        workflows: Vec::new(),
        elements: |_, _| None,
        observe: |_, _, _| Value::Null,
        rules: |_| Default::default(),
    }
}

/// The samples of each primitive, in nanoseconds.
fn run(runtime: &'static str, hop_ms: f64) -> BTreeMap<&'static str, Vec<Nanos>> {
    let mut profile = Profile::shipped("aws-2020").expect("the profile is shipped");
    for name in ["faas.sync_invoke", "faas.async_enqueue"] {
        profile
            .set_median(name, hop_ms)
            .expect("the profile has it");
    }
    let options = Options {
        request_sigma: profile.request_sigma,
        ..Options::default()
    };
    let simulated = World::simulate(1, options, move |world| async move {
        let samples = Samples::default();
        let store = SimStore::new(&world, &profile, StoreConfig::default()).expect("complete");
        let config = PoolConfig::for_profile(&profile);
        let pool = SimPool::new(&world, &profile, config).expect("complete");
        let site = Site {
            world: world.clone(),
            store: Rc::new(store),
            platform: Rc::new(pool.clone()),
            app: Rc::new(app(&world, &samples)),
            retries: Retries(0),
            timing: Timing::default(),
            servers: SERVERS,
        };
        let runtime = triptych_registry::runtime(runtime).expect("it is registered");
        let deployment = (runtime.deploy)(site);
        deployment.prepare().await.expect("the tables are new");
        pool.place(&*deployment);
        for n in 0..REQUESTS {
            if n == KEYS {
                // Everything is warm and every key exists.
                samples.borrow_mut().clear();
            }
            let scope = Scope::new(world.begin_request(n, 0), 0, Life::new());
            let payload = deployment.request(
                &format!("r{n}"),
                "",
                Value::Int((n % KEYS) as i64),
                &Value::Null,
            );
            let reply = pool.invoke(&scope, &Name::from("Front"), payload).await;
            reply.expect("nothing fails here");
            world.sleep(SECOND / 2).await;
        }
        samples.take()
    });
    simulated.expect("no deadlock")
}

fn quantile(samples: &mut [Nanos], q: f64) -> f64 {
    samples.sort_unstable();
    samples[((samples.len() - 1) as f64 * q) as usize] as f64 / 1e6
}

fn main() {
    println!(
        "simulated, profile aws-2020; p50/p99 in ms; ratio of the medians to the baseline's\n"
    );
    for hop_ms in HOPS_MS {
        println!(
            "invocation {hop_ms} ms   {:>13} {:>21} {:>21}",
            RUNTIMES[0], RUNTIMES[1], RUNTIMES[2]
        );
        let mut all = RUNTIMES.map(|runtime| run(runtime, hop_ms));
        for primitive in PRIMITIVES {
            print!("{primitive:<16}");
            let mut base = None;
            for samples in &mut all {
                let samples = samples.get_mut(primitive).expect("it was measured");
                let (p50, p99) = (quantile(samples, 0.5), quantile(samples, 0.99));
                let ratio = p50 / *base.get_or_insert(p50);
                print!("  {p50:6.1}/{p99:6.1} {ratio:4.1}x");
            }
            println!();
        }
        println!();
    }
}
