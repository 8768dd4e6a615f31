//! Rules about what timelines and threads hold in the end: S3, S4, S5, S11, and the parts of S6 and S9
//! about stored lists.
//!
//! **S6 on stored lists.** A list is stored in the order of its appends, and readers sort it. A
//! timestamp is taken before the append, by another function, so under concurrency a list holds
//! inversions that are nobody's fault. What must hold all the same: an entry has the timestamp of its
//! post, so that every reader sorts alike; and of two acknowledged posts of which one was sent after
//! the other was answered, the later one has not the lower timestamp (but for [`CLOCK_SKEW_MS`]).
//!
//! **S9 on stored lists.** A stored answer is younger than its parent, and in the same thread. (That
//! its parent is stored at all is S2's.) With `txn` a home timeline that has both has the parent
//! first: whoever answered it had seen it committed. That rests on the isolation of transactions
//! and is a rule of its own, S9-parents. Elsewhere, and in a runtime without isolation, a fan-out
//! reaches readers one after another, and the answer of a quick reader may overtake the post on its
//! way to a third one; its body is there all the same.
//!
//! **Bounded home timelines.** One that is full has dropped entries, those first that were appended
//! first. So a post may be missing from it, unless it still has one that was surely appended before
//! the post was even sent. One that is not full has everything. S5 knows how long each must be. With
//! `causal` the appends have an order, but not that of time: there a full one may lack any post.

use super::audience::{Audiences, looked_up};
use super::facts::{Facts, Lists, Post};
use crate::Formulation;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use triptych_api::{Guarantee, RuleReport};

/// How much the clocks of two machines may differ. Virtual clocks do not; those of a cloud are kept
/// within milliseconds of each other, so this tolerates a thousand times what is usual.
const CLOCK_SKEW_MS: i64 = 1_000;

pub(super) fn check(
    facts: &Facts<'_>,
    audiences: &Audiences<'_>,
    order: &mut RuleReport,
    answers: &mut RuleReport,
) -> Vec<RuleReport> {
    for (kind, lists) in kinds(facts) {
        entries_agree(facts, kind, lists, order);
    }
    timestamps_follow_time(facts, order);
    conversations(facts, answers);
    let mut counts = sums(facts, audiences);
    lengths(facts, audiences, &mut counts);
    let mut reports = vec![listed_once(facts), counts];
    reports.extend(readers(facts, audiences));
    if facts.config.formulation == Formulation::Txn {
        reports.extend(Some(parents_first(facts)).filter(|rule| rule.examined > 0));
    }
    reports
}

fn kinds<'b, 'a>(facts: &'b Facts<'a>) -> [(&'static str, &'b Lists<'a>); 3] {
    [
        ("user timeline", &facts.user_timelines),
        ("home timeline", &facts.home_timelines),
        ("thread", &facts.threads),
    ]
}

/// S3: a post is once in its author's timeline, and in no other; an answer is once in the thread of its
/// root, and in no other, and what is no answer is in none.
fn listed_once(facts: &Facts<'_>) -> RuleReport {
    let mut rule = RuleReport::new("S3", Guarantee::Effects);
    type Owner = for<'p> fn(&'p Post<'_>) -> Option<&'p str>;
    let lists: [(&str, &Lists<'_>, Owner); 2] = [
        ("timeline of its author", &facts.user_timelines, |post| {
            Some(post.author)
        }),
        ("thread of its root", &facts.threads, |post| post.root),
    ];
    for (kind, lists, owner_of) in lists {
        let mut own = vec![0_usize; facts.posts.len()];
        let mut foreign: BTreeMap<usize, &str> = BTreeMap::new();
        for (owner, list) in lists {
            for at in list
                .iter()
                .filter_map(|entry| facts.stored.get(entry.post_id))
            {
                if owner_of(&facts.posts[*at]) == Some(owner) {
                    own[*at] += 1;
                } else {
                    foreign.insert(*at, owner);
                }
            }
        }
        for (at, post) in facts.posts.iter().enumerate() {
            let (request, owner) = (facts.index_of(post), owner_of(post));
            let count = own[at];
            rule.expect(count == usize::from(owner.is_some()), request, || {
                format!(
                    "post {} of request {} is {count} times in the {kind}, {}",
                    post.key,
                    post.req_id,
                    owner.unwrap_or("nobody")
                )
            });
            let elsewhere = foreign.get(&at);
            rule.expect(elsewhere.is_none(), request, || {
                format!(
                    "post {} of request {} is listed by {}, which is not the {kind}, {}",
                    post.key,
                    post.req_id,
                    elsewhere.unwrap_or(&""),
                    owner.unwrap_or("nobody")
                )
            });
        }
    }
    rule
}

/// S4 and S11: who has a post in the home timeline, and how often.
fn readers(facts: &Facts<'_>, audiences: &Audiences<'_>) -> [RuleReport; 2] {
    let mut rule = RuleReport::new("S4", Guarantee::Effects);
    let mut after = RuleReport::new("S11", Guarantee::Order);
    let mut has: Vec<BTreeMap<&str, usize>> = vec![BTreeMap::new(); facts.posts.len()];
    for (reader, list) in &facts.home_timelines {
        for at in list
            .iter()
            .filter_map(|entry| facts.stored.get(entry.post_id))
        {
            *has[*at].entry(reader).or_default() += 1;
        }
    }
    let dropped = dropped(facts);
    for ((post, has), audience) in facts.posts.iter().zip(has).zip(&audiences.of) {
        let request = facts.index_of(post);
        let sent = looked_up(facts, post).map_or(0, |(sent, _)| sent);
        let may_lack = |reader: &str| dropped.get(reader).is_some_and(|last| sent <= *last);
        for reader in &audience.must {
            let count = has.get(reader).copied().unwrap_or_default();
            let holds = count == 1 || (count == 0 && may_lack(reader));
            rule.expect(holds, request, || {
                format!(
                    "post {} of request {} by {} is {count} times in the home timeline of {reader}, \
                     who should see it",
                    post.key, post.req_id, post.author
                )
            });
        }
        for (reader, follow) in &audience.joined {
            let holds = has.contains_key(reader) || may_lack(reader);
            after.expect(holds, request, || {
                format!(
                    "post {} of request {} by {} was sent after the follow of {reader} was \
                     acknowledged (request {follow}), and is not in the home timeline of {reader}",
                    post.key, post.req_id, post.author
                )
            });
        }
        for (reader, unfollow) in &audience.left {
            after.expect(!has.contains_key(reader), request, || {
                format!(
                    "post {} of request {} by {} was sent after the unfollow of {reader} was \
                     acknowledged (request {unfollow}), and is in the home timeline of {reader}",
                    post.key, post.req_id, post.author
                )
            });
        }
        for (reader, count) in has {
            if audience.must.contains(reader) || audience.left.contains_key(reader) {
                continue;
            }
            let joined = audience.joined.contains_key(reader);
            let may = joined || audience.may.contains(reader);
            rule.expect(may && count == 1, request, || {
                let who = match (joined, may) {
                    (true, _) => "who followed",
                    (false, true) => "who may have followed",
                    (false, false) => "who should not see it",
                };
                format!(
                    "post {} of request {} by {} is {count} times in the home timeline of {reader}, \
                     {who}",
                    post.key, post.req_id, post.author
                )
            });
        }
    }
    [rule, after]
}

/// The home timelines that may have dropped something, each with the instant by which the first of
/// the entries that are left was surely appended: what was sent after it came later, and is there.
fn dropped<'a>(facts: &Facts<'a>) -> BTreeMap<&'a str, u64> {
    let Some(keep) = facts.config.keep else {
        return BTreeMap::new();
    };
    let full = facts.home_timelines.iter();
    let full = full.filter(|(_, list)| list.len() >= keep);
    let ordered = facts.config.formulation != Formulation::Causal;
    let since = full.map(|(reader, list)| {
        if !ordered {
            return (*reader, u64::MAX);
        }
        let appended = list.iter().map(|entry| match facts.post(entry.post_id) {
            Some(post) if post.loaded() => 0,
            Some(post) => looked_up(facts, post).map_or(u64::MAX, |(_, end)| end),
            None => u64::MAX,
        });
        (*reader, appended.min().unwrap_or(u64::MAX))
    });
    since.collect()
}

/// S5: user timelines hold as many entries as there are posts, threads as many as there are answers,
/// and home timelines as many as all posts have readers. Entries without a post are told one by one.
fn sums(facts: &Facts<'_>, audiences: &Audiences<'_>) -> RuleReport {
    let mut rule = RuleReport::new("S5", Guarantee::Effects);
    let posts = facts.posts.len();
    let answers = facts
        .posts
        .iter()
        .filter(|post| post.root.is_some())
        .count();
    let must: usize = audiences.of.iter().map(|one| one.must.len()).sum();
    // Whom S11 speaks of, it alone speaks of: an entry too few or too many is not told twice.
    let others = audiences.of.iter();
    let others = others.map(|one| one.may.len() + one.joined.len() + one.left.len());
    let most = must + others.sum::<usize>();
    let expected = [(posts, posts), (must, most), (answers, answers)];
    for ((kind, lists), (least, most)) in kinds(facts).into_iter().zip(expected) {
        let mut entries = 0;
        for (owner, list) in lists {
            for entry in list {
                rule.expect(facts.stored.contains_key(entry.post_id), None, || {
                    format!(
                        "post {:?} is in the {kind} of {owner}, and is not stored",
                        entry.post_id
                    )
                });
            }
            entries += list.len();
        }
        // Bounded ones are counted one by one.
        if kind == "home timeline" && facts.config.keep.is_some() {
            continue;
        }
        rule.expect((least..=most).contains(&entries), None, || {
            format!("all {kind}s together hold {entries} posts, and should hold {least} to {most}")
        });
    }
    rule
}

/// The part of S6 about single entries.
fn entries_agree(facts: &Facts<'_>, kind: &str, lists: &Lists<'_>, rule: &mut RuleReport) {
    for (owner, list) in lists {
        for entry in list {
            let Some(post) = facts.post(entry.post_id) else {
                continue;
            };
            let agrees = entry.timestamp == post.timestamp;
            rule.expect(agrees, facts.index_of(post), || {
                format!(
                    "post {} is of {:?}, and the {kind} of {owner} says {:?}",
                    post.key, post.timestamp, entry.timestamp
                )
            });
        }
    }
}

/// The part of S5 about bounded home timelines: each is as long as its bound once it has had that many
/// entries.
fn lengths(facts: &Facts<'_>, audiences: &Audiences<'_>, rule: &mut RuleReport) {
    let Some(keep) = facts.config.keep else {
        return;
    };
    let mut due: BTreeMap<&str, usize> = BTreeMap::new();
    for reader in audiences.of.iter().flat_map(|audience| &audience.must) {
        *due.entry(reader).or_default() += 1;
    }
    for (reader, list) in &facts.home_timelines {
        let due = due.get(reader).copied().unwrap_or_default().min(keep);
        rule.expect((due..=keep).contains(&list.len()), None, || {
            format!(
                "the home timeline of {reader} has {} entries, and should have {due} to {keep}",
                list.len()
            )
        });
    }
}

/// The part of S6 about timestamps: one pass over the starts and ends of all acknowledged requests.
fn timestamps_follow_time(facts: &Facts<'_>, rule: &mut RuleReport) {
    let mut events = Vec::new();
    for request in facts.requests.iter().filter(|one| one.acknowledged()) {
        let [at] = request.posts[..] else { continue };
        let Some(timestamp) = facts.posts[at].timestamp else {
            continue;
        };
        // At one instant, answers come before what is sent.
        events.push((request.op.done_ns, 0, timestamp, request));
        events.push((request.op.sent_ns, 1, timestamp, request));
    }
    events.sort_by_key(|(time, phase, _, request)| (*time, *phase, request.op.index));
    let mut newest: BTreeMap<u32, (i64, &str)> = BTreeMap::new();
    for (_, phase, timestamp, request) in events {
        // Who binds whom by what was acknowledged before: everybody everybody, or each session itself.
        let bound = match facts.evidence.asks_real_time() {
            true => 0,
            false => request.op.session,
        };
        let newest = newest.entry(bound);
        if phase == 0 {
            let answered = (timestamp, request.req_id);
            let known = newest.or_insert(answered);
            *known = answered.max(*known);
        } else if let Slot::Occupied(known) = newest {
            let (before, req_id) = *known.get();
            let holds = timestamp.saturating_add(CLOCK_SKEW_MS) >= before;
            rule.expect(holds, Some(request.op.index), || {
                format!(
                    "request {} was sent after {req_id} was acknowledged, and its post is of \
                     {timestamp}, {} ms earlier",
                    request.req_id,
                    before.saturating_sub(timestamp)
                )
            });
        }
    }
}

/// The part of S9 about stored posts.
fn conversations(facts: &Facts<'_>, rule: &mut RuleReport) {
    for post in &facts.posts {
        let (Some(parent_id), request) = (post.parent, facts.index_of(post)) else {
            continue;
        };
        let parent = facts.post(parent_id);
        let Some(parent) = parent else { continue };
        rule.expect(parent.timestamp < post.timestamp, request, || {
            format!(
                "post {} of {:?} answers {parent_id} of {:?}, which is not older",
                post.key, post.timestamp, parent.timestamp
            )
        });
        let root = parent.root.unwrap_or(parent.key);
        rule.expect(post.root == Some(root), request, || {
            format!(
                "post {} answers {parent_id} of the thread {root}, and says its thread is {:?}",
                post.key, post.root
            )
        });
    }
}

/// S9-parents: a home timeline with a post and its answer has the post first.
fn parents_first(facts: &Facts<'_>) -> RuleReport {
    let mut rule = RuleReport::new("S9-parents", Guarantee::Isolation)
        .asked(facts.evidence.asks_serializable());
    for (reader, list) in &facts.home_timelines {
        // Of an entry that is there twice (S4's finding) the first one counts.
        let places = list.iter().enumerate().rev();
        let places = places.map(|(at, entry)| (entry.post_id, at));
        let places: BTreeMap<&str, usize> = places.collect();
        for (at, entry) in list.iter().enumerate() {
            let Some(post) = facts.post(entry.post_id) else {
                continue;
            };
            let Some(parent) = post.parent.and_then(|parent| places.get(parent)) else {
                continue;
            };
            rule.expect(*parent < at, facts.index_of(post), || {
                format!(
                    "post {} came into the home timeline of {reader} before {:?}, which it answers",
                    post.key, post.parent
                )
            });
        }
    }
    rule
}
