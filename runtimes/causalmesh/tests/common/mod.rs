//! An app whose requests are small programs, on CausalMesh in a small simulated cloud.
#![allow(dead_code)]

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use triptych_api::model::{Outcome, State, from_value, to_value};
use triptych_api::{
    App, Call, Change, Ctx, Error, Function, LocalBoxFuture, Name, Op, Result, Retries, Value,
};
use triptych_cached::Policy;
use triptych_causalmesh::model::Conduct;
use triptych_causalmesh::{Bug, Variant, deploy_on_model_with};
use triptych_faas::{Answer, Deployment, Gauges, Platform, PoolConfig, SimPool};
use triptych_site::{SERVERS, Site, Timing};
use triptych_store::{SimStore, StoreConfig};
use triptych_world::latency::Profile;
use triptych_world::{Life, MS, Options, SECOND, Scope, World};

/// What a program does, one after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Do {
    /// Replaces a key by a number.
    Put(String, i64),
    /// Reads a key.
    Get(String),
    /// Reads several keys at one look.
    Look(Vec<String>),
    /// Writes what a key has under another one; -1 if it has nothing.
    Copy(String, String),
    /// Adds to the number of a document, and answers the sum.
    Add(String, i64),
    /// Reads the number of a document.
    Sum(String),
    /// How many rows a scan finds.
    Count,
    /// Has a program run by a call.
    Call(Vec<Do>),
    /// Runs programs in parallel branches.
    Fork(Vec<Vec<Do>>),
    /// Sends a program.
    Send(Vec<Do>),
    /// Runs a program in a transaction.
    Tx(Vec<Do>),
    /// Goes on whether a program is refused or not.
    Catch(Vec<Do>),
    /// Refuses.
    Refuse,
}

/// What was read, in the order of the program, branches one after the other.
pub(crate) type Saw = Vec<Option<i64>>;

#[derive(Serialize, Deserialize)]
struct Run {
    program: Vec<Do>,
}

impl Op for Run {
    const FUNCTION: &'static str = "F";
    const OP: &'static str = "Run";
    type Output = Saw;
}

const TABLE: &str = "rows";

fn run<'a>(ctx: &'a mut Ctx, program: Vec<Do>) -> LocalBoxFuture<'a, Result<Saw>> {
    Box::pin(async move {
        let mut saw = Saw::new();
        for what in program {
            match what {
                Do::Put(key, n) => ctx.write(TABLE, &key, &n).await?,
                Do::Get(key) => saw.push(ctx.read(TABLE, &key).await?),
                Do::Look(keys) => saw.extend(ctx.read_many::<i64>(TABLE, keys).await?),
                Do::Copy(from, to) => {
                    let n = ctx.read::<i64>(TABLE, &from).await?.unwrap_or(-1);
                    ctx.write(TABLE, &to, &n).await?;
                }
                Do::Add(key, by) => {
                    let add = vec![Change::add("n", by)];
                    saw.push(ctx.update(TABLE, &key, None, add).await?.sum);
                }
                Do::Sum(key) => {
                    let row = ctx.read::<Value>(TABLE, &key).await?;
                    saw.push(row.and_then(|row| row.get("n")?.as_int()));
                }
                Do::Count => saw.push(Some(ctx.scan::<Value>(TABLE).await?.len() as i64)),
                Do::Call(program) => saw.extend(ctx.call(Run { program }).await?),
                Do::Fork(programs) => {
                    let branches = ctx.fork_many(programs.len());
                    let branches = branches.into_iter().zip(programs);
                    let runs = branches.map(|(mut branch, program)| async move {
                        run(&mut branch, program).await
                    });
                    for branch in join_all(runs).await {
                        saw.extend(branch?);
                    }
                }
                Do::Send(program) => ctx.send(Run { program }).await?,
                Do::Tx(program) => {
                    let body = async |tx: &mut Ctx| run(tx, program.clone()).await;
                    saw.extend(ctx.transaction(body).await?);
                }
                Do::Catch(program) => match run(ctx, program).await {
                    Ok(inner) => saw.extend(inner),
                    Err(Error::Rejected(_)) => {}
                    Err(error) => return Err(error),
                },
                Do::Refuse => return Err(Error::rejected("refused")),
            }
        }
        Ok(saw)
    })
}

pub(crate) fn put(key: &str, n: i64) -> Do {
    Do::Put(key.to_owned(), n)
}

pub(crate) fn get(key: &str) -> Do {
    Do::Get(key.to_owned())
}

pub(crate) fn add(key: &str, by: i64) -> Do {
    Do::Add(key.to_owned(), by)
}

pub(crate) fn sum(key: &str) -> Do {
    Do::Sum(key.to_owned())
}

fn app() -> App {
    let function = Function::new(Run::FUNCTION, &[TABLE], |ctx, call: Call| {
        Box::pin(async move {
            let saw = run(ctx, call.input::<Run>()?.program).await?;
            Call::output::<Run>(&saw)
        })
    });
    App {
        name: "test",
        functions: vec![function],
        workflows: Vec::new(),
        kinds: Vec::new(),
        elements: |_, _| None,
        observe: |_, _, _| Value::Null,
        rules: |_| (Vec::new(), Default::default()),
    }
}

/// The app in its cloud.
pub(crate) struct Cloud {
    pub(crate) world: World,
    pool: SimPool,
    deployment: Rc<dyn Deployment>,
}

/// A ring so slow that nothing gets anywhere by itself while a request runs.
pub(crate) fn slow() -> Conduct {
    Conduct {
        hop: 60 * SECOND,
        ..Conduct::default()
    }
}

/// Runs something in a cloud of its own: one function after the other is on the next server.
pub(crate) fn with<T: 'static, F: Future<Output = T> + 'static>(
    seed: u64,
    variant: Variant,
    conduct: Conduct,
    bug: Option<Bug>,
    body: impl FnOnce(Rc<Cloud>) -> F + 'static,
) -> T {
    World::simulate(seed, Options::default(), move |world| async move {
        let profile = Profile::shipped("ec2-2021").unwrap();
        let store = SimStore::new(&world, &profile, StoreConfig::default()).unwrap();
        let pool = SimPool::new(&world, &profile, PoolConfig::for_profile(&profile)).unwrap();
        let site = Site {
            world: world.clone(),
            store: Rc::new(store),
            platform: Rc::new(pool.clone()),
            app: Rc::new(app()),
            retries: Retries(10),
            timing: Timing::default(),
            servers: SERVERS,
        };
        let deployment = deploy_on_model_with(site, variant, Policy::RoundRobin, conduct, bug);
        deployment.prepare().await.unwrap();
        pool.place(&*deployment);
        let cloud = Rc::new(Cloud {
            world,
            pool,
            deployment,
        });
        body(cloud).await
    })
    .expect("no deadlock")
}

impl Cloud {
    /// Sends a request, whatever comes of it.
    pub(crate) async fn send(&self, n: u64, program: Vec<Do>, session: &Value) -> Answer {
        let scope = Scope::new(self.world.begin_request(n, 0), 0, Life::new());
        let input = to_value(&Run { program }).unwrap();
        let id = format!("r{n}");
        let payload = self.deployment.request(&id, Run::OP, input, session);
        let function = Name::from(Run::FUNCTION);
        let reply = self.pool.invoke(&scope, &function, payload).await;
        self.deployment.answer(reply)
    }

    /// Sends a request of a session, which ends well.
    pub(crate) async fn ask(&self, n: u64, program: Vec<Do>, session: &mut Value) -> Saw {
        let answer = self.send(n, program, session).await;
        assert_eq!(answer.outcome, Outcome::Ok);
        *session = self.deployment.remember(session, answer.session);
        from_value(&answer.output).unwrap()
    }

    /// What is left once nothing is pending.
    pub(crate) async fn end(&self) -> State {
        loop {
            self.world.sleep(100 * MS).await;
            let idle = self.pool.running() == 0 && self.pool.queued() == 0;
            if idle && self.deployment.pending().await.unwrap() == 0 {
                let state = self.deployment.dump().await.unwrap();
                assert_eq!(state.corrupt, Vec::<String>::new());
                return state;
            }
        }
    }

    pub(crate) fn remember(&self, known: &Value, new: Value) -> Value {
        self.deployment.remember(known, new)
    }

    pub(crate) fn counters(&self) -> Gauges {
        self.deployment.counters()
    }
}

/// A row that is a number.
pub(crate) fn row(state: &State, key: &str) -> Option<i64> {
    state.get(TABLE, key)?.as_int()
}

/// The number of a row that is a document.
pub(crate) fn total(state: &State, key: &str) -> Option<i64> {
    state.get(TABLE, key)?.get("n")?.as_int()
}
