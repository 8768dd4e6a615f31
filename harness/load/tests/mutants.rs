//! Seeded bugs of the runtime and of the app, run as whole campaigns: each is caught by the rule
//! that is meant for it, and the same run without the bug is valid. A run that saw too little says
//! unknown, never valid.

mod common;

use common::beldi;
use std::collections::BTreeSet;
use std::rc::Rc;
use triptych_api::model::Status;
use triptych_api::{Function, Guarantee, Handler};
use triptych_beldi::Bug;
use triptych_load::campaign::Campaign;
use triptych_load::run::{RunOutput, Subject, Watch, run_subject};
use triptych_movie::compose::JoinRow;
use triptych_movie::parts::CountRating;
use triptych_movie::reviews::{Review, UploadMovieReview};

/// Seeds that a bug may take to show.
const SEEDS: u64 = 6;

fn campaign(profile: &str, seed: u64, rate: u64, faults: &str) -> Campaign {
    let text = format!(
        "name = \"mutants\"\nruntimes = [\"beldi\"]\nprofiles = [\"{profile}\"]\nrates = [{rate}]\n\
         duration = \"12s\"\nwarmup = \"0s\"\nseeds = {seed}\n\
         [faults]\n{faults}\n[platform]\nshuffle = true\n\
         [settings]\nmovies = 12\nusers = 12\nsessions = 10\n"
    );
    Campaign::parse("mutants", &text).unwrap()
}

fn run_with(campaign: &Campaign, change: impl FnOnce(&mut Subject)) -> RunOutput {
    let cell = &campaign.cells()[0];
    let mut subject = Subject::of(campaign, cell).unwrap();
    change(&mut subject);
    run_subject(campaign, cell, "", &Watch::default(), subject).unwrap()
}

/// The rules that are violated over some seeds.
fn caught(profile: &str, faults: &str, change: impl Fn(&mut Subject)) -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    for seed in 1..=SEEDS {
        let output = run_with(&campaign(profile, seed, 60, faults), &change);
        rules.extend(output.verdict.violated().into_iter().map(str::to_owned));
    }
    rules
}

fn assert_names(rules: &BTreeSet<String>, meant: &str) {
    assert!(
        rules.contains(meant),
        "meant for {meant}, caught by {rules:?}"
    );
}

const CRASHES: &str = "crash_rate = 0.2\nduplicate_rate = 0.05";

#[test]
fn without_a_bug_everything_is_valid() {
    for profile in ["full-movie", "full-movie-choreo"] {
        let sound = caught(profile, CRASHES, |subject| {
            subject.deploy = |site| beldi(site, None)
        });
        assert_eq!(sound, BTreeSet::new(), "{profile}");
    }
}

#[test]
fn a_dropped_append_is_a_missing_list_entry() {
    let rules = caught("full-movie", CRASHES, |subject| {
        subject.deploy = |site| beldi(site, Some(Bug::DropAppend));
    });
    assert_names(&rules, "M4");
}

#[test]
fn a_skipped_read_log_dates_a_review_and_its_entry_apart() {
    let rules = caught("full-movie", CRASHES, |subject| {
        subject.deploy = |site| beldi(site, Some(Bug::SkipReadLog));
    });
    assert_names(&rules, "M7");
}

#[test]
fn a_late_duplicate_that_is_accepted_is_listed_twice() {
    let rules = caught("full-movie", CRASHES, |subject| {
        subject.deploy = |site| beldi(site, Some(Bug::AcceptLateDuplicate));
    });
    assert_names(&rules, "M4");
}

/// A join that fires twice: whoever closes the row fans out once more.
fn firing_twice(inner: Handler) -> Handler {
    Rc::new(move |ctx, call| {
        let inner = Rc::clone(&inner);
        Box::pin(async move {
            let request = call
                .input
                .get("reqId")
                .and_then(|id| id.as_str().map(str::to_owned));
            let output = inner(ctx, call).await?;
            let Some(req_id) = request else {
                return Ok(output);
            };
            let row: Option<JoinRow> = ctx.read("ComposeReview", &req_id).await?;
            let Some(row) = row else { return Ok(output) };
            if let (true, false, Some(review_id), Some(user_id), Some(movie_id), Some(rating)) = (
                row.fired,
                row.cancelled,
                row.review_id,
                row.user_id,
                row.movie_id,
                row.rating,
            ) {
                let (text, timestamp) = (String::new(), 0);
                let count = CountRating {
                    movie_id: movie_id.clone(),
                    rating,
                };
                let review = Review {
                    review_id,
                    user_id,
                    req_id,
                    text,
                    movie_id,
                    rating,
                    timestamp,
                };
                ctx.send(UploadMovieReview::of(&review)).await?;
                ctx.send(count).await?;
            }
            Ok(output)
        })
    })
}

#[test]
fn a_join_that_fires_twice_lists_and_counts_twice() {
    let rules = caught("full-movie-choreo", "", |subject| {
        let twice = |function: &mut Function| {
            if &*function.name == "ComposeReview" {
                function.handler = firing_twice(Rc::clone(&function.handler));
            }
        };
        subject.app.functions.iter_mut().for_each(twice);
    });
    assert_names(&rules, "M4");
    assert_names(&rules, "M8");
}

#[test]
fn a_run_that_saw_too_little_says_unknown() {
    let quiet = run_with(&campaign("full-movie", 1, 2, ""), |_| {});
    let effects = quiet.verdict.of(Guarantee::Effects).unwrap();
    assert_eq!(effects.status, Status::Unknown, "{}", effects.because);
    // Enough requests, but the faults that were asked for hit next to nothing.
    let lucky = run_with(
        &campaign("full-movie", 1, 60, "crash_rate = 0.0005"),
        |_| {},
    );
    let effects = lucky.verdict.of(Guarantee::Effects).unwrap();
    assert_eq!(effects.status, Status::Unknown, "{}", effects.because);
}
