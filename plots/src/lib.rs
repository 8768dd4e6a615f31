//! Figures and the report, from results alone.
//!
//! Everything here is a pure function of a [`Loaded`](triptych_results::Loaded) campaign: the same
//! results give the same bytes of SVG, PNG and HTML on every machine, which is why the crate brings
//! its own font. A figure is first a plain description ([`Figure`]) and then drawn, so that what is
//! shown can be tested without looking at pixels.

mod anomalies;
mod axis;
mod causal;
mod cdf;
mod contention;
mod cost;
mod figure;
mod frame;
mod growth;
mod lines;
mod palette;
mod pen;
mod primitives;
mod published;
mod report;
mod throughput;
mod timeline;

pub use anomalies::Anomalies;
pub use causal::Causal;
pub use cdf::Distribution;
pub use contention::Contention;
pub use cost::CostBars;
pub use figure::{Figure, PUBLISHED, PlotError, figures, write_all};
pub use growth::Growth;
pub use palette::{colour, colours};
pub use primitives::Primitives;
pub use published::Beside;
pub use report::report;
pub use throughput::Throughput;
pub use timeline::Timeline;
