//! Tables, attributes and their names (specification §3).

use triptych_api::Function;
use triptych_model::{Name, Value};
use triptych_store::{IndexSchema, KeyAttribute, TableSchema};

/// The app's key: hash attribute of a data table.
pub(crate) const KEY: &str = "K";
/// The row's id: range attribute of a data table.
pub(crate) const ROW: &str = "ROWHASH";
/// The id of the first row of every list; it is never unlinked.
pub(crate) const HEAD: &str = "HEAD";
/// The app's value; only the tail's is current.
pub(crate) const VALUE: &str = "V";
/// Log key to outcome, of the effects that were made in this row.
pub(crate) const LOGS: &str = "LOGS";
/// How many log entries were ever put into this row.
pub(crate) const LOG_SIZE: &str = "LOGSIZE";
/// The next row; absent in the tail, set once.
pub(crate) const NEXT: &str = "NEXTROW";
/// The lock word, in the tail: the transaction that holds the key, and its birth. Absent: free.
pub(crate) const HOLDER: &str = "HOLDER";

/// The instance: hash attribute of log and intent tables.
pub(crate) const INSTANCE: &str = "InstanceId";
/// The step: range attribute of a log table.
pub(crate) const STEP: &str = "Step";
/// The callee's instance id, in an invocation's log entry.
pub(crate) const CALLEE: &str = "Callee";
/// A result: of the callee in a log entry, of the instance in its intent.
pub(crate) const RETURN: &str = "RET";

/// Whether the instance is done.
pub(crate) const DONE: &str = "DONE";
/// The entry point and input, for a restart.
pub(crate) const OP: &str = "OP";
/// See [`OP`].
pub(crate) const INPUT: &str = "INPUT";
/// The transaction that the instance was called in, if any.
pub(crate) const TX: &str = "TX";
/// Where the result has to be deposited: function, instance and step of the caller.
pub(crate) const CALLER: &str = "CALLER";
/// When the instance was recorded or last started again, milliseconds since 1970. It is the range
/// attribute of the index, so changing it costs two writes more.
pub(crate) const STARTED: &str = "ST";
/// When an event last launched the instance. Not indexed.
pub(crate) const LAUNCHED: &str = "LT";
/// When the instance was done.
pub(crate) const FINISHED: &str = "TS";
/// Present only while the instance is not done: makes the index of unfinished intents sparse.
pub(crate) const PENDING: &str = "PENDING";
/// The client request that caused the instance, for attributing work; the protocol ignores it.
pub(crate) const TRACE: &str = "TRACE";
/// The index of unfinished intents by start time.
pub(crate) const PENDING_INDEX: &str = "pending";
/// Unfinished intents are spread over this many hash values of the index: with few of them, two fall
/// into one partition, and that partition is the first thing to saturate.
pub(crate) const PENDING_SHARDS: u64 = 16;

/// The log table of a function: read log and invoke log in one.
pub(crate) fn log_table(function: &str) -> Name {
    Name::from(format!("{function}-log"))
}

/// The intent table of a function.
pub(crate) fn intent_table(function: &str) -> Name {
    Name::from(format!("{function}-intent"))
}

/// The table of a function's shadows: one linked list per transaction that came by.
pub(crate) fn local_table(function: &str) -> Name {
    Name::from(format!("{function}-local"))
}

/// The index partition of an instance.
pub(crate) fn shard(instance: &str) -> Value {
    Value::from((triptych_world::mix_str(0, instance) % PENDING_SHARDS).to_string())
}

/// All tables of a function.
pub(crate) fn schemas(function: &Function) -> Vec<TableSchema> {
    let mut schemas: Vec<TableSchema> = function
        .tables
        .iter()
        .map(|table| TableSchema::new(table, KEY).with_range(ROW))
        .collect();
    schemas.push(TableSchema::new(local_table(&function.name), KEY).with_range(ROW));
    schemas.push(TableSchema::new(log_table(&function.name), INSTANCE).with_range(STEP));
    let mut intents = TableSchema::new(intent_table(&function.name), INSTANCE);
    intents.indexes.push(IndexSchema {
        name: Name::from(PENDING_INDEX),
        hash: KeyAttribute::str(PENDING),
        range: Some(KeyAttribute::number(STARTED)),
        keys_only: true,
    });
    schemas.push(intents);
    schemas
}
