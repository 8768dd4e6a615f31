//! What the functions know before the load begins: movies and users.

use super::invent;
use crate::Load;
use crate::profile::{Profile, SettingError};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use triptych_model::Value;

/// One person of a movie's cast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cast {
    /// The place in the cast.
    pub cast_id: String,
    /// Whom the person plays.
    pub character: String,
    /// The person.
    pub cast_info_id: String,
}

/// One movie, as files of movies hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Movie {
    /// Unique in the data set.
    pub movie_id: String,
    /// Not unique: two movies may share one.
    pub title: String,
    /// The cast; empty in the collections used so far.
    pub casts: Vec<Cast>,
    /// The plot's id.
    pub plot_id: String,
    /// Small pictures. A null in a file (a movie without a picture) is left out.
    #[serde(deserialize_with = "without_nulls")]
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

/// One user.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Unique.
    pub user_id: String,
    /// The name to log in with; unique.
    pub username: String,
    /// The password in clear.
    pub password: String,
}

/// Movies and users.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// In the order of their registration, and of their popularity.
    pub movies: Vec<Movie>,
    /// In the order of their registration.
    pub users: Vec<User>,
}

/// Why a file is no data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file cannot be read.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// The file is not a JSON array of movies.
    #[error("{}:{line}:{column}: expected an array of movies: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What was expected there and what was found.
        problem: String,
    },
    /// The file is well-formed, but a movie in it cannot be used.
    #[error("{}: movie {index} (counted from 0): expected {expected}, found {found}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Which movie.
        index: usize,
        /// What was expected.
        expected: &'static str,
        /// What was there.
        found: String,
    },
}

impl Dataset {
    /// An invented data set of this many movies and users, always the same.
    pub fn generate(movies: usize, users: usize) -> Self {
        Dataset {
            movies: invent::movies(movies),
            users: invented_users(users),
        }
    }

    /// The invented data set of the size that the profile's settings ask for.
    ///
    /// # Errors
    /// A setting that is no number.
    pub fn of(profile: &Profile) -> Result<Self, SettingError> {
        Ok(Dataset::generate(
            profile.count("movies")?,
            profile.count("users")?,
        ))
    }

    /// The movies of a file, with `users` invented users.
    ///
    /// # Errors
    /// Why the file cannot be used, with the place in it.
    pub fn load(path: impl AsRef<Path>, users: usize) -> Result<Self, DatasetError> {
        let path = path.as_ref();
        let text = std::fs::read(path).map_err(|problem| DatasetError::Unreadable {
            path: path.to_owned(),
            problem,
        })?;
        let movies: Vec<Movie> =
            serde_json::from_slice(&text).map_err(|error| DatasetError::Malformed {
                path: path.to_owned(),
                line: error.line(),
                column: error.column(),
                problem: error.to_string(),
            })?;
        let unusable = |index, expected, found: String| DatasetError::Unusable {
            path: path.to_owned(),
            index,
            expected,
            found,
        };
        if movies.is_empty() {
            return Err(unusable(
                0,
                "at least one movie",
                "an empty array".to_owned(),
            ));
        }
        let mut seen = BTreeMap::new();
        for (index, movie) in movies.iter().enumerate() {
            if movie.movie_id.is_empty() || movie.title.is_empty() {
                let found = format!("id {:?}, title {:?}", movie.movie_id, movie.title);
                return Err(unusable(index, "an id and a title", found));
            }
            if let Some(first) = seen.insert(movie.movie_id.as_str(), index) {
                let found = format!("{:?} again, as of movie {first}", movie.movie_id);
                return Err(unusable(index, "an id of its own", found));
            }
        }
        Ok(Dataset {
            movies,
            users: invented_users(users),
        })
    }

    /// Which movie a title means: that of its last registration.
    pub fn titles(&self) -> BTreeMap<&str, &str> {
        self.movies
            .iter()
            .map(|movie| (movie.title.as_str(), movie.movie_id.as_str()))
            .collect()
    }

    /// The requests that fill the app with this data set, in their order.
    pub(crate) fn loads(&self) -> Vec<Load> {
        let users = self.users.iter().enumerate().map(|(index, user)| {
            load(
                "User",
                "RegisterUserWithId",
                &[
                    ("userId", user.user_id.as_str().into()),
                    ("firstName", format!("first_name_{index}").into()),
                    ("lastName", format!("last_name_{index}").into()),
                    ("username", user.username.as_str().into()),
                    ("password", user.password.as_str().into()),
                ],
            )
        });
        users
            .chain(self.movies.iter().flat_map(movie_loads))
            .collect()
    }
}

fn without_nulls<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let texts: Vec<Option<String>> = Deserialize::deserialize(from)?;
    Ok(texts.into_iter().flatten().collect())
}

fn movie_loads(movie: &Movie) -> [Load; 3] {
    let texts = |texts: &[String]| Value::list(texts.iter().map(|text| text.as_str().into()));
    let casts = movie.casts.iter().map(|cast| {
        Value::map([
            ("castId", Value::from(cast.cast_id.as_str())),
            ("character", cast.character.as_str().into()),
            ("castInfoId", cast.cast_info_id.as_str().into()),
        ])
    });
    [
        load(
            "MovieId",
            "RegisterMovieId",
            &[
                ("title", movie.title.as_str().into()),
                ("movieId", movie.movie_id.as_str().into()),
            ],
        ),
        load(
            "MovieInfo",
            "WriteMovieInfo",
            &[
                ("movieId", movie.movie_id.as_str().into()),
                ("title", movie.title.as_str().into()),
                ("casts", Value::list(casts)),
                ("plotId", movie.plot_id.as_str().into()),
                ("thumbnailIds", texts(&movie.thumbnail_ids)),
                ("photoIds", texts(&movie.photo_ids)),
                ("videoIds", texts(&movie.video_ids)),
                ("avgRating", Value::Float(movie.avg_rating)),
                ("numRating", movie.num_rating.into()),
            ],
        ),
        // The collections have no plots; the published port stores this very word.
        load(
            "Plot",
            "WritePlot",
            &[
                ("plotId", movie.plot_id.as_str().into()),
                ("plot", "plot".into()),
            ],
        ),
    ]
}

fn load(function: &str, op: &str, input: &[(&str, Value)]) -> Load {
    Load::new(function, op, Value::map(input.iter().cloned()))
}

fn invented_users(count: usize) -> Vec<User> {
    let user = |index| User {
        user_id: format!("user{index}"),
        username: format!("username_{index}"),
        password: format!("password_{index}"),
    };
    (0..count).map(user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn json_size(dataset: &Dataset) -> usize {
        let text = serde_json::to_string(&dataset.movies).expect("is representable");
        text.len() / dataset.movies.len()
    }

    #[test]
    fn the_invented_movies_have_the_shape_of_the_real_ones() {
        let dataset = Dataset::generate(1_000, 1_000);
        assert_eq!((dataset.movies.len(), dataset.users.len()), (1_000, 1_000));
        assert_eq!(dataset.titles().len(), 995);
        let ids: std::collections::BTreeSet<_> =
            dataset.movies.iter().map(|movie| &movie.movie_id).collect();
        assert_eq!(ids.len(), 1_000);
        // The real ones take 203 bytes with a blank after each of 17 colons and commas.
        let size = json_size(&dataset) + 17;
        assert!((195..=211).contains(&size), "{size}");
        let mut counts: Vec<i64> = dataset
            .movies
            .iter()
            .map(|movie| movie.num_rating)
            .collect();
        counts.sort_unstable();
        assert!((380..560).contains(&counts[500]), "{}", counts[500]);
        assert!(counts[949] > 8_000 && counts[999] < 22_000);
        let mean = dataset
            .movies
            .iter()
            .map(|movie| movie.avg_rating)
            .sum::<f64>()
            / 1_000.0;
        assert!((6.0..7.0).contains(&mean), "{mean}");
        assert_eq!(dataset.users[999].username, "username_999");
        assert_eq!(dataset, Dataset::generate(1_000, 1_000));
    }

    #[test]
    fn small_data_sets_are_possible() {
        for movies in [1, 2, 7, 200] {
            let dataset = Dataset::generate(movies, 1);
            assert_eq!(dataset.movies.len(), movies);
            assert_eq!(dataset.loads().len(), 1 + 3 * movies);
        }
    }

    #[test]
    fn the_real_collection_loads_where_it_is_present() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/movies.json");
        if !Path::new(path).exists() {
            return;
        }
        let dataset = Dataset::load(path, 1_000).expect("is a data set");
        assert_eq!((dataset.movies.len(), dataset.titles().len()), (1_000, 995));
        let invented = Dataset::generate(1_000, 1_000);
        assert!(json_size(&dataset).abs_diff(json_size(&invented)) < 10);
    }

    #[test]
    fn a_bad_file_is_refused_with_its_place() {
        let told = |text: &str| {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(text.as_bytes()).expect("writes");
            Dataset::load(file.path(), 1)
                .expect_err("is bad")
                .to_string()
        };
        let movie = r#"{"MovieId":"1","Title":"T","Casts":[],"PlotId":"1","ThumbnailIds":[],
            "PhotoIds":[],"VideoIds":[],"AvgRating":1.0,"NumRating":1}"#;
        assert!(told("[]").contains("at least one movie"));
        assert!(told("[{\n \"MovieId\": 7}]").contains(":2:"));
        assert!(told(movie).contains("expected an array of movies"));
        let missing = format!("[{}]", movie.replace("\"Title\":\"T\",", ""));
        assert!(told(&missing).contains("Title"), "{}", told(&missing));
        let twice = told(&format!("[{movie},{movie}]"));
        assert!(
            twice.contains("movie 1") && twice.contains("as of movie 0"),
            "{twice}"
        );
        let absent = Dataset::load("/no/such/file", 1).expect_err("is absent");
        assert!(matches!(absent, DatasetError::Unreadable { .. }));
    }
}
