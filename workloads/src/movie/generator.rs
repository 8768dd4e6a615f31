//! The requests of a run, each a pure function of the seed and its position.

use super::dataset::Dataset;
use super::{Mix, mix, published, reviews, uniform};
use crate::draw::text;
use crate::generator::{share, stream};
use crate::zipf::Popularity;
use crate::{Load, Planned, Profile};
use triptych_model::{Random, Value};

/// How skewed popularity is, where it is.
const ZIPF_EXPONENT: f64 = 0.99;
/// The length of a review.
const TEXT_LENGTH: usize = 256;
/// Its length and its rating as published with CausalMesh.
const PUBLISHED_LENGTH: usize = 11;
const PUBLISHED_RATING: i64 = 5;
/// How many reviews a reader asks for.
const WINDOW: i64 = 10;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Compose,
    ReadPage,
    ReadMovieReviews,
    ReadUserReviews,
    Login,
}

impl Kind {
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Kind::Compose => ("compose", "Frontend", "Compose"),
            Kind::ReadPage => ("read-page", "Page", "ReadPage"),
            Kind::ReadMovieReviews => ("read-movie-reviews", "MovieReview", "ReadMovieReviews"),
            Kind::ReadUserReviews => ("read-user-reviews", "UserReview", "ReadUserReviews"),
            Kind::Login => ("login", "User", "Login"),
        }
    }
}

/// The mix of the full profiles, in percent.
const MIXED: [(Kind, u64); 5] = [
    (Kind::Compose, 10),
    (Kind::ReadPage, 55),
    (Kind::ReadMovieReviews, 25),
    (Kind::ReadUserReviews, 5),
    (Kind::Login, 5),
];
/// That of the measurements published with CausalMesh.
const HALF: [(Kind, u64); 2] = [(Kind::Compose, 50), (Kind::ReadMovieReviews, 50)];
/// That of the measurements published with Beldi.
const COMPOSE_ONLY: [(Kind, u64); 1] = [(Kind::Compose, 100)];

/// Makes the requests of one run.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    mix: &'static [(Kind, u64)],
    popularity: Popularity,
    rejects: f64,
    sessions: u64,
    /// How many reviews there are before the run.
    reviews: usize,
    /// Whether requests are those published with CausalMesh.
    published: bool,
    dataset: Dataset,
}

impl Generator {
    /// The requests of the profile on this data set, with this seed.
    ///
    /// # Errors
    /// A setting or a data set that no request can be made from, in words.
    pub fn new(profile: &Profile, dataset: &Dataset, seed: u64) -> Result<Self, String> {
        if dataset.movies.is_empty() || dataset.users.is_empty() {
            return Err("the data set must have at least one movie and one user".to_owned());
        }
        let told = |error: crate::SettingError| error.to_string();
        let exponent = if uniform(profile).map_err(told)? {
            0.0
        } else {
            ZIPF_EXPONENT
        };
        Ok(Generator {
            seed,
            mix: match mix(profile).map_err(told)? {
                Mix::Pages => &MIXED,
                Mix::Half => &HALF,
                Mix::Composes => &COMPOSE_ONLY,
            },
            popularity: Popularity::zipf(dataset.movies.len(), exponent),
            rejects: profile.share("rejects").map_err(told)?,
            sessions: profile.count("sessions").map_err(told)? as u64,
            reviews: reviews(profile).map_err(told)?,
            published: published(profile),
            dataset: dataset.clone(),
        })
    }

    /// The requests that fill the app with the data set.
    pub fn loads(&self) -> Vec<Load> {
        let mut loads = self.dataset.loads();
        loads.extend(super::reviews::loads(&self.dataset, self.reviews));
        loads
    }

    /// The names of the request kinds, as [`Planned::kind`] counts them.
    pub fn kinds(&self) -> Vec<String> {
        self.mix
            .iter()
            .map(|(kind, _)| kind.names().0.to_owned())
            .collect()
    }

    /// The request at this position.
    pub fn request(&self, index: u64) -> Planned {
        let shares = self.mix.iter().map(|(_, share)| *share);
        let position = share(&mut self.stream("kind", index), shares);
        let kind = self.mix[position].0;
        let (_, function, op) = kind.names();
        Planned {
            kind: position as u16,
            function: function.to_owned(),
            op: op.to_owned(),
            input: self.input(kind, index),
            session: self.stream("session", index).below(self.sessions) as u32,
        }
    }

    fn input(&self, kind: Kind, index: u64) -> Value {
        let movie = &self.dataset.movies[self.popularity.draw(&mut self.stream("movie", index))];
        let users = self.dataset.users.len() as u64;
        let user = &self.dataset.users[self.stream("user", index).below(users) as usize];
        let window = |name: &str, id: &str| {
            Value::map([
                (name, id.into()),
                ("start", Value::Int(0)),
                ("stop", Value::Int(WINDOW)),
            ])
        };
        match kind {
            Kind::Compose if self.published => {
                self.published(index, &movie.movie_id, &user.user_id)
            }
            Kind::Compose => self.compose(index, &movie.title, &user.username),
            Kind::ReadPage | Kind::ReadMovieReviews => window("movieId", &movie.movie_id),
            Kind::ReadUserReviews => window("userId", &user.user_id),
            Kind::Login => Value::map([
                ("username", Value::from(user.username.as_str())),
                ("password", user.password.as_str().into()),
            ]),
        }
    }

    fn compose(&self, index: u64, title: &str, username: &str) -> Value {
        let mut review = self.stream("review", index);
        let mut luck = self.stream("reject", index);
        let (mut title, mut username) = (Value::from(title), Value::from(username));
        if luck.chance(self.rejects) {
            if luck.chance(0.5) {
                title = format!("no such title {index}").into();
            } else {
                username = format!("nobody_{index}").into();
            }
        }
        let rating = review.below(11) as i64;
        let text = text(&mut review, TEXT_LENGTH);
        Value::map([
            // The client's name for the request: the stored review carries it, so that the oracle
            // knows what became of requests that were never answered.
            ("reqId", Value::from(format!("r{index}"))),
            ("username", username),
            ("title", title),
            ("rating", rating.into()),
            ("text", text.into()),
        ])
    }

    /// A compose as published with CausalMesh: names are ids already, and the review takes the place
    /// of one that exists.
    fn published(&self, index: u64, movie_id: &str, user_id: &str) -> Value {
        let mut review = self.stream("review", index);
        let id = review.below(self.reviews as u64) as usize;
        let text = text(&mut review, PUBLISHED_LENGTH);
        Value::map([
            ("reqId", Value::from(format!("r{index}"))),
            ("username", user_id.into()),
            ("title", movie_id.into()),
            ("rating", PUBLISHED_RATING.into()),
            ("text", text.into()),
            ("reviewId", super::reviews::id(id).into()),
        ])
    }

    fn stream(&self, purpose: &str, index: u64) -> Random {
        stream(self.seed, purpose, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn generator(profile: &str, seed: u64) -> Generator {
        let profile = crate::find(profile).expect("exists");
        let dataset = Dataset::of(&profile).expect("has a size");
        Generator::new(&profile, &dataset, seed).expect("fits")
    }

    #[test]
    fn the_mix_is_as_declared_and_refused_composes_are_in_it() {
        let generator = generator("full-movie", 1);
        let kinds = generator.kinds();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut refused, mut sessions) = (0, BTreeSet::new());
        let titles = generator.dataset.titles();
        for index in 0..40_000 {
            let planned = generator.request(index);
            let kind = kinds[usize::from(planned.kind)].as_str();
            *counts.entry(kind).or_default() += 1;
            sessions.insert(planned.session);
            if kind == "compose" {
                let text = |name| {
                    planned
                        .input
                        .get(name)
                        .and_then(Value::as_str)
                        .unwrap_or("")
                };
                assert_eq!(text("text").len(), 256);
                let known = titles.contains_key(text("title"));
                refused += u64::from(!known || text("username").starts_with("nobody"));
            }
        }
        assert_eq!(sessions.len(), 100);
        for (kind, share) in [
            ("compose", 10),
            ("read-page", 55),
            ("read-movie-reviews", 25),
        ] {
            assert!(counts[kind].abs_diff(share * 400) < 500, "{counts:?}");
        }
        assert!((5..45).contains(&refused), "{refused} of about 4,000");
    }

    #[test]
    fn a_request_depends_on_seed_and_position_alone() {
        let (one, two) = (generator("full-movie", 1), generator("full-movie", 1));
        let other = generator("full-movie", 2);
        let forwards: Vec<Planned> = (0..200).map(|index| one.request(index)).collect();
        let backwards: Vec<Planned> = (0..200).rev().map(|index| two.request(index)).collect();
        assert!(forwards.iter().eq(backwards.iter().rev()));
        assert!((0..200).any(|index| one.request(index) != other.request(index)));
        // Both formulations get the same requests, so that they can be compared.
        let choreo = generator("full-movie-choreo", 1);
        assert!((0..200).all(|index| one.request(index) == choreo.request(index)));
    }

    #[test]
    fn the_published_mix_is_composes_alone() {
        let generator = generator("compat-beldi-movie", 3);
        assert_eq!(generator.kinds(), ["compose"]);
        let titles = generator.dataset.titles();
        for index in 0..2_000 {
            let planned = generator.request(index);
            let title = planned
                .input
                .get("title")
                .and_then(Value::as_str)
                .unwrap_or("");
            assert!(planned.kind == 0 && titles.contains_key(title));
        }
    }

    #[test]
    fn requests_as_published_with_causalmesh_name_reviews_that_exist() {
        let generator = generator("compat-causalmesh-movie", 3);
        assert_eq!(generator.kinds(), ["compose", "read-movie-reviews"]);
        let mut composes = 0;
        for index in 0..2_000 {
            let planned = generator.request(index);
            if planned.kind == 1 {
                continue;
            }
            composes += 1;
            let text = |name| {
                planned
                    .input
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or("")
            };
            let old = text("reviewId").strip_prefix("old").map(str::parse::<u32>);
            assert!(old.is_some_and(|old| old.is_ok_and(|old| old < 100_000)));
            assert!(text("title").parse::<u64>().is_ok() && text("username").starts_with("user"));
            assert_eq!(text("text").len(), 11);
        }
        assert!((900..1_100).contains(&composes), "{composes}");
        // Ours ask for the same movies at the same time, and for a review of their own.
        let ours = self::generator("full-movie-causal", 3);
        for index in 0..200 {
            let (own, theirs) = (ours.request(index), generator.request(index));
            assert_eq!((own.kind, own.session), (theirs.kind, theirs.session));
            assert_eq!(own.input.get("reviewId"), None);
            if own.kind == 1 {
                assert_eq!(own, theirs);
            }
        }
    }

    #[test]
    fn a_mix_or_a_number_of_reviews_that_cannot_be_is_refused() {
        let told = |profile: &str, key: &str, value: &str| {
            let overrides = [(key.to_owned(), value.to_owned())];
            let profile = crate::find(profile).expect("exists");
            let changed = profile.with_settings(overrides.into());
            changed.expect_err("is refused").to_string()
        };
        assert!(told("full-movie", "mix", "all").contains("pages, half"));
        assert!(told("full-movie-causal", "reviews", "-1").contains("up to 1000000"));
        assert!(told("full-movie-causal", "reviews", "1000001").contains("up to 1000000"));
        let none = told("compat-causalmesh-movie", "reviews", "0");
        assert!(none.contains("choose among"), "{none}");
    }

    #[test]
    fn the_first_requests_never_change() {
        let texts = |seed| {
            let generator = generator("full-movie", seed);
            (0..50).fold(0, |digest, index| {
                triptych_model::mix_str(digest, &format!("{:?}", generator.request(index)))
            })
        };
        // If this changes, runs of before and after cannot be compared: say so where it is changed.
        assert_eq!(texts(42), 14_033_482_591_256_522_262);
        assert_ne!(texts(42), texts(43));
    }
}
