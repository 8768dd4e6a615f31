//! An app on BokiFlow in a small simulated cloud.
#![allow(dead_code)]

use std::cell::Cell;
use std::rc::Rc;
use triptych_api::{App, Call, Change, Error, Function, Handler, Name, Op, Retries, Value};
use triptych_boki::{Bug, deploy_on_model_log_with};
use triptych_faas::{Deployment, Platform, PoolConfig, SimPool};
use triptych_log::Conduct;
use triptych_site::{SERVERS, Site, Timing};
use triptych_store::{SimStore, StoreConfig};
use triptych_world::latency::Profile;
use triptych_world::{Life, Nanos, SECOND, Scope, World};

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Note {
    key: String,
}

impl Op for Note {
    const FUNCTION: &'static str = "Notes";
    const OP: &'static str = "Note";
    type Output = ();
}

fn account(input: &Value, field: &str) -> String {
    let n = input.get(field).and_then(Value::as_int).unwrap_or(0);
    format!("a{n}")
}

/// `Bump` adds one to an account and sends a note of it; `Move` takes one from an account, has that
/// noted in its transaction, and gives it to another one; `Tell` sends two notes in a transaction,
/// which is refused if both accounts are the same; `Audit` reads both at once in a transaction, and adds
/// to the second one as much as they have; `Waver` is no function that one may write: it adds one in a transaction, but
/// every other execution refuses to: the second one and so on if `from` is zero, else the first one.
pub(crate) fn app() -> App {
    let wavered = Rc::new(Cell::new(0));
    let bank: Handler = Rc::new(move |ctx, call: Call| {
        let wavered = Rc::clone(&wavered);
        Box::pin(async move {
            let (from, to) = (account(&call.input, "from"), account(&call.input, "to"));
            let add = |by| vec![Change::add("n", by)];
            if &*call.op == "Bump" {
                ctx.update("bank", &to, None, add(1)).await?;
                ctx.send(Note { key: to }).await?;
                return Ok(Value::Null);
            }
            if &*call.op == "Tell" {
                ctx.transaction(async |tx| {
                    for key in [&from, &to] {
                        tx.send(Note { key: key.clone() }).await?;
                    }
                    tx.update("bank", &to, None, add(0)).await?;
                    match from == to {
                        true => Err(Error::rejected("nobody is told")),
                        false => Ok(()),
                    }
                })
                .await?;
                return Ok(Value::Null);
            }
            if &*call.op == "Waver" {
                wavered.set(wavered.get() + 1);
                let refuses = call.input.get("from") == Some(&Value::Int(wavered.get() % 2));
                ctx.transaction(async |tx| {
                    tx.update("bank", &to, None, add(1)).await?;
                    match refuses {
                        true => Err(Error::rejected("not this time")),
                        false => Ok(()),
                    }
                })
                .await?;
                return Ok(Value::Null);
            }
            if &*call.op == "Audit" {
                let n = |row: Option<Value>| row?.get("n")?.as_int();
                ctx.transaction(async |tx| {
                    let both = [from.as_str(), to.as_str()];
                    let rows = tx.read_many::<Value>("bank", both).await?;
                    let sum = rows.into_iter().filter_map(n).sum();
                    tx.update("bank", &to, None, add(sum)).await
                })
                .await?;
                return Ok(Value::Null);
            }
            ctx.transaction(async |tx| {
                tx.update("bank", &from, None, add(-1)).await?;
                tx.call(Note { key: from.clone() }).await?;
                tx.update("bank", &to, None, add(1)).await
            })
            .await?;
            Ok(Value::Null)
        })
    });
    let notes: Handler = Rc::new(|ctx, call: Call| {
        Box::pin(async move {
            let Note { key } = call.input()?;
            let add = vec![Change::add("notes", 1)];
            ctx.update("notes", &key, None, add).await?;
            Call::output::<Note>(&())
        })
    });
    let function = |name, tables: &[&str], handler| Function {
        name: Name::from(name),
        tables: tables.iter().copied().map(Name::from).collect(),
        handler,
        reads: |_| None,
    };
    App {
        name: "test",
        functions: vec![
            function("Bank", &["bank"], bank),
            function("Notes", &["notes"], notes),
        ],
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
    pub(crate) pool: SimPool,
    pub(crate) deployment: Rc<dyn Deployment>,
}

/// Timing with a short `T`.
pub(crate) fn timing() -> Timing {
    Timing {
        timeout: 20 * SECOND,
        queue_age: 20 * SECOND,
        collector_period: 20 * SECOND,
        gc_period: Some(30 * SECOND),
        t: 45 * SECOND + triptych_world::fault::LATEST,
        ..Timing::default()
    }
}

pub(crate) async fn cloud(world: &World, timing: Timing, bug: Option<Bug>) -> Rc<Cloud> {
    cloud_on(world, timing, Conduct::default(), bug).await
}

/// On a log that behaves like this.
pub(crate) async fn cloud_on(
    world: &World,
    timing: Timing,
    conduct: Conduct,
    bug: Option<Bug>,
) -> Rc<Cloud> {
    let profile = Profile::shipped("ec2-2021").unwrap();
    let store = SimStore::new(world, &profile, StoreConfig::default()).unwrap();
    let pool = SimPool::new(world, &profile, PoolConfig::for_profile(&profile)).unwrap();
    let site = Site {
        world: world.clone(),
        store: Rc::new(store),
        platform: Rc::new(pool.clone()),
        app: Rc::new(app()),
        retries: Retries(30),
        timing,
        servers: SERVERS,
    };
    let deployment = deploy_on_model_log_with(site, conduct, bug);
    deployment.prepare().await.unwrap();
    pool.place(&*deployment);
    Rc::new(Cloud {
        world: world.clone(),
        pool,
        deployment,
    })
}

impl Cloud {
    /// Sends a request and says how it ended.
    pub(crate) async fn ask(&self, n: u64, op: &str, from: i64, to: i64) -> triptych_faas::Answer {
        let scope = Scope::new(self.world.request(n), 0, Life::new());
        let input = Value::map([("from", Value::Int(from)), ("to", Value::Int(to))]);
        let payload = self
            .deployment
            .request(&format!("r{n}"), op, input, &Value::Null);
        let reply = self.pool.invoke(&scope, &Name::from("Bank"), payload).await;
        self.deployment.answer(reply)
    }

    /// Waits until nothing is pending.
    pub(crate) async fn settle(&self, within: Nanos) {
        let until = self.world.now() + within;
        loop {
            self.world.sleep(5 * SECOND).await;
            let idle = self.pool.running() == 0 && self.pool.queued() == 0;
            if idle && self.deployment.pending().await.unwrap() == 0 {
                return;
            }
            assert!(self.world.now() < until, "it does not come to rest");
        }
    }
}
