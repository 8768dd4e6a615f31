//! The settings of the app, typed.

use std::collections::BTreeMap;
use triptych_api::settings::choose;

/// How a reservation is arranged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Formulation {
    /// One transaction over all legs.
    #[default]
    Txn,
    /// Leg by leg, and what was taken is given back if a later leg is refused.
    Saga,
    /// A graph of calls that the platform runs, as one transaction.
    Steps,
}

/// What can be reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Seats: a hotel and a flight have so many places, for all times.
    #[default]
    Seats,
    /// Nights: a hotel has so many rooms every night, and a stay needs all of its nights.
    Dates,
}

/// How the order of a transaction comes to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// It is handed over, and the hand-off commits with the transaction.
    #[default]
    Async,
    /// It is placed inside the transaction.
    Inside,
}

/// Whose amount of work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// Nobody's: effects really happen, and the oracle applies in full.
    #[default]
    None,
    /// That of the port that was published with Beldi, its defects D1, D4 (where executions are
    /// not repeated alike) and D6 included.
    Beldi,
}

/// The settings of the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// See [`Formulation`].
    pub formulation: Formulation,
    /// See [`Mode`].
    pub mode: Mode,
    /// See [`Order`].
    pub order: Order,
    /// See [`Compat`].
    pub compat: Compat,
}

impl Config {
    /// Reads the app's own keys out of a profile's settings.
    ///
    /// # Errors
    /// A value, or a combination of values, that the app does not know.
    pub fn from_settings(settings: &BTreeMap<String, String>) -> Result<Self, String> {
        use {Compat::*, Formulation::*, Mode::*, Order::*};
        let formulations = [("txn", Txn), ("saga", Saga), ("steps", Steps)];
        let config = Config {
            formulation: choose(settings, "formulation", &formulations)?.unwrap_or_default(),
            mode: choose(settings, "mode", &[("seats", Seats), ("dates", Dates)])?
                .unwrap_or_default(),
            order: choose(settings, "order", &[("async", Async), ("inside", Inside)])?
                .unwrap_or_default(),
            compat: choose(settings, "compat", &[("none", None), ("beldi", Beldi)])?
                .unwrap_or_default(),
        };
        let needs_txn = match config {
            Config { mode: Dates, .. } => "mode = \"dates\"",
            Config { compat: Beldi, .. } => "compat = \"beldi\"",
            Config { order: Inside, .. } => "order = \"inside\"",
            _ => return Ok(config),
        };
        if config.formulation != Txn {
            return Err(format!(
                "{needs_txn} needs formulation = \"txn\": there is no other arrangement of it"
            ));
        }
        if config.compat == Beldi && (config.mode, config.order) != (Seats, Async) {
            return Err(
                "compat = \"beldi\" needs mode = \"seats\" and order = \"async\": the published \
                 port has nothing else"
                    .to_owned(),
            );
        }
        Ok(config)
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
    fn unknown_values_are_refused_with_the_known_ones() {
        assert_eq!(config(&[]), Ok(Config::default()));
        for (key, value, allowed) in [
            ("formulation", "orch", "txn, saga, steps"),
            ("mode", "days", "seats, dates"),
            ("order", "later", "async, inside"),
            ("compat", "boki", "none, beldi"),
        ] {
            let error = config(&[(key, value)]).expect_err("is unknown");
            assert!(error.contains(allowed) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn what_there_is_no_arrangement_of_is_refused() {
        for pairs in [
            [("mode", "dates"), ("formulation", "saga")],
            [("order", "inside"), ("formulation", "steps")],
            [("compat", "beldi"), ("formulation", "saga")],
            [("compat", "beldi"), ("mode", "dates")],
            [("compat", "beldi"), ("order", "inside")],
        ] {
            assert!(config(&pairs).is_err(), "{pairs:?}");
        }
        assert!(config(&[("mode", "dates"), ("order", "inside")]).is_ok());
    }
}
