//! A server of CausalMesh dies while functions work on it, and comes back later, more than once: what
//! is promised holds, because one server at a time may fail.

use std::cell::Cell;
use std::rc::Rc;
use triptych_cached::Policy;
use triptych_causalmesh::{Variant, deploy_on_mesh, start};
use triptych_faas::Deployment;
use triptych_load::campaign::Campaign;
use triptych_load::run::{RunOutput, Subject, Watch, run_subject};
use triptych_mesh::sim::SimMesh;
use triptych_model::{Guarantee, OpRecord, OutcomeClass, Status};
use triptych_registry::Site;
use triptych_world::{SECOND, World};

thread_local! {
    /// How many servers have died in the world of this thread.
    static DEATHS: Cell<u32> = const { Cell::new(0) };
}

/// One server after the other dies without a word, is away, and is back for a while.
async fn kill(world: World, mesh: SimMesh) {
    world.sleep(4 * SECOND).await;
    for round in 0..3 {
        let servers = mesh.servers();
        let victim = servers[round % servers.len()];
        assert!(mesh.ready(10 * SECOND).await, "the ring is whole again");
        mesh.sim().kill(victim);
        DEATHS.set(DEATHS.get() + 1);
        world.sleep(2 * SECOND).await;
        mesh.sim().restart(victim);
        world.sleep(SECOND).await;
    }
}

fn with_deaths(site: Site, variant: Variant) -> Rc<dyn Deployment> {
    let (world, mesh) = (site.world.clone(), start(&site, variant));
    let killed = kill(world.clone(), mesh.clone());
    world.spawn("killer", killed);
    deploy_on_mesh(site, variant, Policy::Random, mesh)
}

type Deploy = fn(Site) -> Rc<dyn Deployment>;

fn run(runtime: &str, profile: &str, seed: u64, deploy: Deploy) -> RunOutput {
    let small = triptych_workloads::find(profile).expect("exists").small();
    let small = small
        .iter()
        .map(|(key, value)| format!("{key} = {value:?}\n"));
    let text = format!(
        "name = \"failures\"\nruntimes = [{runtime:?}]\nprofiles = [{profile:?}]\nrates = [60]\n\
         duration = \"15s\"\nwarmup = \"0s\"\nseeds = {seed}\n[platform]\nshuffle = true\n\
         [settings]\n{}",
        small.collect::<String>()
    );
    let campaign = Campaign::parse("failures", &text).expect("it is a campaign");
    let cell = &campaign.cells()[0];
    let mut subject = Subject::of(&campaign, cell).expect("is known");
    subject.deploy = deploy;
    run_subject(&campaign, cell, "", &Watch::default(), subject).expect("it ends")
}

#[test]
fn a_server_dies_under_functions_and_order_and_what_was_acknowledged_stay() {
    let runtimes: [(&str, Deploy); 2] = [
        ("causalmesh", |site| with_deaths(site, Variant::Causal)),
        ("causalmesh-tcc", |site| with_deaths(site, Variant::Tcc)),
    ];
    for (runtime, deploy) in runtimes {
        for profile in ["full-movie-causal", "full-social-causal"] {
            for seed in 1..=2 {
                DEATHS.set(0);
                let output = run(runtime, profile, seed, deploy);
                let case = format!("{runtime} {profile} {seed}");
                assert_eq!(DEATHS.get(), 3, "{case}");
                let verdict = &output.verdict;
                assert_eq!(verdict.stuck, None, "{case}");
                for guarantee in [Guarantee::Order, Guarantee::Durability] {
                    let entry = verdict.of(guarantee).expect("is judged");
                    let because = format!("{case} {}: {}", guarantee.name(), entry.because);
                    assert_eq!(entry.status, Status::Valid, "{because}");
                }
                // Whoever was at a server that died was served by another one.
                let answered = |op: &&OpRecord| {
                    matches!(
                        op.outcome.class(),
                        OutcomeClass::Ok | OutcomeClass::Rejected
                    )
                };
                let ok = output.ops.iter().filter(answered).count();
                let share = ok as f64 / output.ops.len() as f64;
                println!("{case}: {ok} of {} requests answered", output.ops.len());
                assert!(share > 0.97, "{case}: {share}");
            }
        }
    }
}
