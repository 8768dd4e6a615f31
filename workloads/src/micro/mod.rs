//! Requests that are about operations and not about an application: profiles and requests.
//!
//! What the keys of a micro profile mean: `mix` is `primitives` (single primitives on one hot key, each
//! kind in its turn), `writes` (writes of that key alone), `workflow` (chains of functions over many
//! keys, see [`workflow`]) or `visibility` (how long a write takes until others see it). `fill` is how many writes the key has seen before the measured load, which on
//! Beldi decides how long its list is; `sessions` is how many logical clients there are;
//! `gauge_seconds`, if there is one, is how often a run notes what the runtime keeps.
//!
//! `fill` is 1,901 in `micro-beldi-primitives`: twenty rows of 100 entries, the last with one. The
//! published measurement had rows of 1,000, marked full but with empty logs.
//!
//! Of `visibility`: one client publishes a number; for each there are `looks` looks at it, each by a
//! client that nobody has heard of before, so that it depends on nothing. The lag of what was
//! published follows from what the looks saw, as finely as the rate has them follow each other.
//!
//! `servers`, where a profile has it, says how many servers a runtime starts that brings its own.

pub mod workflow;

use crate::generator::stream;
use crate::profile::{Family, Profile, SettingError};
use crate::{Load, Planned};
use triptych_model::Value;

pub(crate) const FAMILY: Family = Family {
    app: "micro",
    keys: &[
        "bytes",
        "fill",
        "gauge_seconds",
        "keys",
        "length",
        "looks",
        "mix",
        "reads",
        "servers",
        "sessions",
        "shape",
        "writes",
        "zipf",
    ],
    profiles,
    check,
    small: &[
        ("fill", "250"),
        ("keys", "24"),
        ("looks", "9"),
        ("sessions", "10"),
    ],
};

fn profiles() -> Vec<Profile> {
    let micro = |name, about, own: &[_]| FAMILY.profile(name, about, &[("sessions", "10")], own);
    let mut profiles = vec![
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
        micro(
            "micro-visibility",
            "one client publishes a number, 100 strangers look for it: how long until they see it",
            &[("mix", "visibility"), ("looks", "100")],
        ),
    ];
    profiles.extend(workflow::profiles());
    profiles
}

fn check(profile: &Profile) -> Result<(), SettingError> {
    profile.count("sessions")?;
    match mix(profile)? {
        Mix::Kinds(_) => drop(fill(profile)?),
        Mix::Workflow => drop(workflow::Chains::of(profile)?),
        Mix::Visibility => drop(profile.count("looks")?),
    }
    servers(profile)?;
    if !profile.setting("gauge_seconds").is_empty() {
        profile.count("gauge_seconds")?;
    }
    Ok(())
}

/// A number of servers, if there is one, is from 1 to 64.
fn servers(profile: &Profile) -> Result<(), SettingError> {
    let asked = !profile.setting("servers").is_empty();
    let known = profile.servers().is_some_and(|n| (1..=64).contains(&n));
    match asked && !known {
        true => Err(profile.bad("servers", "a whole number from 1 to 64")),
        false => Ok(()),
    }
}

fn fill(profile: &Profile) -> Result<u32, SettingError> {
    let fill = profile.setting("fill").parse().ok();
    let fill = fill.filter(|fill| *fill <= MOST);
    fill.ok_or_else(|| profile.bad("fill", "a whole number up to 1000000"))
}

/// What is asked.
#[derive(Clone, Copy)]
enum Mix {
    /// These kinds of single primitives, in their turns.
    Kinds(&'static [Kind]),
    /// Chains of functions.
    Workflow,
    /// Numbers that are published, and looks at them.
    Visibility,
}

fn mix(profile: &Profile) -> Result<Mix, SettingError> {
    match profile.setting("mix") {
        "primitives" => Ok(Mix::Kinds(&PRIMITIVES)),
        "writes" => Ok(Mix::Kinds(&PRIMITIVES[1..2])),
        "workflow" => Ok(Mix::Workflow),
        "visibility" => Ok(Mix::Visibility),
        _ => Err(profile.bad("mix", "primitives, writes, workflow, visibility")),
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
    sessions: u64,
    plan: Plan,
}

/// What the requests are made from.
#[derive(Clone, Debug)]
enum Plan {
    Kinds { mix: &'static [Kind], fill: u32 },
    Workflow(workflow::Chains),
    Visibility { looks: u64 },
}

impl Generator {
    /// The requests of the profile with this seed.
    ///
    /// # Errors
    /// A setting that no request can be made from, in words.
    pub fn new(profile: &Profile, seed: u64) -> Result<Self, String> {
        let told = |error: SettingError| error.to_string();
        let plan = match mix(profile).map_err(told)? {
            Mix::Kinds(mix) => Plan::Kinds {
                mix,
                fill: fill(profile).map_err(told)?,
            },
            Mix::Workflow => Plan::Workflow(workflow::Chains::of(profile).map_err(told)?),
            Mix::Visibility => Plan::Visibility {
                looks: profile.count("looks").map_err(told)? as u64,
            },
        };
        Ok(Generator {
            seed,
            sessions: profile.count("sessions").map_err(told)? as u64,
            plan,
        })
    }

    /// The requests that bring the keys into the state in which the load begins. There is always a
    /// document in the end.
    pub fn loads(&self) -> Vec<Load> {
        match &self.plan {
            Plan::Kinds { fill, .. } => fills(*fill),
            Plan::Workflow(chains) => chains.loads(),
            Plan::Visibility { .. } => {
                let zero = Value::map([("n", Value::Int(0))]);
                vec![Load::new("Notice", "Publish", zero)]
            }
        }
    }

    /// The names of the request kinds, as [`Planned::kind`] counts them.
    pub fn kinds(&self) -> Vec<String> {
        let names: Vec<&str> = match &self.plan {
            Plan::Kinds { mix, .. } => mix.iter().map(|kind| kind.0).collect(),
            Plan::Workflow(_) => vec!["workflow"],
            Plan::Visibility { .. } => vec!["publish", "look"],
        };
        names.into_iter().map(str::to_owned).collect()
    }

    /// The request at this position.
    pub fn request(&self, index: u64) -> Planned {
        let session = stream(self.seed, "session", index).below(self.sessions);
        match &self.plan {
            Plan::Kinds { mix, .. } => self.primitive(mix, index, session as u32),
            Plan::Workflow(chains) => Planned {
                kind: 0,
                function: "Workflow".to_owned(),
                op: "Run".to_owned(),
                input: chains.request(self.seed, index),
                session: session as u32,
            },
            Plan::Visibility { looks } => visibility(*looks, index),
        }
    }

    fn primitive(&self, mix: &[Kind], index: u64, session: u32) -> Planned {
        let position = (index % mix.len() as u64) as usize;
        let (_, op, writes) = mix[position];
        let input = if writes {
            Value::map([("id", Value::from(self.id(index)))])
        } else {
            Value::map::<&str>([])
        };
        Planned {
            kind: position as u16,
            function: "Primitives".to_owned(),
            op: op.to_owned(),
            input,
            session,
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

/// The requests that write the hot key so many times, but at least once.
fn fills(fill: u32) -> Vec<Load> {
    let writes = fill.max(1);
    let sizes = (0..writes.div_ceil(BATCH)).map(|n| BATCH.min(writes - n * BATCH));
    let load = |(n, size): (usize, u32)| {
        let id = Value::from(format!("Fill{n}"));
        let input = Value::map([("id", id), ("writes", Value::Int(size.into()))]);
        Load::new("Primitives", "Fill", input)
    };
    sizes.enumerate().map(load).collect()
}

/// One request in `looks` and one publishes the next number; the others look at it, each as a client
/// of its own.
fn visibility(looks: u64, index: u64) -> Planned {
    let (turn, position) = (index / (looks + 1), index % (looks + 1));
    let publish = position == 0;
    Planned {
        kind: u16::from(!publish),
        function: "Notice".to_owned(),
        op: if publish { "Publish" } else { "Look" }.to_owned(),
        input: match publish {
            true => Value::map([("n", Value::Int(turn as i64 + 1))]),
            false => Value::map::<&str>([]),
        },
        session: if publish { 0 } else { index as u32 },
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

    #[test]
    fn numbers_are_published_in_order_and_strangers_look_for_them() {
        let profile = crate::find("micro-visibility").expect("exists");
        let generator = Generator::new(&profile, 1).expect("is well-formed");
        let requests: Vec<Planned> = (0..505).map(|n| generator.request(n)).collect();
        let published = requests.iter().filter(|request| request.kind == 0);
        let published: Vec<(u32, Option<i64>)> = published
            .map(|request| {
                (
                    request.session,
                    request.input.get("n").and_then(Value::as_int),
                )
            })
            .collect();
        let expected: Vec<(u32, Option<i64>)> = (1..=5).map(|n| (0, Some(n))).collect();
        assert_eq!(published, expected);
        let looks = requests.iter().filter(|request| request.kind == 1);
        let strangers: BTreeSet<u32> = looks.map(|request| request.session).collect();
        assert!(strangers.len() == 500 && !strangers.contains(&0));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let told = |profile: &str, key: &str, value: &str| {
            let profile = crate::find(profile).expect("exists");
            let changed = profile.with_settings([(key.to_owned(), value.to_owned())].into());
            changed.expect_err("is refused").to_string()
        };
        for (profile, key, value, allowed) in [
            ("micro-beldi-gc", "mix", "reads", "workflow, visibility"),
            ("micro-visibility", "looks", "0", "from 1"),
            ("micro-causal", "keys", "0", "from 1 to 10000000"),
            ("micro-causal", "length", "65", "from 1 to 64"),
            ("micro-causal", "reads", "-1", "up to 64"),
            ("micro-causal", "writes", "65", "up to 64"),
            ("micro-causal", "bytes", "7", "from 8 to 100000"),
            ("micro-causal", "zipf", "nan", "from 0 to 5"),
            ("micro-causal", "shape", "head", "tail, each"),
            ("micro-causal-servers-4", "servers", "0", "from 1 to 64"),
            ("micro-causal", "server", "3", "reads, servers"),
        ] {
            let told = told(profile, key, value);
            assert!(told.contains(allowed), "{told}");
        }
        let none = [("reads", "0"), ("writes", "0")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let profile = crate::find("micro-causal").expect("exists");
        let error = profile
            .with_settings(none.into())
            .expect_err("does nothing");
        assert!(error.to_string().contains("nothing to do"), "{error}");
    }
}
