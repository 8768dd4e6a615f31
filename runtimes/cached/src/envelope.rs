//! What travels: a call and what it carries, and its reply with what that brings back.

use crate::system::Attempt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::from_value;
use triptych_api::{Call, Error, Name, Result, Value};
use triptych_mesh::Key;

/// What a branch of an attempt carries.
#[derive(Clone, Default)]
pub(crate) struct Carried<C> {
    /// The system's.
    pub(crate) context: C,
    /// What is the same for every system.
    pub(crate) rest: Rest,
}

/// See [`Carried`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rest {
    /// The keys that the attempt has changed: a scan looks at them by themselves.
    pub(crate) changed: BTreeSet<Key>,
    /// Events that are handed over after the commit, by instance and step of who sends them.
    pub(crate) events: BTreeMap<(Name, Name), Event>,
    /// An operation was aborted, so nothing can come of the attempt.
    pub(crate) doomed: bool,
}

/// A call for which nobody waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) function: Name,
    pub(crate) instance: Name,
    pub(crate) op: Name,
    pub(crate) input: Value,
}

impl Rest {
    /// What another branch has.
    pub(crate) fn join(&mut self, branch: Rest) {
        self.changed.extend(branch.changed);
        self.events.extend(branch.events);
        self.doomed |= branch.doomed;
    }

    /// The result of an operation of the system: an abort is the end of the attempt.
    pub(crate) fn judge<T>(&mut self, result: Result<T>) -> Result<T> {
        self.doomed |= matches!(result, Err(Error::Aborted(_)));
        result
    }
}

/// A call on its way to a function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Envelope {
    /// The instance's id; the request's own id at the entry function.
    pub(crate) instance: Name,
    pub(crate) op: Name,
    pub(crate) input: Value,
    /// The server that the workflow stays at, if it does.
    pub(crate) home: Option<usize>,
    pub(crate) load: Load,
}

/// What a call brings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Load {
    /// It is the root of a workflow: what the session keeps, encoded; nothing at first.
    Session(Option<Value>),
    /// It is a part of an attempt.
    Part {
        attempt: Attempt,
        /// The transaction that the caller is in.
        tx: Option<Name>,
        carried: Encoded,
    },
}

/// A [`Carried`] as it travels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Encoded {
    pub(crate) context: Value,
    pub(crate) rest: Value,
}

/// The bytes of something of ours, as a value.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Value> {
    let bytes = postcard::to_stdvec(value);
    let bytes = bytes.map_err(|error| Error::Bug(format!("cannot be sent: {error}")))?;
    Ok(Value::Bytes(bytes.into()))
}

/// What some bytes stand for.
///
/// # Errors
/// [`Error::Bug`] if they are of something else.
pub(crate) fn decode<T: DeserializeOwned>(value: &Value) -> Result<T> {
    let Value::Bytes(bytes) = value else {
        return Err(Error::Bug(format!("not a context: {value:?}")));
    };
    postcard::from_bytes(bytes).map_err(|error| Error::Bug(format!("not a context: {error}")))
}

/// How many bytes a value from [`encode`] has.
pub(crate) fn size(value: &Value) -> u64 {
    match value {
        Value::Bytes(bytes) => bytes.len() as u64,
        _ => 0,
    }
}

impl<C: Serialize + DeserializeOwned> Carried<C> {
    pub(crate) fn encode(&self) -> Result<Encoded> {
        let rest = match self.rest == Rest::default() {
            true => Value::Null,
            false => encode(&self.rest)?,
        };
        let context = encode(&self.context)?;
        Ok(Encoded { context, rest })
    }

    pub(crate) fn decode(encoded: &Encoded) -> Result<Self> {
        let rest = match &encoded.rest {
            Value::Null => Rest::default(),
            rest => decode(rest)?,
        };
        let context = decode(&encoded.context)?;
        Ok(Carried { context, rest })
    }
}

fn text(body: &Value, field: &str) -> Option<Name> {
    body.get(field).and_then(Value::as_str).map(Name::from)
}

fn number(body: &Value, field: &str) -> Option<usize> {
    usize::try_from(body.get(field)?.as_int()?).ok()
}

impl Encoded {
    fn of(body: &Value) -> Encoded {
        let field = |name| body.get(name).cloned().unwrap_or_default();
        Encoded {
            context: field("context"),
            rest: field("rest"),
        }
    }

    fn fields(self) -> impl Iterator<Item = (&'static str, Value)> {
        let rest = (self.rest != Value::Null).then_some(("rest", self.rest));
        [("context", self.context)].into_iter().chain(rest)
    }
}

impl From<Envelope> for Value {
    fn from(envelope: Envelope) -> Value {
        let mut fields = vec![
            ("instance", Value::from(envelope.instance)),
            ("op", Value::from(envelope.op)),
            ("input", envelope.input),
        ];
        let home = envelope.home.map(|home| ("home", Value::Int(home as i64)));
        fields.extend(home);
        match envelope.load {
            Load::Session(session) => fields.extend(session.map(|kept| ("session", kept))),
            Load::Part {
                attempt,
                tx,
                carried,
            } => {
                let root = Value::Int(attempt.root as i64);
                let attempt = Value::list([root, Value::Int(attempt.number.into())]);
                fields.push(("attempt", attempt));
                fields.extend(tx.map(|tx| ("tx", Value::from(tx))));
                fields.extend(carried.fields());
            }
        }
        Value::map(fields)
    }
}

impl TryFrom<&Value> for Envelope {
    type Error = Error;

    /// [`Error::Bug`] if there is no instance, no entry point, or an attempt that is none.
    fn try_from(body: &Value) -> Result<Self> {
        let known = |name| {
            text(body, name).ok_or_else(|| Error::Bug(format!("the envelope has no {name:?}")))
        };
        let load = match body.get("attempt") {
            None => Load::Session(body.get("session").cloned()),
            Some(attempt) => {
                let (root, number): (i64, u32) = from_value(attempt)?;
                let root = root as u64;
                Load::Part {
                    attempt: Attempt { root, number },
                    tx: text(body, "tx"),
                    carried: Encoded::of(body),
                }
            }
        };
        Ok(Envelope {
            instance: known("instance")?,
            op: known("op")?,
            input: body.get("input").cloned().unwrap_or_default(),
            home: number(body, "home"),
            load,
        })
    }
}

impl Envelope {
    /// The call in it.
    pub(crate) fn call(&self) -> Call {
        Call {
            op: self.op.clone(),
            input: self.input.clone(),
        }
    }
}

/// The reply of a part of an attempt.
pub(crate) fn part_reply(reply: Value, carried: Encoded) -> Value {
    let fields = [("reply", reply)].into_iter().chain(carried.fields());
    Value::map(fields)
}

/// What a part of an attempt replied, and what it carried at its end.
///
/// # Errors
/// [`Error::Bug`] if it is no such reply.
pub(crate) fn read_part(body: &Value) -> Result<(&Value, Encoded)> {
    let reply = body.get("reply");
    let reply = reply.ok_or_else(|| Error::Bug(format!("not a reply: {body:?}")))?;
    Ok((reply, Encoded::of(body)))
}

/// What a client keeps of a session: what the system keeps, and where the workflow stayed.
pub(crate) fn kept(session: Value, home: Option<usize>) -> Value {
    let home = home.map(|home| ("home", Value::Int(home as i64)));
    Value::map([("session", session)].into_iter().chain(home))
}

/// What a client has kept.
pub(crate) fn read_kept(kept: &Value) -> (Option<Value>, Option<usize>) {
    (kept.get("session").cloned(), number(kept, "home"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried() -> Carried<u64> {
        let key = Key::new("t", "k");
        let mut carried = Carried {
            context: 7,
            ..Carried::default()
        };
        carried.rest.changed.insert(key);
        carried
    }

    #[test]
    fn calls_survive_the_way_and_anything_else_is_refused_in_words() {
        let part = Load::Part {
            attempt: Attempt {
                root: u64::MAX - 3,
                number: 2,
            },
            tx: Some(Name::from("tx")),
            carried: carried().encode().unwrap(),
        };
        let loads = [part, Load::Session(None), Load::Session(Some(Value::Null))];
        for (load, home) in loads.into_iter().zip([None, Some(2), None]) {
            let envelope = Envelope {
                instance: Name::from("r1"),
                op: Name::from("take"),
                input: Value::Int(3),
                home,
                load,
            };
            let came = Envelope::try_from(&Value::from(envelope.clone()));
            assert_eq!(came, Ok(envelope));
        }
        let timer = triptych_faas::timer_payload("restart");
        let refused = Envelope::try_from(&timer).unwrap_err();
        assert_eq!(refused.to_string(), "bug: the envelope has no \"instance\"");
        let odd = Value::map([("attempt", Value::str("first"))]);
        assert!(matches!(Envelope::try_from(&odd), Err(Error::Bug(_))));
    }

    #[test]
    fn what_is_carried_comes_back_and_malformed_contexts_are_refused() {
        let encoded = carried().encode().unwrap();
        let body = part_reply(Value::Int(1), encoded.clone());
        let (reply, came) = read_part(&body).unwrap();
        assert_eq!((reply, &came), (&Value::Int(1), &encoded));
        let came: Carried<u64> = Carried::decode(&came).unwrap();
        assert_eq!((came.context, came.rest), (7, carried().rest));
        for odd in [Value::Null, Value::Bytes(Vec::new().into())] {
            let encoded = Encoded {
                context: odd,
                rest: Value::Null,
            };
            let refused = Carried::<u64>::decode(&encoded).map(|_| ());
            assert!(matches!(refused, Err(Error::Bug(_))), "{refused:?}");
        }
        assert!(read_part(&Value::Null).is_err());
    }
}
