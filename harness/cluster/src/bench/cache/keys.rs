//! Which key a request is about, and the values that are written.

use triptych_mesh::Key;
use triptych_model::{Random, Value};
use triptych_world::mix;

/// The table that a bench reads and writes.
pub(crate) const TABLE: &str = "bench";
/// The least bytes of a value: the number of its write.
pub(crate) const LEAST: usize = 8;

/// Keys `0..n`, of which the k-th, counted from 1, is asked for in proportion to k to the power of
/// minus an exponent: Zipf's law, drawn exactly.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The chance of drawing at most the key of this place.
    cumulative: Vec<f64>,
}

impl Keys {
    /// So many keys with this exponent; 0 asks for all alike.
    pub fn zipf(many: usize, exponent: f64) -> Keys {
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=many.max(1))
            .map(|rank| {
                sum += libm::pow(rank as f64, -exponent);
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|chance| *chance /= sum);
        Keys { cumulative }
    }

    /// How many there are.
    pub fn many(&self) -> usize {
        self.cumulative.len()
    }

    /// Draws one.
    pub fn draw(&self, random: &mut Random) -> usize {
        let unit = random.unit();
        let drawn = self.cumulative.partition_point(|&chance| chance <= unit);
        drawn.min(self.many() - 1)
    }

    /// Draws so many different ones, or all if there are fewer.
    pub fn draw_some(&self, random: &mut Random, many: usize) -> Vec<usize> {
        let mut drawn = Vec::with_capacity(many);
        while drawn.len() < many.min(self.many()) {
            let key = self.draw(random);
            if !drawn.contains(&key) {
                drawn.push(key);
            }
        }
        drawn
    }
}

/// A key as servers know it.
pub(crate) fn key(number: usize) -> Key {
    Key::new(TABLE, &number.to_string())
}

/// The bytes that a write writes: its number, and what follows from that, so that a damaged value
/// or a stranger's is noticed.
pub fn bytes(write: u64, many: usize) -> Vec<u8> {
    let mut bytes = write.to_le_bytes().to_vec();
    let mut word = mix(write, 1) | 1;
    while bytes.len() < many {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(many.max(LEAST));
    bytes
}

/// Whose bytes they are; nothing if they are not what that write has written.
pub fn written_by(found: &[u8], many: usize) -> Option<u64> {
    let write = u64::from_le_bytes(found.get(..LEAST)?.try_into().ok()?);
    (found == bytes(write, many)).then_some(write)
}

pub(crate) fn value(write: u64, many: usize) -> Value {
    Value::Bytes(bytes(write, many).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popular_keys_are_asked_for_as_often_as_the_law_says() {
        let (keys, draws) = (Keys::zipf(100_000, 1.0), 200_000u32);
        let mut random = Random::new(3);
        let mut counts = vec![0u32; keys.many()];
        (0..draws).for_each(|_| counts[keys.draw(&mut random)] += 1);
        // The first has a share of one in the sum of 1/k up to 100,000, which is 12.09.
        let expected = f64::from(draws) / 12.09;
        for rank in [1usize, 2, 10] {
            let (found, expected) = (f64::from(counts[rank - 1]), expected / rank as f64);
            let near = (found - expected).abs() < 5.0 * expected.sqrt();
            assert!(near, "{rank}: {found}, {expected}");
        }
        let alike = Keys::zipf(4, 0.0);
        let mut counts = [0u32; 4];
        (0..40_000).for_each(|_| counts[alike.draw(&mut random)] += 1);
        assert!(
            counts.iter().all(|count| count.abs_diff(10_000) < 500),
            "{counts:?}"
        );
        let mut all = alike.draw_some(&mut random, 9);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    }

    #[test]
    fn values_are_known_again_and_others_are_not() {
        for many in [0, 8, 9, 100] {
            let value = bytes(77, many);
            assert_eq!(value.len(), many.max(LEAST));
            assert_eq!(written_by(&value, many), Some(77));
            assert_eq!(written_by(&value[1..], many), None);
            assert_eq!(written_by(&value, many + 10), None);
        }
        let mut damaged = bytes(77, 100);
        damaged[50] ^= 1;
        assert_eq!(written_by(&damaged, 100), None);
    }
}
