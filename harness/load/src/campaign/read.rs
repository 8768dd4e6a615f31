//! Reads a TOML file into a type, and shows everything that is wrong with it.

use super::check;
use super::source::{Mistake, Mistakes};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// Parts of a file that do not fit together, though each is fine by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The keys (and positions in lists) that lead to what is to blame.
    pub path: Vec<String>,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub help: Vec<String>,
}

/// Reads a file of a type. `file` is what messages call it; `schema` is the type's JSON schema, with
/// the names that exist; `contradictions` finds what no schema can say.
///
/// # Errors
/// Every mistake in it.
pub fn read<T: DeserializeOwned>(
    file: &str,
    text: &str,
    schema: &Json,
    contradictions: impl FnOnce(&T) -> Vec<Contradiction>,
) -> Result<T, Mistakes> {
    let failed = |mistakes| Mistakes {
        file: file.to_owned(),
        text: text.to_owned(),
        mistakes,
    };
    let syntax = |error: toml::de::Error| Mistake {
        at: error.span().unwrap_or(0..0),
        what: error.message().to_owned(),
        help: Vec::new(),
    };
    let (document, errors) = toml::de::DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(failed(errors.into_iter().map(syntax).collect()));
    }
    let mistakes = check::mistakes(schema, &document);
    if !mistakes.is_empty() {
        return Err(failed(mistakes));
    }
    // What the schema lets through, serde takes; its own message is a last resort.
    let value: T = toml::from_str(text).map_err(|error| failed(vec![syntax(error)]))?;
    let mistakes = contradictions(&value).into_iter().map(|wrong| {
        let path: Vec<&str> = wrong.path.iter().map(String::as_str).collect();
        Mistake {
            at: check::place(&document, &path),
            what: wrong.what,
            help: wrong.help,
        }
    });
    let mistakes: Vec<Mistake> = mistakes.collect();
    if mistakes.is_empty() {
        Ok(value)
    } else {
        Err(failed(mistakes))
    }
}
