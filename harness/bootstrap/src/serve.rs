//! Puts the runtime together and answers Lambda's events.

use crate::settings::{FUNCTION, Settings, SettingsError, choose};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use std::rc::Rc;
use thiserror::Error;
use triptych_faas_lambda::{Event, LambdaPlatform};
use triptych_registry::{SERVERS, Site, Timing};
use triptych_store_dynamodb::DynamoStore;
use triptych_world::World;

/// Why the process ends.
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    /// The environment is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The machine could not start a thread's runtime.
    #[error("no asynchronous runtime: {0}")]
    Start(#[from] std::io::Error),
    /// Lambda's runtime API could not be reached, or said something else than it should.
    #[error("the Lambda runtime API: {0}")]
    Lambda(lambda_runtime::Error),
}

/// The error type that Lambda shows for a handler that returned no answer.
const FAILED: &str = "Triptych.Failed";

/// Serves one function until Lambda ends the process.
pub(crate) async fn serve(world: World, settings: Settings) -> Result<(), ServeError> {
    let (dynamodb, lambda) = (&settings.dynamodb_endpoint, &settings.lambda_endpoint);
    let dynamodb = triptych_store_dynamodb::connect(dynamodb.as_deref(), &settings.region).await;
    let lambda = triptych_faas_lambda::connect(lambda.as_deref(), &settings.region).await;
    let deployment = (settings.runtime.deploy)(Site {
        world: world.clone(),
        store: Rc::new(DynamoStore::new(dynamodb)),
        platform: Rc::new(LambdaPlatform::new(lambda, &settings.function_prefix)),
        app: settings.app,
        retries: settings.retries,
        timing: Timing::default(),
        servers: SERVERS,
    });
    let functions = deployment.functions().into_iter();
    let functions = functions.map(|(name, handler)| (name.clone(), (name, handler)));
    let (name, handler) = choose(FUNCTION, settings.function, functions)?;
    let service = service_fn(|event: LambdaEvent<Event>| {
        let reply = handler(event.payload.execution(&world, &name));
        async {
            reply
                .await
                .map(Event::reply)
                .map_err(|error_message| Diagnostic {
                    error_type: FAILED.to_owned(),
                    error_message,
                })
        }
    });
    lambda_runtime::run(service)
        .await
        .map_err(ServeError::Lambda)
}
