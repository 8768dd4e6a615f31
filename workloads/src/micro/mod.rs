//! Single primitives on one hot key: profiles and requests.
//!
//! What the keys of a micro profile mean: `mix` is `primitives` (each kind in its turn) or `writes`
//! (writes alone); `fill` is how many writes the key has seen before the measured load, which on
//! Beldi decides how long its list is; `sessions` is how many logical clients there are;
//! `gauge_seconds`, if there is one, is how often a run notes what the runtime keeps.
//!
//! `fill` is 1,901 in `micro-beldi-primitives`: twenty rows of 100 entries, the last with one. The
//! published measurement had rows of 1,000, marked full but with empty logs.

use crate::generator::stream;
use crate::profile::{Family, Profile, SettingError};
use crate::{Load, Planned};
use triptych_model::Value;

pub(crate) const FAMILY: Family = Family {
    app: "micro",
    keys: &["fill", "gauge_seconds", "mix", "sessions"],
    profiles,
    check,
    small: &[("fill", "250")],
};

fn profiles() -> Vec<Profile> {
    let micro = |name, about, own: &[_]| FAMILY.profile(name, about, &[("sessions", "10")], own);
    vec![
        micro(
            "micro-beldi-primitives",
            "one read, write, condition that holds or not, call, or nothing per request; a list of 20 rows",
            &[("mix", "primitives"), ("fill", "1901")],
        ),
        micro(
            "micro-beldi-gc",
            "one write of a random id to one key per request, with what the runtime keeps over time",
            &[("mix", "writes"), ("fill", "0"), ("gauge_seconds", "60")],
        ),
    ]
}

fn check(profile: &Profile) -> Result<(), SettingError> {
    profile.count("sessions")?;
    fill(profile)?;
    if !profile.setting("gauge_seconds").is_empty() {
        profile.count("gauge_seconds")?;
    }
    mix(profile).map(drop)
}

fn fill(profile: &Profile) -> Result<u32, SettingError> {
    let fill = profile.setting("fill").parse().ok();
    let fill = fill.filter(|fill| *fill <= MOST);
    fill.ok_or_else(|| profile.bad("fill", "a whole number up to 1000000"))
}

fn mix(profile: &Profile) -> Result<&'static [Kind], SettingError> {
    match profile.setting("mix") {
        "primitives" => Ok(&PRIMITIVES),
        "writes" => Ok(&PRIMITIVES[1..2]),
        _ => Err(profile.bad("mix", "primitives, writes")),
    }
}

/// The name of a kind, its entry point, and whether it writes an id.
type Kind = (&'static str, &'static str, bool);

const PRIMITIVES: [Kind; 6] = [
    ("read", "Read", false),
    ("write", "Write", true),
    ("cond-true", "Swap", true),
    ("cond-false", "Refuse", true),
    ("invoke", "Invoke", false),
    ("empty", "Empty", false),
];

/// The most writes before the load.
const MOST: u32 = 1_000_000;
/// Writes of one loading request: few enough for a function's timeout.
const BATCH: u32 = 200;

/// Makes the requests of one run.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    mix: &'static [Kind],
    fill: u32,
    sessions: u64,
}

impl Generator {
    /// The requests of the profile with this seed.
    ///
    /// # Errors
    /// A setting that no request can be made from, in words.
    pub fn new(profile: &Profile, seed: u64) -> Result<Self, String> {
        let told = |error: SettingError| error.to_string();
        Ok(Generator {
            seed,
            mix: mix(profile).map_err(told)?,
            fill: fill(profile).map_err(told)?,
            sessions: profile.count("sessions").map_err(told)? as u64,
        })
    }

    /// The requests that write the key so many times. There is always a document in the end.
    pub fn loads(&self) -> Vec<Load> {
        let writes = self.fill.max(1);
        let sizes = (0..writes.div_ceil(BATCH)).map(|n| BATCH.min(writes - n * BATCH));
        let load = |(n, size): (usize, u32)| {
            let id = Value::from(format!("Fill{n}"));
            let input = Value::map([("id", id), ("writes", Value::Int(size.into()))]);
            Load::new("Primitives", "Fill", input)
        };
        sizes.enumerate().map(load).collect()
    }

    /// The names of the request kinds, as [`Planned::kind`] counts them.
    pub fn kinds(&self) -> Vec<String> {
        self.mix.iter().map(|kind| kind.0.to_owned()).collect()
    }

    /// The request at this position.
    pub fn request(&self, index: u64) -> Planned {
        let position = (index % self.mix.len() as u64) as usize;
        let (_, op, writes) = self.mix[position];
        let input = if writes {
            Value::map([("id", Value::from(self.id(index)))])
        } else {
            Value::map::<&str>([])
        };
        let session = stream(self.seed, "session", index).below(self.sessions);
        Planned {
            kind: position as u16,
            function: "Primitives".to_owned(),
            op: op.to_owned(),
            input,
            session: session as u32,
        }
    }

    /// 22 letters, as the published measurement wrote.
    fn id(&self, index: u64) -> String {
        const ALPHABET: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
        let mut random = stream(self.seed, "id", index);
        let letter = |_| ALPHABET[random.below(ALPHABET.len() as u64) as usize] as char;
        (0..22).map(letter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_primitive_has_its_turn_and_ids_are_new() {
        let profile = crate::find("micro-beldi-primitives").expect("exists");
        let generator = Generator::new(&profile, 1).expect("is well-formed");
        let requests: Vec<Planned> = (0..600).map(|n| generator.request(n)).collect();
        for kind in 0..6 {
            let count = requests.iter().filter(|request| request.kind == kind);
            assert_eq!(count.count(), 100);
        }
        let ids: BTreeSet<String> = requests
            .iter()
            .filter_map(|request| request.input.get("id")?.as_str().map(str::to_owned))
            .collect();
        assert_eq!(ids.len(), 300);
        let writes = |load: &Load| load.input.get("writes").and_then(Value::as_int);
        let writes: i64 = generator.loads().iter().filter_map(writes).sum();
        assert_eq!(writes, 1_901);
    }
}
