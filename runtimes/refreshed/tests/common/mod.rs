//! Random workflows on a system of caches, and a judge of what they have seen. The judge knows nothing
//! of clocks: it goes by who has read whose value, by the order of sessions, and by which writes were
//! surely before which because they had ended when those began.
//!
//! Other crates' tests use it too.

// Each test file uses its part of it.
#![allow(dead_code)]

use futures_util::future::join;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use triptych_api::{App, Error, Function, LocalBoxFuture, Name, Retries, Step, Value};
use triptych_cached::{Attempt, Caches, Edit, Here, System};
use triptych_faas::{InvokeError, Payload, Platform};
use triptych_mesh::{Key, WriteId};
use triptych_site::{Effects, Site, Timing, tables};
use triptych_store::{SimStore, Store, StoreConfig};
use triptych_world::latency::Profile;
use triptych_world::{Life, MS, Nanos, Options, Random, SECOND, Scope, World, mix};

/// The one table.
pub(crate) const TABLE: &str = "rows";

/// Functions are not called here.
struct Nowhere;

impl Platform for Nowhere {
    fn invoke(
        &self,
        _: &Scope,
        _: &Name,
        _: Payload,
    ) -> LocalBoxFuture<'static, Result<Payload, InvokeError>> {
        Box::pin(async { Err(InvokeError::Timeout) })
    }

    fn enqueue(
        &self,
        _: &Scope,
        _: &Name,
        _: Payload,
    ) -> LocalBoxFuture<'static, Result<(), InvokeError>> {
        Box::pin(async { Err(InvokeError::Timeout) })
    }
}

/// A site with one table.
pub(crate) async fn site(world: &World) -> Rc<Site> {
    let profile = Profile::shipped("aws-2020").unwrap();
    let store = SimStore::new(world, &profile, StoreConfig::default()).unwrap();
    let app = App {
        name: "one",
        functions: vec![Function::new("F", &[TABLE], |_, _| {
            Box::pin(async { Ok(Value::Null) })
        })],
        workflows: Vec::new(),
        kinds: Vec::new(),
        elements: |_, _| None,
        observe: |_, _, _| Value::Null,
        rules: |_| (Vec::new(), Default::default()),
    };
    let site = Rc::new(Site {
        world: world.clone(),
        store: Rc::new(store) as Rc<dyn Store>,
        platform: Rc::new(Nowhere),
        app: Rc::new(app),
        retries: Retries(0),
        timing: Timing::default(),
        servers: 3,
    });
    tables::create(Rc::clone(&site), Vec::new()).await.unwrap();
    site
}

pub(crate) fn key(n: u64) -> Key {
    Key::new(TABLE, &n.to_string())
}

/// An operation of an attempt at a server.
pub(crate) fn here(site: &Rc<Site>, server: usize, root: u64, write: u64) -> Here {
    let scope = Scope::new(
        site.world.begin_request(root, 0),
        mix(root, write),
        Life::new(),
    );
    Here {
        effects: Effects {
            site: Rc::clone(site),
            scope,
        },
        server,
        attempt: Attempt { root, number: 0 },
        instance: Name::from("i"),
        step: Step::new("1"),
        write: WriteId {
            client: root,
            number: write,
        },
    }
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) keys: u64,
    pub(crate) sessions: u64,
    pub(crate) workflows: u64,
    /// The longest pause of a session between two workflows.
    pub(crate) pause: Nanos,
    /// The longest pause between two operations of a workflow.
    pub(crate) think: Nanos,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            keys: 6,
            sessions: 6,
            workflows: 25,
            pause: 60 * MS,
            think: 15 * MS,
        }
    }
}

/// One attempt, by its number from 1; what it writes is that number.
#[derive(Clone, Debug, Default)]
struct Record {
    session: u64,
    /// Keys, and whose value was there; nobody's is 0.
    reads: Vec<(u64, u64)>,
    /// Keys, and when each was written at the earliest and at the latest.
    writes: BTreeMap<u64, (Nanos, Nanos)>,
    end: Nanos,
    committed: bool,
    /// Branches may read two snapshots, which is seen where they meet: the attempt is aborted then.
    forked: bool,
}

/// What came of a trial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// What should not be, by kind.
    pub(crate) wrong: BTreeMap<&'static str, u64>,
    /// One of each kind.
    pub(crate) told: BTreeMap<&'static str, String>,
    pub(crate) attempts: u64,
    pub(crate) aborts: u64,
    pub(crate) reads: u64,
    /// Of everything that was read and written, and when.
    pub(crate) digest: u64,
}

impl Report {
    fn wrong(&mut self, kind: &'static str, told: impl FnOnce() -> String) {
        *self.wrong.entry(kind).or_default() += 1;
        self.told.entry(kind).or_insert_with(told);
    }

    /// How often one of these was seen.
    pub(crate) fn count(&self, kinds: &[&str]) -> u64 {
        kinds.iter().filter_map(|kind| self.wrong.get(kind)).sum()
    }

    /// What is wrong with snapshots, sessions or values.
    pub(crate) const CAUSAL: [&'static str; 5] = ["snapshot", "session", "own", "repeat", "never"];

    pub(crate) fn add(&mut self, other: Report) {
        for (kind, many) in other.wrong {
            *self.wrong.entry(kind).or_default() += many;
        }
        for (kind, told) in other.told {
            self.told.entry(kind).or_insert(told);
        }
        self.attempts += other.attempts;
        self.aborts += other.aborts;
        self.reads += other.reads;
        self.digest = mix(self.digest, other.digest);
    }
}

struct Trial<S: System> {
    site: Rc<Site>,
    system: S,
    shape: Shape,
    records: RefCell<Vec<Record>>,
    report: RefCell<Report>,
    next: Cell<u64>,
}

/// One workflow's attempt under way.
struct Under {
    number: u64,
    record: RefCell<Record>,
    writes: Cell<u64>,
}

impl<S: System> Trial<S> {
    fn here(&self, under: &Under, random: &mut Random) -> Here {
        let write = under.writes.get();
        under.writes.set(write + 1);
        let server = random.below(self.system.caches().servers() as u64) as usize;
        here(&self.site, server, under.number, write)
    }

    fn some_keys(&self, random: &mut Random, most: u64) -> Vec<u64> {
        let many = 1 + random.below(most);
        let keys = (0..many).map(|_| random.below(self.shape.keys));
        keys.collect::<BTreeSet<u64>>().into_iter().collect()
    }

    async fn read(
        &self,
        under: &Under,
        context: &mut S::Context,
        mut random: Random,
    ) -> Result<(), Error> {
        let keys = self.some_keys(&mut random, 3);
        let here = self.here(under, &mut random);
        let names: Vec<Key> = keys.iter().map(|&n| key(n)).collect();
        let found = self.system.read(&here, context, &names).await?;
        for (&key, value) in keys.iter().zip(found) {
            let from = value.and_then(|value| value.as_int()).unwrap_or(0) as u64;
            let own = under.record.borrow().writes.contains_key(&key);
            let mut report = self.report.borrow_mut();
            report.reads += 1;
            if S::ATOMIC && own && from != under.number {
                report.wrong("own", || format!("{} reads {from} at {key}", under.number));
            }
            under.record.borrow_mut().reads.push((key, from));
        }
        Ok(())
    }

    async fn steps(
        &self,
        under: &Under,
        context: &mut S::Context,
        random: &mut Random,
    ) -> Result<(), Error> {
        let world = &self.site.world;
        for _ in 0..1 + random.below(4) {
            world.sleep(random.below(self.shape.think + 1)).await;
            match random.below(10) {
                0..6 => {
                    let bits = Random::new(random.bits());
                    self.read(under, context, bits).await?;
                }
                6..9 => {
                    for n in self.some_keys(random, 2) {
                        let here = self.here(under, random);
                        let began = world.now();
                        let put = Edit::Put(Value::Int(under.number as i64));
                        self.system.change(&here, context, key(n), put).await?;
                        let mut record = under.record.borrow_mut();
                        record.writes.insert(n, (began, world.now()));
                    }
                }
                _ => {
                    under.record.borrow_mut().forked = true;
                    let (mut left, mut right) = (context.clone(), context.clone());
                    let bits = [Random::new(random.bits()), Random::new(random.bits())];
                    let [one, two] = bits;
                    let ends = join(
                        self.read(under, &mut left, one),
                        self.read(under, &mut right, two),
                    );
                    let (one, two) = ends.await;
                    self.system.join(context, left);
                    self.system.join(context, right);
                    one.and(two)?;
                }
            }
        }
        Ok(())
    }

    /// One attempt; whether it is to be made again.
    async fn attempt(&self, number: u64, kept: &mut S::Session, random: &mut Random) -> bool {
        let session = number;
        let number = self.next.get() + 1;
        self.next.set(number);
        self.records.borrow_mut().push(Record::default());
        let under = Under {
            number,
            record: RefCell::new(Record {
                session,
                ..Record::default()
            }),
            writes: Cell::new(0),
        };
        let world = &self.site.world;
        let root = self.here(&under, random);
        let begun = self.system.begin(&root, kept, &None).await;
        let Ok(mut context) = begun else { return true };
        let mut end = self.steps(&under, &mut context, random).await;
        let began = world.now();
        if end.is_ok() {
            let here = self.here(&under, random);
            end = self.system.commit(&here, &mut context).await;
        }
        let here = self.here(&under, random);
        self.system.cleanup(&here, &context).await;
        self.system.merge(kept, self.system.session(&context));
        let mut record = under.record.take();
        record.end = world.now();
        record.committed = end.is_ok();
        if S::ATOMIC {
            let when = (began, record.end);
            record.writes.values_mut().for_each(|write| *write = when);
        }
        let again = matches!(end, Err(Error::Aborted(_)));
        let mut report = self.report.borrow_mut();
        report.attempts += 1;
        report.aborts += u64::from(again);
        if let Err(error @ (Error::Interrupted(_) | Error::Bug(_))) = &end {
            report.wrong("failed", || error.to_string());
        }
        for (key, from) in &record.reads {
            let seen = mix(mix(number, *key), mix(*from, record.end));
            report.digest = mix(report.digest, seen);
        }
        drop(report);
        self.records.borrow_mut()[number as usize - 1] = record;
        again
    }

    async fn session(self: Rc<Self>, session: u64) {
        let world = self.site.world.clone();
        let mut random = world.keyed(mix(session, 77));
        let mut kept = S::Session::default();
        for _ in 0..self.shape.workflows {
            world.sleep(random.below(self.shape.pause + 1)).await;
            let mut tries = 0;
            while self.attempt(session, &mut kept, &mut random).await && tries < 30 {
                world.sleep(random.below((4 * MS) << tries.min(5))).await;
                tries += 1;
            }
        }
    }

    /// Once nothing is on its way, every server shows what the database has.
    async fn quiet(&self) {
        self.site.world.sleep(3 * SECOND).await;
        let all = tables::look(&self.site, &Name::from(TABLE)).await.unwrap();
        let names: Vec<Key> = (0..self.shape.keys).map(key).collect();
        for server in 0..self.system.caches().servers() {
            let number = 1_000_000 + server as u64;
            let here = here(&self.site, server, number, 0);
            let session = S::Session::default();
            let mut context = self.system.begin(&here, &session, &None).await.unwrap();
            let found = self.system.read(&here, &mut context, &names).await;
            self.system.cleanup(&here, &context).await;
            let mut report = self.report.borrow_mut();
            for (name, value) in names.iter().zip(found.unwrap_or_default()) {
                let stored = all.get(&name.key);
                if value.as_ref() != stored {
                    let told = || format!("{server} shows {value:?} at {name:?}, not {stored:?}");
                    report.wrong("diverged", told);
                }
            }
        }
        self.judge(&all);
    }

    fn judge(&self, all: &BTreeMap<Name, Value>) {
        let records = self.records.borrow();
        let mut report = self.report.borrow_mut();
        let record = |number: u64| &records[number as usize - 1];
        // Whatever was read had been written before the reader ended, so this order is one of causes
        // before effects.
        let mut order: Vec<u64> = (1..=records.len() as u64).collect();
        order.sort_by_key(|&number| {
            let written = record(number)
                .writes
                .values()
                .map(|(began, _)| *began)
                .min();
            (written.unwrap_or(record(number).end), number)
        });
        let mut past: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        let mut sessions: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for &number in &order {
            let Record { session, reads, .. } = record(number);
            let torn = S::ATOMIC && record(number).forked && !record(number).committed;
            let before = sessions.get(session).cloned().unwrap_or_default();
            let mut known = before.clone();
            for &(_, from) in reads {
                if from != 0 && from != number {
                    known.extend(past.get(&from).into_iter().flatten());
                    known.insert(from);
                }
            }
            let older = |old: u64, new: u64, key: u64| {
                let ended = |old: u64| record(old).writes.get(&key).map(|(_, ended)| *ended);
                let began = record(new).writes.get(&key).map(|(began, _)| *began);
                old == 0
                    || past.get(&new).is_some_and(|past| past.contains(&old))
                    || ended(old).zip(began).is_some_and(|(old, new)| old < new)
            };
            let mut states: BTreeMap<u64, u64> = BTreeMap::new();
            for &(key, from) in reads {
                if from == number {
                    continue;
                }
                if from != 0 && S::ATOMIC && !record(from).committed {
                    report.wrong("never", || {
                        format!("{number} reads {from}, which was aborted")
                    });
                }
                if S::ATOMIC && !torn && *states.entry(key).or_insert(from) != from {
                    report.wrong("repeat", || format!("{number} reads {key} twice"));
                }
                let stale = known.iter().find(|&&new| {
                    let written = record(new).writes.contains_key(&key);
                    let counts = record(new).committed || !S::ATOMIC;
                    new != from && written && counts && older(from, new, key)
                });
                if let Some(new) = stale {
                    let kind = if before.contains(new) {
                        "session"
                    } else {
                        "snapshot"
                    };
                    if torn && kind == "snapshot" {
                        continue;
                    }
                    report.wrong(kind, || {
                        format!("{number} reads {from} at {key}, and depends on {new}")
                    });
                }
            }
            let whole = sessions.entry(*session).or_default();
            whole.extend(known.iter().copied());
            whole.insert(number);
            past.insert(number, known);
        }
        for key in 0..self.shape.keys {
            let last = all.get(key.to_string().as_str()).and_then(Value::as_int);
            let last = last.unwrap_or(0) as u64;
            for (at, other) in records.iter().enumerate() {
                let Some((began, _)) = other.writes.get(&key).filter(|_| other.committed) else {
                    continue;
                };
                let ended = |last: u64| record(last).writes.get(&key).map(|(_, ended)| *ended);
                if last == 0 || ended(last).is_some_and(|ended| ended < *began) {
                    report.wrong("lost", || format!("{} at {key} is gone", at + 1));
                }
            }
        }
    }
}

/// Runs a trial on a system, and says what came of it.
pub(crate) fn trial<S: System>(
    seed: u64,
    shape: Shape,
    make: impl FnOnce(&Rc<Site>) -> S + 'static,
) -> Report {
    let run = World::simulate(seed, Options::default(), move |world| async move {
        let site = site(&world).await;
        let system = make(&site);
        system.caches().prepare().await.unwrap();
        let trial = Rc::new(Trial {
            site,
            system,
            shape,
            records: RefCell::default(),
            report: RefCell::default(),
            next: Cell::new(0),
        });
        let sessions = (0..shape.sessions)
            .map(|session| world.spawn("session", Rc::clone(&trial).session(session)));
        for session in sessions.collect::<Vec<_>>() {
            session.await;
        }
        trial.quiet().await;
        trial.report.take()
    });
    run.expect("no deadlock")
}

/// The trials of several seeds together.
pub(crate) fn trials<S: System>(
    seeds: std::ops::Range<u64>,
    shape: Shape,
    make: impl Fn(&Rc<Site>) -> S + Clone + 'static,
) -> Report {
    let mut all = Report::default();
    for seed in seeds {
        let make = make.clone();
        all.add(trial(seed, shape, move |site| make(site)));
    }
    all
}
