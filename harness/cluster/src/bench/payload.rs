//! What benchmark records say: who they are, and bytes that follow from it, so that a damaged one or
//! a stranger is noticed.

use triptych_world::mix;

/// The least bytes of a record: run and number.
pub const LEAST: usize = 16;

/// The record with a number in a run.
pub fn make(run: u64, number: u64, bytes: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(bytes.max(LEAST) + 8);
    data.extend_from_slice(&run.to_le_bytes());
    data.extend_from_slice(&number.to_le_bytes());
    let mut word = mix(run, number) | 1;
    while data.len() < bytes {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        data.extend_from_slice(&word.to_le_bytes());
    }
    data.truncate(bytes.max(LEAST));
    data
}

/// The number of a record, if it is one of this run, whole and of this size.
pub fn number(run: u64, data: &[u8], bytes: usize) -> Option<u64> {
    let number = u64::from_le_bytes(data.get(8..LEAST)?.try_into().ok()?);
    (data == make(run, number, bytes)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_known_again_and_strangers_are_not() {
        for bytes in [0, 16, 17, 100, 4096] {
            let data = make(7, 42, bytes);
            assert_eq!(data.len(), bytes.max(LEAST));
            assert_eq!(number(7, &data, bytes), Some(42));
            assert_eq!(number(8, &data, bytes), None);
            assert_eq!(number(7, &data[1..], bytes), None);
            let mut damaged = data.clone();
            *damaged.last_mut().unwrap() ^= 1;
            if bytes > LEAST {
                assert_eq!(number(7, &damaged, bytes), None);
                assert_eq!(number(7, &data[..bytes - 1], bytes), None);
            }
        }
    }
}
