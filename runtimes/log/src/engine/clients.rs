//! Which requests of each client have come, so that one that the network delivers twice is done once.

use rustc_hash::FxHashMap;
use triptych_nodes::Peer;

/// So many of a client's newest numbers are remembered.
const WINDOW: u64 = 1_024;
const WORDS: usize = (WINDOW / 64) as usize;

/// The newest numbers that each client has used.
#[derive(Debug, Default)]
pub(super) struct Clients {
    seen: FxHashMap<Peer, Box<Seen>>,
}

/// A ring of bits, one for each of the newest numbers.
#[derive(Debug)]
struct Seen {
    highest: u64,
    bits: [u64; WORDS],
}

impl Clients {
    /// Notes a client's number. Says whether it is new, as far as is remembered.
    pub(super) fn is_new(&mut self, peer: Peer, op: u64) -> bool {
        let seen = self.seen.entry(peer).or_insert_with(|| {
            Box::new(Seen {
                highest: op,
                bits: [0; WORDS],
            })
        });
        if op > seen.highest {
            let steps = (op - seen.highest).min(WINDOW);
            for skipped in 1..=steps {
                seen.set(op - (steps - skipped), false);
            }
            seen.highest = op;
        } else if seen.highest - op >= WINDOW {
            return true;
        }
        let new = !seen.is_set(op);
        seen.set(op, true);
        new
    }

    pub(super) fn gone(&mut self, peer: Peer) {
        self.seen.remove(&peer);
    }
}

impl Seen {
    fn place(op: u64) -> (usize, u64) {
        let bit = op % WINDOW;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    fn is_set(&self, op: u64) -> bool {
        let (word, bit) = Self::place(op);
        self.bits[word] & bit != 0
    }

    fn set(&mut self, op: u64, to: bool) {
        let (word, bit) = Self::place(op);
        if to {
            self.bits[word] |= bit;
        } else {
            self.bits[word] &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_each_client_is_new_once() {
        let mut clients = Clients::default();
        let (one, other) = (Peer::Client(1), Peer::Client(2));
        for op in [7, 8, 3, 900, 1_900] {
            assert!(clients.is_new(one, op) && !clients.is_new(one, op), "{op}");
            assert!(clients.is_new(other, op), "{op}");
        }
        assert!(!clients.is_new(one, 900), "it is among the newest");
        assert!(clients.is_new(one, 901), "a bit that was used before");
        assert!(clients.is_new(one, u64::MAX) && clients.is_new(one, u64::MAX - 1_000));
        clients.gone(one);
        assert!(clients.is_new(one, 7));
    }
}
