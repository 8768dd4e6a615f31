//! The caller's side of the Invoke API.

use crate::Event;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};
use aws_sdk_lambda::error::{DisplayErrorContext, SdkError};
use aws_sdk_lambda::operation::invoke::{InvokeError as ServiceError, InvokeOutput};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use futures_util::future::LocalBoxFuture;
use serde::Deserialize;
use triptych_faas::{InvokeError, Payload, Platform};
use triptych_model::Name;
use triptych_world::Scope;

/// The largest synchronous request, in bytes.
const SYNCHRONOUS_LIMIT: usize = 6 * 1024 * 1024;
/// The largest event of the asynchronous queue, in bytes; 256 KB before October 2025.
const ASYNCHRONOUS_LIMIT: usize = 1024 * 1024;

/// Makes a client that neither retries nor guards against slow answers. With an endpoint, such as
/// one on loopback, the credentials are made up and nothing is read from the environment; without
/// one it talks to AWS as the environment says.
pub async fn connect(endpoint: Option<&str>, region: &str) -> Client {
    let region = Region::new(region.to_owned());
    // A retry behind a runtime's back would start a second execution that it never hears of.
    let retries = RetryConfig::disabled();
    // A synchronous answer may be silent for as long as the function runs.
    let silence = StalledStreamProtectionConfig::disabled();
    let Some(endpoint) = endpoint else {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(region)
            .retry_config(retries)
            .stalled_stream_protection(silence);
        return Client::new(&config.load().await);
    };
    let config = aws_sdk_lambda::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region)
        .retry_config(retries)
        .stalled_stream_protection(silence)
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("local", "local", None, None, "triptych"))
        .build();
    Client::from_conf(config)
}

/// Functions on AWS Lambda, or on whatever speaks its API. A call must be made inside a tokio
/// runtime.
#[derive(Clone, Debug)]
pub struct LambdaPlatform {
    client: Client,
    prefix: Name,
}

impl LambdaPlatform {
    /// Functions that `client` (see [`connect`]) reaches, each named `prefix` and then the
    /// function's own name.
    pub fn new(client: Client, prefix: &str) -> Self {
        LambdaPlatform {
            client,
            prefix: Name::from(prefix),
        }
    }

    fn send(
        &self,
        scope: &Scope,
        function: &Name,
        mut payload: Payload,
        kind: InvocationType,
    ) -> LocalBoxFuture<'static, Result<InvokeOutput, InvokeError>> {
        payload.trace = scope.next_trace();
        let synchronous = kind == InvocationType::RequestResponse;
        let limit = if synchronous {
            SYNCHRONOUS_LIMIT
        } else {
            ASYNCHRONOUS_LIMIT
        };
        let name = Name::clone(function);
        let request = self
            .client
            .invoke()
            .function_name(format!("{}{function}", self.prefix))
            .invocation_type(kind);
        Box::pin(async move {
            let bytes = serde_json::to_vec(&Event::request(payload, synchronous))
                .map_err(|error| InvokeError::Unavailable(error.to_string()))?;
            let size = bytes.len();
            let call = request.payload(Blob::new(bytes)).send();
            // A task of its own: once it is sent, an invocation goes on without its caller.
            let reply = tokio::spawn(call)
                .await
                .map_err(|error| InvokeError::Unavailable(error.to_string()))?;
            reply.map_err(|error| refusal(&error, &name, size, limit))
        })
    }
}

impl Platform for LambdaPlatform {
    fn invoke(
        &self,
        scope: &Scope,
        function: &Name,
        payload: Payload,
    ) -> LocalBoxFuture<'static, Result<Payload, InvokeError>> {
        let sent = self.send(scope, function, payload, InvocationType::RequestResponse);
        Box::pin(async move { reply(&sent.await?) })
    }

    fn enqueue(
        &self,
        scope: &Scope,
        function: &Name,
        payload: Payload,
    ) -> LocalBoxFuture<'static, Result<(), InvokeError>> {
        let sent = self.send(scope, function, payload, InvocationType::Event);
        Box::pin(async move { sent.await.map(drop) })
    }
}

/// What an answered synchronous invocation means: the function's reply or its failure.
fn reply(output: &InvokeOutput) -> Result<Payload, InvokeError> {
    let bytes = output.payload().map_or(&[][..], |blob| blob.as_ref());
    if output.function_error().is_some() {
        return Err(failure(bytes));
    }
    match serde_json::from_slice::<Event>(bytes) {
        Ok(event) => Ok(event.into_payload()),
        // The function ran, so this is no refusal.
        Err(error) => Err(InvokeError::Crashed(format!(
            "its reply is no event: {error}"
        ))),
    }
}

/// How Lambda describes a failed execution.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Failure {
    error_type: String,
    error_message: String,
}

/// Why an execution ended without a reply. There may be effects, whatever it was: an over-long
/// *reply* is a failure too, and not [`InvokeError::PayloadTooLarge`], which says that nothing
/// happened.
fn failure(bytes: &[u8]) -> InvokeError {
    let failure: Failure = serde_json::from_slice(bytes).unwrap_or_default();
    // Lambda gives a timeout no type of its own everywhere; its sentence is the older sign.
    let timed_out = failure.error_type == "Sandbox.Timedout"
        || failure.error_message.contains("Task timed out after");
    match (timed_out, failure.error_message) {
        (true, _) => InvokeError::Timeout,
        (false, message) if message.is_empty() => {
            InvokeError::Crashed(String::from_utf8_lossy(bytes).into_owned())
        }
        (false, message) => InvokeError::Crashed(message),
    }
}

/// Why the service did not take an invocation, or that nobody knows whether it did.
fn refusal(
    error: &SdkError<ServiceError>,
    function: &Name,
    size: usize,
    limit: usize,
) -> InvokeError {
    match error.as_service_error() {
        Some(ServiceError::TooManyRequestsException(throttled)) => {
            let reason = throttled.reason().map_or("", |reason| reason.as_str());
            InvokeError::Throttled(if reason.contains("Rate") {
                "request quota"
            } else {
                "concurrency limit"
            })
        }
        Some(
            ServiceError::RequestTooLargeException(_)
            | ServiceError::SerializedRequestEntityTooLargeException(_),
        ) => InvokeError::PayloadTooLarge { size, limit },
        Some(ServiceError::ResourceNotFoundException(_)) => {
            InvokeError::NoSuchFunction(function.to_string())
        }
        _ => InvokeError::Unavailable(DisplayErrorContext(error).to_string()),
    }
}
