//! The travel application: people search hotels, ask for recommendations, log in, and reserve a
//! hotel together with a flight.
//!
//! A newcomer can start with [`app`], which builds the eleven functions as a profile's settings say,
//! and then follow one reservation: [`gateway`] takes it in, [`frontend`] arranges it as a
//! transaction or a saga, [`seats`] (or [`nights`]) takes a place of the hotel and of the flight, and
//! [`orders`] keeps the result. What is only read is in [`search`], [`hotels`] and [`accounts`].
//! [`rules`] are the invariants T1–T11 that a run must have kept.
//!
//! Unlike the published ports, this one really sells: capacity goes down, hotels sell out, and a
//! reservation of which one leg is refused must leave no trace of the other.
//!
//! | setting | values | meaning |
//! |---|---|---|
//! | `formulation` | `txn` (default), `saga`, `steps` | one transaction; legs with compensation; a workflow of the platform |
//! | `mode` | `seats` (default), `dates` | places for all times, or rooms by night |
//! | `order` | `async` (default), `inside` | the order is handed over at the commit, or placed in the transaction |
//! | `compat` | `none` (default), `beldi` | do the work of the published port, its defects included |

pub mod accounts;
mod config;
mod defect;
pub mod frontend;
pub mod gateway;
pub mod geometry;
pub mod hotels;
pub mod nights;
pub mod orders;
pub mod rules;
pub mod search;
pub mod seats;
mod steps;

pub use config::{Compat, Config, Formulation, Mode, Order};
pub use defect::Defect;

use std::collections::BTreeMap;
use triptych_api::{App, KindSpec, Name, Shows, Value};

/// The application's name, as profiles give it.
pub const NAME: &str = "travel";

/// Builds the application as the settings say. Keys that are not the app's are not looked at: a
/// profile's settings hold the generator's as well.
///
/// # Errors
/// A value that the app does not know; the text lists the allowed ones.
pub fn app(settings: &BTreeMap<String, String>) -> std::result::Result<App, String> {
    app_with(settings, None)
}

/// The settings and the seeded bug, for every function.
#[derive(Clone, Copy)]
struct Setup {
    config: Config,
    defect: Option<Defect>,
}

impl Setup {
    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }
}

/// [`app`] with a seeded bug, to test that the rules find it.
///
/// # Errors
/// See [`app`].
pub fn app_with(
    settings: &BTreeMap<String, String>,
    defect: Option<Defect>,
) -> std::result::Result<App, String> {
    let config = Config::from_settings(settings)?;
    let setup = Setup { config, defect };
    let mut functions = vec![gateway::function(setup), frontend::function(setup)];
    functions.extend(search::functions(setup));
    functions.extend(hotels::functions(setup));
    functions.push(accounts::function(setup));
    functions.extend(seats::functions(setup));
    functions.push(orders::function(setup));
    let workflows = match config.formulation {
        Formulation::Steps => vec![steps::workflow()],
        _ => Vec::new(),
    };
    Ok(App {
        name: NAME,
        functions,
        workflows,
        kinds: kinds(config),
        elements: match (config.formulation, config.compat) {
            (Formulation::Txn | Formulation::Steps, Compat::None) => elements,
            // Nobody asks for isolation, or nothing is ever appended.
            _ => |_, _| None,
        },
        observe,
        rules: rules::check,
    })
}

fn kinds(config: Config) -> Vec<KindSpec> {
    let kind = |name, function, op, effects| KindSpec {
        name,
        function,
        op,
        effects,
    };
    let (function, op) = match config.formulation {
        Formulation::Steps => (steps::NAME, ""),
        _ => ("Gateway", "Reserve"),
    };
    vec![
        kind("search", "Gateway", "Search", false),
        kind("recommend", "Gateway", "Recommend", false),
        kind("user", "Gateway", "User", false),
        kind("reserve", function, op, true),
    ]
}

/// The orders that a hotel, a flight or a night has taken, and which order is kept in a row.
fn elements(table: &str, row: &Value) -> Option<Shows> {
    let field = match table {
        "Hotel" | "Flight" => "customers",
        "Night" => "stays",
        "Order" => {
            let id = row.get("orderId").and_then(Value::as_str);
            return id.map(|id| Shows::Version(Name::from(id)));
        }
        _ => return None,
    };
    let names = row.get(field).and_then(Value::as_list).unwrap_or_default();
    let names = names.iter().map(|name| match name {
        Value::Str(name) => name.clone(),
        other => Name::from(format!("{other:?}")),
    });
    Some(Shows::List(names.collect()))
}

/// What the rules need of an answer: of hotels their ids, of a reservation all of its few fields.
fn observe(kind: &str, _input: &Value, output: &Value) -> Value {
    let field = |name: &str| output.get(name).cloned().unwrap_or_default();
    match kind {
        "search" | "recommend" => field("hotelIds"),
        "user" => field("correct"),
        "reserve" => output.clone(),
        _ => Value::Null,
    }
}
