//! Serde for [`Value`]: how the typed inputs, outputs and rows of an application become values and
//! come back.
//!
//! A newcomer can start with [`to_value`] and [`from_value`], which convert any serde type in
//! memory and follow the conventions of `serde_json` (structs are maps, `None` is null, enums are
//! externally tagged). [`Value`] itself also implements serde's two traits. In a format that
//! describes itself, such as JSON, a value takes its natural form, and bytes are written as
//! `{"$bytes": "<hex>"}`; a document with the one member `$bytes` is written with `$$bytes`, so
//! that reading tells the two apart. In any other format, such as postcard, a value is an enum
//! with one variant per type. `ser` is the way in, `de` the way out.

mod de;
mod ser;

use std::cell::Cell;
use std::fmt::Display;

use serde::de::{DeserializeOwned, Expected, Unexpected};
use serde::ser::Serialize;

use crate::value::Value;

/// Why a type does not fit a [`Value`] or the other way round.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Something else was there than what was needed.
    #[error("expected {expected}, found {found}")]
    Mismatch {
        /// What was needed.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A problem inside a document or list.
    #[error("at `{path}`: {problem}")]
    At {
        /// Where it is, such as `reviews[2].rating`.
        path: String,
        /// What it is.
        problem: Box<ValueError>,
    },
    /// The type's own implementation of serde refused.
    #[error("{0}")]
    Custom(String),
}

impl ValueError {
    fn mismatch(expected: impl Into<String>, found: impl Into<String>) -> Self {
        ValueError::Mismatch {
            expected: expected.into(),
            found: found.into(),
        }
    }

    fn within(self, segment: &str) -> Self {
        match self {
            ValueError::At { path, problem } => {
                let dot = if path.starts_with('[') { "" } else { "." };
                ValueError::At {
                    path: format!("{segment}{dot}{path}"),
                    problem,
                }
            }
            problem => ValueError::At {
                path: segment.to_owned(),
                problem: Box::new(problem),
            },
        }
    }

    fn within_element(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    fn within_variant(self, variant: Option<&str>) -> Self {
        match variant {
            Some(variant) => self.within(variant),
            None => self,
        }
    }
}

impl serde::ser::Error for ValueError {
    fn custom<T: Display>(message: T) -> Self {
        ValueError::Custom(message.to_string())
    }
}

impl serde::de::Error for ValueError {
    fn custom<T: Display>(message: T) -> Self {
        ValueError::Custom(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Unit => "null".to_owned(),
            Unexpected::Seq => "list".to_owned(),
            other => other.to_string(),
        };
        ValueError::mismatch(expected.to_string(), found)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(found: usize, expected: &dyn Expected) -> Self {
        ValueError::mismatch(expected.to_string(), format!("length {found}"))
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        ValueError::mismatch(one_of("variant", expected), format!("variant `{found}`"))
    }

    fn unknown_field(found: &str, expected: &'static [&'static str]) -> Self {
        ValueError::mismatch(one_of("field", expected), format!("field `{found}`"))
    }

    fn missing_field(field: &'static str) -> Self {
        ValueError::mismatch(format!("field `{field}`"), "no such field")
    }
}

fn one_of(what: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return format!("no {what}");
    }
    format!("{what} `{}`", names.join("` or `"))
}

/// Converts `value` to a [`Value`].
///
/// # Errors
/// When `value` holds a NaN, an integer that does not fit `i64` or a map key that is neither a
/// string nor an integer, a boolean or a unit variant, or when its own `Serialize` fails.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ValueError> {
    value.serialize(ser::ValueSerializer)
}

/// Reads a `T` out of `value`.
///
/// # Errors
/// When `value` does not have the shape of a `T`.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, ValueError> {
    T::deserialize(de::ValueDeserializer(value))
}

/// The newtype name by which a [`Value`] makes itself known to our own serializer and
/// deserializer; other formats ignore it.
const TOKEN: &str = "$triptych::Value";

/// The member that stands for bytes in self-describing formats.
const BYTES_KEY: &str = "$bytes";

/// Whether a document whose one member has this name could be taken for bytes, escaped or not.
fn is_bytes_key(name: &str) -> bool {
    name.starts_with('$') && name.trim_start_matches('$') == &BYTES_KEY[1..]
}

/// What is on its way past serde, which has no means to pass a [`Value`] through whole.
#[derive(Default)]
enum Handoff {
    #[default]
    Idle,
    Wanted,
    Given(Value),
}

thread_local! {
    // Lets a value inside a struct be shared instead of copied member by member. It is filled and
    // emptied within one call of a serializer or deserializer, so nothing else can observe it.
    static HANDOFF: Cell<Handoff> = const { Cell::new(Handoff::Idle) };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;
    use std::sync::Arc;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::value::Map;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Movie {
        title: String,
        year: u16,
        rating: f64,
        tagline: Option<String>,
        cast: Vec<Role>,
        extra: Value,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Role {
        actor: Actor,
        kind: Kind,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Actor(String);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Pair(i8, char);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;

    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    enum Kind {
        Lead,
        Voice(i64),
        Duet(i64, String),
        Cameo { seconds: u32, credit: Option<bool> },
        Maybe(Option<i64>),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Internal {
        Plain,
        Holds { value: Value },
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(i64),
        Any(Value),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        id: u8,
        #[serde(flatten)]
        rest: Value,
    }

    fn bytes(bytes: &[u8]) -> Value {
        Value::Bytes(Arc::from(bytes))
    }

    fn movie() -> Movie {
        let lead = Role {
            actor: Actor("Ada".into()),
            kind: Kind::Lead,
        };
        let cameo = Kind::Cameo {
            seconds: 3,
            credit: None,
        };
        Movie {
            title: "Häuser".into(),
            year: 1999,
            rating: 4.0,
            tagline: None,
            cast: vec![
                lead,
                Role {
                    actor: Actor("Bob".into()),
                    kind: cameo,
                },
            ],
            extra: Value::map([("poster", bytes(&[0, 255]))]),
        }
    }

    /// Values of every type, and those that could be taken for another.
    fn values() -> Vec<Value> {
        let escapes = ["$bytes", "$$bytes", "$$$bytes", "bytes", "$byte"];
        let mut values = vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(0),
            Value::Int(i64::MIN),
            Value::Int(i64::MAX),
            Value::Float(3.0),
            Value::Float(-0.0),
            Value::Float(0.1 + 0.2),
            Value::Float(f64::MAX),
            Value::Float(f64::MIN_POSITIVE / 8.0),
            // serde_json reads this one wrongly without its feature `float_roundtrip`.
            Value::Float(481.837_925_201_105_24),
            Value::str(""),
            Value::str("häus\n\"\0"),
            bytes(&[]),
            bytes(&[0, 1, 0xab, 0xff]),
            Value::list([]),
            Value::map::<&str>([]),
            Value::map([("$bytes", Value::str("00")), ("other", Value::Null)]),
            Value::map([("$bytes", bytes(&[7]))]),
        ];
        values.extend(escapes.map(|name| Value::map([(name, Value::str("00ff"))])));
        let all = Value::list(values.clone());
        values.push(Value::map([
            ("nested", all.clone()),
            ("again", Value::list([all])),
        ]));
        values
    }

    /// `Value`'s own equality holds `Int(3)` and `Float(3.0)` for the same.
    fn assert_same(a: &Value, b: &Value) {
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    }

    #[track_caller]
    fn both_ways<T>(typed: T, json: &str)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let value = to_value(&typed).unwrap();
        assert_eq!(from_value::<T>(&value).unwrap(), typed);
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
        // The conventions are those of serde_json, which orders members as the struct does.
        let theirs = serde_json::to_value(&typed).unwrap();
        assert_eq!(serde_json::to_value(&value).unwrap(), theirs);
        assert_same(&serde_json::from_str(json).unwrap(), &value);
        assert_same(
            &postcard::from_bytes(&postcard::to_stdvec(&value).unwrap()).unwrap(),
            &value,
        );
    }

    #[test]
    fn types_go_there_and_back() {
        both_ways((), "null");
        both_ways(Unit, "null");
        both_ways(true, "true");
        both_ways('ß', r#""ß""#);
        both_ways(-7_i128, "-7");
        both_ways(i64::MAX as u64, "9223372036854775807");
        both_ways(1.5_f32, "1.5");
        both_ways(2.0_f64, "2.0");
        both_ways(Actor("x".into()), r#""x""#);
        both_ways(Pair(-1, 'a'), r#"[-1,"a"]"#);
        both_ways(
            (1_u8, "b".to_owned(), [false; 2]),
            r#"[1,"b",[false,false]]"#,
        );
        both_ways(vec![Some(1), None], "[1,null]");
        both_ways(Kind::Lead, r#""Lead""#);
        both_ways(Kind::Voice(1), r#"{"Voice":1}"#);
        both_ways(Kind::Duet(1, "d".into()), r#"{"Duet":[1,"d"]}"#);
        let cameo = Kind::Cameo {
            seconds: 9,
            credit: Some(true),
        };
        both_ways(cameo, r#"{"Cameo":{"credit":true,"seconds":9}}"#);
        both_ways(Kind::Maybe(None), r#"{"Maybe":null}"#);
        both_ways(Ok::<i32, String>(1), r#"{"Ok":1}"#);
        both_ways(
            BTreeMap::from([(-1, 'a'), (10, 'b'), (2, 'c')]),
            r#"{"-1":"a","10":"b","2":"c"}"#,
        );
        both_ways(
            BTreeMap::from([(u64::MAX, ())]),
            r#"{"18446744073709551615":null}"#,
        );
        both_ways(
            BTreeMap::from([(true, 1), (false, 0)]),
            r#"{"false":0,"true":1}"#,
        );
        both_ways(BTreeMap::from([(Kind::Lead, 1)]), r#"{"Lead":1}"#);
        both_ways(Internal::Plain, r#"{"type":"Plain"}"#);
        both_ways(
            movie(),
            concat!(
                r#"{"cast":[{"actor":"Ada","kind":"Lead"},"#,
                r#"{"actor":"Bob","kind":{"Cameo":{"credit":null,"seconds":3}}}],"#,
                r#""extra":{"poster":{"$bytes":"00ff"}},"#,
                r#""rating":4.0,"tagline":null,"title":"Häuser","year":1999}"#,
            ),
        );
    }

    #[test]
    fn values_stay_what_they_are() {
        for value in values() {
            assert_same(&to_value(&value).unwrap(), &value);
            assert_same(&from_value(&value).unwrap(), &value);
            let json = serde_json::to_string(&value).unwrap();
            assert_same(&serde_json::from_str(&json).unwrap(), &value);
            let binary = postcard::to_stdvec(&value).unwrap();
            assert_same(&postcard::from_bytes(&binary).unwrap(), &value);
            // Inside other types, and through a tree that is not ours.
            let pair = to_value(&(value.clone(), Some(&value))).unwrap();
            assert_same(&pair, &Value::list([value.clone(), value.clone()]));
            let tree = serde_json::to_value(&value).unwrap();
            assert_same(&serde_json::from_value(tree).unwrap(), &value);
        }
    }

    #[test]
    fn a_value_inside_a_struct_is_shared() {
        let movie = movie();
        let value = to_value(&movie).unwrap();
        let back: Movie = from_value(&value).unwrap();
        let (Value::Map(a), Value::Map(b)) = (&movie.extra, &back.extra) else {
            panic!()
        };
        assert!(Arc::ptr_eq(a, b));
    }

    #[test]
    fn values_survive_the_buffers_of_serde() {
        let value = Value::map([("b", bytes(&[1])), ("n", Value::Float(1.0))]);
        let internal = Internal::Holds {
            value: value.clone(),
        };
        let flat = Flat {
            id: 1,
            rest: value.clone(),
        };
        let any = Untagged::Any(value.clone());
        let number = Untagged::Number(1);
        assert_eq!(
            from_value::<Internal>(&to_value(&internal).unwrap()).unwrap(),
            internal
        );
        assert_eq!(from_value::<Flat>(&to_value(&flat).unwrap()).unwrap(), flat);
        assert_eq!(
            from_value::<Untagged>(&to_value(&any).unwrap()).unwrap(),
            any
        );
        assert_eq!(
            from_value::<Untagged>(&to_value(&number).unwrap()).unwrap(),
            number
        );

        // Internally tagged twice over: serde collects the inner variant before it writes it.
        #[derive(Serialize)]
        #[serde(tag = "outer")]
        enum Outer {
            Of(Inner),
        }
        #[derive(Serialize)]
        enum Inner {
            Holds { value: Value },
        }
        let outer = Outer::Of(Inner::Holds {
            value: value.clone(),
        });
        let held = to_value(&outer).unwrap();
        assert_same(held.get("Holds").unwrap().get("value").unwrap(), &value);
    }

    #[test]
    fn bytes_of_other_types_are_bytes() {
        struct Blob;
        impl Serialize for Blob {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_bytes(&[1, 2])
            }
        }
        assert_same(&to_value(&Blob).unwrap(), &bytes(&[1, 2]));
    }

    #[test]
    fn numbers_are_lenient_only_where_nothing_is_lost() {
        assert_eq!(from_value::<f64>(&Value::Int(3)).unwrap(), 3.0);
        assert_eq!(
            from_value::<Option<f32>>(&Value::Int(3)).unwrap(),
            Some(3.0)
        );
        assert!(from_value::<i64>(&Value::Float(3.0)).is_err());
    }

    #[test]
    fn absent_and_unknown_fields_are_serdes_business() {
        let value = Value::map([
            ("seconds", Value::Int(1)),
            ("unknown", Value::list([Value::Null, Value::Null])),
        ]);
        let cameo: Kind = from_value(&Value::map([("Cameo", value)])).unwrap();
        assert_eq!(
            cameo,
            Kind::Cameo {
                seconds: 1,
                credit: None
            }
        );
    }

    #[track_caller]
    fn refuses<T: DeserializeOwned + Debug>(value: impl Into<Value>, message: &str) {
        assert_eq!(
            from_value::<T>(&value.into()).unwrap_err().to_string(),
            message
        );
    }

    #[test]
    fn reading_errors_say_what_was_expected_and_found() {
        refuses::<i64>("x", r#"expected i64, found string "x""#);
        refuses::<u8>(300, "expected u8, found integer `300`");
        refuses::<u8>(-1, "expected u8, found integer `-1`");
        refuses::<String>(Value::Null, "expected a string, found null");
        refuses::<bool>(Value::list([]), "expected a boolean, found list");
        refuses::<char>("ab", r#"expected a character, found string "ab""#);
        refuses::<Role>(Map::new(), "expected field `actor`, found no such field");
        refuses::<(u8, u8)>(
            Value::list([1.into()]),
            "expected a tuple of size 2, found length 1",
        );
        let three = Value::list([1.into(), 2.into(), 3.into()]);
        refuses::<(u8, u8)>(three, "expected a list of length 2, found length 3");
        refuses::<Kind>(
            "Extra",
            "expected variant `Lead` or `Voice` or `Duet` or `Cameo` or `Maybe`, \
             found variant `Extra`",
        );
        refuses::<Kind>(
            5,
            "expected enum Kind as a string or a map of one entry, found integer `5`",
        );
        refuses::<Kind>(
            Map::new(),
            "expected enum Kind as a map of one entry, found map of 0 entries",
        );
        refuses::<Kind>(
            "Voice",
            "expected variant `Voice` with a value, found the variant's name alone",
        );
        let duet = Value::map([("Duet", Value::list([1.into(), 2.into()]))]);
        refuses::<Vec<Kind>>(
            Value::list([duet]),
            "at `[0].Duet[1]`: expected a string, found integer `2`",
        );
        let lead = Value::map([("Lead", Value::Int(1))]);
        refuses::<Kind>(lead, "at `Lead`: expected unit variant, found integer `1`");
        let mut broken = to_value(&movie()).unwrap().as_map().unwrap().clone();
        broken.insert(
            "cast".into(),
            Value::list([Value::map([("actor", Value::Int(1))])]),
        );
        refuses::<Movie>(
            broken,
            "at `cast[0].actor`: expected a string, found integer `1`",
        );
        refuses::<BTreeMap<u8, ()>>(
            Value::map([("256", Value::Null)]),
            r#"expected a map key that is a u8, found "256""#,
        );
    }

    #[track_caller]
    fn unwritable<T: Serialize>(typed: T, message: &str) {
        assert_eq!(to_value(&typed).unwrap_err().to_string(), message);
    }

    #[test]
    fn writing_errors_say_what_was_expected_and_found() {
        unwritable(f64::NAN, "expected a number, found NaN");
        unwritable(
            [("a", u64::MAX)],
            "at `[0][1]`: expected an integer that fits i64, found integer `18446744073709551615`",
        );
        unwritable(
            BTreeMap::from([("a", f32::NAN)]),
            "at `a`: expected a number, found NaN",
        );
        unwritable(
            BTreeMap::from([((1, 2), 3)]),
            "expected a map key (string, integer, boolean or unit variant), found a tuple",
        );
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let error = |json| serde_json::from_str::<Value>(json).unwrap_err().to_string();
        assert!(error(r#"{"$bytes":"0g"}"#).contains("hex digit pairs"));
        assert!(error(r#"{"$bytes":"000"}"#).contains("hex digit pairs"));
        assert!(error(r#"{"$bytes":5}"#).contains("hex digit pairs"));
        assert!(error("9223372036854775808").contains("fits i64"));
        assert!(serde_json::to_string(&Value::Float(f64::INFINITY)).is_err());
    }
}
