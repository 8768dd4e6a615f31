//! An invented graph: the size and the degrees of a real one, without any of its edges.
//!
//! The real one, socfb-Reed98 (friendships of a college), was measured once: its sorted degrees are
//! what the table below holds. Every user of the invented graph gets one of these degrees and a
//! place on a circle, and becomes friends with users whose places are near, so that friends have
//! friends in common about as often as in the real one: what one reader sees of two authors depends
//! on it.

use super::graph::{Graph, USERS};
use crate::draw::{quantile, shuffle};
use std::collections::BTreeSet;
use triptych_model::{Random, mix, mix_str};

/// The graph is the same for every run: seeds vary the requests, not what they meet.
const SEED: u64 = 0x7265_6564_2d39_3862;

/// The sorted degrees of socfb-Reed98: (users with at most as many friends, friends), the user
/// itself not counted, with straight lines between. They add up to exactly its 37,624 relations.
const DEGREES: [(f64, f64); 18] = [
    (0.0, 1.0),
    (48.0, 2.0),
    (99.0, 6.0),
    (180.0, 10.0),
    (475.0, 28.0),
    (480.0, 29.0),
    (557.0, 35.0),
    (590.0, 39.0),
    (687.0, 49.0),
    (748.0, 58.0),
    (819.0, 73.0),
    (865.0, 87.0),
    (903.0, 99.0),
    (934.0, 126.0),
    (952.0, 157.0),
    (955.0, 162.0),
    (960.0, 213.0),
    (961.0, 313.0),
];

/// How far from its place a user looks for friends, as a part of the circle, where there are as many
/// users as in the real graph. Fitted so that of two friends of a user as many are friends of each
/// other as there, 22 %. With more users they look less far, among as many others.
const REACH: f64 = 0.23;
/// How many times as far those look who have found too few.
const WIDER: f64 = 1.25;
/// How often another partner is tried before an edge is given up. Only where somebody is to be
/// friends with almost everybody, in small graphs, is any given up.
const TRIES: usize = 1_000;

/// The graph of this many users, at least 2.
pub(super) fn graph(users: usize) -> Graph {
    let mut random = Random::new(mix(mix_str(SEED, "graph"), users as u64));
    let mut degrees = degrees(users);
    shuffle(&mut random, &mut degrees);
    let mut wiring = Wiring {
        friends: vec![BTreeSet::new(); users],
        edges: Vec::new(),
        random,
    };
    wiring.wire(&degrees);
    wiring.connect();
    Graph::from_edges(users, wiring.edges)
}

/// The degrees of this many users, ascending, with an even sum.
///
/// Fewer users cannot have as many friends each. Were the share of all users that are one's friends
/// kept instead, almost nobody would have any; so degrees shrink with the square root of the size.
fn degrees(users: usize) -> Vec<usize> {
    let last = (users - 1) as f64;
    let scale = libm::sqrt(users as f64 / USERS as f64).min(1.0);
    let degree = |rank: usize| {
        let place = rank as f64 * (USERS - 1) as f64 / last;
        let degree = scale * quantile(&DEGREES, place);
        (degree.round() as usize).clamp(1, users - 1)
    };
    let mut degrees: Vec<usize> = (0..users).map(degree).collect();
    let odd = degrees.iter().sum::<usize>() % 2 == 1;
    // If all were friends with all, the sum would be even.
    if let Some(least) = degrees.first_mut().filter(|_| odd) {
        *least += 1;
    }
    degrees
}

/// A graph in the making.
struct Wiring {
    friends: Vec<BTreeSet<u32>>,
    edges: Vec<(u32, u32)>,
    random: Random,
}

impl Wiring {
    /// Gives every user so many friends, near it if there are any.
    fn wire(&mut self, degrees: &[usize]) {
        let places: Vec<f64> = degrees.iter().map(|_| self.random.unit()).collect();
        let all = (0..).zip(degrees);
        let mut ends: Vec<u32> = all
            .flat_map(|(user, degree)| std::iter::repeat_n(user, *degree))
            .collect();
        let mut reach = REACH * (USERS as f64 / degrees.len() as f64).min(1.0);
        // Those who find too few look again, and farther, until everybody has been in reach.
        while reach < 2.0 {
            let mut look = |user: u32| (places[user as usize] + reach * self.random.unit()).fract();
            let mut looking: Vec<(f64, u32)> =
                ends.iter().map(|user| (look(*user), *user)).collect();
            looking.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            ends.clear();
            for pair in looking.chunks_exact(2) {
                let (a, b) = (pair[0].1, pair[1].1);
                if !self.add(a, b) {
                    ends.extend([a, b]);
                }
            }
            reach *= WIDER;
        }
        for pair in ends.chunks_exact(2) {
            self.fit_in(pair[0], pair[1]);
        }
    }

    /// Makes two users friends, if they can be and are not.
    fn add(&mut self, a: u32, b: u32) -> bool {
        let new = self.can_add(a, b);
        if new {
            self.edges.push((a, b));
            self.befriend(a, b);
        }
        new
    }

    fn can_add(&self, a: u32, b: u32) -> bool {
        a != b && !self.friends[a as usize].contains(&b)
    }

    fn befriend(&mut self, a: u32, b: u32) {
        self.friends[a as usize].insert(b);
        self.friends[b as usize].insert(a);
    }

    /// Gives two users who cannot become friends of each other one more friend each: an edge
    /// anywhere is cut, and its two ends are their friends from now on.
    fn fit_in(&mut self, a: u32, b: u32) {
        for _ in 0..TRIES {
            let at = self.random.below(self.edges.len() as u64) as usize;
            let Some(&(c, d)) = self.edges.get(at) else {
                return;
            };
            let (c, d) = if self.random.chance(0.5) {
                (c, d)
            } else {
                (d, c)
            };
            // If a and b are one user, c and d must be two, and they are.
            if self.can_add(a, c) && self.can_add(b, d) {
                self.cut(at);
                self.add(a, c);
                self.add(b, d);
                return;
            }
        }
    }

    fn cut(&mut self, at: usize) {
        let (a, b) = self.edges.swap_remove(at);
        self.friends[a as usize].remove(&b);
        self.friends[b as usize].remove(&a);
    }

    /// Joins all parts to the one with the most users, if it can be done without changing degrees.
    fn connect(&mut self) {
        let mut parts = self.parts();
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        let mut parts = parts.into_iter();
        let Some(mut main) = parts.next() else { return };
        for part in parts {
            self.join(&main, &part);
            main.extend(part);
        }
    }

    /// Joins two parts. One edge of each is cut and the four ends are connected crosswise; the one
    /// in the main part is a side of a triangle, so that cutting it leaves the part whole. Without
    /// such edges, an edge is added.
    fn join(&mut self, main: &[u32], part: &[u32]) {
        let inner = part
            .iter()
            .find_map(|&a| self.friends[a as usize].first().map(|&b| (a, b)));
        let start = self.random.below(main.len() as u64) as usize;
        let turned = main[start..].iter().chain(&main[..start]);
        let side = turned.clone().find_map(|&c| {
            let own = &self.friends[c as usize];
            let side = |d: &&u32| !own.is_disjoint(&self.friends[**d as usize]);
            own.iter().find(side).map(|&d| (c, d))
        });
        match (inner, side) {
            (Some((a, b)), Some((c, d))) => {
                for (from, to) in [(a, b), (c, d)] {
                    let known = |edge: &(u32, u32)| *edge == (from, to) || *edge == (to, from);
                    if let Some(at) = self.edges.iter().position(known) {
                        self.cut(at);
                    }
                }
                self.add(a, c);
                self.add(b, d);
            }
            _ => {
                self.add(part[0], main[start]);
            }
        }
    }

    /// The users of every part of the graph, in the order of their first one.
    fn parts(&self) -> Vec<Vec<u32>> {
        let mut seen = vec![false; self.friends.len()];
        let mut parts = Vec::new();
        for first in 0..self.friends.len() as u32 {
            if std::mem::replace(&mut seen[first as usize], true) {
                continue;
            }
            let (mut part, mut next) = (vec![first], 0);
            while let Some(&user) = part.get(next) {
                for &friend in &self.friends[user as usize] {
                    if !std::mem::replace(&mut seen[friend as usize], true) {
                        part.push(friend);
                    }
                }
                next += 1;
            }
            parts.push(part);
        }
        parts
    }
}
