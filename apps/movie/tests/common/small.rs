//! A small, contended world of movies: three movies, two of one title, and four users.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use triptych_api::model::{Random, mix_str};
use triptych_api::{App, Value};
use triptych_movie::loaded;
use triptych_reference::{Bug, Request, Run, run};

pub fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn request(kind: u16, function: &str, op: &str, session: u32, input: &[(&str, Value)]) -> Request {
    Request {
        kind,
        function: function.to_owned(),
        op: op.to_owned(),
        input: Value::map(input.iter().cloned()),
        session,
    }
}

const MOVIES: [(&str, &str); 3] = [("m0", "First"), ("m1", "Second"), ("m2", "First")];

pub fn loads() -> Vec<Request> {
    let mut loads = Vec::new();
    for user in 0..4 {
        loads.push(request(
            0,
            "User",
            "RegisterUserWithId",
            0,
            &[
                ("userId", format!("user{user}").into()),
                ("firstName", "F".into()),
                ("lastName", "L".into()),
                ("username", format!("name{user}").into()),
                ("password", format!("secret{user}").into()),
            ],
        ));
    }
    for (id, title) in MOVIES {
        let empty = || Value::list([]);
        let register = [("title", title.into()), ("movieId", id.into())];
        loads.push(request(0, "MovieId", "RegisterMovieId", 0, &register));
        loads.push(request(
            0,
            "MovieInfo",
            "WriteMovieInfo",
            0,
            &[
                ("movieId", id.into()),
                ("title", title.into()),
                ("casts", empty()),
                ("plotId", id.into()),
                ("thumbnailIds", empty()),
                ("photoIds", empty()),
                ("videoIds", empty()),
                ("avgRating", Value::Float(7.5)),
                ("numRating", 10.into()),
            ],
        ));
        let plot = [("plotId", id.into()), ("plot", "plot".into())];
        loads.push(request(0, "Plot", "WritePlot", 0, &plot));
    }
    loads
}

/// Reviews from before the run, with the lists that name the first of them.
pub fn old_reviews(count: usize) -> Vec<Request> {
    let listed = count.min(loaded::LISTED * MOVIES.len());
    let movie = |n: usize| match n < listed {
        true => MOVIES[n / loaded::LISTED].0,
        false => MOVIES[n % MOVIES.len()].0,
    };
    let user = |n: usize| format!("user{}", n % 4);
    let review = |n: usize| {
        Value::map([
            ("reviewId", Value::from(loaded::id(n))),
            ("userId", user(n).into()),
            ("reqId", "".into()),
            ("text", "old".into()),
            ("movieId", movie(n).into()),
            ("rating", 5.into()),
            ("timestamp", (n as i64).into()),
        ])
    };
    let entry = |n: usize| {
        let id = Value::from(loaded::id(n));
        Value::map([("reviewId", id), ("timestamp", (n as i64).into())])
    };
    let list = |owner: String, of: &dyn Fn(usize) -> bool| {
        let entries = (0..listed).filter(|n| of(*n)).map(entry);
        Value::map([("owner", owner.into()), ("entries", Value::list(entries))])
    };
    let users = (0..4).map(|at| list(format!("user{at}"), &|n| n % 4 == at));
    let movies = MOVIES.map(|(id, _)| list(id.to_owned(), &|n| movie(n) == id));
    let reviews = [("reviews", Value::list((0..count).map(review)))];
    let (users, movies) = (Value::list(users), Value::list(movies));
    vec![
        request(0, "ReviewStorage", "LoadReviews", 0, &reviews),
        request(0, "UserReview", "LoadUserReviews", 0, &[("lists", users)]),
        request(
            0,
            "MovieReview",
            "LoadMovieReviews",
            0,
            &[("lists", movies)],
        ),
    ]
}

pub fn requests(count: u64, seed: u64) -> Vec<Request> {
    let mut random = Random::new(mix_str(seed, "requests"));
    (0..count)
        .map(|index| any_request(index, &mut random))
        .collect()
}

fn any_request(index: u64, random: &mut Random) -> Request {
    let session = random.below(3) as u32;
    let (id, title) = MOVIES[random.below(3) as usize];
    let user = random.below(4);
    let (start, stop) = [(0, 10), (0, 3), (2, 5)][random.below(3) as usize];
    let window = |name, of: String| {
        [
            (name, of.into()),
            ("start", start.into()),
            ("stop", stop.into()),
        ]
    };
    match random.below(10) {
        0..5 => {
            let refused = random.below(12);
            let title = if refused == 0 { "Nothing" } else { title };
            let username = if refused == 1 {
                "nobody".to_owned()
            } else {
                format!("name{user}")
            };
            request(
                0,
                "Frontend",
                "Compose",
                session,
                &[
                    ("reqId", format!("r{index}").into()),
                    ("username", username.into()),
                    ("title", title.into()),
                    ("rating", (random.below(11) as i64).into()),
                    ("text", format!("text {}", random.bits()).into()),
                ],
            )
        }
        5 => request(
            1,
            "Page",
            "ReadPage",
            session,
            &window("movieId", id.to_owned()),
        ),
        6 | 7 => {
            let input = window("movieId", id.to_owned());
            request(2, "MovieReview", "ReadMovieReviews", session, &input)
        }
        8 => {
            let input = window("userId", format!("user{user}"));
            request(3, "UserReview", "ReadUserReviews", session, &input)
        }
        _ => request(
            4,
            "User",
            "Login",
            session,
            &[
                ("username", format!("name{user}").into()),
                (
                    "password",
                    format!("secret{}", user & !random.below(2)).into(),
                ),
            ],
        ),
    }
}

/// A whole run of `count` requests.
pub fn small_run(pairs: &[(&str, &str)], count: u64, seed: u64, bug: Option<Bug>) -> (App, Run) {
    let settings = settings(pairs);
    let app = triptych_movie::app(&settings).expect("the settings are known");
    let kinds = app.kinds.iter().map(|kind| kind.name.to_owned()).collect();
    let mut loads = loads();
    if let Some(reviews) = settings.get("reviews") {
        loads.extend(old_reviews(reviews.parse().expect("a number")));
    }
    let run = run(
        &app,
        &settings,
        kinds,
        loads,
        &requests(count, seed),
        seed,
        bug,
    );
    (app, run)
}
