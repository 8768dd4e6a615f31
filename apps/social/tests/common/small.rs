//! A small, contended network: six users, three of them popular.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use triptych_api::model::{Random, mix_str};
use triptych_api::{App, Value};
use triptych_reference::{Bug, Request, Run, run};
use triptych_social::Defect;

pub fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

pub fn request(
    kind: u16,
    function: &str,
    op: &str,
    session: u32,
    input: &[(&str, Value)],
) -> Request {
    Request {
        kind,
        function: function.to_owned(),
        op: op.to_owned(),
        input: Value::map(input.iter().cloned()),
        session,
    }
}

pub const USERS: u64 = 6;
/// Who follows whom in the beginning: everybody the first three, and they each other.
pub fn follows(user: u64, followee: u64) -> bool {
    user != followee && followee < 3
}

fn id(number: u64) -> Value {
    number.to_string().into()
}

fn ids(numbers: impl Iterator<Item = u64>) -> Value {
    Value::list(numbers.map(id))
}

/// Two posts of each of the first three users, oldest first: author and timestamp.
fn old_posts() -> impl Iterator<Item = (u64, u64, i64)> {
    (0..6).map(|post| (post, post % 3, 1_577_836_800_000 + 1_000 * post as i64))
}

pub fn loads() -> Vec<Request> {
    let load =
        |function: &str, op: &str, input: &[(&str, Value)]| request(0, function, op, 0, input);
    let mut loads = Vec::new();
    for user in 0..USERS {
        let fields = [
            ("userId", id(user)),
            ("username", format!("username_{user}").into()),
            ("firstName", "F".into()),
            ("lastName", "L".into()),
            ("password", format!("password_{user}").into()),
        ];
        loads.push(load("User", "RegisterUserWithId", &fields));
        let followers = (0..USERS).filter(|other| follows(*other, user));
        let followees = (0..USERS).filter(|other| follows(user, *other));
        let fields = [
            ("userId", id(user)),
            ("followers", ids(followers)),
            ("followees", ids(followees)),
        ];
        loads.push(load("SocialGraph", "InsertUser", &fields));
    }
    let posts = old_posts().map(|(post, author, timestamp)| {
        let creator = [
            ("userId", id(author)),
            ("username", format!("username_{author}").into()),
        ];
        Value::map([
            ("postId", format!("load-{post}").into()),
            ("reqId", format!("load-{post}").into()),
            ("creator", Value::map(creator)),
            ("text", "old".into()),
            ("userMentions", Value::list([])),
            ("media", Value::list([])),
            ("urls", Value::list([])),
            ("timestamp", timestamp.into()),
            ("postType", "POST".into()),
        ])
    });
    let posts = [("posts", Value::list(posts))];
    loads.push(load("PostStorage", "LoadPosts", &posts));
    for user in 0..USERS {
        let entries = |of: &dyn Fn(u64) -> bool| {
            let entries = old_posts().filter(|(_, author, _)| of(*author));
            Value::list(entries.map(|(post, _, timestamp)| {
                Value::map([
                    ("postId", format!("load-{post}").into()),
                    ("timestamp", timestamp.into()),
                ])
            }))
        };
        let own = [
            ("userId", id(user)),
            ("entries", entries(&|author| author == user)),
        ];
        loads.push(load("UserTimeline", "Load", &own));
        let home = entries(&|author| follows(user, author));
        loads.push(load(
            "HomeTimeline",
            "Load",
            &[("userId", id(user)), ("entries", home)],
        ));
    }
    loads
}

pub fn requests(count: u64, seed: u64) -> Vec<Request> {
    let mut random = Random::new(mix_str(seed, "requests"));
    (0..count)
        .map(|index| any_request(index, &mut random))
        .collect()
}

fn post(index: u64, user: u64, random: &mut Random) -> Vec<(&'static str, Value)> {
    let mut text = format!("words {}", random.bits());
    for _ in 0..random.below(3) {
        text.push_str(&format!(" @username_{}", random.below(USERS + 1)));
    }
    for _ in 0..random.below(3) {
        text.push_str(&format!(" http://{:x}", random.bits()));
    }
    text.push_str(" the end");
    let media = random.below(3);
    let unequal = u64::from(random.below(20) == 0);
    // One in twenty claims to be somebody else.
    let other = user + u64::from(random.below(20) == 0);
    let types = (0..media + unequal).map(|_| Value::from("png"));
    vec![
        ("reqId", format!("r{index}").into()),
        ("userId", id(user)),
        ("username", format!("username_{other}").into()),
        ("text", text.into()),
        ("mediaIds", ids((0..media).map(|n| 1_000 + n))),
        ("mediaTypes", Value::list(types)),
    ]
}

fn any_request(index: u64, random: &mut Random) -> Request {
    let session = random.below(4) as u32;
    let user = random.below(USERS);
    let (start, stop) =
        [(0, 10), (0, 3), (2, 5), (0, 100), (3, 1), (-1, 4)][random.below(6) as usize];
    let window = [
        ("userId", id(user)),
        ("start", start.into()),
        ("stop", stop.into()),
    ];
    let pick = random.below(20) as i64;
    match random.below(20) {
        0..5 => {
            let mut input = post(index, user, random);
            input.push(("postType", "POST".into()));
            request(0, "Frontend", "Compose", session, &input)
        }
        5..8 => request(1, "Frontend", "ReadHomeTimeline", session, &window),
        8..10 => request(2, "Frontend", "ReadUserTimeline", session, &window),
        10..14 => {
            let mut input = post(index, user, random);
            input.push(("pick", pick.into()));
            request(3, "Frontend", "Reply", session, &input)
        }
        14..16 => {
            let input = [("userId", id(user)), ("pick", pick.into())];
            request(4, "Frontend", "ReadThread", session, &input)
        }
        other => {
            let kind = 5 + (other % 2) as u16;
            // Few pairs, so that they meet; one in seven is oneself or nobody.
            let followee = [0, 1, 2, 3, 0, 1, 2][random.below(7) as usize];
            let followee = if random.below(20) == 0 { 77 } else { followee };
            let input = [
                ("reqId", format!("r{index}").into()),
                ("userId", id(user)),
                ("followee", id(followee)),
            ];
            let op = ["Follow", "Unfollow"][usize::from(kind - 5)];
            request(kind, "Frontend", op, session, &input)
        }
    }
}

/// A whole run of `count` requests.
pub fn small_run(pairs: &[(&str, &str)], count: u64, seed: u64, bug: Option<Bug>) -> (App, Run) {
    run_of(pairs, &requests(count, seed), seed, bug, None)
}

pub fn run_of(
    pairs: &[(&str, &str)],
    requests: &[Request],
    seed: u64,
    bug: Option<Bug>,
    defect: Option<Defect>,
) -> (App, Run) {
    let settings = settings(pairs);
    let app = triptych_social::app_with(&settings, defect).expect("the settings are known");
    let kinds = app.kinds.iter().map(|kind| kind.name.to_owned()).collect();
    let run = run(&app, &settings, kinds, loads(), requests, seed, bug);
    (app, run)
}
