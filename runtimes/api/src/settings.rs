//! Reading an app's own keys out of a profile's settings, with errors that name what is allowed.

use std::collections::BTreeMap;

/// The value of a key by its name; nothing if the key is not set.
///
/// # Errors
/// A name that is not among the allowed ones; the text lists those.
pub fn choose<T: Copy>(
    settings: &BTreeMap<String, String>,
    key: &str,
    allowed: &[(&str, T)],
) -> Result<Option<T>, String> {
    let Some(text) = settings.get(key) else {
        return Ok(None);
    };
    match allowed.iter().find(|(name, _)| name == text) {
        Some((_, value)) => Ok(Some(*value)),
        None => {
            let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
            Err(format!(
                "{key} = {text:?} is not known; allowed: {}",
                names.join(", ")
            ))
        }
    }
}

/// A whole number from 1; nothing if the key is not set.
///
/// # Errors
/// Any other text.
pub fn positive(settings: &BTreeMap<String, String>, key: &str) -> Result<Option<usize>, String> {
    let number = settings.get(key).map(|text| match text.parse::<usize>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!(
            "{key} = {text:?} is not known; allowed: a whole number from 1"
        )),
    });
    number.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_is_answered_with_what_is() {
        let settings = [("kind", "b"), ("many", "0")];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let settings = BTreeMap::from(settings);
        let kinds = [("a", 1), ("b", 2)];
        assert_eq!(choose(&settings, "kind", &kinds), Ok(Some(2)));
        assert_eq!(choose(&settings, "other", &kinds), Ok(None));
        let error = choose(&settings, "kind", &kinds[..1]).expect_err("is not allowed");
        assert_eq!(error, "kind = \"b\" is not known; allowed: a");
        assert!(positive(&settings, "many").is_err_and(|error| error.contains("from 1")));
        assert_eq!(positive(&settings, "few"), Ok(None));
    }
}
