//! A call on its way to a function.

use triptych_api::{Call, Error, Name, Value};

/// What is sent to a function: which instance is to run, and what it is asked.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The instance's id; the request's own id at the entry function.
    pub instance: Name,
    /// Entry point and input.
    pub call: Call,
    /// The transaction that the caller is in, if the runtime tells its callees.
    pub tx: Option<Name>,
}

impl Envelope {
    /// A call outside of transactions.
    pub fn new(instance: impl Into<Name>, op: impl Into<Name>, input: Value) -> Self {
        let (instance, op) = (instance.into(), op.into());
        let call = Call { op, input };
        let tx = None;
        Envelope { instance, call, tx }
    }
}

impl From<Envelope> for Value {
    fn from(envelope: Envelope) -> Value {
        let mut fields = vec![
            ("instance", Value::from(envelope.instance)),
            ("op", Value::from(envelope.call.op)),
            ("input", envelope.call.input),
        ];
        fields.extend(envelope.tx.map(|tx| ("tx", Value::from(tx))));
        Value::map(fields)
    }
}

impl TryFrom<&Value> for Envelope {
    type Error = Error;

    /// [`Error::Bug`] if there is no instance or entry point.
    fn try_from(body: &Value) -> Result<Self, Error> {
        let text = |name| body.get(name).and_then(Value::as_str).map(Name::from);
        let known =
            |name| text(name).ok_or_else(|| Error::Bug(format!("the envelope has no {name:?}")));
        let input = body.get("input").cloned().unwrap_or_default();
        let envelope = Envelope::new(known("instance")?, known("op")?, input);
        let tx = text("tx");
        Ok(Envelope { tx, ..envelope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_survive_the_way_and_anything_else_is_refused_in_words() {
        for tx in [None, Some(Name::from("r1/0.0"))] {
            let call = Envelope::new("r1", "take", Value::Int(3));
            let sent = Value::from(Envelope { tx, ..call });
            let came = Envelope::try_from(&sent).unwrap();
            assert_eq!((&*came.instance, &*came.call.op), ("r1", "take"));
            assert_eq!(Value::from(came), sent);
        }
        let timer = triptych_faas::timer_payload("restart");
        let refused = Envelope::try_from(&timer).unwrap_err();
        assert_eq!(refused.to_string(), "bug: the envelope has no \"instance\"");
        let nowhere = Value::map([("instance", Value::str("r1"))]);
        let refused = Envelope::try_from(&nowhere).unwrap_err();
        assert_eq!(refused.to_string(), "bug: the envelope has no \"op\"");
    }
}
