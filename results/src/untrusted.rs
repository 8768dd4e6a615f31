//! A look at postcard bytes before they are decoded.
//!
//! [`Value`](triptych_model::Value) is a tree, and the derived decoder walks it by recursion: a few
//! kilobytes of forged nesting would overflow the stack. [`check_depth`] walks the same bytes with
//! a list instead of the stack and refuses what is deeper than any real value.

/// The deepest value that is read back. Apps nest a handful of levels.
const DEEPEST: usize = 64;

/// Something expected next in the bytes.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// A tagged value.
    Value,
    /// A map of names to what follows, given as how many levels of maps there are above the values.
    Maps(u8),
}

/// Walks one item of `shape` at the start of `bytes`; returns what is left behind it.
pub(crate) fn check_depth(bytes: &[u8], shape: Shape) -> Result<&[u8], &'static str> {
    let mut rest = bytes;
    // What is being read: how many elements of which shape are left, innermost last.
    let mut open: Vec<(u64, Shape, bool)> = vec![(1, shape, false)];
    while let Some((left, shape, named)) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        let shape = *shape;
        if *named {
            rest = skip_text(rest)?;
        }
        let inner = match shape {
            Shape::Maps(levels) => {
                let (count, after) = varint(rest)?;
                rest = after;
                let inner = if levels <= 1 {
                    Shape::Value
                } else {
                    Shape::Maps(levels - 1)
                };
                Some((count, inner, true))
            }
            Shape::Value => {
                let (tag, after) = varint(rest)?;
                rest = after;
                match tag {
                    0 => None,
                    1 => {
                        rest = skip(rest, 1)?;
                        None
                    }
                    2 => {
                        rest = varint(rest)?.1;
                        None
                    }
                    3 => {
                        rest = skip(rest, 8)?;
                        None
                    }
                    4 | 5 => {
                        rest = skip_text(rest)?;
                        None
                    }
                    6 | 7 => {
                        let (count, after) = varint(rest)?;
                        rest = after;
                        Some((count, Shape::Value, tag == 7))
                    }
                    _ => return Err("a value of no known type"),
                }
            }
        };
        if let Some(inner) = inner {
            if open.len() > DEEPEST {
                return Err("a value nested deeper than any real one");
            }
            open.push(inner);
        }
    }
    Ok(rest)
}

fn skip(bytes: &[u8], count: u64) -> Result<&[u8], &'static str> {
    usize::try_from(count)
        .ok()
        .and_then(|count| bytes.get(count..))
        .ok_or("cut short")
}

fn skip_text(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let (length, rest) = varint(bytes)?;
    skip(rest, length)
}

/// Postcard's variable-length integer: seven bits a byte, the lowest first.
pub(crate) fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    let mut number = 0u64;
    for (position, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok((number, &bytes[position + 1..]));
        }
    }
    Err(if bytes.len() < 10 {
        "cut short"
    } else {
        "an endless number"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use triptych_model::{State, Value};

    #[test]
    fn every_type_of_value_is_walked_to_its_end() {
        let value = Value::list([
            Value::Null,
            Value::Bool(true),
            Value::Int(-300),
            Value::Float(0.5),
            Value::str("häus"),
            Value::Bytes([1, 2, 3].into()),
            Value::map([
                ("a", Value::list([Value::Int(i64::MIN)])),
                ("b", Value::Null),
            ]),
        ]);
        let mut bytes = postcard::to_stdvec(&value).unwrap();
        bytes.push(42);
        assert_eq!(check_depth(&bytes, Shape::Value), Ok(&[42u8][..]));
        for cut in 0..bytes.len() - 1 {
            assert!(check_depth(&bytes[..cut], Shape::Value).is_err(), "{cut}");
        }
    }

    #[test]
    fn forged_nesting_is_refused() {
        let bytes = [6u8, 1].repeat(1_000_000);
        assert!(
            check_depth(&bytes, Shape::Value)
                .unwrap_err()
                .contains("deeper")
        );
        assert!(check_depth(&[9], Shape::Value).is_err());
    }

    #[test]
    fn the_tables_of_a_state_are_two_levels_of_maps() {
        let mut state = State::default();
        let row = Value::map([("n", Value::Int(1))]);
        state
            .tables
            .entry("t".into())
            .or_default()
            .insert("k".into(), row);
        let bytes = postcard::to_stdvec(&state).unwrap();
        // What follows the tables are three empty lists.
        assert_eq!(check_depth(&bytes, Shape::Maps(2)), Ok(&[0u8, 0, 0][..]));
    }
}
