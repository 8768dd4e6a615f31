//! The invariants S1–S12: what every run must have left behind (quiescent rules) and answered
//! (online rules), whatever the runtime.
//!
//! A newcomer can start with [`check`], which reads the evidence once (`facts`), works out who must
//! have seen which post (`audience`, from what `follows` knows of every edge), and applies each rule.
//! Every rule takes linear time (up to a logarithm for the ordered maps), counts what it examined,
//! and tells the violation of the lowest request index in words.
//!
//! | rule | about | guarantee | module |
//! |---|---|---|---|
//! | `S1` | an acknowledged post is stored once; nothing is stored of what surely had no effect | effects | `posts` |
//! | `S1-durable` | an acknowledged post has not vanished | durability | `posts` |
//! | `S2` | author, text, mentions, links and media are the request's own; short codes are unique; what is answered is stored | effects | `posts` |
//! | `S3` | a post is once in its author's timeline, an answer once in its thread, in no other | effects | `timelines` |
//! | `S4` | a post is once in the home timeline of all who should see it, and in no other | effects | `timelines` |
//! | `S5` | the timelines hold as many entries as there are posts and readers, and no others | effects | `timelines` |
//! | `S6` | answers are newest first and whole; timestamps agree with posts and real time | order | `timelines`, `online` |
//! | `S7` | both sides of every edge are as the last acknowledged follow or unfollow says | effects | `follows` |
//! | `S7-sides` | they agree where it is open which one was the last (not with `compat = dsb`) | isolation | `follows` |
//! | `S8` | what is listed is stored already, in every answer | order | `online` |
//! | `S9` | an answer is never seen without what it answers | order | `timelines`, `online` |
//! | `S9-parents` | a home timeline has a post before its answer (`txn`) | isolation | `timelines` |
//! | `S10` | a session never sees a timeline or thread shrink | order | `online` |
//! | `S10-own` | a session sees its own acknowledged answers in their thread, and (not with `async`) its own acknowledged posts in its timeline | order | `online` |
//! | `S11` | after an acknowledged unfollow no later post arrives, after an acknowledged follow every one | order | `timelines` |
//! | `S12` | no short code without a post; a refusal has a reason | effects | `posts` |
//!
//! **Requests without an answer.** An indeterminate request, and one in flight at the end, may have
//! had its effect or not, but all of it or nothing, and once: if its post is stored, S2–S6 hold it to
//! the same as an acknowledged one; if it is not, an entry that it left in a timeline breaks S5.
//! An unanswered follow or unfollow may have happened at any time since it was sent. Failed, aborted,
//! refused and shed requests must have left no post (S1).
//!
//! **What a violation is charged to.** A loss is a matter of effects (and durability), wherever it is
//! seen: an answer that lists a post which was never stored is none of S8. S8, S9 and S11 are about
//! what is right in itself and came too late or too early. S7-sides and S9-parents need transactions
//! that are serializable, and are not asked of weaker ones; the module `follows` says when S7-sides is
//! told.
//!
//! **A changing graph.** Who should see a post is read while it is being fanned out, between the
//! sending of its request and the end of the last execution that it caused. Whoever surely followed
//! the author all that time must see it, whoever surely did not at any time of it must not, and
//! everybody else may (at most once). The edges that were loaded are told by the rows of the graph.
//!
//! **Real time.** S4, S6, S7 and S11 take it that what was acknowledged before something else was
//! sent came first, whoever sent them. Of a runtime that promises causal order S6 asks that of each
//! session alone, and S4, S7 and S11 take every follow and unfollow for one that may take effect at
//! any time: whether a post came causally after an unfollow is not known here. S8 to S10 need no more
//! than causal order. The formulation `causal` changes the two sides of an edge without a transaction,
//! so there S4 and S7 ask no more than this of any runtime.
//!
//! **Data set.** Posts that were loaded have requests `load-…`. S3–S6 hold them to the same as
//! others; their readers are the followers that were loaded.
//!
//! **`compat`.** With `dsb`, a stored text ends with its last link (D13), and the sides of an edge may
//! differ if its changes overlapped (D14): nothing asks for S7-sides. With `beldi`, authors have names that nobody registered
//! (D17). The rules allow exactly that.

mod audience;
mod changes;
mod facts;
mod follows;
mod online;
mod posts;
mod timelines;

use audience::Audiences;
use facts::Facts;
use follows::Follows;
use triptych_api::{Coverage, Evidence, Guarantee, RuleReport};

/// Judges what a run left behind and answered.
pub fn check(evidence: &Evidence<'_>) -> (Vec<RuleReport>, Coverage) {
    let facts = Facts::of(evidence);
    let follows = Follows::of(&facts);
    let audiences = Audiences::of(&facts, &follows);
    let mut order = RuleReport::new("S6", Guarantee::Order);
    let mut answers = RuleReport::new("S9", Guarantee::Order);
    let mut reports = posts::check(&facts);
    reports.extend(timelines::check(
        &facts,
        &audiences,
        &mut order,
        &mut answers,
    ));
    reports.extend(follows.check(&facts));
    let online = online::check(&facts, &mut order, &mut answers);
    reports.extend(online.reports);
    reports.extend([order, answers]);
    reports.sort_by(|a, b| rank(&a.rule).cmp(&rank(&b.rule)));
    let mut coverage = facts.coverage();
    coverage.session_pairs = online.session_pairs;
    coverage.conflicts = follows.conflicts;
    (reports, coverage)
}

/// `S2` comes before `S10`, and `S1` before `S1-durable`.
fn rank(rule: &str) -> (u32, &str) {
    let (number, rest) = rule[1..].split_once('-').unwrap_or((&rule[1..], ""));
    (number.parse().unwrap_or(u32::MAX), rest)
}
