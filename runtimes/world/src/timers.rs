//! The queue of timers: a radix heap over a slab.
//!
//! Time only goes forward, which a radix heap makes use of: a timer waits in the bucket of the
//! highest bit in which its time differs from the clock's. When the clock reaches a bucket, its
//! timers are dealt to the lower ones, front to back; the last few are sorted instead. That moves a
//! timer a few times through memory in sequence, where a binary heap would compare its way through
//! cache misses.
//!
//! Timers of one nanosecond are always in the same place and never overtake each other there, so
//! they come out in the order in which they were set; no sequence number is needed.

use crate::Nanos;
use std::collections::VecDeque;
use std::task::Waker;

/// What happens when a timer is due.
pub(crate) enum Due {
    /// A task goes on.
    Wake(Waker),
    /// A message arrives.
    Call(Box<dyn FnOnce()>),
}

/// Names a timer; it stays harmless after the timer is gone.
#[derive(Clone, Copy)]
pub(crate) struct TimerId {
    slot: u32,
    generation: u64,
}

struct Slot {
    /// How many timers have left this slot.
    generation: u64,
    /// Nothing if the slot is free, or if its timer was cancelled and is still in the heap.
    due: Option<Due>,
}

#[derive(Clone, Copy)]
struct Timer {
    at: Nanos,
    slot: u32,
}

/// See the module documentation.
pub(crate) struct Timers {
    /// When the last timer that came out was due; no later one is set before it.
    now: Nanos,
    /// The timers that are due next, in order: all of those until `limit`.
    front: VecDeque<Timer>,
    limit: Nanos,
    /// A time that differs from `now` and from `limit` in no bit that matters to a bucket.
    origin: Nanos,
    /// Bucket `b` holds the timers after `limit` whose time differs from `origin` in bit `b` and in
    /// no higher one.
    buckets: [Vec<Timer>; 64],
    /// Bit `b` says that bucket `b` holds something.
    occupied: u64,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Timers that were cancelled and are still in the heap.
    cancelled: usize,
}

/// Cancelled timers are swept out when they are more than this and more than the others.
const SWEEP: usize = 1_024;
/// A bucket of at most so many timers is sorted; dealing them would take longer.
const FEW: usize = 24;
/// At most so many timers are kept sorted while others are set among them.
const MANY: usize = 4 * FEW;

impl Default for Timers {
    fn default() -> Self {
        Timers {
            now: 0,
            front: VecDeque::new(),
            limit: 0,
            origin: 0,
            buckets: [const { Vec::new() }; 64],
            occupied: 0,
            slots: Vec::new(),
            free: Vec::new(),
            cancelled: 0,
        }
    }
}

impl Timers {
    /// Sets a timer; `at` must not lie before the clock.
    pub(crate) fn set(&mut self, at: Nanos, due: Due) -> TimerId {
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize].due = Some(due);
            slot
        } else {
            let slot = u32::try_from(self.slots.len()).expect("memory ends before 2^32 timers");
            self.slots.push(Slot {
                generation: 0,
                due: Some(due),
            });
            slot
        };
        self.place(Timer { at, slot });
        TimerId {
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    fn place(&mut self, timer: Timer) {
        if timer.at > self.limit {
            let bucket = (timer.at ^ self.origin).ilog2();
            self.occupied |= 1 << bucket;
            self.buckets[bucket as usize].push(timer);
        } else if self.front.back().is_none_or(|last| last.at <= timer.at) {
            self.front.push_back(timer);
        } else if self.front.len() < MANY {
            let at = self.front.partition_point(|other| other.at <= timer.at);
            self.front.insert(at, timer);
        } else {
            self.spill();
            self.place(timer);
        }
    }

    /// Deals the front to the buckets, which are empty as far as it reached, except what is due now.
    fn spill(&mut self) {
        (self.origin, self.limit) = (self.now, self.now);
        for timer in std::mem::take(&mut self.front) {
            self.place(timer);
        }
    }

    /// Takes out a timer. What it would have done is for the caller to drop, who may then hold no
    /// borrow of this queue.
    pub(crate) fn cancel(&mut self, id: TimerId) -> Option<Due> {
        let slot = &mut self.slots[id.slot as usize];
        if slot.generation != id.generation {
            return None;
        }
        let due = slot.due.take();
        self.cancelled += usize::from(due.is_some());
        if self.cancelled > SWEEP && 2 * self.cancelled > self.slots.len() - self.free.len() {
            self.sweep();
        }
        due
    }

    /// Who is woken when a timer is due.
    pub(crate) fn waker_mut(&mut self, id: TimerId) -> Option<&mut Waker> {
        let slot = &mut self.slots[id.slot as usize];
        match &mut slot.due {
            Some(Due::Wake(waker)) if slot.generation == id.generation => Some(waker),
            _ => None,
        }
    }

    /// Takes out the next timer that is due when the last one was.
    pub(crate) fn pop_now(&mut self) -> Option<Due> {
        while self.front.front().is_some_and(|timer| timer.at == self.now) {
            if let Some((_, due)) = self.pop_front() {
                return Some(due);
            }
        }
        None
    }

    /// Takes out the earliest timer; of those at the same time, the one that was set first.
    pub(crate) fn pop(&mut self) -> Option<(Nanos, Due)> {
        loop {
            while !self.front.is_empty() {
                if let Some((at, due)) = self.pop_front() {
                    self.now = at;
                    return Some((at, due));
                }
            }
            if self.occupied == 0 {
                // Only cancelled timers were left, and the clock will not go to theirs.
                (self.origin, self.limit) = (self.now, self.now);
                return None;
            }
            self.advance();
        }
    }

    /// Takes out the first timer of the front, unless that was cancelled.
    fn pop_front(&mut self) -> Option<(Nanos, Due)> {
        let timer = self.front.pop_front()?;
        let due = self.release(timer.slot);
        self.cancelled -= usize::from(due.is_none());
        Some((timer.at, due?))
    }

    /// Moves the front, which is empty, on to the lowest bucket that holds something.
    fn advance(&mut self) {
        let lowest = self.occupied.trailing_zeros() as usize;
        self.occupied &= self.occupied - 1;
        let mut bucket = std::mem::take(&mut self.buckets[lowest]);
        if bucket.len() <= FEW {
            // Looking at all of their slots at once lets the cache misses overlap, which are most of
            // the cost with very many timers.
            let look = |sum, timer: &Timer| sum ^ self.slots[timer.slot as usize].generation;
            std::hint::black_box(bucket.iter().fold(0, look));
            // A stable sort: those of one nanosecond stay in order.
            bucket.sort_by_key(|timer| timer.at);
            self.origin = bucket[0].at;
            self.limit = self.origin | ((1 << lowest) - 1);
            self.front.extend(bucket.drain(..));
        } else {
            let earliest = bucket.iter().map(|timer| timer.at).min();
            self.origin = earliest.expect("the bucket holds something");
            self.limit = self.origin;
            for timer in bucket.drain(..) {
                self.place(timer);
            }
        }
        // The empty bucket keeps its memory for the next.
        self.buckets[lowest] = bucket;
    }

    fn release(&mut self, index: u32) -> Option<Due> {
        let slot = &mut self.slots[index as usize];
        slot.generation += 1;
        self.free.push(index);
        slot.due.take()
    }

    /// Forgets the cancelled timers, so that long time limits of short operations do not pile up.
    fn sweep(&mut self) {
        let (slots, free) = (&mut self.slots, &mut self.free);
        let mut keep = |index: u32| {
            let slot = &mut slots[index as usize];
            if slot.due.is_none() {
                slot.generation += 1;
                free.push(index);
            }
            slot.due.is_some()
        };
        self.front.retain(|timer| keep(timer.slot));
        for (bit, bucket) in self.buckets.iter_mut().enumerate() {
            bucket.retain(|timer| keep(timer.slot));
            if bucket.is_empty() {
                self.occupied &= !(1 << bit);
            }
        }
        self.cancelled = 0;
    }

    /// Takes out everything at once, for the caller to drop.
    pub(crate) fn clear(&mut self) -> Vec<Due> {
        self.front.clear();
        self.buckets.iter_mut().for_each(Vec::clear);
        (self.occupied, self.cancelled) = (0, 0);
        self.free.clear();
        self.free.extend((0..self.slots.len() as u32).rev());
        let left = self.slots.iter_mut().filter_map(|slot| {
            slot.generation += 1;
            slot.due.take()
        });
        left.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    fn number(n: u64, fired: &Rc<Cell<u64>>) -> Due {
        let fired = Rc::clone(fired);
        Due::Call(Box::new(move || fired.set(n)))
    }

    fn fire(timers: &mut Timers, fired: &Cell<u64>) -> Option<(Nanos, u64)> {
        let (at, due) = timers.pop()?;
        match due {
            Due::Call(call) => call(),
            Due::Wake(_) => unreachable!("no wakers were set"),
        }
        Some((at, fired.get()))
    }

    #[test]
    fn timers_come_out_by_time_and_then_by_sequence_as_in_an_ordered_map() {
        let mut random = Random::new(5);
        let (mut timers, mut model) = (Timers::default(), BTreeMap::new());
        let mut ids = BTreeMap::new();
        let fired = Rc::new(Cell::new(0));
        let mut now = 0;
        for n in 0..200_000_u64 {
            match random.below(10) {
                0..=4 => {
                    // Few distinct times among the near ones, so that many are equal.
                    let bits = [2, 4, 10, 30, 60][random.below(5) as usize];
                    let at = now + random.below(1 << bits);
                    ids.insert(n, (at, timers.set(at, number(n, &fired))));
                    model.insert((at, n), ());
                }
                5..=6 => {
                    let from = random.below(n + 1);
                    if let Some((&n, &(at, id))) = ids.range(from..).next() {
                        let was_set = model.remove(&(at, n)).is_some();
                        assert_eq!(timers.cancel(id).is_some(), was_set);
                        ids.remove(&n);
                    }
                }
                _ => {
                    let expected = model.pop_first().map(|(key, ())| key);
                    assert_eq!(fire(&mut timers, &fired), expected);
                    // Far timers would leave no room for later ones.
                    now = expected.map_or(now, |(at, _)| at).min(1 << 62);
                    if now >= 1 << 61 {
                        model.clear();
                        ids.clear();
                        (timers, now) = (Timers::default(), 0);
                    }
                }
            }
        }
        while let Some((key, ())) = model.pop_first() {
            assert_eq!(fire(&mut timers, &fired), Some(key));
        }
        assert!(timers.pop().is_none());
    }

    #[test]
    fn many_timers_set_among_those_due_next_stay_in_order() {
        let mut timers = Timers::default();
        let fired = Rc::new(Cell::new(0));
        let far = 1 << 20;
        // The first one opens a block of half a million nanoseconds, into which all others go.
        timers.set(far, number(0, &fired));
        assert_eq!(fire(&mut timers, &fired), Some((far, 0)));
        let mut expected = Vec::new();
        for n in 1..=2_000 {
            let at = far + (5_000 - n) / 7;
            timers.set(at, number(n, &fired));
            expected.push((at, n));
        }
        expected.sort_unstable();
        for timer in expected {
            assert_eq!(fire(&mut timers, &fired), Some(timer));
        }
    }

    #[test]
    fn cancelled_timers_do_not_pile_up() {
        let mut timers = Timers::default();
        let fired = Rc::new(Cell::new(0));
        for n in 0..100_000 {
            let id = timers.set(1_000_000_000 + n, number(n, &fired));
            assert!(timers.cancel(id).is_some() && timers.cancel(id).is_none());
        }
        assert!(timers.slots.len() < 3 * SWEEP, "{}", timers.slots.len());
        assert!(timers.pop().is_none());
        // The clock has not moved to the cancelled ones.
        timers.set(3, number(7, &fired));
        assert_eq!(fire(&mut timers, &fired), Some((3, 7)));
    }
}
