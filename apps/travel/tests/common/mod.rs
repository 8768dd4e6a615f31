//! Runs of a profile on the in-memory reference runtime, so small that requests meet.
#![allow(dead_code)]

use std::collections::BTreeMap;
use triptych_api::App;
use triptych_reference::{Bug, Request, Run, run};
use triptych_travel::{Defect, app_with};
use triptych_workloads::{Generator, Profile, find};

/// Many reservations, so that little is wasted; and all hotels, so that several are best.
const OWN: [(&str, &str); 3] = [("mix", "hot"), ("rejects", "0.2"), ("listed", "80")];

/// A profile, made small. With `inside` behind its name the order is placed in the transaction.
pub(crate) fn profile(name: &str) -> Profile {
    let (name, order) = name.split_once(' ').unwrap_or((name, "async"));
    let profile = find(name).expect("exists");
    let mut settings = profile.small();
    settings.insert("order".to_owned(), order.to_owned());
    let own = OWN.map(|(key, value)| (key.to_owned(), value.to_owned()));
    settings.extend(own);
    profile.with_settings(settings).expect("fits")
}

/// A run of `count` requests of a profile.
pub(crate) fn small_run(
    name: &str,
    count: u64,
    seed: u64,
    defect: Option<Defect>,
    bug: Option<Bug>,
) -> (App, Run) {
    let profile = profile(name);
    let settings: &BTreeMap<String, String> = &profile.settings;
    let app = app_with(settings, defect).expect("is known");
    let generator = Generator::new(&profile, seed).expect("fits");
    let loads = generator.loads().into_iter().map(|load| Request {
        kind: 0,
        function: load.function,
        op: load.op,
        input: load.input,
        session: 0,
    });
    let requests: Vec<Request> = (0..count)
        .map(|index| {
            let planned = generator.request(index);
            Request {
                kind: planned.kind,
                function: planned.function,
                op: planned.op,
                input: planned.input,
                session: planned.session,
            }
        })
        .collect();
    let kinds = generator.kinds();
    let run = run(&app, settings, kinds, loads.collect(), &requests, seed, bug);
    (app, run)
}
