use triptych_cluster::trial::{Trial, batch};
use triptych_log::{Bugs, engine, storage};
fn main() {
    let t = std::time::Instant::now();
    let engines = engine::Bug::ALL.iter().map(|&b| {
        (
            format!("engine {b:?}"),
            Bugs {
                engine: Some(b),
                ..Bugs::default()
            },
        )
    });
    let storages = storage::Bug::ALL.iter().map(|&b| {
        (
            format!("storage {b:?}"),
            Bugs {
                storage: Some(b),
                ..Bugs::default()
            },
        )
    });
    for (name, bugs) in engines.chain(storages) {
        let batch = batch::run(
            0..60,
            1,
            |seed| Trial {
                bugs,
                ..Trial::new(seed)
            },
            |b| b.violations.is_empty(),
        );
        let first = batch.violations.iter().next();
        println!(
            "{name}: {:?} after {} trials {:?}",
            first.map(|(s, v)| (s, v[0].to_string().chars().take(150).collect::<String>())),
            batch.trials,
            t.elapsed()
        );
    }
}
