//! The ledger: profile and requests.
//!
//! What the keys mean: `accounts` (of each branch) and `initial` (what is in each) are the app's as
//! well; `lists` says how many lists each branch has in use at a time, `fresh` after how many
//! requests new ones are taken (long lists make every read long, and short ones show as much),
//! `sessions` how many logical clients there are, `rejects` the share of mixes that are refused at
//! their end.

mod generator;

pub use generator::Generator;

use crate::profile::{Family, Profile, SettingError};

pub(crate) const FAMILY: Family = Family {
    app: "ledger",
    keys: &[
        "accounts", "fresh", "initial", "lists", "rejects", "sessions",
    ],
    profiles,
    check,
    small: &[
        ("accounts", "3"),
        ("lists", "2"),
        ("sessions", "5"),
        ("fresh", "60"),
    ],
};

fn profiles() -> Vec<Profile> {
    let common = [
        ("accounts", "10"),
        ("initial", "100"),
        ("lists", "4"),
        ("fresh", "400"),
        ("rejects", "0.05"),
        ("sessions", "20"),
    ];
    vec![FAMILY.profile(
        "hot-ledger",
        "transactions of reads and appends on few lists, and transfers between few accounts",
        &common,
        &[],
    )]
}

fn check(profile: &Profile) -> Result<(), SettingError> {
    for key in ["accounts", "fresh", "initial", "lists", "sessions"] {
        profile.count(key)?;
    }
    profile.share("rejects").map(drop)
}
