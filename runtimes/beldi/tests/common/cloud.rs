//! An app that uses everything, on Beldi with its garbage collector, under load for a while.

use crate::common::{app_of, place_on};
use std::collections::BTreeSet;
use std::rc::Rc;
use triptych_api::{App, Call, Change, Ctx, Handler, Op, Result};
use triptych_beldi::{Beldi, Config};
use triptych_faas::{Deployment, Platform, SimPool};
use triptych_model::{Item, Name, Outcome, State, Value};
use triptych_store::{Request, Response, SimStore, Store};
use triptych_world::fault::{Action, Faults, Injection};
use triptych_world::{Life, Options, SECOND, Scope, Trace, World};

/// Timing that is small enough for long runs: `T` is more than the longest delay used here.
pub(crate) const PERIOD: u64 = 20 * SECOND;
pub(crate) const T: u64 = 40 * SECOND;
pub(crate) const RESTART: u64 = 10 * SECOND;

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Work {
    n: i64,
}

impl Op for Work {
    const FUNCTION: &'static str = "Front";
    const OP: &'static str = "Work";
    type Output = i64;
}

/// Reads the hot row again and again for half a minute.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Watch {}

impl Op for Watch {
    const FUNCTION: &'static str = "Front";
    const OP: &'static str = "Watch";
    type Output = Vec<i64>;
}

pub(crate) async fn watch(ctx: &mut Ctx) -> Result<Vec<i64>> {
    let mut seen = Vec::new();
    for _ in 0..900 {
        let row: Option<Value> = ctx.read("front", "hot").await?;
        seen.push(row.and_then(|row| row.get("runs")?.as_int()).unwrap_or(0));
    }
    Ok(seen)
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Bump {
    key: String,
    by: i64,
}

impl Op for Bump {
    const FUNCTION: &'static str = "Back";
    const OP: &'static str = "Bump";
    type Output = i64;
}

/// A read, a transaction over two functions, a call, an event, and effects on a hot row.
pub(crate) async fn work(ctx: &mut Ctx, input: Work) -> Result<i64> {
    let n = input.n;
    let once = triptych_api::Condition::Absent(triptych_api::Path::attr("closed"));
    let changes = vec![
        Change::add("runs", 1),
        Change::append_keeping("last", n, Some(5)),
    ];
    let ran = ctx.update("front", "hot", Some(once), changes).await?;
    let never = triptych_api::Condition::Exists(triptych_api::Path::attr("closed"));
    ctx.update("front", "hot", Some(never), vec![Change::add("runs", 1)])
        .await?;
    let seen: Option<Value> = ctx.read("front", "hot").await?;
    let bump = |key: &str| Bump {
        key: key.to_owned(),
        by: 1,
    };
    ctx.call(bump("called")).await?;
    ctx.send(bump("sent")).await?;
    ctx.transaction(async |tx| {
        let held: Option<i64> = tx.read("front", "account").await?;
        tx.write("front", "account", &(held.unwrap_or(0) + 1))
            .await?;
        tx.call(bump("joined")).await
    })
    .await?;
    assert!(seen.is_some());
    Ok(i64::from(ran.applied))
}

pub(crate) async fn bump(ctx: &mut Ctx, input: Bump) -> Result<i64> {
    let changes = vec![Change::add("sum", input.by)];
    let updated = ctx.update("back", &input.key, None, changes).await?;
    Ok(updated.sum.unwrap_or(-1))
}

pub(crate) fn app() -> App {
    let front: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            if &*call.op == Watch::OP {
                return Call::output::<Watch>(&watch(ctx).await?);
            }
            let input = call.input::<Work>()?;
            Call::output::<Work>(&work(ctx, input).await?)
        })
    });
    let back: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            let input = call.input::<Bump>()?;
            Call::output::<Bump>(&bump(ctx, input).await?)
        })
    });
    app_of(vec![
        ("Front", &["front"], front),
        ("Back", &["back"], back),
    ])
}

pub(crate) fn config() -> Config {
    Config {
        row_capacity: 4,
        ..Config::paper(RESTART, RESTART)
    }
    .with_gc(Some(PERIOD), T)
}

/// A cloud with requests coming in.
pub(crate) struct Cloud {
    pub(crate) world: World,
    pub(crate) store: SimStore,
    pub(crate) pool: SimPool,
    pub(crate) beldi: Rc<Beldi>,
    pub(crate) sent: u64,
}

impl Cloud {
    pub(crate) async fn new(world: World, config: Config) -> Self {
        let (store, pool, beldi) = place_on(&world, app(), config);
        beldi.prepare().await.unwrap();
        pool.place(&*beldi);
        Cloud {
            world,
            store,
            pool,
            beldi,
            sent: 0,
        }
    }

    /// Sends requests, one a second, not waiting for them.
    pub(crate) async fn send(&mut self, count: u64) {
        for _ in 0..count {
            let n = self.sent;
            self.sent += 1;
            let scope = Scope::new(self.world.begin_request(n, 0), 0, Life::new());
            let input = Value::map([("n", Value::Int(n as i64))]);
            let payload = self
                .beldi
                .request(&format!("r{n}"), "Work", input, &Value::Null);
            let (pool, beldi) = (self.pool.clone(), Rc::clone(&self.beldi));
            self.world.spawn("client", async move {
                let front = Name::from("Front");
                let answer = beldi.answer(pool.invoke(&scope, &front, payload).await);
                assert_ne!(answer.outcome, Outcome::Rejected("a bug".into()));
            });
            self.world.sleep(SECOND).await;
        }
    }

    pub(crate) async fn settle(&self) {
        let deadline = self.world.now() + 600 * SECOND;
        while self.pool.queued() > 0 || self.beldi.pending().await.unwrap() > 0 {
            assert!(self.world.now() < deadline, "never quiet");
            self.world.sleep(SECOND).await;
        }
    }

    pub(crate) async fn gauge(&self, name: &str) -> u64 {
        self.beldi.gauges().await.unwrap()[name]
    }

    pub(crate) async fn scan(&self, table: &str) -> Vec<Item> {
        let request = Request::Scan {
            table: Name::from(table),
            filter: None,
            projection: None,
            consistent: true,
            limit: None,
            start: None,
        };
        let scope = Scope::new(self.world.begin_request(1 << 40, 9), 0, Life::new());
        match self.store.call(&scope, request).await {
            Ok(Response::Page { items, .. }) => items,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn simulate<T: 'static, F: Future<Output = T> + 'static>(
    seed: u64,
    faults: Vec<(u64, Injection)>,
    body: impl FnOnce(World) -> F,
) -> T {
    let faults = Faults {
        exact: faults,
        ..Faults::default()
    };
    let options = Options {
        faults,
        shuffle: true,
        ..Options::default()
    };
    World::simulate(seed, options, body).expect("no deadlock")
}

/// What a run left: its data, its audit, and how much it keeps once everything is over.
pub(crate) struct End {
    pub(crate) state: State,
    pub(crate) later: State,
    pub(crate) kept: Vec<(Name, u64)>,
    pub(crate) effects: u32,
    pub(crate) longest: (u64, u64),
    pub(crate) points: BTreeSet<&'static str>,
}

/// Some requests, and then so long that all of them can be forgotten.
pub(crate) fn run(config: Config, requests: u64, faults: Vec<(u64, Injection)>) -> End {
    simulate(3, faults, move |world| async move {
        let mut cloud = Cloud::new(world, config).await;
        let mut longest = (0, 0);
        for _ in 0..requests / 10 {
            cloud.send(10).await;
            longest.0 = longest.0.max(cloud.gauge("longest_list_linked").await);
            longest.1 = longest.1.max(cloud.gauge("longest_list_physical").await);
        }
        cloud.settle().await;
        let state = cloud.beldi.dump().await.unwrap();
        cloud.world.sleep(3 * T + 6 * PERIOD).await;
        cloud.pool.stop_timers();
        cloud.world.sleep(RESTART).await;
        End {
            state,
            later: cloud.beldi.dump().await.unwrap(),
            kept: cloud.beldi.gauges().await.unwrap().into_iter().collect(),
            effects: cloud.world.request(Trace::BACKGROUND).effects(),
            longest,
            points: cloud
                .world
                .struck()
                .keys()
                .map(|(point, _)| *point)
                .collect(),
        }
    })
}

pub(crate) fn data(state: &State) -> Value {
    let field = |table: &str, key: &str, field: &str| {
        let row = state.get(table, key).cloned().unwrap_or_default();
        row.get(field).cloned().unwrap_or(row)
    };
    Value::list([
        field("front", "hot", "runs"),
        field("front", "account", "-"),
        field("back", "called", "sum"),
        field("back", "sent", "sum"),
        field("back", "joined", "sum"),
    ])
}

/// The data are those of `requests` runs, nothing is wrong, and everything is forgotten.
pub(crate) fn check(what: &str, requests: u64, end: &End) {
    let expected = Value::list([requests as i64; 5].map(Value::Int));
    for state in [&end.state, &end.later] {
        assert_eq!(data(state), expected, "{what}");
        assert_eq!(state.corrupt, Vec::<String>::new(), "{what}");
        assert_eq!(state.pending, Vec::<String>::new(), "{what}");
        assert_eq!(state.residue, Vec::<String>::new(), "{what}");
    }
    for (name, count) in &end.kept {
        match &**name {
            // Five lists: head and tail, and perhaps one row that is not yet full of what is over.
            "longest_list_linked" | "longest_list_physical" => assert!(*count <= 2, "{what}"),
            "list_rows" => assert!(*count <= 10, "{what}: {count} rows"),
            _ => assert_eq!(*count, 0, "{what}: {name}"),
        }
    }
}

pub(crate) fn background(nth: u32, action: Action, late: u64) -> (u64, Injection) {
    (Trace::BACKGROUND, Injection { nth, action, late })
}
