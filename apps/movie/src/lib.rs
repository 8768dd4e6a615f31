//! The movie-review application: users compose reviews of movies, and read pages, reviews and their
//! own history.
//!
//! A newcomer can start with [`app`], which builds the fourteen functions as a profile's settings
//! say, and then follow one compose request: [`frontend`] takes it in, [`parts`], [`accounts`] and
//! [`movies`] each contribute a part, [`compose`] joins them where nobody awaits (`choreo`), and
//! [`reviews`] keeps the result. [`rules`] are the invariants M1–M13 that a run must have kept.
//!
//! One source serves every runtime: what differs between formulations is a key of the settings.
//!
//! | setting | values | meaning |
//! |---|---|---|
//! | `formulation` | `orch` (default), `choreo`, `causal` | the front function awaits, functions join, or stages on several hosts |
//! | `keep` | a number ≥ 1; absent: unbounded | how many of the newest reviews a list keeps |
//! | `compat` | `none` (default), `beldi`, `causalmesh` | do the work of a published version, its defects included |
//! | `ack` | `after-store`, `after-handoff` | what an acknowledged compose has already done |
//! | `reviews` | a number; 0 | how many reviews there are before the run ([`loaded`]) |
//!
//! `causal` keeps what the runtime makes of causal order visible: each of its stages
//! ([`stages`]) reads what an earlier one wrote, on another host.

pub mod accounts;
pub mod compose;
mod config;
pub mod frontend;
pub mod loaded;
pub mod movies;
pub mod page;
pub mod parts;
pub mod reviews;
pub mod rules;
pub mod stages;

pub use config::{Ack, Compat, Config, Formulation};

use std::collections::BTreeMap;
use triptych_api::{App, KindSpec, Name, Shows, Value};

/// The application's name, as profiles give it.
pub const NAME: &str = "movie";

/// Builds the application as the settings say. Keys that are not the app's are not looked at: a
/// profile's settings hold the generator's as well.
///
/// # Errors
/// A value that the app does not know; the text lists the allowed ones.
pub fn app(settings: &BTreeMap<String, String>) -> std::result::Result<App, String> {
    let config = Config::from_settings(settings)?;
    let mut functions = vec![frontend::function(config), compose::function(config)];
    functions.extend(parts::functions(config));
    functions.push(accounts::function(config));
    functions.extend(movies::functions(config));
    functions.extend(reviews::functions(config));
    functions.push(page::function());
    Ok(App {
        name: NAME,
        functions,
        kinds: kinds(),
        workflows: Vec::new(),
        elements: match config.compat {
            Compat::None => elements,
            // The published ports write lists back as a whole, and nobody knows whose is there.
            _ => |_, _| None,
        },
        observe,
        rules: rules::check,
    })
}

fn kinds() -> Vec<KindSpec> {
    let kind = |name, function, op, effects| KindSpec {
        name,
        function,
        op,
        effects,
    };
    vec![
        kind("compose", "Frontend", "Compose", true),
        kind("read-page", "Page", "ReadPage", false),
        kind(
            "read-movie-reviews",
            "MovieReview",
            "ReadMovieReviews",
            false,
        ),
        kind("read-user-reviews", "UserReview", "ReadUserReviews", false),
        kind("login", "User", "Login", false),
    ]
}

/// A stored review is written once, under its own id; the lists of users and movies have reviews
/// that are appended once.
fn elements(table: &str, row: &Value) -> Option<Shows> {
    let id = |value: &Value| {
        let id = value.get("reviewId").and_then(Value::as_str);
        id.map(Name::from)
    };
    match table {
        "ReviewStorage" => id(row).map(Shows::Version),
        "UserReview" | "MovieReview" => {
            let list = row.get("reviews").and_then(Value::as_list);
            let names = list.unwrap_or_default().iter().map(id);
            names.collect::<Option<_>>().map(Shows::Set)
        }
        _ => None,
    }
}

/// What the rules need of an answer, and nothing else: bodies of reviews are in the state already.
///
/// * `compose` → `{reviewId, movieId, timestamp}` (no timestamp where the join decides it later)
/// * the three reads → `{ids: ["<timestamp>:<reviewId>", …], missing: [id, …], total}`
/// * `login` → null
fn observe(kind: &str, _input: &Value, output: &Value) -> Value {
    let field = |name: &str| output.get(name).cloned().unwrap_or_default();
    match kind {
        "compose" => {
            let names = ["reviewId", "movieId", "timestamp"];
            Value::map(names.map(|name| (name, field(name))))
        }
        "read-page" | "read-movie-reviews" | "read-user-reviews" => {
            let reviews = output
                .get("reviews")
                .and_then(Value::as_list)
                .unwrap_or_default();
            let ids = reviews.iter().map(|review| {
                let stamp = review
                    .get("timestamp")
                    .and_then(Value::as_int)
                    .unwrap_or_default();
                let id = review
                    .get("reviewId")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                Value::from(format!("{stamp}:{id}"))
            });
            Value::map([
                ("ids", Value::list(ids)),
                ("missing", field("missing")),
                ("total", field("total")),
            ])
        }
        _ => Value::Null,
    }
}
