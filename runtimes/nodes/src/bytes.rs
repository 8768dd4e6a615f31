//! Bytes of messages, written and read all at once.
//!
//! serde takes a slice of bytes for a sequence of numbers like any other, which costs a call for each
//! of them (some 3 µs to read a kilobyte). A field that is marked
//! `#[serde(with = "triptych_nodes::bytes")]`, or `…::bytes::option`, is copied as a whole. It looks
//! the same on the wire and in a store.

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::ser::Serializer;
use std::fmt;
use std::sync::Arc;

/// Writes bytes.
///
/// # Errors
/// What the format says.
pub fn serialize<S: Serializer>(bytes: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Reads bytes.
///
/// # Errors
/// What the format says.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u8]>, D::Error> {
    deserializer.deserialize_bytes(Bytes)
}

struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Arc<[u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Arc<[u8]>, E> {
        Ok(bytes.into())
    }

    /// As formats for people write them.
    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Arc<[u8]>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = numbers.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}

/// The same for bytes that may be missing.
pub mod option {
    use super::{Arc, Bytes, Deserializer, Error, Serializer, Visitor, fmt};
    use serde::Serialize;

    struct Some<'a>(&'a Arc<[u8]>);

    impl Serialize for Some<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            super::serialize(self.0, serializer)
        }
    }

    /// Writes bytes, or that there are none.
    ///
    /// # Errors
    /// What the format says.
    pub fn serialize<S: Serializer>(
        bytes: &Option<Arc<[u8]>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Option::Some(bytes) => serializer.serialize_some(&Some(bytes)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads bytes, or that there are none.
    ///
    /// # Errors
    /// What the format says.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<[u8]>>, D::Error> {
        deserializer.deserialize_option(Perhaps)
    }

    struct Perhaps;

    impl<'de> Visitor<'de> for Perhaps {
        type Value = Option<Arc<[u8]>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes or nothing")
        }

        fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, bytes: D) -> Result<Self::Value, D::Error> {
            bytes.deserialize_bytes(Bytes).map(Option::Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use std::sync::Arc;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Plain {
        data: Arc<[u8]>,
        aux: Option<Arc<[u8]>>,
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Whole {
        #[serde(with = "crate::bytes")]
        data: Arc<[u8]>,
        #[serde(with = "crate::bytes::option")]
        aux: Option<Arc<[u8]>>,
    }

    #[test]
    fn bytes_look_the_same_however_they_are_written() {
        let data: Arc<[u8]> = (0..=255).chain(0..=100).collect();
        for aux in [
            None,
            Some(Arc::from([].as_slice())),
            Some(Arc::clone(&data)),
        ] {
            let plain = Plain {
                data: Arc::clone(&data),
                aux: aux.clone(),
            };
            let whole = Whole {
                data: Arc::clone(&data),
                aux,
            };
            let bytes = postcard::to_stdvec(&whole).unwrap();
            assert_eq!(bytes, postcard::to_stdvec(&plain).unwrap());
            assert_eq!(postcard::from_bytes::<Whole>(&bytes).unwrap(), whole);
            // A length that is a lie is an error.
            let cut = &bytes[..bytes.len() - 1];
            assert!(postcard::from_bytes::<Whole>(cut).is_err());
        }
    }

    #[test]
    fn a_format_for_people_may_say_them_as_numbers() {
        let whole: Whole = toml::from_str("data = [1, 2, 255]\naux = [3]").unwrap();
        assert_eq!(*whole.data, [1, 2, 255]);
        assert_eq!(whole.aux.as_deref(), Some([3].as_slice()));
        assert!(toml::from_str::<Whole>("data = [256]\naux = [3]").is_err());
    }
}
