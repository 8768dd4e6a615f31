//! How a storage writes down what it keeps: keys, and values with checksums.
//!
//! The layout is drawn in [`crate::storage`]. Every value begins with a checksum that covers the key
//! too, so a value that a broken disk gives back under another key is noticed as well.

use crate::{Condition, Entry, Record, SeqNum, Shard, Term};
use triptych_nodes::{Key, NodeId};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The prefix of records' keys.
pub(super) const RECORDS: &[u8] = b"r";
/// The prefix of entries' keys.
pub(super) const ENTRIES: &[u8] = b"e";
/// The prefix of the keys that say what was freed.
pub(super) const FREED: &[u8] = b"f";

const SUM: usize = 8;
const CONDITION: u32 = 1 << 31;

fn key(prefix: &[u8], parts: &[&[u8]]) -> Key {
    let mut key = Vec::with_capacity(11);
    key.extend_from_slice(prefix);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

fn of_shard(prefix: &[u8], shard: Shard, number: u32) -> Key {
    let Term { view, log } = shard.term;
    let (view, log) = (view.to_be_bytes(), log.to_be_bytes());
    let (engine, number) = (shard.engine.0.to_be_bytes(), number.to_be_bytes());
    key(prefix, &[&view, &log, &engine, &number])
}

/// Where a record is.
pub(super) fn record_key(shard: Shard, local: u32) -> Key {
    of_shard(RECORDS, shard, local)
}

/// Where it is written which records of a chunk are freed.
pub(super) fn freed_key(shard: Shard, chunk: u32) -> Key {
    of_shard(FREED, shard, chunk)
}

/// Where an entry is.
pub(super) fn entry_key(term: Term, number: u32) -> Key {
    let Term { view, log } = term;
    let (view, log, number) = (view.to_be_bytes(), log.to_be_bytes(), number.to_be_bytes());
    key(ENTRIES, &[&view, &log, &number])
}

fn half(key: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(key.get(at..at + 2)?.try_into().ok()?))
}

/// The shard and number of a key of [`record_key`] or [`freed_key`].
pub(super) fn parse_shard_key(key: &[u8]) -> Option<(Shard, u32)> {
    let term = Term {
        view: half(key, 1)?,
        log: half(key, 3)?,
    };
    let engine = NodeId(half(key, 5)?);
    let number = u32::from_be_bytes(key.get(7..)?.try_into().ok()?);
    Some((Shard { term, engine }, number))
}

/// The term and number of a key of [`entry_key`].
pub(super) fn parse_entry_key(key: &[u8]) -> Option<(Term, u32)> {
    let term = Term {
        view: half(key, 1)?,
        log: half(key, 3)?,
    };
    let number = u32::from_be_bytes(key.get(5..)?.try_into().ok()?);
    Some((term, number))
}

/// A key for people.
pub(super) fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sum(key: &[u8], body: &[u8]) -> [u8; SUM] {
    xxh3_64_with_seed(body, xxh3_64(key)).to_le_bytes()
}

fn sealed(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let sum = sum(key, &value[SUM..]);
    value[..SUM].copy_from_slice(&sum);
    value
}

/// What stands behind the checksum, if that is right.
fn opened<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (head, body) = value.split_at_checked(SUM)?;
    (head == sum(key, body)).then_some(body)
}

/// A record as it is stored under a key.
pub(super) fn encode_record(key: &[u8], record: &Record) -> Vec<u8> {
    let size = SUM + 12 + 8 * record.tags.len() + 16 + record.data.len();
    let mut value = Vec::with_capacity(size);
    value.extend_from_slice(&[0; SUM]);
    value.extend_from_slice(&record.book.to_le_bytes());
    let flag = record.condition.map_or(0, |_| CONDITION);
    let tags = record.tags.len() as u32 | flag;
    value.extend_from_slice(&tags.to_le_bytes());
    for tag in &record.tags {
        value.extend_from_slice(&tag.to_le_bytes());
    }
    if let Some(Condition { tag, tail }) = record.condition {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&tail.0.to_le_bytes());
    }
    value.extend_from_slice(&record.data);
    sealed(key, value)
}

fn long(from: &mut &[u8]) -> Option<u64> {
    let (head, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u64::from_le_bytes(*head))
}

/// The record that is stored under a key; none if it is damaged.
pub(super) fn decode_record(key: &[u8], value: &[u8]) -> Option<Record> {
    decode_body(opened(key, value)?)
}

/// The same without a look at the checksum: what a storage does that must not.
pub(super) fn decode_blindly(value: &[u8]) -> Option<Record> {
    decode_body(value.get(SUM..)?)
}

fn decode_body(mut body: &[u8]) -> Option<Record> {
    let book = long(&mut body)?;
    let (count, rest) = body.split_first_chunk()?;
    let count = u32::from_le_bytes(*count);
    body = rest;
    let tags = (0..count & !CONDITION)
        .map(|_| long(&mut body))
        .collect::<Option<_>>()?;
    let condition = match count & CONDITION {
        0 => None,
        _ => Some(Condition {
            tag: long(&mut body)?,
            tail: SeqNum(long(&mut body)?),
        }),
    };
    Some(Record {
        book,
        tags,
        data: body.into(),
        condition,
    })
}

/// An entry as it is stored under a key.
pub(super) fn encode_entry(key: &[u8], entry: &Entry) -> Vec<u8> {
    let value = postcard::to_extend(entry, vec![0; SUM]);
    sealed(
        key,
        value.expect("an entry is plain data, and a vector takes all of it"),
    )
}

/// The entry that is stored under a key; none if it is damaged.
pub(super) fn decode_entry(key: &[u8], value: &[u8]) -> Option<Entry> {
    postcard::from_bytes(opened(key, value)?).ok()
}

/// Which records of a chunk are freed, by bit.
pub(super) fn encode_freed(key: &[u8], bits: &[u8]) -> Vec<u8> {
    let mut value = vec![0; SUM];
    value.extend_from_slice(bits);
    sealed(key, value)
}

/// The bits of [`encode_freed`]; none if they are damaged.
pub(super) fn decode_freed<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    opened(key, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Step;
    use proptest::prelude::*;

    const SHARD: Shard = Shard {
        term: Term { view: 258, log: 3 },
        engine: NodeId(1000),
    };

    fn records() -> impl Strategy<Value = Record> {
        let condition = (any::<u64>(), any::<u64>()).prop_map(|(tag, tail)| Condition {
            tag,
            tail: SeqNum(tail),
        });
        let tags = proptest::collection::vec(any::<u64>(), 0..4);
        let data = proptest::collection::vec(any::<u8>(), 0..40);
        let parts = (any::<u64>(), tags, data, proptest::option::of(condition));
        parts.prop_map(|(book, tags, data, condition)| Record {
            book,
            tags,
            data: data.into(),
            condition,
        })
    }

    proptest! {
        #[test]
        fn a_record_comes_back_from_its_own_place_only(
            record in records(), local in any::<u32>(), bit in any::<prop::sample::Index>(),
        ) {
            let key = record_key(SHARD, local);
            prop_assert_eq!(parse_shard_key(&key), Some((SHARD, local)));
            let mut value = encode_record(&key, &record);
            prop_assert_eq!(decode_record(&key, &value), Some(record));
            let other = record_key(SHARD, local.wrapping_add(1));
            prop_assert_eq!(decode_record(&other, &value), None);
            let bit = bit.index(8 * value.len());
            value[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode_record(&key, &value), None);
        }

        #[test]
        fn rubbish_is_no_record(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let key = record_key(SHARD, 0);
            prop_assert_eq!(decode_record(&key, &value), None);
            // Without its checksum it may be one; it must only not harm.
            let _ = decode_blindly(&value);
        }
    }

    #[test]
    fn keys_are_in_the_order_of_their_numbers() {
        let keys: Vec<_> = [0, 1, 255, 256, 1 << 30]
            .map(|n| record_key(SHARD, n))
            .into();
        assert!(keys.is_sorted());
        let entry = entry_key(SHARD.term, 77);
        assert_eq!(parse_entry_key(&entry), Some((SHARD.term, 77)));
        assert_eq!(
            (parse_entry_key(b"e"), parse_shard_key(b"r12")),
            (None, None)
        );
    }

    #[test]
    fn entries_and_freed_chunks_come_back() {
        let (starts, deltas) = (vec![1, 2], vec![3, 4]);
        let step = Step::Cut {
            first: 3,
            starts,
            deltas,
        };
        let entry = Entry { number: 9, step };
        let key = entry_key(SHARD.term, 9);
        let value = encode_entry(&key, &entry);
        assert_eq!(decode_entry(&key, &value), Some(entry));
        assert_eq!(decode_entry(&entry_key(SHARD.term, 8), &value), None);
        let key = freed_key(SHARD, 5);
        let value = encode_freed(&key, &[1, 2, 3]);
        assert_eq!(decode_freed(&key, &value), Some(&[1, 2, 3][..]));
        assert_eq!(decode_freed(&freed_key(SHARD, 6), &value), None);
    }
}
