//! The social network: users follow each other, post with mentions, media and links, answer posts,
//! and read timelines and threads.
//!
//! A newcomer can start with [`app`], which builds the thirteen functions as a profile's settings
//! say, and then follow one new post: [`frontend`] takes it in, [`compose`] gathers its parts from
//! [`accounts`], [`parts`] and [`text`], has it stored by [`posts`], and lets [`timelines`] know: the
//! author's own, and through [`fanout`] those of everybody who follows the author in [`graph`].
//! [`rules`] are the invariants S1–S12 that a run must have kept.
//!
//! One source serves every runtime: what differs between formulations is a key of the settings.
//!
//! | setting | values | meaning |
//! |---|---|---|
//! | `formulation` | `async` (default), `sync`, `txn`, `causal` | timelines are handed over, awaited, one transaction with the post, or awaited without any transaction |
//! | `chunk` | a number ≥ 1; 32 | home timelines that one instance of the fan-out inserts into |
//! | `keep` | a number ≥ 1; absent: unbounded | how many of the newest entries a home timeline keeps |
//! | `compat` | `none` (default), `dsb`, `beldi` | the work of a published version, its defects included |
//!
//! **What an answer means.** In every formulation an acknowledged post is stored. With `sync`, `txn`
//! and `causal` it is in every timeline too; with `async` the timelines were handed over and have it
//! soon. So a user surely sees an own acknowledged post in the own timeline in those three alone.
//!
//! **Published versions.** `compat = dsb` inserts into all home timelines from one instance, takes
//! the author as the request says, drops the text after the last link (D13) and makes a follow two
//! independent updates (D14). Of Beldi's social site only a load script was published; with
//! `compat = beldi` the app does what that script asks for and drops nothing: authors go by names
//! that nobody registered (D17), so they are taken as the request says, and there are no chunks.

pub mod accounts;
pub mod compose;
mod config;
pub mod fanout;
pub mod frontend;
pub mod graph;
mod join;
pub mod parts;
pub mod posts;
pub mod rules;
pub mod text;
pub mod timelines;

pub use config::{Compat, Config, Defect, Formulation};

use std::collections::BTreeMap;
use triptych_api::{App, KindSpec, Name, Shows, Value};

/// The application's name, as profiles give it.
pub const NAME: &str = "social";

/// Builds the application as the settings say. Keys that are not the app's are not looked at: a
/// profile's settings hold the generator's as well.
///
/// # Errors
/// A value that the app does not know; the text lists the allowed ones.
pub fn app(settings: &BTreeMap<String, String>) -> std::result::Result<App, String> {
    app_with(settings, None)
}

/// [`app`] with a seeded bug, to test that the rules find it.
///
/// # Errors
/// See [`app`].
pub fn app_with(
    settings: &BTreeMap<String, String>,
    defect: Option<Defect>,
) -> std::result::Result<App, String> {
    let config = Config {
        defect,
        ..Config::from_settings(settings)?
    };
    let mut functions = vec![
        frontend::function(),
        compose::function(config),
        accounts::function(config),
        fanout::function(config),
        graph::function(config),
        posts::function(config),
    ];
    functions.extend(parts::functions());
    functions.extend(text::functions(config));
    functions.extend(timelines::functions(config));
    Ok(App {
        name: NAME,
        functions,
        kinds: kinds(),
        workflows: Vec::new(),
        elements: match config.formulation {
            Formulation::Txn => |table, row| elements(table, row, Shows::List),
            // Only a follow or unfollow is a transaction here, of two documents that are no lists:
            // S7-sides judges it by what it left. Timelines are lists all the same.
            Formulation::Async | Formulation::Sync | Formulation::Causal => {
                |table, row| elements(table, row, Shows::Set)
            }
        },
        observe,
        rules: rules::check,
    })
}

fn kinds() -> Vec<KindSpec> {
    let kind = |name, op, effects| KindSpec {
        name,
        function: "Frontend",
        op,
        effects,
    };
    vec![
        kind("compose", "Compose", true),
        kind("read-home", "ReadHomeTimeline", false),
        kind("read-user", "ReadUserTimeline", false),
        kind("reply", "Reply", true),
        kind("read-thread", "ReadThread", false),
        kind("follow", "Follow", true),
        kind("unfollow", "Unfollow", true),
    ]
}

/// Timelines and threads are lists of posts, each appended once; a post is stored once.
fn elements(table: &str, row: &Value, list: fn(Vec<Name>) -> Shows) -> Option<Shows> {
    if table == posts::POST {
        let id = row.get("postId").and_then(Value::as_str);
        return id.map(|id| Shows::Version(Name::from(id)));
    }
    if ![timelines::USER, timelines::HOME, posts::THREAD].contains(&table) {
        return None;
    }
    let entries = row.get("entries").and_then(Value::as_list);
    let names = entries.unwrap_or_default().iter().map(|entry| {
        let id = entry.get("postId").and_then(Value::as_str);
        id.map_or_else(|| Name::from(format!("{entry:?}")), Name::from)
    });
    Some(list(names.collect()))
}

/// What the rules need of an answer, and nothing else: bodies of posts are in the state already, and
/// of a follow or unfollow it is enough that it was answered.
///
/// * `compose`, `reply` → `{postId, timestamp, mentions, parent, root}`
/// * `read-home`, `read-user` → `{ids: ["<timestamp>:<postId>", …], missing: [id, …], total}`
/// * `read-thread` → the same, with `parents: [id, …]` beside the ids and `root`, the id of the root
///   if its body was there
fn observe(kind: &str, _input: &Value, output: &Value) -> Value {
    let field = |name: &str| output.get(name).cloned().unwrap_or_default();
    let fields = |names: &[&str]| Value::map(names.iter().map(|name| (*name, field(name))));
    match kind {
        "compose" | "reply" => fields(&["postId", "timestamp", "mentions", "parent", "root"]),
        "read-home" | "read-user" | "read-thread" => {
            let text = |post: &Value, name: &str| {
                let text = post.get(name).and_then(Value::as_str);
                text.unwrap_or_default().to_owned()
            };
            let posts = output.get("posts").and_then(Value::as_list);
            let posts = posts.unwrap_or_default();
            let ids = posts.iter().map(|post| {
                let stamp = post.get("timestamp").and_then(Value::as_int);
                let (stamp, id) = (stamp.unwrap_or_default(), text(post, "postId"));
                Value::from(format!("{stamp}:{id}"))
            });
            let mut seen = vec![
                ("ids", Value::list(ids)),
                ("missing", field("missing")),
                ("total", field("total")),
            ];
            if kind == "read-thread" {
                let parents = posts.iter().map(|post| Value::from(text(post, "parent")));
                seen.push(("parents", Value::list(parents)));
                let root = output.get("root").and_then(|root| root.get("postId"));
                seen.push(("root", root.cloned().unwrap_or_default()));
            }
            Value::map(seen)
        }
        _ => Value::Null,
    }
}

/// Declares an entry point: the struct is the input, the rest says who serves it and answers what.
macro_rules! op {
    (
        $(#[$about:meta])*
        $name:ident { $($(#[$field_about:meta])* $field:ident: $type:ty,)* }
        $function:literal . $op:literal -> $output:ty
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_about])* pub $field: $type,)*
        }

        impl triptych_api::Op for $name {
            const FUNCTION: &'static str = $function;
            const OP: &'static str = $op;
            type Output = $output;
        }
    };
}
pub(crate) use op;
