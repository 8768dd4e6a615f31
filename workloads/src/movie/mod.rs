//! Movie reviews: profiles, data set, requests.
//!
//! What the keys of a movie profile mean: `formulation`, `keep`, `compat` and `ack` are the app's;
//! `popularity` (`zipf` or `uniform`) says which movies requests are about, `sessions` how many
//! logical clients there are, `movies` and `users` the size of the invented data set, `rejects` the
//! share of composes that name an unknown title or user.

mod dataset;
mod generator;
mod invent;

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
        "movies",
        "popularity",
        "rejects",
        "sessions",
        "users",
    ],
    profiles,
    check,
    small: &[("movies", "10"), ("users", "10"), ("sessions", "10")],
};

fn profiles() -> Vec<Profile> {
    let common = [
        ("movies", "1000"),
        ("users", "1000"),
        ("sessions", "100"),
        ("popularity", "zipf"),
        ("rejects", "0.005"),
        ("compat", "none"),
    ];
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
    ]
}

fn check(profile: &Profile) -> Result<(), SettingError> {
    for key in ["movies", "users", "sessions"] {
        profile.count(key)?;
    }
    uniform(profile)?;
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

/// Whether only what the published port was measured with is asked.
fn compose_only(profile: &Profile) -> bool {
    profile.setting("compat") == "beldi"
}
