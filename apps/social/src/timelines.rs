//! `UserTimeline` (what a user posted) and `HomeTimeline` (what those whom a user follows posted).
//!
//! **How a timeline is kept.** As a list of (post, timestamp) in the order of the appends; readers
//! sort it, newest first by (timestamp, post id).
//!
//! * To the app, one insert is one update without a read or a condition, also where only the newest
//!   `keep` entries stay, which no set of fields could do. (Without `keep` it is so to the store too;
//!   a bounded append a runtime has to make out of a look and a conditional replacement.)
//! * That an insert happens exactly once is the runtime's affair and not hidden by the data type: a
//!   set would swallow the second insert of a runtime that executes twice, and the rule S4 would be
//!   blind to it.
//! * Only appends change it, so without `keep` every earlier state is a beginning of the later one:
//!   the history checker can order reads and appends by the lists alone. With `keep` each is a window
//!   of the appends, which tells the checker less once it is full.
//!
//! The price is that a reader looks at the whole list and sorts it, which a store with ordered keys
//! would spare it. It is one document either way, and `keep` bounds it.
//!
//! **Who inserts.** The home timelines are `HomeTimeline`'s own, so nobody else can insert into them;
//! a chunk of the fan-out is an instance of its entry point [`InsertChunk`], which does one update
//! per reader and calls nobody. Were the chunks another function's, it would have to call once per
//! reader, or every read would have to go through it.

use crate::graph::GetFollowers;
use crate::join::join_all;
use crate::posts::{Bodies, Post, ReadPosts};
use crate::{Config, Defect, Formulation, op};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Change, Ctx, Error, Function, Op, ReadSet, Result, Value};

/// An element of a timeline or thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The post.
    pub post_id: String,
    /// Its timestamp.
    pub timestamp: i64,
}

/// An [`Entry`] where it lies, as readers order it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen<'a> {
    timestamp: i64,
    pub(crate) post_id: &'a str,
}

impl Entry {
    /// The entry that names a post.
    pub fn of(post: &Post) -> Self {
        Entry {
            post_id: post.post_id.clone(),
            timestamp: post.timestamp,
        }
    }

    pub(crate) fn to_value(&self) -> Value {
        Value::map([
            ("postId", Value::from(self.post_id.as_str())),
            ("timestamp", Value::from(self.timestamp)),
        ])
    }

    /// The entries of a row. Lists grow long and only a part is wanted, so they are looked at where
    /// they are.
    pub(crate) fn list<'a>(
        row: Option<&'a Value>,
        table: &str,
        key: &str,
    ) -> Result<Vec<Seen<'a>>> {
        let list = row.and_then(|row| row.get("entries")?.as_list());
        let entries = list.unwrap_or_default().iter().map(|entry| {
            let stamp = entry.get("timestamp").and_then(Value::as_int);
            match (stamp, entry.get("postId").and_then(Value::as_str)) {
                (Some(timestamp), Some(post_id)) => Ok(Seen { timestamp, post_id }),
                _ => Err(Error::Bug(format!("{table}[{key}] lists {entry:?}"))),
            }
        });
        entries.collect()
    }
}

op!(
    /// Adds a post to its author's timeline.
    WriteUserTimeline {
        /// Whose timeline.
        user_id: String,
        /// What to add.
        #[serde(flatten)]
        entry: Entry,
    }
    "UserTimeline"."WriteUserTimeline" -> ()
);
op!(
    /// Reads a window of what a user posted.
    ReadUserTimeline {
        /// Whose timeline.
        user_id: String,
        /// The first one to answer, counted from the newest.
        start: i64,
        /// The first one not to answer.
        stop: i64,
    }
    "UserTimeline"."ReadUserTimeline" -> Window
);
op!(
    /// Loads a user's timeline.
    LoadUserTimeline {
        /// Whose timeline.
        user_id: String,
        /// What is in it, oldest first.
        entries: Vec<Entry>,
    }
    "UserTimeline"."Load" -> ()
);
op!(
    /// Adds a post to the home timelines of some readers: one chunk of a fan-out.
    InsertChunk {
        /// What to add.
        #[serde(flatten)]
        entry: Entry,
        /// Whose timelines.
        readers: Vec<String>,
    }
    "HomeTimeline"."InsertChunk" -> ()
);
op!(
    /// Adds a post to the home timelines of all who should see it, in one instance: the fan-out of
    /// the published versions.
    WriteHomeTimeline {
        /// What to add.
        #[serde(flatten)]
        entry: Entry,
        /// Whose followers should see it.
        author: String,
        /// Who else should see it.
        others: Vec<String>,
    }
    "HomeTimeline"."WriteHomeTimeline" -> ()
);
op!(
    /// Reads a window of what those whom a user follows posted.
    ReadHomeTimeline {
        /// Whose timeline.
        user_id: String,
        /// The first one to answer, counted from the newest.
        start: i64,
        /// The first one not to answer.
        stop: i64,
    }
    "HomeTimeline"."ReadHomeTimeline" -> Window
);
op!(
    /// Loads a user's home timeline.
    LoadHomeTimeline {
        /// Whose timeline.
        user_id: String,
        /// What is in it, oldest first.
        entries: Vec<Entry>,
    }
    "HomeTimeline"."Load" -> ()
);

/// A window of a timeline, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The posts in it (each a [`Post`]), as they are stored.
    pub posts: Vec<Value>,
    /// Those that are listed in it but not stored.
    pub missing: Vec<String>,
    /// How many posts the whole timeline has.
    pub total: usize,
}

/// The table of user timelines.
pub(crate) const USER: &str = "UserTimeline";
/// The table of home timelines.
pub(crate) const HOME: &str = "HomeTimeline";

pub(crate) fn functions(config: Config) -> [Function; 2] {
    [
        Function::new("UserTimeline", &[USER], move |ctx, call| {
            Box::pin(user_timeline(config, ctx, call))
        })
        // Which posts are listed, no input says.
        .reading(|call| match &*call.op {
            ReadUserTimeline::OP => ReadSet::named(call, USER, "userId"),
            _ => None,
        }),
        Function::new("HomeTimeline", &[HOME], move |ctx, call| {
            Box::pin(home_timeline(config, ctx, call))
        })
        .reading(|call| match &*call.op {
            ReadHomeTimeline::OP => ReadSet::named(call, HOME, "userId"),
            _ => None,
        }),
    ]
}

async fn user_timeline(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        WriteUserTimeline::OP => {
            let WriteUserTimeline { user_id, entry } = call.input()?;
            append(ctx, USER, &user_id, &entry, None).await?;
            Call::output::<WriteUserTimeline>(&())
        }
        ReadUserTimeline::OP => {
            let ReadUserTimeline {
                user_id,
                start,
                stop,
            } = call.input()?;
            let window = read(config, ctx, USER, &user_id, start, stop).await?;
            Call::output::<ReadUserTimeline>(&window)
        }
        LoadUserTimeline::OP => {
            let LoadUserTimeline { user_id, entries } = call.input()?;
            load(ctx, USER, &user_id, &entries).await
        }
        _ => Err(call.unknown("UserTimeline")),
    }
}

async fn home_timeline(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        InsertChunk::OP => {
            let InsertChunk { entry, readers } = call.input()?;
            insert(config, ctx, &entry, &readers).await?;
            Call::output::<InsertChunk>(&())
        }
        WriteHomeTimeline::OP => {
            let WriteHomeTimeline {
                entry,
                author,
                others,
            } = call.input()?;
            let followers = ctx.call(GetFollowers { user_id: author }).await?;
            let readers = crate::fanout::readers(followers, others);
            insert(config, ctx, &entry, &readers).await?;
            Call::output::<WriteHomeTimeline>(&())
        }
        ReadHomeTimeline::OP => {
            let ReadHomeTimeline {
                user_id,
                start,
                stop,
            } = call.input()?;
            let window = read(config, ctx, HOME, &user_id, start, stop).await?;
            Call::output::<ReadHomeTimeline>(&window)
        }
        LoadHomeTimeline::OP => {
            let LoadHomeTimeline { user_id, entries } = call.input()?;
            let kept = config.keep.unwrap_or(entries.len()).min(entries.len());
            load(ctx, HOME, &user_id, &entries[entries.len() - kept..]).await
        }
        _ => Err(call.unknown("HomeTimeline")),
    }
}

async fn insert(config: Config, ctx: &mut Ctx, entry: &Entry, readers: &[String]) -> Result<()> {
    let branches = ctx.fork_many(readers.len()).into_iter().zip(readers);
    let inserts = branches.map(|(mut branch, reader)| async move {
        append(&mut branch, HOME, reader, entry, config.keep).await
    });
    join_all(inserts).await?;
    Ok(())
}

async fn append(
    ctx: &mut Ctx,
    table: &str,
    key: &str,
    entry: &Entry,
    keep: Option<usize>,
) -> Result<()> {
    let change = Change::append_keeping("entries", entry.to_value(), keep);
    ctx.update(table, key, None, vec![change]).await?;
    Ok(())
}

async fn load(ctx: &mut Ctx, table: &str, key: &str, entries: &[Entry]) -> Result<Value> {
    let entries = Value::list(entries.iter().map(Entry::to_value));
    ctx.write(table, key, &Value::map([("entries", entries)]))
        .await?;
    Call::output::<LoadUserTimeline>(&())
}

async fn read(
    config: Config,
    ctx: &mut Ctx,
    table: &str,
    key: &str,
    start: i64,
    stop: i64,
) -> Result<Window> {
    match config.formulation {
        // Ids and bodies in one look: what commits in between is seen whole or not at all.
        Formulation::Txn => {
            ctx.transaction(async |tx| window(config, tx, table, key, start, stop).await)
                .await
        }
        Formulation::Async | Formulation::Sync | Formulation::Causal => {
            window(config, ctx, table, key, start, stop).await
        }
    }
}

async fn window(
    config: Config,
    ctx: &mut Ctx,
    table: &str,
    key: &str,
    start: i64,
    stop: i64,
) -> Result<Window> {
    let row: Option<Value> = ctx.read(table, key).await?;
    let mut entries = Entry::list(row.as_ref(), table, key)?;
    if config.has(Defect::StaleRead) && ctx.random().await? % 4 == 0 {
        entries.truncate(entries.len() / 2);
    }
    let total = entries.len();
    entries.sort_by(|a, b| b.cmp(a));
    let wanted = match (usize::try_from(start), usize::try_from(stop)) {
        (Ok(start), Ok(stop)) if start < stop => start.min(total)..stop.min(total),
        _ => 0..0,
    };
    let wanted = entries[wanted].iter();
    let post_ids = wanted.map(|entry| entry.post_id.to_owned()).collect();
    let Bodies { posts, missing } = ctx.call(ReadPosts { post_ids }).await?;
    Ok(Window {
        posts,
        missing,
        total,
    })
}
