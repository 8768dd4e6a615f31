//! What is known of movies: `MovieId` (titles), `MovieInfo`, `CastInfo` and `Plot`.

use crate::compose::JoinMovieId;
use crate::parts::UploadRating;
use crate::{Config, Formulation};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Ctx, Error, Function, Op, ReadSet, Result, Value};

/// Makes a title known. A title that is registered twice means the movie of the last registration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterMovieId {
    /// The title.
    pub title: String,
    /// Its movie.
    pub movie_id: String,
}

impl Op for RegisterMovieId {
    const FUNCTION: &'static str = "MovieId";
    const OP: &'static str = "RegisterMovieId";
    type Output = ();
}

/// Finds the movie of a review; answers its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadMovie {
    /// The compose request.
    pub req_id: String,
    /// The title.
    pub title: String,
    /// The rating, which travels on from here.
    pub rating: i64,
}

impl Op for UploadMovie {
    const FUNCTION: &'static str = "MovieId";
    const OP: &'static str = "UploadMovie";
    type Output = String;
}

/// One person of a cast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cast {
    /// The place in the cast.
    pub cast_id: String,
    /// Whom the person plays.
    pub character: String,
    /// The row of `CastInfo`.
    pub cast_info_id: String,
}

/// Stores what is known of a movie, and is the row of the table `MovieInfo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteMovieInfo {
    /// The key.
    pub movie_id: String,
    /// The title.
    pub title: String,
    /// The cast.
    pub casts: Vec<Cast>,
    /// The row of `Plot`.
    pub plot_id: String,
    /// Small pictures.
    pub thumbnail_ids: Vec<String>,
    /// Pictures.
    pub photo_ids: Vec<String>,
    /// Videos.
    pub video_ids: Vec<String>,
    /// The average rating before the run.
    pub avg_rating: f64,
    /// How many ratings that is of.
    pub num_rating: i64,
}

impl Op for WriteMovieInfo {
    const FUNCTION: &'static str = "MovieInfo";
    const OP: &'static str = "WriteMovieInfo";
    type Output = ();
}

/// Reads what is known of a movie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadMovieInfo {
    /// The movie.
    pub movie_id: String,
}

impl Op for ReadMovieInfo {
    const FUNCTION: &'static str = "MovieInfo";
    const OP: &'static str = "ReadMovieInfo";
    type Output = WriteMovieInfo;
}

/// Stores what is known of a person, and is the row of the table `CastInfo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteCastInfo {
    /// The key.
    pub cast_info_id: String,
    /// The person's name.
    pub name: String,
    /// Whether a man.
    pub gender: bool,
    /// The person's life.
    pub intro: String,
}

impl Op for WriteCastInfo {
    const FUNCTION: &'static str = "CastInfo";
    const OP: &'static str = "WriteCastInfo";
    type Output = ();
}

/// Reads what is known of several persons. Unknown ones are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadCastInfo {
    /// The persons.
    pub cast_info_ids: Vec<String>,
}

impl Op for ReadCastInfo {
    const FUNCTION: &'static str = "CastInfo";
    const OP: &'static str = "ReadCastInfo";
    type Output = Vec<WriteCastInfo>;
}

/// Stores a plot, and is the row of the table `Plot`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WritePlot {
    /// The key.
    pub plot_id: String,
    /// The plot.
    pub plot: String,
}

impl Op for WritePlot {
    const FUNCTION: &'static str = "Plot";
    const OP: &'static str = "WritePlot";
    type Output = ();
}

/// Reads a plot; empty if unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadPlot {
    /// The plot.
    pub plot_id: String,
}

impl Op for ReadPlot {
    const FUNCTION: &'static str = "Plot";
    const OP: &'static str = "ReadPlot";
    type Output = String;
}

/// A row of the table `MovieId`, which is keyed by the title.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TitleRow {
    movie_id: String,
    title: String,
}

pub(crate) fn functions(config: Config) -> [Function; 4] {
    [
        Function::new("MovieId", &["MovieId"], move |ctx, call| {
            Box::pin(movie_id(config, ctx, call))
        })
        .reading(|call| match &*call.op {
            UploadMovie::OP => ReadSet::named(call, "MovieId", "title"),
            _ => None,
        }),
        Function::new("MovieInfo", &["MovieInfo"], |ctx, call| {
            Box::pin(movie_info(ctx, call))
        })
        .reading(|call| match &*call.op {
            ReadMovieInfo::OP => ReadSet::named(call, "MovieInfo", "movieId"),
            _ => None,
        }),
        Function::new("CastInfo", &["CastInfo"], |ctx, call| {
            Box::pin(cast_info(ctx, call))
        })
        .reading(|call| match &*call.op {
            ReadCastInfo::OP => ReadSet::named(call, "CastInfo", "castInfoIds"),
            _ => None,
        }),
        Function::new("Plot", &["Plot"], |ctx, call| Box::pin(plot(ctx, call))).reading(|call| {
            match &*call.op {
                ReadPlot::OP => ReadSet::named(call, "Plot", "plotId"),
                _ => None,
            }
        }),
    ]
}

async fn movie_id(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        RegisterMovieId::OP => {
            let RegisterMovieId { title, movie_id } = call.input()?;
            let key = title.clone();
            ctx.write("MovieId", &key, &TitleRow { movie_id, title })
                .await?;
            Call::output::<RegisterMovieId>(&())
        }
        UploadMovie::OP => {
            Call::output::<UploadMovie>(&upload_movie(config, ctx, call.input()?).await?)
        }
        _ => Err(call.unknown("MovieId")),
    }
}

async fn upload_movie(config: Config, ctx: &mut Ctx, input: UploadMovie) -> Result<String> {
    let UploadMovie {
        req_id,
        title,
        rating,
    } = input;
    let row: Option<TitleRow> = ctx.read("MovieId", &title).await?;
    let Some(TitleRow { movie_id, .. }) = row else {
        return Err(Error::rejected(format!("unknown title: {title}")));
    };
    if config.formulation == Formulation::Choreo {
        ctx.send(JoinMovieId {
            req_id: req_id.clone(),
            movie_id: movie_id.clone(),
        })
        .await?;
        ctx.send(UploadRating { req_id, rating }).await?;
    }
    Ok(movie_id)
}

async fn movie_info(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        WriteMovieInfo::OP => {
            let info: WriteMovieInfo = call.input()?;
            ctx.write("MovieInfo", &info.movie_id, &info).await?;
            Call::output::<WriteMovieInfo>(&())
        }
        ReadMovieInfo::OP => {
            let ReadMovieInfo { movie_id } = call.input()?;
            let info = ctx.read("MovieInfo", &movie_id).await?;
            let info = info.ok_or_else(|| Error::rejected(format!("unknown movie: {movie_id}")))?;
            Call::output::<ReadMovieInfo>(&info)
        }
        _ => Err(call.unknown("MovieInfo")),
    }
}

async fn cast_info(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        WriteCastInfo::OP => {
            let info: WriteCastInfo = call.input()?;
            ctx.write("CastInfo", &info.cast_info_id, &info).await?;
            Call::output::<WriteCastInfo>(&())
        }
        ReadCastInfo::OP => {
            let ReadCastInfo { cast_info_ids } = call.input()?;
            // A movie without a cast is common, and reading nothing is not worth an operation.
            let infos = match cast_info_ids.is_empty() {
                true => Vec::new(),
                false => ctx.read_many("CastInfo", &cast_info_ids).await?,
            };
            Call::output::<ReadCastInfo>(&infos.into_iter().flatten().collect())
        }
        _ => Err(call.unknown("CastInfo")),
    }
}

async fn plot(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        WritePlot::OP => {
            let plot: WritePlot = call.input()?;
            ctx.write("Plot", &plot.plot_id, &plot).await?;
            Call::output::<WritePlot>(&())
        }
        ReadPlot::OP => {
            let ReadPlot { plot_id } = call.input()?;
            let row: Option<WritePlot> = ctx.read("Plot", &plot_id).await?;
            Call::output::<ReadPlot>(&row.map(|row| row.plot).unwrap_or_default())
        }
        _ => Err(call.unknown("Plot")),
    }
}
