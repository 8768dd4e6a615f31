//! The named workloads.
//!
//! What a profile's settings mean is its app's affair; see the module of the app. Common to all:
//! `sessions`, how many logical clients there are.

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
    /// The key can have such a value, but what this one names cannot be used.
    #[error("profile {profile}: {key} = {value:?} cannot be used: {problem}")]
    Unusable {
        /// The profile.
        profile: String,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Why, with the place if it is a file.
        problem: String,
    },
}

/// All named workloads.
pub fn profiles() -> Vec<Profile> {
    FAMILIES
        .iter()
        .flat_map(|family| (family.profiles)())
        .collect()
}

/// What the profiles of one app have in common.
pub(crate) struct Family {
    /// The app.
    pub(crate) app: &'static str,
    /// Every key that its profiles may set.
    pub(crate) keys: &'static [&'static str],
    /// Its profiles.
    pub(crate) profiles: fn() -> Vec<Profile>,
    /// Checks the values of the generator's keys. The app's own are checked where it is built.
    pub(crate) check: fn(&Profile) -> Result<(), SettingError>,
    /// Overrides that make the data set so small that requests meet on the same keys: what many
    /// short runs with different seeds use.
    pub(crate) small: &'static [(&'static str, &'static str)],
}

/// One entry an app.
const FAMILIES: [Family; 5] = [
    crate::movie::FAMILY,
    crate::travel::FAMILY,
    crate::social::FAMILY,
    crate::ledger::FAMILY,
    crate::micro::FAMILY,
];

impl Family {
    /// A profile of this family: settings common to the app, then its own.
    pub(crate) fn profile(
        &self,
        name: &str,
        about: &str,
        common: &[(&str, &str)],
        own: &[(&str, &str)],
    ) -> Profile {
        let settings = common.iter().chain(own);
        Profile {
            name: name.to_owned(),
            app: self.app.to_owned(),
            about: about.to_owned(),
            settings: settings
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            retries: 10,
        }
    }
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
    fn family(&self) -> Option<&'static Family> {
        FAMILIES.iter().find(|family| family.app == self.app)
    }

    /// This profile with some settings overridden.
    ///
    /// # Errors
    /// A key that the profile does not have, or a value of a generator's key that it cannot be. The
    /// app's own values are checked where the app is built.
    pub fn with_settings(
        mut self,
        overrides: BTreeMap<String, String>,
    ) -> Result<Self, SettingError> {
        let Some(family) = self.family() else {
            return Ok(self);
        };
        if let Some(key) = overrides
            .keys()
            .find(|key| !family.keys.contains(&key.as_str()))
        {
            return Err(SettingError::UnknownKey {
                profile: self.name,
                key: key.clone(),
                allowed: family.keys.iter().map(|key| (*key).to_owned()).collect(),
            });
        }
        self.settings.extend(overrides);
        (family.check)(&self)?;
        Ok(self)
    }

    /// Whether profiles of its app have a setting of this name.
    pub fn knows(&self, key: &str) -> bool {
        self.family()
            .is_some_and(|family| family.keys.contains(&key))
    }

    /// How many servers it is about, if it is about that: its setting `servers`.
    pub fn servers(&self) -> Option<u16> {
        self.setting("servers").parse().ok()
    }

    /// The overrides that make its data set so small that requests meet on the same keys.
    pub fn small(&self) -> BTreeMap<String, String> {
        let small = self.family().map_or(&[][..], |family| family.small);
        small
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// A number from 1.
    pub(crate) fn count(&self, key: &str) -> Result<usize, SettingError> {
        let number = self.setting(key).parse().ok().filter(|number| *number > 0);
        number.ok_or_else(|| self.bad(key, "a whole number from 1"))
    }

    /// A share from 0 to 1.
    pub(crate) fn share(&self, key: &str) -> Result<f64, SettingError> {
        let share = self.setting(key).parse().ok();
        let share = share.filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| self.bad(key, "a share from 0 to 1"))
    }

    /// The value of a setting; empty if it is not set.
    pub(crate) fn setting(&self, key: &str) -> &str {
        self.settings.get(key).map_or("", String::as_str)
    }

    /// The error for a value that is of the right kind and still cannot be used.
    pub(crate) fn unusable(&self, key: &str, problem: String) -> SettingError {
        SettingError::Unusable {
            profile: self.name.clone(),
            key: key.to_owned(),
            value: self.setting(key).to_owned(),
            problem,
        }
    }

    pub(crate) fn bad(&self, key: &str, allowed: &'static str) -> SettingError {
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
        assert!(told("movie", "20").contains("formulation, keep, mix, movies"));
        assert!(told("users", "0").contains("from 1"));
        assert!(told("popularity", "pareto").contains("zipf, uniform"));
        assert!(told("rejects", "2").contains("0 to 1"));
    }
}
