//! The evidence, read once: requests by what they were, rows by what they say.
//!
//! Rows are read leniently. A field that is missing or of another type reads as empty, and the rule
//! that compares it then finds the difference: a broken row is a finding, never a crash.

use crate::loaded::{self, LISTED};
use crate::{Compat, Config};
use std::collections::BTreeMap;
use triptych_api::model::{OpRecord, OutcomeClass};
use triptych_api::{Coverage, Evidence, State, Value};

/// A compose request.
pub(super) struct Compose<'a> {
    pub(super) op: &'a OpRecord,
    pub(super) class: OutcomeClass,
    pub(super) req_id: &'a str,
    pub(super) username: &'a str,
    pub(super) title: &'a str,
    pub(super) rating: Option<i64>,
    pub(super) text: &'a str,
    /// The positions of its reviews in [`Facts::reviews`].
    pub(super) reviews: Vec<usize>,
}

impl Compose<'_> {
    pub(super) fn acknowledged(&self) -> bool {
        self.class == OutcomeClass::Ok
    }

    /// The interval in which it surely did all it ever did, if the answer came after that.
    pub(super) fn answered_ns(&self) -> Option<u64> {
        self.acknowledged().then_some(self.op.done_ns)
    }
}

/// A stored review.
pub(super) struct Review<'a> {
    pub(super) key: &'a str,
    pub(super) review_id: &'a str,
    pub(super) req_id: &'a str,
    pub(super) user_id: &'a str,
    pub(super) movie_id: &'a str,
    pub(super) text: &'a str,
    pub(super) rating: Option<i64>,
    pub(super) timestamp: Option<i64>,
    /// The position of its request in [`Facts::composes`].
    pub(super) compose: Option<usize>,
}

/// An entry of a list.
pub(super) struct Entry<'a> {
    pub(super) review_id: &'a str,
    pub(super) timestamp: Option<i64>,
}

/// Lists by their owners.
pub(super) type Lists<'a> = BTreeMap<&'a str, Vec<Entry<'a>>>;

pub(super) struct Facts<'a> {
    pub(super) config: Config,
    pub(super) evidence: &'a Evidence<'a>,
    pub(super) composes: Vec<Compose<'a>>,
    pub(super) reviews: Vec<Review<'a>>,
    /// Reviews from before the run, by their numbers; see [`crate::loaded`].
    pub(super) loaded: BTreeMap<usize, Review<'a>>,
    /// How many of them are listed.
    pub(super) listed: usize,
    /// Keys of storage to positions in `reviews`.
    pub(super) stored: BTreeMap<&'a str, usize>,
    pub(super) users: BTreeMap<&'a str, &'a str>,
    pub(super) titles: BTreeMap<&'a str, &'a str>,
    pub(super) user_lists: Lists<'a>,
    pub(super) movie_lists: Lists<'a>,
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(value: &Value, field: &str) -> Option<i64> {
    value.get(field).and_then(Value::as_int)
}

impl<'a> Facts<'a> {
    pub(super) fn of(evidence: &'a Evidence<'a>) -> Self {
        let state = evidence.state;
        let mut composes: Vec<Compose<'a>> = evidence
            .ops
            .iter()
            .filter(|op| evidence.kind(op) == "compose")
            .map(compose)
            .collect();
        let by_request: BTreeMap<&str, usize> = composes
            .iter()
            .enumerate()
            .map(|(at, compose)| (compose.req_id, at))
            .collect();
        // The app was built from these settings, so they are known to be good.
        let config = Config::from_settings(evidence.settings).unwrap_or_default();
        let mut reviews = Vec::new();
        let mut loaded = BTreeMap::new();
        let mut stored = BTreeMap::new();
        for (key, row) in state.rows("ReviewStorage") {
            let review = review(key, row, &by_request);
            // One that a request has overwritten is that request's.
            let number = loaded::number(key, config.reviews);
            if let Some(number) = number.filter(|_| review.req_id.is_empty()) {
                loaded.insert(number, review);
                continue;
            }
            if let Some(compose) = review.compose {
                composes[compose].reviews.push(reviews.len());
            }
            stored.insert(key, reviews.len());
            reviews.push(review);
        }
        let column = |table, field| {
            state
                .rows(table)
                .map(move |(key, row)| (key, text(row, field)))
        };
        Facts {
            config,
            evidence,
            composes,
            reviews,
            loaded,
            listed: config.reviews.min(LISTED * state.rows("MovieInfo").count()),
            stored,
            users: column("User", "userId").collect(),
            titles: column("MovieId", "movieId").collect(),
            user_lists: lists(state, "UserReview"),
            movie_lists: lists(state, "MovieReview"),
        }
    }

    /// Whether there is a body of this review.
    pub(super) fn is_stored(&self, id: &str) -> bool {
        let loaded = || loaded::number(id, self.config.reviews);
        self.stored.contains_key(id) || loaded().is_some_and(|n| self.loaded.contains_key(&n))
    }

    /// The id of a user by the name that a request has.
    pub(super) fn user(&self, username: &'a str) -> Option<&'a str> {
        match self.config.compat {
            Compat::CausalMesh => Some(username),
            Compat::None | Compat::Beldi => self.users.get(username).copied(),
        }
    }

    /// The id of a movie by the title that a request has.
    pub(super) fn movie(&self, title: &'a str) -> Option<&'a str> {
        match self.config.compat {
            Compat::CausalMesh => Some(title),
            Compat::None | Compat::Beldi => self.titles.get(title).copied(),
        }
    }

    /// Who binds whom by what was acknowledged before: everybody everybody, or each session itself.
    pub(super) fn bound(&self, op: &OpRecord) -> u32 {
        match self.evidence.asks_real_time() {
            true => 0,
            false => op.session,
        }
    }

    /// The schedule's index of the request of a review.
    pub(super) fn request_of(&self, review: &Review<'_>) -> Option<u64> {
        review
            .compose
            .map(|compose| self.composes[compose].op.index)
    }

    /// Everything but the session pairs, which the online rules count.
    pub(super) fn coverage(&self) -> Coverage {
        let mut coverage = Coverage::default();
        for op in self.evidence.ops {
            let ok = op.outcome.class() == OutcomeClass::Ok;
            let effects = self.evidence.kind(op) == "compose";
            let faulted = op.faults > 0;
            coverage.ok += u64::from(ok);
            coverage.ok_effects += u64::from(ok && effects);
            coverage.faulted += u64::from(faulted);
            coverage.faulted_effects += u64::from(faulted && effects);
        }
        coverage.overlapping = self.overlapping();
        coverage
    }

    /// How many composes were under way at the same time as another one of the same title.
    fn overlapping(&self) -> u64 {
        let mut by_title: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
        for compose in self
            .composes
            .iter()
            .filter(|compose| compose.class != OutcomeClass::Shed)
        {
            let op = compose.op;
            let end = op.done_ns.max(op.settled_ns);
            by_title
                .entry(compose.title)
                .or_default()
                .push((op.sent_ns, end));
        }
        by_title.values_mut().map(|spans| overlaps(spans)).sum()
    }
}

/// How many of the spans overlap another one.
fn overlaps(spans: &mut [(u64, u64)]) -> u64 {
    spans.sort_unstable();
    let mut latest_end = 0;
    let mut count = 0;
    for (at, (sent, end)) in spans.iter().enumerate() {
        let before = at > 0 && latest_end > *sent;
        let after = spans.get(at + 1).is_some_and(|next| next.0 < *end);
        count += u64::from(before || after);
        latest_end = latest_end.max(*end);
    }
    count
}

fn compose(op: &OpRecord) -> Compose<'_> {
    Compose {
        op,
        class: op.outcome.class(),
        req_id: text(&op.input, "reqId"),
        username: text(&op.input, "username"),
        title: text(&op.input, "title"),
        rating: number(&op.input, "rating"),
        text: text(&op.input, "text"),
        reviews: Vec::new(),
    }
}

fn review<'a>(key: &'a str, row: &'a Value, by_request: &BTreeMap<&str, usize>) -> Review<'a> {
    let req_id = text(row, "reqId");
    Review {
        key,
        review_id: text(row, "reviewId"),
        req_id,
        user_id: text(row, "userId"),
        movie_id: text(row, "movieId"),
        text: text(row, "text"),
        rating: number(row, "rating"),
        timestamp: number(row, "timestamp"),
        compose: by_request.get(req_id).copied(),
    }
}

fn lists<'a>(state: &'a State, table: &str) -> Lists<'a> {
    let entry = |entry: &'a Value| Entry {
        review_id: text(entry, "reviewId"),
        timestamp: number(entry, "timestamp"),
    };
    state
        .rows(table)
        .map(|(owner, row)| {
            let list = row
                .get("reviews")
                .and_then(Value::as_list)
                .unwrap_or_default();
            (owner, list.iter().map(entry).collect())
        })
        .collect()
}
