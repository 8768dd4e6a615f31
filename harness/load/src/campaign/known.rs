//! The names that a campaign may use, as enumerations of its schema. A new runtime, profile,
//! latency profile or price sheet appears here by itself.

use schemars::{Schema, SchemaGenerator, json_schema};
use triptych_world::latency;

/// Kinds of names that can be listed.
pub const KINDS: [&str; 5] = ["runtimes", "apps", "profiles", "prices", "latencies"];

/// The names of a kind of [`KINDS`], each with a line about it; nothing for another kind.
pub fn listed(kind: &str) -> Option<Vec<(String, String)>> {
    let owned = |name: &str, about: &str| (name.to_owned(), about.to_owned());
    Some(match kind {
        "runtimes" => triptych_registry::runtimes()
            .iter()
            .map(|e| owned(e.name, e.about))
            .collect(),
        "apps" => triptych_registry::apps()
            .iter()
            .map(|e| owned(e.name, e.about))
            .collect(),
        "profiles" => triptych_workloads::profiles()
            .iter()
            .map(|profile| owned(&profile.name, &profile.about))
            .collect(),
        "prices" => prices()
            .into_iter()
            .map(|name| (name.clone(), about_prices(&name)))
            .collect(),
        "latencies" => latencies()
            .into_iter()
            .map(|name| (name.clone(), about_latency(&name)))
            .collect(),
        _ => return None,
    })
}

fn about_prices(name: &str) -> String {
    let sheet = triptych_results::PriceSheet::shipped(name);
    sheet.map_or_else(
        |error| error.to_string(),
        |sheet| {
            let granularity = sheet.billing_granularity_ms();
            format!(
                "list prices from {}; functions are billed by {granularity} ms",
                sheet.effective_from()
            )
        },
    )
}

fn about_latency(name: &str) -> String {
    latency::Profile::shipped(name).map_or_else(|error| error.to_string(), |p| p.describes)
}

/// The runtimes that exist.
pub fn runtimes() -> Vec<String> {
    triptych_registry::runtimes()
        .iter()
        .map(|entry| entry.name.to_owned())
        .collect()
}

/// The profiles that exist.
pub fn profiles() -> Vec<String> {
    triptych_workloads::profiles()
        .into_iter()
        .map(|profile| profile.name)
        .collect()
}

/// The price sheets that ship.
pub fn prices() -> Vec<String> {
    triptych_results::PriceSheet::names()
        .map(str::to_owned)
        .collect()
}

/// The latency profiles that ship and describe a platform with functions and a store.
pub fn latencies() -> Vec<String> {
    let names = latency::Profile::names(latency::SHIPPED).unwrap_or_default();
    let whole = |name: &String| {
        latency::Profile::shipped(name).is_ok_and(|profile| {
            profile.dist("faas.sync_invoke").is_some() && profile.dist("ddb.update").is_some()
        })
    };
    names.into_iter().filter(whole).collect()
}

pub(super) fn runtime_list(_: &mut SchemaGenerator) -> Schema {
    list(runtimes())
}

pub(super) fn profile_list(_: &mut SchemaGenerator) -> Schema {
    list(profiles())
}

pub(super) fn price_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": prices() })
}

pub(super) fn latency_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": latencies() })
}

/// A name that can be a folder's.
pub fn id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "id", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]*$" })
}

pub(super) fn rate_list(_: &mut SchemaGenerator) -> Schema {
    let rate = json_schema!({ "type": "number", "minimum": 0.001, "maximum": 1e6 });
    json_schema!({ "type": "array", "minItems": 1, "items": rate })
}

fn list(names: Vec<String>) -> Schema {
    let name = json_schema!({ "type": "string", "enum": names });
    json_schema!({ "type": "array", "minItems": 1, "items": name })
}
