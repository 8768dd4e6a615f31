//! Tables, attributes and their names (specification §3).

use crate::Config;
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
/// The oldest transaction that waits for the lock, in the tail: nobody younger takes the lock before
/// it does.
pub(crate) const WAITER: &str = "WAITER";

/// When the garbage collector first saw that the row cannot be reached, milliseconds since 1970.
pub(crate) const DANGLING: &str = "DANGLING";
/// When an appended row was created, milliseconds since 1970.
pub(crate) const BORN: &str = "BORN";
/// Only in appended rows: makes the index of keys with more than one row sparse.
pub(crate) const CHAIN: &str = "CHAIN";
/// The index of keys with more than one row. It holds keys alone, so an effect costs it nothing.
pub(crate) const CHAIN_INDEX: &str = "chain";
/// Over how many hash values that index is spread.
pub(crate) const CHAIN_SHARDS: u64 = 4;

/// The instance: hash attribute of log and intent tables.
pub(crate) const INSTANCE: &str = "InstanceId";
/// The step: range attribute of a log table.
pub(crate) const STEP: &str = "Step";
/// The callee's instance id, in an invocation's log entry.
pub(crate) const CALLEE: &str = "Callee";
/// What a write came to, in its entry of the log table (cross-table storage).
pub(crate) const OUTCOME: &str = "OUTCOME";
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
/// When the instance was recorded, milliseconds since 1970: the birth of its transactions.
pub(crate) const CREATED: &str = "BT";
/// When an event last launched the instance. Not indexed.
pub(crate) const LAUNCHED: &str = "LT";
/// When the instance was done.
pub(crate) const FINISHED: &str = "TS";
/// Present only while the instance is not done: makes the index of unfinished intents sparse.
pub(crate) const PENDING: &str = "PENDING";
/// Present once the instance is done: makes the index of finished intents sparse. Putting an entry
/// into it is one more write per instance, so it is only done where garbage is collected.
pub(crate) const OVER: &str = "OVER";
/// The index of finished intents by the time of their end, spread like [`PENDING_INDEX`].
pub(crate) const FINISHED_INDEX: &str = "finished";
/// The key of a function's table for its garbage collector.
pub(crate) const NAME: &str = "NAME";
/// The one row of that table: who collects, and until when at most.
pub(crate) const LEASE: &str = "lease";
/// See [`LEASE`].
pub(crate) const OWNER: &str = "OWNER";
/// See [`LEASE`]; milliseconds since 1970.
pub(crate) const UNTIL: &str = "UNTIL";
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

/// The table of a function's garbage collector.
pub(crate) fn gc_table(function: &str) -> Name {
    Name::from(format!("{function}-gc"))
}

/// The index partition of an instance.
pub(crate) fn shard(instance: &str) -> Value {
    Value::from((triptych_world::mix_str(0, instance) % PENDING_SHARDS).to_string())
}

/// The partition of a key in the index of keys with more than one row.
pub(crate) fn chain(key: &str) -> Value {
    Value::from((triptych_world::mix_str(1, key) % CHAIN_SHARDS).to_string())
}

/// All tables of a function.
pub(crate) fn schemas(function: &Function, config: &Config) -> Vec<TableSchema> {
    let index = |name: &str, hash: &str, range: Option<&str>| IndexSchema {
        name: Name::from(name),
        hash: KeyAttribute::str(hash),
        range: range.map(KeyAttribute::number),
        keys_only: true,
    };
    let data = |table: &Name| {
        let mut data = TableSchema::new(table, KEY);
        if !config.is_cross_table() {
            data = data.with_range(ROW);
            let chains = config.gc_period.map(|_| index(CHAIN_INDEX, CHAIN, None));
            data.indexes.extend(chains);
        }
        data
    };
    let mut schemas: Vec<TableSchema> = function.tables.iter().map(data).collect();
    schemas.push(TableSchema::new(local_table(&function.name), KEY).with_range(ROW));
    schemas.push(TableSchema::new(log_table(&function.name), INSTANCE).with_range(STEP));
    let mut intents = TableSchema::new(intent_table(&function.name), INSTANCE);
    let pending = index(PENDING_INDEX, PENDING, Some(STARTED));
    intents.indexes.push(pending);
    if config.gc_period.is_some() {
        let finished = index(FINISHED_INDEX, OVER, Some(FINISHED));
        intents.indexes.push(finished);
        schemas.push(TableSchema::new(gc_table(&function.name), NAME));
    }
    schemas.push(intents);
    schemas
}
