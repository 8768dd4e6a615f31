//! Who must have seen each post in the home timeline, and who may have.

use super::facts::{Facts, Post};
use super::follows::{Follows, Possible};
use std::collections::{BTreeMap, BTreeSet};

/// The readers of one post.
#[derive(Default)]
pub(super) struct Audience<'a> {
    /// Who surely followed the author all the time, was mentioned, or wrote what it answers.
    pub(super) must: BTreeSet<&'a str>,
    /// Who may have followed the author at some time of it.
    pub(super) may: BTreeSet<&'a str>,
    /// Who surely did not any more, and the request of the unfollow.
    pub(super) left: BTreeMap<&'a str, u64>,
}

pub(super) struct Audiences<'a> {
    /// Of every stored post, in the order of [`Facts::posts`].
    pub(super) of: Vec<Audience<'a>>,
}

impl<'a> Audiences<'a> {
    pub(super) fn of(facts: &Facts<'a>, follows: &Follows<'a>) -> Self {
        let mut candidates: BTreeMap<&str, BTreeMap<&'a str, bool>> = BTreeMap::new();
        for post in &facts.posts {
            let known = candidates.entry(post.author);
            known.or_insert_with(|| follows.candidates(post.author));
        }
        let of = facts
            .posts
            .iter()
            .map(|post| audience(facts, follows, &candidates[post.author], post));
        Audiences { of: of.collect() }
    }
}

/// When the followers of a post's author were looked up: at some instant of this interval.
fn looked_up(facts: &Facts<'_>, post: &Post<'_>) -> Option<(u64, u64)> {
    let request = &facts.requests[post.request?];
    let op = request.op;
    let end = match (request.acknowledged(), op.settled_ns) {
        (true, _) if facts.config.awaits_timelines() => op.done_ns,
        // Nobody knows when its last execution ended.
        (_, 0) => u64::MAX,
        (_, settled) => settled.max(op.done_ns),
    };
    Some((op.sent_ns, end))
}

fn audience<'a>(
    facts: &Facts<'a>,
    follows: &Follows<'a>,
    candidates: &BTreeMap<&'a str, bool>,
    post: &Post<'a>,
) -> Audience<'a> {
    let mut audience = Audience::default();
    let interval = looked_up(facts, post);
    for (user, changed) in candidates {
        let edge = (*user, post.author);
        let (from, to) = match interval {
            Some(interval) if *changed => interval,
            _ => {
                if follows.was_loaded(edge) {
                    audience.must.insert(user);
                }
                continue;
            }
        };
        match follows.during(edge, from, to) {
            Possible { gone: false, .. } => {
                audience.must.insert(user);
            }
            Possible { there: true, .. } => {
                audience.may.insert(user);
            }
            Possible { there: false, .. } => {
                if let Some(unfollow) = follows.unfollowed_before(edge, from) {
                    audience.left.insert(user, unfollow);
                }
            }
        }
    }
    let parent = post.parent.and_then(|parent| facts.post(parent));
    let named = post.mentions.iter().copied();
    for user in named.chain(parent.map(|parent| parent.author)) {
        audience.must.insert(user);
        audience.may.remove(user);
        audience.left.remove(user);
    }
    audience
}
