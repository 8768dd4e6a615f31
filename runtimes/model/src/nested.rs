//! How deep values and conditions may be nested when they are read from bytes.
//!
//! Whoever reads them goes down into them on the stack, which ends. Bytes may come from anywhere, and
//! a message of some kilobytes can be nested deeper than any stack; so what is nested deeper than
//! anything means is an error like others. Formats that describe themselves have bounds of their own.

use serde::de::{Deserialize, Deserializer, Error};
use std::cell::Cell;

/// So deep. DynamoDB takes 32; JSON's reader here 128.
pub(crate) const DEEPEST: usize = 128;

thread_local! {
    /// How deep the reader is just now.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// One level down, for as long as it lives.
struct Level;

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Reads something that may have the like of it inside.
pub(crate) fn inside<T, E: Error>(read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    if DEPTH.get() >= DEEPEST {
        return Err(E::custom("it is nested too deep"));
    }
    DEPTH.set(DEPTH.get() + 1);
    let _level = Level;
    read()
}

/// For fields that have the like of their type inside.
pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    inside(|| T::deserialize(deserializer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Condition, Path, Value};

    fn value(depth: usize) -> Value {
        (0..depth).fold(Value::Null, |value, _| Value::list([value]))
    }

    fn condition(depth: usize) -> Condition {
        let innermost = Condition::Exists(Path::attr("x"));
        (0..depth).fold(innermost, |inner, n| match n % 3 {
            0 => Condition::Not(Box::new(inner)),
            1 => Condition::All(vec![inner]),
            _ => Condition::Any(vec![inner]),
        })
    }

    #[test]
    fn what_is_nested_as_deep_as_anything_is_read() {
        for depth in [0, 1, DEEPEST - 1] {
            let bytes = postcard::to_stdvec(&value(depth)).unwrap();
            assert_eq!(postcard::from_bytes::<Value>(&bytes), Ok(value(depth)));
            let bytes = postcard::to_stdvec(&condition(depth)).unwrap();
            assert_eq!(
                postcard::from_bytes::<Condition>(&bytes),
                Ok(condition(depth))
            );
        }
    }

    #[test]
    fn what_is_nested_deeper_is_refused_however_deep_it_is() {
        // A list of one, and a negation, again and again.
        let list = postcard::to_stdvec(&value(1)).unwrap();
        let null = postcard::to_stdvec(&Value::Null).unwrap();
        let (list, not) = (
            &list[..list.len() - null.len()],
            &postcard::to_stdvec(&condition(1)).unwrap()[..1],
        );
        for depth in [DEEPEST + 1, 1_000_000] {
            let bytes = [&list.repeat(depth)[..], &null].concat();
            assert!(postcard::from_bytes::<Value>(&bytes).is_err(), "{depth}");
            let innermost = postcard::to_stdvec(&condition(0)).unwrap();
            let bytes = [&not.repeat(depth)[..], &innermost].concat();
            assert!(
                postcard::from_bytes::<Condition>(&bytes).is_err(),
                "{depth}"
            );
        }
        // And whoever reads next begins at the top again.
        let bytes = postcard::to_stdvec(&value(DEEPEST - 1)).unwrap();
        assert!(postcard::from_bytes::<Value>(&bytes).is_ok());
    }
}
