//! Which rule kills which seeded bug: every bug of Beldi is put under several workloads with faults,
//! and every bug of an app under its own on Beldi, and the rules that are violated are told. A bug is
//! caught if some rule is violated, or if the run never comes to rest, which is a finding too.
//!
//! BokiFlow's are put under the same short workloads.
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
use triptych_api::App;
use triptych_beldi::Bug;
use triptych_boki::Bug as Boki;
use triptych_load::campaign::Campaign;
use triptych_load::pool::{self, Cancel};
use triptych_load::run::{Subject, Watch, run_subject};
use triptych_workloads::Profile;

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

/// Bugs of BokiFlow: of steps, changes and transactions, and under longer runs of collectors.
const BOKI: [Boki; 18] = [
    Boki::LastRecordWins,
    Boki::SkipReadLog,
    Boki::FreshNotLogged,
    Boki::VersionLessThan,
    Boki::NoPostRecovery,
    Boki::AcceptLateDuplicate,
    Boki::FinishBeforeResult,
    Boki::RegisterAfterDispatch,
    Boki::FreshCallees,
    Boki::LocksOutsideSteps,
    Boki::UnlockOnlyWritten,
    Boki::NoReadLocks,
    Boki::NoReadYourWrites,
    Boki::ApplyBeforeDecision,
    Boki::ReleaseBeforeApply,
    Boki::ForgetParticipant,
    Boki::SendBeforeCommit,
    Boki::NoProgressHandover,
];
const BOKI_LONG: [Boki; 2] = [Boki::RestartUnderNewId, Boki::CollectorIgnoresT];

thread_local! {
    /// A subject is deployed by a plain function, so the bug travels beside it.
    static BUG: Cell<Option<Bug>> = const { Cell::new(None) };
    static BOKI_BUG: Cell<Option<Boki>> = const { Cell::new(None) };
}

/// A bug, or none.
#[derive(Clone, Copy)]
enum Seeded {
    Nothing,
    Beldi(Bug),
    /// BokiFlow with a bug, or without.
    Boki(Option<Boki>),
    Travel(triptych_travel::Defect),
    Social(triptych_social::Defect),
}

impl Seeded {
    fn name(self) -> String {
        match self {
            Seeded::Nothing => "(none)".to_owned(),
            Seeded::Beldi(bug) => format!("{bug:?}"),
            Seeded::Boki(None) => "boki: (none)".to_owned(),
            Seeded::Boki(Some(bug)) => format!("boki: {bug:?}"),
            Seeded::Travel(defect) => format!("travel: {defect:?}"),
            Seeded::Social(defect) => format!("social: {defect:?}"),
        }
    }

    fn app(self, profile: &Profile) -> Option<App> {
        let built = match self {
            Seeded::Travel(defect) => triptych_travel::app_with(&profile.settings, Some(defect)),
            Seeded::Social(defect) => triptych_social::app_with(&profile.settings, Some(defect)),
            Seeded::Nothing | Seeded::Beldi(_) | Seeded::Boki(_) => return None,
        };
        Some(built.expect("its settings are known"))
    }
}

/// A workload that a bug is put under.
#[derive(Clone, Copy)]
struct Load {
    profile: &'static str,
    /// Settings besides those that make it small, as lines of a campaign.
    settings: &'static str,
    rate: u32,
    duration: &'static str,
    crashes: f64,
}

impl Load {
    const fn short(profile: &'static str) -> Load {
        Load {
            profile,
            settings: "",
            rate: 60,
            duration: "12s",
            crashes: 0.2,
        }
    }

    /// Without faults: the bugs of an app need none.
    const fn app(profile: &'static str, settings: &'static str) -> Load {
        Load {
            settings,
            rate: 40,
            crashes: 0.0,
            ..Load::short(profile)
        }
    }

    const fn long(profile: &'static str) -> Load {
        Load {
            rate: 3,
            duration: "10min",
            crashes: 0.05,
            ..Load::short(profile)
        }
    }
}

const SHORT_LOADS: [Load; 5] = [
    Load::short("full-movie"),
    Load::short("full-movie-choreo"),
    Load {
        rate: 20,
        duration: "4s",
        crashes: 0.15,
        ..Load::short("hot-ledger")
    },
    Load {
        rate: 20,
        duration: "8s",
        crashes: 0.15,
        ..Load::short("hot-travel-1")
    },
    Load {
        rate: 20,
        duration: "8s",
        ..Load::short("full-social-interactive")
    },
];
const LONG_LOADS: [Load; 3] = [
    Load::long("full-movie-choreo"),
    Load::long("hot-ledger"),
    Load::long("micro-beldi-gc"),
];

/// Under what a bug of the travel app is put.
fn travel_load(defect: triptych_travel::Defect) -> Load {
    use triptych_travel::Defect::{ForgetsLastNight, NoCompensation, Overbooks};
    const SETTINGS: &str = "rejects = 0.2\nlisted = 80\n";
    match defect {
        NoCompensation => Load::app("full-travel-saga", SETTINGS),
        ForgetsLastNight | Overbooks => Load::app("full-travel-dates", SETTINGS),
        _ => Load::app("full-travel", SETTINGS),
    }
}

/// Under what a bug of the social network is put.
fn social_load(defect: triptych_social::Defect) -> Load {
    use triptych_social::Defect::{ExposeFirst, LateInThread, ReplyFirst, StaleRead};
    let settings = match defect {
        ExposeFirst | LateInThread | ReplyFirst | StaleRead => "formulation = \"sync\"\n",
        _ => "",
    };
    Load::app("full-social-interactive", settings)
}

/// What a workload says of a bug.
fn shown(seeded: Seeded, load: &Load) -> BTreeSet<String> {
    BUG.set(match seeded {
        Seeded::Beldi(bug) => Some(bug),
        _ => None,
    });
    let runtime = match seeded {
        Seeded::Boki(bug) => {
            BOKI_BUG.set(bug);
            "boki"
        }
        _ => "beldi",
    };
    let Load {
        profile,
        settings,
        rate,
        duration,
        crashes,
    } = load;
    let mut rules = BTreeSet::new();
    for seed in 1..=SEEDS {
        let small = triptych_workloads::find(profile)
            .expect("it exists")
            .small();
        let small = small
            .iter()
            .filter(|(key, _)| !settings.contains(&format!("{key} =")));
        let small: String = small
            .map(|(key, value)| format!("{key} = {value:?}\n"))
            .collect();
        let duplicates = if *crashes > 0.0 { 0.05 } else { 0.0 };
        let text = format!(
            "name = \"kills\"\nruntimes = [{runtime:?}]\nprofiles = [{profile:?}]\nrates = [{rate}]\n\
             duration = {duration:?}\nwarmup = \"0s\"\nseeds = {seed}\n[platform]\nshuffle = true\n\
             [timing]\ndrain = \"40min\"\n\
             [faults]\ncrash_rate = {crashes}\nduplicate_rate = {duplicates}\n\
             [settings]\n{small}{settings}"
        );
        let campaign = Campaign::parse("kills", &text).expect("it is a campaign");
        let cell = &campaign.cells()[0];
        let mut subject = Subject::of(&campaign, cell).expect("it is known");
        let profile = campaign.profile(profile).expect("it is known");
        if let Some(app) = seeded.app(&profile) {
            subject.app = app;
        }
        subject.deploy = match seeded {
            Seeded::Boki(_) => |site| common::boki(site, BOKI_BUG.get()),
            _ => |site| common::beldi(site, BUG.get()),
        };
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
    let mut cells: Vec<(Seeded, Load)> = Vec::new();
    for (bugs, loads) in [(&SHORT[..], &SHORT_LOADS[..]), (&LONG, &LONG_LOADS)] {
        cells.extend(loads.iter().map(|load| (Seeded::Nothing, *load)));
        for bug in bugs {
            cells.extend(loads.iter().map(|load| (Seeded::Beldi(*bug), *load)));
        }
    }
    for (bugs, loads) in [(&BOKI[..], &SHORT_LOADS[..]), (&BOKI_LONG, &LONG_LOADS)] {
        cells.extend(loads.iter().map(|load| (Seeded::Boki(None), *load)));
        for bug in bugs {
            cells.extend(loads.iter().map(|load| (Seeded::Boki(Some(*bug)), *load)));
        }
    }
    for (defect, _) in triptych_travel::Defect::ALL {
        cells.push((Seeded::Travel(defect), travel_load(defect)));
    }
    for (defect, _) in triptych_social::Defect::ALL {
        cells.push((Seeded::Social(defect), social_load(defect)));
    }
    // `-- travel` runs what has that in its name, beside nothing seeded.
    let only: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    cells.retain(|(seeded, _)| {
        let name = seeded.name();
        only.is_empty() || only.iter().any(|part| name.contains(part.as_str()))
    });
    println!("simulated; {SEEDS} seeds each; without a bug nothing\n");
    let cancel = Arc::new(Cancel::default());
    let results = pool::each(
        pool::cores(),
        &cells,
        &cancel,
        |_, (seeded, load)| shown(*seeded, load),
        |_, _| {},
    );
    let (mut seen, mut unseen) = (BTreeSet::new(), BTreeSet::new());
    for ((seeded, load), rules) in cells.iter().zip(results) {
        let told = match rules {
            Some(Ok(rules)) if rules.is_empty() => {
                unseen.insert(seeded.name());
                continue;
            }
            Some(Ok(rules)) => rules.into_iter().collect::<Vec<_>>().join(" "),
            Some(Err(panic)) => format!("panic: {panic}"),
            None => "not run".to_owned(),
        };
        seen.insert(seeded.name());
        println!("{:<26} {:<24} {told}", seeded.name(), load.profile);
    }
    unseen.remove("(none)");
    unseen.remove("boki: (none)");
    let unseen: Vec<&String> = unseen.difference(&seen).collect();
    println!("\nnot shown by a rule here: {unseen:?}");
}
