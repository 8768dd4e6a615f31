//! `PostStorage`: the bodies of posts, and the threads that answers make.
//!
//! A post that answers another one is appended to its thread in the same step that stores it, and
//! both come before any timeline names it. So whoever has seen a post finds everything that it
//! answers, up to the root, in one look at the thread.

use crate::accounts::Person;
use crate::join::join_all;
use crate::text::Url;
use crate::timelines::Entry;
use crate::{Config, Defect, Formulation, op};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Change, Ctx, Function, Op, ReadSet, Result, Value};

/// A picture or film that belongs to a post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Media {
    /// Where it is.
    pub media_id: String,
    /// What it is, such as `png`.
    pub media_type: String,
}

/// A post, and the row of the table `Post`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Post {
    /// The key.
    pub post_id: String,
    /// The request that composed it.
    pub req_id: String,
    /// Its author.
    pub creator: Person,
    /// What it says, with short links.
    pub text: String,
    /// Who is mentioned.
    pub user_mentions: Vec<Person>,
    /// Pictures and films.
    pub media: Vec<Media>,
    /// What the short links stand for.
    pub urls: Vec<Url>,
    /// When it was composed, in milliseconds since 1970.
    pub timestamp: i64,
    /// `POST` or `REPLY`.
    pub post_type: String,
    /// The post that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The first post of its thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

op!(
    /// Stores a post, and appends an answer to its thread.
    StorePost {
        /// The post.
        post: Post,
    }
    "PostStorage"."StorePost" -> ()
);
op!(
    /// Stores posts of a data set.
    LoadPosts {
        /// The posts.
        posts: Vec<Post>,
    }
    "PostStorage"."LoadPosts" -> ()
);
op!(
    /// Reads the bodies of several posts.
    ReadPosts {
        /// The posts, in the order in which to answer them.
        post_ids: Vec<String>,
    }
    "PostStorage"."ReadPosts" -> Bodies
);
op!(
    /// Reads a thread: its root and its first [`THREAD_PAGE`] answers.
    ReadThread {
        /// The first post.
        root: String,
    }
    "PostStorage"."ReadThread" -> Thread
);

/// Bodies of posts, and which have none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bodies {
    /// Those that are stored, as they are stored: readers pass them on and do not look into them.
    pub posts: Vec<Value>,
    /// The ids of those that are not.
    pub missing: Vec<String>,
}

/// A thread, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// The first post (a [`Post`]).
    pub root: Option<Value>,
    /// The answers, oldest first.
    pub posts: Vec<Value>,
    /// Those that belong here and are not stored.
    pub missing: Vec<String>,
    /// How many answers the thread has.
    pub total: usize,
}

/// The table of bodies.
pub(crate) const POST: &str = "Post";
/// The table of threads: first posts to answers, in the order of the appends.
pub(crate) const THREAD: &str = "Thread";
/// How many answers one look at a thread shows.
pub const THREAD_PAGE: usize = 100;

pub(crate) fn function(config: Config) -> Function {
    Function::new("PostStorage", &[POST, THREAD], move |ctx, call| {
        Box::pin(handle(config, ctx, call))
    })
    .reading(|call| match &*call.op {
        ReadPosts::OP => ReadSet::named(call, POST, "postIds"),
        ReadThread::OP => ReadSet::named(call, THREAD, "root"),
        _ => None,
    })
}

async fn handle(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        StorePost::OP => {
            let StorePost { post } = call.input()?;
            store(config, ctx, &post).await?;
            Call::output::<StorePost>(&())
        }
        LoadPosts::OP => {
            let LoadPosts { posts } = call.input()?;
            let branches = ctx.fork_many(posts.len()).into_iter().zip(&posts);
            let stores = branches
                .map(|(mut branch, post)| async move { store(config, &mut branch, post).await });
            join_all(stores).await?;
            Call::output::<LoadPosts>(&())
        }
        ReadPosts::OP => {
            let ReadPosts { post_ids } = call.input()?;
            Call::output::<ReadPosts>(&bodies(ctx, post_ids).await?)
        }
        ReadThread::OP => {
            let ReadThread { root } = call.input()?;
            let thread = match config.formulation {
                Formulation::Txn => {
                    ctx.transaction(async |tx| thread(tx, root.clone()).await)
                        .await?
                }
                Formulation::Async | Formulation::Sync | Formulation::Causal => {
                    thread(ctx, root).await?
                }
            };
            Call::output::<ReadThread>(&thread)
        }
        _ => Err(call.unknown("PostStorage")),
    }
}

async fn store(config: Config, ctx: &mut Ctx, post: &Post) -> Result<()> {
    ctx.write(POST, &post.post_id, post).await?;
    if let Some(root) = &post.root {
        if config.has(Defect::LateInThread) && ctx.random().await? % 2 == 0 {
            // Long enough for others to answer it, and to overtake it in the thread.
            for _ in 0..300 {
                ctx.now().await?;
            }
        }
        // After the body: what is listed is stored.
        let change = Change::append("entries", Entry::of(post).to_value());
        ctx.update(THREAD, root, None, vec![change]).await?;
    }
    Ok(())
}

async fn bodies(ctx: &mut Ctx, post_ids: Vec<String>) -> Result<Bodies> {
    // An empty timeline is common, and reading nothing is not worth an operation.
    let rows = match post_ids.is_empty() {
        true => Vec::new(),
        false => ctx.read_many(POST, &post_ids).await?,
    };
    let mut bodies = Bodies::default();
    for (id, row) in post_ids.into_iter().zip(rows) {
        match row {
            Some(post) => bodies.posts.push(post),
            None => bodies.missing.push(id),
        }
    }
    Ok(bodies)
}

async fn thread(ctx: &mut Ctx, root: String) -> Result<Thread> {
    let row: Option<Value> = ctx.read(THREAD, &root).await?;
    let mut entries = Entry::list(row.as_ref(), THREAD, &root)?;
    let total = entries.len();
    // An answer is later than what it answers, so the oldest hang together.
    entries.sort();
    let oldest = entries.iter().take(THREAD_PAGE).map(|entry| entry.post_id);
    let mut ids = vec![root.clone()];
    ids.extend(oldest.map(str::to_owned));
    let Bodies { mut posts, missing } = bodies(ctx, ids).await?;
    let has_root = !missing.contains(&root);
    let root = has_root.then(|| posts.remove(0));
    Ok(Thread {
        root,
        posts,
        missing,
        total,
    })
}
