//! The adapter against an endpoint on loopback that speaks as much of the Invoke API as a call needs.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use triptych_faas::{InvokeError, Payload, Platform};
use triptych_faas_lambda::{Event, LambdaPlatform, connect};
use triptych_model::{Name, Value};
use triptych_world::{Options, World};

/// The events that the asynchronous queue has taken.
type Queue = Arc<Mutex<Vec<Event>>>;

const FUNCTION_ERROR: &str = "x-amz-function-error";
const ERROR_TYPE: &str = "x-amzn-errortype";

fn refuse(status: StatusCode, error: &'static str, body: &'static str) -> Response {
    (status, [(ERROR_TYPE, error)], body).into_response()
}

fn fail(body: &'static str) -> Response {
    ([(FUNCTION_ERROR, "Unhandled")], body).into_response()
}

async fn invoke(
    State(queue): State<Queue>,
    Path(function): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(event) = serde_json::from_slice::<Event>(&body) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContentException",
            "{}",
        );
    };
    if headers
        .get("x-amz-invocation-type")
        .is_some_and(|kind| kind == "Event")
    {
        queue
            .lock()
            .expect("no test panics while it holds the queue")
            .push(event);
        return StatusCode::ACCEPTED.into_response();
    }
    match function.as_str() {
        "test-Echo" => body.into_response(),
        "test-Mute" => StatusCode::OK.into_response(),
        "test-Slow" => fail(r#"{"errorMessage":"2026-01-01 Task timed out after 3.00 seconds"}"#),
        "test-Slower" => fail(r#"{"errorType":"Sandbox.Timedout","errorMessage":"too late"}"#),
        "test-Broken" => fail(r#"{"errorType":"Failed","errorMessage":"the title is missing"}"#),
        "test-Gone" => fail("exit status 137"),
        "test-Wordy" => fail(
            r#"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded"}"#,
        ),
        "test-Busy" => refuse(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequestsException",
            r#"{"Reason":"ConcurrentInvocationLimitExceeded"}"#,
        ),
        "test-Hasty" => refuse(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequestsException",
            r#"{"Reason":"CallerRateLimitExceeded"}"#,
        ),
        "test-Heavy" => refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestTooLargeException",
            "{}",
        ),
        "test-Sick" => refuse(StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", "{}"),
        _ => refuse(StatusCode::NOT_FOUND, "ResourceNotFoundException", "{}"),
    }
}

async fn platform(address: SocketAddr, prefix: &str) -> LambdaPlatform {
    let client = connect(Some(&format!("http://{address}")), "eu-central-1").await;
    LambdaPlatform::new(client, prefix)
}

/// Runs `body` with a platform whose functions are those of [`invoke`].
fn with_platform<F: Future>(body: impl FnOnce(World, LambdaPlatform, Queue) -> F) {
    let done = World::run_real(1, Options::default(), async |world| {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let queue = Queue::default();
        let router = Router::new()
            .route("/2015-03-31/functions/{function}/invocations", post(invoke))
            .with_state(Arc::clone(&queue));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let platform = platform(address, "test-").await;
        body(world, platform, queue).await;
    });
    done.expect("the machine can start a runtime");
}

#[test]
fn a_synchronous_invocation_brings_the_reply_and_its_trace() {
    with_platform(async |world, platform, _| {
        let scope = world.background_scope();
        let body = Value::map([("title", Value::str("Ran")), ("rating", Value::Int(9))]);
        let call = platform.invoke(&scope, &Name::from("Echo"), Payload::new(body.clone()));
        let reply = call.await.expect("the echo answers");
        assert_eq!(reply.body, body);
        assert_eq!(reply.trace.request, scope.request().id);
        assert_ne!(reply.trace.path, 0, "the platform fills it in");
    });
}

#[test]
fn an_event_is_in_the_queue_when_it_was_handed_over() {
    with_platform(async |world, platform, queue| {
        let scope = world.background_scope();
        let call = platform.enqueue(&scope, &Name::from("Echo"), Payload::new(Value::Int(3)));
        call.await.expect("the queue takes it");
        let queue = queue.lock().expect("nobody panicked");
        assert_eq!(queue.len(), 1);
        assert_eq!(queue[0].body, Value::Int(3));
    });
}

#[test]
fn every_kind_of_failure_keeps_its_meaning() {
    with_platform(async |world, platform, _| {
        let scope = world.background_scope();
        let invoke = async |function: &str| {
            let call = platform.invoke(&scope, &Name::from(function), Payload::new(Value::Null));
            call.await.expect_err(function)
        };
        let crashed = |message: &str| InvokeError::Crashed(message.to_owned());
        assert_eq!(invoke("Slow").await, InvokeError::Timeout);
        assert_eq!(invoke("Slower").await, InvokeError::Timeout);
        assert_eq!(invoke("Broken").await, crashed("the title is missing"));
        assert_eq!(invoke("Gone").await, crashed("exit status 137"));
        assert_eq!(
            invoke("Busy").await,
            InvokeError::Throttled("concurrency limit")
        );
        assert_eq!(
            invoke("Hasty").await,
            InvokeError::Throttled("request quota")
        );
        assert_eq!(
            invoke("Nobody").await,
            InvokeError::NoSuchFunction("Nobody".to_owned())
        );
        let heavy = invoke("Heavy").await;
        let limit = 6 * 1024 * 1024;
        assert!(
            matches!(heavy, InvokeError::PayloadTooLarge { size: 1.., limit: l } if l == limit),
            "{heavy:?}"
        );
        // These ran, or may have run: nobody may take them for refusals.
        for function in ["Mute", "Wordy", "Sick"] {
            let error = invoke(function).await;
            assert!(!error.surely_no_effect(), "{function}: {error:?}");
        }
    });
}

#[test]
fn an_endpoint_that_nobody_serves_is_unavailable() {
    with_platform(async |world, _, _| {
        let free = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let platform = platform(address, "").await;
        let scope = world.background_scope();
        let call = platform.invoke(&scope, &Name::from("Echo"), Payload::new(Value::Null));
        let error = call.await.expect_err("nobody is there");
        assert!(matches!(error, InvokeError::Unavailable(_)), "{error:?}");
    });
}

#[test]
fn a_caller_that_gives_up_does_not_undo_its_call() {
    with_platform(async |world, platform, queue| {
        let scope = world.background_scope();
        let call = platform.enqueue(&scope, &Name::from("Echo"), Payload::new(Value::Int(3)));
        let given_up = world.timeout(0, call).await;
        assert!(given_up.is_err(), "it cannot be that fast");
        for _ in 0..200 {
            if !queue.lock().expect("nobody panicked").is_empty() {
                return;
            }
            world.sleep(10 * triptych_world::MS).await;
        }
        panic!("the event never arrived");
    });
}
