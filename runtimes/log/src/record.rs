//! Records, and the entries of the metalog that order them.

use crate::{BookId, SeqNum, Tag};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What was appended. Immutable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The logbook that it belongs to.
    pub book: BookId,
    /// The streams that it is in besides [`crate::EVERY`]: sorted, each once.
    pub tags: Vec<Tag>,
    /// What it says.
    pub data: Arc<[u8]>,
    /// What must hold for it to be in any stream; see [`Condition`].
    pub condition: Option<Condition>,
}

/// A conditional append: the record gets into its streams only if the newest record of the stream
/// `tag` is at or before `tail` at the moment at which it is ordered. (Use [`SeqNum::ZERO`] for "the
/// stream is empty".) Every index decides this alike, when it comes to the record; a record that is
/// refused is in no stream and nobody ever reads it.
///
/// A condition whose `tail` lies before what was trimmed from the stream is refused: nobody could
/// tell what was there.
///
/// An append that must take effect once however often it is sent is one on the stream of its own id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Condition {
    /// The stream.
    pub tag: Tag,
    /// The newest record that may be in it.
    pub tail: SeqNum,
}

/// One step of the metalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Which entry of its term it is, from 0.
    pub number: u32,
    /// What it says.
    pub step: Step,
}

/// What an entry of the metalog says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// A cut: of each shard, in the order of the view's engines, `deltas[i]` records from local id
    /// `starts[i]` on are ordered next; the first of all gets the position `first`. Self-contained:
    /// whoever has applied its shard up to `starts[i]` can number what follows without knowing the
    /// entries before (specification §4.5).
    Cut {
        /// The position of the first record.
        first: u32,
        /// The local ids that were ordered before, by engine.
        starts: Vec<u32>,
        /// How many are ordered now, by engine.
        deltas: Vec<u32>,
    },
    /// From here on, what lies before a bound in these streams is not readable.
    Trim(Trim),
    /// What a trim made unreadable need not be stored any more. An engine asks for this when its own
    /// index has applied the trim, and tells which conditional appends the streams refused, because
    /// nobody can find that out any more once the records that decided it are gone.
    Release {
        /// The trim, once more.
        trim: Trim,
        /// Records ordered before the trim that were refused because of these streams, or because
        /// of [`crate::EVERY`], except those that an earlier release lists. Also records before the
        /// bounds: other streams that they name may be read on.
        refused: Vec<SeqNum>,
    },
}

/// Streams of a logbook that are cut off.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Trim {
    /// The logbook.
    pub book: BookId,
    /// Streams, each with its bound: records *before* it go. [`crate::EVERY`] stands for the whole
    /// logbook, all streams of it. A record is stored as long as one of its tags still holds it; one
    /// without tags until the logbook is trimmed.
    pub streams: Vec<(Tag, SeqNum)>,
    /// Who asked, to be told: the engine and its number for it.
    pub by: (triptych_nodes::NodeId, u64),
}
