//! `ComposeReview`: the join of the choreographed formulation. Five parts of a review arrive in any
//! order, some perhaps twice; the one that completes the set fires.
//!
//! A part arrives with **one** conditional update: if this part is absent and the row is open, set
//! it and add one to the counter. The store returns the counter, so exactly one arrival sees five,
//! and a replay of that arrival sees the same. That arrival reads the row, stores the review, and
//! only then lets the lists and the totals know: what is listed is stored. At last it closes the row
//! (`fired`); the flags of the parts stay, so a late duplicate cannot fill the row again.
//!
//! With `compat = beldi` the join is the published one, with defect D3 (see
//! `arrive_as_published`).
//!
//! In `causal` nothing is joined here: the parts are notes, which [`crate::stages`] explains.

use crate::parts::CountRating;
use crate::reviews::{Review, StoreReview, UploadMovieReview, UploadUserReview};
use crate::stages::{self, ComposeAndUpload, SCRATCH};
use crate::{Compat, Config, Formulation};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Change, Condition, Ctx, Error, Function, Op, Path, Result, Value};

/// How many parts a review has.
const PARTS: i64 = 5;
const TABLE: &str = "ComposeReview";

/// Declares an entry point of `ComposeReview` whose answer is empty.
macro_rules! join_op {
    ($(#[$about:meta])* $name:ident, $op:literal, { $($(#[$field_about:meta])* $field:ident: $type:ty),* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The compose request.
            pub req_id: String,
            $($(#[$field_about])* pub $field: $type,)*
        }

        impl Op for $name {
            const FUNCTION: &'static str = "ComposeReview";
            const OP: &'static str = $op;
            type Output = ();
        }
    };
}

join_op!(
    /// Opens the row of a request.
    UploadReq, "UploadReq", {}
);
join_op!(
    /// Closes the row of a request that was refused.
    Cancel, "Cancel", {}
);
join_op!(
    /// The review's id arrives.
    JoinReviewId, "UploadUniqueId", {
        /// The part.
        review_id: String
    }
);
join_op!(
    /// The text arrives.
    JoinText, "UploadText", {
        /// The part.
        text: String
    }
);
join_op!(
    /// The rating arrives.
    JoinRating, "UploadRating", {
        /// The part.
        rating: i64
    }
);
join_op!(
    /// The author arrives.
    JoinUserId, "UploadUserId", {
        /// The part.
        user_id: String
    }
);
join_op!(
    /// The movie arrives.
    JoinMovieId, "UploadMovieId", {
        /// The part.
        movie_id: String
    }
);

/// A row of the table `ComposeReview`, which is keyed by the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JoinRow {
    /// The key.
    pub req_id: String,
    /// How many parts have arrived.
    pub counter: i64,
    /// A part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review_id: Option<String>,
    /// A part; null again once the row is closed, because nobody needs the text here any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rating: Option<i64>,
    /// A part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// A part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub movie_id: Option<String>,
    /// Whether the row is closed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fired: bool,
    /// Whether it was closed because the request was refused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cancelled: bool,
}

pub(crate) fn function(config: Config) -> Function {
    Function::new("ComposeReview", &[TABLE, SCRATCH], move |ctx, call| {
        Box::pin(handle(config, ctx, call))
    })
}

async fn handle(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        ComposeAndUpload::OP => return stages::assemble(config, ctx, call.input()?).await,
        UploadReq::OP => open(config, ctx, call.input()?).await?,
        Cancel::OP => {
            let Cancel { req_id } = call.input()?;
            close(ctx, &req_id, true).await?;
        }
        JoinReviewId::OP => {
            let JoinReviewId { req_id, review_id } = call.input()?;
            arrive(config, ctx, req_id, "reviewId", review_id.into()).await?;
        }
        JoinText::OP => {
            let JoinText { req_id, text } = call.input()?;
            arrive(config, ctx, req_id, "text", text.into()).await?;
        }
        JoinRating::OP => {
            let JoinRating { req_id, rating } = call.input()?;
            arrive(config, ctx, req_id, "rating", rating.into()).await?;
        }
        JoinUserId::OP => {
            let JoinUserId { req_id, user_id } = call.input()?;
            arrive(config, ctx, req_id, "userId", user_id.into()).await?;
        }
        JoinMovieId::OP => {
            let JoinMovieId { req_id, movie_id } = call.input()?;
            arrive(config, ctx, req_id, "movieId", movie_id.into()).await?;
        }
        _ => return Err(call.unknown("ComposeReview")),
    }
    Call::output::<UploadReq>(&())
}

async fn open(config: Config, ctx: &mut Ctx, UploadReq { req_id }: UploadReq) -> Result<()> {
    if config.compat == Compat::Beldi {
        return ctx
            .write(
                TABLE,
                &req_id,
                &JoinRow {
                    req_id: req_id.clone(),
                    ..JoinRow::default()
                },
            )
            .await;
    }
    // A second opening (a client's retry) must not empty a row that already has parts.
    let new = Condition::Absent(Path::attr("reqId"));
    let changes = vec![
        Change::set("reqId", req_id.as_str()),
        Change::set("counter", 0),
    ];
    ctx.update(TABLE, &req_id, Some(new), changes).await?;
    Ok(())
}

async fn arrive(
    config: Config,
    ctx: &mut Ctx,
    req_id: String,
    part: &str,
    value: Value,
) -> Result<()> {
    if config.formulation == Formulation::Causal {
        return stages::note(ctx, &req_id, part, value).await;
    }
    if config.compat == Compat::Beldi {
        return arrive_as_published(ctx, req_id, part, value).await;
    }
    let awaited = Condition::Absent(Path::attr(part)).and(Condition::Absent(Path::attr("fired")));
    let changes = vec![Change::set(part, value), Change::add("counter", 1)];
    let updated = ctx.update(TABLE, &req_id, Some(awaited), changes).await?;
    if !updated.applied || updated.sum != Some(PARTS) {
        return Ok(());
    }
    let row: JoinRow = ctx.read(TABLE, &req_id).await?.unwrap_or_default();
    let timestamp = ctx.now().await?;
    let review = assemble(&req_id, row, timestamp)?;
    let (by_user, by_movie) = (
        UploadUserReview::of(&review),
        UploadMovieReview::of(&review),
    );
    let count = CountRating {
        movie_id: review.movie_id.clone(),
        rating: review.rating,
    };
    // The body first, and awaited: what is listed must be stored.
    ctx.call(StoreReview { review }).await?;
    ctx.send(by_user).await?;
    ctx.send(by_movie).await?;
    ctx.send(count).await?;
    close(ctx, &req_id, false).await
}

/// The join of the published port, for `compat = beldi`. It inherits:
///
/// * **D3**: it adds to the counter and reads it back in a second operation, so two arrivals can
///   both see five, and the fan-out happens twice; or a late one sees the row already cleared and
///   silently does nothing.
/// * all three stores are handed over without waiting, so a list can name a review that is not
///   stored yet;
/// * no timestamp is ever set, and no totals are kept.
///
/// The fan-out itself is that of Boki's fork of the port; in the first publication it is disabled.
async fn arrive_as_published(
    ctx: &mut Ctx,
    req_id: String,
    part: &str,
    value: Value,
) -> Result<()> {
    let changes = vec![Change::set(part, value), Change::add("counter", 1)];
    ctx.update(TABLE, &req_id, None, changes).await?;
    let row: JoinRow = ctx.read(TABLE, &req_id).await?.unwrap_or_default();
    if row.counter != PARTS {
        return Ok(());
    }
    let review = assemble(&req_id, row, 0)?;
    // The published clean-up is a delete; an empty closed row stands for it.
    let gone = JoinRow {
        req_id: req_id.clone(),
        fired: true,
        ..JoinRow::default()
    };
    ctx.write(TABLE, &req_id, &gone).await?;
    let (by_user, by_movie) = (
        UploadUserReview::of(&review),
        UploadMovieReview::of(&review),
    );
    ctx.send(StoreReview { review }).await?;
    ctx.send(by_user).await?;
    ctx.send(by_movie).await
}

fn assemble(req_id: &str, row: JoinRow, timestamp: i64) -> Result<Review> {
    let (Some(review_id), Some(text), Some(rating), Some(user_id), Some(movie_id)) = (
        row.review_id,
        row.text,
        row.rating,
        row.user_id,
        row.movie_id,
    ) else {
        return Err(Error::Bug(format!(
            "the join of {req_id} fired without all of its parts"
        )));
    };
    Ok(Review {
        review_id,
        user_id,
        req_id: req_id.to_owned(),
        text,
        movie_id,
        rating,
        timestamp,
    })
}

async fn close(ctx: &mut Ctx, req_id: &str, cancelled: bool) -> Result<()> {
    let mut changes = vec![Change::set("fired", true), Change::set("text", Value::Null)];
    if cancelled {
        changes.push(Change::set("cancelled", true));
    }
    ctx.update(TABLE, req_id, None, changes).await?;
    Ok(())
}
