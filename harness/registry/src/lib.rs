//! The one list of runtimes and apps. A new one is one line here; nothing else in the suite knows
//! any of them by name.

use std::rc::Rc;
use triptych_api::{App, Declares, Retries};
use triptych_baseline::Baseline;
use triptych_beldi::{Beldi, Config};
use triptych_faas::{Deployment, Platform};
use triptych_store::Store;
use triptych_workloads::Profile;
use triptych_world::{Nanos, World};

/// What a runtime stands on, and the app that it runs.
pub struct Site {
    /// Time, randomness, tasks and faults.
    pub world: World,
    /// The database.
    pub store: Rc<dyn Store>,
    /// Where functions run.
    pub platform: Rc<dyn Platform>,
    /// The application.
    pub app: Rc<App>,
    /// How often an aborted transaction is tried again.
    pub retries: Retries,
    /// The profile's timing.
    pub timing: Timing,
}

/// What a profile states about time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A function's timeout.
    pub timeout: Nanos,
    /// How long an event may wait in the asynchronous queue.
    pub queue_age: Nanos,
    /// How often the platform itself retries a failed asynchronous execution.
    pub async_retries: u32,
    /// How often collectors run.
    pub collector_period: Nanos,
    /// The assumed bound on how long any execution of an instance may still be alive after it was
    /// last started: at least timeout plus queue age plus clock skew.
    pub t: Nanos,
}

impl Default for Timing {
    /// The timing of Beldi's deployment, with `T` as its specification should have it.
    fn default() -> Self {
        const SECOND: Nanos = triptych_world::SECOND;
        Timing {
            timeout: 60 * SECOND,
            queue_age: 60 * SECOND,
            async_retries: 0,
            collector_period: 60 * SECOND,
            t: 125 * SECOND,
        }
    }
}

/// A runtime that campaigns may name.
pub struct RuntimeEntry {
    /// Its name in campaign files and tables.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// What it promises.
    pub declares: Declares,
    /// Puts an app into it.
    pub deploy: fn(Site) -> Rc<dyn Deployment>,
}

/// An app that profiles may name.
pub struct AppEntry {
    /// Its name.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Builds it as a profile's settings say.
    pub build: fn(&Profile) -> Result<App, String>,
}

/// Every runtime that campaigns may name.
pub fn runtimes() -> Vec<RuntimeEntry> {
    vec![
        RuntimeEntry {
            name: "baseline",
            about: "straight to the store and the platform; no exactly-once, no isolation",
            declares: triptych_baseline::DECLARES,
            deploy: |site| {
                let Site {
                    world,
                    store,
                    platform,
                    app,
                    retries,
                    ..
                } = site;
                Rc::new(Baseline::new(world, store, platform, app, retries))
            },
        },
        RuntimeEntry {
            name: "beldi",
            about: "log-based, as in the paper: linked DAAL, callbacks by invocation",
            declares: triptych_beldi::DECLARES,
            deploy: |site| {
                let timing = site.timing;
                beldi(site, Config::paper(timing.collector_period, timing.timeout))
            },
        },
        RuntimeEntry {
            name: "beldi-direct",
            about: "log-based, with the artifact's direct writes of other functions' tables",
            declares: triptych_beldi::DECLARES,
            deploy: |site| {
                let timing = site.timing;
                beldi(
                    site,
                    Config::direct(timing.collector_period, timing.timeout),
                )
            },
        },
    ]
}

fn beldi(site: Site, config: Config) -> Rc<dyn Deployment> {
    let Site {
        world,
        store,
        platform,
        app,
        retries,
        ..
    } = site;
    Rc::new(Beldi::new(world, store, platform, app, retries, config))
}

/// Every app that profiles may name.
pub fn apps() -> Vec<AppEntry> {
    vec![
        AppEntry {
            name: "movie",
            about: "movie reviews: compose, read, log in (14 functions)",
            build: |profile| triptych_movie::app(&profile.settings),
        },
        AppEntry {
            name: "ledger",
            about: "lists and accounts at two branches of a bank, to test isolation (3 functions)",
            build: |profile| triptych_ledger::app(&profile.settings),
        },
    ]
}

/// A name that is not in the list, with the names that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What was looked for: `runtime` or `app`.
    pub what: &'static str,
    /// The name that was given.
    pub name: String,
    /// The names that exist.
    pub known: Vec<String>,
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "there is no {} {:?}; there are {}",
            self.what,
            self.name,
            self.known.join(", ")
        )
    }
}

impl std::error::Error for Unknown {}

/// A runtime by name.
///
/// # Errors
/// [`Unknown`], with the names that exist.
pub fn runtime(name: &str) -> Result<RuntimeEntry, Unknown> {
    let known = runtimes()
        .iter()
        .map(|entry| entry.name.to_owned())
        .collect();
    let found = runtimes().into_iter().find(|entry| entry.name == name);
    found.ok_or_else(|| Unknown {
        what: "runtime",
        name: name.to_owned(),
        known,
    })
}

/// An app by name.
///
/// # Errors
/// [`Unknown`], with the names that exist.
pub fn app(name: &str) -> Result<AppEntry, Unknown> {
    let known = apps().iter().map(|entry| entry.name.to_owned()).collect();
    let found = apps().into_iter().find(|entry| entry.name == name);
    found.ok_or_else(|| Unknown {
        what: "app",
        name: name.to_owned(),
        known,
    })
}
