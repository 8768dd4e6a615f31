//! What one request of each kind costs: instances, operations of the app on its data, calls to the
//! store, and what the runtime counts besides, each runtime beside the others.
//!
//! Requests are sent one at a time, without faults, each after everything that the one before caused
//! has ended, so the counts belong to the kind alone; they are means over the requests of that kind,
//! because some do more than others (a search that finds nothing asks for no rates). Answers other
//! than `ok` are counted apart. Collectors do not run.
//!
//! `cargo bench -p triptych-load --bench work`, or with the names of profiles:
//! `cargo bench -p triptych-load --bench work -- full-movie`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use triptych_api::{App, Handler, Name, Observer, Retries, Seen, Value, What};
use triptych_faas::{Deployment, Platform, PoolConfig, SimPool};
use triptych_model::{OutcomeClass, Work};
use triptych_registry::{SERVERS, Site, Timing};
use triptych_store::{SimStore, StoreConfig};
use triptych_workloads::Generator;
use triptych_world::latency::Profile;
use triptych_world::{Life, Options, SECOND, Scope, World};

const RUNTIMES: [&str; 3] = ["baseline", "beldi-direct", "beldi"];
/// Requests of each kind.
const REQUESTS: u64 = 30;
/// How far to look for requests of a rare kind.
const HORIZON: u64 = 40_000;

/// Operations of the app on its data.
#[derive(Default)]
struct Counter {
    reads: Cell<u64>,
    writes: Cell<u64>,
    /// The step of the last read, because one read of many keys is one operation.
    last: RefCell<Option<(Name, String)>>,
}

impl Observer for Counter {
    fn observe(&self, seen: &Seen<'_>) {
        let add = |cell: &Cell<u64>| cell.set(cell.get() + 1);
        match &seen.what {
            What::Read { .. } => {
                let step = (seen.instance.clone(), seen.step.to_string());
                if self.last.borrow().as_ref() != Some(&step) {
                    add(&self.reads);
                    *self.last.borrow_mut() = Some(step);
                }
            }
            What::Write { .. } | What::Update { .. } => add(&self.writes),
            _ => {}
        }
    }
}

/// What the requests of one kind came to.
#[derive(Default)]
struct Sum {
    requests: u64,
    ok: u64,
    reads: u64,
    writes: u64,
    work: Work,
}

fn observed(mut app: App, counter: &Rc<Counter>) -> App {
    for function in &mut app.functions {
        let (inner, counter) = (Rc::clone(&function.handler), Rc::clone(counter));
        let handler: Handler = Rc::new(move |ctx, call| {
            ctx.observe(Rc::clone(&counter) as Rc<dyn Observer>);
            inner(ctx, call)
        });
        function.handler = handler;
    }
    app
}

fn run(profile: &'static str, runtime: &'static str) -> BTreeMap<String, Sum> {
    let latency = Profile::shipped("aws-2020").expect("the profile is shipped");
    let simulated = World::simulate(1, Options::default(), move |world| async move {
        let profile = triptych_workloads::find(profile).expect("the profile exists");
        let generator = Generator::new(&profile, 1).expect("its settings are good");
        let entry = triptych_registry::app(&profile.app).expect("it is registered");
        let counter = Rc::new(Counter::default());
        let app = (entry.build)(&profile).expect("its settings are good");
        let store = SimStore::new(&world, &latency, StoreConfig::default()).expect("complete");
        let config = PoolConfig::for_profile(&latency);
        let pool = SimPool::new(&world, &latency, config).expect("complete");
        let site = Site {
            world: world.clone(),
            store: Rc::new(store.clone()),
            platform: Rc::new(pool.clone()),
            app: Rc::new(observed(app, &counter)),
            retries: Retries(profile.retries),
            timing: Timing::default(),
            servers: SERVERS,
        };
        let entry = triptych_registry::runtime(runtime).expect("it is registered");
        let deployment: Rc<dyn Deployment> = (entry.deploy)(site);
        deployment.prepare().await.expect("the tables are new");
        pool.place(&*deployment);
        pool.stop_timers();
        for (n, load) in (0..).zip(generator.loads()) {
            let payload = deployment.request(&format!("l{n}"), &load.op, load.input, &Value::Null);
            let function = Name::from(load.function);
            let reply = pool.invoke(&world.background_scope(), &function, payload);
            reply.await.expect("nothing fails here");
        }
        world.sleep(30 * SECOND).await;
        let kinds = generator.kinds();
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        for index in 0..HORIZON {
            let planned = generator.request(index);
            let sum = sums.entry(kinds[usize::from(planned.kind)].clone());
            let sum = sum.or_default();
            if sum.requests == REQUESTS {
                continue;
            }
            let before = (counter.reads.get(), counter.writes.get());
            let counters = deployment.counters();
            let mut work = store.work();
            work.add(&pool.work());
            let request = world.begin_request(index, planned.kind);
            let scope = Scope::new(Rc::clone(&request), 0, Life::new());
            let id = format!("r{index}");
            let payload = deployment.request(&id, &planned.op, planned.input, &Value::Null);
            let function = Name::from(planned.function);
            let answer = deployment.answer(pool.invoke(&scope, &function, payload).await);
            while request.live() > 0 || pool.queued() > 0 {
                world.sleep(SECOND / 10).await;
            }
            sum.requests += 1;
            sum.ok += u64::from(answer.outcome.class() == OutcomeClass::Ok);
            sum.reads += counter.reads.get() - before.0;
            sum.writes += counter.writes.get() - before.1;
            let mut after = store.work();
            after.add(&pool.work());
            sum.work.invocations += after.invocations - work.invocations;
            for (name, calls) in after.store_calls {
                let earlier = work.store_calls.get(&name).copied().unwrap_or(0);
                *sum.work.store_calls.entry(name).or_default() += calls - earlier;
            }
            for (name, count) in deployment.counters() {
                let earlier = counters.get(&name).copied().unwrap_or(0);
                *sum.work.runtime.entry(name.to_string()).or_default() += count - earlier;
            }
            sum.work.read_half_units += after.read_half_units - work.read_half_units;
            sum.work.write_units += after.write_units - work.write_units;
        }
        sums
    });
    simulated.expect("no deadlock")
}

fn main() {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let profiles = triptych_workloads::profiles().into_iter();
    println!("per request, means of {REQUESTS}; simulated, without faults\n");
    for profile in profiles.map(|profile| profile.name) {
        if !named.is_empty() && !named.contains(&profile) {
            continue;
        }
        println!("{profile}");
        println!(
            "  {:<20} {:<13} {:>5} {:>9} {:>6} {:>6} {:>11} {:>6} {:>6}  calls by name",
            "kind", "runtime", "ok", "instances", "reads", "writes", "store calls", "RRU", "WRU"
        );
        let name: &'static str = profile.leak();
        let all = RUNTIMES.map(|runtime| (runtime, run(name, runtime)));
        for kind in all[0].1.keys() {
            for (runtime, sums) in &all {
                let sum = &sums[kind];
                let mean = |count: u64| count as f64 / sum.requests as f64;
                let calls: u64 = sum.work.store_calls.values().sum();
                let names = sum.work.store_calls.iter().chain(&sum.work.runtime);
                let names: Vec<String> = names
                    .filter(|(_, calls)| **calls > 0)
                    .map(|(name, calls)| format!("{name} {:.1}", mean(*calls)))
                    .collect();
                println!(
                    "  {kind:<20} {runtime:<13} {:>5.2} {:>9.2} {:>6.2} {:>6.2} {:>11.1} {:>6.1} {:>6.1}  {}",
                    mean(sum.ok),
                    mean(sum.work.invocations),
                    mean(sum.reads),
                    mean(sum.writes),
                    mean(calls),
                    mean(sum.work.read_half_units) / 2.0,
                    mean(sum.work.write_units),
                    names.join(", ")
                );
            }
        }
        println!();
    }
}
