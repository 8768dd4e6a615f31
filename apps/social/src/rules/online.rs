//! Rules about answers: S8, S10, and what S6 and S9 say of them.
//!
//! One pass over the starts and ends of all acknowledged requests, in the order of time. When an
//! answer arrives, its session knows more; when a read is sent, what its session knew at that moment
//! must be in the answer. Reads of one session that overlap bind nothing.
//!
//! **S10.** `total`, the length of the list, never shrinks. A post seen before must be in a later
//! answer if it belongs into its window. Of the newest posts of a timeline that is everything down to
//! the last one shown, or everything if the window reaches the end; of a window further down only
//! what lies between its first and its last post, because newer ones may have pushed it along. A look
//! at a thread shows the oldest answers, so there it is everything up to the last one shown. A bounded
//! home timeline that is full forgets posts, by the order of the appends; of it only the length is
//! judged. Who has seen a post in a home timeline is not told later that there is nothing in it to
//! answer or read.
//!
//! **S10-own.** What a session has posted counts as seen where its answer means that it is there: in
//! the own timeline with `sync` and `txn`; an answer in its thread always.
//!
//! **S8.** A post that is listed and has no body was listed too early if it is stored in the end. If
//! it is not, it was lost, which is not a matter of order: S1 and S5 tell it.
//!
//! **S9.** A thread is shown with its root, and every answer in it with the post that it answers:
//! whoever answers a post has seen it, and it stood in its thread before anybody could.

use super::facts::{Facts, list, number, text};
use crate::posts::THREAD_PAGE;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use triptych_api::model::{OpRecord, OutcomeClass};
use triptych_api::{Guarantee, RuleReport, Value};

pub(super) struct Online {
    pub(super) reports: Vec<RuleReport>,
    pub(super) session_pairs: u64,
}

/// A post as readers order it.
type Key<'a> = (i64, &'a str);
/// One timeline or thread: what it is, and its owner or root.
type List<'a> = (&'static str, &'a str);

/// An acknowledged read of a list.
struct Read<'a> {
    list: List<'a>,
    window: Window,
    seen: Seen<'a>,
}

/// What a read shows of its list.
#[derive(Clone, Copy)]
enum Window {
    /// These positions, counted from the newest.
    Newest { start: i64, stop: i64 },
    /// The first page, counted from the oldest.
    Oldest,
}

/// What an answer shows.
struct Seen<'a> {
    found: Vec<Key<'a>>,
    missing: Vec<&'a str>,
    total: i64,
}

impl Read<'_> {
    /// What it is about, in words.
    fn what(&self) -> String {
        match self.list {
            ("thread", root) => format!("thread {root}"),
            (kind, owner) => format!("{kind} timeline {owner}"),
        }
    }

    /// Whether its list may have dropped posts when it was read.
    fn forgets(&self, facts: &Facts<'_>) -> bool {
        let keep = facts.config.keep.map(|keep| keep as i64);
        self.list.0 == "home" && keep.is_some_and(|keep| self.seen.total >= keep)
    }

    /// Between which keys everything that is in the list is shown; none if nothing is known of that.
    fn shows(&self) -> Option<(Bound<Key<'_>>, Bound<Key<'_>>)> {
        use Bound::{Included, Unbounded};
        let Seen {
            found,
            missing,
            total,
        } = &self.seen;
        // A listed post without its body hides where the window ends; that is told already.
        if !missing.is_empty() {
            return None;
        }
        let ends = (found.first().copied(), found.last().copied());
        match self.window {
            Window::Newest { start, stop } if 0 <= start && start < stop => {
                let newest = match (start, ends.0) {
                    (0, _) => Unbounded,
                    (_, first) => Included(first?),
                };
                let oldest = match ends.1 {
                    _ if *total <= stop => Unbounded,
                    last => Included(last?),
                };
                Some((oldest, newest))
            }
            Window::Newest { .. } => None,
            Window::Oldest if *total <= THREAD_PAGE as i64 => Some((Unbounded, Unbounded)),
            Window::Oldest => Some((Unbounded, Included(ends.1?))),
        }
    }
}

/// What a session knows of a list.
#[derive(Default)]
struct Known<'a> {
    /// The largest length seen, and the request that saw it.
    total: Option<(i64, u64)>,
    /// The posts seen, and the requests that saw them.
    seen: BTreeMap<Key<'a>, u64>,
    /// The session's own acknowledged posts.
    own: BTreeMap<Key<'a>, u64>,
}

struct Rules<'r> {
    order: &'r mut RuleReport,
    answers: &'r mut RuleReport,
    whole: RuleReport,
    session: RuleReport,
    own: RuleReport,
}

pub(super) fn check(facts: &Facts<'_>, order: &mut RuleReport, answers: &mut RuleReport) -> Online {
    let mut rules = Rules {
        order,
        answers,
        whole: RuleReport::new("S8", Guarantee::Order),
        session: RuleReport::new("S10", Guarantee::Order),
        own: RuleReport::new("S10-own", Guarantee::Order),
    };
    let ops = facts.evidence.ops;
    let reads: Vec<Option<Read<'_>>> = ops.iter().map(|op| read(facts, op)).collect();
    let mut events = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        let class = op.outcome.class();
        if class == OutcomeClass::Ok && facts.evidence.kind(op) == "read-thread" {
            thread(facts, op, &mut rules);
        } else if let Some(read) = &reads[at] {
            well_formed(facts, op, read, &mut rules);
        }
        let found_nothing = class == OutcomeClass::Rejected && found_nothing(op);
        if reads[at].is_some() || found_nothing {
            events.push((op.sent_ns, 1, at));
        }
        // At one instant, what arrives is known to what is sent.
        if class == OutcomeClass::Ok {
            events.push((op.done_ns, 0, at));
        }
    }
    events.sort_unstable();

    let mut sessions: BTreeMap<(u32, List<'_>), Known<'_>> = BTreeMap::new();
    let mut session_pairs = 0;
    for (_, phase, at) in events {
        let op = &ops[at];
        match (&reads[at], phase) {
            (Some(read), 1) => {
                if let Some(known) = sessions.get(&(op.session, read.list)) {
                    session_pairs += u64::from(known.total.is_some());
                    not_shrunk(facts, op, read, known, &mut rules);
                }
            }
            (Some(read), _) => {
                let known = sessions.entry((op.session, read.list)).or_default();
                known.total = known.total.max(Some((read.seen.total, op.index)));
                for key in &read.seen.found {
                    known.seen.entry(*key).or_insert(op.index);
                }
            }
            (None, 1) => {
                let home = ("home", text(&op.input, "userId"));
                if let Some(known) = sessions.get(&(op.session, home)) {
                    let seen = known.seen.first_key_value();
                    rules.session.expect(seen.is_none(), Some(op.index), || {
                        let ((_, id), earlier) = seen.unwrap_or((&(0, ""), &0));
                        format!(
                            "session {} saw post {id} of home timeline {} in request {earlier}, and \
                             was told in request {} that there is none",
                            op.session, home.1, op.index
                        )
                    });
                }
            }
            (None, _) => {
                if let Some((lists, key)) = own_post(facts, op) {
                    for list in lists.into_iter().flatten() {
                        let known = sessions.entry((op.session, list)).or_default();
                        known.own.insert(key, op.index);
                    }
                }
            }
        }
    }
    Online {
        reports: vec![rules.whole, rules.session, rules.own],
        session_pairs,
    }
}

/// Whether a request was refused because a home timeline was empty.
fn found_nothing(op: &OpRecord) -> bool {
    ["nothing to reply to", "nothing to read"].contains(&op.outcome.reason())
}

fn read<'a>(facts: &Facts<'a>, op: &'a OpRecord) -> Option<Read<'a>> {
    if op.outcome.class() != OutcomeClass::Ok {
        return None;
    }
    let window = || Window::Newest {
        start: number(&op.input, "start").unwrap_or_default(),
        stop: number(&op.input, "stop").unwrap_or_default(),
    };
    let (list, window) = match facts.evidence.kind(op) {
        "read-home" => (("home", text(&op.input, "userId")), window()),
        "read-user" => (("user", text(&op.input, "userId")), window()),
        // Which thread it was is told by its root alone; that the root is there is S8's and S9's.
        "read-thread" => {
            let root = op.observed.get("root")?.as_str()?;
            (("thread", root), Window::Oldest)
        }
        _ => return None,
    };
    Some(Read {
        list,
        window,
        seen: seen(op),
    })
}

fn seen(op: &OpRecord) -> Seen<'_> {
    let names = |field| list(&op.observed, field).iter().filter_map(Value::as_str);
    let key = |text| match str::split_once(text, ':') {
        Some((stamp, id)) => (stamp.parse().unwrap_or_default(), id),
        None => (0, text),
    };
    Seen {
        found: names("ids").map(key).collect(),
        missing: names("missing").collect(),
        total: number(&op.observed, "total").unwrap_or_default(),
    }
}

/// S8, for one answer.
fn complete(facts: &Facts<'_>, op: &OpRecord, what: &str, seen: &Seen<'_>, rules: &mut Rules<'_>) {
    let mut missing = seen.missing.iter();
    let early = missing.find(|id| facts.stored.contains_key(**id));
    rules.whole.expect(early.is_none(), Some(op.index), || {
        let id = early.copied().unwrap_or_default();
        format!("the answer about {what} lists post {id} without its body; it was stored later")
    });
}

/// S8, and what S6 says of one read of a timeline.
fn well_formed(facts: &Facts<'_>, op: &OpRecord, read: &Read<'_>, rules: &mut Rules<'_>) {
    let Window::Newest { start, stop } = read.window else {
        return;
    };
    let what = read.what();
    complete(facts, op, &what, &read.seen, rules);
    let Seen {
        found,
        missing,
        total,
    } = &read.seen;
    let inversion = found.windows(2).find(|pair| pair[0] < pair[1]);
    let told = || match inversion {
        Some([(t1, id1), (t2, id2)]) => format!(
            "the answer about {what} has post {id1} of {t1} before {id2} of {t2}, which is not \
             newest first"
        ),
        _ => String::new(),
    };
    rules
        .order
        .expect(inversion.is_none(), Some(op.index), told);
    let most = (*total).max(0);
    let wanted = match start {
        0.. => (stop.clamp(0, most) - start.min(most)).max(0),
        _ => 0,
    };
    let shown = (found.len() + missing.len()) as i64;
    rules.order.expect(shown == wanted, Some(op.index), || {
        format!(
            "the answer about positions {start} to {stop} of {what}, which has {total} posts, shows \
             {shown}"
        )
    });
}

/// S8, S9, and what S6 says, of one look at a thread.
fn thread(facts: &Facts<'_>, op: &OpRecord, rules: &mut Rules<'_>) {
    let seen = seen(op);
    let root = op.observed.get("root").and_then(Value::as_str);
    let what = format!("thread {}", root.unwrap_or("without a root"));
    complete(facts, op, &what, &seen, rules);
    let inversion = seen.found.windows(2).find(|pair| pair[0] > pair[1]);
    let told = || format!("the answer about {what} has {inversion:?}, which is not oldest first");
    rules
        .order
        .expect(inversion.is_none(), Some(op.index), told);
    if root.is_some() {
        let shown = (seen.found.len() + seen.missing.len()) as i64;
        let wanted = seen.total.clamp(0, THREAD_PAGE as i64);
        rules.order.expect(shown == wanted, Some(op.index), || {
            let total = seen.total;
            format!("the answer about {what}, which has {total} answers, shows {shown}")
        });
    }
    // A body that is missing is told already.
    if !seen.missing.is_empty() {
        return;
    }
    rules.answers.expect(root.is_some(), Some(op.index), || {
        format!("the answer about {what} has {} posts", seen.found.len())
    });
    let mut shown: BTreeSet<&str> = root.into_iter().collect();
    let parents = list(&op.observed, "parents").iter();
    let parents = parents.map(|parent| parent.as_str().unwrap_or_default());
    for ((_, id), parent) in seen.found.iter().zip(parents) {
        rules
            .answers
            .expect(shown.contains(parent), Some(op.index), || {
                format!("the answer about {what} has post {id}, and not {parent}, which it answers")
            });
        shown.insert(id);
    }
}

/// S10 and S10-own, for one read.
fn not_shrunk(
    facts: &Facts<'_>,
    op: &OpRecord,
    read: &Read<'_>,
    known: &Known<'_>,
    rules: &mut Rules<'_>,
) {
    let (session, seen) = (op.session, &read.seen);
    if let Some((total, earlier)) = known.total {
        rules
            .session
            .expect(seen.total >= total, Some(op.index), || {
                format!(
                    "session {session} saw {total} posts of {} in request {earlier}, and only {} \
                     later in request {}",
                    read.what(),
                    seen.total,
                    op.index
                )
            });
    }
    let Some(window) = read.shows().filter(|_| !read.forgets(facts)) else {
        return;
    };
    let ids: BTreeSet<&str> = seen.found.iter().map(|(_, id)| *id).collect();
    let absent = |posts: &BTreeMap<Key<'_>, u64>| {
        // A range may not begin after its end, as that of an answer out of order would.
        if let (Bound::Included(from), Bound::Included(to)) = window
            && from > to
        {
            return None;
        }
        // At most a window of them is present, so this ends after that many.
        let mut expected = posts.range(window);
        expected
            .find(|((_, id), _)| !ids.contains(id))
            .map(|((_, id), from)| ((*id).to_owned(), *from))
    };
    if !known.seen.is_empty() {
        let lost = absent(&known.seen);
        rules.session.expect(lost.is_none(), Some(op.index), || {
            let (id, earlier) = lost.clone().unwrap_or_default();
            format!(
                "session {session} saw post {id} of {} in request {earlier}, and not any more in \
                 request {}",
                read.what(),
                op.index
            )
        });
    }
    if !known.own.is_empty() {
        let lost = absent(&known.own);
        rules.own.expect(lost.is_none(), Some(op.index), || {
            let (id, earlier) = lost.clone().unwrap_or_default();
            format!(
                "session {session} posted {id} of {} in request {earlier}, and does not see it in \
                 request {}",
                read.what(),
                op.index
            )
        });
    }
}

/// The lists that an acknowledged post is in from its answer on, and its place in them.
fn own_post<'a>(facts: &Facts<'a>, op: &'a OpRecord) -> Option<([Option<List<'a>>; 2], Key<'a>)> {
    if !["compose", "reply"].contains(&facts.evidence.kind(op)) {
        return None;
    }
    let key = (
        number(&op.observed, "timestamp")?,
        text(&op.observed, "postId"),
    );
    let timeline = ("user", text(&op.input, "userId"));
    let root = op.observed.get("root").and_then(Value::as_str);
    let lists = [
        facts.config.awaits_timelines().then_some(timeline),
        root.map(|root| ("thread", root)),
    ];
    Some((lists, key))
}
