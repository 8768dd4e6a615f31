//! What a run says of itself, and how the oracle judges it: again and again the same from the
//! bundle alone, which is what `triptych verify` relies on.

use crate::campaign::{Campaign, Cell};
use crate::drive::Driven;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use triptych_api::{App, Evidence};
use triptych_faas::PoolConfig;
use triptych_model::history::History;
use triptych_model::{OpRecord, State, Verdict};
use triptych_oracle::Floors;
use triptych_results::{Manifest, manifest};
use triptych_workloads::Profile;
use triptych_world::{Nanos, SECOND};

/// What the manifest is made from.
pub(super) struct Facts<'a> {
    pub(super) campaign: &'a Campaign,
    pub(super) cell: &'a Cell,
    pub(super) command: &'a str,
    pub(super) kinds: Vec<String>,
    pub(super) app: &'a App,
    pub(super) profile: &'a Profile,
    pub(super) pool: &'a PoolConfig,
}

/// Where a manifest keeps the profile's settings.
const PROFILE: &str = "profile.";

impl Facts<'_> {
    pub(super) fn manifest(self, driven: &Driven, digest: u64) -> Manifest {
        let Facts {
            campaign,
            cell,
            command,
            kinds,
            app,
            profile,
            ..
        } = &self;
        let has_effects = |kind: &&String| {
            app.kinds
                .iter()
                .any(|spec| spec.effects && spec.name == **kind)
        };
        let effectful = kinds.iter().filter(has_effects).cloned().collect();
        Manifest {
            run_id: cell.id.clone(),
            campaign: campaign.name.clone(),
            runtime: cell.runtime.clone(),
            profile: cell.profile.clone(),
            app: profile.app.clone(),
            rate: cell.rate,
            arrivals: campaign.arrivals.name().to_owned(),
            seed: cell.seed,
            repetition: cell.repetition,
            duration_ns: campaign.duration.0,
            warmup_ns: campaign.warmup.0,
            interval_ns: interval(campaign.duration.0),
            intended: driven.intended,
            kinds: kinds.clone(),
            effectful,
            latency_profile: campaign.platform.latency.clone(),
            price_sheet: campaign.prices.clone(),
            memory_mb: campaign.memory_mb,
            settings: self.settings(),
            faults: manifest::Faults {
                plan: self.faults(),
                marks: Vec::new(),
            },
            timing: self.timing(),
            generator_digest: format!("{digest:016x}"),
            command: (*command).to_owned(),
            notes: notes(driven),
            ..Manifest::default()
        }
    }

    fn settings(&self) -> BTreeMap<String, Json> {
        let platform = &self.campaign.platform;
        let limits = &self.campaign.limits;
        let mut settings = BTreeMap::from([
            ("retries".to_owned(), json!(self.profile.retries)),
            (
                "platform.concurrency".to_owned(),
                json!(self.pool.concurrency),
            ),
            (
                "platform.request_quota".to_owned(),
                json!(self.pool.requests_per_second),
            ),
            (
                "platform.store_throttling".to_owned(),
                json!(platform.store_throttling),
            ),
            (
                "platform.servers".to_owned(),
                json!(self.campaign.servers(self.profile)),
            ),
            ("platform.shuffle".to_owned(), json!(platform.shuffle)),
            (
                "limits.client_timeout_ns".to_owned(),
                json!(limits.client_timeout.0),
            ),
        ]);
        if let Some(hop) = platform.hop_ms {
            settings.insert("platform.hop_ms".to_owned(), json!(hop));
        }
        if let Some(limit) = limits.in_flight {
            settings.insert("limits.in_flight".to_owned(), json!(limit));
            settings.insert("limits.when_full".to_owned(), json!(limits.when_full));
        }
        let own = self.profile.settings.iter();
        settings.extend(own.map(|(key, value)| (format!("{PROFILE}{key}"), json!(value))));
        settings
    }

    fn faults(&self) -> BTreeMap<String, Json> {
        let rates = self.campaign.faults.named();
        let asked = rates.into_iter().filter(|(_, rate)| *rate > 0.0);
        asked
            .map(|(name, rate)| (name.to_owned(), json!(rate)))
            .collect()
    }

    fn timing(&self) -> BTreeMap<String, u64> {
        let timing = &self.campaign.timing;
        let asked = timing.gc_period.period();
        let gc_period = triptych_registry::gc_period(&self.cell.runtime, asked);
        let named = [
            ("timeout_ns", timing.timeout.0),
            ("queue_age_ns", timing.queue_age.0),
            ("async_retries", u64::from(timing.async_retries)),
            ("collector_period_ns", timing.collector_period.0),
            ("t_ns", timing.t.0),
            // 0: never.
            ("gc_period_ns", gc_period.unwrap_or(0)),
            ("drain_ns", timing.drain.0),
            ("ramp_ns", self.campaign.ramp.0),
        ];
        named
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// How finely a run is shown over time: by the second, and a long one in at most 120 intervals of a
/// round length.
fn interval(duration: Nanos) -> Nanos {
    let lengths = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600].map(|s| s * SECOND);
    let fine = lengths.into_iter().find(|length| duration / length <= 120);
    fine.unwrap_or(lengths[lengths.len() - 1])
}

/// What the generator has to say of itself.
fn notes(driven: &Driven) -> Vec<String> {
    let mut notes = Vec::new();
    if !driven.kept_schedule() {
        let late = driven.lateness.value_at_quantile(0.99) as f64 / 1e6;
        notes.push(format!(
            "not valid: the load generator was {late:.1} ms late at the 99th percentile"
        ));
    }
    if driven.over_limit > 0 {
        notes.push(format!(
            "overloaded: {} requests found the limit in flight reached",
            driven.over_limit
        ));
    }
    notes
}

/// Judges a run by what its manifest says of it.
///
/// # Errors
/// If there is no runtime of that name.
pub fn judge(
    app: &App,
    manifest: &Manifest,
    ops: &[OpRecord],
    state: &State,
    history: Option<&History>,
) -> Result<Verdict, String> {
    let runtime =
        triptych_registry::runtime(&manifest.runtime).map_err(|error| error.to_string())?;
    let settings = settings(manifest);
    let evidence = Evidence {
        kinds: &manifest.kinds,
        ops,
        state,
        settings: &settings,
        isolation: runtime.declares.transaction,
        order: runtime.declares.order,
    };
    let floors = Floors::new(!manifest.faults.plan.is_empty());
    Ok(triptych_oracle::judge_with(
        app,
        &runtime.declares,
        &evidence,
        history,
        &floors,
    ))
}

/// Judges a run again from its bundle.
///
/// # Errors
/// If this version of the suite does not know its runtime, profile or app.
pub fn rejudge(
    manifest: &Manifest,
    ops: &[OpRecord],
    state: &State,
    history: Option<&History>,
) -> Result<Verdict, String> {
    let mut profile =
        triptych_workloads::find(&manifest.profile).map_err(|error| error.to_string())?;
    profile.settings = settings(manifest);
    let entry = triptych_registry::app(&manifest.app).map_err(|error| error.to_string())?;
    let app = (entry.build)(&profile)?;
    judge(&app, manifest, ops, state, history)
}

/// The profile's settings as they were in the run.
fn settings(manifest: &Manifest) -> BTreeMap<String, String> {
    let own = manifest.settings.iter().filter_map(|(key, value)| {
        let key = key.strip_prefix(PROFILE)?;
        Some((key.to_owned(), value.as_str()?.to_owned()))
    });
    own.collect()
}
