//! Who follows whom.
//!
//! Friendship is mutual: along an edge both users follow each other, so there are twice as many
//! relations as edges. Users are numbered from 0.

use super::edges::{EdgeList, GraphError};
use super::invent;
use crate::profile::{Profile, SettingError};
use std::fmt;
use std::path::Path;

/// The setting that asks for the generated graph.
pub(super) const GENERATED: &str = "reed98";
/// How many users the generated graph has if the profile does not say it.
pub(super) const USERS: usize = 962;
/// How many it can have.
const MOST_USERS: usize = 100_000;

/// Users and who is friends with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// The friends of each user, ascending.
    neighbours: Vec<Vec<u32>>,
}

impl Graph {
    /// The graph with these edges, each of which counts in both directions. An edge from a user to
    /// itself is left out, and so is one that is there already.
    ///
    /// # Panics
    /// If an edge names a user that is not below `users`.
    pub fn from_edges(users: usize, edges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut neighbours = vec![Vec::new(); users];
        for (a, b) in edges.into_iter().filter(|(a, b)| a != b) {
            neighbours[a as usize].push(b);
            neighbours[b as usize].push(a);
        }
        for own in &mut neighbours {
            own.sort_unstable();
            own.dedup();
        }
        Graph { neighbours }
    }

    /// The invented graph of this many users (at least 2), always the same. With 962 it has the
    /// size and the degrees of socfb-Reed98; with fewer, users have fewer friends too; with more,
    /// just as many.
    pub fn generate(users: usize) -> Self {
        invent::graph(users.max(2))
    }

    /// The graph of a file with one edge a line; see [`EdgeList::load`].
    ///
    /// # Errors
    /// Why the file cannot be used, with the place in it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, GraphError> {
        EdgeList::load(path).map(|list| list.graph)
    }

    /// The graph that the profile's settings ask for.
    ///
    /// # Errors
    /// A setting that is no size, a file that is no graph, or a number of users that is not the
    /// file's.
    pub fn of(profile: &Profile) -> Result<Self, SettingError> {
        let users = users(profile)?;
        match profile.setting("graph") {
            "" => Err(profile.bad("graph", "reed98, or the path of an edge list")),
            GENERATED => Ok(Graph::generate(users.unwrap_or(USERS))),
            path => {
                let told = |error: GraphError| profile.unusable("graph", error.to_string());
                let graph = Graph::load(path).map_err(told)?;
                match users {
                    Some(users) if users != graph.users() => {
                        let found = graph.users();
                        let problem = format!("{path} has {found} users; leave `users` out");
                        Err(profile.unusable("users", problem))
                    }
                    _ => Ok(graph),
                }
            }
        }
    }

    /// How many users [`Graph::of`] would have. A file is read; nothing is generated.
    pub(super) fn check(profile: &Profile) -> Result<usize, SettingError> {
        match profile.setting("graph") {
            GENERATED => Ok(users(profile)?.unwrap_or(USERS)),
            _ => Graph::of(profile).map(|graph| graph.users()),
        }
    }

    /// How many users there are.
    pub fn users(&self) -> usize {
        self.neighbours.len()
    }

    /// How many pairs are friends.
    pub fn edges(&self) -> usize {
        self.neighbours.iter().map(Vec::len).sum::<usize>() / 2
    }

    /// The friends of a user, who are both its followers and its followees, ascending; none for a
    /// user that does not exist.
    pub fn neighbours(&self, user: u32) -> &[u32] {
        self.neighbours
            .get(user as usize)
            .map_or(&[], Vec::as_slice)
    }

    /// Whether two users are friends.
    pub fn are_friends(&self, a: u32, b: u32) -> bool {
        self.neighbours(a).binary_search(&b).is_ok()
    }

    /// What is to be said about its shape.
    pub fn statistics(&self) -> Statistics {
        let mut degrees: Vec<usize> = self.neighbours.iter().map(Vec::len).collect();
        degrees.sort_unstable();
        let relations: usize = degrees.iter().sum();
        let quantile = |percent: usize| {
            let rank = (percent * degrees.len()).div_ceil(100).max(1);
            degrees.get(rank - 1).copied().unwrap_or_default()
        };
        let top = |percent: usize| {
            let users = ((percent * degrees.len() + 50) / 100).max(1);
            let held: usize = degrees.iter().rev().take(users).sum();
            ratio(held, relations)
        };
        Statistics {
            users: self.users(),
            edges: relations / 2,
            relations,
            components: self.components(),
            min: quantile(0),
            median: quantile(50),
            mean: ratio(relations, degrees.len()),
            p90: quantile(90),
            p99: quantile(99),
            max: quantile(100),
            top_1_percent: top(1),
            top_10_percent: top(10),
            transitivity: self.transitivity(),
        }
    }

    /// How many parts there are without an edge between them.
    fn components(&self) -> usize {
        let mut seen = vec![false; self.users()];
        let mut count = 0;
        for start in 0..self.users() as u32 {
            if std::mem::replace(&mut seen[start as usize], true) {
                continue;
            }
            count += 1;
            let mut reached = vec![start];
            while let Some(user) = reached.pop() {
                for &other in self.neighbours(user) {
                    if !std::mem::replace(&mut seen[other as usize], true) {
                        reached.push(other);
                    }
                }
            }
        }
        count
    }

    /// Of all pairs of friends of one user, the share who are friends of each other.
    fn transitivity(&self) -> f64 {
        let (mut closed, mut pairs) = (0, 0);
        for own in &self.neighbours {
            pairs += own.len() * own.len().saturating_sub(1);
            for &friend in own {
                closed += shared(own, self.neighbours(friend));
            }
        }
        ratio(closed, pairs)
    }
}

/// How many users the profile asks for, if it says so.
fn users(profile: &Profile) -> Result<Option<usize>, SettingError> {
    let text = profile.setting("users");
    if text.is_empty() {
        return Ok(None);
    }
    let users = text.parse().ok();
    let users = users.filter(|users| (2..=MOST_USERS).contains(users));
    let bad = || profile.bad("users", "a whole number from 2 to 100000");
    users.map(Some).ok_or_else(bad)
}

/// How many elements two ascending lists share.
fn shared(mut a: &[u32], mut b: &[u32]) -> usize {
    let mut count = 0;
    while let (Some(first), Some(other)) = (a.first(), b.first()) {
        count += usize::from(first == other);
        let (skip_a, skip_b) = (first <= other, other <= first);
        a = &a[usize::from(skip_a)..];
        b = &b[usize::from(skip_b)..];
    }
    count
}

fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// The shape of a graph. A user's degree is how many friends it has; a quantile is the smallest
/// degree that at least that share of the users do not exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// How many users there are.
    pub users: usize,
    /// How many pairs are friends.
    pub edges: usize,
    /// How many times somebody follows somebody: twice the edges.
    pub relations: usize,
    /// How many parts there are without an edge between them.
    pub components: usize,
    /// The smallest degree.
    pub min: usize,
    /// The median degree.
    pub median: usize,
    /// The mean degree.
    pub mean: f64,
    /// The degree that 90 % of the users do not exceed.
    pub p90: usize,
    /// The degree that 99 % of the users do not exceed.
    pub p99: usize,
    /// The largest degree.
    pub max: usize,
    /// The share of the relations that the 1 % of users with the most of them hold.
    pub top_1_percent: f64,
    /// The share of the relations that the 10 % of users with the most of them hold.
    pub top_10_percent: f64,
    /// Of all pairs of friends of one user, the share who are friends of each other.
    pub transitivity: f64,
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} users, {} edges ({} relations), {} component(s); degree min {}, median {}, mean {:.1}, \
             p90 {}, p99 {}, max {}; top 1 % hold {:.1} %, top 10 % hold {:.1} %; transitivity {:.2}",
            self.users,
            self.edges,
            self.relations,
            self.components,
            self.min,
            self.median,
            self.mean,
            self.p90,
            self.p99,
            self.max,
            100.0 * self.top_1_percent,
            100.0 * self.top_10_percent,
            self.transitivity,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the real graph is, beside the repository, if it is there.
    const REED98: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/data/socfb-Reed98.edges"
    );

    /// What is published of socfb-Reed98 must be true of a graph, to the digits that are given.
    fn is_like_reed98(found: &Statistics) {
        assert_eq!(
            (found.users, found.edges, found.relations, found.components),
            (962, 18_812, 37_624, 1)
        );
        let degrees = (found.min, found.median, found.p90, found.p99, found.max);
        assert_eq!(degrees, (1, 29, 87, 157, 313));
        let rounded = |value: f64| (10.0 * value).round() / 10.0;
        assert_eq!(rounded(found.mean), 39.1);
        assert_eq!(rounded(100.0 * found.top_1_percent), 5.1);
        assert_eq!(rounded(100.0 * found.top_10_percent), 30.2);
        // Not published; measured in the file: 0.2207.
        assert!((found.transitivity - 0.22).abs() < 0.01, "{found}");
    }

    #[test]
    fn the_generated_graph_has_the_published_shape() {
        let graph = Graph::generate(USERS);
        is_like_reed98(&graph.statistics());
        assert_eq!(graph, Graph::generate(USERS));
        // If this changes, runs of before and after cannot be compared: say so where it is changed.
        let digest = (0..USERS as u32).fold(0, |digest, user| {
            triptych_model::mix_str(digest, &format!("{:?}", graph.neighbours(user)))
        });
        assert_eq!(digest, 3_367_692_110_863_322_360);
    }

    #[test]
    fn the_real_graph_has_the_published_shape_where_it_is_present() {
        if !Path::new(REED98).exists() {
            eprintln!("skipped: {REED98} is not there");
            return;
        }
        let list = EdgeList::load(REED98).expect("is a graph");
        is_like_reed98(&list.graph.statistics());
        assert_eq!((list.repeated, list.loops), (0, 0));
        assert!(list.ids.iter().copied().eq(0..962));
        // The same shape, but only by chance an edge of it.
        let generated = Graph::generate(USERS);
        let pairs = (0..USERS as u32).flat_map(|a| (0..a).map(move |b| (a, b)));
        let both =
            |(a, b): &(u32, u32)| generated.are_friends(*a, *b) && list.graph.are_friends(*a, *b);
        let common = pairs.filter(both).count();
        assert!(common < 1_500, "{common} of 18812; by chance 766");
        println!("real:      {}", list.graph.statistics());
        println!("generated: {}", generated.statistics());
    }

    #[test]
    fn every_size_is_connected_and_without_lonely_users() {
        for users in (2..40).chain([100, 301, 963, 2_000]) {
            let graph = Graph::generate(users);
            let found = graph.statistics();
            assert_eq!((found.users, found.components), (users, 1), "{found}");
            assert!(found.min >= 1 && found.max < users, "{found}");
            for user in 0..users as u32 {
                let own = graph.neighbours(user);
                assert!(own.is_sorted_by(|a, b| a < b) && !own.contains(&user));
                assert!(own.iter().all(|other| graph.are_friends(*other, user)));
            }
            assert_eq!(graph, Graph::generate(users));
        }
        // Fewer users have fewer friends, more users just as many.
        let mean = |users| Graph::generate(users).statistics().mean;
        assert!((3.0..6.0).contains(&mean(12)), "{}", mean(12));
        assert!((11.0..14.0).contains(&mean(100)), "{}", mean(100));
        assert!((38.0..40.0).contains(&mean(2_000)), "{}", mean(2_000));
    }

    #[test]
    fn statistics_are_those_of_a_graph_that_is_known() {
        // A triangle with a tail, and a pair apart; an edge twice, and one from a user to itself.
        let edges = [(0, 1), (1, 2), (2, 0), (2, 3), (4, 5), (1, 0), (3, 3)];
        let graph = Graph::from_edges(6, edges);
        let found = graph.statistics();
        assert_eq!((found.users, found.edges, found.components), (6, 5, 2));
        assert_eq!((found.min, found.median, found.max), (1, 1, 3));
        assert_eq!((found.p90, found.p99), (3, 3));
        // User 2 holds 3 of 10 relations; of 5 pairs of friends of one user, 3 are closed.
        assert_eq!((found.top_10_percent, found.transitivity), (0.3, 0.6));
        assert_eq!(graph.neighbours(2), [0, 1, 3]);
        assert!(graph.neighbours(6).is_empty() && !graph.are_friends(0, 3));
    }
}
