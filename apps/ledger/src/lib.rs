//! The ledger: an application made to test isolation, two branches of a bank and a desk before them.
//!
//! A newcomer can start with [`desk`]: a client's transaction reads lists and appends to them at both
//! branches, moves money between accounts, or adds up all of it. [`branch`] is what one branch does.
//! Every element is appended once, so that a history of reads and appends tells the order of
//! everything (list-append), and the sum of all balances never changes (the bank test). [`rules`] are
//! the invariants; what only a history can show is the history checker's affair.
//!
//! | setting | values | meaning |
//! |---|---|---|
//! | `accounts` | a number ≥ 1, 10 if absent | accounts of each branch |
//! | `initial` | a number ≥ 0, 100 if absent | what is in each account in the beginning |

pub mod branch;
pub mod desk;
pub mod rules;

use std::collections::BTreeMap;
use triptych_api::{App, KindSpec, Name, Shows, Value};

/// The application's name, as profiles give it.
pub const NAME: &str = "ledger";

/// The settings of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Accounts of each branch.
    pub accounts: i64,
    /// What is in each account in the beginning.
    pub initial: i64,
}

impl Config {
    /// Reads the app's own keys out of a profile's settings.
    ///
    /// # Errors
    /// A value that the app does not know.
    pub fn from_settings(settings: &BTreeMap<String, String>) -> Result<Self, String> {
        let number = |key: &str, least: i64, absent: i64| match settings.get(key) {
            None => Ok(absent),
            Some(text) => match text.parse::<i64>() {
                Ok(number) if number >= least => Ok(number),
                _ => Err(format!(
                    "{key} = {text:?} is not known; allowed: a whole number from {least}"
                )),
            },
        };
        Ok(Config {
            accounts: number("accounts", 1, 10)?,
            initial: number("initial", 0, 100)?,
        })
    }

    /// What all accounts hold together, always.
    pub fn sum(&self) -> i64 {
        self.initial.saturating_mul(self.accounts).saturating_mul(2)
    }
}

/// Builds the application as the settings say. Keys that are not the app's are not looked at.
///
/// # Errors
/// A value that the app does not know; the text lists the allowed ones.
pub fn app(settings: &BTreeMap<String, String>) -> Result<App, String> {
    let config = Config::from_settings(settings)?;
    let mut functions = vec![desk::function(config)];
    functions.extend(branch::functions());
    Ok(App {
        name: NAME,
        functions,
        workflows: Vec::new(),
        kinds: kinds(),
        elements,
        observe,
        rules: rules::check,
    })
}

fn kinds() -> Vec<KindSpec> {
    let kind = |name, op, effects| KindSpec {
        name,
        function: "Desk",
        op,
        effects,
    };
    vec![
        kind("mix", "Mix", true),
        kind("transfer", "Transfer", true),
        kind("total", "Total", false),
        kind("look", "Look", false),
    ]
}

/// The lists of both branches. A row without entries is an empty list.
fn elements(table: &str, row: &Value) -> Option<Shows> {
    if !branch::LISTS.contains(&table) {
        return None;
    }
    let entries = row.get("entries").and_then(Value::as_list);
    let names = entries.unwrap_or_default().iter().map(|entry| match entry {
        Value::Str(name) => name.clone(),
        other => Name::from(format!("{other:?}")),
    });
    Some(Shows::List(names.collect()))
}

/// What the rules need of an answer: the sum that a `total` found.
fn observe(kind: &str, _input: &Value, output: &Value) -> Value {
    match kind {
        "total" => output.clone(),
        _ => Value::Null,
    }
}
