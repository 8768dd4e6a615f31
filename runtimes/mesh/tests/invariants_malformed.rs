//! Whatever clients send, servers do not panic, and other clients are served as if nothing were.

#[allow(dead_code, unreachable_pub)]
mod ring_world;

use proptest::prelude::*;
use ring_world::random::Draws;
use ring_world::{Broken, Checked, Client, Made, Mesh, holds, key};
use std::collections::BTreeSet;
use std::sync::Arc;
use triptych_api::{Change, Value};
use triptych_mesh::{Clock, Context, Core, Key, Op, Refused, Slot, Version, WriteId};

/// Counts of versions that are, in no order, and that never will be. Dependencies are, if they are at
/// all, on what every server has received: whoever claims to have been shown what nobody was shown is
/// believed.
fn clock(draws: &mut Draws, mesh: &Mesh, deps: bool, only_real: bool) -> Clock {
    let mut clock = Clock::default();
    for slot in (0..mesh.servers() as u16).map(Slot) {
        let received = mesh.cores.iter().map(|core| core.received().get(slot));
        let most = if deps { received.min() } else { received.max() };
        let most = most.unwrap_or(0);
        let count = match draws.below(8) {
            0..3 => 0,
            3..7 => draws.below(most as usize + 1) as u64,
            _ if only_real => most,
            _ => [u64::MAX, u64::MAX - 1, 1 << 63, 1 << 40][draws.below(4)],
        };
        clock.raise(slot, count);
    }
    if !only_real && draws.one_in(12) {
        clock.raise(Slot([3, 9, u16::MAX][draws.below(3)]), 1 + draws.next() % 2);
    }
    clock
}

fn version(draws: &mut Draws, mesh: &Mesh) -> Arc<Version> {
    let op = || Op::Change(vec![Change::add("sum", 1), Change::set("sum", "text")]);
    let ops = (0..draws.below(4)).map(|at| (key(at as u64 / 2), op()));
    Arc::new(Version {
        ops: ops.collect(),
        origin: Slot([0, 1, 2, 3, u16::MAX][draws.below(5)]),
        clock: clock(draws, mesh, false, false),
        write: WriteId {
            client: draws.below(3) as u64,
            number: draws.below(4) as u64,
        },
    })
}

/// Some request that makes no sense, or might.
fn lie(draws: &mut Draws, mesh: &mut Mesh, number: u64) -> Checked {
    let at = draws.below(mesh.servers());
    let real = draws.one_in(2);
    let deps = clock(draws, mesh, true, real);
    let own: Vec<_> = (0..draws.below(3)).map(|_| version(draws, mesh)).collect();
    let keys: Vec<Key> = (0..draws.below(4)).map(|at| key(at as u64 / 2)).collect();
    let servers = mesh.servers();
    match draws.below(4) {
        0 => {
            let read = mesh.cores[at].read(servers, &deps, &own, &keys);
            let all = read.is_ok_and(|seen| seen.len() != keys.len());
            holds("every key", !all, || format!("{keys:?}"))
        }
        1 => {
            let _ = mesh.cores[at].read_at(servers, &deps, &own, &keys);
            Ok(())
        }
        2 => {
            let changes = [Change::add("sum", i64::MAX)];
            let _ = mesh.cores[at].consider(servers, &deps, &own, &key(0), None, &changes);
            Ok(())
        }
        _ => {
            let of_own = clock(draws, mesh, false, real);
            let write = WriteId {
                client: 900,
                number,
            };
            let ops = version(draws, mesh).ops.clone();
            let sound = ops.len() == 1 || ops.len() == 3 && ops[0].0 != ops[1].0;
            let written = mesh.cores[at].write(servers, &deps, &of_own, write, ops);
            let Ok(version) = written else {
                return Ok(());
            };
            holds("an odd write", sound, || format!("{version:?}"))?;
            accepted(mesh, at, version)
        }
    }
}

/// A write that was accepted goes round, and is a version as any other one.
fn accepted(mesh: &mut Mesh, at: usize, version: Arc<Version>) -> Checked {
    let id = (version.origin, version.number());
    let made = Made {
        version: Arc::clone(&version),
        past: BTreeSet::new(),
    };
    holds("C3", !mesh.made.contains_key(&id), || {
        format!("{id:?} twice")
    })?;
    mesh.made.insert(id, made);
    mesh.came[at].insert(id);
    mesh.start(at, &version)
}

fn run(seed: u64) -> Result<usize, Broken> {
    let mut draws = Draws::new(seed);
    let mut mesh = Mesh::new(1 + draws.below(3), true, None);
    let mut clients: Vec<Client> = (0..3).map(Client::new).collect();
    let servers = mesh.servers();
    for step in 0..150 {
        let (who, at) = (draws.below(3), draws.below(servers));
        match draws.below(10) {
            0..4 => {
                mesh.deliver(at)?;
            }
            4 => mesh.tell(at, (at + 1) % servers)?,
            5 => {
                let op = Op::Put(Value::Int(step));
                mesh.write(
                    &mut clients[who],
                    at,
                    vec![(key(draws.below(3) as u64), op)],
                )?;
            }
            6 => {
                let keys = [key(0), key(1), key(2)];
                mesh.read(&mut clients[who], at, &keys)?;
            }
            7 => mesh.fold(at),
            _ => lie(&mut draws, &mut mesh, step as u64)?,
        }
        let honest: Vec<&Client> = clients.iter().collect();
        mesh.check_among_liars(&honest)?;
    }
    mesh.settle()?;
    mesh.converged()?;
    let lies = mesh
        .made
        .values()
        .filter(|made| made.version.write.client == 900);
    Ok(lies.count())
}

#[test]
fn requests_that_make_no_sense_harm_nobody() {
    let mut lies = 0;
    for seed in 0..300 {
        match run(seed) {
            Ok(more) => lies += more,
            Err(broken) => panic!("seed {seed}: {broken:?}"),
        }
    }
    // Some were accepted, as clocks that nobody was told may still be possible.
    assert!(lies > 100, "{lies}");
}

#[test]
fn what_cannot_be_is_refused() {
    let mut core = Core::new(Slot(0), true, None);
    let none = Clock::default();
    let write = |number| WriteId { client: 1, number };
    let op = || Op::Put(Value::Int(1));
    let one = || vec![(key(0), op())];
    let never = Clock::from(vec![u64::MAX, u64::MAX]);
    let missing = |slot| Refused::Missing {
        origin: Slot(slot),
        number: u64::MAX,
    };
    assert_eq!(core.read(2, &never, &[], &[key(0)]), Err(missing(0)));
    assert_eq!(
        core.write(2, &never, &none, write(1), one()),
        Err(missing(0))
    );
    assert_eq!(
        core.write(2, &none, &never, write(1), one()),
        Err(missing(0))
    );
    let of_other = Clock::from(vec![0, u64::MAX]);
    assert_eq!(
        core.write(2, &none, &of_other, write(1), one()),
        Err(missing(1))
    );
    let far = Clock::from(vec![1; 70_000]);
    let refused = core.write(2, &far, &none, write(1), one());
    assert_eq!(refused, Err(Refused::NoServer(Slot(u16::MAX))));
    let nothing = core.write(2, &none, &none, write(1), Vec::new());
    assert!(matches!(nothing, Err(Refused::Malformed(_))), "{nothing:?}");
    let twice = core.write(
        2,
        &none,
        &none,
        write(1),
        vec![(key(0), op()), (key(0), op())],
    );
    assert!(matches!(twice, Err(Refused::Malformed(_))), "{twice:?}");
    // None of it has left anything behind.
    let first = core
        .write(2, &none, &none, write(1), one())
        .expect("this is one");
    assert_eq!(first.clock, Clock::from(vec![1]));
    assert_eq!(core.received(), &first.clock);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn contexts_of_any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        if let Ok(context) = Context::decode(&bytes) {
            let again = Context::decode(&context.encode());
            prop_assert_eq!(again, Ok(context));
        }
    }

    #[test]
    fn rings_of_any_size_and_hops_are_survived(number: u64, hop: u32, ring: u32, of_other: u64) {
        let mut core = Core::new(Slot(0), true, None);
        let version = Arc::new(Version {
            origin: Slot(1),
            clock: Clock::from(vec![of_other, number]),
            write: WriteId { client: 0, number: 0 },
            ops: Vec::new(),
        });
        core.arrive(&version, hop, ring);
        prop_assert!(core.received().get(Slot(1)) <= 1);
        prop_assert!(core.applied().is_zero() || of_other == 0);
        core.is_stable(&version.clock);
    }
}
