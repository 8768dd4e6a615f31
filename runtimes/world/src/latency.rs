//! Latency profiles: what an operation takes, calibrated per component.
//!
//! A profile names a distribution for each operation (`ddb.update`, `faas.sync_invoke`, …). The
//! figures and how sure each one is stand in `data/latency_profiles.toml`; nobody tunes them so
//! that an end-to-end figure fits. Two families: *body, bump, rare* (a narrow log-normal body, a
//! frequent small bump, a rare long event) and *log-normal plus rare*.

use crate::{Nanos, Random};
use serde::Deserialize;
use std::collections::BTreeMap;
use thiserror::Error;

/// The profiles that the suite ships.
pub const SHIPPED: &str = include_str!("../data/latency_profiles.toml");

/// Why a profile cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProfileError {
    /// The file is not TOML, or not a profile file.
    #[error("latency profiles: {0}")]
    Malformed(String),
    /// There is no profile of this name.
    #[error("there is no latency profile {name:?}; there are {}", .known.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// A profile lacks a distribution that the simulation needs.
    #[error("the latency profile {profile:?} has no {entry:?}")]
    Missing {
        /// The profile.
        profile: String,
        /// The distribution.
        entry: String,
    },
}

/// A latency distribution; all parameters in milliseconds except the dimensionless sigmas and
/// probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "dist", rename_all = "lowercase", deny_unknown_fields)]
pub enum Dist {
    /// `body_median·exp(body_sigma·Z)·C + Bernoulli(bump_p)·Exp(bump_mean)
    /// + Bernoulli(rare_p)·rare_median·exp(rare_sigma·Z')`
    Bbr {
        /// Median of the body.
        body_median: f64,
        /// Spread of the body.
        body_sigma: f64,
        /// How often the bump occurs.
        bump_p: f64,
        /// Mean of the bump.
        bump_mean: f64,
        /// How often the rare event occurs.
        rare_p: f64,
        /// Median of the rare event.
        rare_median: f64,
        /// Spread of the rare event.
        rare_sigma: f64,
    },
    /// `median·exp(sigma·Z) + Bernoulli(rare_p)·rare_median·exp(rare_sigma·Z')`
    Lnr {
        /// Median of the body.
        median: f64,
        /// Spread of the body.
        sigma: f64,
        /// How often the rare event occurs.
        rare_p: f64,
        /// Median of the rare event.
        rare_median: f64,
        /// Spread of the rare event.
        rare_sigma: f64,
    },
    /// Uniform between two bounds.
    Uniform {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// Exponential with a mean: service times of the queueing self-test.
    Exponential {
        /// The mean.
        mean: f64,
    },
    /// Always the same.
    Constant {
        /// The value.
        value: f64,
    },
}

impl Dist {
    /// Draws one latency. `factor` is the request's slowness; it scales the body of [`Dist::Bbr`].
    pub fn draw(&self, random: &mut Random, factor: f64) -> Nanos {
        ms_to_ns(self.draw_ms(random, factor))
    }

    /// Draws in the distribution's own unit (milliseconds, or what the profile says).
    pub fn draw_ms(&self, random: &mut Random, factor: f64) -> f64 {
        match *self {
            Dist::Bbr {
                body_median,
                body_sigma,
                bump_p,
                bump_mean,
                rare_p,
                rare_median,
                rare_sigma,
            } => {
                let body = body_median * libm::exp(body_sigma * random.normal()) * factor;
                let bump = if random.chance(bump_p) {
                    random.exponential(bump_mean)
                } else {
                    0.0
                };
                body + bump + rare(random, rare_p, rare_median, rare_sigma)
            }
            Dist::Lnr {
                median,
                sigma,
                rare_p,
                rare_median,
                rare_sigma,
            } => {
                let body = median * libm::exp(sigma * random.normal());
                body + rare(random, rare_p, rare_median, rare_sigma)
            }
            Dist::Uniform { low, high } => low + (high - low) * random.unit(),
            Dist::Exponential { mean } => random.exponential(mean),
            Dist::Constant { value } => value,
        }
    }

    /// The same distribution with another median of its body.
    #[must_use]
    pub fn with_median(self, to: f64) -> Self {
        match self {
            Dist::Bbr {
                body_sigma,
                bump_p,
                bump_mean,
                rare_p,
                rare_median,
                rare_sigma,
                ..
            } => {
                let body_median = to;
                Dist::Bbr {
                    body_median,
                    body_sigma,
                    bump_p,
                    bump_mean,
                    rare_p,
                    rare_median,
                    rare_sigma,
                }
            }
            Dist::Lnr {
                sigma,
                rare_p,
                rare_median,
                rare_sigma,
                ..
            } => Dist::Lnr {
                median: to,
                sigma,
                rare_p,
                rare_median,
                rare_sigma,
            },
            Dist::Uniform { .. } | Dist::Constant { .. } => Dist::Constant { value: to },
            Dist::Exponential { .. } => Dist::Exponential {
                mean: to / std::f64::consts::LN_2,
            },
        }
    }
}

fn rare(random: &mut Random, p: f64, median: f64, sigma: f64) -> f64 {
    if random.chance(p) {
        median * libm::exp(sigma * random.normal())
    } else {
        0.0
    }
}

fn ms_to_ns(ms: f64) -> Nanos {
    (ms.max(0.0) * 1e6) as Nanos
}

/// What size adds to a latency, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeModel {
    /// Per KB of flat data on the wire.
    pub flat_ms_per_kb: f64,
    /// Per KB of an item with nested maps.
    pub nested_ms_per_kb: f64,
    /// Per item that a scan reads.
    pub scan_ms_per_item: f64,
    /// Per item of a batch write.
    pub batch_write_ms_per_item: f64,
    /// Per item of a transactional write.
    pub txn_write_ms_per_item: f64,
}

/// How fast the platform lends environments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurstConcurrency {
    /// Environments that may start at once in the account (before 2023).
    pub initial: Option<u32>,
    /// Environments per minute after that (before 2023).
    pub per_minute: Option<u32>,
    /// Environments per function and ten seconds (since 2023).
    pub per_function_per_10s: Option<u32>,
    /// Executions at one time in the account.
    pub account_limit: u32,
}

/// One profile: distributions by name, such as `ddb.update`.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The profile's name, such as `aws-2020`.
    pub name: String,
    /// What it was calibrated on.
    pub describes: String,
    /// Spread of the slowness that all operations of a request share.
    pub request_sigma: f64,
    /// What size adds.
    pub size: SizeModel,
    /// How fast environments are lent, where the profile is of such a platform.
    pub burst: Option<BurstConcurrency>,
    dists: BTreeMap<String, Dist>,
}

impl Profile {
    /// Loads a shipped profile.
    ///
    /// # Errors
    /// [`ProfileError::Unknown`] with the names that exist.
    pub fn shipped(name: &str) -> Result<Profile, ProfileError> {
        Profile::parse(SHIPPED, name)
    }

    /// The names of the profiles in a file.
    ///
    /// # Errors
    /// [`ProfileError::Malformed`] if the text is not a profile file.
    pub fn names(text: &str) -> Result<Vec<String>, ProfileError> {
        Ok(file(text)?.profile.into_keys().collect())
    }

    /// Reads one profile of a file.
    ///
    /// # Errors
    /// [`ProfileError`], with the names that exist if this one does not.
    pub fn parse(text: &str, name: &str) -> Result<Profile, ProfileError> {
        let mut file = file(text)?;
        let known: Vec<String> = file.profile.keys().cloned().collect();
        let Some(raw) = file.profile.remove(name) else {
            return Err(ProfileError::Unknown {
                name: name.to_owned(),
                known,
            });
        };
        let mut profile = Profile {
            name: name.to_owned(),
            describes: String::new(),
            request_sigma: file.common.request_sigma,
            size: file.size_model,
            burst: None,
            dists: BTreeMap::new(),
        };
        for (section, value) in raw {
            match (section.as_str(), value) {
                ("describes", toml::Value::String(text)) => profile.describes = text,
                ("ddb", toml::Value::Table(table)) => profile.read_ddb(&table)?,
                (_, toml::Value::Table(table)) => profile.read_section(&section, table)?,
                _ => return Err(malformed(format!("profile {name}: unexpected {section:?}"))),
            }
        }
        Ok(profile)
    }

    /// DynamoDB's operations share one shape and differ in the median of the body, except those
    /// with a shape of their own.
    fn read_ddb(&mut self, table: &toml::Table) -> Result<(), ProfileError> {
        let shape = table.get("defaults").and_then(toml::Value::as_table);
        for (name, value) in table {
            match name.as_str() {
                "defaults" => {}
                "body_median" => {
                    let medians = value.as_table().into_iter().flatten();
                    for (operation, median) in medians {
                        let mut dist = shape.cloned().unwrap_or_default();
                        dist.insert("body_median".to_owned(), median.clone());
                        self.insert(format!("ddb.{operation}"), toml::Value::Table(dist))?;
                    }
                }
                _ => self.insert(format!("ddb.{name}"), value.clone())?,
            }
        }
        Ok(())
    }

    fn read_section(&mut self, section: &str, table: toml::Table) -> Result<(), ProfileError> {
        for (name, value) in table {
            match name.as_str() {
                "burst_concurrency" => {
                    let burst = value
                        .try_into()
                        .map_err(|error| malformed(error.to_string()))?;
                    self.burst = Some(burst);
                }
                // Plain figures such as a bandwidth are read by whoever needs them.
                _ if !value.is_table() => {}
                _ => self.insert(format!("{section}.{name}"), value)?,
            }
        }
        Ok(())
    }

    fn insert(&mut self, name: String, value: toml::Value) -> Result<(), ProfileError> {
        let dist = value
            .try_into::<Dist>()
            .map_err(|error| malformed(format!("{}.{name}: {error}", self.name)))?;
        self.dists.insert(name, dist);
        Ok(())
    }

    /// A distribution by name, such as `faas.sync_invoke`.
    pub fn dist(&self, name: &str) -> Option<&Dist> {
        self.dists.get(name)
    }

    /// A distribution that the simulation cannot do without.
    ///
    /// # Errors
    /// [`ProfileError::Missing`].
    pub fn require(&self, name: &str) -> Result<Dist, ProfileError> {
        self.dist(name)
            .copied()
            .ok_or_else(|| ProfileError::Missing {
                profile: self.name.clone(),
                entry: name.to_owned(),
            })
    }

    /// Replaces the median of one distribution: for sensitivity runs, never to fit a figure.
    ///
    /// # Errors
    /// [`ProfileError::Missing`] if there is no such distribution.
    pub fn set_median(&mut self, name: &str, median_ms: f64) -> Result<(), ProfileError> {
        let dist = self.require(name)?.with_median(median_ms);
        self.dists.insert(name.to_owned(), dist);
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "schema")]
    _schema: u32,
    #[serde(rename = "generated")]
    _generated: Option<String>,
    common: Common,
    size_model: SizeModel,
    profile: BTreeMap<String, toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    request_sigma: f64,
}

fn file(text: &str) -> Result<File, ProfileError> {
    toml::from_str(text).map_err(|error| malformed(error.to_string()))
}

fn malformed(message: String) -> ProfileError {
    ProfileError::Malformed(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_profile_loads() {
        for name in Profile::names(SHIPPED).unwrap() {
            let profile = Profile::shipped(&name).unwrap();
            assert!(
                !profile.describes.is_empty() && !profile.dists.is_empty(),
                "{name}"
            );
        }
        let profile = Profile::shipped("aws-2020").unwrap();
        for name in [
            "ddb.update",
            "ddb.txn_write",
            "faas.sync_invoke",
            "faas.cold_init",
        ] {
            assert!(profile.dist(name).is_some(), "{name}");
        }
        assert_eq!(profile.burst.unwrap().account_limit, 1000);
    }

    #[test]
    fn an_unknown_profile_lists_those_that_exist() {
        let error = Profile::shipped("aws-2021").unwrap_err().to_string();
        assert!(
            error.contains("aws-2020, aws-2025, ec2-2021, ec2-lan"),
            "{error}"
        );
    }

    #[test]
    fn a_draw_has_the_profile_s_median() {
        let profile = Profile::shipped("aws-2020").unwrap();
        let mut random = Random::new(3);
        let mut draws: Vec<f64> = (0..20_001)
            .map(|_| {
                profile
                    .dist("faas.sync_invoke")
                    .unwrap()
                    .draw_ms(&mut random, 1.0)
            })
            .collect();
        draws.sort_by(f64::total_cmp);
        assert!((draws[10_000] - 18.0).abs() < 0.3, "{}", draws[10_000]);
    }
}
