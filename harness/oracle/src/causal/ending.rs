//! What is there once nothing happens any more: everything that was acknowledged, once, and the same
//! in every copy.

use super::walk::Walk;
use super::{Anomaly, Findings, NONE, misses, words};
use triptych_model::causes::Holds;

impl Walk<'_> {
    /// Judges what is there at the end.
    pub(super) fn end(&mut self, findings: &mut Findings) {
        let mut there = vec![false; self.causes.names.len()];
        for (number, key) in (0u32..).zip(&self.causes.keys) {
            let Some(last) = &key.last else { continue };
            let mut tried = |anomaly: Anomaly, count: usize| {
                *self.seen.tried.entry(anomaly).or_default() += count as u64;
            };
            tried(Anomaly::Twice, 1);
            let twice = last
                .iter()
                .find(|write| std::mem::replace(&mut there[**write as usize], true));
            if let Some(write) = twice {
                findings.add(Anomaly::Twice, 1, || {
                    words::at_end(self.causes, Anomaly::Twice, *write, number, "")
                });
            }
            tried(Anomaly::Diverged, key.copies.len());
            for (name, copy) in &key.copies {
                if copy != last {
                    let differs = last.iter().zip(copy).find(|(a, b)| a != b);
                    let shorter = last.get(copy.len()).or_else(|| copy.get(last.len()));
                    let write = differs.map(|(write, _)| write).or(shorter);
                    let write = write.copied().unwrap_or(NONE);
                    findings.add(Anomaly::Diverged, 1, || {
                        words::at_end(self.causes, Anomaly::Diverged, write, number, name)
                    });
                }
            }
            if key.holds == Holds::Last {
                tried(Anomaly::Lost, 1);
                misses::look_at_end(self.causes, &mut self.views, number);
                let mut missed = self.views.missed(number);
                if let Some(write) = missed.find(|write| self.surely_lost(number, *write)) {
                    findings.add(Anomaly::Lost, 1, || {
                        words::at_end(self.causes, Anomaly::Lost, write, number, "")
                    });
                }
            }
        }
        for write in 0..self.causes.names.len() as u32 {
            let (slot, key) = (write as usize, self.writes.key[write as usize]);
            let Some(known) = self.causes.keys.get(key as usize) else {
                continue;
            };
            if self.writes.at[slot] == NONE || known.last.is_none() || known.holds != Holds::All {
                continue;
            }
            *self.seen.tried.entry(Anomaly::Lost).or_default() += 1;
            if !there[slot] {
                findings.add(Anomaly::Lost, 1, || {
                    words::at_end(self.causes, Anomaly::Lost, write, key, "")
                });
            }
        }
    }
}
