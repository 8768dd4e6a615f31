//! What goes wrong on plain caches, and what does not.

mod common;

use common::{Shape, trials};
use triptych_cache_none::cluster::lan;
use triptych_cache_none::{Config, Plain};
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
