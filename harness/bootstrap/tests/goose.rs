//! A short Goose attack on a loopback endpoint that serves the movie app: the way over HTTP, and
//! that what was acknowledged is in the store.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::future::LocalBoxFuture;
use goose::config::GooseConfiguration;
use goose::goose::TransactionFunction;
use goose::metrics::GooseMetrics;
use goose::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use triptych_api::Retries;
use triptych_faas::{Answer, Deployment, Handler, InvokeError, Payload, Platform};
use triptych_model::{Name, Outcome, State as Stored, Value};
use triptych_registry::{SERVERS, Site, Timing};
use triptych_store::{Request, Response as StoreResponse, Store, StoreError, TableSchema, Tables};
use triptych_workloads::{Generator, Load, Profile};
use triptych_world::{Life, Options, Scope, World};

/// A store without latency.
#[derive(Default)]
struct Memory(RefCell<Tables>);

impl Store for Memory {
    fn call(
        &self,
        _scope: &Scope,
        request: Request,
    ) -> LocalBoxFuture<'static, Result<StoreResponse, StoreError>> {
        let (response, _) = self.0.borrow_mut().apply(&request);
        Box::pin(async { response })
    }

    fn create_table(&self, schema: TableSchema) -> LocalBoxFuture<'static, Result<(), StoreError>> {
        let created = self.0.borrow_mut().create_table(schema);
        Box::pin(async { created })
    }
}

/// A platform that runs every function at once, as a task of this thread.
#[derive(Clone)]
struct InProcess {
    world: World,
    handlers: Rc<RefCell<BTreeMap<Name, Handler>>>,
    /// Executions under way.
    running: Rc<Cell<u64>>,
}

impl InProcess {
    fn start(
        &self,
        scope: &Scope,
        function: &Name,
        mut payload: Payload,
        synchronous: bool,
    ) -> LocalBoxFuture<'static, Result<Payload, InvokeError>> {
        let Some(handler) = self.handlers.borrow().get(function).cloned() else {
            let missing = InvokeError::NoSuchFunction(function.to_string());
            return Box::pin(async { Err(missing) });
        };
        payload.trace = scope.next_trace();
        let request = self.world.request(payload.trace.request);
        let reply = handler(triptych_faas::Execution {
            function: function.clone(),
            scope: Scope::new(request, payload.trace.path, Life::new()),
            synchronous,
            payload,
        });
        let running = Rc::clone(&self.running);
        running.set(running.get() + 1);
        let task = self.world.spawn(function, async move {
            let reply = reply.await;
            running.set(running.get() - 1);
            reply.map_err(InvokeError::Crashed)
        });
        Box::pin(task)
    }
}

impl Platform for InProcess {
    fn invoke(
        &self,
        scope: &Scope,
        function: &Name,
        payload: Payload,
    ) -> LocalBoxFuture<'static, Result<Payload, InvokeError>> {
        self.start(scope, function, payload, true)
    }

    fn enqueue(
        &self,
        scope: &Scope,
        function: &Name,
        payload: Payload,
    ) -> LocalBoxFuture<'static, Result<(), InvokeError>> {
        drop(self.start(scope, function, payload, false));
        Box::pin(async { Ok(()) })
    }
}

/// A request on its way from the HTTP endpoint to the app's thread.
struct Ask {
    function: String,
    op: String,
    input: Value,
    answer: oneshot::Sender<Answer>,
}

/// The app's thread: serves what it is asked until nobody can ask any more, then waits until all is
/// done, and returns how many composes it acknowledged and what is stored.
fn serve_app(
    runtime: &str,
    profile: &Profile,
    loads: Vec<Load>,
    mut asks: mpsc::UnboundedReceiver<Ask>,
) -> (u64, Stored) {
    let served = World::run_real(1, Options::default(), async |world| {
        let handlers = Rc::default();
        let running = Rc::default();
        let platform = InProcess {
            world: world.clone(),
            handlers,
            running,
        };
        let app = triptych_registry::app(&profile.app).expect("the app exists");
        let runtime = triptych_registry::runtime(runtime).expect("the runtime exists");
        let deployment = (runtime.deploy)(Site {
            world: world.clone(),
            store: Rc::new(Memory::default()),
            platform: Rc::new(platform.clone()),
            app: Rc::new((app.build)(profile).expect("the profile fits the app")),
            retries: Retries(profile.retries),
            timing: Timing::default(),
            servers: SERVERS,
        });
        deployment
            .prepare()
            .await
            .expect("the store creates tables");
        *platform.handlers.borrow_mut() = deployment.functions().into_iter().collect();
        let client = Client {
            world: world.clone(),
            platform,
            deployment,
            asked: Cell::new(0),
        };
        for Load {
            function,
            op,
            input,
            ..
        } in loads
        {
            let answer = client.ask(&function, &op, input).await;
            assert_eq!(answer.outcome, Outcome::Ok, "{function}.{op} while loading");
        }
        let (client, composed) = (Rc::new(client), Rc::new(Cell::new(0)));
        while let Some(Ask {
            function,
            op,
            input,
            answer,
        }) = asks.recv().await
        {
            let (client, composed) = (Rc::clone(&client), Rc::clone(&composed));
            world.spawn("client", async move {
                let reply = client.ask(&function, &op, input).await;
                if reply.outcome == Outcome::Ok && op == "Compose" {
                    composed.set(composed.get() + 1);
                }
                // The client may have gone.
                let _ = answer.send(reply);
            });
        }
        while client.platform.running.get() > 0 {
            world.sleep(triptych_world::MS).await;
        }
        let state = client
            .deployment
            .dump()
            .await
            .expect("the state can be read");
        (composed.get(), state)
    });
    served.expect("the machine can start a runtime")
}

/// All clients, on the app's thread.
struct Client {
    world: World,
    platform: InProcess,
    deployment: Rc<dyn Deployment>,
    asked: Cell<u64>,
}

impl Client {
    async fn ask(&self, function: &str, op: &str, input: Value) -> Answer {
        let n = self.asked.replace(self.asked.get() + 1);
        let scope = Scope::new(self.world.begin_request(n, 0), 0, Life::new());
        let payload = self
            .deployment
            .request(&format!("q{n}"), op, input, &Value::Null);
        let reply = self
            .platform
            .invoke(&scope, &Name::from(function), payload)
            .await;
        self.deployment.answer(reply)
    }
}

/// `POST /{function}/{op}` with the input as JSON.
async fn endpoint(
    State(asks): State<mpsc::UnboundedSender<Ask>>,
    Path((function, op)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let Ok(input) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let (answer, answered) = oneshot::channel();
    if asks
        .send(Ask {
            function,
            op,
            input,
            answer,
        })
        .is_err()
    {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Ok(Answer {
        outcome, output, ..
    }) = answered.await
    else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let status = match &outcome {
        Outcome::Ok => StatusCode::OK,
        Outcome::Rejected(_) => StatusCode::CONFLICT,
        Outcome::Aborted(_) | Outcome::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let body = serde_json::to_vec(&output).unwrap_or_default();
    (status, body).into_response()
}

/// The next requests of one kind, for all of Goose's users.
struct Plan {
    generator: Generator,
    kind: &'static str,
    position: AtomicU64,
}

impl Plan {
    fn next(&self) -> triptych_workloads::Planned {
        let kinds = self.generator.kinds();
        loop {
            let planned = self
                .generator
                .request(self.position.fetch_add(1, Ordering::Relaxed));
            if kinds[usize::from(planned.kind)] == self.kind {
                return planned;
            }
        }
    }
}

fn transaction(generator: &Generator, kind: &'static str) -> Transaction {
    let (generator, position) = (generator.clone(), AtomicU64::new(0));
    let plan = Arc::new(Plan {
        generator,
        kind,
        position,
    });
    let send: TransactionFunction = Arc::new(move |user| {
        let planned = plan.next();
        Box::pin(async move {
            let path = format!("/{}/{}", planned.function, planned.op);
            user.post_json(&path, &planned.input).await?;
            Ok(())
        })
    });
    Transaction::new(send).set_name(kind)
}

async fn attack(host: &str, generator: &Generator) -> Result<GooseMetrics, GooseError> {
    let options = format!(
        "--host {host} --users 4 --increase-rate 8 --run-time 2 \
         --no-telnet --no-print-metrics --quiet"
    );
    let options: Vec<&str> = options.split_whitespace().collect();
    let config = GooseConfiguration::parse_args_default(&options)?;
    GooseAttack::initialize_with_config(config)?
        .register_scenario(
            scenario!("Reader and writer")
                .register_transaction(transaction(generator, "compose"))
                .register_transaction(transaction(generator, "read-page")),
        )
        .execute()
        .await
}

fn smoke(runtime: &'static str) {
    let small = [("movies", "10"), ("users", "10"), ("rejects", "0")];
    let small = small.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let profile = triptych_workloads::find("full-movie").expect("the profile exists");
    let profile = profile
        .with_settings(BTreeMap::from(small))
        .expect("it has these settings");
    let generator = Generator::new(&profile, 1).expect("requests can be made");
    let loads = generator.loads();

    let (sender, asks) = mpsc::unbounded_channel();
    let app = std::thread::spawn(move || serve_app(runtime, &profile, loads, asks));
    let http = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let http = http.expect("the machine can start a runtime");
    let metrics = http.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let host = format!("http://{}", listener.local_addr().expect("it is bound"));
        let router = Router::new()
            .route("/{function}/{op}", post(endpoint))
            .with_state(sender);
        tokio::spawn(async move { axum::serve(listener, router).await });
        attack(&host, &generator).await.expect("Goose runs")
    });
    // Ends the endpoint, and so the app's thread.
    drop(http);
    let (acknowledged, state) = app.join().expect("the app's thread ends well");

    assert!(metrics.errors.is_empty(), "{runtime}: {:?}", metrics.errors);
    for kind in ["POST /Frontend/Compose", "POST /Page/ReadPage"] {
        let requests = &metrics.requests[kind];
        assert_eq!(
            requests.fail_count, 0,
            "{runtime}: {kind} {:?}",
            requests.status_code_counts
        );
        assert!(
            requests.success_count >= 10,
            "{runtime}: {kind} {}",
            requests.success_count
        );
    }
    // Goose may not have waited for its last answers.
    let counted = metrics.requests["POST /Frontend/Compose"].success_count as u64;
    assert!(
        counted <= acknowledged,
        "{runtime}: {counted} of {acknowledged}"
    );
    let reviews: BTreeSet<&Name> = state.tables["ReviewStorage"].keys().collect();
    assert_eq!(
        reviews.len() as u64,
        acknowledged,
        "{runtime}: an acknowledged review is stored"
    );
    println!("{runtime}: {acknowledged} composes acknowledged and stored, none failed");
}

#[test]
fn goose_users_compose_and_read_on_the_baseline() {
    smoke("baseline");
}

#[test]
fn goose_users_compose_and_read_on_beldi() {
    smoke("beldi");
}
