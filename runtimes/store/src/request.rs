//! What a store is asked and what it answers: DynamoDB's operations as plain data.

use thiserror::Error;
use triptych_model::{Condition, Item, Name, Update, Value};

/// The primary key of an item: its hash value and, in tables that have one, its range value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The value of the hash attribute.
    pub hash: Value,
    /// The value of the range attribute.
    pub range: Option<Value>,
}

impl Key {
    /// A key in a table without a range attribute.
    pub fn hash(hash: impl Into<Value>) -> Self {
        Key {
            hash: hash.into(),
            range: None,
        }
    }

    /// A key in a table with a range attribute.
    pub fn range(hash: impl Into<Value>, range: impl Into<Value>) -> Self {
        Key {
            hash: hash.into(),
            range: Some(range.into()),
        }
    }
}

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// A string.
    Str,
    /// A number.
    Number,
}

/// A key attribute's name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAttribute {
    /// The attribute's name.
    pub name: Name,
    /// The attribute's type.
    pub kind: KeyType,
}

impl KeyAttribute {
    /// A string attribute.
    pub fn str(name: &str) -> Self {
        KeyAttribute {
            name: Name::from(name),
            kind: KeyType::Str,
        }
    }

    /// A number attribute.
    pub fn number(name: &str) -> Self {
        KeyAttribute {
            name: Name::from(name),
            kind: KeyType::Number,
        }
    }
}

/// A global secondary index. It holds the items that have its key attributes (so it can be sparse)
/// and projects either everything or the keys alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSchema {
    /// The index's name.
    pub name: Name,
    /// Its hash attribute.
    pub hash: KeyAttribute,
    /// Its range attribute.
    pub range: Option<KeyAttribute>,
    /// Whether only the keys (of table and index) are projected.
    pub keys_only: bool,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// The table's name.
    pub name: Name,
    /// Its hash attribute.
    pub hash: KeyAttribute,
    /// Its range attribute.
    pub range: Option<KeyAttribute>,
    /// Its global secondary indexes.
    pub indexes: Vec<IndexSchema>,
}

impl TableSchema {
    /// A table with a string hash attribute and nothing else.
    pub fn new(name: impl AsRef<str>, hash: &str) -> Self {
        TableSchema {
            name: Name::from(name.as_ref()),
            hash: KeyAttribute::str(hash),
            range: None,
            indexes: Vec::new(),
        }
    }

    /// The same table with a string range attribute.
    #[must_use]
    pub fn with_range(mut self, range: &str) -> Self {
        self.range = Some(KeyAttribute::str(range));
        self
    }
}

/// Which attributes a read returns. Billing is by the whole item all the same.
pub type Projection = Option<Vec<triptych_model::Path>>;

/// What an update returns of the item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Return {
    /// Nothing.
    #[default]
    None,
    /// The whole item as it is after the update.
    AllNew,
    /// The whole item as it was before.
    AllOld,
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Replaces an item.
    Put {
        /// The table.
        table: Name,
        /// The item, key attributes included.
        item: Item,
        /// What must hold of the existing item.
        condition: Option<Condition>,
    },
    /// Changes an item, or creates it.
    Update {
        /// The table.
        table: Name,
        /// The item's key.
        key: Key,
        /// The change.
        update: Update,
        /// What must hold of the existing item.
        condition: Option<Condition>,
    },
    /// Deletes an item.
    Delete {
        /// The table.
        table: Name,
        /// The item's key.
        key: Key,
        /// What must hold of the existing item.
        condition: Option<Condition>,
    },
    /// Changes nothing, but the transaction fails unless the condition holds.
    Check {
        /// The table.
        table: Name,
        /// The item's key.
        key: Key,
        /// What must hold of the existing item.
        condition: Condition,
    },
}

/// An operation on the store.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// GetItem.
    Get {
        /// The table.
        table: Name,
        /// The item's key.
        key: Key,
        /// What to return of it.
        projection: Projection,
        /// Strongly consistent (a whole read unit per 4 KB) or eventual (half).
        consistent: bool,
    },
    /// PutItem.
    Put {
        /// The table.
        table: Name,
        /// The item, key attributes included.
        item: Item,
        /// What must hold of the existing item.
        condition: Option<Condition>,
    },
    /// UpdateItem.
    Update {
        /// The table.
        table: Name,
        /// The item's key.
        key: Key,
        /// The change.
        update: Update,
        /// What must hold of the existing item.
        condition: Option<Condition>,
        /// What to return of the item.
        returns: Return,
    },
    /// DeleteItem.
    Delete {
        /// The table.
        table: Name,
        /// The item's key.
        key: Key,
        /// What must hold of the existing item.
        condition: Option<Condition>,
    },
    /// Query: the items of one hash value, in the order of their range values. One page.
    Query {
        /// The table.
        table: Name,
        /// An index of it, or the table itself.
        index: Option<Name>,
        /// The hash value.
        hash: Value,
        /// Only items whose range value is less than this one.
        range_below: Option<Value>,
        /// Filters what is returned, not what is read.
        filter: Option<Condition>,
        /// What to return of each item.
        projection: Projection,
        /// Strongly consistent; indexes cannot be.
        consistent: bool,
        /// At most this many items are read.
        limit: Option<usize>,
        /// Where the last page ended.
        start: Option<PageKey>,
    },
    /// Scan: all items of a table in the order of their keys' hash. One page.
    Scan {
        /// The table.
        table: Name,
        /// Filters what is returned, not what is read.
        filter: Option<Condition>,
        /// What to return of each item.
        projection: Projection,
        /// Strongly consistent.
        consistent: bool,
        /// At most this many items are read.
        limit: Option<usize>,
        /// Where the last page ended.
        start: Option<PageKey>,
    },
    /// BatchGetItem.
    BatchGet {
        /// Table and key of each item; at most 100, no two the same.
        keys: Vec<(Name, Key)>,
        /// Strongly consistent.
        consistent: bool,
    },
    /// BatchWriteItem: puts and deletes without conditions.
    BatchWrite {
        /// At most 25, no two of the same item.
        writes: Vec<Write>,
    },
    /// TransactGetItems.
    TransactGet {
        /// Table and key of each item.
        keys: Vec<(Name, Key)>,
    },
    /// TransactWriteItems.
    TransactWrite {
        /// The writes; no two of the same item.
        writes: Vec<Write>,
    },
}

/// Where a page ended: the key of the last item read, for an index with its index key.
pub type PageKey = Item;

impl Request {
    /// A strongly consistent read of a whole item.
    pub fn get(table: &Name, key: Key) -> Self {
        Request::Get {
            table: table.clone(),
            key,
            projection: None,
            consistent: true,
        }
    }

    /// A strongly consistent scan of a whole table, from its first page.
    pub fn scan(table: &Name) -> Self {
        Request::Scan {
            table: table.clone(),
            filter: None,
            projection: None,
            consistent: true,
            limit: None,
            start: None,
        }
    }

    /// The operation's name, as counters and latency profiles use it.
    pub fn name(&self) -> &'static str {
        match self {
            Request::Get { .. } => "get",
            Request::Put { .. } => "put",
            Request::Update { .. } => "update",
            Request::Delete { .. } => "delete",
            Request::Query { .. } => "query",
            Request::Scan { .. } => "scan",
            Request::BatchGet { .. } => "batch_get",
            Request::BatchWrite { .. } => "batch_write",
            Request::TransactGet { .. } => "txn_get",
            Request::TransactWrite { .. } => "txn_write",
        }
    }
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// Of Get, Put, Update and Delete: the item asked for, if there is one.
    Item(Option<Item>),
    /// Of Query and Scan.
    Page {
        /// The items that passed the filter.
        items: Vec<Item>,
        /// Where the next page begins; none if this was the last.
        next: Option<PageKey>,
    },
    /// Of BatchGet and TransactGet: one entry per key, in the order asked.
    Items(Vec<Option<Item>>),
    /// Of BatchWrite and TransactWrite.
    Done,
}

/// Why a transaction was cancelled, one per write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// Not this one.
    None,
    /// Its condition did not hold.
    ConditionFailed,
    /// Another transaction was working on its item.
    Conflict,
    /// It was not valid.
    Validation,
    /// Its partition was over its throughput.
    Throttled,
}

/// A store's refusal. The kinds are DynamoDB's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// ConditionalCheckFailedException. No effect.
    #[error("the condition did not hold")]
    ConditionFailed,
    /// ValidationException. No effect.
    #[error("not valid: {0}")]
    Validation(String),
    /// ResourceNotFoundException. No effect.
    #[error("there is no table {0:?}")]
    NoSuchTable(String),
    /// ResourceInUseException, for a table that exists already.
    #[error("the table {0:?} exists already")]
    TableExists(String),
    /// ProvisionedThroughputExceededException or ThrottlingException. No effect; may be retried.
    #[error("throttled: partition or table over its throughput")]
    Throttled,
    /// TransactionCanceledException. No effect.
    #[error("transaction cancelled: {0:?}")]
    Cancelled(Vec<Cancellation>),
    /// TransactionConflictException: a plain write met an ongoing transaction. No effect.
    #[error("conflict with an ongoing transaction")]
    Conflict,
    /// The connection or the service failed. There may be an effect.
    #[error("the store did not answer: {0}")]
    Unavailable(String),
}

impl StoreError {
    /// Whether the same request may simply be sent again, because it surely had no effect.
    pub fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Throttled | StoreError::Conflict)
    }
}
