//! The way in: a serializer that builds a [`Value`], and how a [`Value`] serializes itself.

use std::fmt::Write;
use std::sync::Arc;

use serde::de::Deserializer as _;
use serde::ser::{self, Impossible, Serialize, SerializeMap, Serializer};

use super::de::{ValueDeserializer, ValueVisitor};
use super::{BYTES_KEY, HANDOFF, Handoff, TOKEN, ValueError, is_bytes_key};
use crate::value::{Map, Name, Value};

type Result<T> = std::result::Result<T, ValueError>;

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_newtype_struct(TOKEN, &Root(self))
        } else {
            Tagged::from(self).serialize(serializer)
        }
    }
}

/// What the token wraps: the value itself when our own serializer asks for it, its natural form
/// for any other.
struct Root<'a>(&'a Value);

impl Serialize for Root<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if let Handoff::Wanted = HANDOFF.take() {
            HANDOFF.set(Handoff::Given(self.0.clone()));
            return serializer.serialize_unit();
        }
        Natural(self.0).serialize(serializer)
    }
}

/// A value as one would write it in JSON by hand.
struct Natural<'a>(&'a Value);

impl Serialize for Natural<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Int(number) => serializer.serialize_i64(*number),
            // JSON would silently turn these into null.
            Value::Float(number) if !number.is_finite() => Err(ser::Error::custom(format_args!(
                "expected a finite number, found floating point `{number}`"
            ))),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Str(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => {
                let mut hex = String::with_capacity(2 * bytes.len());
                for byte in bytes.iter() {
                    write!(hex, "{byte:02x}").map_err(ser::Error::custom)?;
                }
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(BYTES_KEY, &hex)?;
                map.end()
            }
            Value::List(items) => serializer.collect_seq(items.iter().map(Natural)),
            Value::Map(map) => match map.first_key_value() {
                // A document that looks like the form of bytes gets one more `$`, which reading
                // takes away again.
                Some((name, value)) if map.len() == 1 && is_bytes_key(name) => {
                    let mut map = serializer.serialize_map(Some(1))?;
                    map.serialize_entry(&format_args!("${name}"), &Natural(value))?;
                    map.end()
                }
                _ => serializer
                    .collect_map(map.iter().map(|(name, value)| (&**name, Natural(value)))),
            },
        }
    }
}

/// The form for formats that do not describe themselves. The order of the variants is the format.
#[derive(serde::Serialize)]
#[serde(rename = "Value")]
enum Tagged<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(&'a str),
    Bytes(RawBytes<'a>),
    List(&'a [Value]),
    Map(&'a Map),
}

impl<'a> From<&'a Value> for Tagged<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Tagged::Null,
            Value::Bool(flag) => Tagged::Bool(*flag),
            Value::Int(number) => Tagged::Int(*number),
            Value::Float(number) => Tagged::Float(*number),
            Value::Str(text) => Tagged::Str(text),
            Value::Bytes(bytes) => Tagged::Bytes(RawBytes(bytes)),
            Value::List(items) => Tagged::List(items),
            Value::Map(map) => Tagged::Map(map),
        }
    }
}

struct RawBytes<'a>(&'a [u8]);

impl Serialize for RawBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Builds a [`Value`] out of anything that can be serialized.
pub(super) struct ValueSerializer;

impl Serializer for ValueSerializer {
    type Ok = Value;
    type Error = ValueError;
    type SerializeSeq = ListBuilder;
    type SerializeTuple = ListBuilder;
    type SerializeTupleStruct = ListBuilder;
    type SerializeTupleVariant = ListBuilder;
    type SerializeMap = MapBuilder;
    type SerializeStruct = MapBuilder;
    type SerializeStructVariant = MapBuilder;

    fn serialize_bool(self, v: bool) -> Result<Value> {
        Ok(Value::Bool(v))
    }

    fn serialize_i8(self, v: i8) -> Result<Value> {
        Ok(Value::Int(v.into()))
    }

    fn serialize_i16(self, v: i16) -> Result<Value> {
        Ok(Value::Int(v.into()))
    }

    fn serialize_i32(self, v: i32) -> Result<Value> {
        Ok(Value::Int(v.into()))
    }

    fn serialize_i64(self, v: i64) -> Result<Value> {
        Ok(Value::Int(v))
    }

    fn serialize_i128(self, v: i128) -> Result<Value> {
        v.try_into().map(Value::Int).map_err(|_| not_an_i64(v))
    }

    fn serialize_u8(self, v: u8) -> Result<Value> {
        Ok(Value::Int(v.into()))
    }

    fn serialize_u16(self, v: u16) -> Result<Value> {
        Ok(Value::Int(v.into()))
    }

    fn serialize_u32(self, v: u32) -> Result<Value> {
        Ok(Value::Int(v.into()))
    }

    fn serialize_u64(self, v: u64) -> Result<Value> {
        v.try_into().map(Value::Int).map_err(|_| not_an_i64(v))
    }

    fn serialize_u128(self, v: u128) -> Result<Value> {
        v.try_into().map(Value::Int).map_err(|_| not_an_i64(v))
    }

    fn serialize_f32(self, v: f32) -> Result<Value> {
        self.serialize_f64(v.into())
    }

    fn serialize_f64(self, v: f64) -> Result<Value> {
        if v.is_nan() {
            return Err(ValueError::mismatch("a number", "NaN"));
        }
        Ok(Value::Float(v))
    }

    fn serialize_char(self, v: char) -> Result<Value> {
        Ok(Value::str(v.encode_utf8(&mut [0; 4])))
    }

    fn serialize_str(self, v: &str) -> Result<Value> {
        Ok(Value::str(v))
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<Value> {
        Ok(Value::Bytes(Arc::from(v)))
    }

    fn serialize_none(self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, v: &'static str) -> Result<Value> {
        Ok(Value::str(v))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value> {
        if name != TOKEN {
            return value.serialize(self);
        }
        HANDOFF.set(Handoff::Wanted);
        let written = value.serialize(self);
        match HANDOFF.take() {
            Handoff::Given(value) => Ok(value),
            // Serde buffers some enums before it calls us; what then arrives is the natural form.
            _ => ValueDeserializer(&written?).deserialize_any(ValueVisitor),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value> {
        let value = value
            .serialize(self)
            .map_err(|error| error.within(variant))?;
        Ok(externally_tagged(Some(variant), value))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListBuilder> {
        Ok(ListBuilder::new(None, len.unwrap_or(0)))
    }

    fn serialize_tuple(self, len: usize) -> Result<ListBuilder> {
        Ok(ListBuilder::new(None, len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<ListBuilder> {
        Ok(ListBuilder::new(None, len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<ListBuilder> {
        Ok(ListBuilder::new(Some(variant), len))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<MapBuilder> {
        Ok(MapBuilder::new(None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<MapBuilder> {
        Ok(MapBuilder::new(None))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<MapBuilder> {
        Ok(MapBuilder::new(Some(variant)))
    }
}

fn not_an_i64(number: impl std::fmt::Display) -> ValueError {
    ValueError::mismatch("an integer that fits i64", format!("integer `{number}`"))
}

fn externally_tagged(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(variant) => Value::from(Map::from([(crate::name(variant), value)])),
        None => value,
    }
}

/// Collects the elements of a sequence or tuple.
pub(super) struct ListBuilder {
    variant: Option<&'static str>,
    items: Vec<Value>,
}

impl ListBuilder {
    fn new(variant: Option<&'static str>, len: usize) -> Self {
        ListBuilder {
            variant,
            items: Vec::with_capacity(len),
        }
    }

    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let value = value.serialize(ValueSerializer).map_err(|error| {
            error
                .within_element(self.items.len())
                .within_variant(self.variant)
        })?;
        self.items.push(value);
        Ok(())
    }

    fn finish(self) -> Value {
        externally_tagged(self.variant, Value::List(Arc::new(self.items)))
    }
}

impl ser::SerializeSeq for ListBuilder {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.push(value)
    }

    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

impl ser::SerializeTuple for ListBuilder {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.push(value)
    }

    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleStruct for ListBuilder {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.push(value)
    }

    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleVariant for ListBuilder {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.push(value)
    }

    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

/// Collects the entries of a map or the fields of a struct.
pub(super) struct MapBuilder {
    variant: Option<&'static str>,
    map: Map,
    key: Option<Name>,
}

impl MapBuilder {
    fn new(variant: Option<&'static str>) -> Self {
        MapBuilder {
            variant,
            map: Map::new(),
            key: None,
        }
    }

    fn insert<T: Serialize + ?Sized>(&mut self, name: Name, value: &T) -> Result<()> {
        let value = value
            .serialize(ValueSerializer)
            .map_err(|error| error.within(&name).within_variant(self.variant))?;
        self.map.insert(name, value);
        Ok(())
    }

    fn finish(self) -> Value {
        externally_tagged(self.variant, Value::from(self.map))
    }
}

impl SerializeMap for MapBuilder {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.key = Some(key.serialize(KeySerializer)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        match self.key.take() {
            Some(key) => self.insert(key, value),
            None => Err(ValueError::mismatch("a map key", "a map value")),
        }
    }

    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

impl ser::SerializeStruct for MapBuilder {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, k: &'static str, v: &T) -> Result<()> {
        self.insert(crate::name(k), v)
    }

    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

impl ser::SerializeStructVariant for MapBuilder {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, k: &'static str, v: &T) -> Result<()> {
        self.insert(crate::name(k), v)
    }

    fn end(self) -> Result<Value> {
        Ok(self.finish())
    }
}

/// Builds the name that a map key becomes.
struct KeySerializer;

fn not_a_key<T>(found: &str) -> Result<T> {
    Err(ValueError::mismatch(
        "a map key (string, integer, boolean or unit variant)",
        found,
    ))
}

macro_rules! keys_by_display {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method(self, v: $type) -> Result<Name> {
            Ok(Arc::from(v.to_string()))
        }
    )*};
}

impl Serializer for KeySerializer {
    type Ok = Name;
    type Error = ValueError;
    type SerializeSeq = Impossible<Name, ValueError>;
    type SerializeTuple = Impossible<Name, ValueError>;
    type SerializeTupleStruct = Impossible<Name, ValueError>;
    type SerializeTupleVariant = Impossible<Name, ValueError>;
    type SerializeMap = Impossible<Name, ValueError>;
    type SerializeStruct = Impossible<Name, ValueError>;
    type SerializeStructVariant = Impossible<Name, ValueError>;

    keys_by_display! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_char: char,
    }

    fn serialize_f32(self, _: f32) -> Result<Name> {
        not_a_key("a floating point number")
    }

    fn serialize_f64(self, _: f64) -> Result<Name> {
        not_a_key("a floating point number")
    }

    fn serialize_str(self, v: &str) -> Result<Name> {
        Ok(Arc::from(v))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Name> {
        not_a_key("bytes")
    }

    fn serialize_none(self) -> Result<Name> {
        not_a_key("null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Name> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Name> {
        not_a_key("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Name> {
        not_a_key("null")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, v: &'static str) -> Result<Name> {
        Ok(Arc::from(v))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Name> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Name> {
        not_a_key("an enum variant with data")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq> {
        not_a_key("a list")
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple> {
        not_a_key("a tuple")
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct> {
        not_a_key("a tuple")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant> {
        not_a_key("an enum variant with data")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap> {
        not_a_key("a map")
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct> {
        not_a_key("a struct")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant> {
        not_a_key("an enum variant with data")
    }
}
