//! The invariants of the specification's §10, for queues and clocks instead of bags and maps.
//!
//! "In the C-cache" is "counted by `applied`", "in the I-cache" is "waits in the queue of its origin",
//! and a client's `deps` are one clock. Where the specification says "for each key", nothing is left
//! out by saying it of the whole clock.

use super::{Broken, Checked, Client, Id, Mesh, holds, value};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_mesh::{Clock, Entry, Key, Seen, Slot, Version};

/// What a server had before a step.
pub struct Before {
    applied: Vec<Clock>,
    received: Vec<Clock>,
    stable: Vec<Clock>,
    entries: Vec<BTreeMap<Key, Clock>>,
}

impl Mesh {
    pub fn before(&self) -> Before {
        let all = |of: fn(&triptych_mesh::Core) -> &Clock| {
            self.cores.iter().map(|core| of(core).clone()).collect()
        };
        let entries = self.cores.iter().map(|core| {
            let entries = self.keys().into_iter().filter_map(|key| {
                let clock = core.entry(&key)?.clock().clone();
                Some((key, clock))
            });
            entries.collect()
        });
        Before {
            applied: all(|core| core.applied()),
            received: all(|core| core.received()),
            stable: all(|core| core.stable()),
            entries: entries.collect(),
        }
    }

    /// All keys that were written.
    pub fn keys(&self) -> BTreeSet<Key> {
        let made = self.made.values();
        let ops = made.flat_map(|made| &made.version.ops);
        ops.map(|(key, _)| key.clone()).collect()
    }

    fn writes<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Arc<Version>> {
        let versions = self.made.values().map(|made| &made.version);
        versions.filter(move |version| version.ops.iter().any(|(written, _)| written == key))
    }

    /// INV-S1: nothing that a server has ever becomes less; an entry may be forgotten, and is then at
    /// least as new when it is whole again (which S2 says of every entry at any time).
    pub fn grew(&self, before: &Before) -> Checked {
        for (at, core) in self.cores.iter().enumerate() {
            let grew = core.applied().covers(&before.applied[at])
                && core.received().covers(&before.received[at])
                && core.stable().covers(&before.stable[at]);
            holds("S1", grew, || format!("the clocks of {at}"))?;
            for (key, clock) in &before.entries[at] {
                let now = core.entry(key).map(Entry::clock);
                let grew = now.is_none_or(|now| now.covers(clock));
                holds("S1", grew, || format!("{key:?} at {at}"))?;
            }
        }
        Ok(())
    }

    /// All invariants of one state.
    pub fn check(&self, clients: &[&Client]) -> Checked {
        self.servers_sound()?;
        self.clocks_sound(clients)?;
        self.clocks_closed(clients)?;
        self.available(clients)
    }

    /// Those that hold though some clients made up what they depend on: their writes count versions
    /// without what those count, and so do clocks that count their writes.
    pub fn check_among_liars(&self, clients: &[&Client]) -> Checked {
        self.servers_sound()?;
        self.clocks_sound(clients)?;
        self.available(clients)
    }

    fn servers_sound(&self) -> Checked {
        for (at, core) in self.cores.iter().enumerate() {
            let applied = core.applied();
            // INV-S4: what came is applied or waits.
            for id @ (slot, number) in &self.came[at] {
                let waits = core.pending_of(*slot);
                let mut waits = waits.map(|version| version.number());
                let findable = *number <= applied.get(*slot) || waits.any(|it| it == *number);
                holds("S4", findable, || format!("{id:?} came to {at}"))?;
            }
            // It holds by construction that `received` counts these and no others.
            for (slot, number) in core.received().iter() {
                let came = (1..=number).all(|number| self.came[at].contains(&(slot, number)));
                holds("S4", came, || {
                    format!("{slot} {number} did not come to {at}")
                })?;
            }
            // INV-S3: what is applied is a causal cut, by what really happened before.
            for (id, made) in &self.made {
                if !made.version.is_counted_by(applied) {
                    continue;
                }
                let outside = |(slot, number): &&Id| *number > applied.get(*slot);
                let missing = made.past.iter().find(outside);
                holds("S3", missing.is_none(), || {
                    format!("{id:?} without {missing:?} at {at}")
                })?;
            }
            self.entries_sound(at)?;
        }
        Ok(())
    }

    /// INV-S2: an entry counts its writes that are applied and nothing else, its winner is one of
    /// them, and its value is what they make.
    fn entries_sound(&self, at: usize) -> Checked {
        let core = &self.cores[at];
        for key in self.keys() {
            let Some(entry) = core.entry(&key) else {
                continue;
            };
            let mut join = Clock::default();
            let mut win = Clock::default();
            let members = || {
                self.writes(&key)
                    .filter(|it| it.is_counted_by(core.applied()))
            };
            for version in members() {
                join.join(&version.clock);
                if version.clock.lex(&win) == Ordering::Greater {
                    win = version.clock.clone();
                }
            }
            let Seen {
                value: shown,
                win: winner,
                clock,
            } = entry.seen();
            holds("S2", clock == join, || {
                format!("{key:?} at {at} counts {clock:?}, not {join:?}")
            })?;
            holds("S2", winner == win, || {
                format!("{key:?} at {at}: the winner is {winner:?}, not {win:?}")
            })?;
            let ops = members().flat_map(|version| {
                let ops = version.ops.iter().filter(|(written, _)| *written == key);
                ops.map(|(_, op)| (&version.clock, version.write, op))
            });
            let made = value(ops);
            holds("S2", shown == made, || {
                format!("{key:?} at {at} is {shown:?}, not {made:?}")
            })?;
        }
        Ok(())
    }

    /// Clocks that must be closed, with what they are.
    fn closed<'a>(&'a self, clients: &'a [&Client]) -> Vec<(String, &'a Clock)> {
        let mut clocks = Vec::new();
        for (at, core) in self.cores.iter().enumerate() {
            clocks.push((format!("the clock of {at}"), core.clock()));
            clocks.push((format!("what {at} has applied"), core.applied()));
            clocks.push((format!("what {at} knows to be stable"), core.stable()));
            for key in self.keys() {
                if let Some(entry) = core.entry(&key) {
                    clocks.push((format!("{key:?} at {at}"), entry.clock()));
                }
            }
        }
        for (id, made) in &self.made {
            clocks.push((format!("version {id:?}"), &made.version.clock));
        }
        for client in clients {
            let what = format!("what client {} depends on", client.id);
            clocks.push((what, &client.context.deps));
        }
        clocks
    }

    /// INV-C2: what counts a version covers it.
    fn clocks_closed(&self, clients: &[&Client]) -> Checked {
        for (what, clock) in self.closed(clients) {
            let counted = clock.iter().filter_map(|id| self.made.get(&id));
            for made in counted {
                holds("C2", clock.covers(&made.version.clock), || {
                    format!("{what}, {clock:?}, counts {:?}", made.version.clock)
                })?;
            }
        }
        Ok(())
    }

    fn clocks_sound(&self, clients: &[&Client]) -> Checked {
        for (what, clock) in self.closed(clients) {
            for (slot, number) in clock.iter() {
                // INV-C1: nothing is counted that is not.
                let is = self.made.contains_key(&(slot, number));
                holds("C1", is, || format!("{what} counts {slot} {number}"))?;
            }
        }
        for (at, core) in self.cores.iter().enumerate() {
            for (slot, number) in core.received().iter() {
                let is = self.made.contains_key(&(slot, number));
                holds("C1", is, || format!("{at} received {slot} {number}"))?;
            }
            let of_own = core.clock().get(Slot(at as u16));
            let own = core.received().get(Slot(at as u16));
            holds("C1", own == of_own, || {
                format!("{at} wrote {own}, counts {of_own}")
            })?;
        }
        for (id @ (slot, number), made) in &self.made {
            let version = &made.version;
            // INV-C3: the versions of an origin are ordered; that none has the number of another one
            // holds because `made` has a place for one only.
            if let Some(next) = self.made.get(&(*slot, number + 1)) {
                let ordered = next.version.clock.covers(&version.clock);
                holds("C3", ordered, || format!("{id:?} and the next"))?;
            }
            // INV-S7: what a writer depended on is below its clock, by what really happened.
            let lost = |(slot, number): &&Id| *number > version.clock.get(*slot);
            let lost = made.past.iter().find(lost);
            holds("S7", lost.is_none(), || {
                format!("{id:?} does not count {lost:?}")
            })?;
        }
        // INV-C5: what was sent on a link and is not under way has come. It holds by construction of
        // the queues; that each version is forwarded is the server's.
        for (link, sent) in self.sent.iter().enumerate() {
            let to = (link + 1) % self.servers();
            let here = sent.len() - self.links[link].len();
            let came = sent[..here]
                .iter()
                .all(|(id, _)| self.came[to].contains(id));
            holds("C5", came, || format!("the link from {link}"))?;
            let sent: BTreeSet<Id> = sent.iter().map(|(id, _)| *id).collect();
            let lost = self.came[link].iter().find(|id| !sent.contains(id));
            // The last server of a ring with one round would not send it on; all others do, as every
            // version passes everybody in the first round.
            let once = self.bug == Some(triptych_mesh::Bug::OneRound);
            holds("C5", lost.is_none() || once, || {
                format!("{lost:?} was not sent on by {link}")
            })?;
        }
        Ok(())
    }

    /// INV-C4: whatever a version counts of a server that it has passed less than a round ago was sent
    /// on this link before it.
    pub fn dragging(&self, link: usize, version: &Version, hop: u32) -> Checked {
        let servers = self.servers() as u32;
        let origin = u32::from(version.origin.0);
        for passed in hop.saturating_sub(servers - 1)..hop {
            let server = Slot(((origin + passed) % servers) as u16);
            let upto = version.clock.get(server);
            let upto = if server == version.origin {
                upto.saturating_sub(1)
            } else {
                upto
            };
            for number in 1..=upto {
                let before = self.sent[link]
                    .iter()
                    .any(|(id, _)| *id == (server, number));
                holds("C4", before, || {
                    format!("hop {hop} of {version:?} overtakes {server} {number}")
                })?;
            }
        }
        Ok(())
    }

    /// That every server has received what a clock counts.
    pub fn is_everywhere(&self, rule: &'static str, clock: &Clock) -> Checked {
        for (at, core) in self.cores.iter().enumerate() {
            for (slot, number) in clock.iter() {
                let came = self.came[at].contains(&(slot, number));
                let came = came && number <= core.received().get(slot);
                holds(rule, came, || {
                    format!("{slot} {number} has not come to {at}")
                })?;
            }
        }
        Ok(())
    }

    fn available(&self, clients: &[&Client]) -> Checked {
        for core in &self.cores {
            // INV-S8 and, as what is applied is closed (C2), INV-S9.
            self.is_everywhere("S8", core.applied())?;
            self.is_everywhere("C6", core.stable())?;
        }
        // INV-C6; INV-S6 is the same for whoever asks next.
        for client in clients {
            self.is_everywhere("C6", &client.context.deps)?;
        }
        Ok(())
    }

    /// What a client must see in a key, and what it was shown: INV-H1 to H7 and H9. `counted` is what
    /// the server shows: all it has applied, or a snapshot.
    pub fn looked(&self, client: &Client, key: &Key, seen: &Seen, counted: &Clock) -> Checked {
        let own = &client.context.own;
        let is_own = |id: &Id| own.iter().any(|own| (own.origin, own.number()) == *id);
        for version in self.writes(key) {
            let id = (version.origin, version.number());
            if !client.past.contains(&id) {
                continue;
            }
            // H1; as the past is what happened before by any session, it says H2 to H5 too.
            let shown = version.is_counted_by(&seen.clock) || is_own(&id);
            holds("H1", shown, || {
                format!(
                    "client {} is not shown {id:?} of {key:?}: {seen:?}",
                    client.id
                )
            })?;
            // H7.
            let wins = seen.win.lex(&version.clock) != Ordering::Less;
            holds("H7", wins, || format!("{id:?} loses to {seen:?}"))?;
        }
        // H9, H2.
        let before = client.seen.get(key);
        let grew = before.is_none_or(|before| seen.clock.covers(before));
        holds("H9", grew, || format!("{seen:?} after {before:?}"))?;
        // H6: what is shown is what the versions make that the server shows, and the client's own. All
        // of them are versions, and what the reader depends on from now on counts them.
        let members = self.writes(key).filter(|version| {
            let id = (version.origin, version.number());
            version.is_counted_by(counted) || is_own(&id)
        });
        let ops = members.flat_map(|version| {
            let ops = version.ops.iter().filter(|(written, _)| written == key);
            ops.map(|(_, op)| (&version.clock, version.write, op))
        });
        let made = value(ops);
        holds("H6", made == seen.value, || {
            format!(
                "client {} is shown {:?}, not {made:?}",
                client.id, seen.value
            )
        })?;
        let covered = self.writes(key).filter(|it| it.is_counted_by(counted));
        for version in covered {
            let covered = seen.clock.covers(&version.clock);
            holds("H6", covered, || format!("{seen:?} shows {version:?}"))?;
        }
        Ok(())
    }

    /// INV-L1: when nothing is under way any more, all servers have the same.
    pub fn converged(&self) -> Checked {
        let first = &self.cores[0];
        for (at, core) in self.cores.iter().enumerate() {
            holds("L1", core.pending() == 0, || {
                format!("{} wait at {at}", core.pending())
            })?;
            holds("L1", core.applied() == first.applied(), || {
                format!("{:?} and {:?} are applied", core.applied(), first.applied())
            })?;
            let all = self.made.values();
            let mut all = all.map(|made| made.version.is_counted_by(core.applied()));
            holds("L1", all.all(|it| it), || {
                format!("not all is applied at {at}")
            })?;
        }
        let shown = |key: &Key| {
            let entries = self.cores.iter().filter_map(|core| core.entry(key));
            entries.map(Entry::seen).collect::<Vec<_>>()
        };
        for key in self.keys() {
            let shown = shown(&key);
            let alike = shown.windows(2).all(|two| two[0] == two[1]);
            holds("L1", alike, || format!("{key:?} is {shown:?}"))?;
        }
        Ok(())
    }
}

/// Whether a rule was broken; for expectations.
pub fn rule<T>(checked: Result<T, Broken>) -> Option<&'static str> {
    checked.err().map(|broken| broken.rule)
}
