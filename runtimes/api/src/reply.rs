//! How a function's answer travels: the three kinds of answer as a document, so that a refusal is
//! never mistaken for a failure.

use crate::{Error, Result};
use triptych_model::{Outcome, Value};

/// The answer as a document, or the reason why there is none.
///
/// # Errors
/// The text of [`Error::Interrupted`] and [`Error::Bug`], which are not answers.
pub fn encode_reply(result: Result<Value>) -> std::result::Result<Value, String> {
    match result {
        Ok(output) => Ok(Value::map([("ok", output)])),
        Err(Error::Rejected(reason)) => Ok(Value::map([("rejected", Value::from(reason))])),
        Err(Error::Aborted(reason)) => Ok(Value::map([("aborted", Value::from(reason))])),
        Err(error @ (Error::Interrupted(_) | Error::Bug(_))) => Err(error.to_string()),
    }
}

/// The answer that a document stands for.
///
/// # Errors
/// What the callee decided, or [`Error::Bug`] if the document is no answer.
pub fn decode_reply(reply: &Value) -> Result<Value> {
    let reason = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(output) = reply.get("ok") {
        Ok(output.clone())
    } else if let Some(why) = reply.get("rejected") {
        Err(Error::Rejected(reason(why)))
    } else if let Some(why) = reply.get("aborted") {
        Err(Error::Aborted(reason(why)))
    } else {
        Err(Error::Bug(format!("not an answer: {reply:?}")))
    }
}

/// What a client makes of an entry function's answer: how the request ended, and the output if it
/// ended well.
pub fn client_view(reply: &Value) -> (Outcome, Value) {
    match decode_reply(reply) {
        Ok(output) => (Outcome::Ok, output),
        Err(Error::Rejected(reason)) => (Outcome::Rejected(reason), Value::Null),
        Err(Error::Aborted(reason)) => (Outcome::Aborted(reason), Value::Null),
        Err(error) => (Outcome::Indeterminate(error.to_string()), Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_survive_the_way_and_failures_do_not_become_answers() {
        for answer in [
            Ok(Value::Int(3)),
            Err(Error::Rejected("sold out".to_owned())),
            Err(Error::Aborted("conflict".to_owned())),
        ] {
            assert_eq!(decode_reply(&encode_reply(answer.clone()).unwrap()), answer);
        }
        assert!(encode_reply(Err(Error::Interrupted("lost".to_owned()))).is_err());
        assert!(matches!(decode_reply(&Value::Null), Err(Error::Bug(_))));
    }
}
