//! Every crash point of every kind of request: each is crashed, in four ways, and what is left is
//! judged by the rules of the app.
//!
//! An effect has an address, its name and a number among those of its name in the request
//! ([`triptych_world::fault::Aim`]). A run without faults tells the addresses; then each of them
//! is struck in some world. One world holds many requests ([`requests`]), each struck at another
//! address, and is judged once; only if a rule is violated are its faults tried one by one. Points
//! that only repeated executions have are found on the way, and struck after the crash that leads
//! to them. Nothing is random: the same search gives the same bytes.

mod case;
mod report;
mod requests;
mod rounds;
mod stage;
mod targets;

pub use case::{BadCase, Case, Strike, crash_name};
pub use report::{ClassLine, Finding, Row, StageReport, Tally, summary, table};
pub use stage::{Violated, violated};

use crate::campaign::{Campaign, Cell, FaultRates};
use crate::pool::Cancel;
use crate::run::{self, RunError, RunOutput, Script, Subject, Watch};
use crate::seeds::{is_judged, small_campaign};
use requests::Requests;
use stage::Stage;
use std::sync::Arc;
use triptych_api::Declares;
use triptych_workloads::{Generator, Profile};
use triptych_world::Trace;

/// The name of the work that no request causes, beside the kinds of requests.
pub const BACKGROUND: &str = "background";
/// The name of everything.
pub const ALL: &str = "all";

/// What to search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The app.
    pub app: String,
    /// The runtime.
    pub runtime: String,
    /// The profile; by default that of the app's full and contended ones with most kinds of requests.
    pub profile: Option<String>,
    /// Kinds of requests, [`BACKGROUND`] or [`ALL`].
    pub kinds: Vec<String>,
    /// The seed of requests and latencies.
    pub seed: u64,
    /// Also strikes at the same effect of the repeated execution.
    pub twice: bool,
    /// Also starts duplicates.
    pub duplicate: bool,
    /// Also strikes at every pair of effects, of requests that have few.
    pub pairs: bool,
    /// Sends every request that is struck once more, at the same time.
    pub contend: bool,
}

/// A search that may begin: all names exist.
#[derive(Debug)]
pub struct Explorer {
    options: Options,
    campaign: Campaign,
    profile: Profile,
    cell: Cell,
    declares: Declares,
    kinds: Vec<String>,
}

impl Explorer {
    /// Looks all names up.
    ///
    /// # Errors
    /// The name that does not exist, and those that do.
    pub fn new(options: Options) -> Result<Explorer, String> {
        let app = triptych_registry::app(&options.app).map_err(|error| error.to_string())?;
        let runtime = triptych_registry::runtime(&options.runtime);
        let runtime = runtime.map_err(|error| error.to_string())?;
        let profile = profile_of(app.name, options.profile.as_deref())?;
        // Rejected requests have crash points too, but profiles have few of them.
        let mut settings = Vec::new();
        if profile.settings.contains_key("rejects") {
            settings.push(("rejects", "0.2".to_owned()));
        }
        let none = FaultRates::default();
        let campaign = small_campaign(runtime.name, &profile.name, &none, false, &settings)?;
        let rate = campaign.rates[0];
        let cell = Cell::new(&profile.name, runtime.name, rate, 0, options.seed);
        let profile = campaign.profile(&profile.name)?;
        let generator = Generator::new(&profile, options.seed)?;
        let sent = |kind| Requests::of_kind(&generator, kind, false).is_some();
        let kinds = wanted(&options.kinds, generator.kinds(), sent)?;
        Ok(Explorer {
            options,
            campaign,
            profile,
            cell,
            declares: runtime.declares,
            kinds,
        })
    }

    /// The profile that is searched.
    pub fn profile(&self) -> &str {
        &self.profile.name
    }

    /// What is searched one after another.
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }

    /// Searches one kind of request, or the background, on up to `threads` threads. `told` hears
    /// how many worlds have ended.
    ///
    /// # Errors
    /// If a world has no result.
    pub fn search(
        &self,
        kind: &str,
        threads: usize,
        cancel: &Arc<Cancel>,
        told: &mut dyn FnMut(u64),
    ) -> Result<StageReport, RunError> {
        let mut stage = Stage::new(self, kind, threads, cancel, told)?;
        match kind {
            BACKGROUND => rounds::background(&mut stage)?,
            _ => rounds::requests(&mut stage)?,
        }
        Ok(stage.done())
    }

    /// Runs one case alone, with the first request that it strikes traced. Answers the run and
    /// which request that is.
    ///
    /// # Errors
    /// If the world has no result.
    pub fn replay(&self, kind: &str, case: &Case) -> Result<(RunOutput, u64), RunError> {
        let requests = self.requests(kind)?;
        let first = requests.probes.first().copied().unwrap_or_default();
        let named = case.0.iter().filter_map(|strike| strike.request);
        let traced = named
            .into_iter()
            .find(|request| *request != Trace::BACKGROUND);
        let traced = traced.unwrap_or(first);
        let script = Script {
            aimed: case.0.iter().map(|strike| strike.aim(first)).collect(),
            trace: Some(traced),
            ..self.script(kind, &requests)
        };
        let output = self.run(&script, &Arc::default())?;
        Ok((output, traced))
    }

    /// Whether a violation breaks a promise.
    pub fn breaks(&self, violated: &Violated) -> bool {
        violated.asked && self.declares.promises(violated.guarantee)
    }

    /// The command that runs a case again.
    pub fn command(&self, kind: &str, case: &Case) -> String {
        let Options {
            app,
            runtime,
            seed,
            contend,
            ..
        } = &self.options;
        let profile = &self.profile.name;
        let contend = if *contend { " --contend" } else { "" };
        format!(
            "triptych explore --app {app} --runtime {runtime} --profile {profile} --seed {seed} \
             --kind {kind}{contend} --case '{case}'"
        )
    }

    fn requests(&self, kind: &str) -> Result<Requests, RunError> {
        if kind == BACKGROUND {
            return Ok(Requests::mixed());
        }
        let generator = Generator::new(&self.profile, self.cell.seed).map_err(RunError::Config)?;
        let number = generator.kinds().iter().position(|name| name == kind);
        let number = number.and_then(|number| u16::try_from(number).ok());
        let found =
            number.and_then(|kind| Requests::of_kind(&generator, kind, self.options.contend));
        found.ok_or_else(|| {
            let profile = &self.profile.name;
            RunError::Config(format!("{profile} never sends a request of kind {kind:?}"))
        })
    }

    fn script(&self, kind: &str, requests: &Requests) -> Script {
        let timing = &self.campaign.timing;
        let asked = timing.gc_period.period();
        let gc = triptych_registry::gc_period(&self.options.runtime, asked);
        // Garbage is collected in several passes, each after the instances have long been over.
        let linger = match kind {
            BACKGROUND => gc.map_or(0, |period| timing.t.0 + 4 * period),
            _ => 0,
        };
        Script {
            requests: Some(Arc::clone(&requests.all)),
            census: true,
            linger,
            ..Script::default()
        }
    }

    fn run(&self, script: &Script, cancel: &Arc<Cancel>) -> Result<RunOutput, RunError> {
        let watch = Watch {
            cancel: Arc::clone(cancel),
            ..Watch::default()
        };
        let subject = Subject::of(&self.campaign, &self.cell)?;
        run::run_scripted(&self.campaign, &self.cell, "", &watch, subject, script)
    }
}

/// The profile of that name if it is the app's; by default that of the full and contended ones which
/// has most kinds of requests.
fn profile_of(app: &str, name: Option<&str>) -> Result<Profile, String> {
    let own = triptych_workloads::profiles();
    let own: Vec<Profile> = own
        .into_iter()
        .filter(|profile| profile.app == app)
        .collect();
    let found = match name {
        Some(name) => own.iter().find(|profile| profile.name == name),
        None => own
            .iter()
            .filter(|profile| is_judged(&profile.name))
            // The first one of those with equally many.
            .rev()
            .max_by_key(|profile| Generator::new(profile, 1).map_or(0, |all| all.kinds().len()))
            .or(own.first()),
    };
    found.cloned().ok_or_else(|| {
        let names: Vec<&str> = own.iter().map(|profile| profile.name.as_str()).collect();
        let name = name.unwrap_or_default();
        let names = names.join(", ");
        format!("there is no profile {name:?} of the app {app}; there are {names}")
    })
}

/// The kinds that are named, each once; `all` is every kind that is sent, and the background.
fn wanted(
    named: &[String],
    kinds: Vec<String>,
    sent: impl Fn(u16) -> bool,
) -> Result<Vec<String>, String> {
    let mut wanted: Vec<String> = Vec::new();
    let mut want = |name: &str| {
        if !wanted.iter().any(|known| known == name) {
            wanted.push(name.to_owned());
        }
    };
    for name in named {
        match name.as_str() {
            ALL => {
                let all = (0..).zip(&kinds).filter(|(number, _)| sent(*number));
                all.for_each(|(_, kind)| want(kind));
                want(BACKGROUND);
            }
            BACKGROUND => want(BACKGROUND),
            kind if kinds.iter().any(|known| known == kind) => want(kind),
            other => {
                let kinds = kinds.join(", ");
                return Err(format!(
                    "there is no kind of request {other:?}; there are {kinds}, {BACKGROUND}, {ALL}"
                ));
            }
        }
    }
    Ok(wanted)
}
