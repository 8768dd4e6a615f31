//! Reviews that are there before the run: bodies, and lists that name the first five of each movie.
//! The app's module `loaded` says which review is whose.

use super::dataset::Dataset;
use crate::Load;
use crate::draw::text;
use crate::generator::stream;
use triptych_model::Value;

/// How many reviews each movie lists.
const LISTED: usize = 5;
/// The length of their texts.
const TEXT_LENGTH: usize = 11;
/// How many rows one loading request writes: few enough for a function's timeout.
const BATCH: usize = 200;

/// The id of a review.
pub(super) fn id(number: usize) -> String {
    format!("old{number}")
}

/// The requests that load so many reviews of a data set, always the same.
pub(super) fn loads(dataset: &Dataset, reviews: usize) -> Vec<Load> {
    if reviews == 0 {
        return Vec::new();
    }
    let (movies, users) = (&dataset.movies, &dataset.users);
    let listed = reviews.min(LISTED * movies.len());
    let movie = |n: usize| match n < listed {
        true => n / LISTED,
        false => n % movies.len(),
    };
    let review = |n: usize| {
        let mut random = stream(0, "old review", n as u64);
        Value::map([
            ("reviewId", Value::from(id(n))),
            ("userId", users[n % users.len()].user_id.as_str().into()),
            ("reqId", "".into()),
            ("text", text(&mut random, TEXT_LENGTH).into()),
            ("movieId", movies[movie(n)].movie_id.as_str().into()),
            ("rating", (random.below(11) as i64).into()),
            ("timestamp", (n as i64).into()),
        ])
    };
    let entry = |n: usize| {
        let id = Value::from(id(n));
        Value::map([("reviewId", id), ("timestamp", (n as i64).into())])
    };
    let list = |owner: &str, entries: &mut dyn Iterator<Item = usize>| {
        let entries = Value::list(entries.map(entry));
        Value::map([("owner", Value::from(owner)), ("entries", entries)])
    };
    let of_user = |at: usize| (at..listed).step_by(users.len());
    let of_movie = |at: usize| (at * LISTED).min(listed)..((at + 1) * LISTED).min(listed);
    let users = users.iter().enumerate();
    let users = users.map(|(at, user)| list(&user.user_id, &mut of_user(at)));
    let movies = movies.iter().enumerate();
    let movies = movies.map(|(at, movie)| list(&movie.movie_id, &mut of_movie(at)));
    let mut loads = Vec::new();
    for (function, op, field, rows) in [
        (
            "ReviewStorage",
            "LoadReviews",
            "reviews",
            (0..reviews).map(review).collect::<Vec<_>>(),
        ),
        ("UserReview", "LoadUserReviews", "lists", users.collect()),
        ("MovieReview", "LoadMovieReviews", "lists", movies.collect()),
    ] {
        let batches = rows.chunks(BATCH);
        loads.extend(batches.map(|rows| {
            let rows = Value::list(rows.iter().cloned());
            Load::new(function, op, Value::map([(field, rows)])).apart()
        }));
    }
    loads
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn rows<'a>(loads: &'a [Load], op: &str, field: &str) -> Vec<&'a Value> {
        let of_op = loads.iter().filter(|load| load.op == op);
        let lists = of_op.filter_map(|load| load.input.get(field)?.as_list());
        lists.flatten().collect()
    }

    #[test]
    fn every_movie_lists_five_and_every_listed_one_has_a_user() {
        for (movies, users, reviews) in [(10, 10, 60), (7, 3, 1_000), (4, 9, 13)] {
            let dataset = Dataset::generate(movies, users);
            let loads = loads(&dataset, reviews);
            assert_eq!(rows(&loads, "LoadReviews", "reviews").len(), reviews);
            let listed = reviews.min(5 * movies);
            for op in ["LoadMovieReviews", "LoadUserReviews"] {
                let lists = rows(&loads, op, "lists");
                let ids = lists.iter().flat_map(|list| {
                    let entries = list.get("entries").and_then(Value::as_list);
                    entries.unwrap_or_default().iter().filter_map(|entry| {
                        let id = entry.get("reviewId").and_then(Value::as_str)?;
                        Some(id.to_owned())
                    })
                });
                let ids: Vec<String> = ids.collect();
                let different: BTreeSet<&String> = ids.iter().collect();
                assert_eq!((ids.len(), different.len()), (listed, listed), "{op}");
            }
        }
        assert!(loads(&Dataset::generate(3, 3), 0).is_empty());
    }
}
