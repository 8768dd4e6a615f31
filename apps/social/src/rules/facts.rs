//! The evidence, read once: requests by what they were, rows by what they say.
//!
//! Rows are read leniently. A field that is missing or of another type reads as empty, and the rule
//! that compares it then finds the difference: a broken row is a finding, never a crash.

use crate::timelines::{HOME, USER as USER_TIMELINE};
use crate::{Config, accounts, posts};
use std::collections::BTreeMap;
use triptych_api::model::{OpRecord, OutcomeClass};
use triptych_api::{Coverage, Evidence, State, Value};

/// The kinds of requests that make a post.
const MAKES_POST: [&str; 2] = ["compose", "reply"];

/// A request that makes a post: a compose or a reply.
pub(super) struct Request<'a> {
    pub(super) op: &'a OpRecord,
    pub(super) class: OutcomeClass,
    pub(super) kind: &'a str,
    pub(super) req_id: &'a str,
    pub(super) user_id: &'a str,
    pub(super) username: &'a str,
    pub(super) text: &'a str,
    /// The positions of its posts in [`Facts::posts`].
    pub(super) posts: Vec<usize>,
}

impl Request<'_> {
    pub(super) fn acknowledged(&self) -> bool {
        self.class == OutcomeClass::Ok
    }

    /// Whether nobody knows whether it had its effect.
    pub(super) fn open(&self) -> bool {
        matches!(
            self.class,
            OutcomeClass::Indeterminate | OutcomeClass::InFlight
        )
    }
}

/// A stored post.
pub(super) struct Post<'a> {
    pub(super) key: &'a str,
    pub(super) row: &'a Value,
    pub(super) req_id: &'a str,
    pub(super) author: &'a str,
    pub(super) timestamp: Option<i64>,
    /// Who is mentioned.
    pub(super) mentions: Vec<&'a str>,
    pub(super) parent: Option<&'a str>,
    pub(super) root: Option<&'a str>,
    /// The position of its request in [`Facts::requests`].
    pub(super) request: Option<usize>,
}

impl Post<'_> {
    /// Whether it is of the data set.
    pub(super) fn loaded(&self) -> bool {
        self.request.is_none() && self.req_id.starts_with("load-")
    }
}

/// An entry of a timeline or thread.
pub(super) struct Entry<'a> {
    pub(super) post_id: &'a str,
    pub(super) timestamp: Option<i64>,
}

/// Lists by their owners.
pub(super) type Lists<'a> = BTreeMap<&'a str, Vec<Entry<'a>>>;

pub(super) struct Facts<'a> {
    pub(super) config: Config,
    pub(super) evidence: &'a Evidence<'a>,
    pub(super) requests: Vec<Request<'a>>,
    pub(super) posts: Vec<Post<'a>>,
    /// Keys of storage to positions in `posts`.
    pub(super) stored: BTreeMap<&'a str, usize>,
    /// Registered names to ids.
    pub(super) users: BTreeMap<&'a str, &'a str>,
    pub(super) user_timelines: Lists<'a>,
    pub(super) home_timelines: Lists<'a>,
    pub(super) threads: Lists<'a>,
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(value: &Value, field: &str) -> Option<i64> {
    value.get(field).and_then(Value::as_int)
}

pub(super) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    let list = value.get(field).and_then(Value::as_list);
    list.unwrap_or_default()
}

impl<'a> Facts<'a> {
    pub(super) fn of(evidence: &'a Evidence<'a>) -> Self {
        let state = evidence.state;
        let mut requests: Vec<Request<'a>> = Vec::new();
        for op in evidence.ops {
            let kind = evidence.kind(op);
            if MAKES_POST.contains(&kind) {
                requests.push(request(op, kind));
            }
        }
        let by_request: BTreeMap<&str, usize> = requests
            .iter()
            .enumerate()
            .map(|(at, request)| (request.req_id, at))
            .collect();
        let mut all = Vec::new();
        let mut stored = BTreeMap::new();
        for (key, row) in state.rows(posts::POST) {
            let post = post(key, row, &by_request);
            if let Some(request) = post.request {
                requests[request].posts.push(all.len());
            }
            stored.insert(key, all.len());
            all.push(post);
        }
        let users = state
            .rows(accounts::USER)
            .map(|(key, row)| (key, text(row, "userId")));
        Facts {
            // The app was built from these settings, so they are known to be good.
            config: Config::from_settings(evidence.settings).unwrap_or_default(),
            evidence,
            requests,
            posts: all,
            stored,
            users: users.collect(),
            user_timelines: lists(state, USER_TIMELINE),
            home_timelines: lists(state, HOME),
            threads: lists(state, posts::THREAD),
        }
    }

    /// The schedule's index of the request of a post.
    pub(super) fn index_of(&self, post: &Post<'_>) -> Option<u64> {
        let request = post.request.map(|at| &self.requests[at]);
        request.map(|request| request.op.index)
    }

    /// A stored post by its id.
    pub(super) fn post(&self, id: &str) -> Option<&Post<'a>> {
        self.stored.get(id).map(|at| &self.posts[*at])
    }

    /// Everything but what only other rules know: session pairs and conflicts.
    pub(super) fn coverage(&self) -> Coverage {
        let mut coverage = Coverage::default();
        for op in self.evidence.ops {
            let ok = op.outcome.class() == OutcomeClass::Ok;
            let kind = self.evidence.kind(op);
            let effects = MAKES_POST.contains(&kind) || matches!(kind, "follow" | "unfollow");
            let faulted = op.faults > 0;
            coverage.ok += u64::from(ok);
            coverage.ok_effects += u64::from(ok && effects);
            coverage.faulted += u64::from(faulted);
            coverage.faulted_effects += u64::from(faulted && effects);
        }
        // Posts under way at the same time as another one of the same author.
        let mut by_author: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
        for request in &self.requests {
            if request.class != OutcomeClass::Shed {
                let op = request.op;
                let spans = by_author.entry(request.user_id).or_default();
                spans.push((op.sent_ns, op.done_ns.max(op.settled_ns), op.index));
            }
        }
        let overlapping = by_author.values_mut().map(|spans| overlaps(spans).len());
        coverage.overlapping = overlapping.sum::<usize>() as u64;
        coverage
    }
}

/// When a request was under way: beginning, end, and its index.
pub(super) type Span = (u64, u64, u64);

/// The requests of the spans that overlap another one.
pub(super) fn overlaps(spans: &mut [Span]) -> Vec<u64> {
    spans.sort_unstable();
    let mut latest_end = 0;
    let mut found = Vec::new();
    for (at, (sent, end, request)) in spans.iter().enumerate() {
        let before = at > 0 && latest_end > *sent;
        let after = spans.get(at + 1).is_some_and(|next| next.0 < *end);
        if before || after {
            found.push(*request);
        }
        latest_end = latest_end.max(*end);
    }
    found
}

fn request<'a>(op: &'a OpRecord, kind: &'a str) -> Request<'a> {
    Request {
        op,
        class: op.outcome.class(),
        kind,
        req_id: text(&op.input, "reqId"),
        user_id: text(&op.input, "userId"),
        username: text(&op.input, "username"),
        text: text(&op.input, "text"),
        posts: Vec::new(),
    }
}

fn post<'a>(key: &'a str, row: &'a Value, by_request: &BTreeMap<&str, usize>) -> Post<'a> {
    let req_id = text(row, "reqId");
    let mentions = list(row, "userMentions").iter();
    let optional = |field: &str| row.get(field).and_then(Value::as_str);
    Post {
        key,
        row,
        req_id,
        author: row.get("creator").map_or("", |who| text(who, "userId")),
        timestamp: number(row, "timestamp"),
        mentions: mentions.map(|person| text(person, "userId")).collect(),
        parent: optional("parent"),
        root: optional("root"),
        request: by_request.get(req_id).copied(),
    }
}

fn lists<'a>(state: &'a State, table: &str) -> Lists<'a> {
    let entry = |entry: &'a Value| Entry {
        post_id: text(entry, "postId"),
        timestamp: number(entry, "timestamp"),
    };
    state
        .rows(table)
        .map(|(owner, row)| (owner, list(row, "entries").iter().map(entry).collect()))
        .collect()
}
