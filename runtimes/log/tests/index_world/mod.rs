//! A physical log as a test makes it up, with what a plain list of its records says of every stream
//! after every entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use triptych_log::engine::index::Index;
use triptych_log::{
    BookId, Condition, Direction, EVERY, Entry, Final, Item, Member, Progress, Read, SeqNum, Shape,
    Shard, Step, Tag, Term, Trim, View,
};
use triptych_nodes::NodeId;

pub const BOOKS: [BookId; 2] = [10, 11];
pub const TAGS: [Tag; 4] = [EVERY, 1, 2, 3];

/// One step of what happens to the log.
#[derive(Clone, Debug)]
pub enum Op {
    /// Records of engines are ordered.
    Cut(Vec<(usize, Draft)>),
    /// A stream is cut off at the record that is so many before the newest, or behind all.
    Trim {
        book: usize,
        tag: usize,
        back: usize,
    },
    /// All trims are released.
    Release,
    /// The next view begins.
    View,
}

/// A record to be ordered. A condition's tail is the record that is so many before the newest.
#[derive(Clone, Debug)]
pub struct Draft {
    pub book: usize,
    pub tags: BTreeSet<Tag>,
    pub condition: Option<(usize, usize)>,
}

/// Every stream's places, by logbook and tag.
pub type Snapshot = BTreeMap<(BookId, Tag), Vec<SeqNum>>;

/// The log.
#[derive(Default)]
pub struct World {
    pub views: Vec<Arc<View>>,
    pub entries: Vec<Vec<Arc<Entry>>>,
    pub items: BTreeMap<Shard, Vec<Item>>,
    /// Shard, local id and place of what was freed.
    pub freed: BTreeSet<(Shard, u32)>,
    /// What every stream holds after so many entries.
    pub after: BTreeMap<Progress, Snapshot>,
    /// All records in order; whether they were taken.
    records: Vec<(SeqNum, Shard, u32, Item, bool)>,
    bounds: BTreeMap<(BookId, Tag), SeqNum>,
    released: BTreeMap<(BookId, Tag), SeqNum>,
    trims: u64,
}

/// The engines of a view: their order differs from view to view.
fn engines(view: u16) -> Vec<Member> {
    let mut nodes = [1000, 1001, 1002];
    nodes.rotate_left(usize::from(view) % 3);
    let life = 1;
    let member = |node| Member {
        node: NodeId(node),
        life,
    };
    nodes.into_iter().map(member).collect()
}

impl World {
    /// Carries all steps out. A live index that hears everything at once says what is refused when
    /// trims are released.
    pub fn of(ops: &[Op]) -> Self {
        let mut world = World::default();
        let mut live = Index::new(0, None);
        world.begin(&mut live);
        for op in ops {
            let step = match op {
                Op::View => {
                    world.begin(&mut live);
                    continue;
                }
                Op::Cut(drafts) => vec![world.cut(drafts)],
                Op::Trim { book, tag, back } => {
                    let (book, tag) = (BOOKS[*book], TAGS[*tag]);
                    world.trims += 1;
                    let bound = match back {
                        0 => SeqNum::new(world.term(), world.position()),
                        _ => world.back(back - 1),
                    };
                    let by = (NodeId(1000), world.trims);
                    let streams = vec![(tag, bound)];
                    vec![Step::Trim(Trim { book, streams, by })]
                }
                Op::Release => {
                    let releases = live.unreleased();
                    let release = |(trim, refused)| Step::Release { trim, refused };
                    releases.map(release).collect()
                }
            };
            for step in step {
                world.put(step, &mut live);
            }
        }
        world
    }

    fn term(&self) -> Term {
        let (view, log) = (self.views.len() as u16, 0);
        Term { view, log }
    }

    fn position(&self) -> u32 {
        let term = self.term();
        let of_term = self.records.iter().filter(|one| one.0.term() == term);
        of_term.count() as u32
    }

    fn back(&self, back: usize) -> SeqNum {
        let at = self.records.iter().rev().nth(back);
        at.map_or(SeqNum::ZERO, |one| one.0)
    }

    pub fn progress(&self) -> Progress {
        Progress {
            view: self.views.len() as u16,
            entries: self.entries.last().unwrap().len() as u32,
        }
    }

    fn begin(&mut self, live: &mut Index) {
        let id = self.views.len() as u16 + 1;
        let finals = self.entries.last().map(|entries| Final {
            entries: entries.len() as u32,
            tail: entries.iter().rev().take(1).cloned().collect(),
        });
        let view = View {
            id,
            shape: Shape {
                logs: 1,
                metas: 1,
                copies: 1,
                indexes: 1,
            },
            sequencers: Vec::new(),
            storages: Vec::new(),
            engines: engines(id),
            finals: finals.into_iter().collect(),
            holders: BTreeMap::new(),
        };
        live.learn(&view);
        self.views.push(Arc::new(view));
        self.entries.push(Vec::new());
        self.after.insert(self.progress(), self.snapshot());
    }

    /// Numbers the records of a cut, shard by shard.
    fn cut(&mut self, drafts: &[(usize, Draft)]) -> Step {
        let (term, first) = (self.term(), self.position());
        let (mut starts, mut deltas, mut position) = (Vec::new(), Vec::new(), first);
        let mut ordered = Vec::new();
        for (place, member) in engines(term.view).into_iter().enumerate() {
            let engine = member.node;
            let shard = Shard { term, engine };
            let start = self.items.get(&shard).map_or(0, Vec::len) as u32;
            let mine = drafts.iter().filter(|(engine, _)| *engine == place);
            starts.push(start);
            deltas.push(0);
            for (id, (_, draft)) in (start..).zip(mine) {
                let item = Item {
                    book: BOOKS[draft.book],
                    tags: draft.tags.iter().copied().collect(),
                    condition: draft.condition.map(|(tag, back)| Condition {
                        tag: TAGS[tag],
                        tail: self.back(back),
                    }),
                };
                self.items.entry(shard).or_default().push(item.clone());
                ordered.push((SeqNum::new(term, position), shard, id, item));
                position += 1;
                deltas[place] += 1;
            }
        }
        for (seq, shard, id, item) in ordered {
            let taken = item.condition.is_none_or(|on| self.takes(&item, on));
            self.records.push((seq, shard, id, item, taken));
        }
        Step::Cut {
            first,
            starts,
            deltas,
        }
    }

    fn takes(&self, item: &Item, on: Condition) -> bool {
        let newest = self.stream(item.book, on.tag).last().copied();
        let bound = self.bound(item.book, on.tag);
        newest.is_none_or(|newest| newest <= on.tail)
            && (bound == SeqNum::ZERO || on.tail.next() >= bound)
    }

    fn bound(&self, book: BookId, tag: Tag) -> SeqNum {
        let of = |tag| self.bounds.get(&(book, tag)).copied().unwrap_or_default();
        of(EVERY).max(of(tag))
    }

    fn stream(&self, book: BookId, tag: Tag) -> Vec<SeqNum> {
        let holds = |(seq, _, _, item, taken): &&(SeqNum, Shard, u32, Item, bool)| {
            let in_tag = |tag| item.tags.contains(&tag) && *seq >= self.bound(book, tag);
            let of_all = || {
                let held = item.tags.is_empty() || item.tags.iter().any(|&tag| in_tag(tag));
                held && *seq >= self.bound(book, EVERY)
            };
            let inside = if tag == EVERY { of_all() } else { in_tag(tag) };
            *taken && item.book == book && inside
        };
        self.records.iter().filter(holds).map(|one| one.0).collect()
    }

    fn snapshot(&self) -> Snapshot {
        let streams = BOOKS.iter().flat_map(|&book| TAGS.map(|tag| (book, tag)));
        streams
            .map(|(book, tag)| ((book, tag), self.stream(book, tag)))
            .collect()
    }

    fn put(&mut self, step: Step, live: &mut Index) {
        match &step {
            Step::Cut { .. } => {}
            Step::Trim(trim) => {
                for &(tag, bound) in &trim.streams {
                    let own = self.bounds.entry((trim.book, tag)).or_default();
                    *own = bound.max(*own);
                }
            }
            Step::Release { trim, refused } => {
                for &(tag, bound) in &trim.streams {
                    let own = self.released.entry((trim.book, tag)).or_default();
                    *own = bound.max(*own);
                }
                self.free(refused);
            }
        }
        let term = self.term();
        let entries = self.entries.last_mut().unwrap();
        let number = entries.len() as u32;
        entries.push(Arc::new(Entry { number, step }));
        let entry = Arc::clone(&entries[number as usize]);
        self.after.insert(self.progress(), self.snapshot());
        // The live index hears the same, whole.
        live.entries(term.view, &[entry]);
        for (&shard, items) in &self.items {
            let items: Vec<_> = (0..).zip(items.iter().cloned()).collect();
            live.items(shard, 0, items.len() as u32, items);
        }
        live.advance(|_, _| {});
        assert_eq!(live.progress(), self.progress());
    }

    /// What storages do at a release.
    fn free(&mut self, refused: &[SeqNum]) {
        for (seq, shard, id, item, _) in &self.records {
            let below = |tag| {
                let bound = self.released.get(&(item.book, tag));
                bound.is_some_and(|bound| seq < bound)
            };
            let tags = !item.tags.is_empty() && item.tags.iter().all(|&tag| below(tag));
            if below(EVERY) || tags || refused.contains(seq) {
                self.freed.insert((*shard, *id));
            }
        }
    }

    /// What a holder answers when it is asked for a range; without what was freed, if the holders of
    /// its engine have heard of the releases, which the bits of `freed` say.
    pub fn range(&self, shard: Shard, from: u32, to: u32, freed: u16) -> Vec<(u32, Item)> {
        let all = (0..).zip(self.items.get(&shard).into_iter().flatten());
        all.filter(|&(id, _)| (from..to).contains(&id))
            .filter(|&(id, _)| {
                freed >> (shard.engine.0 - 1000) & 1 == 0 || !self.freed.contains(&(shard, id))
            })
            .map(|(id, item)| (id, item.clone()))
            .collect()
    }

    /// Conditional appends, and whether they were taken.
    pub fn conditional(&self) -> impl Iterator<Item = (SeqNum, bool)> {
        let on = self.records.iter().filter(|one| one.3.condition.is_some());
        on.map(|one| (one.0, one.4))
    }
}

/// What an index says of every stream.
pub fn seen(index: &Index) -> Snapshot {
    let streams = BOOKS.iter().flat_map(|&book| TAGS.map(|tag| (book, tag)));
    let read = |(book, tag)| {
        let hits = index.find(&read(book, tag, SeqNum::ZERO, Direction::Next, u16::MAX));
        ((book, tag), hits.into_iter().map(|(seq, _)| seq).collect())
    };
    streams.map(read).collect()
}

/// A read that waits for nothing.
pub fn read(book: BookId, tag: Tag, bound: SeqNum, direction: Direction, limit: u16) -> Read {
    Read {
        book,
        tag,
        bound,
        direction,
        limit,
        wait: 0,
        progress: Progress::default(),
    }
}
