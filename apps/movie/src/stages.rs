//! A compose request in the formulation `causal`: stages one after another, as CausalMesh's
//! application has them. Every stage is a function of its own, so a runtime may run each on another
//! host; what a stage sees of those before it is the runtime's causal order, and nothing else.
//!
//! 1. Four parts in parallel: each writes a note, a plain document in the table [`SCRATCH`] under a
//!    key of the request (`<request>.<part>`).
//! 2. [`ComposeAndUpload`] reads the four notes and makes the review of them.
//! 3. The body is stored.
//! 4. The lists of user and movie get it, in parallel.
//!
//! Nobody but the request itself ever reads its notes, so a runtime may keep them in what travels
//! with the request and never store them. Where they are stored, they stay.
//!
//! A stage that does not see all of the notes gives the request up, before anything is visible; no
//! runtime that promises order lets that happen (rule M13).
//!
//! A reader looks at a movie's list on one host and asks for the bodies on another. That every listed
//! review has one (rule M10) needs the order of stages 3 and 4 to hold everywhere.
//!
//! With `compat = causalmesh` names are ids already and are not looked up, the client chooses the
//! review's id among those that exist (D16), and there is no timestamp.

use crate::accounts::UploadUser;
use crate::compose::{JoinMovieId, JoinRating, JoinText, JoinUserId};
use crate::frontend::{Compose, Composed, first_error};
use crate::movies::UploadMovie;
use crate::reviews::{Review, StoreReview, UploadMovieReview, UploadUserReview};
use crate::{Compat, Config};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Ctx, Error, Op, Result, Value, join};

/// The table of notes.
pub const SCRATCH: &str = "Scratch";
/// How the reason of a request is called that was given up because a stage did not see all parts.
pub const UNSEEN: &str = "parts unseen";
/// The field of a note.
const PART: &str = "part";
/// The parts of a review, as their keys end.
const PARTS: [&str; 4] = ["text", "rating", "userId", "movieId"];

/// Makes a review of the notes of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComposeAndUpload {
    /// The compose request.
    pub req_id: String,
    /// The id that the client chose, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_id: Option<String>,
}

impl Op for ComposeAndUpload {
    const FUNCTION: &'static str = "ComposeReview";
    const OP: &'static str = "ComposeAndUpload";
    type Output = Review;
}

pub(crate) async fn compose(
    config: Config,
    ctx: &mut Ctx,
    req_id: String,
    input: Compose,
) -> Result<Composed> {
    let Compose {
        username,
        title,
        rating,
        text,
        review_id,
        ..
    } = input;
    let published = config.compat == Compat::CausalMesh;
    let id = || req_id.clone();
    let [mut a, mut b, mut c, mut d] = ctx.fork();
    let note = (
        JoinText { req_id: id(), text },
        JoinRating {
            req_id: id(),
            rating,
        },
    );
    let (text, rated, user, movie) = join!(
        a.call(note.0),
        b.call(note.1),
        note_user(&mut c, id(), username, published),
        note_movie(&mut d, id(), title, rating, published),
    );
    first_error([text.err(), rated.err(), user.err(), movie.err()])?;
    let review_id = review_id.filter(|_| published);
    let review = ctx.call(ComposeAndUpload { req_id, review_id }).await?;
    let composed = Composed {
        review_id: review.review_id.clone(),
        user_id: review.user_id.clone(),
        movie_id: review.movie_id.clone(),
        timestamp: Some(review.timestamp),
    };
    let by_user = UploadUserReview::of(&review);
    let by_movie = match published {
        true => UploadMovieReview::of(&review),
        false => UploadMovieReview::counting(&review),
    };
    // The body first: what is listed must be stored.
    ctx.call(StoreReview { review }).await?;
    let [mut a, mut b] = ctx.fork();
    let (user, movie) = join!(a.call(by_user), b.call(by_movie));
    first_error([user.err(), movie.err()])?;
    Ok(composed)
}

async fn note_user(ctx: &mut Ctx, req_id: String, username: String, published: bool) -> Result<()> {
    let user_id = match published {
        true => username,
        false => {
            let req_id = req_id.clone();
            ctx.call(UploadUser { req_id, username }).await?
        }
    };
    ctx.call(JoinUserId { req_id, user_id }).await
}

async fn note_movie(
    ctx: &mut Ctx,
    req_id: String,
    title: String,
    rating: i64,
    published: bool,
) -> Result<()> {
    let movie_id = match published {
        true => title,
        false => {
            let upload = UploadMovie {
                req_id: req_id.clone(),
                title,
                rating,
            };
            ctx.call(upload).await?
        }
    };
    ctx.call(JoinMovieId { req_id, movie_id }).await
}

fn key(req_id: &str, part: &str) -> String {
    format!("{req_id}.{part}")
}

/// Writes a part down.
pub(crate) async fn note(ctx: &mut Ctx, req_id: &str, part: &str, value: Value) -> Result<()> {
    let note = Value::map([(PART, value)]);
    ctx.write(SCRATCH, &key(req_id, part), &note).await
}

/// Stage 2, at `ComposeReview`.
pub(crate) async fn assemble(
    config: Config,
    ctx: &mut Ctx,
    input: ComposeAndUpload,
) -> Result<Value> {
    let ComposeAndUpload { req_id, review_id } = input;
    let keys = PARTS.map(|part| key(&req_id, part));
    let notes: Vec<Option<Value>> = ctx.read_many(SCRATCH, &keys).await?;
    let part = |at: usize| notes.get(at)?.as_ref()?.get(PART);
    let text = |at: usize| part(at).and_then(Value::as_str).map(str::to_owned);
    let (Some(words), Some(rating), Some(user_id), Some(movie_id)) =
        (text(0), part(1).and_then(Value::as_int), text(2), text(3))
    else {
        // The runtime has not shown this stage what an earlier one wrote: rule M13.
        let there = (0..PARTS.len()).filter(|at| part(*at).is_some()).count();
        return Err(Error::rejected(format!(
            "{UNSEEN}: {there} of {} are seen",
            PARTS.len()
        )));
    };
    let (review_id, timestamp) = match (review_id, config.compat) {
        (Some(chosen), _) => (chosen, 0),
        (None, Compat::CausalMesh) => {
            return Err(Error::rejected("the client chose no review id"));
        }
        (None, _) => (ctx.unique_id().await?, ctx.now().await?),
    };
    let review = Review {
        review_id,
        user_id,
        req_id,
        text: words,
        movie_id,
        rating,
        timestamp,
    };
    Call::output::<ComposeAndUpload>(&review)
}
