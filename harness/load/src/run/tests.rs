//! Short runs of the whole stack.

use super::*;

fn campaign(extra: &str) -> Campaign {
    let text = format!(
        "name = \"t\"\nruntimes = [\"baseline\", \"beldi\"]\nprofiles = [\"full-movie\"]\n\
         rates = [40]\nduration = \"5s\"\nwarmup = \"1s\"\n{extra}\n\
         [settings]\nmovies = 20\nusers = 20\n"
    );
    Campaign::parse("t.toml", &text).unwrap()
}

fn run_cell(campaign: &Campaign, cell: usize) -> RunOutput {
    run(campaign, &campaign.cells()[cell], "none", &Watch::default()).unwrap()
}

#[test]
fn a_run_accounts_for_every_request_and_becomes_quiet() {
    let campaign = campaign("");
    for cell in 0..2 {
        let output = run_cell(&campaign, cell);
        let RunOutput {
            manifest,
            ops,
            work,
            verdict,
            ..
        } = &output;
        assert_eq!(ops.len() as u64, manifest.intended);
        assert!((150..250).contains(&ops.len()), "{}", ops.len());
        assert!(
            ops.iter()
                .all(|op| op.settled_ns >= op.intended_ns && op.entry_ns > 0)
        );
        assert!(work.invocations >= manifest.intended && work.write_units > 0);
        assert_eq!(verdict.stuck, None);
        assert_eq!(verdict.violated(), Vec::<&str>::new(), "{verdict:?}");
        let again = rejudge(manifest, ops, &output.state, output.history.as_ref()).unwrap();
        assert_eq!(&again, verdict);
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_runtimes_share_their_requests() {
    let campaign = campaign("[faults]\ncrash_rate = 0.05\n[platform]\nshuffle = true");
    let (first, again) = (run_cell(&campaign, 1), run_cell(&campaign, 1));
    assert_eq!(first.ops, again.ops);
    assert_eq!((first.work, first.state), (again.work, again.state));
    assert_eq!(
        (&first.manifest, first.verdict),
        (&again.manifest, again.verdict)
    );
    let other = run_cell(&campaign, 0);
    assert_eq!(
        first.manifest.generator_digest,
        other.manifest.generator_digest
    );
    let asked = |run: &RunOutput| -> Vec<_> {
        run.ops
            .iter()
            .map(|op| (op.intended_ns, op.input.clone()))
            .collect()
    };
    assert_eq!(asked(&again_of(&campaign)), asked(&other));
}

fn again_of(campaign: &Campaign) -> RunOutput {
    run_cell(campaign, 1)
}

#[test]
fn a_run_that_is_asked_to_stop_stops() {
    let campaign = campaign("");
    let watch = Watch::default();
    watch.cancel.cancel();
    let result = run(&campaign, &campaign.cells()[0], "none", &watch);
    assert_eq!(result.map(|_| ()), Err(RunError::Cancelled));
}
