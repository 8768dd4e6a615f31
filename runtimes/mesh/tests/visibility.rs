//! How soon strangers see a write, who depend on nothing: at each server of the ring.

mod mesh_world;

use mesh_world::aimed::{Cluster, doc, ensure, on_cluster};
use std::cell::RefCell;
use std::rc::Rc;
use triptych_mesh::{Config, Level};
use triptych_world::{MS, Nanos};

const US: Nanos = 1_000;
/// So many writes, at different times since the last heartbeat.
const WRITES: u64 = 40;

/// The mean time from a write until it is seen, at its head, at the server behind that, and so on,
/// the tail being the last; and the messages for each write, without heartbeats.
async fn measure(it: &Cluster) -> Result<(Vec<Nanos>, u64), String> {
    let key = doc("a");
    it.warm(&key).await?;
    let mut ring = it.mesh.servers().to_vec();
    ring.sort_by_key(|&server| it.mesh.gauge(server, "slot"));
    let applied = |server| it.mesh.gauge(server, "applied").unwrap_or(0);
    let mut sums = vec![0; ring.len()];
    let mut messages = 0;
    for nth in 0..WRITES {
        it.quiet().await?;
        it.world.sleep(nth * 700 * US).await;
        let before = applied(ring[0]);
        let (begun, sent) = (it.world.now(), it.mesh.sim().packets());
        it.add(ring[0], &key).await?;
        let mut waiting: Vec<usize> = (0..ring.len()).collect();
        while !waiting.is_empty() {
            let passed = it.world.now() - begun;
            ensure(passed < 100 * MS, "it is not seen")?;
            waiting.retain(|&at| {
                let seen = applied(ring[at]) > before;
                sums[at] += if seen { passed } else { 0 };
                !seen
            });
            it.world.sleep(10 * US).await;
        }
        messages += it.mesh.sim().packets() - sent;
    }
    Ok((
        sums.iter().map(|sum| sum / WRITES).collect(),
        messages / WRITES,
    ))
}

#[test]
fn a_write_is_seen_everywhere_without_waiting_for_a_heartbeat() {
    for servers in [2_u16, 3, 5] {
        let mut config = Config::of(servers, Level::Async);
        config.timing.store_every = 10 * MS;
        let told = Rc::new(RefCell::new((Vec::new(), 0)));
        let out = Rc::clone(&told);
        let verdict = on_cluster(config, None, |it| async move {
            *out.borrow_mut() = measure(&it).await?;
            Ok(())
        });
        assert_eq!(verdict, Ok(()), "{servers} servers");
        let (seen, messages) = told.borrow().clone();
        let micros: Vec<Nanos> = seen.iter().map(|span| span / US).collect();
        println!("{servers} servers: seen after {micros:?} us, head to tail; {messages} messages");
        // The tail has it after 2n-1 hops, whoever is the k-th behind it k hops later.
        let tail = seen[seen.len() - 1];
        let hop = tail / u64::from(2 * servers - 1);
        for (k, &span) in (1..).zip(&seen[..seen.len() - 1]) {
            let most = tail + (k + 1) * hop + hop;
            assert!(
                span <= most,
                "{k} hops behind the tail: {span} ns, not {most}"
            );
        }
    }
}
