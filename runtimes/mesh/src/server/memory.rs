//! How far back a server knows requests. [`crate::Core`] counts those that it has taken and forgotten;
//! here is when that was.
//!
//! A request that was asked first at a time since when nothing was forgotten is known if it has come
//! here. One that is older, and is not known, may have been done: it is refused, so that it does not
//! count twice. Whoever asks for the first time is believed. A request that was under way for longer
//! than requests are known, while its client asked again and was answered, is not recognised.

use crate::core::Core;
use std::collections::VecDeque;
use triptych_nodes::Nanos;
use triptych_world::MS;

/// Times are noted this far apart.
const APART: Nanos = 5 * MS;

/// When requests were taken.
#[derive(Default)]
pub(super) struct Memory {
    /// Before anything was forgotten, everything since then is known.
    begun: Nanos,
    /// Times, with how many requests had been taken by then. No more than there are requests known.
    marks: VecDeque<(Nanos, u64)>,
    /// The time of the last turn.
    now: Nanos,
}

impl Memory {
    /// The server has other data, with all requests of the last `span`.
    pub(super) fn begin(&mut self, now: Nanos, span: Nanos) {
        self.begun = now.saturating_sub(span);
        self.marks.clear();
    }

    /// A turn ends.
    pub(super) fn note(&mut self, now: Nanos, core: &Core) {
        self.now = now;
        let last = self.marks.back();
        let news =
            |&(at, taken): &(Nanos, u64)| now >= at.saturating_add(APART) && taken < core.taken();
        if last.is_none_or(news) {
            self.marks.push_back((now, core.taken()));
        }
        let useless = |&mut (_, taken): &mut (Nanos, u64)| taken < core.forgotten();
        while self.marks.pop_front_if(useless).is_some() {}
    }

    /// Every request that was asked first at this time or later, and has come here, is known.
    pub(super) fn since(&self, core: &Core) -> Nanos {
        if core.forgotten() == 0 {
            return self.begun;
        }
        let mut marks = self.marks.iter();
        let known = marks.find(|&&(_, taken)| taken >= core.forgotten());
        known.map_or(Nanos::MAX, |&(at, _)| at.max(self.begun))
    }

    /// How long requests have been known.
    pub(super) fn span(&self, core: &Core) -> Nanos {
        self.now.saturating_sub(self.since(core))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Slot};
    use crate::version::{Key, Op, WriteId};
    use triptych_api::Value;

    /// A server alone, which accepts a request each time.
    fn accept(core: &mut Core, number: u64) {
        let write = WriteId { client: 1, number };
        let key = Key::new("t", &(number % 2_000).to_string());
        let ops = vec![(key, Op::Put(Value::Int(1)))];
        let nothing = Clock::default();
        let version = core.write(1, &nothing, &nothing, write, ops);
        core.arrive(&version.expect("it is sound"), 1, 1);
    }

    #[test]
    fn whatever_was_asked_since_then_is_known() {
        let mut core = Core::new(Slot(0), true, None);
        let mut memory = Memory::default();
        memory.begin(0, 0);
        let mut times = Vec::new();
        let mut now = 0;
        for number in 0..40_000 {
            // Several in some turns, pauses of all lengths between others.
            now += [0, 0, 700, 20_000, 900_000][number as usize % 5];
            accept(&mut core, number);
            times.push(now);
            if number % 5 == 2 {
                memory.note(now, &core);
            }
            if number % 1_000 == 999 {
                let since = memory.since(&core);
                let first = times.partition_point(|&at| at < since) as u64;
                let known = |number| core.known(WriteId { client: 1, number }).is_some();
                assert!((first..=number).all(known), "after {number}");
                // And that is not much less than what is known.
                let oldest = (0..=number).find(|&number| known(number));
                let oldest = times[oldest.unwrap_or(number) as usize];
                assert!(
                    since <= oldest + 2 * APART,
                    "after {number}: {since}, {oldest}"
                );
            }
        }
        assert!(core.forgotten() > 10_000 && memory.since(&core) > 0);
        assert!(memory.marks.len() as u64 <= core.taken() - core.forgotten() + 2);
    }

    #[test]
    fn a_copy_is_as_old_as_what_was_copied() {
        let core = Core::new(Slot(0), true, None);
        let mut memory = Memory::default();
        memory.begin(500, 300);
        assert_eq!(memory.since(&core), 200);
        memory.note(900, &core);
        assert_eq!(memory.span(&core), 700);
    }
}
