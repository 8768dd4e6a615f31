//! Which rule kills which seeded bug of Beldi: every bug is put under several workloads with faults,
//! and the rules that are violated are told. A bug is caught if some rule is violated, or if the run
//! never comes to rest, which is a finding too.
//!
//! Bugs of collectors need runs that are longer than `T`. What no workload shows here is shown by the
//! crash tests of the runtime (`cargo test -p triptych-beldi`), where single crashes are aimed.
//! [`Bug::NoQueue`] is not here: it breaks no rule, only a bound on time, which a test there measures.
//!
//! `cargo bench -p triptych-load --bench kills`

#[path = "../tests/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use triptych_beldi::Bug;
use triptych_load::campaign::Campaign;
use triptych_load::pool::{self, Cancel};
use triptych_load::run::{Subject, Watch, run_subject};

const SEEDS: u64 = 4;

/// Bugs of logs and of transactions, under short runs with many crashes.
const SHORT: [Bug; 19] = [
    Bug::SkipReadLog,
    Bug::AcceptLateDuplicate,
    Bug::DropAppend,
    Bug::LockLostOnAppend,
    Bug::StepsDependOnLog,
    Bug::AbortKeepsLocks,
    Bug::LockNotNoted,
    Bug::DeathNotLogged,
    Bug::CommitAppliesBlindly,
    Bug::ForgetEarlierCallees,
    Bug::NoReadYourWrites,
    Bug::NoReadLocks,
    Bug::ReleaseBeforeApply,
    Bug::CommitSkipsFunction,
    Bug::WriteThrough,
    Bug::IgnoreAbort,
    Bug::SendBeforeCommit,
    Bug::CallbackLost,
    Bug::FireOnly,
];
/// Bugs of collectors and of lists, under runs that outlast `T`.
const LONG: [Bug; 10] = [
    Bug::PrefixMatch,
    Bug::CollectorIgnoresT,
    Bug::DeleteReachable,
    Bug::LocksBeforeShadow,
    Bug::IntentBeforeLogs,
    Bug::CollectUnfinished,
    Bug::ValueLostOnAppend,
    Bug::RefusalsUncounted,
    Bug::RestartUnderNewId,
    Bug::AcceptCollected,
];

thread_local! {
    /// A subject is deployed by a plain function, so the bug travels beside it.
    static BUG: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// What a workload says of a bug.
fn shown(profile: &str, long: bool, bug: Option<Bug>) -> BTreeSet<String> {
    BUG.set(bug);
    let mut rules = BTreeSet::new();
    for seed in 1..=SEEDS {
        let settings: String = triptych_workloads::find(profile)
            .expect("it exists")
            .small()
            .iter()
            .map(|(key, value)| format!("{key} = {value:?}\n"))
            .collect();
        let (rate, duration, crashes) = match (long, profile) {
            (true, _) => (3, "10min", 0.05),
            (false, "hot-ledger") => (20, "4s", 0.15),
            (false, _) => (60, "12s", 0.2),
        };
        let text = format!(
            "name = \"kills\"\nruntimes = [\"beldi\"]\nprofiles = [{profile:?}]\nrates = [{rate}]\n\
             duration = {duration:?}\nwarmup = \"0s\"\nseeds = {seed}\n[platform]\nshuffle = true\n\
             [timing]\ndrain = \"40min\"\n\
             [faults]\ncrash_rate = {crashes}\nduplicate_rate = 0.05\n[settings]\n{settings}"
        );
        let campaign = Campaign::parse("kills", &text).expect("it is a campaign");
        let cell = &campaign.cells()[0];
        let mut subject = Subject::of(&campaign, cell).expect("it is known");
        subject.deploy = |site| common::beldi(site, BUG.get());
        match run_subject(&campaign, cell, "", &Watch::default(), subject) {
            Ok(output) => {
                let verdict = output.verdict;
                rules.extend(verdict.violated().into_iter().map(str::to_owned));
                if verdict.stuck.is_some() {
                    rules.insert("stuck".to_owned());
                }
            }
            Err(error) => {
                rules.insert(format!("no result ({error})"));
            }
        }
    }
    rules
}

fn main() {
    let short = ["full-movie", "full-movie-choreo", "hot-ledger"];
    let long = ["full-movie-choreo", "hot-ledger", "micro-beldi-gc"];
    let bugs = [(&SHORT[..], short, false), (&LONG[..], long, true)];
    let mut cells = Vec::new();
    for (bugs, profiles, long) in bugs {
        for bug in [None].into_iter().chain(bugs.iter().copied().map(Some)) {
            cells.extend(profiles.map(|profile| (bug, profile, long)));
        }
    }
    println!("simulated; {SEEDS} seeds each, with crashes and duplicates; without a bug nothing\n");
    let cancel = Arc::new(Cancel::default());
    let results = pool::each(
        pool::cores(),
        &cells,
        &cancel,
        |_, (bug, profile, long)| shown(profile, *long, *bug),
        |_, _| {},
    );
    let mut unseen = BTreeSet::new();
    for (three, rules) in cells.chunks(3).zip(results.chunks(3)) {
        let bug = three[0]
            .0
            .map_or("(none)".to_owned(), |bug| format!("{bug:?}"));
        let mut any = false;
        for ((_, profile, _), rules) in three.iter().zip(rules) {
            let told = match rules {
                Some(Ok(rules)) if rules.is_empty() => continue,
                Some(Ok(rules)) => rules.iter().cloned().collect::<Vec<_>>().join(" "),
                Some(Err(panic)) => format!("panic: {panic}"),
                None => "not run".to_owned(),
            };
            any = true;
            println!("{bug:<22} {profile:<18} {told}");
        }
        if !any {
            println!("{bug:<22} nothing");
            unseen.insert(bug);
        }
    }
    unseen.remove("(none)");
    println!("\nnot shown by a rule here: {unseen:?}");
}
