//! `Frontend`: where a compose request arrives.
//!
//! In `orch` it gathers the four parts in parallel, assembles the review and has it stored, listed
//! and counted. In `choreo` it opens a row for the join, starts the four parts and answers; the
//! parts travel on by themselves. In `causal` it leads the request through [`crate::stages`]. A
//! refusal is decided before anything is visible: by reading alone in `orch` and `causal`, and by
//! cancelling the join's row in `choreo`.

use crate::accounts::UploadUser;
use crate::compose::{Cancel, UploadReq};
use crate::movies::UploadMovie;
use crate::parts::{CountRating, UploadText, UploadUniqueId};
use crate::reviews::{Review, StoreReview, UploadMovieReview, UploadUserReview};
use crate::{Ack, Config, Formulation, stages};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Ctx, Error, Function, Op, ReadSet, Result, Value, join};

/// A user reviews a movie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compose {
    /// The client's own name for the request, which the stored review will carry. Without it, the
    /// id of the instance serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req_id: Option<String>,
    /// Who reviews.
    pub username: String,
    /// What is reviewed.
    pub title: String,
    /// From 0 to 10.
    pub rating: i64,
    /// The review.
    pub text: String,
    /// The id that the client chose for the review (`compat = causalmesh` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_id: Option<String>,
}

/// What became of a review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Composed {
    /// The new review.
    pub review_id: String,
    /// Its author.
    pub user_id: String,
    /// Its movie.
    pub movie_id: String,
    /// When it was composed; absent where the join decides that later.
    pub timestamp: Option<i64>,
}

impl Op for Compose {
    const FUNCTION: &'static str = "Frontend";
    const OP: &'static str = "Compose";
    type Output = Composed;
}

pub(crate) fn function(config: Config) -> Function {
    Function::new("Frontend", &[], move |ctx, call| {
        Box::pin(handle(config, ctx, call))
    })
    .reading(|call| {
        let user = ReadSet::named(call, "User", "username")?;
        Some(user.and(ReadSet::named(call, "MovieId", "title")?).below())
    })
}

async fn handle(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        Compose::OP => Call::output::<Compose>(&compose(config, ctx, call.input()?).await?),
        _ => Err(call.unknown("Frontend")),
    }
}

async fn compose(config: Config, ctx: &mut Ctx, mut input: Compose) -> Result<Composed> {
    let req_id = input
        .req_id
        .take()
        .unwrap_or_else(|| ctx.instance_id().to_owned());
    match config.formulation {
        Formulation::Orch => orchestrate(config.ack, ctx, req_id, input).await,
        Formulation::Choreo => choreograph(ctx, req_id, input).await,
        Formulation::Causal => stages::compose(config, ctx, req_id, input).await,
    }
}

async fn orchestrate(ack: Ack, ctx: &mut Ctx, req_id: String, input: Compose) -> Result<Composed> {
    let rating = input.rating;
    let parts = gather(ctx, &req_id, input).await?;
    let timestamp = ctx.now().await?;
    let review = Review {
        review_id: parts.review_id,
        user_id: parts.user_id,
        req_id,
        text: parts.text,
        movie_id: parts.movie_id,
        rating,
        timestamp,
    };
    let composed = Composed {
        review_id: review.review_id.clone(),
        user_id: review.user_id.clone(),
        movie_id: review.movie_id.clone(),
        timestamp: Some(timestamp),
    };
    let (by_user, by_movie) = (
        UploadUserReview::of(&review),
        UploadMovieReview::of(&review),
    );
    let count = CountRating {
        movie_id: review.movie_id.clone(),
        rating,
    };
    // The body first: what is listed must be stored.
    ctx.call(StoreReview { review }).await?;
    let [mut a, mut b, mut c] = ctx.fork();
    let (user, movie, counted) = match ack {
        Ack::AfterStore => join!(a.call(by_user), b.call(by_movie), c.call(count)),
        Ack::AfterHandoff => join!(a.send(by_user), b.send(by_movie), c.send(count)),
    };
    first_error([user.err(), movie.err(), counted.err()])?;
    Ok(composed)
}

async fn choreograph(ctx: &mut Ctx, req_id: String, input: Compose) -> Result<Composed> {
    ctx.call(UploadReq {
        req_id: req_id.clone(),
    })
    .await?;
    match gather(ctx, &req_id, input).await {
        Ok(parts) => Ok(Composed {
            review_id: parts.review_id,
            user_id: parts.user_id,
            movie_id: parts.movie_id,
            timestamp: None,
        }),
        Err(Error::Rejected(reason)) => {
            // Some parts are on their way already. They find the row closed.
            ctx.call(Cancel { req_id }).await?;
            Err(Error::Rejected(reason))
        }
        Err(error) => Err(error),
    }
}

struct Parts {
    review_id: String,
    user_id: String,
    movie_id: String,
    text: String,
}

async fn gather(ctx: &mut Ctx, req_id: &str, input: Compose) -> Result<Parts> {
    let req_id = || req_id.to_owned();
    let [mut a, mut b, mut c, mut d] = ctx.fork();
    let (review_id, user_id, movie_id, text) = join!(
        a.call(UploadUniqueId { req_id: req_id() }),
        b.call(UploadUser {
            req_id: req_id(),
            username: input.username
        }),
        c.call(UploadMovie {
            req_id: req_id(),
            title: input.title,
            rating: input.rating
        }),
        d.call(UploadText {
            req_id: req_id(),
            text: input.text
        }),
    );
    match (review_id, user_id, movie_id, text) {
        (Ok(review_id), Ok(user_id), Ok(movie_id), Ok(text)) => Ok(Parts {
            review_id,
            user_id,
            movie_id,
            text,
        }),
        (a, b, c, d) => {
            first_error([a.err(), b.err(), c.err(), d.err()])?;
            Err(Error::Bug("a part failed without an error".to_owned()))
        }
    }
}

/// Of several errors of parallel branches, the one to pass on. An answer (a refusal) counts only if
/// every branch has one: an interrupted branch must be executed again first.
pub(crate) fn first_error<const N: usize>(errors: [Option<Error>; N]) -> Result<()> {
    let rank = |error: &Error| match error {
        Error::Interrupted(_) => 0,
        Error::Bug(_) => 1,
        Error::Aborted(_) => 2,
        Error::Rejected(_) => 3,
    };
    // `min_by_key` takes the first of equals, so the result does not depend on timing.
    match errors.into_iter().flatten().min_by_key(rank) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
