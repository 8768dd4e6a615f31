//! Who must have seen each post in the home timeline, and who may have.

use super::changes::Possible;
use super::facts::{Facts, Post};
use super::follows::Follows;
use crate::Formulation;
use std::collections::{BTreeMap, BTreeSet};

/// The readers of one post.
#[derive(Default)]
pub(super) struct Audience<'a> {
    /// Who surely followed the author all the time, was mentioned, or wrote what it answers.
    pub(super) must: BTreeSet<&'a str>,
    /// Who did so only since a follow was acknowledged, and the request of that.
    pub(super) joined: BTreeMap<&'a str, u64>,
    /// Who may have followed the author at some time of it.
    pub(super) may: BTreeSet<&'a str>,
    /// Who surely did not any more since an unfollow was acknowledged, and the request of that. Not
    /// who followed before it in a request of which a late execution may have undone the unfollow:
    /// that is an effect too many, and nobody's order.
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
pub(super) fn looked_up(facts: &Facts<'_>, post: &Post<'_>) -> Option<(u64, u64)> {
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
        let changes = follows.changes_of(edge).filter(|_| *changed);
        // A change may have been made where nobody knew of it who looked the followers up.
        let asked = interval.and(changes);
        if asked.is_some() && facts.config.formulation == Formulation::Causal {
            audience.may.insert(user);
            continue;
        }
        let (Some((from, to)), Some(changes)) = (interval, changes) else {
            if follows.was_loaded(edge) {
                audience.must.insert(user);
            }
            continue;
        };
        match changes.during(from, to) {
            Possible { gone: false, .. } => match changes.joined(from, to) {
                Some(follow) => drop(audience.joined.insert(user, follow)),
                None => drop(audience.must.insert(user)),
            },
            Possible { there: true, .. } => {
                audience.may.insert(user);
            }
            Possible { there: false, .. } => {
                if let Some(unfollow) = changes.left(from, to) {
                    audience.left.insert(user, unfollow);
                }
            }
        }
    }
    let parent = post.parent.and_then(|parent| facts.post(parent));
    let named = post.mentions.iter().copied();
    for user in named.chain(parent.map(|parent| parent.author)) {
        audience.must.insert(user);
        audience.joined.remove(user);
        audience.may.remove(user);
        audience.left.remove(user);
    }
    audience
}
