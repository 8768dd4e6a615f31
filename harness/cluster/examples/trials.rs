use triptych_cluster::trial::{Trial, batch};
fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u64>().unwrap());
    let (a, b, j) = (
        args.next().unwrap(),
        args.next().unwrap(),
        args.next().unwrap_or(2),
    );
    let t = std::time::Instant::now();
    let batch = batch::run(a..b, j as usize, Trial::new, |b| b.violations.len() < 10);
    for (seed, v) in &batch.violations {
        for v in v {
            println!("seed {seed}: {v}");
        }
    }
    println!(
        "{} trials, {} hurt, {:?} in {:?}",
        batch.trials,
        batch.hurt,
        batch.counts,
        t.elapsed()
    );
}
