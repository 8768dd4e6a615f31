//! A run once more, with one request traced: from what its bundle says of it.

use crate::campaign::{Campaign, Cell, Full, GcPeriod, Setting, Span};
use crate::run::{self, RunError, RunOutput, Script, Subject, Watch};
use crate::schedule::Arrivals;
use serde_json::Value as Json;
use triptych_model::OpRecord;
use triptych_results::Manifest;

/// Runs a cell with one request traced.
///
/// # Errors
/// See [`RunError`]; also if there is no such request.
pub fn traced(campaign: &Campaign, cell: &Cell, request: u64) -> Result<RunOutput, RunError> {
    let script = Script {
        trace: Some(request),
        ..Script::default()
    };
    let subject = Subject::of(campaign, cell)?;
    let output = run::run_scripted(campaign, cell, "", &Watch::default(), subject, &script)?;
    if output.ops.get(request as usize).is_none() {
        let count = output.ops.len();
        return Err(RunError::Config(format!(
            "there is no request {request}; the run has {count}, from 0"
        )));
    }
    Ok(output)
}

/// What is different about the same request in two runs, in words.
pub fn differences(recorded: &OpRecord, again: &OpRecord) -> Vec<String> {
    let mut told = Vec::new();
    let mut compare = |what: &str, same: bool, recorded: String, again: String| {
        if !same {
            told.push(format!("{what}: recorded {recorded}, now {again}"));
        }
    };
    compare(
        "outcome",
        recorded.outcome == again.outcome,
        format!("{:?}", recorded.outcome),
        format!("{:?}", again.outcome),
    );
    compare(
        "answer",
        recorded.observed == again.observed,
        format!("{:?}", recorded.observed),
        format!("{:?}", again.observed),
    );
    compare(
        "input",
        recorded.input == again.input,
        format!("{:?}", recorded.input),
        format!("{:?}", again.input),
    );
    let numbers = |op: &OpRecord| {
        [
            ("kind", u64::from(op.kind)),
            ("session", u64::from(op.session)),
            ("intended", op.intended_ns),
            ("sent", op.sent_ns),
            ("done", op.done_ns),
            ("settled", op.settled_ns),
            ("time in the entry function", op.entry_ns),
            ("faults", u64::from(op.faults)),
        ]
    };
    for ((what, one), (_, other)) in numbers(recorded).into_iter().zip(numbers(again)) {
        compare(what, one == other, one.to_string(), other.to_string());
    }
    told
}

/// The campaign and the cell that a bundle was made from.
///
/// # Errors
/// What this version of the suite does not know, in words.
pub fn of_manifest(manifest: &Manifest) -> Result<(Campaign, Cell), String> {
    let Manifest {
        runtime,
        profile,
        rate,
        duration_ns,
        seed,
        ..
    } = manifest;
    let duration = Span(*duration_ns);
    let text = format!(
        "name = \"replay\"\nruntimes = [{runtime:?}]\nprofiles = [{profile:?}]\nrates = [{rate:?}]\n\
         duration = \"{duration}\"\nwarmup = \"0s\"\n"
    );
    let mut campaign = Campaign::parse("the bundle", &text).map_err(|error| error.to_string())?;
    campaign.warmup = Span(manifest.warmup_ns);
    campaign.arrivals = [Arrivals::Constant, Arrivals::Poisson]
        .into_iter()
        .find(|arrivals| arrivals.name() == manifest.arrivals)
        .ok_or_else(|| format!("arrivals {:?} are not known", manifest.arrivals))?;
    campaign.prices.clone_from(&manifest.price_sheet);
    campaign.memory_mb = manifest.memory_mb;
    faults(&mut campaign, manifest);
    timing(&mut campaign, manifest);
    settings(&mut campaign, manifest)?;
    let cell = Cell::new(profile, runtime, *rate, manifest.repetition, *seed);
    Ok((campaign, cell))
}

fn faults(campaign: &mut Campaign, manifest: &Manifest) {
    let rate = |key: &str| manifest.faults.plan.get(key).and_then(Json::as_f64);
    let faults = &mut campaign.faults;
    for (key, value) in [
        ("crash_rate", &mut faults.crash_rate),
        ("duplicate_rate", &mut faults.duplicate_rate),
        ("throttle_rate", &mut faults.throttle_rate),
        ("delay_rate", &mut faults.delay_rate),
    ] {
        *value = rate(key).unwrap_or_default();
    }
}

fn timing(campaign: &mut Campaign, manifest: &Manifest) {
    let named = |key: &str| manifest.timing.get(key).copied();
    let timing = &mut campaign.timing;
    for (key, span) in [
        ("timeout_ns", &mut timing.timeout),
        ("queue_age_ns", &mut timing.queue_age),
        ("collector_period_ns", &mut timing.collector_period),
        ("t_ns", &mut timing.t),
        ("drain_ns", &mut timing.drain),
        ("ramp_ns", &mut campaign.ramp),
    ] {
        *span = named(key).map_or(*span, Span);
    }
    let retries = named("async_retries").and_then(|retries| u32::try_from(retries).ok());
    timing.async_retries = retries.unwrap_or(timing.async_retries);
    timing.gc_period = match named("gc_period_ns") {
        None => timing.gc_period,
        Some(0) => GcPeriod::Off,
        Some(period) => GcPeriod::Every(Span(period)),
    };
}

fn settings(campaign: &mut Campaign, manifest: &Manifest) -> Result<(), String> {
    let named = |key: &str| manifest.settings.get(key);
    let number = |key: &str| {
        let number = named(key).and_then(Json::as_u64);
        number.and_then(|number| u32::try_from(number).ok())
    };
    let switch = |key: &str| named(key).and_then(Json::as_bool).unwrap_or_default();
    let platform = &mut campaign.platform;
    platform.latency.clone_from(&manifest.latency_profile);
    platform.hop_ms = named("platform.hop_ms").and_then(Json::as_f64);
    platform.concurrency = number("platform.concurrency");
    platform.request_quota = number("platform.request_quota");
    let servers = number("platform.servers");
    platform.servers = servers.and_then(|servers| u16::try_from(servers).ok());
    platform.store_throttling = switch("platform.store_throttling");
    platform.shuffle = switch("platform.shuffle");
    let limits = &mut campaign.limits;
    limits.in_flight = number("limits.in_flight");
    if named("limits.when_full").and_then(Json::as_str) == Some("shed") {
        limits.when_full = Full::Shed;
    }
    let timeout = named("limits.client_timeout_ns").and_then(Json::as_u64);
    limits.client_timeout = timeout.map_or(limits.client_timeout, Span);
    let own = campaign.profile(&manifest.profile)?.settings;
    for (key, value) in &manifest.settings {
        let key = key.strip_prefix("profile.");
        let Some((key, value)) = key.zip(value.as_str()) else {
            continue;
        };
        if own.get(key).map(String::as_str) != Some(value) {
            let value = Setting::Text(value.to_owned());
            campaign.settings.insert(key.to_owned(), value);
        }
    }
    campaign.profile(&manifest.profile).map(drop)
}
