//! The one list of runtimes and apps. A new one is one line here; nothing else in the suite knows
//! any of them by name.

use std::rc::Rc;
use std::sync::Mutex;
use triptych_api::App;
use triptych_beldi::{Beldi, Config};
use triptych_cached::Policy;
use triptych_causalmesh::{Variant, deploy as causalmesh};
use triptych_faas::Deployment;
use triptych_workloads::Profile;
use triptych_world::{Nanos, SECOND};

pub use triptych_site::{MOST_SERVERS, RuntimeEntry, SERVERS, Site, Timing};

/// Runtimes from outside the repository, in the order in which they were added.
static ADDED: Mutex<Vec<RuntimeEntry>> = Mutex::new(Vec::new());

/// Adds a runtime from outside the repository: from now on, campaigns of this process may name it
/// and the conformance kit finds it.
///
/// # Errors
/// If the name is taken.
pub fn add(entry: RuntimeEntry) -> Result<(), Taken> {
    // Never held across a panic, so never poisoned; were it, the list would still be whole.
    let mut added = ADDED.lock().unwrap_or_else(|held| held.into_inner());
    let names = shipped().into_iter().chain(added.iter().copied());
    if names.into_iter().any(|other| other.name == entry.name) {
        return Err(Taken(entry.name));
    }
    added.push(entry);
    Ok(())
}

/// A runtime of this name exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken(pub &'static str);

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "there is a runtime {:?} already; choose another name",
            self.0
        )
    }
}

impl std::error::Error for Taken {}

/// An app that profiles may name.
pub struct AppEntry {
    /// Its name.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Builds it as a profile's settings say.
    pub build: fn(&Profile) -> Result<App, String>,
}

/// Every runtime that campaigns may name: those of the repository, then those that were added.
pub fn runtimes() -> Vec<RuntimeEntry> {
    let mut all = shipped();
    let added = ADDED.lock().unwrap_or_else(|held| held.into_inner());
    all.extend(added.iter().copied());
    all
}

fn shipped() -> Vec<RuntimeEntry> {
    vec![
        RuntimeEntry {
            name: "baseline",
            about: "straight to the store and the platform; no exactly-once, no isolation",
            declares: triptych_baseline::DECLARES,
            workflows: true,
            deploy: triptych_baseline::deploy,
        },
        RuntimeEntry {
            name: "beldi",
            about: "log-based, as in the paper: linked DAAL, callbacks by invocation",
            declares: triptych_beldi::DECLARES,
            workflows: true,
            deploy: |site| {
                let timing = site.timing;
                beldi(site, Config::paper(timing.collector_period, timing.timeout))
            },
        },
        RuntimeEntry {
            name: "beldi-crosstable",
            about: "log-based, data and log in two tables by transactions of the store",
            declares: triptych_beldi::DECLARES_CROSS_TABLE,
            workflows: true,
            deploy: |site| {
                let timing = site.timing;
                let config = Config::cross_table(timing.collector_period, timing.timeout);
                beldi(site, config)
            },
        },
        RuntimeEntry {
            name: "beldi-direct",
            about: "log-based, with the artifact's direct writes of other functions' tables",
            declares: triptych_beldi::DECLARES,
            workflows: true,
            deploy: |site| {
                let timing = site.timing;
                beldi(
                    site,
                    Config::direct(timing.collector_period, timing.timeout),
                )
            },
        },
        RuntimeEntry {
            name: GC_OFF,
            about: "beldi-direct that never collects garbage, to compare with",
            declares: triptych_beldi::DECLARES,
            workflows: true,
            deploy: |site| with_own_period(site, GC_OFF),
        },
        RuntimeEntry {
            name: GC_10MIN,
            about: "beldi-direct that collects garbage every ten minutes, to compare with",
            declares: triptych_beldi::DECLARES,
            workflows: true,
            deploy: |site| with_own_period(site, GC_10MIN),
        },
        RuntimeEntry {
            name: "boki",
            about: "workflows on a shared log: BokiFlow, with a simulated cluster of the log",
            declares: triptych_boki::DECLARES,
            workflows: true,
            deploy: triptych_boki::deploy,
        },
        RuntimeEntry {
            name: "boki-ticks",
            about: "boki with the published timers of 300 us in the log, to compare with",
            declares: triptych_boki::DECLARES,
            workflows: true,
            deploy: triptych_boki::deploy_on_ticks,
        },
        RuntimeEntry {
            name: "boki-model",
            about: "boki on a model that promises no more than a log must: to test it, not to measure",
            declares: triptych_boki::DECLARES,
            workflows: true,
            deploy: triptych_boki::deploy_on_model_log,
        },
        RuntimeEntry {
            name: "causalmesh",
            about: "causal caches on a ring; functions anywhere; no exactly-once, no isolation",
            declares: triptych_causalmesh::DECLARES,
            workflows: true,
            deploy: |site| causalmesh(site, Variant::Causal, Policy::Random),
        },
        RuntimeEntry {
            name: "causalmesh-tcc",
            about: "causalmesh with transactional causal consistency: a snapshot per workflow",
            declares: triptych_causalmesh::DECLARES_TCC,
            workflows: true,
            deploy: |site| causalmesh(site, Variant::Tcc, Policy::Random),
        },
        RuntimeEntry {
            name: "causalmesh-compat",
            about: "causalmesh where the last writer wins, as published: concurrent updates are lost",
            declares: triptych_causalmesh::DECLARES_COMPAT,
            workflows: true,
            deploy: |site| causalmesh(site, Variant::LastWriterWins, Policy::Random),
        },
        RuntimeEntry {
            name: "hydrocache-con",
            about: "causal cuts before a database: a snapshot over all servers; no aborts",
            declares: triptych_hydrocache::DECLARES,
            workflows: true,
            deploy: triptych_hydrocache::deploy_con,
        },
        RuntimeEntry {
            name: "hydrocache-opt",
            about: "causal cuts before a database: what fits what was read; aborts otherwise",
            declares: triptych_hydrocache::DECLARES,
            workflows: true,
            deploy: triptych_hydrocache::deploy_opt,
        },
        RuntimeEntry {
            name: "faastcc",
            about: "caches with timestamps and promises: one interval for all that was read",
            declares: triptych_faastcc::DECLARES,
            workflows: true,
            deploy: triptych_faastcc::deploy,
        },
        RuntimeEntry {
            name: "cache-none",
            about: "plain caches before a database: no order at all, to see what goes wrong",
            declares: triptych_cache_none::DECLARES,
            workflows: true,
            deploy: triptych_cache_none::deploy,
        },
        RuntimeEntry {
            name: "causalmesh-affinity",
            about: "causalmesh with all functions of a session at one server, to compare with",
            declares: triptych_causalmesh::DECLARES,
            workflows: true,
            deploy: |site| causalmesh(site, Variant::Causal, Policy::Affinity),
        },
        RuntimeEntry {
            name: "causalmesh-rr",
            about: "causalmesh with one server after the other, to compare with",
            declares: triptych_causalmesh::DECLARES,
            workflows: true,
            deploy: |site| causalmesh(site, Variant::Causal, Policy::RoundRobin),
        },
        RuntimeEntry {
            name: "causalmesh-model",
            about: "causalmesh on a model that promises no more than a ring must: to test it",
            declares: triptych_causalmesh::DECLARES,
            workflows: true,
            deploy: |site| {
                triptych_causalmesh::deploy_on_model(site, Variant::Causal, Policy::Random)
            },
        },
        RuntimeEntry {
            name: "causalmesh-tcc-model",
            about: "causalmesh-tcc on that model",
            declares: triptych_causalmesh::DECLARES_TCC,
            workflows: true,
            deploy: |site| triptych_causalmesh::deploy_on_model(site, Variant::Tcc, Policy::Random),
        },
        RuntimeEntry {
            name: "template",
            about: "the smallest runtime with exactly-once effects, to be read and copied",
            declares: triptych_template::DECLARES,
            workflows: false,
            deploy: triptych_template::deploy,
        },
        RuntimeEntry {
            name: "serial",
            about: "a reference, not a competitor: whole requests one at a time, in memory",
            declares: triptych_serial::DECLARES,
            workflows: false,
            deploy: triptych_serial::deploy,
        },
    ]
}

const GC_OFF: &str = "beldi-direct-gc-off";
const GC_10MIN: &str = "beldi-direct-gc-10min";

/// How often a runtime collects garbage, given what the campaign asks: two variants have a period of
/// their own, so that one campaign can compare several.
pub fn gc_period(runtime: &str, asked: Option<Nanos>) -> Option<Nanos> {
    match runtime {
        GC_OFF => None,
        GC_10MIN => Some(600 * SECOND),
        _ => asked,
    }
}

fn with_own_period(mut site: Site, runtime: &str) -> Rc<dyn Deployment> {
    site.timing.gc_period = gc_period(runtime, site.timing.gc_period);
    let timing = site.timing;
    let config = Config::direct(timing.collector_period, timing.timeout);
    beldi(site, config)
}

fn beldi(site: Site, config: Config) -> Rc<dyn Deployment> {
    let Site {
        world,
        store,
        platform,
        app,
        retries,
        timing,
        servers: _,
    } = site;
    let config = config.with_gc(timing.gc_period, timing.t);
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
            name: "travel",
            about: "search hotels, and reserve one with a flight, or not at all (11 functions)",
            build: |profile| triptych_travel::app(&profile.settings),
        },
        AppEntry {
            name: "micro",
            about: "one operation per request on one hot key; chains of functions over many (2 functions at most)",
            build: |profile| triptych_micro::app(&profile.settings),
        },
        AppEntry {
            name: "ledger",
            about: "lists and accounts at two branches of a bank, to test isolation (3 functions)",
            build: |profile| triptych_ledger::app(&profile.settings),
        },
        AppEntry {
            name: "social",
            about: "a social network: posts, timelines, threads, follows (13 functions)",
            build: |profile| triptych_social::app(&profile.settings),
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
