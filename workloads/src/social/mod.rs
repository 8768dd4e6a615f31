//! The social network: profiles, graph, data set, requests.
//!
//! What the keys of a social profile mean: `formulation`, `chunk`, `keep` and `compat` are the
//! app's (`compat` also says whose arguments a compose has). The others:
//!
//! * `graph`: `reed98`, an invented graph with the size and the degrees of socfb-Reed98, or the path
//!   of an edge list ([`EdgeList::load`] says what it may look like). Every run of a profile has the
//!   same graph, whatever its seed.
//! * `users`: how many the invented graph has; 962, as many as the real one, if it is left out. Of a
//!   file it can be left out, or must be right.
//! * `posts`: how many posts a user has before the load, on average: each has between none and twice
//!   as many. They are in the timelines of their authors and of the authors' followers; so many that
//!   a timeline would begin with more than a store's item holds are refused.
//! * `mix`: `mixed` (60 % of the requests read a home timeline, 30 % a user's own one, 10 % compose),
//!   `interactive` (threads, replies, follows and unfollows as well) or `compose` (nothing else).
//! * `window`: `head` (the newest ten posts of a timeline) or `uniform` (ten from a start drawn from
//!   0 to 100, where mostly nothing is).
//! * `sessions`: how many logical clients there are at a time. With `interactive` each has a user,
//!   sends 20 to 50 requests as that user, and is then followed by a new one. Otherwise every
//!   request is of any user, and all requests of one user come from one client.
//! * `keep` is 1000 in the full profiles, so that no home timeline outgrows an item of the store, and
//!   unset (unbounded) in the published ones.
//! * `rejects`: the share of the composes that name an unknown user, and of the follows and
//!   unfollows that name an unknown user or the user itself.
//!
//! With `compat = beldi` a compose has the arguments of the published script, its users are counted
//! from 1, and its authors go by names that nobody registered (D17): user 17 posts as `username17`
//! and is mentioned as `@username_17`. So the last user, 962 of 962, is none that is registered: who
//! mentions it mentions nobody.

mod dataset;
mod edges;
mod generator;
mod graph;
mod invent;

pub use dataset::Dataset;
pub use edges::{EdgeList, GraphError};
pub use generator::Generator;
pub use graph::{Graph, Statistics};

use crate::profile::{Family, Profile, SettingError};

pub(crate) const FAMILY: Family = Family {
    app: "social",
    keys: &[
        "chunk",
        "compat",
        "formulation",
        "graph",
        "keep",
        "mix",
        "posts",
        "rejects",
        "sessions",
        "users",
        "window",
    ],
    profiles,
    check,
    // Chunks so small that a post needs several, and so few clients that sessions end.
    small: &[("users", "12"), ("sessions", "5"), ("chunk", "3")],
};

/// How many of the newest posts a home timeline keeps where nobody's published version is run.
const KEEP: &str = "1000";
/// The most posts before the load that a user can have on average.
const MOST_POSTS: usize = 100;

fn profiles() -> Vec<Profile> {
    let common = [
        ("formulation", "async"),
        ("compat", "none"),
        ("graph", graph::GENERATED),
        // With two posts a user, nine of ten home timelines fill a window, and four of five users
        // have posts of their own; loading them takes about as many requests as movies do.
        ("posts", "2"),
        ("mix", "mixed"),
        ("window", "head"),
        ("sessions", "962"),
        ("rejects", "0.005"),
    ];
    let social = |name, about, own: &[_]| FAMILY.profile(name, about, &common, own);
    vec![
        social(
            "full-social",
            "reads of timelines and composes of posts, which fan out to followers after the answer",
            &[("keep", KEEP)],
        ),
        social(
            "full-social-interactive",
            "sessions that read, compose, reply to what they have read, follow and unfollow",
            &[("mix", "interactive"), ("sessions", "100"), ("keep", KEEP)],
        ),
        social(
            "full-social-causal",
            "the requests of full-social-interactive without any transaction; reads may go to any host",
            &[
                ("formulation", "causal"),
                ("mix", "interactive"),
                ("sessions", "100"),
                ("keep", KEEP),
            ],
        ),
        social(
            "compat-dsb-social",
            "the mixed load of DeathStarBench, with its order of steps and its defects",
            &[
                ("formulation", "sync"),
                ("compat", "dsb"),
                ("posts", "10"),
                ("window", "uniform"),
                ("rejects", "0"),
            ],
        ),
        social(
            "compat-beldi-social",
            "composes only, with the short arguments of the load script published with Beldi",
            &[
                ("compat", "beldi"),
                ("mix", "compose"),
                ("posts", "0"),
                ("rejects", "0"),
            ],
        ),
    ]
}

fn check(profile: &Profile) -> Result<(), SettingError> {
    profile.count("sessions")?;
    profile.share("rejects")?;
    Mix::of(profile)?;
    Window::of(profile)?;
    // A file is read now rather than after half of a campaign.
    Dataset::check(profile)
}

/// How many posts a user has before the load, on average.
fn posts(profile: &Profile) -> Result<usize, SettingError> {
    let posts = profile.setting("posts").parse().ok();
    let posts = posts.filter(|posts| *posts <= MOST_POSTS);
    posts.ok_or_else(|| profile.bad("posts", "a whole number up to 100"))
}

/// What is asked how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mix {
    Mixed,
    Interactive,
    Compose,
}

impl Mix {
    fn of(profile: &Profile) -> Result<Self, SettingError> {
        match profile.setting("mix") {
            "mixed" => Ok(Mix::Mixed),
            "interactive" => Ok(Mix::Interactive),
            "compose" => Ok(Mix::Compose),
            _ => Err(profile.bad("mix", "mixed, interactive, compose")),
        }
    }
}

/// Which part of a timeline is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    Head,
    Uniform,
}

impl Window {
    fn of(profile: &Profile) -> Result<Self, SettingError> {
        match profile.setting("window") {
            "head" => Ok(Window::Head),
            "uniform" => Ok(Window::Uniform),
            _ => Err(profile.bad("window", "head, uniform")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Write;

    fn changed(profile: &str, key: &str, value: &str) -> Result<Profile, SettingError> {
        let overrides = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        crate::find(profile)
            .expect("exists")
            .with_settings(overrides)
    }

    #[test]
    fn settings_are_checked_before_a_run() {
        let told = |key, value| {
            let refused = changed("full-social", key, value).expect_err("is refused");
            refused.to_string()
        };
        for (key, value, allowed) in [
            ("mix", "read", "mixed, interactive, compose"),
            ("window", "tail", "head, uniform"),
            ("posts", "101", "up to 100"),
            ("posts", "-1", "up to 100"),
            ("users", "1", "from 2 to 100000"),
            ("users", "many", "from 2 to 100000"),
            ("sessions", "0", "from 1"),
            ("rejects", "1.5", "0 to 1"),
            ("graph", "", "reed98"),
            ("movies", "3", "formulation, graph, keep"),
        ] {
            assert!(told(key, value).contains(allowed), "{}", told(key, value));
        }
        for (key, value) in [
            ("posts", "0"),
            ("users", "2"),
            ("chunk", "8"),
            ("keep", "50"),
        ] {
            assert!(changed("full-social", key, value).is_ok(), "{key}");
        }
    }

    #[test]
    fn a_preload_that_no_store_holds_is_refused() {
        let with = |profile: &str, pairs: &[(&str, &str)]| {
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            let profile = crate::find(profile).expect("exists");
            profile.with_settings(pairs.iter().map(owned).collect())
        };
        // The busiest user of the invented graph has 313 friends.
        assert!(with("compat-dsb-social", &[("posts", "12")]).is_ok());
        let error = with("compat-dsb-social", &[("posts", "13")]).expect_err("is too much");
        let told = error.to_string();
        assert!(matches!(error, SettingError::Unusable { key, .. } if key == "posts"));
        for part in ["313 friends", "8138 entries", "up to 12 posts"] {
            assert!(told.contains(part), "{told}");
        }
        // Few users have few friends, and a bounded timeline drops what it cannot hold.
        assert!(with("compat-dsb-social", &[("posts", "100"), ("users", "12")]).is_ok());
        assert!(with("full-social", &[("posts", "100")]).is_ok());
        assert!(with("full-social", &[("posts", "100"), ("keep", "9000")]).is_err());
    }

    #[test]
    fn a_graph_file_is_read_when_settings_are_checked() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("is text").to_owned();
        write!(file, "10 20\n20 30\n").expect("writes");
        let profile = changed("full-social", "graph", &path).expect("is a graph");
        let graph = Graph::of(&profile).expect("is a graph");
        assert_eq!((graph.users(), graph.edges()), (3, 2));
        assert!(crate::Generator::new(&profile, 1).is_ok());
        let users = |users: &str| {
            let users = BTreeMap::from([("users".to_owned(), users.to_owned())]);
            profile.clone().with_settings(users)
        };
        assert!(users("3").is_ok());
        let error = users("4").expect_err("is another number").to_string();
        assert!(error.contains("has 3 users; leave `users` out"), "{error}");

        writeln!(file, "20 thirty").expect("writes");
        let error = changed("full-social", "graph", &path).expect_err("is damaged");
        let place = format!("{path}:3: expected an id");
        assert!(error.to_string().contains(&place), "{error}");
        assert!(matches!(error, SettingError::Unusable { key, .. } if key == "graph"));
        let error = changed("full-social", "graph", "no/such/file").expect_err("is absent");
        assert!(error.to_string().contains("no/such/file"), "{error}");
        // Who gets there without a check is told the same.
        assert!(crate::Generator::new(&profile, 1).is_err_and(|told| told.contains(&place)));
    }

    #[test]
    fn every_profile_can_be_made_small() {
        let own = crate::profiles().into_iter();
        let own: Vec<Profile> = own.filter(|profile| profile.app == "social").collect();
        assert_eq!(own.len(), 5);
        for profile in own {
            let small = profile.small();
            let profile = profile.with_settings(small).expect("fits");
            let dataset = Dataset::of(&profile).expect("has a size");
            assert_eq!(dataset.graph.users(), 12);
        }
    }
}
