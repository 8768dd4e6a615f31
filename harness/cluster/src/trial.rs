//! A cluster under faults: random clients, random faults, and a judgement of what came of it.
//!
//! A [`Trial`] is a cluster in a world of its own. Clients append, read, trim and hand what they
//! have seen along; meanwhile nodes are killed and come back, links are cut, messages are lost, come
//! twice or late, disks rot, and at the synced level all lose power at once ([`chaos`]). How likely
//! each is, is drawn from the seed. In the end everything is healed, the cluster must come to rest,
//! every engine reads every logbook from its beginning, and the [`judge`] compares that with all that
//! clients were told. The same seed gives the same trial.

pub mod batch;
mod chaos;
mod clients;
pub mod history;
pub mod judge;

use chaos::Chaos;
use history::{History, Kept};
use std::cell::RefCell;
use std::rc::Rc;
use triptych_log::sim::{SimCluster, lan};
use triptych_log::{Book, BookId, Bugs, Config, EVERY, Level, SeqNum, Shape};
use triptych_world::{MS, Nanos, Options, Random, SECOND, World, mix_str};

pub use judge::Violation;

/// How long the cluster may take to come to rest when nothing hurts it any more.
const REST: Nanos = 30 * SECOND;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Where everything random comes from.
    pub seed: u64,
    /// What "acknowledged" means; drawn from the seed if nothing is said.
    pub level: Option<Level>,
    /// Whether anything fails. Without faults a trial tests the judge.
    pub faults: bool,
    /// Seeded defects.
    pub bugs: Bugs,
}

/// What came of a trial.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What is wrong, in the order of the rules.
    pub violations: Vec<Violation>,
    /// How often something was hurt.
    pub hurt: u64,
    /// What was done and suffered, by name: how much the trial is worth.
    pub counts: Vec<(&'static str, u64)>,
}

impl Trial {
    /// A trial with faults.
    pub fn new(seed: u64) -> Self {
        Trial {
            seed,
            level: None,
            faults: true,
            bugs: Bugs::default(),
        }
    }

    /// Does it.
    pub fn run(self) -> Outcome {
        let options = Options {
            shuffle: true,
            ..Options::default()
        };
        let done = World::simulate(self.seed, options, move |world| self.inside(world));
        done.unwrap_or_else(|deadlock| Outcome {
            violations: vec![Violation::new("rest", deadlock.to_string())],
            ..Outcome::default()
        })
    }

    async fn inside(self, world: World) -> Outcome {
        let mut random = world.random("trial");
        let plan = Plan::draw(&mut random, self);
        let network = lan();
        let cluster = SimCluster::start(&world, plan.config.clone(), network, self.bugs)
            .expect("the plan draws configurations that can be");
        let mut outcome = Outcome::default();
        if !cluster.ready(REST).await {
            let why = "there is no first view".to_owned();
            outcome.violations.push(Violation::new("rest", why));
            return outcome;
        }
        let history: Rc<RefCell<History>> = Rc::default();
        let until = world.now() + plan.span;
        let clients: Vec<_> = (0..plan.clients)
            .map(|client| {
                let work = clients::work(&world, &cluster, &plan, client, until, &history);
                world.spawn("client", work)
            })
            .collect();
        let chaos = Chaos::new(&world, &cluster, &plan);
        let hurt = chaos.until(until).await;
        for client in clients {
            client.await;
        }
        outcome.hurt = hurt.iter().map(|(_, count)| count).sum();
        outcome.counts.extend(hurt);
        self.rest(&world, &cluster, &plan, &history, &mut outcome)
            .await;
        let history = history.borrow();
        outcome.counts.extend(history.counts());
        outcome.violations.extend(judge::judge(&history));
        outcome
    }

    /// Waits until the cluster is at rest and has everybody read everything.
    async fn rest(
        self,
        world: &World,
        cluster: &SimCluster,
        plan: &Plan,
        history: &RefCell<History>,
        outcome: &mut Outcome,
    ) {
        let by = world.now() + REST;
        // What was appended last makes sure that every log works again, and tells how far all is
        // known.
        let mut books = Vec::new();
        for book in plan.books() {
            let handle = Book::new(cluster.port(cluster.config().engines[0]), book);
            loop {
                match handle.append(&[], b"the end").await {
                    Ok(_) => break,
                    Err(_) if world.now() < by => world.sleep(20 * MS).await,
                    Err(failure) => {
                        let why = format!("nothing can be appended to logbook {book}: {failure}");
                        outcome.violations.push(Violation::new("rest", why));
                        return;
                    }
                }
            }
            books.push(handle);
        }
        for &engine in &cluster.config().engines {
            for known in &books {
                let book = known.id();
                let handle = Book::new(cluster.port(engine), book);
                handle.observe(known.progress());
                match everything(&handle, world, by).await {
                    Ok(kept) => history.borrow_mut().finals.push((engine, book, kept)),
                    Err(why) => {
                        let why = format!("engine {engine} cannot read logbook {book}: {why}");
                        outcome.violations.push(Violation::new("rest", why));
                        return;
                    }
                }
            }
        }
    }
}

/// All records of a logbook, as one engine gives them.
async fn everything(book: &Book, world: &World, by: Nanos) -> Result<Vec<Kept>, String> {
    let (mut all, mut from) = (Vec::new(), SeqNum::ZERO);
    loop {
        match book.read_some(EVERY, from, 100).await {
            Ok(some) => {
                let Some(last) = some.last() else {
                    return Ok(all);
                };
                from = last.seq.next();
                all.extend(some.into_iter().map(|found| Kept::new(&found)));
            }
            Err(_) if world.now() < by => world.sleep(20 * MS).await,
            Err(failure) => return Err(failure.to_string()),
        }
    }
}

/// What the seed makes of a trial.
#[derive(Clone, Debug)]
struct Plan {
    config: Config,
    clients: u64,
    /// How many logbooks there are; each is used by all clients.
    book_count: u64,
    /// How many streams each has.
    tags: u64,
    /// How long clients work.
    span: Nanos,
    /// How often, on average, something is hurt; 0 for never.
    every: Nanos,
    /// Chances of messages to be lost and to come twice.
    loss: f64,
    twice: f64,
    /// Which faults there are at all.
    kills: bool,
    cuts: bool,
    rot: bool,
    power: bool,
}

impl Plan {
    fn draw(random: &mut Random, trial: Trial) -> Self {
        let pick = |random: &mut Random, of: &[u16]| of[random.below(of.len() as u64) as usize];
        let shape = Shape {
            logs: pick(random, &[1, 1, 2, 3]),
            metas: pick(random, &[1, 2, 3, 3, 3, 4, 5]),
            copies: pick(random, &[2, 2, 3]),
            indexes: pick(random, &[1, 2, 3]),
        };
        let controllers = pick(random, &[1, 3, 3]);
        let sequencers = shape.metas + pick(random, &[0, 0, 1]);
        let storages = shape.copies + pick(random, &[0, 1, 2]);
        let engines = shape.indexes.max(2) + pick(random, &[0, 1]);
        let mut config = Config::of(controllers, sequencers, storages, engines, shape);
        let drawn = if random.chance(0.5) {
            Level::Memory
        } else {
            Level::Synced
        };
        config.level = trial.level.unwrap_or(drawn);
        config.timing.on_ticks = random.chance(0.2);
        let chance = |random: &mut Random, of: f64, most: f64| match random.chance(of) {
            true => most * random.unit(),
            false => 0.0,
        };
        let faults = f64::from(u8::from(trial.faults));
        Plan {
            clients: 3 + random.below(4),
            book_count: 1 + random.below(3),
            tags: 2 + random.below(4),
            span: 500 * MS + random.below(SECOND),
            every: (30 + random.below(150)) * MS,
            loss: chance(random, 0.5 * faults, 0.05),
            twice: chance(random, 0.5 * faults, 0.05),
            kills: random.chance(0.8 * faults),
            cuts: random.chance(0.5 * faults),
            rot: random.chance(0.2 * faults),
            power: config.level == Level::Synced && random.chance(0.3 * faults),
            config,
        }
    }

    fn books(&self) -> Vec<BookId> {
        (1..=self.book_count).collect()
    }
}

/// The random stream of somebody in a trial.
fn stream(world: &World, purpose: &str, number: u64) -> Random {
    Random::new(mix_str(world.seed() ^ number.rotate_left(32), purpose))
}
