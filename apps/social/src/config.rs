//! The settings of the app, typed.

use std::collections::BTreeMap;
use triptych_api::settings::{choose, positive};

/// How the effects of a new post are arranged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Formulation {
    /// The post is stored, the timelines are handed over, and the client has its answer.
    #[default]
    Async,
    /// The answer comes after every timeline has the post.
    Sync,
    /// Post and timelines are one transaction, and so is what a read looks at.
    Txn,
    /// No transaction anywhere: the post is stored, then all timelines get it in parallel, and a follow
    /// is two updates. What a reader on another host sees together is up to the runtime's causal
    /// order.
    Causal,
}

/// Whose defects are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// Nobody's: the oracle applies in full.
    #[default]
    None,
    /// Those of `DeathStarBench` (D13, D14).
    Dsb,
    /// What the load script that was published with Beldi asks for (D17).
    Beldi,
}

/// A seeded bug of the app, for tests of the rules. No setting names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The fan-out forgets one of those whose home timeline should have the post.
    SkipFollower,
    /// The timelines name a post before its body is stored.
    ExposeFirst,
    /// The fan-out is handed over twice.
    FanOutTwice,
    /// The author's timeline is not told of the post.
    DropHandOff,
    /// A follow or unfollow changes the follower's side alone.
    OneSidedFollow,
    /// Every URL gets the same short code.
    ReuseShortCode,
    /// A reply is handed over to the timelines before it is stored.
    ReplyFirst,
    /// A reply is in the timelines, and often long before it is in its thread.
    LateInThread,
    /// The author's own home timeline gets the post.
    TellStranger,
    /// One read of a timeline in four is answered from an old copy.
    StaleRead,
    /// The fan-out goes to the followers that were loaded, whoever has unfollowed since.
    StaleFollowers,
}

impl Defect {
    /// All of them, each with the rule that is meant for it.
    pub const ALL: [(Defect, &'static str); 11] = [
        (Defect::SkipFollower, "S4"),
        (Defect::ExposeFirst, "S8"),
        (Defect::FanOutTwice, "S4"),
        (Defect::DropHandOff, "S3"),
        (Defect::OneSidedFollow, "S7"),
        (Defect::ReuseShortCode, "S2"),
        (Defect::ReplyFirst, "S8"),
        (Defect::LateInThread, "S9"),
        (Defect::TellStranger, "S4"),
        (Defect::StaleRead, "S10"),
        (Defect::StaleFollowers, "S11"),
    ];
}

/// The settings of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// See [`Formulation`].
    pub formulation: Formulation,
    /// How many home timelines one instance of the fan-out inserts into.
    pub chunk: usize,
    /// How many of the newest entries a home timeline keeps; all if absent.
    pub keep: Option<usize>,
    /// See [`Compat`].
    pub compat: Compat,
    /// See [`Defect`].
    pub defect: Option<Defect>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            formulation: Formulation::default(),
            chunk: 32,
            keep: None,
            compat: Compat::default(),
            defect: None,
        }
    }
}

impl Config {
    /// Reads the app's own keys out of a profile's settings.
    ///
    /// # Errors
    /// A value, or a combination of values, that the app does not know.
    pub fn from_settings(settings: &BTreeMap<String, String>) -> Result<Self, String> {
        use {Compat::*, Formulation::*};
        let formulations = [
            ("async", Async),
            ("sync", Sync),
            ("txn", Txn),
            ("causal", Causal),
        ];
        let formulation = choose(settings, "formulation", &formulations)?.unwrap_or_default();
        let compats = [("none", None), ("dsb", Dsb), ("beldi", Beldi)];
        let compat = choose(settings, "compat", &compats)?.unwrap_or_default();
        match (compat, formulation) {
            (Dsb, Async | Txn | Causal) => {
                return Err(
                    "compat = \"dsb\" needs formulation = \"sync\": DeathStarBench \
                            answers after all inserts, without a transaction"
                        .to_owned(),
                );
            }
            (Beldi, Txn | Causal) => {
                return Err(
                    "compat = \"beldi\" needs formulation = \"async\" or \"sync\": \
                            the published script posts without a transaction"
                        .to_owned(),
                );
            }
            _ => {}
        }
        let default = Config::default();
        Ok(Config {
            formulation,
            chunk: positive(settings, "chunk")?.unwrap_or(default.chunk),
            keep: positive(settings, "keep")?,
            compat,
            defect: default.defect,
        })
    }

    /// Whether an acknowledged post is in every timeline already.
    pub fn awaits_timelines(self) -> bool {
        self.formulation != Formulation::Async
    }

    pub(crate) fn has(self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let settings = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Config::from_settings(&settings)
    }

    #[test]
    fn absent_keys_have_defaults_and_others_are_not_looked_at() {
        assert_eq!(config(&[("users", "many")]), Ok(Config::default()));
        let config = config(&[("formulation", "txn"), ("chunk", "8"), ("keep", "100")]);
        let config = config.expect("is known");
        assert_eq!(
            (config.formulation, config.chunk, config.keep),
            (Formulation::Txn, 8, Some(100))
        );
        assert!(config.awaits_timelines());
    }

    #[test]
    fn unknown_values_are_refused_with_the_known_ones() {
        for (key, value, allowed) in [
            ("formulation", "orch", "async, sync, txn, causal"),
            ("compat", "boki", "none, dsb, beldi"),
            ("chunk", "0", "from 1"),
            ("keep", "ten", "from 1"),
        ] {
            let error = config(&[(key, value)]).expect_err("is unknown");
            assert!(error.contains(allowed) && error.contains(value), "{error}");
        }
        assert!(config(&[("compat", "dsb")]).is_err());
        assert!(config(&[("compat", "dsb"), ("formulation", "sync")]).is_ok());
        assert!(config(&[("compat", "beldi"), ("formulation", "txn")]).is_err());
        assert!(config(&[("compat", "beldi"), ("formulation", "causal")]).is_err());
        assert!(config(&[("compat", "dsb"), ("formulation", "causal")]).is_err());
        assert!(config(&[("compat", "beldi")]).is_ok());
    }
}
