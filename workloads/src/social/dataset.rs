//! What the functions know before the load begins: users, who follows whom, posts and timelines.

use super::graph::Graph;
use super::posts;
use crate::Load;
use crate::draw::{shuffle, text};
use crate::profile::{Profile, SettingError};
use std::sync::Arc;
use triptych_model::{Random, Value, mix, mix_str};

/// The data set is the same for every run: seeds vary the requests, not what they meet.
const SEED: u64 = 0x0073_6f63_6961_6c31;
/// When the first post was written: the beginning of 2020, in milliseconds since 1970.
const FIRST_POST: i64 = 1_577_836_800_000;
/// How long after a post the next one was written.
const BETWEEN_POSTS: i64 = 1_000;
/// Posts of one loading request: few enough for a transaction of any store.
const BATCH: usize = 25;
/// The most entries of a timeline that is loaded: of about 45 bytes each, in an item of 400 KB, with
/// a little room for what a run appends.
const MOST_ENTRIES: usize = 8_000;
/// The length of a post's text.
const TEXT_LENGTH: usize = 256;
/// The most pictures of a post, which may have none.
const MOST_MEDIA: u64 = 5;

/// Users, who follows whom, and the posts that are there.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Who is friends with whom; both follow each other.
    pub graph: Arc<Graph>,
    /// The author of each post, in the order in which they were written.
    pub authors: Vec<u32>,
}

impl Dataset {
    /// The users of a graph, with `mean` posts each on average: between none and twice as many.
    /// Always the same for the same graph.
    pub fn new(graph: Graph, mean: usize) -> Self {
        let mut authors: Vec<u32> = Vec::new();
        for user in 0..graph.users() as u32 {
            let posts = stream("posts", u64::from(user)).below(2 * mean as u64 + 1);
            authors.extend((0..posts).map(|_| user));
        }
        shuffle(&mut stream("order", 0), &mut authors);
        Dataset {
            graph: Arc::new(graph),
            authors,
        }
    }

    /// The data set that the profile's settings ask for.
    ///
    /// # Errors
    /// A setting that is no size, a file that is no graph, or so many posts that a timeline of them
    /// would not fit into a store.
    pub fn of(profile: &Profile) -> Result<Self, SettingError> {
        let graph = Graph::of(profile)?;
        let posts = posts(profile)?;
        fits(profile, &graph, posts)?;
        Ok(Dataset::new(graph, posts))
    }

    /// Whether [`Dataset::of`] would have a data set. A file is read; a graph is generated only if it
    /// can be that its busiest timeline would not fit.
    pub(super) fn check(profile: &Profile) -> Result<(), SettingError> {
        let posts = posts(profile)?;
        let users = Graph::check(profile)?;
        // Nobody has more friends than there are others.
        if 2 * posts * users > MOST_ENTRIES {
            fits(profile, &Graph::of(profile)?, posts)?;
        }
        Ok(())
    }

    /// The requests that fill the app with this data set.
    pub(super) fn loads(&self) -> Vec<Load> {
        let users = 0..self.graph.users() as u32;
        let mut loads: Vec<Load> = users.clone().map(register).collect();
        loads.extend(users.clone().map(|user| self.insert(user)));
        let posts: Vec<Value> = (0..).zip(&self.authors).map(post).collect();
        loads.extend(posts.chunks(BATCH).map(|batch| {
            let posts = Value::list(batch.iter().cloned());
            Load::new("PostStorage", "LoadPosts", Value::map([("posts", posts)]))
        }));
        let (mut own, mut home) = (
            vec![Vec::new(); self.graph.users()],
            vec![Vec::new(); self.graph.users()],
        );
        // The oldest post first, so that every timeline is in that order too.
        for (number, &author) in (0..).zip(&self.authors) {
            own[author as usize].push(number);
            for &follower in self.graph.neighbours(author) {
                home[follower as usize].push(number);
            }
        }
        for (function, timelines) in [("UserTimeline", own), ("HomeTimeline", home)] {
            let some = (0..).zip(timelines).filter(|(_, posts)| !posts.is_empty());
            loads.extend(some.map(|(user, posts)| timeline(function, user, &posts)));
        }
        loads
    }

    /// Everyone a user follows and is followed by, in one request.
    fn insert(&self, user: u32) -> Load {
        let friends = self.graph.neighbours(user).iter().map(|id| user_id(*id));
        let friends = Value::list(friends);
        let input = [
            ("userId", user_id(user)),
            ("followers", friends.clone()),
            ("followees", friends),
        ];
        Load::new("SocialGraph", "InsertUser", Value::map(input))
    }
}

/// Refuses a preload of which the home timeline of the user with the most friends could outgrow an
/// item of the store. A profile that keeps fewer entries than that has no such timeline.
fn fits(profile: &Profile, graph: &Graph, posts: usize) -> Result<(), SettingError> {
    let friends = (0..graph.users() as u32).map(|user| graph.neighbours(user).len());
    let friends = friends.max().unwrap_or_default();
    let kept = profile.setting("keep").parse().unwrap_or(usize::MAX);
    let entries = (2 * posts * friends).min(kept);
    if entries <= MOST_ENTRIES {
        return Ok(());
    }
    let problem = format!(
        "the home timeline of a user with {friends} friends could begin with {entries} entries, and \
         {MOST_ENTRIES} fit into an item of a store; allowed: up to {} posts, or a lower `keep`",
        MOST_ENTRIES / (2 * friends)
    );
    Err(profile.unusable("posts", problem))
}

/// A user's id as requests carry it.
pub(super) fn user_id(user: u32) -> Value {
    user.to_string().into()
}

/// A user's name.
pub(super) fn username(user: u32) -> Value {
    format!("username_{user}").into()
}

/// The id of a picture with so many digits.
pub(super) fn media_id(random: &mut Random, digits: u32) -> Value {
    let low = 10_u64.pow(digits - 1);
    (low + random.below(9 * low)).to_string().into()
}

fn register(user: u32) -> Load {
    let named = |prefix: &str| Value::from(format!("{prefix}_{user}"));
    let input = [
        ("userId", user_id(user)),
        ("username", username(user)),
        ("firstName", named("first_name")),
        ("lastName", named("last_name")),
        ("password", named("password")),
    ];
    Load::new("User", "RegisterUserWithId", Value::map(input))
}

fn timeline(function: &str, user: u32, posts: &[i64]) -> Load {
    let entries = posts.iter().map(|&number| {
        Value::map([
            ("postId", post_id(number)),
            ("timestamp", written(number).into()),
        ])
    });
    let input = [("userId", user_id(user)), ("entries", Value::list(entries))];
    Load::new(function, "Load", Value::map(input))
}

fn post((number, author): (i64, &u32)) -> Value {
    let random = &mut stream("post", number as u64);
    let text = text(random, TEXT_LENGTH);
    let media = (0..random.below(MOST_MEDIA + 1)).map(|_| {
        Value::map([
            ("mediaId", media_id(random, 18)),
            ("mediaType", "png".into()),
        ])
    });
    let media: Vec<Value> = media.collect();
    let creator = [
        ("userId", user_id(*author)),
        ("username", username(*author)),
    ];
    Value::map([
        ("postId", post_id(number)),
        ("reqId", post_id(number)),
        ("creator", Value::map(creator)),
        ("text", text.into()),
        ("userMentions", Value::list([])),
        ("media", Value::list(media)),
        ("urls", Value::list([])),
        ("timestamp", written(number).into()),
        ("postType", "POST".into()),
    ])
}

fn post_id(number: i64) -> Value {
    format!("load-{number}").into()
}

fn written(number: i64) -> i64 {
    FIRST_POST + number * BETWEEN_POSTS
}

fn stream(purpose: &str, index: u64) -> Random {
    Random::new(mix(mix_str(SEED, purpose), index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn dataset(profile: &str) -> Dataset {
        Dataset::of(&crate::find(profile).expect("exists")).expect("has a size")
    }

    fn text<'a>(value: &'a Value, name: &str) -> &'a str {
        value.get(name).and_then(Value::as_str).expect(name)
    }

    fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
        value.get(name).and_then(Value::as_list).expect(name)
    }

    fn time(value: &Value) -> i64 {
        value
            .get("timestamp")
            .and_then(Value::as_int)
            .expect("a time")
    }

    #[test]
    fn everybody_is_registered_and_follows_its_friends() {
        let dataset = dataset("compat-beldi-social");
        let loads = dataset.loads();
        // Without posts there are no timelines to load.
        assert_eq!((dataset.authors.len(), loads.len()), (0, 2 * 962));
        let mut relations = 0;
        for (user, load) in (0..).zip(&loads[962..]) {
            assert_eq!(
                (load.function.as_str(), load.op.as_str()),
                ("SocialGraph", "InsertUser")
            );
            assert_eq!(text(&load.input, "userId"), user.to_string());
            let followers = list(&load.input, "followers");
            let expected = dataset.graph.neighbours(user).iter().map(|id| user_id(*id));
            assert!(followers.iter().cloned().eq(expected));
            assert_eq!(followers, list(&load.input, "followees"));
            relations += followers.len();
        }
        assert_eq!(relations, 37_624);
        let (last, input) = (&loads[961], &loads[961].input);
        assert_eq!(
            (last.function.as_str(), last.op.as_str()),
            ("User", "RegisterUserWithId")
        );
        assert_eq!(text(input, "userId"), "961");
        assert_eq!(text(input, "username"), "username_961");
        assert_eq!(text(input, "password"), "password_961");
    }

    #[test]
    fn posts_and_timelines_agree() {
        let dataset = dataset("full-social");
        // (post, time) in the order in which it was loaded, by what was loaded and whose it is.
        let mut timelines: BTreeMap<(String, u32), Vec<(String, i64)>> = BTreeMap::new();
        let mut posts: BTreeMap<String, (u32, i64)> = BTreeMap::new();
        let mut media = BTreeSet::new();
        for load in dataset.loads() {
            match (load.function.as_str(), load.op.as_str()) {
                ("PostStorage", "LoadPosts") => {
                    let batch = list(&load.input, "posts");
                    assert!((1..=25).contains(&batch.len()));
                    for post in batch {
                        let creator = post.get("creator").expect("a creator");
                        let author: u32 = text(creator, "userId").parse().expect("a number");
                        assert_eq!(text(creator, "username"), format!("username_{author}"));
                        assert_eq!(text(post, "reqId"), text(post, "postId"));
                        assert_eq!(text(post, "postType"), "POST");
                        let plain = |c: char| c.is_ascii_alphanumeric();
                        assert!(
                            text(post, "text").len() == 256
                                && text(post, "text").chars().all(plain)
                        );
                        assert!(
                            list(post, "urls").is_empty() && list(post, "userMentions").is_empty()
                        );
                        media.insert(list(post, "media").len());
                        assert!(post.get("parent").is_none() && post.get("root").is_none());
                        let id = text(post, "postId").to_owned();
                        assert_eq!(posts.insert(id, (author, time(post))), None);
                    }
                }
                (function, "Load") => {
                    let user = text(&load.input, "userId").parse().expect("a number");
                    let entries = list(&load.input, "entries");
                    let entries = entries
                        .iter()
                        .map(|e| (text(e, "postId").to_owned(), time(e)));
                    let entries: Vec<_> = entries.collect();
                    assert!(!entries.is_empty() && entries.is_sorted_by(|a, b| a.1 < b.1));
                    timelines.insert((function.to_owned(), user), entries);
                }
                _ => {}
            }
        }
        assert!(media.into_iter().eq(0..=5));
        let mut expected: BTreeMap<(String, u32), Vec<(String, i64)>> = BTreeMap::new();
        let mut in_time: Vec<_> = posts.iter().collect();
        in_time.sort_by_key(|(_, (_, time))| *time);
        for (n, (id, (author, time))) in (0..).zip(in_time) {
            assert_eq!(
                (id.as_str(), *time),
                (format!("load-{n}").as_str(), 1_577_836_800_000 + 1_000 * n)
            );
            let own = ("UserTimeline".to_owned(), *author);
            let homes = dataset.graph.neighbours(*author).iter();
            let homes = homes.map(|user| ("HomeTimeline".to_owned(), *user));
            for timeline in homes.chain([own]) {
                expected
                    .entry(timeline)
                    .or_default()
                    .push((id.clone(), *time));
            }
        }
        assert_eq!(timelines, expected);
        // Most windows of ten are full, and most users have posts of their own.
        let with = |function: &str, least: usize| {
            let own = timelines.iter().filter(|((name, _), _)| name == function);
            own.filter(|(_, entries)| entries.len() >= least).count()
        };
        let (full, own) = (with("HomeTimeline", 10), with("UserTimeline", 1));
        assert!(full > 850 && (720..820).contains(&own), "{full} {own}");
    }

    #[test]
    fn there_are_as_many_posts_as_asked_for() {
        for mean in [0, 1, 2, 10] {
            let dataset = Dataset::new(Graph::generate(962), mean);
            let mut counts = vec![0; 962];
            dataset
                .authors
                .iter()
                .for_each(|author| counts[*author as usize] += 1);
            assert!(counts.iter().all(|count| *count <= 2 * mean));
            // Five standard deviations of the sum of 962 uniform counts.
            let tolerance = 5.0 * libm::sqrt(962.0 * (mean * (mean + 1)) as f64 / 3.0);
            let difference = dataset.authors.len().abs_diff(962 * mean) as f64;
            assert!(difference <= tolerance, "{difference} of {mean}");
            // Authors take turns: the first posts are not all of the first users.
            let early = &dataset.authors[..dataset.authors.len() / 10];
            assert!(mean == 0 || early.iter().any(|author| *author > 480));
        }
        // The most posts that there can be were written before a simulated run begins, in 2026.
        let most = 2 * super::super::MOST_POSTS as i64 * 100_000;
        assert!(written(most) < 1_767_225_600_000);
    }
}
