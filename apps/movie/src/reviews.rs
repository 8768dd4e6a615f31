//! Where reviews are kept: `ReviewStorage` (bodies), `UserReview` and `MovieReview` (lists).
//!
//! A list is stored in the order of its appends, so that one update without a read adds to it.
//! Timestamps are taken earlier and by others, so that order is not exactly theirs; readers sort,
//! newest first by (timestamp, review id).

use crate::{Compat, Config};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Change, Ctx, Error, Function, Op, ReadSet, Result, Value};

/// A review, and the row of the table `ReviewStorage`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// The key.
    pub review_id: String,
    /// Its author.
    pub user_id: String,
    /// The request that composed it.
    pub req_id: String,
    /// What it says.
    pub text: String,
    /// Its movie.
    pub movie_id: String,
    /// From 0 to 10.
    pub rating: i64,
    /// When it was composed, in milliseconds since 1970.
    pub timestamp: i64,
}

/// Stores a review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreReview {
    /// The review.
    pub review: Review,
}

impl Op for StoreReview {
    const FUNCTION: &'static str = "ReviewStorage";
    const OP: &'static str = "StoreReview";
    type Output = ();
}

/// Stores reviews of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReviews {
    /// The reviews.
    pub reviews: Vec<Review>,
}

impl Op for LoadReviews {
    const FUNCTION: &'static str = "ReviewStorage";
    const OP: &'static str = "LoadReviews";
    type Output = ();
}

/// A list of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct List {
    /// Whose.
    pub owner: String,
    /// What is in it, oldest first.
    pub entries: Vec<Entry>,
}

/// Stores lists of users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadUserReviews {
    /// The lists.
    pub lists: Vec<List>,
}

impl Op for LoadUserReviews {
    const FUNCTION: &'static str = "UserReview";
    const OP: &'static str = "LoadUserReviews";
    type Output = ();
}

/// Stores lists of movies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadMovieReviews {
    /// The lists.
    pub lists: Vec<List>,
}

impl Op for LoadMovieReviews {
    const FUNCTION: &'static str = "MovieReview";
    const OP: &'static str = "LoadMovieReviews";
    type Output = ();
}

/// Reads the bodies of several reviews.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadReviews {
    /// The reviews, in the order in which to answer them.
    pub review_ids: Vec<String>,
}

/// Bodies of reviews, and which have none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bodies {
    /// Those that are stored, as they are stored: readers pass them on and do not look into them.
    pub reviews: Vec<Value>,
    /// The ids of those that are not.
    pub missing: Vec<String>,
}

impl Op for ReadReviews {
    const FUNCTION: &'static str = "ReviewStorage";
    const OP: &'static str = "ReadReviews";
    type Output = Bodies;
}

/// An element of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The review.
    pub review_id: String,
    /// Its timestamp.
    pub timestamp: i64,
}

/// A row of the tables `UserReview` and `MovieReview`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListRow {
    /// In the order of the appends.
    pub reviews: Vec<Entry>,
}

/// Adds a review to its author's list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadUserReview {
    /// Whose list.
    pub user_id: String,
    /// What to add.
    #[serde(flatten)]
    pub entry: Entry,
}

impl UploadUserReview {
    /// The call that lists this review.
    pub fn of(review: &Review) -> Self {
        UploadUserReview {
            user_id: review.user_id.clone(),
            entry: Entry::of(review),
        }
    }
}

impl Op for UploadUserReview {
    const FUNCTION: &'static str = "UserReview";
    const OP: &'static str = "UploadUserReview";
    type Output = ();
}

/// Adds a review to its movie's list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadMovieReview {
    /// Whose list.
    pub movie_id: String,
    /// What to add.
    #[serde(flatten)]
    pub entry: Entry,
    /// The rating, if it is to be counted beside the list (`causal` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<i64>,
}

impl UploadMovieReview {
    /// The call that lists this review.
    pub fn of(review: &Review) -> Self {
        UploadMovieReview {
            movie_id: review.movie_id.clone(),
            entry: Entry::of(review),
            rating: None,
        }
    }

    /// The same, and the rating is counted in the same step.
    pub fn counting(review: &Review) -> Self {
        UploadMovieReview {
            rating: Some(review.rating),
            ..UploadMovieReview::of(review)
        }
    }
}

impl Op for UploadMovieReview {
    const FUNCTION: &'static str = "MovieReview";
    const OP: &'static str = "UploadMovieReview";
    type Output = ();
}

impl Entry {
    fn of(review: &Review) -> Self {
        Entry {
            review_id: review.review_id.clone(),
            timestamp: review.timestamp,
        }
    }
}

/// Reads a window of a user's reviews.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadUserReviews {
    /// Whose reviews.
    pub user_id: String,
    /// The first one to answer, counted from the newest.
    pub start: usize,
    /// The first one not to answer.
    pub stop: usize,
}

impl Op for ReadUserReviews {
    const FUNCTION: &'static str = "UserReview";
    const OP: &'static str = "ReadUserReviews";
    type Output = Window;
}

/// Reads a window of a movie's reviews.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadMovieReviews {
    /// Whose reviews.
    pub movie_id: String,
    /// The first one to answer, counted from the newest.
    pub start: usize,
    /// The first one not to answer.
    pub stop: usize,
}

impl Op for ReadMovieReviews {
    const FUNCTION: &'static str = "MovieReview";
    const OP: &'static str = "ReadMovieReviews";
    type Output = Window;
}

/// A window of a list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The reviews in it (each a [`Review`]), as they are stored.
    pub reviews: Vec<Value>,
    /// Those that are listed in it but not stored.
    pub missing: Vec<String>,
    /// How many reviews the whole list has.
    pub total: usize,
}

pub(crate) fn functions(config: Config) -> [Function; 3] {
    [
        Function::new("ReviewStorage", &["ReviewStorage"], |ctx, call| {
            Box::pin(storage(ctx, call))
        })
        .reading(|call| match &*call.op {
            ReadReviews::OP => ReadSet::named(call, "ReviewStorage", "reviewIds"),
            _ => None,
        }),
        Function::new("UserReview", &["UserReview"], move |ctx, call| {
            Box::pin(user_review(config, ctx, call))
        })
        // Which reviews are listed, no input says.
        .reading(|call| match &*call.op {
            ReadUserReviews::OP => ReadSet::named(call, "UserReview", "userId"),
            _ => None,
        }),
        Function::new("MovieReview", &["MovieReview"], move |ctx, call| {
            Box::pin(movie_review(config, ctx, call))
        })
        .reading(|call| match &*call.op {
            ReadMovieReviews::OP => ReadSet::named(call, "MovieReview", "movieId"),
            _ => None,
        }),
    ]
}

async fn storage(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        StoreReview::OP => {
            let StoreReview { review } = call.input()?;
            ctx.write("ReviewStorage", &review.review_id, &review)
                .await?;
            Call::output::<StoreReview>(&())
        }
        LoadReviews::OP => {
            let LoadReviews { reviews } = call.input()?;
            for review in reviews {
                ctx.write("ReviewStorage", &review.review_id, &review)
                    .await?;
            }
            Call::output::<LoadReviews>(&())
        }
        ReadReviews::OP => {
            let ReadReviews { review_ids } = call.input()?;
            // An empty list is common, and reading nothing is not worth an operation.
            let rows = match review_ids.is_empty() {
                true => Vec::new(),
                false => ctx.read_many("ReviewStorage", &review_ids).await?,
            };
            let mut bodies = Bodies::default();
            for (id, row) in review_ids.into_iter().zip(rows) {
                match row {
                    Some(review) => bodies.reviews.push(review),
                    None => bodies.missing.push(id),
                }
            }
            Call::output::<ReadReviews>(&bodies)
        }
        _ => Err(call.unknown("ReviewStorage")),
    }
}

async fn user_review(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        UploadUserReview::OP => {
            let UploadUserReview { user_id, entry } = call.input()?;
            append(config, ctx, "UserReview", &user_id, entry, None).await?;
            Call::output::<UploadUserReview>(&())
        }
        LoadUserReviews::OP => {
            let LoadUserReviews { lists } = call.input()?;
            load(ctx, "UserReview", lists).await?;
            Call::output::<LoadUserReviews>(&())
        }
        ReadUserReviews::OP => {
            let ReadUserReviews {
                user_id,
                start,
                stop,
            } = call.input()?;
            let window = read_window(ctx, "UserReview", &user_id, start, stop).await?;
            Call::output::<ReadUserReviews>(&window)
        }
        _ => Err(call.unknown("UserReview")),
    }
}

async fn movie_review(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        UploadMovieReview::OP => {
            let UploadMovieReview {
                movie_id,
                entry,
                rating,
            } = call.input()?;
            append(config, ctx, "MovieReview", &movie_id, entry, rating).await?;
            Call::output::<UploadMovieReview>(&())
        }
        LoadMovieReviews::OP => {
            let LoadMovieReviews { lists } = call.input()?;
            load(ctx, "MovieReview", lists).await?;
            Call::output::<LoadMovieReviews>(&())
        }
        ReadMovieReviews::OP => {
            let ReadMovieReviews {
                movie_id,
                start,
                stop,
            } = call.input()?;
            let window = read_window(ctx, "MovieReview", &movie_id, start, stop).await?;
            Call::output::<ReadMovieReviews>(&window)
        }
        _ => Err(call.unknown("MovieReview")),
    }
}

async fn load(ctx: &mut Ctx, table: &str, lists: Vec<List>) -> Result<()> {
    for List { owner, entries } in lists {
        ctx.write(table, &owner, &ListRow { reviews: entries })
            .await?;
    }
    Ok(())
}

async fn append(
    config: Config,
    ctx: &mut Ctx,
    table: &str,
    key: &str,
    entry: Entry,
    rating: Option<i64>,
) -> Result<()> {
    match config.compat {
        Compat::Beldi => return append_as_published(ctx, table, key, entry).await,
        Compat::CausalMesh => return rewrite_as_published(config, ctx, table, key, entry).await,
        Compat::None => {}
    }
    let entry = Value::map([
        ("reviewId", Value::from(entry.review_id)),
        ("timestamp", Value::from(entry.timestamp)),
    ]);
    let mut changes = vec![Change::append_keeping("reviews", entry, config.keep)];
    if let Some(rating) = rating {
        changes.extend([Change::add("sum", rating), Change::add("num", 1)]);
    }
    ctx.update(table, key, None, changes).await?;
    Ok(())
}

/// The append as published with CausalMesh: the list is read, changed and written back whole, so of
/// two appends at one time one is lost. It keeps the newest `keep`.
async fn rewrite_as_published(
    config: Config,
    ctx: &mut Ctx,
    table: &str,
    key: &str,
    entry: Entry,
) -> Result<()> {
    let mut row: ListRow = ctx.read(table, key).await?.unwrap_or_default();
    row.reviews.push(entry);
    let kept = config.keep.unwrap_or(usize::MAX);
    row.reviews.drain(..row.reviews.len().saturating_sub(kept));
    ctx.write(table, key, &row).await
}

/// Defect D2, inherited: the first review makes a list of one; every later one reads the list and
/// writes it back as it was, because the published append is disabled. The work (a read and a
/// write) is the same.
async fn append_as_published(ctx: &mut Ctx, table: &str, key: &str, entry: Entry) -> Result<()> {
    let row: Option<ListRow> = ctx.read(table, key).await?;
    let row = row.unwrap_or_else(|| ListRow {
        reviews: vec![entry],
    });
    ctx.write(table, key, &row).await
}

async fn read_window(
    ctx: &mut Ctx,
    table: &str,
    key: &str,
    start: usize,
    stop: usize,
) -> Result<Window> {
    // Lists grow long and only a window is wanted, so the elements are looked at where they are.
    let row: Option<Value> = ctx.read(table, key).await?;
    let list = row
        .as_ref()
        .and_then(|row| row.get("reviews")?.as_list())
        .unwrap_or_default();
    let mut entries: Vec<(i64, &str)> = Vec::with_capacity(list.len());
    for entry in list {
        let stamp = entry.get("timestamp").and_then(Value::as_int);
        match (stamp, entry.get("reviewId").and_then(Value::as_str)) {
            (Some(stamp), Some(id)) => entries.push((stamp, id)),
            _ => return Err(Error::Bug(format!("{table}[{key}] lists {entry:?}"))),
        }
    }
    let total = entries.len();
    entries.sort_by(|a, b| b.cmp(a));
    let wanted = entries.iter().skip(start).take(stop.saturating_sub(start));
    let review_ids = wanted.map(|(_, id)| (*id).to_owned()).collect();
    let Bodies { reviews, missing } = ctx.call(ReadReviews { review_ids }).await?;
    Ok(Window {
        reviews,
        missing,
        total,
    })
}
