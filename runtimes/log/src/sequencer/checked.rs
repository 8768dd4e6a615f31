//! Values on disk with a checksum before them, so that damage is noticed.

use serde::{Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::xxh3_64;

/// A value as bytes.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    let body = postcard::to_stdvec(value).expect("plain data can be written to memory");
    let mut bytes = xxh3_64(&body).to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

/// What [`encode`] was given; nothing if the bytes are damaged.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (sum, body) = bytes.split_first_chunk()?;
    if xxh3_64(body) != u64::from_be_bytes(*sum) {
        return None;
    }
    postcard::from_bytes(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let value = (7_u32, "metalog".to_owned(), vec![1_u64, 2, 3]);
        let bytes = encode(&value);
        assert_eq!(decode(&bytes), Some(value));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode::<(u32, String, Vec<u64>)>(&damaged), None);
        }
        for len in 0..bytes.len() {
            assert_eq!(decode::<(u32, String, Vec<u64>)>(&bytes[..len]), None);
        }
    }
}
