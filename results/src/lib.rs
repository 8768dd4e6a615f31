//! What a run leaves behind, and what may be said from it.
//!
//! A run is a folder of files, a *bundle* ([`RunBundle`]); a matrix of runs is a campaign
//! ([`Campaign`]). The raw operation log, the work counters and the verdict are the data;
//! everything else (the [`Summary`], the histogram log, tables, figures) is computed from them by
//! pure functions of this crate, so that [`verify()`] can compute it again and compare every
//! number. `FORMAT.md` beside the sources describes the files for readers in other languages.
//!
//! Nothing here knows a runtime, an application or the harness: figures and reports need this
//! crate alone.

pub mod aggregate;
pub mod anomalies;
pub mod beside;
pub mod bundle;
pub mod campaign;
pub mod error;
mod files;
pub mod format;
mod gauges;
mod grid;
pub mod hlog;
pub mod latency;
pub mod loaded;
pub mod manifest;
pub mod oplog;
pub mod price;
pub mod published;
pub mod summarise;
pub mod summary;
pub mod table;
mod untrusted;
pub mod verify;
pub mod visibility;

pub use aggregate::{Point, Spread, points};
pub use anomalies::{Anomalies, AnomalyKind};
pub use bundle::{RunBundle, RunData};
pub use campaign::{Campaign, RunState, Saturation, Tried};
pub use error::BundleError;
pub use gauges::Gauge;
pub use grid::Grid;
pub use latency::{Latencies, Quantile};
pub use loaded::{Loaded, LoadedRun};
pub use manifest::{CampaignManifest, Environment, FaultMark, Faults, Manifest, PlannedRun};
pub use price::{Arch, Cost, PriceError, PriceSheet};
pub use published::{
    FigureSeries, Published, PublishedError, PublishedFigure, PublishedFigures, PublishedWork,
};
pub use summarise::{Summariser, summarise};
pub use summary::{Summary, SummaryError};
pub use visibility::{Lag, Visibility};

pub use verify::{Judge, VerifyReport, verify};

/// The plain data that bundles are made of, for crates that see results alone.
pub use triptych_model as model;
