//! What Beldi sends to a function: calls, and the protocol's own messages.

use crate::tx::TxContext;
use triptych_model::{Name, Value};

/// A call: run the instance.
pub(crate) const CALL: &str = "call";
/// An event: run the instance, if its intent exists and is not done.
pub(crate) const START: &str = "start";
/// To a callee: record the intent of an asynchronous instance, and call back.
pub(crate) const REGISTER: &str = "register";
/// To a caller: put a result into the invoke log.
pub(crate) const CALLBACK: &str = "callback";
/// From the timer: execute unfinished instances again.
pub(crate) const COLLECT: &str = "collect";

/// Where a result has to be deposited.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Caller {
    pub(crate) function: Name,
    pub(crate) instance: Name,
    pub(crate) step: Name,
}

impl Caller {
    pub(crate) fn to_value(&self) -> Value {
        Value::list([&self.function, &self.instance, &self.step].map(|part| part.clone().into()))
    }

    pub(crate) fn from_value(value: &Value) -> Option<Caller> {
        match value.as_list()? {
            [Value::Str(function), Value::Str(instance), Value::Str(step)] => Some(Caller {
                function: function.clone(),
                instance: instance.clone(),
                step: step.clone(),
            }),
            _ => None,
        }
    }
}

/// An envelope with a kind and an instance.
fn envelope(kind: &str, instance: &str, rest: Vec<(&str, Value)>) -> Value {
    let mut fields = vec![
        ("kind", Value::str(kind)),
        ("instance", Value::str(instance)),
    ];
    fields.extend(rest);
    Value::map(fields)
}

fn with_caller(
    kind: &str,
    instance: &str,
    op: &str,
    input: Value,
    caller: Option<&Caller>,
    tx: Option<&TxContext>,
) -> Value {
    let mut rest = vec![("op", Value::str(op)), ("input", input)];
    if let Some(caller) = caller {
        rest.push(("caller", caller.to_value()));
    }
    if let Some(tx) = tx {
        rest.push(("tx", tx.to_word()));
    }
    envelope(kind, instance, rest)
}

/// The transaction that a call is part of.
pub(crate) fn tx(body: &Value) -> Option<TxContext> {
    TxContext::from_word(body.get("tx")?)
}

/// See [`CALL`].
pub(crate) fn call(
    instance: &str,
    op: &str,
    input: Value,
    caller: Option<&Caller>,
    tx: Option<&TxContext>,
) -> Value {
    with_caller(CALL, instance, op, input, caller, tx)
}

/// See [`START`].
pub(crate) fn start(instance: &str, op: &str, input: Value) -> Value {
    with_caller(START, instance, op, input, None, None)
}

/// See [`REGISTER`].
pub(crate) fn register(instance: &str, op: &str, input: Value, caller: &Caller) -> Value {
    with_caller(REGISTER, instance, op, input, Some(caller), None)
}

/// See [`CALLBACK`]. `callee` is checked against the log entry, so that a late one cannot touch an
/// entry of somebody else.
pub(crate) fn callback(caller: &Caller, callee: &Name, result: Value) -> Value {
    let rest = vec![
        ("step", caller.step.clone().into()),
        ("callee", callee.clone().into()),
        ("result", result),
    ];
    envelope(CALLBACK, &caller.instance, rest)
}

/// A text field of an envelope.
pub(crate) fn text(body: &Value, name: &str) -> Result<Name, String> {
    match body.get(name) {
        Some(Value::Str(text)) => Ok(text.clone()),
        other => Err(format!(
            "the envelope's {name:?} should be a text, not {other:?}"
        )),
    }
}
