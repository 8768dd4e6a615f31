//! From places to records: what the cache does not have is asked of the holders, each in turn.

use super::cache::Cache;
use super::turn::Turn;
use crate::{Found, Message, Missing, Progress, SeqNum};
use triptych_nodes::{Nanos, NodeId};

/// After so many rounds in which all holders have answered that they do not have a record, with the
/// time between that things are asked for again, it is lost. A holder that is behind does not know
/// the record's place yet.
const ROUNDS: u8 = 8;

/// The `op` of a question that no read waits for: for a memo.
pub(super) const PROBE: u64 = 0;

/// The records of a read, as they come.
#[derive(Debug)]
pub(super) struct Gather {
    slots: Vec<Slot>,
    /// How many have not come.
    open: usize,
    /// Where the index was when it found these places.
    pub(super) progress: Progress,
}

#[derive(Debug)]
struct Slot {
    seq: SeqNum,
    engine: NodeId,
    state: State,
}

#[derive(Debug)]
enum State {
    Here(Found),
    Freed,
    Asked {
        /// When a holder was asked last.
        at: Nanos,
        /// How often, beginning with which holder.
        attempt: usize,
        /// Who has answered in this round that it does not have the record.
        without: Vec<NodeId>,
        rounds: u8,
    },
}

/// A place that an index found: the record's place, in whose shard it is, and perhaps the record.
pub(super) type Spot = (SeqNum, NodeId, Option<Found>);

/// Looks places up in the cache, and asks for memos where it is time.
pub(super) fn look_up(
    turn: &mut Turn<'_>,
    cache: &mut Cache,
    places: Vec<(SeqNum, NodeId)>,
) -> Vec<Spot> {
    let look = |(seq, engine)| {
        let hit = cache.get(turn.now, seq);
        if hit.as_ref().is_some_and(|hit| hit.probe)
            && let Some(holder) = holder(turn, seq, engine, seq.position() as usize)
        {
            turn.send(holder, Message::ReadAt { op: PROBE, seq });
        }
        (seq, engine, hit.map(|hit| hit.found))
    };
    places.into_iter().map(look).collect()
}

fn holder(turn: &Turn<'_>, seq: SeqNum, engine: NodeId, attempt: usize) -> Option<NodeId> {
    let view = turn.members.current()?;
    super::turn::nth(view.holders(seq.term().view, engine), attempt)
}

impl Gather {
    /// Begins: asks the holders for what is not there.
    pub(super) fn new(turn: &mut Turn<'_>, op: u64, spots: Vec<Spot>, progress: Progress) -> Self {
        let slot = |(seq, engine, found): Spot| {
            let state = match found {
                Some(found) => State::Here(found),
                None => {
                    // The load is spread over the holders.
                    let attempt = seq.position() as usize;
                    if let Some(holder) = holder(turn, seq, engine, attempt) {
                        turn.send(holder, Message::ReadAt { op, seq });
                    }
                    State::Asked {
                        at: turn.now,
                        attempt: attempt.wrapping_add(1),
                        without: Vec::new(),
                        rounds: 0,
                    }
                }
            };
            Slot { seq, engine, state }
        };
        let slots: Vec<Slot> = spots.into_iter().map(slot).collect();
        let asked = |slot: &&Slot| matches!(slot.state, State::Asked { .. });
        let open = slots.iter().filter(asked).count();
        Gather {
            slots,
            open,
            progress,
        }
    }

    /// Whether nothing is missing.
    pub(super) fn is_done(&self) -> bool {
        self.open == 0
    }

    /// How many places were found, and the last of them.
    pub(super) fn places(&self) -> (usize, Option<SeqNum>) {
        (self.slots.len(), self.slots.last().map(|slot| slot.seq))
    }

    /// The records, without those that were freed meanwhile.
    pub(super) fn into_records(self) -> impl Iterator<Item = Found> {
        self.slots.into_iter().filter_map(|slot| match slot.state {
            State::Here(found) => Some(found),
            State::Freed | State::Asked { .. } => None,
        })
    }

    /// A holder has answered.
    ///
    /// # Errors
    /// The record is lost: all holders have answered, again and again, and none has it.
    pub(super) fn done(
        &mut self,
        turn: &mut Turn<'_>,
        cache: &mut Cache,
        op: u64,
        from: NodeId,
        seq: SeqNum,
        found: Result<Found, Missing>,
    ) -> Result<(), SeqNum> {
        let mut slots = self.slots.iter_mut();
        let Some(slot) = slots.find(|slot| slot.seq == seq) else {
            return Ok(());
        };
        let State::Asked {
            at,
            attempt,
            without,
            rounds,
        } = &mut slot.state
        else {
            return Ok(());
        };
        match found {
            Ok(found) if found.seq == seq => {
                cache.put(turn.now, slot.engine, found.clone());
                slot.state = State::Here(found);
                self.open -= 1;
            }
            Ok(_) => {}
            Err(Missing::Freed) => {
                slot.state = State::Freed;
                self.open -= 1;
            }
            Err(Missing::NotHere | Missing::Damaged) => {
                if !without.contains(&from) {
                    without.push(from);
                }
                let Some(view) = turn.members.current() else {
                    return Ok(());
                };
                let holders = view.holders(seq.term().view, slot.engine);
                let others = (0..holders.len()).map(|k| attempt.wrapping_add(k));
                let mut others = others.filter(|k| !without.contains(&holders[k % holders.len()]));
                if let Some(next) = others.next() {
                    let holder = holders[next % holders.len()];
                    turn.send(holder, Message::ReadAt { op, seq });
                    (*at, *attempt) = (turn.now, next.wrapping_add(1));
                } else {
                    *rounds += 1;
                    without.clear();
                    *at = turn.now;
                    if *rounds >= ROUNDS {
                        return Err(seq);
                    }
                }
            }
        }
        Ok(())
    }

    /// Time has passed: asks the next holder where none has answered.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>, op: u64) {
        let again = turn.again_after().saturating_mul(2);
        for slot in &mut self.slots {
            if let State::Asked { at, attempt, .. } = &mut slot.state
                && turn.is_over(*at, again)
            {
                if let Some(holder) = holder(turn, slot.seq, slot.engine, *attempt) {
                    let seq = slot.seq;
                    turn.send(holder, Message::ReadAt { op, seq });
                }
                (*at, *attempt) = (turn.now, attempt.wrapping_add(1));
            }
        }
    }
}
