//! The toy cluster in virtual time: it keeps its promises under faults, and the same seed gives the
//! same world.

mod toy;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use toy::{Counter, Driver, PRIMARY, Toy, additions_count_once, insist};
use triptych_nodes::sim::{Client, Path, Place, Service, Sim, SimConfig};
use triptych_nodes::{NodeId, Peer};
use triptych_world::latency::Dist;
use triptych_world::{MS, Options, US, World};

const NODES: [NodeId; 3] = [PRIMARY, NodeId(2), NodeId(3)];

struct Simulated {
    sim: Sim<Toy>,
    client: Client<Toy>,
    answers: Rc<RefCell<Vec<(NodeId, Toy)>>>,
}

impl Simulated {
    fn new(world: &World, config: SimConfig) -> Self {
        let sim = Sim::new(world, config);
        for node in NODES {
            assert!(sim.add(node, Counter::boxed(node, NODES.to_vec())));
        }
        let answers = Rc::new(RefCell::new(Vec::new()));
        let inbox = Rc::clone(&answers);
        let away = Place::Away(Dist::Constant { value: 0.1 });
        let client = sim.client(away, move |from, message| {
            inbox.borrow_mut().push((from, message));
        });
        Simulated {
            sim,
            client,
            answers,
        }
    }
}

fn answers(question: &Toy, answer: &Toy) -> bool {
    match (question, answer) {
        (Toy::Add { op: a, .. }, Toy::Sum { op: b, .. }) => a == b,
        (Toy::Look { at: a }, Toy::Seen { at: b, .. }) => a == b,
        _ => false,
    }
}

impl Driver for Simulated {
    async fn ask(&self, to: NodeId, message: Toy) -> Option<Toy> {
        self.client.send(to, message.clone());
        for _ in 0..30 {
            self.sim.world().sleep(MS).await;
            let mut inbox = self.answers.borrow_mut();
            let at = inbox
                .iter()
                .position(|(from, answer)| *from == to && answers(&message, answer));
            if let Some(at) = at {
                return Some(inbox.swap_remove(at).1);
            }
        }
        None
    }

    async fn kill(&self, id: NodeId) {
        self.sim.kill(id);
        assert!(!self.sim.is_up(id));
    }

    async fn restart(&self, id: NodeId) {
        self.sim.restart(id);
        assert!(self.sim.is_up(id));
    }
}

fn simulate<T: 'static, F: Future<Output = T> + 'static>(
    seed: u64,
    body: impl FnOnce(World) -> F,
) -> T {
    World::simulate(seed, Options::default(), body).expect("it does not stand still")
}

fn harsh() -> SimConfig {
    let mut config = SimConfig::ideal(0.2);
    config.network = Path {
        latency: Dist::Uniform {
            low: 0.05,
            high: 0.5,
        },
        loss: 0.1,
        duplication: 0.1,
        reorder: 0.1,
    };
    config.store.disk.sync = Dist::Constant { value: 0.3 };
    config.store.disk.read = Dist::Constant { value: 0.1 };
    config.store.disk.survives = 0.5;
    config.service.other = 3 * US;
    config.service.per_turn = US;
    config
}

#[test]
fn additions_count_once_whatever_is_killed() {
    simulate(1, |world| async move {
        let driver = Simulated::new(&world, SimConfig::ideal(0.1));
        additions_count_once(&driver, &NODES).await;
    });
}

/// What a world with all faults comes to: digest, time, packets.
fn faulty(seed: u64) -> (u64, u64, u64) {
    simulate(seed, |world| async move {
        let driver = Simulated::new(&world, harsh());
        additions_count_once(&driver, &NODES).await;
        let dropped: u64 = NODES
            .iter()
            .map(|node| driver.sim.metrics(*node).total().dropped)
            .sum();
        assert!(dropped > 0, "packets were lost");
        let sim = &driver.sim;
        (sim.digest(), world.now(), sim.packets())
    })
}

#[test]
fn the_same_seed_gives_the_same_world_and_another_one_another() {
    let worlds: Vec<_> = (0..10).map(faulty).collect();
    for (seed, world) in (0..10).zip(&worlds) {
        assert_eq!(faulty(seed), *world);
        assert_eq!(worlds.iter().filter(|other| *other == world).count(), 1);
    }
}

#[test]
fn a_partition_stops_what_needs_both_sides_until_it_heals() {
    simulate(3, |world| async move {
        let driver = Simulated::new(&world, SimConfig::ideal(0.1));
        let add = |op| Toy::Add { op, amount: 1 };
        assert!(driver.ask(PRIMARY, add(1)).await.is_some());
        driver.sim.partition(&NODES[..1], &NODES[1..]);
        assert_eq!(driver.ask(PRIMARY, add(2)).await, None);
        driver.sim.heal(&NODES[..1], &NODES[1..]);
        assert_eq!(driver.ask(PRIMARY, add(2)).await, None, "no way back");
        driver.sim.heal_all();
        let sum = Toy::Sum { op: 2, sum: 2 };
        assert_eq!(insist(&driver, PRIMARY, add(2)).await, sum);
        // A way that loses everything is as good as cut.
        let mut path = Path::new(Dist::Constant { value: 0.1 });
        path.loss = 1.0;
        driver.sim.set_path(PRIMARY, NODES[2], Some(path));
        assert_eq!(driver.ask(PRIMARY, add(3)).await, None);
        driver.sim.set_path(PRIMARY, NODES[2], None);
        assert!(driver.ask(PRIMARY, add(3)).await.is_some());
        driver.sim.set_network(path);
        assert_eq!(driver.ask(PRIMARY, add(4)).await, None);
    });
}

#[test]
fn a_busy_node_takes_what_has_come_in_one_turn() {
    simulate(4, |world| async move {
        let mut config = SimConfig::ideal(0.0);
        config.service = Service {
            per_message: [("echo".to_owned(), MS)].into(),
            ..Service::default()
        };
        let sim = Sim::new(&world, config);
        sim.add(PRIMARY, Counter::boxed(PRIMARY, vec![PRIMARY]));
        let times = Rc::new(RefCell::new(Vec::new()));
        let (clock, seen) = (world.clone(), Rc::clone(&times));
        let client = sim.client(Place::With(PRIMARY), move |_, _| {
            seen.borrow_mut().push(clock.now() / MS);
        });
        (0..5).for_each(|_| client.send(PRIMARY, Toy::Echo { data: vec![0; 9] }));
        world.sleep(20 * MS).await;
        // The first is worked on when the others come, which then are worked on together.
        assert_eq!(*times.borrow(), [1, 5, 5, 5, 5]);
        let metrics = sim.metrics(PRIMARY);
        assert_eq!(
            (metrics.turns, metrics.packets_in, metrics.packets_out),
            (3, 5, 2)
        );
        assert_eq!(metrics.busy, 5 * MS);
        assert_eq!(metrics.kinds["echo"].messages_in, 5);
        assert_eq!(metrics.kinds["echo"].bytes_out, 5 * 17);
    });
}

#[test]
fn several_cores_work_at_the_same_time() {
    simulate(4, |world| async move {
        let mut config = SimConfig::ideal(0.0);
        (config.cores, config.turn_limit) = (2, 1);
        config.service.other = MS;
        let sim = Sim::new(&world, config);
        sim.add(PRIMARY, Counter::boxed(PRIMARY, vec![PRIMARY]));
        let times = Rc::new(RefCell::new(Vec::new()));
        let (clock, seen) = (world.clone(), Rc::clone(&times));
        let client = sim.client(Place::With(PRIMARY), move |_, _| {
            seen.borrow_mut().push(clock.now() / MS);
        });
        (0..4).for_each(|_| client.send(PRIMARY, Toy::Echo { data: vec![0; 9] }));
        world.sleep(20 * MS).await;
        assert_eq!(*times.borrow(), [1, 1, 2, 2]);
    });
}

#[test]
fn a_stalled_node_goes_on_where_it_was() {
    simulate(5, |world| async move {
        let driver = Simulated::new(&world, SimConfig::ideal(0.1));
        driver.sim.stall(NODES[2], 100 * MS);
        let add = Toy::Add { op: 1, amount: 1 };
        assert_eq!(driver.ask(PRIMARY, add.clone()).await, None);
        insist(&driver, PRIMARY, add).await;
        assert!((100 * MS..110 * MS).contains(&world.now()));
    });
}

#[test]
fn nodes_are_told_when_a_client_goes_and_nothing_comes_to_it_then() {
    simulate(6, |world| async move {
        let sim = Sim::new(&world, SimConfig::ideal(1.0));
        sim.add(PRIMARY, Counter::boxed(PRIMARY, vec![PRIMARY]));
        let seen = Rc::new(Cell::new(0));
        let count = Rc::clone(&seen);
        let client = sim.client(Place::Away(Dist::Constant { value: 1.0 }), move |_, _| {
            count.set(count.get() + 1);
        });
        client.send(PRIMARY, Toy::Echo { data: vec![] });
        world.sleep(5 * MS).await;
        assert_eq!(seen.get(), 1);
        client.send(PRIMARY, Toy::Echo { data: vec![] });
        drop(client);
        assert_eq!(sim.gauges(PRIMARY)[1], ("gone", 0));
        world.sleep(5 * MS).await;
        assert_eq!(sim.gauges(PRIMARY)[1], ("gone", 1));
        assert_eq!(seen.get(), 1);
        assert_eq!(sim.metrics(PRIMARY).kinds["echo"].messages_in, 2);
    });
}

#[test]
fn a_world_is_freed_with_clients_that_own_themselves() {
    let token = Rc::new(());
    let inner = Rc::clone(&token);
    simulate(7, |world| async move {
        let sim = Sim::new(&world, SimConfig::ideal(1.0));
        let known = Rc::clone(&inner);
        let all = sim.clone();
        sim.add(PRIMARY, move |stored| {
            let _circle = (&known, &all);
            Box::new(Counter::new(PRIMARY, &[PRIMARY], stored))
        });
        let own: Rc<RefCell<Option<Client<Toy>>>> = Rc::default();
        let circle = (Rc::clone(&own), inner);
        let client = sim.client(Place::With(PRIMARY), move |_, _| {
            drop(circle.0.borrow_mut())
        });
        client.send(PRIMARY, Toy::Echo { data: vec![] });
        *own.borrow_mut() = Some(client);
        world.sleep(MS).await;
    });
    assert_eq!(Rc::strong_count(&token), 1);
}

#[test]
fn what_is_said_to_an_operator_is_kept() {
    simulate(8, |world| async move {
        let driver = Simulated::new(&world, SimConfig::ideal(0.1));
        let lines: Vec<String> = driver
            .sim
            .take_notices()
            .into_iter()
            .map(|notice| notice.line)
            .collect();
        assert_eq!(
            lines,
            ["n1 starts with 0", "n2 starts with 0", "n3 starts with 0"]
        );
        assert!(driver.sim.take_notices().is_empty());
        assert_eq!(Peer::from(PRIMARY).to_string(), "n1");
        assert!(!driver.sim.add(PRIMARY, Counter::boxed(PRIMARY, vec![])));
        assert_eq!(driver.sim.nodes(), NODES);
    });
}
