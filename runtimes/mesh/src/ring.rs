//! Who is on the ring: one row in the backing store, changed by compare-and-set.
//!
//! Every change makes a new *epoch*. A seat belongs to one life of one node, has a slot in clocks that
//! was never used before, and is taken away for good when that life is dead or taken for dead. The
//! seats stand in the order of the ring; new ones are put at its end.
//!
//! A new server enters the ring first and then gets a copy of what its predecessor has, so that no
//! version passes it by. Until the row says that it is whole it serves nobody, keeps nothing for
//! others, and starts again with a new copy when the ring changes.
//!
//! Of the versions of a dead server its *heir* has all that anybody has: the first whole server that
//! came behind it on the ring, since versions travel in order. When an heir dies, its own heir takes
//! over what it has inherited.

use crate::clock::{Clock, Slot};
use crate::version::Key;
use serde::{Deserialize, Serialize};
use triptych_nodes::NodeId;
use triptych_world::mix_str;

/// Which life of which node: a number that its disk counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its life, from 1.
    pub life: u32,
}

/// How a seat is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// On the ring, without all data yet.
    Joining,
    /// On the ring, with all data.
    Whole,
    /// Gone. The slot that has what is left of its versions, or none if nobody has.
    Dead(Option<Slot>),
}

/// A place on the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Whose.
    pub member: Member,
    /// Its place in clocks.
    pub slot: Slot,
    /// How it is.
    pub standing: Standing,
}

impl Seat {
    /// Whether it is on the ring.
    pub fn is_alive(&self) -> bool {
        !matches!(self.standing, Standing::Dead(_))
    }

    /// Whether it is on the ring and has all data.
    pub fn is_whole(&self) -> bool {
        self.standing == Standing::Whole
    }
}

/// The row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// Counts changes, from 1; 0 is no ring yet.
    pub epoch: u64,
    /// All seats that ever were, those on the ring in its order.
    pub seats: Vec<Seat>,
    /// What the one who made the change knew to be in the backing store.
    pub stored: Clock,
    /// If all data but the backing store's were lost: the clock of what it had then. Slots of those
    /// who had them count no more than that.
    pub ruins: Clock,
    /// How many slots had been used then: those of them that are below this number count no more than
    /// `ruins`.
    pub ruined: u16,
}

impl Ring {
    /// A ring that never changes: all of some nodes, in their order.
    pub fn fixed(nodes: &[NodeId]) -> Self {
        let seat = |(at, &node): (usize, &NodeId)| Seat {
            member: Member { node, life: 1 },
            slot: Slot(at as u16),
            standing: Standing::Whole,
        };
        Ring {
            epoch: 1,
            seats: nodes.iter().enumerate().map(seat).collect(),
            ..Ring::default()
        }
    }

    /// How many slots were ever used.
    pub fn slots(&self) -> usize {
        self.seats.len()
    }

    /// The seats on the ring, in its order.
    pub fn alive(&self) -> impl DoubleEndedIterator<Item = &Seat> {
        self.seats.iter().filter(|seat| seat.is_alive())
    }

    /// The seats on the ring that have all data.
    pub fn whole(&self) -> impl DoubleEndedIterator<Item = &Seat> {
        self.seats.iter().filter(|seat| seat.is_whole())
    }

    /// How many servers are on it.
    pub fn len(&self) -> usize {
        self.alive().count()
    }

    /// Whether nobody is on it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The seat of a slot.
    pub fn seat(&self, slot: Slot) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.slot == slot)
    }

    /// The seat of a member, if it is on the ring.
    pub fn seat_of(&self, member: Member) -> Option<&Seat> {
        self.alive().find(|seat| seat.member == member)
    }

    /// The server behind one: where its messages go. Itself if it is alone.
    pub fn successor(&self, slot: Slot) -> Option<&Seat> {
        let at = self.alive().position(|seat| seat.slot == slot)?;
        self.alive().cycle_from(at + 1)
    }

    /// The server before one.
    pub fn predecessor(&self, slot: Slot) -> Option<&Seat> {
        let at = self.alive().position(|seat| seat.slot == slot)?;
        let many = self.len();
        self.alive().cycle_from(at + many - 1)
    }

    /// The dead of whom a server has what is left.
    pub fn inherits(&self, slot: Slot) -> impl Iterator<Item = Slot> {
        let of = move |seat: &&Seat| seat.standing == Standing::Dead(Some(slot));
        self.seats.iter().filter(of).map(|seat| seat.slot)
    }

    /// Who writes a key to the backing store: one of the whole servers, by the key's hash.
    pub fn keeper(&self, key: &Key) -> Option<Slot> {
        let many = self.whole().count() as u64;
        let hash = mix_str(mix_str(0, &key.table), &key.key);
        let nth = hash.checked_rem(many)?;
        self.whole().nth(nth as usize).map(|seat| seat.slot)
    }

    /// The ring without some seats. Their versions go to their heirs.
    pub fn remove(&mut self, dead: &[Slot]) {
        for &slot in dead {
            let Some(at) = self.seats.iter().position(|seat| seat.slot == slot) else {
                continue;
            };
            if !self.seats[at].is_alive() {
                continue;
            }
            let was_whole = self.seats[at].is_whole();
            // The first whole one behind it that is not about to go too.
            let behind = self.seats[at + 1..].iter().chain(&self.seats[..at]);
            let stays = |seat: &&Seat| seat.is_whole() && !dead.contains(&seat.slot);
            let heir = behind.clone().find(stays).map(|seat| seat.slot);
            self.seats[at].standing = Standing::Dead(if was_whole { heir } else { None });
            for seat in &mut self.seats {
                if seat.standing == Standing::Dead(Some(slot)) {
                    seat.standing = Standing::Dead(heir);
                }
            }
        }
    }

    /// The ring with a new member at its end, which has to get its data. Its slot.
    pub fn join(&mut self, member: Member) -> Slot {
        let slot = Slot(self.seats.len() as u16);
        self.seats.push(Seat {
            member,
            slot,
            standing: Standing::Joining,
        });
        slot
    }

    /// Makes a seat whole.
    pub fn complete(&mut self, slot: Slot) {
        let seat = self.seats.iter_mut().find(|seat| seat.slot == slot);
        if let Some(seat) = seat.filter(|seat| seat.is_alive()) {
            seat.standing = Standing::Whole;
        }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        16 + 8 * self.seats.len() + 2 * self.stored.width() + 2 * self.ruins.width()
    }
}

/// The n-th of some seats, counted round.
trait Round<'a> {
    fn cycle_from(self, at: usize) -> Option<&'a Seat>;
}

impl<'a, I: Iterator<Item = &'a Seat>> Round<'a> for I {
    fn cycle_from(self, at: usize) -> Option<&'a Seat> {
        let seats: Vec<&Seat> = self.collect();
        let at = at.checked_rem(seats.len())?;
        seats.get(at).copied()
    }
}
