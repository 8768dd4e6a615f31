//! Travel: profiles, data set, requests.
//!
//! What the keys of a travel profile mean: `formulation`, `mode`, `order` and `compat` are the app's;
//! `mix` says which requests there are (`mixed`, `hot` or `published`), `popularity` (`zipf` or
//! `uniform`) which hotels and flights are reserved, `hotels` and `flights` how many of each can be,
//! `capacity` how many places each has (rooms a night, where nights are reserved), `listed` how many
//! hotels a search can find, `users` how many users there are, `sessions` how many logical clients, `with_flight` the share of reserved nights
//! that want a flight as well, `rejects` the share of reservations that name an unknown hotel or come
//! with a wrong password, and of logins with one.
//!
//! With `capacity = "scaled"` a hotel's places follow its popularity, so that all sell out together:
//! of `expected` reservations there are `demand` for every place.

mod dataset;
mod generator;

pub use generator::Generator;

use crate::profile::{Family, Profile, SettingError};

pub(crate) const FAMILY: Family = Family {
    app: "travel",
    keys: &[
        "capacity",
        "compat",
        "demand",
        "expected",
        "flights",
        "formulation",
        "hotels",
        "listed",
        "mix",
        "mode",
        "order",
        "popularity",
        "rejects",
        "sessions",
        "users",
        "with_flight",
    ],
    profiles,
    check,
    small: &[
        ("expected", "24"),
        ("flights", "3"),
        ("hotels", "3"),
        ("listed", "15"),
        ("sessions", "10"),
        ("users", "5"),
    ],
};

fn profiles() -> Vec<Profile> {
    let common = [
        ("capacity", "10"),
        ("compat", "none"),
        ("demand", "1"),
        ("expected", "1000"),
        ("flights", "80"),
        ("formulation", "txn"),
        ("hotels", "80"),
        ("listed", "80"),
        ("mix", "mixed"),
        ("mode", "seats"),
        ("order", "async"),
        ("popularity", "zipf"),
        ("rejects", "0.005"),
        ("sessions", "20"),
        ("users", "501"),
        ("with_flight", "0.5"),
    ];
    let travel = |name, about, own: &[_]| FAMILY.profile(name, about, &common, own);
    let hot = |name, about, demand| {
        let own = [("capacity", "scaled"), ("demand", demand), ("mix", "hot")];
        travel(name, about, &own)
    };
    vec![
        travel(
            "full-travel",
            "searches and reservations of hotel and flight in one transaction; popular ones sell out",
            &[],
        ),
        travel(
            "full-travel-saga",
            "the same requests, legs are taken one by one and given back if a later one is refused",
            &[("formulation", "saga")],
        ),
        travel(
            "full-travel-steps",
            "the same requests, a reservation is a workflow that the platform runs",
            &[("formulation", "steps")],
        ),
        travel(
            "full-travel-dates",
            "rooms by night: a stay needs every night, and half of them a flight as well",
            &[("capacity", "4"), ("mode", "dates")],
        ),
        hot(
            "hot-travel-0.5",
            "a fifth reservations of popular things, half as many as there are places (for `expected` of them)",
            "0.5",
        ),
        hot(
            "hot-travel-1",
            "a fifth reservations of popular things, as many as there are places (for `expected` of them)",
            "1",
        ),
        hot(
            "hot-travel-2",
            "a fifth reservations of popular things, twice as many as there are places (for `expected` of them)",
            "2",
        ),
        travel(
            "compat-beldi-travel",
            "the published mix, with the work and the defects of the port published with Beldi",
            &[
                ("compat", "beldi"),
                ("flights", "100"),
                ("hotels", "100"),
                ("mix", "published"),
                ("popularity", "uniform"),
                ("rejects", "0"),
            ],
        ),
    ]
}

fn check(profile: &Profile) -> Result<(), SettingError> {
    for key in [
        "expected", "flights", "hotels", "listed", "sessions", "users",
    ] {
        profile.count(key)?;
    }
    capacity(profile)?;
    demand(profile)?;
    mix(profile)?;
    uniform(profile)?;
    profile.share("with_flight")?;
    profile.share("rejects").map(drop)
}

/// How many places everything has; none if they follow popularity.
fn capacity(profile: &Profile) -> Result<Option<usize>, SettingError> {
    match profile.setting("capacity") {
        "scaled" => Ok(None),
        _ => match profile.count("capacity") {
            Ok(capacity) => Ok(Some(capacity)),
            Err(_) => Err(profile.bad("capacity", "a whole number from 1, or scaled")),
        },
    }
}

/// How many reservations there are for every place.
fn demand(profile: &Profile) -> Result<f64, SettingError> {
    let demand = profile.setting("demand").parse().ok();
    let demand = demand.filter(|demand| (0.001..=1000.0).contains(demand));
    demand.ok_or_else(|| profile.bad("demand", "a number from 0.001 to 1000"))
}

/// Shares of the request kinds, per mille, in the order of [`generator::KINDS`].
fn mix(profile: &Profile) -> Result<[u64; 4], SettingError> {
    match profile.setting("mix") {
        "mixed" => Ok([550, 250, 50, 150]),
        "hot" => Ok([480, 310, 10, 200]),
        "published" => Ok([600, 390, 5, 5]),
        _ => Err(profile.bad("mix", "mixed, hot, published")),
    }
}

/// Whether all hotels and flights are equally popular.
fn uniform(profile: &Profile) -> Result<bool, SettingError> {
    match profile.setting("popularity") {
        "zipf" => Ok(false),
        "uniform" => Ok(true),
        _ => Err(profile.bad("popularity", "zipf, uniform")),
    }
}
