//! Checks a TOML document against the JSON schema of the type that it should become.
//!
//! Serde stops at its first error; this collects all of them, each with its place in the file. The
//! schema is generated from the type, with the names that exist as enumerations, so there is one
//! source of truth, and an editor that knows the schema says the same.

use super::nearest;
use super::source::Mistake;
use super::units::Span;
use serde_json::Value as Json;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Everything that is wrong with the document, in the order of the file.
pub(super) fn mistakes(schema: &Json, document: &Spanned<DeTable<'_>>) -> Vec<Mistake> {
    let mut check = Check {
        root: schema,
        found: Vec::new(),
    };
    check.table(schema, document.get_ref(), &(0..0), "");
    check.found.sort_by_key(|mistake| mistake.at.start);
    check.found
}

/// Where the value (or, with an empty path, the document) at a path of keys and positions is.
pub(super) fn place(document: &Spanned<DeTable<'_>>, path: &[&str]) -> Range<usize> {
    let mut at = 0..0;
    let Some((first, rest)) = path.split_first() else {
        return at;
    };
    let Some(mut value) = document.get_ref().get(*first) else {
        return at;
    };
    at = value.span();
    for part in rest {
        let inner = match value.get_ref() {
            DeValue::Table(table) => table.get(*part),
            DeValue::Array(array) => part.parse().ok().and_then(|n: usize| array.get(n)),
            _ => None,
        };
        let Some(inner) = inner else { break };
        at = inner.span();
        value = inner;
    }
    at
}

struct Check<'a> {
    root: &'a Json,
    found: Vec<Mistake>,
}

impl<'a> Check<'a> {
    fn resolve(&self, schema: &'a Json) -> &'a Json {
        let reference = schema.get("$ref").and_then(Json::as_str);
        let pointed = reference.and_then(|path| self.root.pointer(path.trim_start_matches('#')));
        pointed.unwrap_or(schema)
    }

    fn wrong(&mut self, at: Range<usize>, what: String, help: Vec<String>) {
        self.found.push(Mistake { at, what, help });
    }

    fn table(&mut self, schema: &'a Json, table: &DeTable<'_>, at: &Range<usize>, name: &str) {
        let none = serde_json::Map::new();
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema
            .get("additionalProperties")
            .filter(|others| others.is_object());
        for (key, value) in table {
            let known = properties
                .and_then(|known| known.get(&**key.get_ref()))
                .or(others);
            match known {
                Some(schema) => self.value(schema, value, key.get_ref()),
                None => self.unknown_key(properties.unwrap_or(&none), key, name),
            }
        }
        for key in schema
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
        {
            let Some(key) = key.as_str() else { continue };
            if !table.contains_key(key) {
                let place = if name.is_empty() {
                    String::new()
                } else {
                    format!(" in [{name}]")
                };
                let about = properties.and_then(|known| known.get(key));
                let help = about
                    .map(|schema| self.describe(key, schema))
                    .into_iter()
                    .collect();
                self.wrong(
                    at.clone(),
                    format!("the key `{key}` is missing{place}"),
                    help,
                );
            }
        }
    }

    fn unknown_key(
        &mut self,
        known: &serde_json::Map<String, Json>,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        table: &str,
    ) {
        let name: &str = key.get_ref();
        let place = if table.is_empty() {
            "here".to_owned()
        } else {
            format!("in [{table}]")
        };
        let mut help = Vec::new();
        // A key that exists elsewhere was rather misplaced than misspelt.
        if let Some(section) = self.section_with(name) {
            help.push(format!("did you mean `{name}` {section}?"));
        } else if let Some(near) = nearest(name, known.keys().map(String::as_str)) {
            help.push(format!("did you mean `{near}`?"));
        }
        let mut keys: Vec<&str> = known.keys().map(String::as_str).collect();
        keys.sort_unstable();
        help.push(format!("the keys {place} are {}", keys.join(", ")));
        self.wrong(
            key.span(),
            format!("there is no key `{name}` {place}"),
            help,
        );
    }

    /// The section that knows a key which is not known where it stands.
    fn section_with(&self, key: &str) -> Option<String> {
        let top = self.root.get("properties")?.as_object()?;
        if top.contains_key(key) {
            return Some("at the top of the file, before any [section]".to_owned());
        }
        let holds = |schema: &'a Json| {
            let inner = self.alternatives(schema);
            inner
                .into_iter()
                .any(|schema| schema.pointer(&format!("/properties/{key}")).is_some())
        };
        let (name, _) = top.iter().find(|(_, schema)| holds(schema))?;
        Some(format!("in [{name}]"))
    }

    /// What a schema allows instead of each other, without "nothing", which TOML cannot say.
    fn alternatives(&self, schema: &'a Json) -> Vec<&'a Json> {
        let schema = self.resolve(schema);
        let several = ["anyOf", "oneOf"]
            .iter()
            .find_map(|key| schema.get(key)?.as_array());
        match several {
            Some(several) => several
                .iter()
                .map(|schema| self.resolve(schema))
                .filter(|schema| schema.get("type").and_then(Json::as_str) != Some("null"))
                .collect(),
            None => vec![schema],
        }
    }

    fn value(&mut self, schema: &'a Json, value: &Spanned<DeValue<'_>>, name: &str) {
        let alternatives = self.alternatives(schema);
        let fitting = alternatives
            .iter()
            .find(|schema| fits(schema, value.get_ref()));
        let Some(fitting) = fitting else {
            let kind = kind(value.get_ref());
            let expected = self.expected(schema);
            let what = format!("`{name}` should be {expected}, but this is {kind}");
            let help = vec![self.describe(name, schema)];
            return self.wrong(value.span(), what, help);
        };
        let fitting: &'a Json = fitting;
        match value.get_ref() {
            DeValue::String(text) => self.text(&alternatives, text, value.span(), name),
            DeValue::Integer(_) | DeValue::Float(_) => self.number(fitting, value, name),
            DeValue::Array(array) => {
                let least = fitting.get("minItems").and_then(Json::as_u64).unwrap_or(0);
                if (array.len() as u64) < least {
                    let help = vec![self.describe(name, schema)];
                    self.wrong(value.span(), format!("`{name}` is empty"), help);
                }
                if let Some(items) = fitting.get("items") {
                    array.iter().for_each(|item| self.value(items, item, name));
                }
            }
            DeValue::Table(table) => self.table(fitting, table, &value.span(), name),
            DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    fn text(&mut self, schemas: &[&'a Json], text: &str, at: Range<usize>, name: &str) {
        let mut allowed: Vec<&str> = Vec::new();
        for schema in schemas {
            let listed = schema
                .get("enum")
                .and_then(Json::as_array)
                .into_iter()
                .flatten();
            allowed.extend(listed.filter_map(Json::as_str));
            allowed.extend(schema.get("const").and_then(Json::as_str));
        }
        let format = schemas
            .iter()
            .find_map(|schema| schema.get("format")?.as_str());
        let word = allowed.contains(&text);
        if !allowed.is_empty() && !word && format.is_none() {
            let near = nearest(text, allowed.iter().copied());
            let mut help: Vec<String> = near
                .map(|near| format!("did you mean `{near}`?"))
                .into_iter()
                .collect();
            help.push(format!("`{name}` can be {}", allowed.join(", ")));
            return self.wrong(at, format!("there is no `{text}` for `{name}`"), help);
        }
        if format == Some("span")
            && !word
            && let Err(problem) = Span::parse(text)
        {
            let what = format!("`{name}`: {problem}");
            let mut help = vec!["write it like \"60s\", \"500ms\" or \"2min\"".to_owned()];
            help.extend(allowed.iter().map(|word| format!("or write \"{word}\"")));
            self.wrong(at, what, help);
        } else if format == Some("id") && !is_id(text) {
            let what = format!("`{name}`: \"{text}\" cannot name a folder");
            let help = "use letters, digits, `.`, `_` and `-`, not starting with `.`".to_owned();
            self.wrong(at, what, vec![help]);
        }
    }

    fn number(&mut self, schema: &'a Json, value: &Spanned<DeValue<'_>>, name: &str) {
        let Some(number) = number(value.get_ref()) else {
            let what = format!("`{name}` is not a number that can be used");
            return self.wrong(value.span(), what, Vec::new());
        };
        let bound = |key: &str| schema.get(key).and_then(Json::as_f64);
        let bounds = [
            (
                "minimum",
                "at least",
                number < bound("minimum").unwrap_or(f64::MIN),
            ),
            (
                "exclusiveMinimum",
                "more than",
                Some(number) <= bound("exclusiveMinimum"),
            ),
            (
                "maximum",
                "at most",
                number > bound("maximum").unwrap_or(f64::MAX),
            ),
        ];
        for (key, words, broken) in bounds {
            if broken && let Some(bound) = bound(key) {
                let what = format!("`{name}` should be {words} {bound}, but this is {number}");
                self.wrong(value.span(), what, vec![self.describe(name, schema)]);
            }
        }
        if !number.is_finite() {
            self.wrong(
                value.span(),
                format!("`{name}` is not a finite number"),
                Vec::new(),
            );
        }
    }

    /// What a value should be, in words.
    fn expected(&self, schema: &'a Json) -> String {
        let words = self.alternatives(schema).into_iter().map(|schema| {
            if let Some(listed) = schema.get("enum").and_then(Json::as_array) {
                let names: Vec<&str> = listed.iter().filter_map(Json::as_str).collect();
                return format!("one of {}", names.join(", "));
            }
            if let Some(word) = schema.get("const").and_then(Json::as_str) {
                return format!("`{word}`");
            }
            match types(schema).first().copied() {
                Some("string") if schema.get("format").and_then(Json::as_str) == Some("span") => {
                    "a span of time such as \"60s\"".to_owned()
                }
                Some("string") => "a text in quotes".to_owned(),
                Some("integer") => "a whole number".to_owned(),
                Some("number") => "a number".to_owned(),
                Some("boolean") => "true or false".to_owned(),
                Some("array") => match schema.get("items") {
                    Some(items) => format!("a list, each {}", self.expected(items)),
                    None => "a list".to_owned(),
                },
                Some("object") => "a [section]".to_owned(),
                _ => "something else".to_owned(),
            }
        });
        words.collect::<Vec<_>>().join(" or ")
    }

    /// A key with what it means.
    fn describe(&self, name: &str, schema: &'a Json) -> String {
        let own = schema.get("description").and_then(Json::as_str);
        let about = own.or_else(|| self.resolve(schema).get("description")?.as_str());
        let about = about.map(|about| about.split_whitespace().collect::<Vec<_>>().join(" "));
        match about {
            Some(about) => format!("`{name}`: {about} It is {}.", self.expected(schema)),
            None => format!("`{name}` is {}", self.expected(schema)),
        }
    }
}

/// Whether a text can be a folder's name on every system and never leave its parent.
fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.len() <= 100 && text.bytes().all(plain) && !text.starts_with('.')
}

fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(several)) => several
            .iter()
            .filter_map(Json::as_str)
            .filter(|name| *name != "null")
            .collect(),
        _ if schema.get("const").is_some() || schema.get("enum").is_some() => vec!["string"],
        _ => Vec::new(),
    }
}

/// Whether a value has a type that the schema allows.
fn fits(schema: &Json, value: &DeValue<'_>) -> bool {
    let types = types(schema);
    types.is_empty()
        || types.iter().any(|name| match value {
            DeValue::String(_) => *name == "string",
            DeValue::Integer(_) => *name == "integer" || *name == "number",
            DeValue::Float(_) => *name == "number",
            DeValue::Boolean(_) => *name == "boolean",
            DeValue::Array(_) => *name == "array",
            DeValue::Table(_) => *name == "object",
            DeValue::Datetime(_) => false,
        })
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .map(|n| n as f64),
        DeValue::Float(float) => float.as_str().parse().ok(),
        _ => None,
    }
}
