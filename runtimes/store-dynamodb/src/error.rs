//! DynamoDB's errors as the store's.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::CancellationReason;
use std::fmt::Debug;
use triptych_store::{Cancellation, StoreError};

/// Any operation's error. `table` names the table for the message.
pub(crate) fn plain<E, R>(error: SdkError<E, R>, table: &str) -> StoreError
where
    E: ProvideErrorMetadata + Debug,
    R: Debug,
{
    let Some(service) = error.as_service_error() else {
        // The connection broke, or there never was one: nobody knows whether it arrived.
        return StoreError::Unavailable(format!("{error:?}"));
    };
    let message = service.message().unwrap_or_default().to_owned();
    match service.code().unwrap_or_default() {
        "ConditionalCheckFailedException" => StoreError::ConditionFailed,
        "ValidationException" | "ItemCollectionSizeLimitExceededException" => {
            StoreError::Validation(message)
        }
        "ResourceNotFoundException" => StoreError::NoSuchTable(table.to_owned()),
        "ResourceInUseException" => StoreError::TableExists(table.to_owned()),
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded" => StoreError::Throttled,
        "TransactionConflictException" | "TransactionInProgressException" => StoreError::Conflict,
        code => StoreError::Unavailable(format!("{code}: {message}")),
    }
}

pub(crate) fn transact_write<R: Debug>(
    error: SdkError<TransactWriteItemsError, R>,
    table: &str,
) -> StoreError {
    if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
        error.as_service_error()
    {
        return reasons(cancelled.cancellation_reasons());
    }
    plain(error, table)
}

pub(crate) fn transact_get<R: Debug>(
    error: SdkError<TransactGetItemsError, R>,
    table: &str,
) -> StoreError {
    if let Some(TransactGetItemsError::TransactionCanceledException(cancelled)) =
        error.as_service_error()
    {
        return reasons(cancelled.cancellation_reasons());
    }
    plain(error, table)
}

/// A transaction that was only throttled may simply be sent again, so it is reported as such.
fn reasons(reasons: &[CancellationReason]) -> StoreError {
    let mut kinds = Vec::with_capacity(reasons.len());
    for reason in reasons {
        kinds.push(match reason.code().unwrap_or("None") {
            "None" => Cancellation::None,
            "ConditionalCheckFailed" => Cancellation::ConditionFailed,
            "TransactionConflict" => Cancellation::Conflict,
            "ValidationError" | "ItemCollectionSizeLimitExceeded" => Cancellation::Validation,
            "ProvisionedThroughputExceeded" | "ThrottlingError" => Cancellation::Throttled,
            code => return StoreError::Unavailable(format!("transaction cancelled: {code}")),
        });
    }
    let only_throttled = kinds.contains(&Cancellation::Throttled)
        && kinds
            .iter()
            .all(|kind| matches!(kind, Cancellation::None | Cancellation::Throttled));
    if only_throttled {
        StoreError::Throttled
    } else {
        StoreError::Cancelled(kinds)
    }
}
