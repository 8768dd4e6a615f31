//! What goes wrong on plain caches, and what does not.

#[path = "../../refreshed/tests/common/mod.rs"]
mod common;

use common::{Shape, trials};
use triptych_cache_none::{Config, Plain};
use triptych_refreshed::cluster::lan;
use triptych_world::MS;

#[test]
fn it_loses_nothing_and_keeps_no_order() {
    let config = Config { period: 100 * MS };
    let report = trials(1..9, Shape::default(), move |site| {
        Plain::start(site, lan(), 3, config)
    });
    println!("{report:?}");
    assert!(report.count(&["session"]) > 20 && report.count(&["snapshot"]) > 20);
    let other = ["failed", "lost", "diverged"];
    assert_eq!(report.count(&other), 0, "{:?}", report.told);
    assert_eq!(report.aborts, 0);
}

#[test]
fn a_read_is_as_old_as_the_cache_has_it_until_that_is_refreshed() {
    use common::{key, site};
    use triptych_api::Value;
    use triptych_cache_none::server::{Reply, Request};
    use triptych_world::{Options, World};

    let run = World::simulate(1, Options::default(), |world| async move {
        let site = site(&world).await;
        let config = Config { period: 100 * MS };
        let cluster = triptych_cache_none::start(&world, lan(), &site.store, 2, config);
        let (here, there) = (cluster.port(0), cluster.port(1));
        let write = |n| Request::Write {
            key: key(1),
            value: Value::Int(n),
        };
        let read = || Request::Read { keys: vec![key(1)] };
        assert_eq!(here.ask(write(1)).await, Ok(Reply::Written));
        let seen = |n| Ok(Reply::Read(vec![Some(Value::Int(n))]));
        assert_eq!(there.ask(read()).await, seen(1));
        assert_eq!(here.ask(write(2)).await, Ok(Reply::Written));
        assert_eq!(here.ask(read()).await, seen(2));
        assert_eq!(there.ask(read()).await, seen(1), "nobody has told it");
        world.sleep(300 * MS).await;
        assert_eq!(there.ask(read()).await, seen(2));
    });
    run.expect("no deadlock");
}
