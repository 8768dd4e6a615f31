//! What a node's driver counts. Both drivers count the same things under the same names.

use std::collections::BTreeMap;

/// Counts of one kind of message at one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// Messages that the node was given.
    pub messages_in: u64,
    /// Their bytes: on the wire, or by [`crate::Message::size`] in a simulation.
    pub bytes_in: u64,
    /// Messages that the node sent, to whom ever and whether or not they arrived.
    pub messages_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Messages of the node's that its driver dropped: nobody was there, or the way was full or cut.
    pub dropped: u64,
}

/// What a node's driver has counted since the node was added, over all of its lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// By kind of message, those that there were any of.
    pub kinds: BTreeMap<&'static str, KindCounts>,
    /// Turns of the node.
    pub turns: u64,
    /// Packets that came in: what was received at once from one peer.
    pub packets_in: u64,
    /// Packets that went out: what was written at once to one peer.
    pub packets_out: u64,
    /// Time that the node was busy, over all cores, in nanoseconds.
    pub busy: u64,
    /// Timers that rang.
    pub timers: u64,
    /// Batches that were persisted.
    pub batches: u64,
    /// Bytes of keys and values that were persisted.
    pub written: u64,
    /// Syncs of the store.
    pub syncs: u64,
    /// Values that were read.
    pub reads: u64,
    /// Connections that were made, in either direction. Zero in a simulation.
    pub connects: u64,
    /// Connections that ended. Zero in a simulation.
    pub disconnects: u64,
    /// Connections that were refused or ended because of what came over them. Zero in a simulation.
    pub refused: u64,
}

impl Metrics {
    /// The counts of all kinds together.
    pub fn total(&self) -> KindCounts {
        let mut total = KindCounts::default();
        for counts in self.kinds.values() {
            total.messages_in += counts.messages_in;
            total.bytes_in += counts.bytes_in;
            total.messages_out += counts.messages_out;
            total.bytes_out += counts.bytes_out;
            total.dropped += counts.dropped;
        }
        total
    }
}

/// Something for each kind of message: few kinds, looked up for each message. A kind is one literal,
/// so comparing addresses finds it nearly always.
#[derive(Debug)]
pub(crate) struct ByKind<T> {
    known: Vec<(&'static str, T)>,
}

impl<T> Default for ByKind<T> {
    fn default() -> Self {
        ByKind { known: Vec::new() }
    }
}

impl<T> ByKind<T> {
    /// What there is for a kind; made if there is nothing yet.
    pub(crate) fn get(&mut self, kind: &'static str, new: impl FnOnce() -> T) -> &mut T {
        let same = |(known, _): &(&'static str, T)| std::ptr::eq(*known, kind);
        let equal = |(known, _): &(&'static str, T)| *known == kind;
        let at = self.known.iter().position(same);
        let at = at.or_else(|| self.known.iter().position(equal));
        let at = at.unwrap_or_else(|| {
            self.known.push((kind, new()));
            self.known.len() - 1
        });
        &mut self.known[at].1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &T)> {
        self.known.iter().map(|(kind, value)| (*kind, value))
    }
}
