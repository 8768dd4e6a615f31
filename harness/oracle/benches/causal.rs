//! How fast the causal checker is: operations per second of wall time on records of a causal store,
//! fresh and stale, and four times as long, which should be as fast.
//!
//! `cargo bench -p triptych-oracle --bench causal`

use criterion::{Criterion, Throughput};
use std::hint::black_box;
use triptych_oracle::causal::check;
use triptych_oracle::causal::sample::{Shape, sample};

fn causal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("causal");
    group.sample_size(10);
    for (name, delivery, operations) in [
        ("fresh", 0.9, 100_000),
        ("fresh, four times as long", 0.9, 400_000),
        ("stale", 0.1, 100_000),
    ] {
        let shape = Shape {
            operations,
            replicas: 3,
            clients: 50,
            keys: 300,
            length: 40,
            delivery,
            transactions: true,
        };
        let causes = sample(&shape, 1, None);
        group.throughput(Throughput::Elements(u64::from(shape.operations)));
        group.bench_function(name, |bencher| {
            bencher.iter(|| check(black_box(&causes)).map(|report| report.seen.looks));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    causal(&mut criterion);
    criterion.final_summary();
}
