//! Anomalies per million reads, kind by kind, of each runtime: bars on a logarithmic axis, and none at
//! all as a mark of its own below it, because a logarithm has no zero and few are not none.

use crate::PlotError;
use crate::axis::Axis;
use crate::frame::{Frame, Panel, Sample, axes};
use crate::palette::{GRID, INK, SOFT, colours};
use crate::pen::{At, Pen};
use crate::throughput::subtitle;
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;
use std::collections::BTreeSet;
use triptych_results::format::plain;
use triptych_results::{Anomalies as Counted, Loaded, Point};

/// Between the axis and the line where there are none.
const NONE: f64 = 16.0;
/// How much room the names of kinds have below.
const NAMES: f64 = 118.0;

/// The figure's description.
#[derive(Clone, Debug, PartialEq)]
pub struct Anomalies {
    frame: Frame,
    y: Axis,
    kinds: Vec<String>,
    bars: Vec<Bars>,
}

/// One runtime: of each kind how many, if anything was examined.
#[derive(Clone, Debug, PartialEq)]
struct Bars {
    colour: RGBColor,
    each: Vec<Option<Height>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Height {
    per_million: f64,
    promised: bool,
}

impl Anomalies {
    /// The figure of some points of one profile, over all of their runs; nothing if none of them
    /// recorded causal order.
    pub fn new(loaded: &Loaded, group: &[Point]) -> Option<Anomalies> {
        let mut counted: Vec<(&str, Counted)> = Vec::new();
        for point in group {
            let runs = loaded.runs.iter();
            let runs = runs.filter(|run| point.runs.contains(&run.manifest.run_id));
            for anomalies in runs.filter_map(|run| run.summary.anomalies.as_ref()) {
                match counted.iter_mut().find(|(name, _)| *name == point.runtime) {
                    Some((_, known)) => known.add(anomalies),
                    None => counted.push((&point.runtime, anomalies.clone())),
                }
            }
        }
        let first = group.first().filter(|_| !counted.is_empty())?;
        let grid = triptych_results::anomalies::grid(String::new(), &owned(&counted));
        // The first row says how many reads there were.
        let kinds = grid.rows.into_iter().skip(1);
        let kinds: Vec<String> = kinds.filter_map(|row| row.into_iter().next()).collect();
        let palette = colours(counted.iter().map(|(name, _)| *name));
        let mut legend = vec![(Sample::Head, "runtime".to_owned())];
        let mut bars = Vec::new();
        for (name, anomalies) in &counted {
            let colour = palette[*name];
            legend.push((Sample::Area(colour, 1.0), (*name).to_owned()));
            let height = |kind: &String| {
                let known = anomalies.kind(kind)?;
                Some(Height {
                    per_million: known.per_million_reads?,
                    promised: known.promised,
                })
            };
            bars.push(Bars {
                colour,
                each: kinds.iter().map(height).collect(),
            });
        }
        let all = || bars.iter().flat_map(|bars| &bars.each).flatten();
        if all().any(|height| !height.promised && height.per_million > 0.0) {
            legend.push((Sample::Head, "promise".to_owned()));
            legend.push((Sample::Hatched, "none is promised".to_owned()));
        }
        let reads = counted.iter().map(|(name, anomalies)| {
            let reads = plain(anomalies.reads as f64);
            format!("{name} {reads}")
        });
        let reads: Vec<String> = reads.collect();
        let rates: BTreeSet<String> = group.iter().map(|point| plain(point.rate)).collect();
        let rates: Vec<String> = rates.into_iter().collect();
        Some(Anomalies {
            frame: Frame {
                title: format!("Anomalies: {}", first.profile),
                subtitle: subtitle(first),
                legend,
                notes: vec![
                    format!(
                        "All runs at {} requests/s; reads examined: {}.",
                        rates.join(", "),
                        reads.join(", ")
                    ),
                    "A mark at 0: examined, and none was found. No mark: nothing was examined. What \
                     is lost, twice or diverged is counted at the end of a run."
                        .to_owned(),
                ],
            },
            y: Axis::logarithmic(
                "anomalies per million reads",
                all().map(|height| height.per_million),
            ),
            kinds,
            bars,
        })
    }

    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<(), PlotError> {
        let room = self.frame.draw(pen)?;
        let panel = Panel {
            bottom: room.bottom + 46.0 - NAMES - NONE,
            ..room
        };
        axes(pen, panel, None, &self.y)?;
        let zero = panel.bottom + NONE;
        pen.line(&[(panel.left, zero), (panel.right, zero)], GRID, 1.0)?;
        pen.text("0", (panel.left - 7.0, zero), 13.0, INK, At::Right)?;
        let width = (panel.right - panel.left) / self.kinds.len().max(1) as f64;
        let slot = 0.84 * width / self.bars.len().max(1) as f64;
        let height = |value: f64| panel.bottom - self.y.place(value) * (panel.bottom - panel.top);
        for (at, kind) in self.kinds.iter().enumerate() {
            let left = panel.left + at as f64 * width;
            if at > 0 {
                pen.line(&[(left, panel.top), (left, zero + 5.0)], GRID, 1.0)?;
            }
            for (n, bars) in self.bars.iter().enumerate() {
                let Some(known) = bars.each[at] else { continue };
                let from = left + 0.08 * width + n as f64 * slot;
                let to = from + 0.86 * slot;
                if known.per_million > 0.0 {
                    // At least a line, also where the axis begins.
                    let top = height(known.per_million).min(panel.bottom - 1.0);
                    pen.area((from, top), (to, panel.bottom), bars.colour, 1.0)?;
                    if !known.promised {
                        pen.hatch((from, top), (to, panel.bottom), INK)?;
                    }
                } else {
                    pen.area((from, zero - 3.0), (to, zero + 3.0), bars.colour, 1.0)?;
                }
            }
            let middle = left + width / 2.0;
            pen.text(kind, (middle, zero + 9.0), 12.5, SOFT, At::TurnedEnd)?;
        }
        Ok(())
    }
}

fn owned(counted: &[(&str, Counted)]) -> Vec<(String, Counted)> {
    let columns = counted.iter();
    columns
        .map(|(name, anomalies)| ((*name).to_owned(), anomalies.clone()))
        .collect()
}
