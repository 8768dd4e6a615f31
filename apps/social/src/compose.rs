//! `ComposePost`: gathers the parts of a post, has it stored, and lets the timelines know.
//!
//! **Order of effects.** The post is stored, and an answer is in its thread, before any timeline
//! names it; that step is awaited in every formulation. What comes after it:
//!
//! * `async`: the author's timeline and the fan-out are handed over; the answer means that the
//!   runtime has them, not that they happened;
//! * `sync`: first the author's timeline, then the fan-out, both awaited, as `DeathStarBench` does;
//! * `txn`: all of it is one transaction;
//! * `causal`: the author's timeline and the fan-out in parallel, both awaited.
//!
//! **Time.** A post's timestamp is taken once, here. That of an answer is at least one millisecond
//! later than that of the post it answers, whatever the machine's clock says, so that sorting by it
//! never turns a conversation around.

use crate::accounts::{ComposeCreator, Person};
use crate::fanout::FanOut;
use crate::join::most_urgent;
use crate::parts::{ComposeMedia, ComposeUniqueId};
use crate::posts::{Media, Post, StorePost};
use crate::text::{ComposeText, Composed as ComposedText, Url};
use crate::timelines::{Entry, WriteHomeTimeline, WriteUserTimeline};
use crate::{Compat, Config, Defect, Formulation, op};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Ctx, Error, Function, Op, Result, Value, join};

/// The post that an answer answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// It.
    pub parent: String,
    /// The first post of its thread.
    pub root: String,
    /// Its author.
    pub author: String,
    /// Its timestamp.
    pub timestamp: i64,
}

op!(
    /// Makes a post.
    ComposePost {
        /// The client's name for the request, which the stored post will carry.
        req_id: String,
        /// The author.
        author: Person,
        /// What it says.
        text: String,
        /// Pictures and films.
        media_ids: Vec<String>,
        /// What each of them is.
        media_types: Vec<String>,
        /// `POST` or `REPLY`.
        post_type: String,
        /// What it answers, if anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answered: Option<Answered>,
    }
    "ComposePost"."ComposePost" -> Composed
);

/// What became of a post.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Composed {
    /// The new post.
    pub post_id: String,
    /// When it was composed, in milliseconds since 1970.
    pub timestamp: i64,
    /// What it says, with short links.
    pub text: String,
    /// Who is mentioned.
    pub mentions: Vec<String>,
    /// What the short links stand for.
    pub urls: Vec<Url>,
    /// The post that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The first post of its thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

pub(crate) fn function(config: Config) -> Function {
    Function::new("ComposePost", &[], move |ctx, call| {
        Box::pin(handle(config, ctx, call))
    })
}

async fn handle(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        ComposePost::OP => {
            let composed = compose(config, ctx, call.input()?).await?;
            Call::output::<ComposePost>(&composed)
        }
        _ => Err(call.unknown("ComposePost")),
    }
}

async fn compose(config: Config, ctx: &mut Ctx, mut input: ComposePost) -> Result<Composed> {
    let answered = input.answered.take();
    let (req_id, post_type) = (input.req_id.clone(), input.post_type.clone());
    let parts = gather(ctx, input).await?;
    let mut timestamp = ctx.now().await?;
    if let Some(answered) = &answered {
        timestamp = timestamp.max(answered.timestamp.saturating_add(1));
    }
    let post = Post {
        post_id: parts.post_id,
        req_id,
        creator: parts.creator,
        text: parts.text.text,
        user_mentions: parts.text.user_mentions,
        media: parts.media,
        urls: parts.text.urls,
        timestamp,
        post_type,
        parent: answered.as_ref().map(|answered| answered.parent.clone()),
        root: answered.as_ref().map(|answered| answered.root.clone()),
    };
    publish(config, ctx, &post, answered.map(|answered| answered.author)).await?;
    let mentions = post.user_mentions.into_iter();
    Ok(Composed {
        post_id: post.post_id,
        timestamp: post.timestamp,
        text: post.text,
        mentions: mentions.map(|person| person.user_id).collect(),
        urls: post.urls,
        parent: post.parent,
        root: post.root,
    })
}

/// Stores the post and lets the timelines know.
async fn publish(
    config: Config,
    ctx: &mut Ctx,
    post: &Post,
    answered: Option<String>,
) -> Result<()> {
    let store = StorePost { post: post.clone() };
    let timelines = Timelines::of(post, answered);
    let reply_first = config.has(Defect::ReplyFirst) || config.has(Defect::LateInThread);
    let first = config.has(Defect::ExposeFirst) || (reply_first && post.parent.is_some());
    match config.formulation {
        Formulation::Txn => {
            ctx.transaction(async |tx| {
                tx.call(store.clone()).await?;
                timelines.clone().have_told(config, tx).await
            })
            .await
        }
        _ if first => {
            timelines.have_told(config, ctx).await?;
            ctx.call(store).await
        }
        Formulation::Async | Formulation::Sync | Formulation::Causal => {
            ctx.call(store).await?;
            timelines.have_told(config, ctx).await
        }
    }
}

/// What the timelines have to know of a post.
#[derive(Clone)]
struct Timelines {
    entry: Entry,
    author: String,
    /// Who should see it besides the followers.
    others: Vec<String>,
}

impl Timelines {
    fn of(post: &Post, answered: Option<String>) -> Self {
        let mentioned = post.user_mentions.iter();
        let mentioned = mentioned.map(|person| person.user_id.clone());
        Timelines {
            entry: Entry::of(post),
            author: post.creator.user_id.clone(),
            others: mentioned.chain(answered).collect(),
        }
    }

    async fn have_told(self, config: Config, ctx: &mut Ctx) -> Result<()> {
        let Timelines {
            entry,
            author,
            others,
        } = self;
        let own = WriteUserTimeline {
            user_id: author.clone(),
            entry: entry.clone(),
        };
        if config.compat != Compat::None {
            let fan_out = WriteHomeTimeline {
                entry,
                author,
                others,
            };
            if !config.has(Defect::DropHandOff) {
                hand_over(config, ctx, own).await?;
            }
            return hand_over(config, ctx, fan_out).await;
        }
        let fan_out = FanOut {
            entry,
            author,
            others,
        };
        if config.formulation == Formulation::Causal && config.defect.is_none() {
            let [mut a, mut b] = ctx.fork();
            let (own, others) = join!(a.call(own), b.call(fan_out));
            return match most_urgent([own.err(), others.err()].iter().flatten()) {
                Some(error) => Err(error),
                None => Ok(()),
            };
        }
        if !config.has(Defect::DropHandOff) {
            hand_over(config, ctx, own).await?;
        }
        if config.has(Defect::FanOutTwice) {
            hand_over(config, ctx, fan_out.clone()).await?;
        }
        hand_over(config, ctx, fan_out).await
    }
}

async fn hand_over<O: Op<Output = ()>>(config: Config, ctx: &mut Ctx, op: O) -> Result<()> {
    match config.awaits_timelines() {
        true => ctx.call(op).await,
        false => ctx.send(op).await,
    }
}

struct Parts {
    post_id: String,
    creator: Person,
    media: Vec<Media>,
    text: ComposedText,
}

async fn gather(ctx: &mut Ctx, input: ComposePost) -> Result<Parts> {
    let ComposePost {
        req_id,
        author,
        text,
        media_ids,
        media_types,
        ..
    } = input;
    let media = ComposeMedia {
        media_ids,
        media_types,
    };
    let [mut a, mut b, mut c, mut d] = ctx.fork();
    let parts = join!(
        a.call(ComposeUniqueId {}),
        b.call(ComposeCreator { author }),
        c.call(media),
        d.call(ComposeText { req_id, text }),
    );
    match parts {
        (Ok(post_id), Ok(creator), Ok(media), Ok(text)) => Ok(Parts {
            post_id,
            creator,
            media,
            text,
        }),
        (a, b, c, d) => {
            let errors = [a.err(), b.err(), c.err(), d.err()];
            Err(most_urgent(errors.iter().flatten())
                .unwrap_or_else(|| Error::Bug("a part failed without an error".to_owned())))
        }
    }
}
