//! `Frontend`: where all client requests arrive. It keeps nothing and decides little: it passes
//! requests on, and for the two that answer something just read ([`Reply`], [`ReadThread`]) reads
//! the user's home timeline first.

use crate::accounts::Person;
use crate::compose::{Answered, ComposePost, Composed};
use crate::graph::{self, Changed};
use crate::op;
use crate::posts::{self, Post, Thread};
use crate::timelines::{self, Window};
use triptych_api::model::from_value;
use triptych_api::{Call, Ctx, Error, Function, Op, ReadSet, Result, Value};

/// How many of the newest posts of the home timeline are looked at before an answer.
const LOOK: i64 = 10;

op!(
    /// A user posts.
    Compose {
        /// The client's own name for the request, which the stored post will carry. Without it, the
        /// id of the instance serves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        req_id: Option<String>,
        /// The author.
        #[serde(flatten)]
        author: Person,
        /// What the post says.
        text: String,
        /// Pictures and films.
        media_ids: Vec<String>,
        /// What each of them is.
        media_types: Vec<String>,
        /// What kind of post it is; `POST` if nothing is said.
        #[serde(default = "post")]
        post_type: String,
    }
    "Frontend"."Compose" -> Composed
);
op!(
    /// A user answers a post of the own home timeline.
    Reply {
        /// As in [`Compose`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        req_id: Option<String>,
        /// The author.
        #[serde(flatten)]
        author: Person,
        /// What the post says.
        text: String,
        /// Pictures and films.
        media_ids: Vec<String>,
        /// What each of them is.
        media_types: Vec<String>,
        /// Which of the posts read to answer, modulo their number.
        pick: u64,
    }
    "Frontend"."Reply" -> Composed
);
op!(
    /// Reads a window of the home timeline.
    ReadHomeTimeline {
        /// Whose.
        user_id: String,
        /// The first one to answer, counted from the newest.
        start: i64,
        /// The first one not to answer.
        stop: i64,
    }
    "Frontend"."ReadHomeTimeline" -> Window
);
op!(
    /// Reads a window of what a user posted.
    ReadUserTimeline {
        /// Whose.
        user_id: String,
        /// The first one to answer, counted from the newest.
        start: i64,
        /// The first one not to answer.
        stop: i64,
    }
    "Frontend"."ReadUserTimeline" -> Window
);
op!(
    /// Reads the thread of a post of the home timeline.
    ReadThread {
        /// Whose home timeline.
        user_id: String,
        /// Which of the posts read, modulo their number.
        pick: u64,
    }
    "Frontend"."ReadThread" -> Thread
);
op!(
    /// A user follows another one.
    Follow {
        /// The client's own name for the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        req_id: Option<String>,
        /// The one who follows.
        user_id: String,
        /// The one who is followed.
        followee: String,
    }
    "Frontend"."Follow" -> Changed
);
op!(
    /// A user follows another one no longer.
    Unfollow {
        /// The client's own name for the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        req_id: Option<String>,
        /// The one who followed.
        user_id: String,
        /// The one who was followed.
        followee: String,
    }
    "Frontend"."Unfollow" -> Changed
);

fn post() -> String {
    "POST".to_owned()
}

pub(crate) fn function() -> Function {
    Function::new("Frontend", &[], |ctx, call| Box::pin(handle(ctx, call))).reading(|call| {
        let table = match &*call.op {
            ReadHomeTimeline::OP | ReadThread::OP | Reply::OP => timelines::HOME,
            ReadUserTimeline::OP => timelines::USER,
            _ => return None,
        };
        ReadSet::named(call, table, "userId").map(ReadSet::below)
    })
}

async fn handle(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        Compose::OP => Call::output::<Compose>(&compose(ctx, call.input()?).await?),
        Reply::OP => Call::output::<Reply>(&reply(ctx, call.input()?).await?),
        ReadHomeTimeline::OP => {
            let ReadHomeTimeline {
                user_id,
                start,
                stop,
            } = call.input()?;
            let read = timelines::ReadHomeTimeline {
                user_id,
                start,
                stop,
            };
            Call::output::<ReadHomeTimeline>(&ctx.call(read).await?)
        }
        ReadUserTimeline::OP => {
            let ReadUserTimeline {
                user_id,
                start,
                stop,
            } = call.input()?;
            let read = timelines::ReadUserTimeline {
                user_id,
                start,
                stop,
            };
            Call::output::<ReadUserTimeline>(&ctx.call(read).await?)
        }
        ReadThread::OP => Call::output::<ReadThread>(&read_thread(ctx, call.input()?).await?),
        Follow::OP => {
            let Follow {
                user_id, followee, ..
            } = call.input()?;
            let changed = ctx.call(graph::Follow { user_id, followee }).await?;
            Call::output::<Follow>(&changed)
        }
        Unfollow::OP => {
            let Unfollow {
                user_id, followee, ..
            } = call.input()?;
            let changed = ctx.call(graph::Unfollow { user_id, followee }).await?;
            Call::output::<Unfollow>(&changed)
        }
        _ => Err(call.unknown("Frontend")),
    }
}

async fn compose(ctx: &mut Ctx, input: Compose) -> Result<Composed> {
    let req_id = input.req_id.unwrap_or_else(|| ctx.instance_id().to_owned());
    ctx.call(ComposePost {
        req_id,
        author: input.author,
        text: input.text,
        media_ids: input.media_ids,
        media_types: input.media_types,
        post_type: input.post_type,
        answered: None,
    })
    .await
}

async fn reply(ctx: &mut Ctx, input: Reply) -> Result<Composed> {
    let req_id = input.req_id.unwrap_or_else(|| ctx.instance_id().to_owned());
    let post = look(ctx, &input.author.user_id, input.pick).await?;
    let post = post.ok_or_else(|| Error::rejected("nothing to reply to"))?;
    let answered = Answered {
        root: post.root.unwrap_or_else(|| post.post_id.clone()),
        parent: post.post_id,
        author: post.creator.user_id,
        timestamp: post.timestamp,
    };
    ctx.call(ComposePost {
        req_id,
        author: input.author,
        text: input.text,
        media_ids: input.media_ids,
        media_types: input.media_types,
        post_type: "REPLY".to_owned(),
        answered: Some(answered),
    })
    .await
}

async fn read_thread(ctx: &mut Ctx, input: ReadThread) -> Result<Thread> {
    let post = look(ctx, &input.user_id, input.pick).await?;
    let post = post.ok_or_else(|| Error::rejected("nothing to read"))?;
    let root = post.root.unwrap_or(post.post_id);
    ctx.call(posts::ReadThread { root }).await
}

/// A post of the newest of a home timeline.
async fn look(ctx: &mut Ctx, user_id: &str, pick: u64) -> Result<Option<Post>> {
    let read = timelines::ReadHomeTimeline {
        user_id: user_id.to_owned(),
        start: 0,
        stop: LOOK,
    };
    let posts = ctx.call(read).await?.posts;
    let picked = pick.checked_rem(posts.len() as u64);
    let picked = picked.and_then(|at| posts.get(at as usize));
    Ok(picked.map(from_value).transpose()?)
}
