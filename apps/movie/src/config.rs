//! The settings of the app, typed.

use std::collections::BTreeMap;
use triptych_api::settings::{choose, positive};

/// How a compose request is arranged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Formulation {
    /// The front function awaits its parts and stores the review itself.
    #[default]
    Orch,
    /// Functions hand their parts on; the last one to arrive fires the join.
    Choreo,
    /// Stages one after another, each of which may run on another host: parts, review, body, lists.
    /// No transaction and no atomic join; what a stage sees of those before it is up to the
    /// runtime's causal order.
    Causal,
}

/// Whose amount of work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// Nobody's: effects really happen, and the oracle applies in full.
    #[default]
    None,
    /// That of the port that was published with Beldi, its defects D2 and D3 included.
    Beldi,
    /// That of the application that was published with CausalMesh, its defect D16 included.
    CausalMesh,
}

/// What an acknowledged compose has already done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// Everything: the review is stored, listed and counted.
    #[default]
    AfterStore,
    /// The rest was handed over, and happens after the answer.
    AfterHandoff,
}

/// The settings of the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// See [`Formulation`].
    pub formulation: Formulation,
    /// How many of the newest entries a review list keeps; all if absent.
    pub keep: Option<usize>,
    /// See [`Compat`].
    pub compat: Compat,
    /// See [`Ack`].
    pub ack: Ack,
    /// How many reviews there are before the run; see [`crate::loaded`].
    pub reviews: usize,
}

impl Config {
    /// Reads the app's own keys out of a profile's settings.
    ///
    /// # Errors
    /// A value, or a combination of values, that the app does not know.
    pub fn from_settings(settings: &BTreeMap<String, String>) -> Result<Self, String> {
        use {Ack::*, Compat::*, Formulation::*};
        let formulation = choose(
            settings,
            "formulation",
            &[("orch", Orch), ("choreo", Choreo), ("causal", Causal)],
        )?
        .unwrap_or(Orch);
        let compats = [("none", None), ("beldi", Beldi), ("causalmesh", CausalMesh)];
        let compat = choose(settings, "compat", &compats)?.unwrap_or(None);
        let acks = [("after-store", AfterStore), ("after-handoff", AfterHandoff)];
        let ack = match (formulation, choose(settings, "ack", &acks)?) {
            (Orch, ack) => ack.unwrap_or(AfterStore),
            (Choreo, Some(AfterStore)) => {
                return Err(
                    "ack = \"after-store\" needs formulation = \"orch\": in \"choreo\" \
                            nobody awaits the join; allowed: after-handoff"
                        .to_owned(),
                );
            }
            (Choreo, _) => AfterHandoff,
            (Causal, Some(AfterHandoff)) => {
                return Err(
                    "ack = \"after-handoff\" needs formulation = \"orch\" or \"choreo\": in \
                            \"causal\" every stage is awaited; allowed: after-store"
                        .to_owned(),
                );
            }
            (Causal, _) => AfterStore,
        };
        let keep = positive(settings, "keep")?;
        if compat == Beldi && (formulation, keep) != (Choreo, Option::None) {
            return Err(
                "compat = \"beldi\" needs formulation = \"choreo\" and no keep: the \
                        published port has no other arrangement"
                    .to_owned(),
            );
        }
        if compat == CausalMesh && (formulation != Causal || keep.is_none()) {
            return Err(
                "compat = \"causalmesh\" needs formulation = \"causal\" and keep: the published \
                        application has no other arrangement, and its lists are bounded"
                    .to_owned(),
            );
        }
        let reviews = match settings.get("reviews").map(String::as_str) {
            Option::None | Some("0") => 0,
            Some(_) => positive(settings, "reviews")?.unwrap_or_default(),
        };
        Ok(Config {
            formulation,
            keep,
            compat,
            ack,
            reviews,
        })
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
    fn the_acknowledgement_follows_the_formulation() {
        assert_eq!(config(&[]), Ok(Config::default()));
        assert_eq!(
            config(&[("formulation", "choreo")]).map(|c| c.ack),
            Ok(Ack::AfterHandoff)
        );
        assert_eq!(
            config(&[("ack", "after-handoff")]).map(|c| c.ack),
            Ok(Ack::AfterHandoff)
        );
        assert!(config(&[("formulation", "choreo"), ("ack", "after-store")]).is_err());
        let causal = config(&[("formulation", "causal"), ("reviews", "50")]);
        assert_eq!(
            causal.map(|c| (c.ack, c.reviews)),
            Ok((Ack::AfterStore, 50))
        );
        assert!(config(&[("formulation", "causal"), ("ack", "after-handoff")]).is_err());
    }

    #[test]
    fn unknown_values_are_refused_with_the_known_ones() {
        for (key, value, allowed) in [
            ("formulation", "txn", "orch, choreo, causal"),
            ("compat", "boki", "none, beldi, causalmesh"),
            ("ack", "now", "after-store, after-handoff"),
            ("keep", "0", "from 1"),
            ("keep", "ten", "from 1"),
            ("reviews", "many", "from 1"),
        ] {
            let error = config(&[(key, value)]).expect_err("is unknown");
            assert!(error.contains(allowed) && error.contains(value), "{error}");
        }
        assert!(config(&[("compat", "beldi")]).is_err());
        let mesh = [
            ("compat", "causalmesh"),
            ("formulation", "causal"),
            ("keep", "10"),
        ];
        assert!(config(&mesh).is_ok());
        assert!(config(&mesh[..2]).is_err());
        assert!(config(&[mesh[0], mesh[2]]).is_err());
    }
}
