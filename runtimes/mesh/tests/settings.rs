//! What can be set: dissemination, last writer wins, and how many have a write before it counts.

mod mesh_world;

use mesh_world::aimed::{Cluster, S1, S2, S3, Verdict, count_in, doc, ensure, on_cluster};
use triptych_api::{Change, Value};
use triptych_mesh::{Clock, Config, Level};
use triptych_nodes::NodeId;
use triptych_world::{MS, Nanos, SECOND};

/// The published protocol, in which nobody is told what is stable: a version is seen at its tail, and
/// elsewhere only by somebody who depends on it, until it is written to the backing store.
#[test]
fn without_dissemination_a_version_is_seen_where_it_is_asked_for() {
    let mut config = Config::of(3, Level::Async);
    config.timing.disseminate_every = Nanos::MAX;
    config.timing.store_every = 3_600 * SECOND;
    let verdict = on_cluster(config, None, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        let version = it.add(S1, &key).await?;
        it.world.sleep(SECOND).await;
        // The server before the head is its tail.
        let ring = [S1, S2, S3].map(|server| it.mesh.gauge(server, "slot"));
        let many = ring.len() as u64;
        let place = |server: usize| ring[server].map(|slot| slot - 1);
        let tail = place(0).map(|head| (head + many - 1) % many);
        for (nth, server) in [S1, S2, S3].into_iter().enumerate() {
            let expected = i64::from(place(nth) == tail);
            let count = it.count(server, &key).await;
            ensure(
                count == Some(expected),
                "a stranger sees it elsewhere than at its tail",
            )?;
        }
        for server in [S1, S2, S3] {
            let seen = it.look(server, &key, &version.clock).await;
            let here = seen.is_some_and(|seen| count_in(&seen) == 1);
            ensure(here, "somebody depends on it and does not see it")?;
            // Then it is there for all.
            it.comes_to(server, &key, 1).await?;
        }
        Ok(())
    });
    assert_eq!(verdict, Ok(()));
}

/// What nobody asks for is written to the backing store all the same, and a server that has no room
/// for it may forget it.
#[test]
fn without_dissemination_what_is_stable_is_stored() {
    let mut config = Config::of(3, Level::Async);
    config.timing.disseminate_every = Nanos::MAX;
    config.limits.cache_keys = 2;
    let verdict = on_cluster(config, None, |it| async move {
        let keys: Vec<_> = (0..8).map(|nth| doc(&format!("k{nth}"))).collect();
        for server in [S1, S2, S3] {
            for key in &keys {
                it.add(server, key).await?;
            }
        }
        it.quiet().await?;
        for key in &keys {
            let n = it.stored(key);
            ensure(n == 3, &format!("{n} of 3 writes are stored"))?;
        }
        let room = |server| it.mesh.gauge(server, "keys").is_some_and(|keys| keys <= 2);
        let all = || [S1, S2, S3].into_iter().all(room);
        it.until(all, "nothing is forgotten").await?;
        for server in [S1, S2, S3] {
            it.comes_to(server, &keys[0], 3).await?;
        }
        Ok(())
    });
    assert_eq!(verdict, Ok(()));
}

#[test]
fn writes_go_on_without_dissemination_and_stop_when_nothing_becomes_stable() {
    let mut config = Config::of(3, Level::Async);
    config.timing.disseminate_every = Nanos::MAX;
    config.timing.store_every = 3_600 * SECOND;
    config.limits.unstable = 5;
    let verdict = on_cluster(config, None, |it| async move {
        let key = doc("a");
        for _ in 0..20 {
            it.add(S1, &key).await?;
            // Time to come round, and for the tail to say so.
            it.world.sleep(50 * MS).await;
        }
        it.part(S1);
        let mut taken = 0;
        while it.add_within(S1, &key, 5 * MS).await.is_some() && taken < 10 {
            taken += 1;
        }
        ensure(taken == 5, &format!("{taken} were taken that nobody has"))
    });
    assert_eq!(verdict, Ok(()));
}

#[test]
fn with_dissemination_everybody_sees_a_version_soon() {
    for every in [0, 30 * MS] {
        let mut config = Config::of(3, Level::Async);
        config.timing.disseminate_every = every;
        let verdict = on_cluster(config, None, |it| async move {
            let key = doc("a");
            it.warm(&key).await?;
            it.add(S1, &key).await?;
            it.world.sleep(100 * MS).await;
            for server in [S1, S2, S3] {
                let count = it.count(server, &key).await;
                ensure(count == Some(1), "it is not seen everywhere")?;
            }
            Ok(())
        });
        assert_eq!(verdict, Ok(()), "{every}");
    }
}

/// Two clients append to the same list at the same time, at two servers. How much is in it then, the
/// same everywhere.
async fn two_appends(it: Cluster) -> Result<usize, String> {
    let key = doc("a");
    it.warm(&key).await?;
    let append = |value| vec![Change::append("l", Value::Int(value))];
    let first = it.update_within(S1, &key, append(1), SECOND);
    let second = it.update_within(S2, &key, append(2), SECOND);
    let (first, second) = futures_util::future::join(first, second).await;
    ensure(
        first.is_some() && second.is_some(),
        "they are not acknowledged",
    )?;
    it.quiet().await?;
    let mut lists = Vec::new();
    for server in [S1, S2, S3] {
        let seen = it.look(server, &key, &Clock::default()).await;
        let list = match seen.and_then(|seen| seen.value) {
            Some(Value::Map(document)) => document.get("l").cloned(),
            _ => None,
        };
        lists.push(list);
    }
    ensure(
        lists.windows(2).all(|two| two[0] == two[1]),
        "servers differ",
    )?;
    match lists.first() {
        Some(Some(Value::List(list))) => Ok(list.len()),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn concurrent_appends_merge_unless_the_last_writer_wins() {
    for (compat, left) in [(false, 2), (true, 1)] {
        let mut config = Config::of(3, Level::Async);
        config.compat = compat;
        let verdict = on_cluster(config, None, move |it| async move {
            let many = two_appends(it).await?;
            ensure(many == left, &format!("{many} appends are left"))
        });
        assert_eq!(verdict, Ok(()), "{compat}");
    }
}

/// A write is made at the first of four servers, and nothing comes from the second to the third.
/// Whether it is acknowledged; the first two die at that.
fn only_the_next_one_hears_it(replicas: u16, expected: bool) -> Verdict {
    let mut config = Config::of(4, Level::Replicated);
    config.replicas = replicas;
    on_cluster(config, None, move |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        // The servers in the order of the ring.
        let mut ring = it.mesh.servers().to_vec();
        ring.sort_by_key(|&server| it.mesh.gauge(server, "slot"));
        it.mesh.sim().cut(&[ring[1]], &[ring[2]]);
        let acked = it.add_within(ring[0], &key, 40 * MS).await.is_some();
        ensure(acked == expected, "who has it does not decide")?;
        it.kill(ring[0]);
        it.kill(ring[1]);
        it.heal();
        it.ring_of(ring[2], 2).await?;
        it.comes_to(ring[2], &key, 0).await
    })
}

#[test]
fn as_many_as_the_level_says_have_a_write_before_it_is_acknowledged() {
    assert_eq!(only_the_next_one_hears_it(1, true), Ok(()));
    assert_eq!(only_the_next_one_hears_it(2, false), Ok(()));
}

#[test]
fn two_replicas_survive_the_head_and_the_next_one() {
    let mut config = Config::of(4, Level::Replicated);
    config.replicas = 2;
    config.timing.store_every = 3_600 * SECOND;
    let verdict = on_cluster(config, None, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        let mut ring = it.mesh.servers().to_vec();
        ring.sort_by_key(|&server| it.mesh.gauge(server, "slot"));
        let ends: [NodeId; 2] = [ring[2], ring[3]];
        // The fourth has not heard of it when it counts.
        it.mesh.sim().cut(&[ring[2]], &[ring[3]]);
        it.add(ring[0], &key).await?;
        it.kill(ring[0]);
        it.kill(ring[1]);
        it.heal();
        it.ring_of(ring[2], 2).await?;
        for server in ends {
            it.comes_to(server, &key, 1).await?;
        }
        // With two servers left nothing can be had as often as promised.
        let refused = it.add_within(ring[2], &key, SECOND).await;
        ensure(refused.is_none(), "it promises what it cannot keep")?;
        it.restart(ring[0]);
        it.restart(ring[1]);
        it.ready().await?;
        it.add(ring[0], &key).await?;
        it.comes_to(ring[1], &key, 2).await
    });
    assert_eq!(verdict, Ok(()));
}
