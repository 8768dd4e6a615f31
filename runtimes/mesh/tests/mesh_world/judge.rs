//! Judges what clients saw. Written from the promises, without a look at how servers keep them.
//!
//! Every write appends its *tag*, a number of its own, to a list in each document that it writes, and
//! adds one to a counter there. So whoever reads a document sees exactly which writes are in it, in
//! what order, and whether one counts twice. Some keys are registers instead: the tag replaces all.
//!
//! What a client *knows* is what it has written or read, and what the writers of those knew. Rules:
//!
//! * whoever knows a write of a key sees it there (INV-H1 to H5: own writes, monotonic reads and
//!   writes, writes follow reads), and in a register nothing that a known write has replaced (H7);
//! * a look at several keys is one cut: what it shows in one, it shows in all;
//! * what is shown was written (H6), once, and in an order that extends what writers knew;
//! * clocks cover what they must (H8, H9);
//! * in the end all servers and the store show the same, and every acknowledged write that the level
//!   promises to keep;
//! * nobody is told that something was lost unless the level allows it, and it is a write of its own.

use std::collections::{BTreeMap, BTreeSet};
use triptych_mesh::Level;

/// A write.
pub(crate) type Tag = u64;

/// What a look showed of a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shown {
    /// A list of tags, and the counter.
    List(Vec<Tag>, i64),
    /// A register.
    Register(Option<Tag>),
}

/// Something that a client did.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// It wrote.
    Wrote {
        tag: Tag,
        /// What it knew before.
        known: BTreeSet<Tag>,
        /// The keys that it appended to.
        lists: Vec<usize>,
        /// The registers that it replaced.
        registers: Vec<usize>,
        /// Origin and number of the version, if it was acknowledged.
        version: Option<(u16, u64)>,
    },
    /// It looked.
    Looked {
        known: BTreeSet<Tag>,
        shown: Vec<(usize, Shown)>,
    },
    /// A version got a clock, and its writer depended on another one, or had made it.
    Covered {
        clock: BTreeMap<u16, u64>,
        must: BTreeMap<u16, u64>,
    },
    /// It was told that versions of a slot were lost.
    Lost {
        slot: u16,
        /// Origins and numbers of its own versions that it did not know to be everywhere.
        own: Vec<(u16, u64)>,
    },
}

/// Everything that happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    /// What each server shows in the end to somebody who knows nothing, and what the store has.
    pub(crate) ends: Vec<Vec<(usize, Shown)>>,
    /// Of each slot, how many versions count in the end.
    pub(crate) survived: BTreeMap<u16, u64>,
    /// The slots of servers that were gone in the end.
    pub(crate) dead: BTreeSet<u16>,
    /// Breaches that a client has seen at once: clocks that do not cover what they must.
    pub(crate) breaches: Vec<String>,
}

/// Whether a level may lose what was acknowledged by a server that died or was taken for dead.
fn may_lose(level: Level) -> bool {
    level == Level::Async
}

/// A set of tags, which are small numbers.
#[derive(Clone, Default)]
struct Tags(Vec<u64>);

impl Tags {
    fn insert(&mut self, tag: Tag) {
        let at = (tag / 64) as usize;
        // Nobody writes so many; what somebody shows may be anything.
        if at < 1 << 16 {
            if self.0.len() <= at {
                self.0.resize(at + 1, 0);
            }
            self.0[at] |= 1 << (tag % 64);
        }
    }

    fn contains(&self, tag: Tag) -> bool {
        let word = self.0.get((tag / 64) as usize);
        word.is_some_and(|word| word >> (tag % 64) & 1 == 1)
    }

    fn join(&mut self, other: &Tags) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    fn iter(&self) -> impl Iterator<Item = Tag> + '_ {
        let words = (0_u64..).zip(&self.0);
        words.flat_map(|(at, word)| {
            let bits = (0..64).filter(move |bit| word >> bit & 1 == 1);
            bits.map(move |bit| at * 64 + bit)
        })
    }
}

impl FromIterator<Tag> for Tags {
    fn from_iter<I: IntoIterator<Item = Tag>>(tags: I) -> Self {
        let mut set = Tags::default();
        tags.into_iter().for_each(|tag| set.insert(tag));
        set
    }
}

struct Write<'a> {
    known: Tags,
    lists: &'a [usize],
    registers: &'a [usize],
    version: Option<(u16, u64)>,
}

/// What is wrong; nothing if all promises were kept.
pub(crate) fn judge(level: Level, history: &History) -> Vec<String> {
    let mut wrong = history.breaches.clone();
    let mut writes: BTreeMap<Tag, Write> = BTreeMap::new();
    for event in &history.events {
        if let Event::Wrote {
            tag,
            known,
            lists,
            registers,
            version,
        } = event
        {
            // What it knew was begun before it.
            let mut all: Tags = known.iter().copied().collect();
            let past = known.iter().filter_map(|tag| writes.get(tag));
            past.for_each(|write| all.join(&write.known));
            let write = Write {
                known: all,
                lists,
                registers,
                version: *version,
            };
            writes.insert(*tag, write);
        }
    }

    // What was acknowledged with a version that died with its server.
    let lost = |tag: Tag| {
        let version = writes.get(&tag).and_then(|write| write.version);
        version.is_some_and(|(slot, number)| {
            number > history.survived.get(&slot).copied().unwrap_or(0)
        })
    };
    for (at, event) in history.events.iter().enumerate() {
        match event {
            Event::Looked { known, shown } => {
                let before = wrong.len();
                look(&writes, &lost, known, shown, &mut wrong);
                for words in &mut wrong[before..] {
                    words.insert_str(0, &format!("event {at}: "));
                }
            }
            Event::Lost { slot, own } => {
                if level == Level::Replicated || !history.dead.contains(slot) {
                    wrong.push(format!("told that versions of {slot} were lost"));
                }
                let left = history.survived.get(slot).copied().unwrap_or(0);
                if !own.iter().any(|(at, number)| at == slot && *number > left) {
                    let words = "told that others' versions";
                    wrong.push(format!("event {at}: {words} of {slot} were lost: {own:?}"));
                }
            }
            Event::Covered { clock, must } => covered(history, clock, must, &mut wrong),
            Event::Wrote { .. } => {}
        }
    }
    for end in &history.ends {
        look(&writes, &lost, &BTreeSet::new(), end, &mut wrong);
        if Some(end) != history.ends.first() {
            wrong.push(format!("ends differ: {end:?}, {:?}", history.ends.first()));
        }
    }
    if let Some(end) = history.ends.first() {
        kept(level, history, &writes, &lost, end, &mut wrong);
    }
    wrong
}

/// A version's clock covers what its writer depended on, but for versions that were lost.
fn covered(
    history: &History,
    clock: &BTreeMap<u16, u64>,
    must: &BTreeMap<u16, u64>,
    wrong: &mut Vec<String>,
) {
    for (slot, &number) in must {
        let left = match history.dead.contains(slot) {
            true => number.min(history.survived.get(slot).copied().unwrap_or(0)),
            false => number,
        };
        if clock.get(slot).copied().unwrap_or(0) < left {
            wrong.push(format!("{clock:?} does not cover {must:?}"));
        }
    }
}

/// Acknowledged writes are there in the end.
fn kept(
    level: Level,
    history: &History,
    writes: &BTreeMap<Tag, Write>,
    lost: &impl Fn(Tag) -> bool,
    end: &[(usize, Shown)],
    wrong: &mut Vec<String>,
) {
    for (&tag, write) in writes {
        let Some((slot, number)) = write.version else {
            continue;
        };
        let excused = lost(tag) && may_lose(level) && history.dead.contains(&slot);
        for (key, shown) in end {
            if let Shown::List(tags, _) = shown
                && write.lists.contains(key)
                && !tags.contains(&tag)
                && !excused
            {
                wrong.push(format!(
                    "write {tag} (version {number} of {slot}) was acknowledged and is not in {key}"
                ));
            }
        }
    }
}

fn look(
    writes: &BTreeMap<Tag, Write>,
    lost: &impl Fn(Tag) -> bool,
    known: &BTreeSet<Tag>,
    shown: &[(usize, Shown)],
    wrong: &mut Vec<String>,
) {
    let mut all: Tags = known.iter().copied().collect();
    for (key, shown) in shown {
        let tags: Vec<Tag> = match shown {
            Shown::List(tags, _) => tags.clone(),
            Shown::Register(tag) => tag.iter().copied().collect(),
        };
        for tag in tags {
            let written = writes.get(&tag).is_some_and(|write| match shown {
                Shown::List(..) => write.lists.contains(key),
                Shown::Register(_) => write.registers.contains(key),
            });
            if !written {
                wrong.push(format!("{key} shows {tag}, which nobody wrote there"));
            }
            all.insert(tag);
        }
    }
    for tag in all.clone().iter() {
        if let Some(write) = writes.get(&tag) {
            all.join(&write.known);
        }
    }
    for (key, shown) in shown {
        match shown {
            Shown::List(tags, count) => {
                let set: BTreeSet<Tag> = tags.iter().copied().collect();
                if set.len() != tags.len() || *count != tags.len() as i64 {
                    wrong.push(format!("{key} counts twice: {tags:?}, {count}"));
                }
                for tag in all.iter() {
                    let here = writes.get(&tag).is_some_and(|w| w.lists.contains(key));
                    if here && !set.contains(&tag) && !lost(tag) {
                        wrong.push(format!(
                            "{key} lacks {tag}, which the reader knows: {tags:?}"
                        ));
                    }
                }
                let mut before = BTreeSet::new();
                for &tag in tags {
                    let late = before.iter().find(|&&earlier| {
                        let earlier = writes.get(&earlier);
                        earlier.is_some_and(|earlier| earlier.known.contains(tag))
                    });
                    // One that was lost and written again comes where it comes.
                    if let Some(late) = late.filter(|_| !lost(tag)) {
                        wrong.push(format!("{key} shows {tag} behind {late}, which knew it"));
                    }
                    before.insert(tag);
                }
            }
            Shown::Register(shown) => {
                let of = |tag: &Tag| {
                    let write = writes.get(tag);
                    write.is_some_and(|write| write.registers.contains(key)) && !lost(*tag)
                };
                for newer in all.iter().filter(of) {
                    let replaced = match shown {
                        None => true,
                        Some(shown) => {
                            let newer = &writes[&newer];
                            newer.known.contains(*shown) && !lost(*shown)
                        }
                    };
                    if replaced {
                        wrong.push(format!("{key} shows {shown:?}, which {newer} has replaced"));
                    }
                }
            }
        }
    }
}
