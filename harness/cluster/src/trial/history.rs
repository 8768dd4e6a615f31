//! What clients asked and were told, and what was there in the end.

use triptych_log::{BookId, Condition, EVERY, Found, Progress, SeqNum, Tag};
use triptych_nodes::NodeId;
use triptych_world::Nanos;

/// One operation of a client.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Which client.
    pub client: u64,
    /// The logbook.
    pub book: BookId,
    /// When it began.
    pub start: Nanos,
    /// When it ended.
    pub end: Nanos,
    /// What the handle had seen when it began.
    pub asked: Progress,
    /// What the handle had seen when it ended.
    pub seen: Progress,
    /// What it was, and what came of it.
    pub what: What,
}

/// What an operation was, and what came of it.
#[derive(Clone, Debug)]
pub enum What {
    /// An append.
    Append {
        /// Which record: every append has another.
        id: u64,
        /// Its streams.
        tags: Vec<Tag>,
        /// Its condition.
        condition: Option<Condition>,
        /// What came of it.
        outcome: Appended,
    },
    /// A read that was answered.
    Read {
        /// The stream.
        tag: Tag,
        /// From or up to where.
        bound: SeqNum,
        /// Whether towards newer records.
        ascending: bool,
        /// How many at most.
        limit: u16,
        /// What came: places and ids.
        found: Vec<(SeqNum, u64)>,
    },
    /// A trim.
    Trim {
        /// Streams and bounds.
        streams: Vec<(Tag, SeqNum)>,
        /// Whether it was acknowledged.
        done: bool,
    },
    /// Anything that was not answered and has no effect.
    Nothing,
}

/// What came of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is there.
    At(SeqNum),
    /// Its condition did not hold: the newest record of the stream.
    Refused(SeqNum),
    /// It was surely not appended.
    Never,
    /// Nobody knows.
    Unknown,
}

/// A record that was there in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its place.
    pub seq: SeqNum,
    /// Which it is.
    pub id: u64,
    /// Its streams.
    pub tags: Vec<Tag>,
    /// Its condition.
    pub condition: Option<Condition>,
}

impl Kept {
    /// What a reader found.
    pub fn new(found: &Found) -> Self {
        Kept {
            seq: found.seq,
            id: id_of(&found.record.data),
            tags: found.record.tags.clone(),
            condition: found.record.condition,
        }
    }
}

/// The id of a record, from what it says.
pub fn id_of(data: &[u8]) -> u64 {
    let id = data.first_chunk().copied();
    id.map_or(u64::MAX, u64::from_be_bytes)
}

/// What a record of this id says: the id and some bytes that follow from it.
pub fn data_of(id: u64, length: usize) -> Vec<u8> {
    let mut data = id.to_be_bytes().to_vec();
    data.extend((0..length).map(|at| (id as usize).wrapping_add(at) as u8));
    data
}

/// Whether somebody has changed what the record says.
pub fn is_whole(data: &[u8]) -> bool {
    let id = id_of(data);
    data.len() < 8 || data == data_of(id, data.len() - 8)
}

/// All that happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The clients' operations, in the order in which they ended.
    pub operations: Vec<Operation>,
    /// All records of a logbook in the end, as an engine gave them.
    pub finals: Vec<(NodeId, BookId, Vec<Kept>)>,
    /// Records whose data were not what was appended.
    pub garbled: Vec<SeqNum>,
}

impl History {
    /// How much was done, by name.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let count = |of: fn(&What) -> bool| {
            let some = self.operations.iter().filter(|op| of(&op.what));
            some.count() as u64
        };
        let appended = |wanted: fn(&Appended) -> bool| {
            let all = self.operations.iter();
            let some = all
                .filter(|op| matches!(&op.what, What::Append { outcome, .. } if wanted(outcome)));
            some.count() as u64
        };
        vec![
            (
                "appends acknowledged",
                appended(|end| matches!(end, Appended::At(_))),
            ),
            (
                "appends refused",
                appended(|end| matches!(end, Appended::Refused(_))),
            ),
            (
                "appends never made",
                appended(|end| *end == Appended::Never),
            ),
            ("appends unknown", appended(|end| *end == Appended::Unknown)),
            ("reads", count(|what| matches!(what, What::Read { .. }))),
            (
                "reads that found something",
                count(|what| matches!(what, What::Read { found, .. } if !found.is_empty())),
            ),
            (
                "trims acknowledged",
                count(|what| matches!(what, What::Trim { done: true, .. })),
            ),
            (
                "reads of whole streams",
                count(|what| matches!(what, What::Read { tag: EVERY, .. })),
            ),
            (
                "without answer",
                count(|what| matches!(what, What::Nothing)),
            ),
        ]
    }
}
