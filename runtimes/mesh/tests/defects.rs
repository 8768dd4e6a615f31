//! Every seeded defect of the node is seen, each in a situation that is constructed for it. Without
//! the defect the same situation keeps all promises.

mod mesh_world;

use mesh_world::aimed::{Cluster, S1, S2, S3, Verdict, doc, ensure, on_cluster};
use triptych_mesh::{Config, Level, NodeBug, Ring, Slot};
use triptych_world::{MS, Nanos, SECOND};

type Bug = Option<NodeBug>;

/// Nothing is stored in the time of a test.
const NEVER: Nanos = 3_600 * SECOND;

/// The situations that show a defect.
fn situations(bug: NodeBug) -> &'static [fn(Bug) -> Verdict] {
    match bug {
        NodeBug::AcksBeforeDurable => &[blackout_at_the_ack, death_at_the_ack],
        NodeBug::ReusesSlot => &[a_new_life_after_a_lost_write],
        NodeBug::NoRecirculation => &[a_change_while_a_version_is_under_way],
        NodeBug::ForgetsInheritance => &[only_the_heir_has_it],
        NodeBug::RemovedServes => &[cut_off_and_back],
        NodeBug::LinkForgetsResend => &[a_frame_is_lost],
        NodeBug::LinkTakesAnyOrder => &[a_frame_is_lost_and_the_next_is_not],
        NodeBug::StoresWithoutCondition => &[an_old_keeper_comes_late],
        NodeBug::ServesWithoutCopy => &[what_only_a_copy_has],
        NodeBug::EvictsUnstored => &[more_keys_than_room],
        NodeBug::ForgetsDisk => &[only_a_disk_has_it],
    }
}

#[test]
fn every_defect_of_the_node_is_seen() {
    for bug in NodeBug::ALL {
        for (nth, situation) in situations(bug).iter().enumerate() {
            assert_eq!(situation(None), Ok(()), "{bug:?}, {nth}, without it");
            let verdict = situation(Some(bug));
            println!("{bug:?}, {nth}: {verdict:?}");
            assert!(verdict.is_err(), "{bug:?}, {nth}, is not seen");
        }
    }
}

/// Three servers whose links send nothing again while a test lasts.
fn without_resends(level: Level) -> Config {
    let mut config = Config::of(3, level);
    config.timing.again_after = NEVER;
    config
}

fn blackout_at_the_ack(bug: Bug) -> Verdict {
    on_cluster(Config::of(3, Level::Synced), bug, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        it.add(S1, &key).await?;
        [S1, S2, S3].iter().for_each(|&server| it.kill(server));
        [S1, S2, S3].iter().for_each(|&server| it.restart(server));
        it.ready().await?;
        it.quiet().await?;
        it.comes_to(S2, &key, 1).await
    })
}

fn death_at_the_ack(bug: Bug) -> Verdict {
    on_cluster(Config::of(3, Level::Replicated), bug, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        it.part(S1);
        let acked = it.add_within(S1, &key, 50 * MS).await.is_some();
        it.kill(S1);
        it.heal();
        it.ring_of(S2, 2).await?;
        it.comes_to(S2, &key, i64::from(acked)).await
    })
}

fn a_new_life_after_a_lost_write(bug: Bug) -> Verdict {
    on_cluster(Config::of(3, Level::Async), bug, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        it.part(S1);
        let lost = it.add(S1, &key).await?;
        it.kill(S1);
        it.ring_of(S2, 2).await?;
        it.heal();
        it.restart(S1);
        it.ready().await?;
        let new = it.add(S1, &key).await?;
        let same = new.origin == lost.origin && new.number() == lost.number();
        ensure(!same, "two versions are the same one")
    })
}

fn a_change_while_a_version_is_under_way(bug: Bug) -> Verdict {
    on_cluster(without_resends(Level::Async), bug, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        it.part(S1);
        it.add(S1, &key).await?;
        it.world.sleep(5 * MS).await;
        it.heal();
        it.kill(S3);
        it.ring_of(S1, 2).await?;
        it.comes_to(S2, &key, 1).await
    })
}

fn only_the_heir_has_it(bug: Bug) -> Verdict {
    on_cluster(without_resends(Level::Replicated), bug, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        it.mesh.sim().cut(&[S2], &[S3]);
        it.add(S1, &key).await?;
        it.kill(S1);
        it.world.sleep(5 * MS).await;
        it.heal();
        it.ring_of(S3, 2).await?;
        it.comes_to(S3, &key, 1).await
    })
}

fn only_a_disk_has_it(bug: Bug) -> Verdict {
    on_cluster(Config::of(3, Level::Synced), bug, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        it.part(S1);
        it.add(S1, &key).await?;
        it.kill(S1);
        it.ring_of(S2, 2).await?;
        it.heal();
        it.comes_to(S2, &key, 0).await?;
        it.restart(S1);
        it.ready().await?;
        it.quiet().await?;
        it.comes_to(S2, &key, 1).await
    })
}

fn cut_off_and_back(bug: Bug) -> Verdict {
    on_cluster(Config::of(3, Level::Async), bug, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        it.part(S1);
        it.mesh.cut_store(S1, true);
        it.ring_of(S2, 2).await?;
        let served = it.count(S1, &key).await.is_some();
        it.heal();
        it.mesh.cut_store(S1, false);
        it.add(S2, &key).await?;
        it.comes_to(S1, &key, 1).await?;
        ensure(!served, "it served without a lease")
    })
}

fn what_only_a_copy_has(bug: Bug) -> Verdict {
    let mut config = Config::of(3, Level::Async);
    config.timing.store_every = NEVER;
    on_cluster(config, bug, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        it.add(S1, &key).await?;
        it.comes_to(S2, &key, 1).await?;
        it.kill(S3);
        it.ring_of(S1, 2).await?;
        // It reaches the store, and so the ring; the copy is late.
        it.part(S3);
        it.restart(S3);
        it.ring_of(S3, 3).await?;
        it.world.sleep(50 * MS).await;
        it.heal();
        it.ready().await?;
        it.comes_to(S3, &key, 1).await
    })
}

fn a_frame_is_lost(bug: Bug) -> Verdict {
    on_cluster(Config::of(3, Level::Async), bug, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        it.part(S1);
        it.add(S1, &key).await?;
        it.world.sleep(10 * MS).await;
        it.heal();
        it.comes_to(S2, &key, 1).await
    })
}

fn a_frame_is_lost_and_the_next_is_not(bug: Bug) -> Verdict {
    let mut config = Config::of(3, Level::Async);
    config.timing.again_after = 50 * MS;
    on_cluster(config, bug, |it| async move {
        let key = doc("a");
        it.warm(&key).await?;
        it.part(S1);
        it.add(S1, &key).await?;
        it.world.sleep(5 * MS).await;
        it.heal();
        it.add(S1, &key).await?;
        it.comes_to(S2, &key, 2).await
    })
}

/// A key that this server of three writes to the backing store.
fn kept_by(it: &Cluster, server: triptych_nodes::NodeId) -> Result<triptych_mesh::Key, String> {
    let slot = it.mesh.gauge(server, "slot").unwrap_or(0);
    let ring = Ring::fixed(&[S1, S2, S3]);
    let keys = (0..100).map(|nth| doc(&format!("k{nth}")));
    let mut keys =
        keys.filter(|key| ring.keeper(key).map(|Slot(at)| u64::from(at) + 1) == Some(slot));
    keys.next().ok_or_else(|| "no key is kept by it".to_owned())
}

/// The keeper of a key asks the store to replace its row, and is not heard. Others keep the key
/// meanwhile, and write a newer row. Then the store hears the first one again, at one time or another
/// before that one has asked who is on the ring.
fn an_old_keeper_comes_late(bug: Bug) -> Verdict {
    // When it asks again, it must not have heard that it is off the ring: one of these moments is such.
    for wait in (0..60).map(|nth| 7 * nth) {
        let mut config = Config::of(3, Level::Async);
        config.timing.store_every = 10 * MS;
        config.timing.ask_again_after = 60 * MS;
        on_cluster(config, bug, move |it| async move {
            let key = kept_by(&it, S1)?;
            it.warm(&key).await?;
            it.mesh.cut_store(S1, true);
            it.add(S1, &key).await?;
            it.comes_to(S1, &key, 1).await?;
            it.comes_to(S3, &key, 1).await?;
            it.world.sleep(30 * MS).await;
            it.part(S1);
            it.ring_of(S2, 2).await?;
            it.add(S2, &key).await?;
            it.until(|| it.stored(&key) == 2, "it is not stored")
                .await?;
            it.world.sleep(wait * MS).await;
            it.mesh.cut_store(S1, false);
            it.world.sleep(500 * MS).await;
            it.heal();
            it.ready().await?;
            it.quiet().await?;
            ensure(
                it.stored(&key) == 2,
                "an older row has replaced a newer one",
            )
        })?;
    }
    Ok(())
}

fn more_keys_than_room(bug: Bug) -> Verdict {
    let mut config = Config::of(3, Level::Async);
    config.timing.store_every = NEVER;
    config.limits.cache_keys = 2;
    on_cluster(config, bug, |it| async move {
        let keys: Vec<_> = (0..10).map(|nth| doc(&format!("k{nth}"))).collect();
        for key in &keys {
            it.add(S1, key).await?;
            it.world.sleep(5 * MS).await;
        }
        for key in &keys {
            it.comes_to(S1, key, 1).await?;
        }
        Ok(())
    })
}
