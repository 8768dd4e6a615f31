//! The invariants M1–M13: what every run must have left behind (quiescent rules) and answered
//! (online rules), whatever the runtime.
//!
//! A newcomer can start with [`check`], which reads the evidence once (`facts`) and applies each
//! rule to it. Every rule takes linear time (up to a logarithm for the ordered maps), counts what it
//! examined, and tells the violation of the lowest request index in words.
//!
//! | rule | about | guarantee | module |
//! |---|---|---|---|
//! | `M1` | an acknowledged compose has exactly one stored review | effects | `storage` |
//! | `M1-durable` | an acknowledged review has not vanished from storage | durability | `storage` |
//! | `M2` | no review of a request that surely had no effect, or that nobody sent | effects | `storage` |
//! | `M3` | review ids are unique, and the answered one is the stored one | effects | `storage` |
//! | `M4` | a stored review is once in its user's list, once in its movie's, in no other | effects | `lists` |
//! | `M5` | text, rating, user and movie are the request's own | effects | `storage` |
//! | `M6` | both kinds of lists hold as many entries as there are reviews | effects | `lists` |
//! | `M7` | answers are newest first; lists and timestamps agree with real time | order | `lists`, `online` |
//! | `M8` | the totals of ratings are those of the stored reviews | effects | `lists` |
//! | `M9` | no join is left open | effects | `storage` |
//! | `M10` | what is listed is stored already, in every answer | order | `online` |
//! | `M11` | a session never sees a list shrink | order | `online` |
//! | `M11-own` | a session sees its own acknowledged reviews (`ack = after-store`) | order | `online` |
//! | `M12` | a refusal has a reason, and leaves no trace | effects | `storage` |
//! | `M13` | a stage sees what those before it wrote (`causal`) | order | `storage` |
//!
//! **Requests without an answer.** An indeterminate request, and one in flight at the end, may have
//! had its effect or not, but all of it or nothing: if its review is stored, M3–M8 hold it to the
//! same as an acknowledged one; if it is not, an entry that it left in a list breaks M6 and a rating
//! that it counted breaks M8. Failed, aborted and shed requests must have left no review (M2).
//!
//! **What a violation is charged to.** A review that is listed and was never stored was lost, or is
//! an effect too many: M1 and M6 tell it, and M10 only what was listed before it was stored.
//!
//! **Real time.** M7 takes it that what was acknowledged before something else was sent came first,
//! whoever sent them. Of a runtime that promises causal order it asks that of each session alone. M10
//! and M11 need no more than causal order.
//!
//! **`compat = beldi`.** That port lists only first reviews, keeps no totals and no timestamps, so
//! M4, M6, M7, M8, M11 and `M11-own` cannot apply: they are reported with nothing examined.
//!
//! **`compat = causalmesh`.** Requests choose the ids of their reviews among those that exist (D16), so
//! a review may be overwritten by the next one, and lists lose appends. M1, M3 and the rules about
//! lists cannot apply, and M10 cannot be broken: some review is always stored under a listed id. What
//! is left says little, which is what that defect means.

mod facts;
mod lists;
mod online;
mod storage;

use crate::Compat;
use facts::Facts;
use triptych_api::{Coverage, Evidence, Guarantee, RuleReport};

/// Judges what a run left behind and answered.
pub fn check(evidence: &Evidence<'_>) -> (Vec<RuleReport>, Coverage) {
    let facts = Facts::of(evidence);
    let mut order = RuleReport::new("M7", Guarantee::Order);
    let online = online::check(&facts, &mut order);
    let mut reports = storage::check(&facts);
    reports.extend(lists::check(&facts, &mut order));
    reports.extend(online.reports);
    reports.push(order);
    reports.sort_by(|a, b| rank(&a.rule).cmp(&rank(&b.rule)));
    let lists = ["M4", "M6", "M7", "M8", "M11", "M11-own"];
    let skipped: Vec<&str> = match facts.config.compat {
        Compat::None => Vec::new(),
        Compat::Beldi => lists.to_vec(),
        Compat::CausalMesh => [&["M1", "M1-durable", "M3"], &lists[..]].concat(),
    };
    if !skipped.is_empty() {
        for report in reports
            .iter_mut()
            .filter(|report| skipped.contains(&&*report.rule))
        {
            (report.examined, report.violations, report.witness) = (0, 0, None);
        }
    }
    let mut coverage = facts.coverage();
    coverage.session_pairs = online.session_pairs;
    (reports, coverage)
}

/// `M2` comes before `M10`, and `M1` before `M1-durable`.
fn rank(rule: &str) -> (u32, &str) {
    let (number, rest) = rule[1..].split_once('-').unwrap_or((&rule[1..], ""));
    (number.parse().unwrap_or(u32::MAX), rest)
}
