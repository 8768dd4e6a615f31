//! Spans of time as people write them: a number and a unit.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use triptych_world::{MS, Nanos, SECOND, US};

/// Units by name, longest last.
const UNITS: [(&str, Nanos); 6] = [
    ("ns", 1),
    ("us", US),
    ("ms", MS),
    ("s", SECOND),
    ("min", 60 * SECOND),
    ("h", 3_600 * SECOND),
];

/// A span of time, written like `"60s"`, `"500ms"` or `"1.5min"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Nanos);

/// The names of all units, for messages.
pub(super) fn units() -> String {
    UNITS.map(|(name, _)| name).join(", ")
}

impl Span {
    /// Reads a span.
    ///
    /// # Errors
    /// What is wrong with the text, in words.
    pub fn parse(text: &str) -> Result<Span, String> {
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = (&text[..end], text[end..].trim());
        let number: f64 = number
            .parse()
            .map_err(|_| format!("`{text}` is not a span of time such as \"60s\" or \"500ms\""))?;
        let names = UNITS.map(|(name, _)| name);
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(match unit {
                "" => format!("`{text}` has no unit; the units are {}", units()),
                _ => {
                    let hint = super::nearest(unit, names)
                        .map_or_else(String::new, |name| format!("did you mean `{name}`? "));
                    format!(
                        "`{unit}` is not a unit of time; {hint}the units are {}",
                        units()
                    )
                }
            });
        };
        let nanos = (number * *scale as f64).round();
        // A century is more than anybody means.
        if nanos > 3.2e18 {
            return Err(format!("`{text}` is too long"));
        }
        Ok(Span(nanos as Nanos))
    }
}

impl std::fmt::Display for Span {
    /// In the largest unit that divides it, so that it reads back as the same.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fits = |(_, scale): &&(&str, Nanos)| self.0 > 0 && self.0.is_multiple_of(*scale);
        let (name, scale) = UNITS.iter().rev().find(fits).unwrap_or(&("s", SECOND));
        write!(f, "{}{name}", self.0 / scale)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Span::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "span",
            "pattern": "^[0-9]+(\\.[0-9]+)? *(ns|us|ms|s|min|h)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_back_as_they_are_shown() {
        for (text, nanos) in [
            ("60s", 60 * SECOND),
            ("500ms", 500 * MS),
            ("2min", 120 * SECOND),
            ("1.5s", 1_500 * MS),
            ("1h", 3_600 * SECOND),
            ("0s", 0),
            ("3 us", 3_000),
        ] {
            let span = Span::parse(text).unwrap();
            assert_eq!(span.0, nanos, "{text}");
            assert_eq!(Span::parse(&span.to_string()), Ok(span));
        }
        assert_eq!(Span(60 * SECOND).to_string(), "1min");
    }

    #[test]
    fn mistakes_are_told() {
        assert!(Span::parse("60").unwrap_err().contains("no unit"));
        let error = Span::parse("60sec").unwrap_err();
        assert!(
            error.contains("did you mean `s`") && error.contains("min"),
            "{error}"
        );
        assert!(Span::parse("fast").unwrap_err().contains("60s"));
        assert!(Span::parse("99999999h").unwrap_err().contains("too long"));
    }
}
