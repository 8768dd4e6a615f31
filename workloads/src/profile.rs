//! The named workloads.
//!
//! What the keys of a movie profile mean: `formulation`, `keep`, `compat` and `ack` are the app's;
//! `popularity` (`zipf` or `uniform`) says which movies requests are about, `sessions` how many
//! logical clients there are, `movies` and `users` the size of the invented data set, `rejects` the
//! share of composes that name an unknown title or user.

use crate::{Dataset, Load};
use std::collections::BTreeMap;

/// A named workload on an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its name; the prefix says what it is (`compat-`, `full-`, `hot-`, `micro-`).
    pub name: String,
    /// The app it runs on.
    pub app: String,
    /// One line about it.
    pub about: String,
    /// What the app needs to know of it (`formulation` and the like), and campaigns may override.
    pub settings: BTreeMap<String, String>,
    /// How often an aborted transaction is tried again.
    pub retries: u32,
}

/// There is no profile of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no profile {name:?}; did you mean {nearest:?}? There are: {}", known.join(", "))]
pub struct UnknownProfile {
    /// What was asked for.
    pub name: String,
    /// The one whose name is most like it.
    pub nearest: String,
    /// All there are.
    pub known: Vec<String>,
}

/// A setting that a profile does not have, or a value that it cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The profile has no such key.
    #[error("profile {profile} has no setting {key:?}; allowed: {}", allowed.join(", "))]
    UnknownKey {
        /// The profile.
        profile: String,
        /// The key.
        key: String,
        /// The keys it has.
        allowed: Vec<String>,
    },
    /// The key cannot have this value.
    #[error("profile {profile}: {key} = {value:?} is not known; allowed: {allowed}")]
    BadValue {
        /// The profile.
        profile: String,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What it could be.
        allowed: &'static str,
    },
}

/// Every key that a movie profile may set.
const KEYS: [&str; 9] = [
    "ack",
    "compat",
    "formulation",
    "keep",
    "movies",
    "popularity",
    "rejects",
    "sessions",
    "users",
];

/// All named workloads.
pub fn profiles() -> Vec<Profile> {
    let movie = |name: &str, about: &str, own: &[(&str, &str)]| {
        let common = [
            ("movies", "1000"),
            ("users", "1000"),
            ("sessions", "100"),
            ("popularity", "zipf"),
            ("rejects", "0.005"),
            ("compat", "none"),
        ];
        let pairs = common
            .iter()
            .chain(own)
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Profile {
            name: name.to_owned(),
            app: "movie".to_owned(),
            about: about.to_owned(),
            settings: pairs.collect(),
            retries: 10,
        }
    };
    vec![
        movie(
            "full-movie",
            "mixed reads and composes of movie reviews, the front function awaits its parts",
            &[("formulation", "orch")],
        ),
        movie(
            "full-movie-choreo",
            "the same requests, a review's parts join without anybody awaiting them",
            &[("formulation", "choreo")],
        ),
        movie(
            "compat-beldi-movie",
            "composes only, with the work and the defects of the port published with Beldi",
            &[
                ("formulation", "choreo"),
                ("compat", "beldi"),
                ("popularity", "uniform"),
                ("rejects", "0"),
            ],
        ),
    ]
}

/// The profile of this name.
///
/// # Errors
/// There is none; the error lists those that exist.
pub fn find(name: &str) -> Result<Profile, UnknownProfile> {
    let mut all = profiles();
    if let Some(at) = all.iter().position(|profile| profile.name == name) {
        return Ok(all.swap_remove(at));
    }
    let nearest = all
        .iter()
        .min_by_key(|profile| distance(&profile.name, name));
    Err(UnknownProfile {
        name: name.to_owned(),
        nearest: nearest
            .map(|profile| profile.name.clone())
            .unwrap_or_default(),
        known: all.into_iter().map(|profile| profile.name).collect(),
    })
}

impl Profile {
    /// This profile with some settings overridden.
    ///
    /// # Errors
    /// A key that the profile does not have, or a value of a generator's key that it cannot be. The
    /// app's own values are checked where the app is built.
    pub fn with_settings(
        mut self,
        overrides: BTreeMap<String, String>,
    ) -> Result<Self, SettingError> {
        if let Some(key) = overrides.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(SettingError::UnknownKey {
                profile: self.name,
                key: key.clone(),
                allowed: KEYS.map(str::to_owned).to_vec(),
            });
        }
        self.settings.extend(overrides);
        for key in ["movies", "users", "sessions"] {
            self.count(key)?;
        }
        self.uniform()?;
        self.rejects()?;
        Ok(self)
    }

    /// The requests that fill the app with the data set, to be sent before the measured load. All
    /// are independent of each other, except that of two movies with one title the later one must
    /// be registered later.
    pub fn loads(&self, dataset: &Dataset) -> Vec<Load> {
        dataset.loads()
    }

    /// A number from 1.
    pub(crate) fn count(&self, key: &str) -> Result<usize, SettingError> {
        let number = self.setting(key).parse().ok().filter(|number| *number > 0);
        number.ok_or_else(|| self.bad(key, "a whole number from 1"))
    }

    /// Whether all movies are equally popular.
    pub(crate) fn uniform(&self) -> Result<bool, SettingError> {
        match self.setting("popularity") {
            "zipf" => Ok(false),
            "uniform" => Ok(true),
            _ => Err(self.bad("popularity", "zipf, uniform")),
        }
    }

    /// The share of composes to be refused.
    pub(crate) fn rejects(&self) -> Result<f64, SettingError> {
        let share = self.setting("rejects").parse().ok();
        let share = share.filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| self.bad("rejects", "a share from 0 to 1"))
    }

    /// Whether only what the published port was measured with is asked.
    pub(crate) fn compose_only(&self) -> bool {
        self.setting("compat") == "beldi"
    }

    fn setting(&self, key: &str) -> &str {
        self.settings.get(key).map_or("", String::as_str)
    }

    fn bad(&self, key: &str, allowed: &'static str) -> SettingError {
        SettingError::BadValue {
            profile: self.name.clone(),
            key: key.to_owned(),
            value: self.setting(key).to_owned(),
            allowed,
        }
    }
}

/// How many characters must be inserted, removed or replaced to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replace = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn an_unknown_profile_is_answered_with_the_nearest() {
        for profile in profiles() {
            assert_eq!(find(&profile.name), Ok(profile));
        }
        let error = find("full-movies").expect_err("is unknown");
        assert_eq!(error.nearest, "full-movie");
        assert!(error.to_string().contains("compat-beldi-movie"));
    }

    #[test]
    fn settings_are_checked() {
        let profile = find("full-movie").expect("exists");
        let changed = profile
            .clone()
            .with_settings(settings(&[("movies", "20"), ("keep", "10")]));
        assert_eq!(
            changed.map(|p| p.settings["movies"].clone()),
            Ok("20".to_owned())
        );
        let told = |key, value| {
            let error = profile.clone().with_settings(settings(&[(key, value)]));
            error.expect_err("is refused").to_string()
        };
        assert!(told("movie", "20").contains("formulation, keep, movies"));
        assert!(told("users", "0").contains("from 1"));
        assert!(told("popularity", "pareto").contains("zipf, uniform"));
        assert!(told("rejects", "2").contains("0 to 1"));
    }
}
