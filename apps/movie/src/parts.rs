//! The small functions that contribute a part of a review: `UniqueId`, `Text` and `Rating`.
//!
//! In `orch` each just answers. In `choreo` each hands its part to `ComposeReview` as well, and the
//! rating travels from `MovieId` through `Rating`.

use crate::compose::{JoinRating, JoinReviewId, JoinText};
use crate::{Config, Formulation};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Change, Ctx, Function, Op, Result, Value};

/// Makes the review's id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadUniqueId {
    /// The compose request.
    pub req_id: String,
}

impl Op for UploadUniqueId {
    const FUNCTION: &'static str = "UniqueId";
    const OP: &'static str = "UploadUniqueId";
    type Output = String;
}

/// Takes in the review's text and answers what is to be stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadText {
    /// The compose request.
    pub req_id: String,
    /// The text.
    pub text: String,
}

impl Op for UploadText {
    const FUNCTION: &'static str = "Text";
    const OP: &'static str = "UploadText";
    type Output = String;
}

/// Takes in the review's rating (`choreo` only).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadRating {
    /// The compose request.
    pub req_id: String,
    /// The rating.
    pub rating: i64,
}

impl Op for UploadRating {
    const FUNCTION: &'static str = "Rating";
    const OP: &'static str = "UploadRating";
    type Output = ();
}

/// Adds the rating of an accepted review to its movie's totals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CountRating {
    /// The movie.
    pub movie_id: String,
    /// The rating.
    pub rating: i64,
}

impl Op for CountRating {
    const FUNCTION: &'static str = "Rating";
    const OP: &'static str = "CountRating";
    type Output = ();
}

pub(crate) fn functions(config: Config) -> [Function; 3] {
    [
        Function::new("UniqueId", &[], move |ctx, call| {
            Box::pin(unique_id(config, ctx, call))
        }),
        Function::new("Text", &[], move |ctx, call| {
            Box::pin(text(config, ctx, call))
        }),
        Function::new("Rating", &["Rating"], move |ctx, call| {
            Box::pin(rating(ctx, call))
        }),
    ]
}

async fn unique_id(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    let UploadUniqueId { req_id } = match &*call.op {
        UploadUniqueId::OP => call.input()?,
        _ => return Err(call.unknown("UniqueId")),
    };
    let review_id = ctx.unique_id().await?;
    if config.formulation == Formulation::Choreo {
        ctx.send(JoinReviewId {
            req_id,
            review_id: review_id.clone(),
        })
        .await?;
    }
    Call::output::<UploadUniqueId>(&review_id)
}

async fn text(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    let UploadText { req_id, text } = match &*call.op {
        UploadText::OP => call.input()?,
        _ => return Err(call.unknown("Text")),
    };
    if config.formulation == Formulation::Choreo {
        ctx.send(JoinText {
            req_id,
            text: text.clone(),
        })
        .await?;
        // Nobody reads the answer here, so it need not carry the text back.
        return Call::output::<UploadText>(&String::new());
    }
    Call::output::<UploadText>(&text)
}

async fn rating(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        UploadRating::OP => {
            let UploadRating { req_id, rating } = call.input()?;
            ctx.send(JoinRating { req_id, rating }).await?;
        }
        CountRating::OP => {
            let CountRating { movie_id, rating } = call.input()?;
            // Both totals in one update: no reader ever sees one without the other.
            let changes = vec![Change::add("sum", rating), Change::add("num", 1)];
            ctx.update("Rating", &movie_id, None, changes).await?;
        }
        _ => return Err(call.unknown("Rating")),
    }
    Call::output::<UploadRating>(&())
}
