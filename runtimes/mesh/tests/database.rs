//! A ring in front of a node that keeps rows and ring on its own disk, from end to end.

mod mesh_world;

use mesh_world::aimed::{Cluster, S1, S2, S3, Verdict, doc, ensure, honest, simulate};
use mesh_world::backing;
use triptych_mesh::sim::{SimMesh, lan};
use triptych_mesh::{Bugs, Config, ConfigError, Level};
use triptych_nodes::NodeId;
use triptych_world::{MS, Options, SECOND, World};

const DATABASE: NodeId = NodeId(9);

fn on_database<F, R>(config: Config, body: F) -> Verdict
where
    F: FnOnce(Cluster) -> R + 'static,
    R: Future<Output = Verdict> + 'static,
{
    simulate(move |world| async move {
        let mesh = SimMesh::start_on_database(&world, config, honest(), DATABASE, Bugs::default());
        let (unused, _) = backing(&world);
        let cluster = Cluster::of(&world, mesh.expect("it can be"), unused);
        cluster.ready().await?;
        body(cluster).await
    })
}

/// Every document counts one, at every server.
async fn all_there(it: &Cluster, many: usize) -> Verdict {
    for nth in 0..many {
        for server in [S1, S2, S3] {
            it.comes_to(server, &doc(&format!("k{nth}")), 1).await?;
        }
    }
    Ok(())
}

async fn add_all(it: &Cluster, many: usize) -> Verdict {
    for nth in 0..many {
        let server = [S1, S2, S3][nth % 3];
        it.add(server, &doc(&format!("k{nth}"))).await?;
    }
    Ok(())
}

#[test]
fn what_is_forgotten_comes_back_from_the_database() {
    let mut config = Config::of(3, Level::Async);
    config.limits.cache_keys = 4;
    let verdict = on_database(config, |it| async move {
        add_all(&it, 20).await?;
        it.quiet().await?;
        let rows = it.mesh.gauge(DATABASE, "rows");
        ensure(rows == Some(20), &format!("{rows:?} rows are written"))?;
        all_there(&it, 20).await?;
        for server in [S1, S2, S3] {
            let keys = it.mesh.gauge(server, "keys").unwrap_or(u64::MAX);
            ensure(keys < 10, &format!("{server} has {keys} keys"))?;
        }
        Ok(())
    });
    assert_eq!(verdict, Ok(()));
}

#[test]
fn caches_serve_what_they_have_while_the_database_is_down() {
    let config = Config::of(3, Level::Async);
    let verdict = on_database(config, |it| async move {
        add_all(&it, 6).await?;
        it.quiet().await?;
        all_there(&it, 6).await?;
        it.kill(DATABASE);
        // They hear each other, so they go on.
        it.world.sleep(500 * MS).await;
        it.add(S1, &doc("k0")).await?;
        it.comes_to(S3, &doc("k0"), 2).await?;
        let missing = doc("missing");
        let asked = it.add_within(S1, &missing, 300 * MS).await;
        ensure(
            asked.is_none(),
            "it takes a row for empty that it cannot see",
        )?;
        it.restart(DATABASE);
        it.add(S1, &missing).await?;
        it.quiet().await?;
        let rows = it.mesh.gauge(DATABASE, "rows");
        ensure(rows == Some(7), &format!("{rows:?} rows are written"))?;
        it.comes_to(S2, &doc("k0"), 2).await
    });
    assert_eq!(verdict, Ok(()));
}

#[test]
fn the_ring_in_the_database_changes_with_the_servers() {
    let config = Config::of(3, Level::Replicated);
    let verdict = on_database(config, |it| async move {
        let epoch = || it.mesh.gauge(DATABASE, "epoch").unwrap_or(0);
        add_all(&it, 6).await?;
        let before = epoch();
        it.kill(S2);
        it.ring_of(S1, 2).await?;
        ensure(epoch() > before, "the row still has the ring before")?;
        it.restart(S2);
        it.ready().await?;
        let same = it.mesh.gauge(S2, "epoch") == Some(epoch());
        ensure(same, "the row has another ring than the servers")?;
        all_there(&it, 6).await
    });
    assert_eq!(verdict, Ok(()));
}

#[test]
fn what_the_database_has_survives_all_others_and_itself() {
    let config = Config::of(3, Level::Async);
    let verdict = on_database(config, |it| async move {
        add_all(&it, 12).await?;
        it.quiet().await?;
        let all = [DATABASE, S1, S2, S3];
        all.iter().for_each(|&node| it.kill(node));
        it.world.sleep(10 * MS).await;
        all.iter().for_each(|&node| it.restart(node));
        it.ready().await?;
        all_there(&it, 12).await?;
        it.add(S2, &doc("k0")).await?;
        it.quiet().await?;
        it.comes_to(S1, &doc("k0"), 2).await
    });
    assert_eq!(verdict, Ok(()));
}

#[test]
fn a_database_has_a_number_of_its_own() {
    World::simulate(1, Options::default(), |world| async move {
        let config = Config::of(3, Level::Async);
        let made = SimMesh::start_on_database(&world, config, lan(), S2, Bugs::default());
        assert_eq!(made.err(), Some(ConfigError::Twice(S2)));
        world.sleep(SECOND).await;
    })
    .expect("it ends");
}
