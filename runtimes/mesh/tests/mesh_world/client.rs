//! Clients that move between servers with what they depend on, and remember what they saw.

use super::TABLE;
use super::judge::{Event, Shown, Tag};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use triptych_api::{Change, Value};
use triptych_mesh::sim::SimMesh;
use triptych_mesh::{Clock, Context, Failure, Key, Op, Reply, Request, Seen, Version, WriteId};
use triptych_world::{MS, Random, World};

/// Keys below this number are lists, the others registers.
pub(crate) const LISTS: usize = 4;
/// So many keys there are.
pub(crate) const KEYS: usize = 6;

/// What all clients of a trial share.
pub(crate) struct Shared {
    pub(crate) events: RefCell<Vec<Event>>,
    pub(crate) breaches: RefCell<Vec<String>>,
    pub(crate) next_tag: RefCell<Tag>,
    pub(crate) counts: RefCell<Counts>,
}

/// What clients did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) looks: u64,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) unavailable: u64,
    pub(crate) lost: u64,
    pub(crate) snapshots: u64,
}

pub(crate) fn key(nth: usize) -> Key {
    Key::new(TABLE, &format!("k{nth}"))
}

/// What a document shows.
pub(crate) fn shown(nth: usize, value: Option<&Value>) -> Shown {
    let tag = |value: &Value| value.as_int().map(|tag| tag as Tag);
    if nth >= LISTS {
        return Shown::Register(value.and_then(tag));
    }
    match value {
        Some(Value::Map(document)) => {
            let list = match document.get("l") {
                Some(Value::List(list)) => list.iter().filter_map(tag).collect(),
                _ => Vec::new(),
            };
            let count = document.get("n").and_then(Value::as_int).unwrap_or(0);
            Shown::List(list, count)
        }
        _ => Shown::List(Vec::new(), 0),
    }
}

/// One branch of one client.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) world: World,
    pub(crate) mesh: SimMesh,
    pub(crate) shared: Rc<Shared>,
    pub(crate) client: u64,
    pub(crate) writes: Rc<RefCell<u64>>,
    pub(crate) context: Context,
    pub(crate) known: BTreeSet<Tag>,
}

impl Session {
    fn tag(&self) -> Tag {
        let mut next = self.shared.next_tag.borrow_mut();
        *next += 1;
        *next
    }

    fn write_id(&self) -> WriteId {
        let mut writes = self.writes.borrow_mut();
        *writes += 1;
        WriteId {
            client: self.client,
            number: *writes,
        }
    }

    fn event(&self, event: Event) {
        self.shared.events.borrow_mut().push(event);
    }

    fn breach(&self, words: String) {
        self.shared.breaches.borrow_mut().push(words);
    }

    async fn ask(&mut self, random: &mut Random, request: Request) -> Option<Reply> {
        let servers = self.mesh.servers();
        let server = servers[random.below(servers.len() as u64) as usize];
        match self.mesh.port(server).ask(request).await {
            Ok(reply) => Some(reply),
            Err(failure) => {
                self.failed(failure);
                None
            }
        }
    }

    fn failed(&mut self, failure: Failure) {
        let mut counts = self.shared.counts.borrow_mut();
        match failure {
            Failure::Unavailable => counts.unavailable += 1,
            Failure::Unknown | Failure::Forgotten => counts.unknown += 1,
            Failure::SnapshotTooOld => {}
            Failure::Lost(slot) => {
                counts.lost += 1;
                drop(counts);
                let own = self.context.own.iter();
                let own = own.map(|own| (own.origin.0, own.number())).collect();
                self.event(Event::Lost { slot: slot.0, own });
                // A new session: it depends on nothing.
                self.context = Context::default();
                self.known.clear();
            }
            Failure::Bad(words) => {
                drop(counts);
                self.breach(format!("refused as malformed: {words}"));
            }
        }
    }

    fn saw(&mut self, nth: &[usize], seen: &[Seen]) {
        let mut all = Vec::new();
        for (&nth, seen) in nth.iter().zip(seen) {
            self.context.saw(seen);
            all.push((nth, shown(nth, seen.value.as_ref())));
        }

        self.event(Event::Looked {
            known: self.known.clone(),
            shown: all.clone(),
        });
        self.shared.counts.borrow_mut().looks += 1;
        for (_, shown) in all {
            match shown {
                Shown::List(tags, _) => self.known.extend(tags),
                Shown::Register(tag) => self.known.extend(tag),
            }
        }
    }

    fn wrote(&mut self, version: &std::sync::Arc<Version>, deps: &Clock, stable: &Clock) {
        let mut must = deps.clone();
        must.join(&self.context.own_clock().clock);
        let counts = |clock: &Clock| clock.iter().map(|(slot, n)| (slot.0, n)).collect();
        self.event(Event::Covered {
            clock: counts(&version.clock),
            must: counts(&must),
        });
        self.context.wrote(std::sync::Arc::clone(version));
        self.context.is_stable(stable);
        self.shared.counts.borrow_mut().acknowledged += 1;
    }

    pub(crate) async fn read(&mut self, random: &mut Random) {
        let first = random.below(KEYS as u64) as usize;
        let many = 1 + random.below(3) as usize;
        let nth: Vec<usize> = (0..many).map(|more| (first + more) % KEYS).collect();
        let keys: Vec<Key> = nth.iter().map(|&nth| key(nth)).collect();
        let request = Request::Read {
            deps: self.context.deps.clone(),
            own: self.context.own_of(keys.iter()),
            keys,
        };
        if let Some(Reply::Read { seen, stable }) = self.ask(random, request).await {
            self.saw(&nth, &seen);
            self.context.is_stable(&stable);
        }
    }

    /// The same snapshot, read on two servers.
    pub(crate) async fn snapshot(&mut self, random: &mut Random) {
        let deps = self.context.deps.clone();
        let asked = self.ask(random, Request::Snapshot { deps }).await;
        let Some(Reply::Snapshot { snapshot }) = asked else {
            return;
        };
        let nth: Vec<usize> = (0..KEYS).collect();
        let keys: Vec<Key> = nth.iter().map(|&nth| key(nth)).collect();
        let mut looks = Vec::new();
        for _ in 0..2 {
            let request = Request::ReadAt {
                snapshot: snapshot.clone(),
                own: Vec::new(),
                keys: keys.clone(),
            };
            if let Some(Reply::Read { seen, .. }) = self.ask(random, request).await {
                looks.push(seen);
            }
        }
        if let [first, second] = &looks[..] {
            let values = |seen: &[Seen]| -> Vec<Option<Value>> {
                seen.iter().map(|seen| seen.value.clone()).collect()
            };
            if values(first) != values(second) {
                self.breach(format!("a snapshot changed: {first:?}, {second:?}"));
            }
            // Without the client's own writes: only what others know of each other is judged.
            let all = nth.iter().zip(first);
            let all = all.map(|(&nth, seen)| (nth, shown(nth, seen.value.as_ref())));
            self.event(Event::Looked {
                known: BTreeSet::new(),
                shown: all.collect(),
            });
            self.shared.counts.borrow_mut().snapshots += 1;
        }
    }

    pub(crate) async fn write(&mut self, random: &mut Random) {
        let tag = self.tag();
        let value = Value::Int(tag as i64);
        let kind = random.below(4);
        let nth = random.below(LISTS as u64) as usize;
        let append = vec![Change::append("l", value.clone()), Change::add("n", 1)];
        let (mut lists, mut registers) = (vec![nth], Vec::new());
        let known = self.known.clone();
        let write = self.write_id();
        let deps = self.context.deps.clone();
        let asked = deps.clone();
        let request = match kind {
            0 | 1 => Request::Update {
                write,
                deps,
                own: self.context.own.clone(),
                key: key(nth),
                condition: None,
                changes: append,
            },
            _ => {
                let mut ops = vec![(key(nth), Op::Change(append.clone()))];
                if kind == 2 {
                    lists.push((nth + 1) % LISTS);
                    ops.push((key((nth + 1) % LISTS), Op::Change(append)));
                } else {
                    let register = LISTS + random.below((KEYS - LISTS) as u64) as usize;
                    registers.push(register);
                    ops.push((key(register), Op::Put(value)));
                }
                Request::Write {
                    write,
                    deps,
                    own: self.context.own_clock(),
                    ops,
                }
            }
        };
        // What others see of it may be seen before it is acknowledged.
        let at = self.shared.events.borrow().len();
        self.event(Event::Wrote {
            tag,
            known,
            lists,
            registers,
            version: None,
        });
        let made = match self.ask(random, request).await {
            Some(Reply::Written { version, stable }) => {
                self.wrote(&version, &asked, &stable);
                Some(version)
            }
            Some(Reply::Updated {
                version,
                stable,
                seen,
                updated,
            }) => {
                let before = shown(nth, seen.value.as_ref());
                if let Shown::List(tags, count) = before {
                    let here = tags.contains(&tag);
                    if !here && updated.sum != Some(count + 1) {
                        self.breach(format!("{:?} after {count}", updated.sum));
                    }
                    if !here {
                        self.saw(&[nth], &[seen]);
                    }
                }
                if let Some(version) = &version {
                    self.wrote(version, &asked, &stable);
                }
                version
            }
            _ => None,
        };
        if let Some(made) = made {
            self.known.insert(tag);
            if let Event::Wrote { version, .. } = &mut self.shared.events.borrow_mut()[at] {
                *version = Some((made.origin.0, made.number()));
            }
        }
    }

    pub(crate) async fn step(&mut self, random: &mut Random) {
        match random.below(10) {
            0..=4 => self.read(random).await,
            5 => self.snapshot(random).await,
            _ => self.write(random).await,
        }
        let pause = random.below(12) * MS;
        self.world.sleep(pause).await;
    }

    /// Does so many things, sometimes in two branches at a time.
    pub(crate) async fn run(mut self, mut random: Random, steps: u64) {
        for _ in 0..steps {
            if random.below(8) == 0 {
                let mut branch = self.clone();
                let mut luck = Random::new(random.bits());
                let other = async {
                    for _ in 0..2 {
                        branch.step(&mut luck).await;
                    }
                };
                let mine = async {
                    for _ in 0..2 {
                        self.step(&mut random).await;
                    }
                };
                futures_util::future::join(other, mine).await;
                self.context.join(&branch.context);
                self.known.extend(branch.known);
            } else {
                self.step(&mut random).await;
            }
        }
    }
}
