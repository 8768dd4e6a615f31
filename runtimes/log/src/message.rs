//! What is said in a cluster of the log, and by whom.
//!
//! Any message may be lost, come twice, or be overtaken. So each is either answered (and sent again
//! by who wants the answer), or says how far something has got (and the next one says it too), or
//! can be fetched by who notices that it is missing. Nobody trusts an order between messages.
//!
//! | message | from → to | again |
//! |---|---|---|
//! | `Request`, `Reply` | client ↔ engine | the client, to any engine |
//! | `Replicate` | engine → holders of its shard; anybody who has it → who fetched it | the engine, while it is not ordered |
//! | `FetchRecords` | storage → engine or another holder | while something is missing |
//! | `Stored` | storage → primary | every few ms until a cut reflects it |
//! | `Accept`, `Accepted` | primary ↔ backups | the primary, while not committed |
//! | `Committed` | primary → engines and storages; anybody who has it → who fetched it | fetched by number |
//! | `FetchEntries` | anybody → a sequencer of the term, or a storage | while something is missing |
//! | `Indexed` | first holder of a shard → index engines; a holder → who fetched it | fetched by local id |
//! | `FetchIndex` | index engine → holders | while something is missing |
//! | `Query`, `Answer` | engine ↔ index engine | the asking engine, to another index |
//! | `ReadAt`, `ReadDone` | engine ↔ holders | the engine, to another holder |
//! | `Annotate` | engine → holders | never: auxiliary data is a memo |
//! | `Trim` | engine → primary | the engine, until it sees the entry |
//! | `Alive` | every node → every controller | regularly |
//! | `Views` | controller → node that knows less | at the next `Alive` |
//! | `Seal`, `Sealed` | controller ↔ sequencers | the controller |
//! | `Prepare` … `Chosen` | controller ↔ controllers | the proposer |

use crate::{
    BookId, Condition, Entry, Member, Progress, Record, SeqNum, Shard, Tag, Term, Trim, View,
    ViewId,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is said in a cluster of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message {
    /// A client wants something. `op` is the client's number for it; a client that has heard nothing
    /// may ask again, here or elsewhere.
    Request {
        /// The client's number for it, given back in the reply.
        op: u64,
        /// What it wants.
        request: Request,
    },
    /// What came of a request.
    Reply {
        /// The client's number.
        op: u64,
        /// What came of it.
        reply: Reply,
    },

    /// Records of a shard, with consecutive local ids. From their engine to all holders at once, or
    /// in answer to [`Message::FetchRecords`]. Freed ones are left out there: then `gone` says which
    /// of the ids between are no more.
    Replicate {
        /// The shard.
        shard: Shard,
        /// The records by local id, ascending.
        records: Vec<(u32, Arc<Record>)>,
        /// Local ids, ascending, that were freed by a trim and need not be copied. Only in answers.
        gone: Vec<u32>,
    },
    /// Asks for records of a shard, `from` to before `to`. A holder answers with as many as it likes
    /// from the beginning of the range; an engine with those that it still has.
    FetchRecords {
        /// The shard.
        shard: Shard,
        /// The first local id.
        from: u32,
        /// The local id after the last.
        to: u32,
    },
    /// Up to which local id a storage has all records of each engine that it keeps in a term, as
    /// durable as the cluster's level asks for.
    Stored {
        /// The term.
        term: Term,
        /// For each engine: all local ids below this.
        below: Vec<(triptych_nodes::NodeId, u32)>,
    },

    /// Entries of the metalog that the primary wants kept. They are its whole metalog from `from` on,
    /// as far as they go.
    Accept {
        /// The term.
        term: Term,
        /// Entries with consecutive numbers.
        entries: Vec<Arc<Entry>>,
        /// How many entries are committed.
        committed: u32,
    },
    /// A backup keeps the first `entries` entries, as durable as the cluster's level asks for.
    Accepted {
        /// The term.
        term: Term,
        /// How many.
        entries: u32,
    },
    /// Entries of the metalog that are committed, ascending. There may be gaps: an engine that has
    /// no index of the log is told only what orders records of its own.
    Committed {
        /// The term.
        term: Term,
        /// The entries.
        entries: Vec<Arc<Entry>>,
    },
    /// Asks for committed entries from a number on. The answer, [`Message::Committed`], has as many
    /// as the other likes, without gaps, and may be empty; but whoever has 16 or more does not answer
    /// with fewer, so that fewer are all that it has.
    FetchEntries {
        /// The term.
        term: Term,
        /// The first number.
        from: u32,
    },

    /// What an index needs to know of ordered records of a shard: of all whose local id is in the
    /// range, except those that were freed.
    Indexed {
        /// The shard.
        shard: Shard,
        /// The first local id that this is about.
        from: u32,
        /// The local id after the last.
        to: u32,
        /// Those that are there, ascending by local id.
        items: Vec<(u32, Item)>,
    },
    /// Asks a holder for [`Message::Indexed`] from a local id on.
    FetchIndex {
        /// The shard.
        shard: Shard,
        /// The first local id.
        from: u32,
        /// The local id after the last wanted.
        to: u32,
    },

    /// A read, for the index that the asked engine has. What the asking engine's own progress is
    /// stands in the read.
    Query {
        /// The asking engine's number for it.
        op: u64,
        /// What is wanted.
        read: Read,
    },
    /// What an index found: places, in whose shard each is (so that the asking engine knows its
    /// holders), and the records as far as that engine has them in its cache.
    Answer {
        /// The asking engine's number.
        op: u64,
        /// The places with what is known of each; or why the question was not for this engine.
        found: Result<Vec<(SeqNum, triptych_nodes::NodeId, Option<Found>)>, NotHere>,
        /// Where the index was.
        progress: Progress,
    },
    /// Asks an index engine how a conditional append was decided. Answered with
    /// [`Message::Verdict`] as soon as the index has come to it.
    Ask {
        /// The asking engine's number for it.
        op: u64,
        /// The record.
        seq: SeqNum,
        /// The metalog position of the record: the index must have applied it.
        progress: Progress,
    },
    /// How a conditional append was decided.
    Verdict {
        /// The asking engine's number.
        op: u64,
        /// Whether the record is in its streams; if not, the stream's newest record at that point.
        taken: Result<(), SeqNum>,
    },
    /// Asks a holder for a record.
    ReadAt {
        /// The asking engine's number for it.
        op: u64,
        /// The record.
        seq: SeqNum,
    },
    /// A record, or why there is none.
    ReadDone {
        /// The asking engine's number.
        op: u64,
        /// The record.
        seq: SeqNum,
        /// What the holder has.
        found: Result<Found, Missing>,
    },
    /// Auxiliary data of a record, to be kept with it if it is convenient.
    Annotate {
        /// The record.
        seq: SeqNum,
        /// The data.
        aux: Arc<[u8]>,
    },

    /// Asks the primary to put a trim, or a release, into the metalog. A primary that has it already
    /// (by who asks and its number) does not do so twice.
    Trim {
        /// The term of the metalog.
        term: Term,
        /// [`crate::Step::Trim`] or [`crate::Step::Release`].
        step: crate::Step,
    },

    /// A node lives.
    Alive {
        /// Itself.
        member: Member,
        /// The newest view that it knows; 0 if none.
        view: ViewId,
        /// Of a storage: the newest view in which it has copies of all records that it is to hold.
        complete: ViewId,
        /// Of a sequencer: the newest view that it has sealed, so that no view stays sealed because
        /// the controller that began to end it failed.
        sealed: ViewId,
    },
    /// Views that the node does not know yet, ascending and without gaps.
    Views {
        /// The views.
        views: Vec<Arc<View>>,
    },
    /// Ends a view: a sequencer that has promised this accepts and commits nothing in it any more.
    Seal {
        /// The view.
        view: ViewId,
    },
    /// A sequencer has ended a view for itself, durably. What it keeps of each metalog of it.
    Sealed {
        /// The view.
        view: ViewId,
        /// Which life of the sequencer says this: it counts only if the view names the same.
        member: Member,
        /// Of each log that it keeps in this view.
        logs: Vec<SealedLog>,
    },

    /// Register of a view number, first phase: promise to take part in no earlier ballot.
    Prepare {
        /// Which view number is to be decided.
        view: ViewId,
        /// The ballot.
        ballot: Ballot,
    },
    /// A controller promises, and says what it has accepted before.
    Promise {
        /// The view number.
        view: ViewId,
        /// The ballot that is promised.
        ballot: Ballot,
        /// What was accepted, and in which ballot.
        accepted: Option<(Ballot, Arc<View>)>,
    },
    /// Second phase: accept this view.
    Propose {
        /// The ballot.
        ballot: Ballot,
        /// The view; its number says which register.
        value: Arc<View>,
    },
    /// A controller has accepted, durably.
    Agreed {
        /// The view number.
        view: ViewId,
        /// The ballot.
        ballot: Ballot,
    },
    /// A controller has promised a higher ballot.
    Refused {
        /// The view number.
        view: ViewId,
        /// The ballot that it has promised.
        promised: Ballot,
    },
    /// A view is decided.
    Chosen {
        /// The view.
        value: Arc<View>,
    },
}

/// A number of an attempt to decide something: attempts of different controllers never have the
/// same.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Ballot {
    /// Which attempt; 0 is none.
    pub round: u32,
    /// Whose.
    pub node: u16,
}

/// What a sequencer keeps of a metalog of a view that it has sealed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SealedLog {
    /// The metalog's term.
    pub term: Term,
    /// How many entries it keeps.
    pub entries: u32,
    /// How many it knows to be committed.
    pub committed: u32,
    /// All entries from a number at or below `committed` on.
    pub tail: Vec<Arc<Entry>>,
}

/// What an index knows of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Item {
    /// The logbook.
    pub book: BookId,
    /// The streams.
    pub tags: Vec<Tag>,
    /// What must hold for it.
    pub condition: Option<Condition>,
}

/// What a client may want of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Request {
    /// Append a record. Answered when it is ordered: then it has its place for ever.
    Append(Arc<Record>),
    /// Read records.
    Read(Read),
    /// Remember something with a record: a memo that may be forgotten at any time. It must be a
    /// function of the logbook up to and with the record, because different engines may remember
    /// different ones.
    Annotate {
        /// The logbook.
        book: BookId,
        /// The record.
        seq: SeqNum,
        /// The memo.
        aux: Arc<[u8]>,
    },
    /// Make what lies before the bounds unreadable, and free it.
    Trim {
        /// The logbook.
        book: BookId,
        /// Streams and bounds; see [`Trim::streams`].
        streams: Vec<(Tag, SeqNum)>,
    },
    /// What the node has to tell an operator, and whether it is ready to serve.
    Status,
}

/// A read of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Read {
    /// The logbook.
    pub book: BookId,
    /// The stream; [`crate::EVERY`] for all records.
    pub tag: Tag,
    /// The first record to look at.
    pub bound: SeqNum,
    /// Towards newer or older ones.
    pub direction: Direction,
    /// How many at most; at least 1. Only ascending reads may ask for more than one.
    pub limit: u16,
    /// How long to wait if there is none, in nanoseconds; 0 not to wait. Only for ascending reads.
    pub wait: u64,
    /// The index must have come so far, so that nobody reads what is older than what it knows.
    pub progress: Progress,
}

/// Which way to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// The first records at or after the bound.
    Next,
    /// The last record at or before it.
    Previous,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reply {
    /// The record has its place.
    Appended {
        /// Where.
        seq: SeqNum,
        /// What the client has now seen.
        progress: Progress,
    },
    /// A conditional append did not find what it asked for: the record is in no stream.
    Refused {
        /// The newest record of the condition's stream at that point.
        tail: SeqNum,
        /// What the client has now seen.
        progress: Progress,
    },
    /// What was read, in the direction of reading; perhaps nothing.
    Records {
        /// The records.
        records: Vec<Found>,
        /// What the client has now seen.
        progress: Progress,
    },
    /// The memo was taken. Whether it is kept is nobody's promise.
    Annotated,
    /// The streams are cut off for whoever has seen this position.
    Trimmed {
        /// What the client has now seen.
        progress: Progress,
    },
    /// Names and values for an operator.
    Status {
        /// The newest view that the node knows; 0 if it is not in one.
        view: ViewId,
        /// Gauges.
        gauges: Vec<(String, u64)>,
    },
    /// Nothing came of it.
    Failed(Failure),
}

/// Why nothing came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The engine is in no view, or has too much to do. Nothing was done: ask another one, or later.
    #[error("the engine cannot take it now; nothing was done")]
    Unavailable,
    /// The record will surely never be ordered. Append it again.
    #[error("the record was not ordered, and never will be")]
    Discarded,
    /// The request makes no sense.
    #[error("bad request: {0}")]
    Bad(String),
    /// The record should be there, and no holder has it.
    #[error("record {0} is lost")]
    Lost(SeqNum),
    /// Nobody knows what has become of it: no answer came in time.
    #[error("no answer came in time")]
    Unknown,
}

/// A record at its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Found {
    /// Its place.
    pub seq: SeqNum,
    /// The record.
    pub record: Arc<Record>,
    /// A memo, if somebody left one and it is still known.
    pub aux: Option<Arc<[u8]>>,
}

/// Why a holder does not give a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Missing {
    /// It was trimmed.
    Freed,
    /// This holder does not have it: ask another one.
    NotHere,
    /// This holder had it, and it is damaged: ask another one.
    Damaged,
}

/// A query came to an engine that has no complete index of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NotHere;

impl triptych_nodes::Message for Message {
    fn kind(&self) -> &'static str {
        match self {
            Message::Request { request, .. } => match request {
                Request::Append(_) => "append",
                Request::Read(_) => "read",
                Request::Annotate { .. } => "annotate",
                Request::Trim { .. } => "trim",
                Request::Status => "status",
            },
            Message::Reply { .. } => "reply",
            Message::Replicate { .. } => "replicate",
            Message::FetchRecords { .. } => "fetch-records",
            Message::Stored { .. } => "stored",
            Message::Accept { .. } => "accept",
            Message::Accepted { .. } => "accepted",
            Message::Committed { .. } => "committed",
            Message::FetchEntries { .. } => "fetch-entries",
            Message::Indexed { .. } => "indexed",
            Message::FetchIndex { .. } => "fetch-index",
            Message::Query { .. } => "query",
            Message::Answer { .. } => "answer",
            Message::Ask { .. } => "ask",
            Message::Verdict { .. } => "verdict",
            Message::ReadAt { .. } => "read-at",
            Message::ReadDone { .. } => "read-done",
            Message::Annotate { .. } => "store-aux",
            Message::Trim { .. } => "log-trim",
            Message::Alive { .. } => "alive",
            Message::Views { .. } => "views",
            Message::Seal { .. } => "seal",
            Message::Sealed { .. } => "sealed",
            Message::Prepare { .. }
            | Message::Promise { .. }
            | Message::Propose { .. }
            | Message::Agreed { .. }
            | Message::Refused { .. }
            | Message::Chosen { .. } => "register",
        }
    }

    fn size(&self) -> usize {
        const HEAD: usize = 16;
        let entries = |all: &[Arc<Entry>]| all.iter().map(|entry| entry.size()).sum::<usize>();
        HEAD + match self {
            Message::Request { request, .. } => match request {
                Request::Append(record) => record.size(),
                Request::Annotate { aux, .. } => aux.len(),
                Request::Trim { streams, .. } => 16 * streams.len(),
                Request::Read(_) | Request::Status => 24,
            },
            Message::Reply { reply, .. } => match reply {
                Reply::Records { records, .. } => records.iter().map(Found::size).sum(),
                _ => 12,
            },
            Message::Replicate { records, gone, .. } => {
                let records = records.iter().map(|(_, record)| 3 + record.size());
                records.sum::<usize>() + 3 * gone.len()
            }
            Message::Stored { below, .. } => 5 * below.len(),
            Message::Accept { entries: all, .. } | Message::Committed { entries: all, .. } => {
                entries(all)
            }
            Message::Indexed { items, .. } => {
                let items = items.iter().map(|(_, item)| 10 + 9 * item.tags.len());
                items.sum()
            }
            Message::Answer {
                found: Ok(found), ..
            } => {
                let found = found.iter();
                found
                    .map(|(_, _, known)| 11 + known.as_ref().map_or(0, Found::size))
                    .sum()
            }
            Message::ReadDone {
                found: Ok(found), ..
            } => found.size(),
            Message::Annotate { aux, .. } => aux.len(),
            Message::Trim { .. } => 32,
            Message::Views { views } => 200 * views.len(),
            Message::Sealed { logs, .. } => logs.iter().map(|log| 12 + entries(&log.tail)).sum(),
            Message::Promise {
                accepted: Some(_), ..
            }
            | Message::Propose { .. }
            | Message::Chosen { .. } => 300,
            _ => 16,
        }
    }

    fn units(&self) -> usize {
        match self {
            Message::Replicate { records, .. } => records.len().max(1),
            Message::Indexed { items, .. } => items.len().max(1),
            Message::Committed { entries, .. } | Message::Accept { entries, .. } => {
                entries.len().max(1)
            }
            _ => 1,
        }
    }
}

impl Record {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        12 + 9 * self.tags.len() + self.data.len()
    }
}

impl Found {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        9 + self.record.size() + self.aux.as_ref().map_or(0, |aux| aux.len())
    }
}

impl Entry {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        4 + match &self.step {
            crate::Step::Cut { starts, .. } => 5 + 5 * starts.len(),
            crate::Step::Trim(Trim { streams, .. }) => 16 + 16 * streams.len(),
            crate::Step::Release { trim, refused } => {
                16 + 16 * trim.streams.len() + 8 * refused.len()
            }
        }
    }
}
