//! How much of a request crosses the wire, roughly: keys, items, constants and the attributes named.

use crate::{Key, Request, Write};
use triptych_model::{Action, Condition, Operand, Value, item_size};

impl Request {
    /// The bytes of the request's keys, items and constants, as DynamoDB sizes values.
    pub fn bytes(&self) -> usize {
        match self {
            Request::Get { key, .. } => key_bytes(key),
            Request::Put {
                item, condition, ..
            } => item_size(item) + opt(condition.as_ref()),
            Request::Update {
                key,
                update,
                condition,
                ..
            } => key_bytes(key) + update_bytes(update) + opt(condition.as_ref()),
            Request::Delete { key, condition, .. } => key_bytes(key) + opt(condition.as_ref()),
            Request::Query {
                hash,
                range_below,
                filter,
                ..
            } => hash.size() + range_below.as_ref().map_or(0, Value::size) + opt(filter.as_ref()),
            Request::Scan { filter, .. } => opt(filter.as_ref()),
            Request::BatchGet { keys, .. } | Request::TransactGet { keys } => {
                keys.iter().map(|(_, key)| key_bytes(key)).sum()
            }
            Request::BatchWrite { writes } | Request::TransactWrite { writes } => {
                writes.iter().map(write_bytes).sum()
            }
        }
    }
}

fn write_bytes(write: &Write) -> usize {
    match write {
        Write::Put {
            item, condition, ..
        } => item_size(item) + opt(condition.as_ref()),
        Write::Update {
            key,
            update,
            condition,
            ..
        } => key_bytes(key) + update_bytes(update) + opt(condition.as_ref()),
        Write::Delete { key, condition, .. } => key_bytes(key) + opt(condition.as_ref()),
        Write::Check { key, condition, .. } => key_bytes(key) + condition_bytes(condition),
    }
}

fn key_bytes(key: &Key) -> usize {
    key.hash.size() + key.range.as_ref().map_or(0, Value::size)
}

fn opt(condition: Option<&Condition>) -> usize {
    condition.map_or(0, condition_bytes)
}

fn condition_bytes(condition: &Condition) -> usize {
    match condition {
        Condition::Exists(path) | Condition::Absent(path) => path.root().len(),
        Condition::Compare(path, _, value) => path.root().len() + value.size(),
        Condition::All(all) | Condition::Any(all) => all.iter().map(condition_bytes).sum(),
        Condition::Not(condition) => condition_bytes(condition),
    }
}

fn update_bytes(update: &[Action]) -> usize {
    let action = |action: &Action| match action {
        Action::Set(path, operand) => path.root().len() + operand_bytes(operand),
        Action::Remove(path) => path.root().len(),
    };
    update.iter().map(action).sum()
}

fn operand_bytes(operand: &Operand) -> usize {
    match operand {
        Operand::Value(value) | Operand::PathOr(_, value) => value.size(),
        Operand::Path(path) => path.root().len(),
        Operand::Plus(term, more) => operand_bytes(term) + Value::Int(*more).size(),
        Operand::Append(first, second) => operand_bytes(first) + operand_bytes(second),
    }
}
