//! Dated price sheets, and what counted work costs on them.
//!
//! A price belongs to a place and a date: the same work cost almost twice as much in November 2020
//! as in August 2025. The sheets that ship are list prices without free tiers or discounts; what
//! each figure is worth stands in `specs/calibration.md`. Money is `f64` US dollars: sums of
//! products of few terms, the same bits on every machine, because nothing transcendental is used.

use serde::{Deserialize, Serialize};
use triptych_model::Work;

/// The sheets that ship, by name.
const SHIPPED: [(&str, &str); 2] = [
    (
        "aws-us-east-1-2020-11",
        include_str!("../data/pricing_aws_us-east-1_2020-11.toml"),
    ),
    (
        "aws-us-east-1-2025-08",
        include_str!("../data/pricing_aws_us-east-1_2025-08.toml"),
    ),
];

/// Hours of a billing month: 365 days of 24 hours over 12.
const MONTH_NS: f64 = 730.0 * 3600.0 * 1e9;

/// The schema of price sheets that this version reads.
const SCHEMA: u32 = 1;

/// Why there is no price.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PriceError {
    /// No sheet of this name ships.
    #[error("unknown price sheet `{name}`; there are {}", known.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The text is not a price sheet.
    #[error("price sheet `{name}`: {problem}")]
    Malformed {
        /// The sheet's name.
        name: String,
        /// What is wrong, with its place where the parser knows it.
        problem: String,
    },
    /// The sheet has no prices for this processor architecture.
    #[error("price sheet `{name}` has no price for functions on {arch}")]
    NoArch {
        /// The sheet's name.
        name: String,
        /// The architecture.
        arch: Arch,
    },
}

/// The processor architecture of functions: it has a price of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64.
    #[default]
    X86,
    /// 64-bit ARM (Graviton).
    Arm,
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Arch::X86 => "x86",
            Arch::Arm => "arm",
        })
    }
}

/// A dated price sheet. Only the prices that a cost needs are read; a sheet may hold more.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceSheet {
    name: String,
    sheet: Sheet,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Sheet {
    schema: u32,
    currency: String,
    effective_from: String,
    dynamodb: Dynamo,
    lambda: Lambda,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Dynamo {
    on_demand: OnDemand,
    storage: Storage,
    units: Units,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct OnDemand {
    wru: f64,
    rru: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Storage {
    gb_month: f64,
    bytes_per_gb: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Units {
    txn_max_items: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Lambda {
    request: f64,
    billing_granularity_ms: u64,
    init_billed_custom_runtime: bool,
    x86: Option<Tiers>,
    arm: Option<Tiers>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Tiers {
    tier: Vec<Tier>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Tier {
    /// Where the tier ends, in GB-seconds of a month; 0 for no end.
    up_to_gb_s: f64,
    gb_s: f64,
}

impl PriceSheet {
    /// The sheet of this name that ships with the suite.
    ///
    /// # Errors
    /// [`PriceError::Unknown`] with the names that exist.
    pub fn shipped(name: &str) -> Result<PriceSheet, PriceError> {
        match SHIPPED.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => PriceSheet::parse(name, text),
            None => Err(PriceError::Unknown {
                name: name.to_string(),
                known: PriceSheet::names().map(str::to_string).collect(),
            }),
        }
    }

    /// The names of the sheets that ship.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// Reads a sheet of one's own from TOML.
    ///
    /// # Errors
    /// [`PriceError::Malformed`] if a price that a cost needs is missing or makes no sense.
    pub fn parse(name: &str, text: &str) -> Result<PriceSheet, PriceError> {
        let malformed = |problem: String| PriceError::Malformed {
            name: name.to_string(),
            problem,
        };
        let sheet: Sheet = toml::from_str(text).map_err(|e| malformed(e.to_string()))?;
        if sheet.schema != SCHEMA {
            return Err(malformed(format!(
                "schema {} is not known; this version reads schema {SCHEMA}",
                sheet.schema
            )));
        }
        if sheet.currency != "USD" {
            return Err(malformed(format!(
                "currency `{}` is not known",
                sheet.currency
            )));
        }
        if sheet.lambda.billing_granularity_ms == 0 {
            return Err(malformed("lambda.billing_granularity_ms is 0".to_string()));
        }
        let mut prices = vec![
            ("dynamodb.on_demand.wru", sheet.dynamodb.on_demand.wru),
            ("dynamodb.on_demand.rru", sheet.dynamodb.on_demand.rru),
            ("dynamodb.storage.gb_month", sheet.dynamodb.storage.gb_month),
            ("lambda.request", sheet.lambda.request),
        ];
        for (arch, tiers) in [("x86", &sheet.lambda.x86), ("arm", &sheet.lambda.arm)] {
            for tier in tiers.iter().flat_map(|tiers| &tiers.tier) {
                prices.push((arch, tier.gb_s));
                prices.push((arch, tier.up_to_gb_s));
            }
            if tiers.as_ref().is_some_and(|tiers| tiers.tier.is_empty()) {
                return Err(malformed(format!("lambda.{arch} has no tier")));
            }
        }
        if let Some((key, price)) = prices
            .iter()
            .find(|(_, price)| price.is_nan() || *price < 0.0)
        {
            return Err(malformed(format!("{key} is {price}")));
        }
        let bytes_per_gb = sheet.dynamodb.storage.bytes_per_gb;
        if bytes_per_gb.is_nan() || bytes_per_gb < 1.0 {
            return Err(malformed(
                "dynamodb.storage.bytes_per_gb is not positive".to_string(),
            ));
        }
        Ok(PriceSheet {
            name: name.to_string(),
            sheet,
        })
    }

    /// The sheet's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first day on which the prices held, `YYYY-MM-DD`.
    pub fn effective_from(&self) -> &str {
        &self.sheet.effective_from
    }

    /// To what the billed duration of an invocation is rounded up. The simulated platform needs it
    /// before the bill: [`Work::billed_ms`] is rounded already.
    pub fn billing_granularity_ms(&self) -> u64 {
        self.sheet.lambda.billing_granularity_ms
    }

    /// The most items of one store transaction on the sheet's date.
    pub fn transaction_items(&self) -> u32 {
        self.sheet.dynamodb.units.txn_max_items
    }

    /// What `work` costs, done by functions of `memory_mb` during `duration_ns`.
    ///
    /// # Errors
    /// [`PriceError::NoArch`] if the sheet has no price for `arch`.
    pub fn cost(
        &self,
        work: &Work,
        memory_mb: u32,
        arch: Arch,
        duration_ns: u64,
    ) -> Result<Cost, PriceError> {
        let Sheet {
            dynamodb, lambda, ..
        } = &self.sheet;
        let tiers = match arch {
            Arch::X86 => &lambda.x86,
            Arch::Arm => &lambda.arm,
        };
        let no_arch = || PriceError::NoArch {
            name: self.name.clone(),
            arch,
        };
        let tiers = &tiers.as_ref().ok_or_else(no_arch)?.tier;
        // Functions in Rust run on a custom runtime, whose init phase is billed like the rest.
        let init_ms = if lambda.init_billed_custom_runtime {
            work.init_ms
        } else {
            0
        };
        let gb_s = (work.billed_ms + init_ms) as f64 / 1e3 * (f64::from(memory_mb) / 1024.0);
        let storage_per_month =
            work.stored_bytes as f64 / dynamodb.storage.bytes_per_gb * dynamodb.storage.gb_month;
        Ok(Cost {
            lambda_requests: work.invocations as f64 * lambda.request,
            lambda_compute: tiered(tiers, gb_s),
            store_reads: work.read_half_units as f64 / 2.0 * dynamodb.on_demand.rru,
            store_writes: work.write_units as f64 * dynamodb.on_demand.wru,
            store_storage: storage_per_month * (duration_ns as f64 / MONTH_NS),
            storage_per_month,
        })
    }
}

/// What `gb_s` GB-seconds cost if they are all that was used in the month.
fn tiered(tiers: &[Tier], gb_s: f64) -> f64 {
    let mut cost = 0.0;
    let mut from = 0.0;
    for tier in tiers {
        let end = if tier.up_to_gb_s == 0.0 {
            f64::INFINITY
        } else {
            tier.up_to_gb_s
        };
        cost += (gb_s.min(end) - from).max(0.0) * tier.gb_s;
        from = end;
    }
    cost
}

/// What a run costs in US dollars, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The fee per function invocation.
    pub lambda_requests: f64,
    /// Execution time of functions times their memory.
    pub lambda_compute: f64,
    /// Read units of the store.
    pub store_reads: f64,
    /// Write units of the store.
    pub store_writes: f64,
    /// The share of the monthly storage bill for the time of the run.
    pub store_storage: f64,
    /// What the bytes stored at the end cost per month. Not part of the total: it goes on without
    /// any request.
    pub storage_per_month: f64,
}

impl Cost {
    /// The names of the kinds of cost, in the order of [`Cost::parts`].
    pub const PARTS: [&'static str; 5] = [
        "function requests",
        "function compute",
        "store reads",
        "store writes",
        "store storage",
    ];

    /// The kinds of cost that add up to the total.
    pub fn parts(&self) -> [f64; 5] {
        [
            self.lambda_requests,
            self.lambda_compute,
            self.store_reads,
            self.store_writes,
            self.store_storage,
        ]
    }

    /// The sum of the kinds.
    pub fn total(&self) -> f64 {
        self.parts().iter().sum()
    }

    /// The cost of a million requests, if `requests` cost this much; nothing for no requests.
    pub fn per_million(&self, requests: u64) -> Option<Cost> {
        let factor = (requests > 0).then(|| 1e6 / requests as f64)?;
        Some(Cost {
            lambda_requests: self.lambda_requests * factor,
            lambda_compute: self.lambda_compute * factor,
            store_reads: self.store_reads * factor,
            store_writes: self.store_writes * factor,
            store_storage: self.store_storage * factor,
            storage_per_month: self.storage_per_month,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beldi's compose-review as `specs/calibration.md` §6 counts it, a thousand times over so
    /// that whole units and milliseconds hold it exactly.
    fn compose_review(billed_ms: u64) -> Work {
        Work {
            invocations: 15_000,
            billed_ms,
            read_half_units: 54_000,
            write_units: 112_000,
            ..Work::default()
        }
    }

    #[test]
    fn the_worked_example_of_the_calibration_comes_out() {
        let sheet = PriceSheet::shipped("aws-us-east-1-2020-11").unwrap();
        let work = compose_review(1_000_000);
        let cost = sheet
            .cost(&work, 1024, Arch::X86, 0)
            .unwrap()
            .per_million(1_000)
            .unwrap();
        assert!((cost.total() - 166.4).abs() < 0.1, "{cost:?}");
        assert!(
            (cost.store_reads + cost.store_writes - 146.75).abs() < 1e-9,
            "{cost:?}"
        );

        let sheet = PriceSheet::shipped("aws-us-east-1-2025-08").unwrap();
        let work = compose_review(720_000);
        let memory_mb = (1.77 * 1024.0) as u32;
        let cost = sheet
            .cost(&work, memory_mb, Arch::Arm, 0)
            .unwrap()
            .per_million(1_000)
            .unwrap();
        assert!((cost.total() - 93.4).abs() < 0.2, "{cost:?}");
    }

    #[test]
    fn storage_is_a_share_of_the_month() {
        let sheet = PriceSheet::shipped("aws-us-east-1-2020-11").unwrap();
        let work = Work {
            stored_bytes: 4_000_000_000,
            ..Work::default()
        };
        let hour = 3_600_000_000_000;
        let cost = sheet.cost(&work, 1024, Arch::X86, hour).unwrap();
        assert_eq!(cost.storage_per_month, 1.0);
        assert!((cost.total() - 1.0 / 730.0).abs() < 1e-12);
        assert_eq!(cost.per_million(0), None);
    }

    #[test]
    fn init_is_billed_on_a_custom_runtime() {
        let sheet = PriceSheet::shipped("aws-us-east-1-2025-08").unwrap();
        let cold = Work {
            init_ms: 500,
            billed_ms: 500,
            ..Work::default()
        };
        let warm = Work {
            billed_ms: 1_000,
            ..Work::default()
        };
        assert_eq!(
            sheet.cost(&cold, 512, Arch::X86, 0),
            sheet.cost(&warm, 512, Arch::X86, 0)
        );
    }

    #[test]
    fn tiers_apply_in_turn() {
        let tiers = [
            Tier {
                up_to_gb_s: 10.0,
                gb_s: 2.0,
            },
            Tier {
                up_to_gb_s: 0.0,
                gb_s: 1.0,
            },
        ];
        assert_eq!(tiered(&tiers, 5.0), 10.0);
        assert_eq!(tiered(&tiers, 30.0), 40.0);
    }

    #[test]
    fn mistakes_are_told() {
        let error = PriceSheet::shipped("aws-mars-1").unwrap_err().to_string();
        assert!(error.contains("aws-us-east-1-2020-11"), "{error}");
        let sheet = PriceSheet::shipped("aws-us-east-1-2020-11").unwrap();
        let error = sheet
            .cost(&Work::default(), 1024, Arch::Arm, 0)
            .unwrap_err();
        assert!(error.to_string().contains("arm"), "{error}");
        let text = SHIPPED[0].1.replace("wru = 1.25e-6", "wru = -1.0");
        assert!(
            PriceSheet::parse("mine", &text)
                .unwrap_err()
                .to_string()
                .contains("wru")
        );
        let text = SHIPPED[0].1.replace("schema = 1", "schema = 9");
        assert!(
            PriceSheet::parse("mine", &text)
                .unwrap_err()
                .to_string()
                .contains("schema 9")
        );
        assert!(PriceSheet::parse("mine", "x = ").is_err());
    }

    #[test]
    fn granularity_and_limits_follow_the_date() {
        let old = PriceSheet::shipped("aws-us-east-1-2020-11").unwrap();
        let new = PriceSheet::shipped("aws-us-east-1-2025-08").unwrap();
        assert_eq!(
            (old.billing_granularity_ms(), old.transaction_items()),
            (100, 25)
        );
        assert_eq!(
            (new.billing_granularity_ms(), new.transaction_items()),
            (1, 100)
        );
        assert_eq!(PriceSheet::names().count(), 2);
    }
}
