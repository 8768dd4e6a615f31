//! `Page`: everything that a movie's page shows, gathered from five functions.

use crate::frontend::first_error;
use crate::movies::{ReadCastInfo, ReadMovieInfo, ReadPlot, WriteCastInfo, WriteMovieInfo};
use crate::reviews::ReadMovieReviews;
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Ctx, Error, Function, Op, ReadSet, Result, Value, join};

/// Reads a movie's page with a window of its reviews.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadPage {
    /// The movie.
    pub movie_id: String,
    /// The first review to show, counted from the newest.
    pub start: usize,
    /// The first one not to show.
    pub stop: usize,
}

/// A movie's page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoviePage {
    /// What is known of the movie.
    pub movie_info: WriteMovieInfo,
    /// The window of its reviews, newest first, as they are stored.
    pub reviews: Vec<Value>,
    /// Reviews that are listed in the window but not stored.
    pub missing: Vec<String>,
    /// How many reviews the movie's list has.
    pub total: usize,
    /// Its cast.
    pub cast_infos: Vec<WriteCastInfo>,
    /// Its plot.
    pub plot: String,
}

impl Op for ReadPage {
    const FUNCTION: &'static str = "Page";
    const OP: &'static str = "ReadPage";
    type Output = MoviePage;
}

pub(crate) fn function() -> Function {
    Function::new("Page", &[], |ctx, call| Box::pin(handle(ctx, call))).reading(|call| {
        let of = |table| ReadSet::named(call, table, "movieId").map(ReadSet::below);
        Some(of("MovieInfo")?.and(of("MovieReview")?))
    })
}

async fn handle(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        ReadPage::OP => Call::output::<ReadPage>(&read(ctx, call.input()?).await?),
        _ => Err(call.unknown("Page")),
    }
}

async fn read(ctx: &mut Ctx, input: ReadPage) -> Result<MoviePage> {
    let ReadPage {
        movie_id,
        start,
        stop,
    } = input;
    let [mut a, mut b] = ctx.fork();
    let about = about(&mut a, movie_id.clone());
    let (about, reviews) = join!(
        about,
        b.call(ReadMovieReviews {
            movie_id,
            start,
            stop
        })
    );
    match (about, reviews) {
        (Ok((movie_info, cast_infos, plot)), Ok(window)) => Ok(MoviePage {
            movie_info,
            reviews: window.reviews,
            missing: window.missing,
            total: window.total,
            cast_infos,
            plot,
        }),
        (about, reviews) => {
            first_error([about.err(), reviews.err()])?;
            Err(Error::Bug("a branch failed without an error".to_owned()))
        }
    }
}

async fn about(
    ctx: &mut Ctx,
    movie_id: String,
) -> Result<(WriteMovieInfo, Vec<WriteCastInfo>, String)> {
    let info = ctx.call(ReadMovieInfo { movie_id }).await?;
    let cast_info_ids = info
        .casts
        .iter()
        .map(|cast| cast.cast_info_id.clone())
        .collect();
    let plot_id = info.plot_id.clone();
    let [mut a, mut b] = ctx.fork();
    let (casts, plot) = join!(
        a.call(ReadCastInfo { cast_info_ids }),
        b.call(ReadPlot { plot_id })
    );
    match (casts, plot) {
        (Ok(casts), Ok(plot)) => Ok((info, casts, plot)),
        (casts, plot) => {
            first_error([casts.err(), plot.err()])?;
            Err(Error::Bug("a branch failed without an error".to_owned()))
        }
    }
}
