//! The function binary as Lambda sees it: a process that fetches events from the runtime API, here
//! one on loopback, and works on a DynamoDB emulator.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value as Json;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use triptych_api::Retries;
use triptych_faas::{Deployment, InvokeError, Payload};
use triptych_faas_lambda::{Event, LambdaPlatform};
use triptych_model::{Outcome, Value};
use triptych_registry::{SERVERS, Site, Timing};
use triptych_store_dynamodb::DynamoStore;
use triptych_world::{Options, World};

const PROFILE: &str = "full-movie";
const REGION: &str = "eu-central-1";
/// A port that nobody serves, for what is never called.
const NOBODY: &str = "http://127.0.0.1:9";
/// Starting the process and loading its trusted certificates takes a while on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the process posted: `response` or `error`, and the body.
type Posted = (String, Json);

/// The runtime API's side that the process sees.
#[derive(Clone)]
struct Api {
    events: Arc<Mutex<mpsc::UnboundedReceiver<Vec<u8>>>>,
    posted: mpsc::UnboundedSender<Posted>,
}

async fn next(State(api): State<Api>) -> Response {
    match api.events.lock().await.recv().await {
        Some(event) => {
            let arn = "arn:aws:lambda:eu-central-1:123456789012:function:User";
            let headers = [
                ("lambda-runtime-aws-request-id", "1"),
                ("lambda-runtime-deadline-ms", "4102444800000"),
                ("lambda-runtime-invoked-function-arn", arn),
            ];
            (headers, event).into_response()
        }
        None => StatusCode::GONE.into_response(),
    }
}

async fn posted(
    State(api): State<Api>,
    Path((_, kind)): Path<(String, String)>,
    body: Bytes,
) -> StatusCode {
    let body = serde_json::from_slice(&body).unwrap_or_default();
    // Nobody listens once the test is over.
    let _ = api.posted.send((kind, body));
    StatusCode::ACCEPTED
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(runtime: &str, function: &str, api: SocketAddr, dynamodb: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
    command
        .env("TRIPTYCH_APP", "movie")
        .env("TRIPTYCH_RUNTIME", runtime)
        .env("TRIPTYCH_PROFILE", PROFILE)
        .env("TRIPTYCH_FUNCTION", function)
        .env("TRIPTYCH_DYNAMODB_ENDPOINT", format!("http://{dynamodb}"))
        .env("TRIPTYCH_LAMBDA_ENDPOINT", NOBODY)
        .env("AWS_REGION", REGION)
        .env("AWS_LAMBDA_RUNTIME_API", api.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", function)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .stdin(Stdio::null());
    command
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// A function in a process of its own, and the client's view of its deployment.
struct Served {
    deployment: Rc<dyn Deployment>,
    events: mpsc::UnboundedSender<Vec<u8>>,
    posted: mpsc::UnboundedReceiver<Posted>,
    _process: Process,
}

impl Served {
    /// Serves the app's function `User` on a runtime, on a new, empty database.
    async fn user(world: &World, runtime: &str) -> Served {
        let (listener, dynamodb) = listen().await;
        let database = dynoxide::Database::memory().expect("a database in memory");
        tokio::spawn(dynoxide::server::serve_on(listener, database));

        let (listener, api) = listen().await;
        let (events, queue) = mpsc::unbounded_channel();
        let (sender, posted_events) = mpsc::unbounded_channel();
        let state = Api {
            events: Arc::new(Mutex::new(queue)),
            posted: sender,
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(posted))
            .with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });

        let deployment = deploy(world, runtime, dynamodb).await;
        deployment
            .prepare()
            .await
            .expect("the emulator creates tables");
        let process = command(runtime, "User", api, dynamodb).spawn();
        Served {
            deployment,
            events,
            posted: posted_events,
            _process: Process(process.expect("the function binary was built")),
        }
    }

    async fn send(&mut self, payload: Payload) -> Posted {
        let event = serde_json::to_vec(&Event::request(payload, true)).expect("it is JSON");
        self.events.send(event).expect("the API is there");
        let posted = tokio::time::timeout(PATIENCE, self.posted.recv()).await;
        posted
            .expect("the process answers in time")
            .expect("the API is there")
    }

    /// What a client makes of the function's answer.
    async fn ask(&mut self, id: &str, op: &str, input: &Value) -> (Outcome, Value) {
        let payload = self.deployment.request(id, op, input.clone(), &Value::Null);
        let (kind, body) = self.send(payload).await;
        let reply = match kind.as_str() {
            "response" => {
                let event: Event = serde_json::from_value(body).expect("a reply is an event");
                Ok(event.into_payload())
            }
            _ => Err(InvokeError::Crashed(body.to_string())),
        };
        let answer = self.deployment.answer(reply);
        (answer.outcome, answer.output)
    }
}

/// The runtime as a client sees it, who never invokes a function himself.
async fn deploy(world: &World, runtime: &str, dynamodb: SocketAddr) -> Rc<dyn Deployment> {
    let profile = triptych_workloads::find(PROFILE).expect("the profile exists");
    let app = triptych_registry::app(&profile.app).expect("the app exists");
    let runtime = triptych_registry::runtime(runtime).expect("the runtime exists");
    let dynamodb = format!("http://{dynamodb}");
    let dynamodb = triptych_store_dynamodb::connect(Some(&dynamodb), REGION).await;
    let lambda = triptych_faas_lambda::connect(Some(NOBODY), REGION).await;
    (runtime.deploy)(Site {
        world: world.clone(),
        store: Rc::new(DynamoStore::new(dynamodb)),
        platform: Rc::new(LambdaPlatform::new(lambda, "")),
        app: Rc::new((app.build)(&profile).expect("the profile fits the app")),
        retries: Retries(profile.retries),
        timing: Timing::default(),
        servers: SERVERS,
    })
}

fn in_real_time<F: Future>(body: impl FnOnce(World) -> F) -> F::Output {
    World::run_real(1, Options::default(), body).expect("the machine can start a runtime")
}

fn registration(username: &str) -> Value {
    let text = ["firstName", "lastName", "username", "password"];
    let values = ["Ada", "Lovelace", username, "difference"];
    Value::map(text.into_iter().zip(values.map(Value::str)))
}

fn login(password: &str) -> Value {
    Value::map([
        ("username", Value::str("ada")),
        ("password", Value::str(password)),
    ])
}

/// Registers a user, logs in, and looks at what is stored. Returns the new user's id, and how the
/// same request ends when it is sent once more.
fn register_and_log_in(runtime: &'static str) -> (Value, (Outcome, Value)) {
    in_real_time(async move |world: World| {
        let mut user = Served::user(&world, runtime).await;
        let ada = registration("ada");
        let (outcome, id) = user.ask("request-1", "RegisterUser", &ada).await;
        assert_eq!(outcome, Outcome::Ok, "{runtime}");
        assert!(
            id.as_str().is_some_and(|id| !id.is_empty()),
            "{runtime}: {id:?}"
        );

        let (outcome, output) = user.ask("request-2", "Login", &login("difference")).await;
        assert_eq!(outcome, Outcome::Ok, "{runtime}");
        assert_eq!(output.get("userId"), Some(&id), "{runtime}");
        let (outcome, _) = user.ask("request-3", "Login", &login("analytical")).await;
        assert!(
            matches!(outcome, Outcome::Rejected(_)),
            "{runtime}: {outcome:?}"
        );

        let (outcome, _) = user.ask("request-4", "NoSuchEntry", &Value::Null).await;
        assert!(
            matches!(outcome, Outcome::Indeterminate(_)),
            "{runtime}: {outcome:?}"
        );
        let (kind, body) = user.send(Payload::new(Value::str("no envelope"))).await;
        assert_eq!(
            (&*kind, &body["errorType"]),
            ("error", &"Triptych.Failed".into()),
            "{runtime}"
        );

        let again = user.ask("request-1", "RegisterUser", &ada).await;
        let state = user.deployment.dump().await.expect("the state can be read");
        let stored = state.tables["User"].get("ada").expect("the user is stored");
        assert_eq!(
            stored.get("lastName"),
            Some(&Value::str("Lovelace")),
            "{runtime}"
        );
        assert_eq!(stored.get("userId"), Some(&id), "{runtime}");
        (id, again)
    })
}

#[test]
fn the_baseline_serves_a_movie_function_and_executes_again_what_is_sent_again() {
    let (_, (outcome, _)) = register_and_log_in("baseline");
    assert!(
        matches!(outcome, Outcome::Rejected(_)),
        "the name is taken by itself: {outcome:?}"
    );
}

#[test]
fn beldi_serves_a_movie_function_and_answers_a_repeated_request_from_its_log() {
    let (id, again) = register_and_log_in("beldi");
    assert_eq!(again, (Outcome::Ok, id));
}

#[test]
fn a_wrong_name_ends_the_process_with_the_allowed_ones() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    for (runtime, function, sentence) in [
        (
            "bokki",
            "User",
            "TRIPTYCH_RUNTIME must be one of baseline, beldi",
        ),
        ("beldi", "Payment", "TRIPTYCH_FUNCTION must be one of "),
    ] {
        let output = command(runtime, function, nobody, nobody).output();
        let output = output.expect("the function binary was built");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(error.contains(sentence), "{error}");
    }
}
