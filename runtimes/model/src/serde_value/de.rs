//! The way out: a deserializer that reads from a borrowed [`Value`], and how a [`Value`]
//! deserializes itself.

use std::collections::btree_map;
use std::fmt;
use std::slice;
use std::sync::Arc;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{BYTES_KEY, HANDOFF, Handoff, TOKEN, ValueError, is_bytes_key};
use crate::nested;
use crate::value::{Map, Name, Value};

type Result<T> = std::result::Result<T, ValueError>;

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_newtype_struct(TOKEN, ValueVisitor);
        }
        Ok(
            match nested::inside(|| Tagged::deserialize(deserializer))? {
                Tagged::Null => Value::Null,
                Tagged::Bool(flag) => Value::Bool(flag),
                Tagged::Int(number) => Value::Int(number),
                Tagged::Float(number) => ValueVisitor.visit_f64(number)?,
                Tagged::Str(text) => Value::Str(text),
                Tagged::Bytes(bytes) => Value::Bytes(bytes),
                Tagged::List(items) => Value::List(Arc::new(items)),
                Tagged::Map(map) => Value::from(map),
            },
        )
    }
}

/// The form for formats that do not describe themselves; the mirror of the serializer's.
#[derive(serde::Deserialize)]
#[serde(rename = "Value")]
enum Tagged {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(#[serde(deserialize_with = "name")] Name),
    Bytes(#[serde(deserialize_with = "bytes")] Arc<[u8]>),
    List(Vec<Value>),
    Map(#[serde(deserialize_with = "map")] Map),
}

// Serde's own `Arc<str>` goes through a `String`, which would allocate twice.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Name, D::Error> {
    NameVisitor.deserialize(deserializer)
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Arc<[u8]>, D::Error> {
    deserializer.deserialize_bytes(BytesVisitor)
}

fn map<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Map, D::Error> {
    deserializer.deserialize_map(MapVisitor)
}

struct NameVisitor;

impl<'de> DeserializeSeed<'de> for NameVisitor {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> std::result::Result<Name, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Name, E> {
        Ok(Arc::from(text))
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Arc<[u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> std::result::Result<Arc<[u8]>, E> {
        Ok(Arc::from(bytes))
    }
}

struct MapVisitor;

impl<'de> Visitor<'de> for MapVisitor {
    type Value = Map;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Map, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key_seed(NameVisitor)? {
            map.insert(name, entries.next_value()?);
        }
        Ok(map)
    }
}

/// Reads the natural form of a value, or takes the value itself from our own deserializer.
#[derive(Clone, Copy)]
pub(super) struct ValueVisitor;

// Nested values do not announce themselves with the token: once a value is read in its natural
// form, all that is inside it is in its natural form too.
impl<'de> DeserializeSeed<'de> for ValueVisitor {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> std::result::Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a boolean, an i64, a number, a string, bytes, a list or a map")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Value, D::Error> {
        match HANDOFF.take() {
            Handoff::Given(value) => Ok(value),
            _ => deserializer.deserialize_any(self),
        }
    }

    fn visit_unit<E: de::Error>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> std::result::Result<Value, D::Error> {
        d.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> std::result::Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> std::result::Result<Value, E> {
        i64::try_from(number).map(Value::Int).map_err(|_| {
            E::invalid_value(Unexpected::Unsigned(number), &"an integer that fits i64")
        })
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> std::result::Result<Value, E> {
        if number.is_nan() {
            return Err(E::invalid_value(Unexpected::Float(number), &"a number"));
        }
        Ok(Value::Float(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Value, E> {
        Ok(Value::str(text))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> std::result::Result<Value, E> {
        Ok(Value::Bytes(Arc::from(bytes)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        // The hint may come from damaged input, so it is not trusted far.
        let mut items = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(1024));
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::List(Arc::new(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key_seed(NameVisitor)? {
            map.insert(name, entries.next_value_seed(self)?);
        }
        if map.len() > 1 {
            return Ok(Value::from(map));
        }
        match map.pop_first() {
            None => Ok(Value::from(map)),
            Some((name, value)) if &*name == BYTES_KEY => match value.as_str().and_then(unhex) {
                Some(bytes) => Ok(Value::Bytes(bytes)),
                None => Err(A::Error::invalid_value(
                    unexpected(&value),
                    &"a string of hex digit pairs in `$bytes`",
                )),
            },
            Some((name, value)) if is_bytes_key(&name) => {
                Ok(Value::from(Map::from([(Arc::from(&name[1..]), value)])))
            }
            Some((name, value)) => {
                map.insert(name, value);
                Ok(Value::from(map))
            }
        }
    }
}

fn unhex(text: &str) -> Option<Arc<[u8]>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|&[high, low]| u8::try_from(digit(high)? * 16 + digit(low)?).ok())
        .collect()
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(flag) => Unexpected::Bool(*flag),
        Value::Int(number) => Unexpected::Signed(*number),
        Value::Float(number) => Unexpected::Float(*number),
        Value::Str(text) => Unexpected::Str(text),
        Value::Bytes(bytes) => Unexpected::Bytes(bytes),
        Value::List(_) => Unexpected::Seq,
        Value::Map(_) => Unexpected::Map,
    }
}

/// Reads anything that can be deserialized out of a borrowed [`Value`].
pub(super) struct ValueDeserializer<'de>(pub(super) &'de Value);

impl<'de> Deserializer<'de> for ValueDeserializer<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Int(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Str(text) => visitor.visit_borrowed_str(text),
            Value::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Value::List(items) => visit_list(items, visitor),
            Value::Map(map) => visit_map(map, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        if name != TOKEN {
            return visitor.visit_newtype_struct(self);
        }
        HANDOFF.set(Handoff::Given(self.0.clone()));
        let read = visitor.visit_newtype_struct(self);
        // A visitor that is not ours would leave it there for the next one to find.
        HANDOFF.set(Handoff::Idle);
        read
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let (variant, content) = match self.0 {
            Value::Str(variant) => (variant, None),
            Value::Map(map) => match map.first_key_value() {
                Some((variant, content)) if map.len() == 1 => (variant, Some(content)),
                _ => {
                    return Err(ValueError::mismatch(
                        format!("enum {name} as a map of one entry"),
                        format!("map of {} entries", map.len()),
                    ));
                }
            },
            other => {
                return Err(ValueError::invalid_type(
                    unexpected(other),
                    &format!("enum {name} as a string or a map of one entry").as_str(),
                ));
            }
        };
        visitor.visit_enum(Variant { variant, content })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier
    }
}

fn visit_list<'de, V: Visitor<'de>>(items: &'de [Value], visitor: V) -> Result<V::Value> {
    let mut elements = Elements {
        items: items.iter(),
        read: 0,
    };
    let value = visitor.visit_seq(&mut elements)?;
    check_all_read("a list", elements.read, items.len())?;
    Ok(value)
}

fn visit_map<'de, V: Visitor<'de>>(map: &'de Map, visitor: V) -> Result<V::Value> {
    let mut entries = Entries {
        entries: map.iter(),
        current: None,
    };
    let value = visitor.visit_map(&mut entries)?;
    check_all_read("a map", map.len() - entries.entries.len(), map.len())?;
    Ok(value)
}

/// A visitor that stops early wanted less than there is: a pair out of a list of three, say.
fn check_all_read(what: &str, read: usize, found: usize) -> Result<()> {
    if read == found {
        return Ok(());
    }
    Err(ValueError::mismatch(
        format!("{what} of length {read}"),
        format!("length {found}"),
    ))
}

struct Elements<'de> {
    items: slice::Iter<'de, Value>,
    read: usize,
}

impl<'de> SeqAccess<'de> for &mut Elements<'de> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        let index = self.read;
        self.read += 1;
        let element = seed.deserialize(ValueDeserializer(item));
        element
            .map(Some)
            .map_err(|error| error.within_element(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'de> {
    entries: btree_map::Iter<'de, Name, Value>,
    current: Option<(&'de Name, &'de Value)>,
}

impl<'de> MapAccess<'de> for &mut Entries<'de> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.current = self.entries.next();
        let Some((name, _)) = self.current else {
            return Ok(None);
        };
        seed.deserialize(KeyDeserializer(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        match self.current.take() {
            Some((name, value)) => seed
                .deserialize(ValueDeserializer(value))
                .map_err(|error| error.within(name)),
            None => Err(ValueError::mismatch(
                "a map key to be read first",
                "a map value",
            )),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// Reads a map key: text, or what the text spells when the type wants an integer or a boolean.
struct KeyDeserializer<'de>(&'de str);

macro_rules! keys_by_parsing {
    ($($method:ident => $visit:ident: $type:literal,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match self.0.parse() {
                Ok(key) => visitor.$visit(key),
                Err(_) => Err(ValueError::mismatch(
                    concat!("a map key that is ", $type),
                    format!("{:?}", self.0),
                )),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for KeyDeserializer<'de> {
    type Error = ValueError;

    keys_by_parsing! {
        deserialize_bool => visit_bool: "a boolean",
        deserialize_i8 => visit_i8: "an i8",
        deserialize_i16 => visit_i16: "an i16",
        deserialize_i32 => visit_i32: "an i32",
        deserialize_i64 => visit_i64: "an i64",
        deserialize_i128 => visit_i128: "an i128",
        deserialize_u8 => visit_u8: "a u8",
        deserialize_u16 => visit_u16: "a u16",
        deserialize_u32 => visit_u32: "a u32",
        deserialize_u64 => visit_u64: "a u64",
        deserialize_u128 => visit_u128: "a u128",
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_enum(Variant {
            variant: self.0,
            content: None,
        })
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

struct Variant<'de> {
    variant: &'de str,
    content: Option<&'de Value>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ValueError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        Ok((
            seed.deserialize(BorrowedStrDeserializer::new(self.variant))?,
            self,
        ))
    }
}

impl<'de> Variant<'de> {
    fn content(&self, expected: &str) -> Result<&'de Value> {
        self.content.ok_or_else(|| {
            ValueError::mismatch(
                format!("variant `{}` with {expected}", self.variant),
                "the variant's name alone",
            )
        })
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = ValueError;

    fn unit_variant(self) -> Result<()> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(other) => {
                Err(ValueError::invalid_type(unexpected(other), &"unit variant")
                    .within(self.variant))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        let content = self.content("a value")?;
        seed.deserialize(ValueDeserializer(content))
            .map_err(|error| error.within(self.variant))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        match self.content("a list")? {
            Value::List(items) => visit_list(items, visitor),
            other => Err(ValueError::invalid_type(unexpected(other), &visitor)),
        }
        .map_err(|error| error.within(self.variant))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.content("a map")? {
            Value::Map(map) => visit_map(map, visitor),
            Value::List(items) => visit_list(items, visitor),
            other => Err(ValueError::invalid_type(unexpected(other), &visitor)),
        }
        .map_err(|error| error.within(self.variant))
    }
}
