//! Chains of functions over many keys: the workload that CausalMesh and the caches beside it were
//! measured with.
//!
//! What the keys of such a profile mean: `length` is how many functions a chain has. With `shape =
//! tail` all but the last do `reads` reads each, and the last one does `writes` writes; with `each`
//! every function does both, in an order that is drawn. `keys` is how many keys there are, `zipf` how
//! skewed they are drawn (0: all alike), `bytes` how long a value is. `sessions` is how many logical
//! clients there are; in the published measurements every workflow was a client of its own.
//!
//! By default it is as published: three functions, two reads in each of the first two, one write in
//! the last; 100,000 keys by Zipf's law with exponent 1, values of eight bytes. The profiles of several
//! lengths and numbers of servers end in that number; there keys are drawn alike and every function
//! reads twice and writes once.

use super::FAMILY;
use crate::Load;
use crate::draw::shuffle;
use crate::generator::stream;
use crate::profile::{Profile, SettingError};
use crate::zipf::Popularity;
use triptych_model::Value;

/// The lengths of chains that were published.
const LENGTHS: [&str; 8] = ["3", "4", "5", "6", "7", "8", "9", "10"];
/// The numbers of servers that were published.
const SERVERS: [&str; 4] = ["2", "4", "8", "16"];

pub(super) fn profiles() -> Vec<Profile> {
    let common = [
        ("mix", "workflow"),
        ("sessions", "1000"),
        ("length", "3"),
        ("shape", "tail"),
        ("reads", "2"),
        ("writes", "1"),
        ("keys", "100000"),
        ("zipf", "1"),
        ("bytes", "8"),
    ];
    let alike = [("shape", "each"), ("zipf", "0")];
    let mut profiles = vec![FAMILY.profile(
        "micro-causal",
        "chains of three functions: two read two keys each, the last one writes one; popular keys",
        &common,
        &[],
    )];
    for length in LENGTHS {
        profiles.push(FAMILY.profile(
            &format!("micro-causal-length-{length}"),
            &format!("chains of {length} functions, each of two reads and a write; keys all alike"),
            &common,
            &[&alike[..], &[("length", length)]].concat(),
        ));
    }
    for servers in SERVERS {
        profiles.push(FAMILY.profile(
            &format!("micro-causal-servers-{servers}"),
            &format!("chains of three functions of two reads and a write, on {servers} servers"),
            &common,
            &[&alike[..], &[("servers", servers)]].concat(),
        ));
    }
    profiles
}

/// The most functions of a chain, and the most accesses of a kind in one of them.
const MOST: usize = 64;
/// Keys that one loading request writes: few enough for a function's timeout.
const BATCH: u32 = 200;

/// Where the accesses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Tail,
    Each,
}

/// Makes chains.
#[derive(Clone, Debug)]
pub struct Chains {
    length: usize,
    shape: Shape,
    reads: usize,
    writes: usize,
    keys: u32,
    bytes: usize,
    popularity: Popularity,
}

impl Chains {
    /// Those that a profile asks for.
    ///
    /// # Errors
    /// A setting that no request can be made from.
    pub(super) fn of(profile: &Profile) -> Result<Self, SettingError> {
        let within = |key: &str, least: usize, most: usize, allowed: &'static str| {
            let number = profile.setting(key).parse().ok();
            let number = number.filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| profile.bad(key, allowed))
        };
        let zipf = profile.setting("zipf").parse().ok();
        let zipf = zipf.filter(|zipf| (0.0..=5.0).contains(zipf));
        let keys = within("keys", 1, 10_000_000, "a whole number from 1 to 10000000")?;
        let chains = Chains {
            length: within("length", 1, MOST, "a whole number from 1 to 64")?,
            shape: match profile.setting("shape") {
                "tail" => Shape::Tail,
                "each" => Shape::Each,
                _ => return Err(profile.bad("shape", "tail, each")),
            },
            reads: within("reads", 0, MOST, "a whole number up to 64")?,
            writes: within("writes", 0, MOST, "a whole number up to 64")?,
            // At most ten million.
            keys: keys as u32,
            bytes: within("bytes", 8, 100_000, "a whole number from 8 to 100000")?,
            popularity: Popularity::zipf(
                keys,
                zipf.ok_or_else(|| profile.bad("zipf", "a number from 0 to 5"))?,
            ),
        };
        if chains.reads + chains.writes == 0 {
            let problem = "without reads and writes there is nothing to do".to_owned();
            return Err(profile.unusable("writes", problem));
        }
        Ok(chains)
    }

    /// The requests that write every key once.
    pub(super) fn loads(&self) -> Vec<Load> {
        let batches = (0..self.keys.div_ceil(BATCH)).map(|n| {
            let from = n * BATCH;
            let to = self.keys.min(from + BATCH);
            let input = Value::map([
                ("from", Value::Int(from.into())),
                ("to", Value::Int(to.into())),
                ("bytes", Value::Int(self.bytes as i64)),
            ]);
            Load::new("Workflow", "Load", input).apart()
        });
        batches.collect()
    }

    /// The input of the request at this position.
    pub(super) fn request(&self, seed: u64, index: u64) -> Value {
        let mut random = stream(seed, "keys", index);
        let mut written = 0;
        let steps = (0..self.length).map(|step| {
            let last = step + 1 == self.length;
            let (reads, writes) = match self.shape {
                Shape::Each => (self.reads, self.writes),
                Shape::Tail if last => (0, self.writes),
                Shape::Tail => (self.reads, 0),
            };
            let mut accesses: Vec<String> = (0..reads + writes)
                .map(|n| {
                    let key = self.popularity.draw(&mut random);
                    if n < reads {
                        return format!("r{key}");
                    }
                    written += 1;
                    format!("w{key}={}", self.value(index, written - 1))
                })
                .collect();
            if self.shape == Shape::Each {
                shuffle(&mut random, &mut accesses);
            }
            Value::list(accesses.into_iter().map(Value::from))
        });
        let steps: Vec<Value> = steps.collect();
        Value::map([("steps", Value::list(steps))])
    }

    /// What a request writes: a value that no other write of the run has. The first eight bytes tell
    /// them apart: `w` and seven digits to the base of 36, enough for 19 million requests of as many
    /// writes as there can be.
    fn value(&self, index: u64, written: u64) -> String {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let each = (self.writes * self.length).max(1) as u64;
        let mut number = index * each + written;
        let mut digits = [b'0'; 7];
        for digit in digits.iter_mut().rev() {
            *digit = DIGITS[(number % 36) as usize];
            number /= 36;
        }
        let digits: String = digits.iter().map(|digit| char::from(*digit)).collect();
        format!("{:.<1$}", format!("w{digits}"), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::micro::Generator;
    use std::collections::BTreeSet;

    fn generator(profile: &str, seed: u64) -> Generator {
        let profile = crate::find(profile).expect("exists");
        Generator::new(&profile, seed).expect("is well-formed")
    }

    fn steps(generator: &Generator, index: u64) -> Vec<Vec<String>> {
        let input = generator.request(index).input;
        let steps = input.get("steps").and_then(Value::as_list);
        let texts = |step: &Value| {
            let step = step.as_list().unwrap_or_default().iter();
            step.map(|access| access.as_str().unwrap_or_default().to_owned())
                .collect()
        };
        steps.unwrap_or_default().iter().map(texts).collect()
    }

    #[test]
    fn chains_are_as_published() {
        let generator = generator("micro-causal", 1);
        let (mut values, mut popular) = (BTreeSet::new(), 0);
        for index in 0..5_000 {
            let steps = steps(&generator, index);
            let shape: Vec<String> = steps
                .iter()
                .map(|step| step.iter().map(|access| &access[..1]).collect())
                .collect();
            assert_eq!(shape, ["rr", "rr", "w"]);
            popular += steps
                .iter()
                .flatten()
                .filter(|access| *access == "r0")
                .count();
            let (_, value) = steps[2][0].split_once('=').expect("is written");
            assert_eq!(value.len(), 8);
            assert!(values.insert(value.to_owned()), "{value} is written twice");
        }
        // The most popular of 100,000 keys is one in 12.1.
        assert!((1_450..1_850).contains(&popular), "{popular} of 20,000");
        let keys: i64 = generator
            .loads()
            .iter()
            .filter_map(|load| {
                let number = |name| load.input.get(name).and_then(Value::as_int);
                Some(number("to")? - number("from")?)
            })
            .sum();
        assert_eq!(keys, 100_000);
    }

    #[test]
    fn longer_chains_read_and_write_in_every_function() {
        for (profile, length) in [("micro-causal-length-7", 7), ("micro-causal-servers-8", 3)] {
            let generator = generator(profile, 1);
            let mut orders = BTreeSet::new();
            let mut values = BTreeSet::new();
            for index in 0..500 {
                let steps = steps(&generator, index);
                assert_eq!(steps.len(), length);
                for step in steps {
                    let kinds: String = step.iter().map(|access| &access[..1]).collect();
                    assert_eq!(kinds.matches('r').count(), 2);
                    orders.insert(kinds);
                    let written = step.iter().filter_map(|access| access.split_once('='));
                    values.extend(written.map(|(_, value)| value.to_owned()));
                }
            }
            assert_eq!(orders.len(), 3, "{orders:?}");
            assert_eq!(values.len(), 500 * length);
        }
        let servers = crate::find("micro-causal-servers-8").expect("exists");
        assert_eq!(servers.servers(), Some(8));
        assert_eq!(
            crate::find("micro-causal").map(|one| one.servers()),
            Ok(None)
        );
    }

    #[test]
    fn a_request_depends_on_seed_and_position_alone() {
        let (one, two) = (generator("micro-causal", 1), generator("micro-causal", 1));
        let other = generator("micro-causal", 2);
        let forwards: Vec<_> = (0..200).map(|index| one.request(index)).collect();
        let backwards: Vec<_> = (0..200).rev().map(|index| two.request(index)).collect();
        assert!(forwards.iter().eq(backwards.iter().rev()));
        assert!((0..200).any(|index| one.request(index) != other.request(index)));
    }
}
