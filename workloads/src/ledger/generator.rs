//! The requests of a run, each a pure function of the seed and its position.

use crate::generator::{share, stream};
use crate::{Load, Planned, Profile, SettingError};
use triptych_model::{Random, Value};

const BRANCHES: [&str; 2] = ["north", "south"];
const FUNCTIONS: [&str; 2] = ["North", "South"];

/// Request kinds: name, entry point, share in percent.
const KINDS: [(&str, &str, u64); 4] = [
    ("mix", "Mix", 50),
    ("transfer", "Transfer", 25),
    ("total", "Total", 10),
    ("look", "Look", 15),
];

/// Makes the requests of one run.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    accounts: u64,
    initial: i64,
    lists: u64,
    fresh: u64,
    sessions: u64,
    rejects: f64,
}

impl Generator {
    /// The requests of the profile with this seed.
    ///
    /// # Errors
    /// A setting that no request can be made from, in words.
    pub fn new(profile: &Profile, seed: u64) -> Result<Self, String> {
        let told = |error: SettingError| error.to_string();
        let count = |key| profile.count(key).map(|count| count as u64).map_err(told);
        Ok(Generator {
            seed,
            accounts: count("accounts")?,
            initial: count("initial")? as i64,
            lists: count("lists")?,
            fresh: count("fresh")?,
            sessions: count("sessions")?,
            rejects: profile.share("rejects").map_err(told)?,
        })
    }

    /// The requests that open the accounts.
    pub fn loads(&self) -> Vec<Load> {
        let accounts = FUNCTIONS.iter().flat_map(|function| {
            (0..self.accounts).map(|account| {
                let open = [
                    ("key", Value::from(account.to_string())),
                    ("balance", self.initial.into()),
                ];
                let task = Value::map([("open", Value::map(open))]);
                Load::new(function, "Do", Value::map([("task", task)]))
            })
        });
        accounts.collect()
    }

    /// The names of the request kinds, as [`Planned::kind`] counts them.
    pub fn kinds(&self) -> Vec<String> {
        KINDS.map(|(name, _, _)| name.to_owned()).to_vec()
    }

    /// The request at this position.
    pub fn request(&self, index: u64) -> Planned {
        let shares = KINDS.map(|(_, _, share)| share);
        let position = share(&mut self.stream("kind", index), shares);
        let (kind, op, _) = KINDS[position];
        let random = &mut self.stream(kind, index);
        Planned {
            kind: position as u16,
            function: "Desk".to_owned(),
            op: op.to_owned(),
            input: match kind {
                "mix" => self.mix(index, random),
                "transfer" => self.transfer(random),
                "look" => self.place(index, random),
                _ => Value::map::<&str>([]),
            },
            session: self.stream("session", index).below(self.sessions) as u32,
        }
    }

    /// A list, by its branch and key.
    fn place(&self, index: u64, random: &mut Random) -> Value {
        let (branch, key) = self.list(index, random);
        Value::map([("branch", branch), ("key", key)])
    }

    fn list(&self, index: u64, random: &mut Random) -> (Value, Value) {
        let branch = BRANCHES[random.below(2) as usize];
        let (slot, age) = (random.below(self.lists), index / self.fresh);
        (branch.into(), format!("{slot}.{age}").into())
    }

    fn mix(&self, index: u64, random: &mut Random) -> Value {
        let steps = (0..2 + random.below(3)).map(|n| {
            let (branch, key) = self.list(index, random);
            let entry = Value::from(format!("r{index}.{n}"));
            // Half of the steps only read.
            let (task, fields) = match random.below(4) {
                0 => ("append", vec![("key", key), ("entry", entry)]),
                1 => ("rewrite", vec![("key", key), ("entry", entry)]),
                _ => ("read", vec![("key", key)]),
            };
            let task = Value::map([(task, Value::map(fields))]);
            Value::map([("branch", branch), ("task", task)])
        });
        let steps = Value::list(steps.collect::<Vec<_>>());
        let reject = self.stream("reject", index).chance(self.rejects);
        Value::map([
            ("reqId", Value::from(format!("r{index}"))),
            ("steps", steps),
            ("reject", reject.into()),
        ])
    }

    fn transfer(&self, random: &mut Random) -> Value {
        let from = random.below(2 * self.accounts);
        // Never to itself.
        let to = (from + 1 + random.below(2 * self.accounts - 1)) % (2 * self.accounts);
        let account = |n: u64| {
            let branch = BRANCHES[(n / self.accounts) as usize];
            let key = (n % self.accounts).to_string();
            Value::list([branch.into(), key.into()])
        };
        Value::map([
            ("from", account(from)),
            ("to", account(to)),
            ("amount", Value::Int(1 + random.below(30) as i64)),
        ])
    }

    fn stream(&self, purpose: &str, index: u64) -> Random {
        stream(self.seed, purpose, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_entry_is_appended_once_and_few_lists_are_in_use() {
        let profile = crate::find("hot-ledger").expect("exists");
        let generator = Generator::new(&profile, 3).expect("fits");
        let (mut entries, mut places, mut refused) = (BTreeSet::new(), BTreeSet::new(), 0);
        for index in 0..400 {
            let planned = generator.request(index);
            assert_eq!(planned, generator.request(index));
            let steps = planned.input.get("steps").and_then(Value::as_list);
            for step in steps.unwrap_or_default() {
                let task = step.get("task").and_then(Value::as_map).expect("a task");
                let (_, task) = task.iter().next().expect("one");
                let key = task.get("key").and_then(Value::as_str).expect("a key");
                places.insert((format!("{:?}", step.get("branch")), key.to_owned()));
                if let Some(entry) = task.get("entry").and_then(Value::as_str) {
                    assert!(entries.insert(entry.to_owned()));
                }
            }
            let reject = planned.input.get("reject").and_then(Value::as_bool);
            refused += u64::from(reject == Some(true));
        }
        assert_eq!(places.len(), 8);
        assert!(
            entries.len() > 150 && (2..30).contains(&refused),
            "{refused}"
        );
    }
}
