//! Movie reviews: profiles, data set, requests.
//!
//! What the keys of a movie profile mean: `formulation`, `keep`, `compat` and `ack` are the app's;
//! `popularity` (`zipf` or `uniform`) says which movies requests are about, `sessions` how many
//! logical clients there are, `movies` and `users` the size of the invented data set, `rejects` the
//! share of composes that name an unknown title or user. `mix` is `pages` (mostly reads, of every
//! kind) or `half` (composes and looks at a movie's reviews, equally often); `reviews` is how many
//! reviews there are before the run, of which each movie lists five.

mod dataset;
mod generator;
mod invent;
mod reviews;

pub use dataset::{Cast, Dataset, DatasetError, Movie, User};
pub use generator::Generator;

use crate::profile::{Family, Profile, SettingError};

pub(crate) const FAMILY: Family = Family {
    app: "movie",
    keys: &[
        "ack",
        "compat",
        "formulation",
        "keep",
        "mix",
        "movies",
        "popularity",
        "rejects",
        "reviews",
        "sessions",
        "users",
    ],
    profiles,
    check,
    small: &[
        ("movies", "10"),
        ("reviews", "60"),
        ("users", "10"),
        ("sessions", "10"),
    ],
};

fn profiles() -> Vec<Profile> {
    let common = [
        ("movies", "1000"),
        ("users", "1000"),
        ("sessions", "100"),
        ("popularity", "zipf"),
        ("rejects", "0.005"),
        ("compat", "none"),
        ("mix", "pages"),
        ("reviews", "0"),
    ];
    let causal = [
        ("formulation", "causal"),
        ("mix", "half"),
        ("popularity", "uniform"),
        ("rejects", "0"),
        ("reviews", "100000"),
        ("sessions", "1000"),
    ];
    let published = [&causal[..], &[("compat", "causalmesh"), ("keep", "10")]].concat();
    let movie = |name, about, own: &[_]| FAMILY.profile(name, about, &common, own);
    vec![
        movie(
            "full-movie",
            "mixed reads and composes of movie reviews, the front function awaits its parts",
            &[("formulation", "orch")],
        ),
        movie(
            "full-movie-choreo",
            "the same requests, a review's parts join without anybody awaiting them",
            &[("formulation", "choreo")],
        ),
        movie(
            "compat-beldi-movie",
            "composes only, with the work and the defects of the port published with Beldi",
            &[
                ("formulation", "choreo"),
                ("compat", "beldi"),
                ("popularity", "uniform"),
                ("rejects", "0"),
            ],
        ),
        movie(
            "full-movie-causal",
            "half composes in stages that may each run on another host, half looks at reviews",
            &causal,
        ),
        movie(
            "compat-causalmesh-movie",
            "the same as published with CausalMesh: ids of reviews that exist, lists of ten",
            &published,
        ),
    ]
}

fn check(profile: &Profile) -> Result<(), SettingError> {
    for key in ["movies", "users", "sessions"] {
        profile.count(key)?;
    }
    uniform(profile)?;
    mix(profile)?;
    reviews(profile)?;
    profile.share("rejects").map(drop)
}

/// Whether all movies are equally popular.
fn uniform(profile: &Profile) -> Result<bool, SettingError> {
    match profile.setting("popularity") {
        "zipf" => Ok(false),
        "uniform" => Ok(true),
        _ => Err(profile.bad("popularity", "zipf, uniform")),
    }
}

/// What is asked, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mix {
    /// Mostly reads, of every kind.
    Pages,
    /// Half composes, half looks at a movie's reviews.
    Half,
    /// Composes alone: what the port published with Beldi was measured with.
    Composes,
}

fn mix(profile: &Profile) -> Result<Mix, SettingError> {
    match (profile.setting("mix"), profile.setting("compat")) {
        ("pages", "beldi") => Ok(Mix::Composes),
        ("pages", _) => Ok(Mix::Pages),
        ("half", _) => Ok(Mix::Half),
        _ => Err(profile.bad("mix", "pages, half")),
    }
}

/// How many reviews there are before the run.
fn reviews(profile: &Profile) -> Result<usize, SettingError> {
    let reviews = profile.setting("reviews").parse().ok();
    let reviews = reviews.filter(|reviews| *reviews <= MOST_REVIEWS);
    let reviews = reviews.ok_or_else(|| profile.bad("reviews", "a whole number up to 1000000"))?;
    if reviews == 0 && published(profile) {
        let problem = "requests choose among the ids of these reviews".to_owned();
        return Err(profile.unusable("reviews", problem));
    }
    Ok(reviews)
}

/// The most reviews before the run.
const MOST_REVIEWS: usize = 1_000_000;

/// Whether requests are those that were published with CausalMesh.
fn published(profile: &Profile) -> bool {
    profile.setting("compat") == "causalmesh"
}
