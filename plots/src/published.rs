//! Median and 99th percentile against the offered rate, with published points of the same app
//! around ours.
//!
//! Ours are lines, published points are empty marks without any: nobody measured what is between
//! them. A diamond is a number that our latencies know nothing of; a square is *in-sample*, they were
//! fitted on it.

use crate::PlotError;
use crate::axis::Axis;
use crate::frame::{Dash, Frame, Mark, Panel, Sample, axes};
use crate::palette::{INK, colours};
use crate::pen::{At, Pen};
use crate::throughput::{Curve, CurvePoint, notes, status_samples};
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;
use std::collections::BTreeSet;
use triptych_results::published::Series;
use triptych_results::{Point, Spread, beside};

/// How far apart the two panels are: room for the ticks of the second.
const BETWEEN: f64 = 48.0;

/// The figure's description.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    frame: Frame,
    x: Axis,
    y: Axis,
    caption: String,
    panels: [Half; 2],
}

/// The panel of one quantile.
#[derive(Clone, Debug, PartialEq)]
struct Half {
    head: &'static str,
    curves: Vec<Curve>,
    published: Vec<Published>,
}

/// A published point.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Published {
    colour: RGBColor,
    rate: f64,
    ms: f64,
    in_sample: bool,
}

impl Beside {
    /// Describes the figure of some points of one profile; nothing if nothing was published that may
    /// stand beside them.
    pub fn new(group: &[Point]) -> Option<Beside> {
        let first = group.first()?;
        let sources = beside::sources(group);
        let series: Vec<&Series> = sources
            .iter()
            .flat_map(|source| source.fitting(&first.app, &first.profile))
            .collect();
        if series.is_empty() {
            return None;
        }
        let ours: BTreeSet<&str> = group.iter().map(|point| &*point.runtime).collect();
        let names = group.iter().map(|point| &*point.runtime);
        let palette = colours(names.chain(series.iter().map(|one| one.beside(&ours))));
        let mut legend = Vec::new();
        for points in group.chunk_by(|a, b| a.runtime == b.runtime) {
            let runtime = &points[0].runtime;
            legend.push((Sample::Line(palette[runtime], Dash::Solid), runtime.clone()));
        }
        legend.extend(status_samples(group));
        legend.push((Sample::Head, "published".to_string()));
        let mut systems = BTreeSet::new();
        for one in &series {
            if systems.insert(&one.system) {
                let mark = Mark::Published { in_sample: false };
                let colour = palette[one.beside(&ours)];
                legend.push((Sample::Point(mark, colour), one.system.clone()));
            }
        }
        if series
            .iter()
            .flat_map(|one| one.points())
            .any(|point| point.in_sample)
        {
            let mark = Mark::Published { in_sample: true };
            let text = "in-sample: our latencies were fitted on it".to_string();
            legend.push((Sample::Point(mark, INK), text));
        }
        let panels = [false, true].map(|tail| Half {
            head: if tail { "99th percentile" } else { "median" },
            curves: curves(group, &palette, tail),
            published: series
                .iter()
                .flat_map(|one| {
                    let colour = palette[one.beside(&ours)];
                    one.points().filter_map(move |point| {
                        Some(Published {
                            colour,
                            rate: point.rate,
                            ms: if tail { point.p99_ms? } else { point.p50_ms },
                            in_sample: point.in_sample,
                        })
                    })
                })
                .collect(),
        });
        let curve_points = || {
            let curves = panels.iter().flat_map(|half| &half.curves);
            curves.flat_map(|curve| &curve.points)
        };
        let published = || panels.iter().flat_map(|half| &half.published);
        let rates = curve_points().map(|point| point.rate.median);
        let x = Axis::logarithmic(
            "offered rate, requests/s",
            rates.chain(published().map(|point| point.rate)),
        );
        let times = curve_points().flat_map(|point| [point.latency.ms.min, point.latency.ms.max]);
        let y = Axis::logarithmic(
            "response time, ms",
            times.chain(published().map(|point| point.ms)),
        );
        let caption = beside::caption(&sources);
        let mut notes = notes(group);
        notes.extend(beside::caveats(group, &sources));
        let frame = Frame {
            title: format!("Beside published numbers: {}", first.profile),
            subtitle: format!("{caption} · latency profile {}", first.latency_profile),
            legend,
            notes,
        };
        Some(Beside {
            frame,
            x,
            y,
            caption,
            panels,
        })
    }

    /// What a reader who cannot see the figure is told.
    pub(crate) fn caption(&self) -> String {
        format!(
            "Median and 99th percentile of the response time against the offered rate ({}).",
            self.caption
        )
    }

    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<(), PlotError> {
        let room = self.frame.draw(pen)?;
        let width = (room.right - room.left - BETWEEN) / 2.0;
        for (position, half) in self.panels.iter().enumerate() {
            let left = room.left + position as f64 * (width + BETWEEN);
            let panel = Panel {
                left,
                right: left + width,
                top: room.top + 16.0,
                ..room
            };
            // The second panel has the first one's vertical axis, which is named there.
            let unnamed = self.y.clone().unnamed();
            let y = if position == 0 { &self.y } else { &unnamed };
            axes(pen, panel, Some(&self.x), y)?;
            let middle = (panel.left + panel.right) / 2.0;
            pen.text(half.head, (middle, room.top - 8.0), 14.0, INK, At::Top)?;
            for curve in &half.curves {
                curve.draw(pen, panel, &self.x, &self.y)?;
            }
            for point in &half.published {
                let mark = Mark::Published {
                    in_sample: point.in_sample,
                };
                let at = panel.spot(&self.x, &self.y, (point.rate, point.ms));
                mark.draw(pen, at, point.colour)?;
            }
        }
        Ok(())
    }
}

/// A curve per runtime.
fn curves(
    group: &[Point],
    palette: &std::collections::BTreeMap<String, RGBColor>,
    tail: bool,
) -> Vec<Curve> {
    let of = |point: &Point| {
        Some(CurvePoint {
            rate: Spread::of([point.rate])?,
            latency: if tail { point.p99? } else { point.p50? },
            standing: point.standing,
        })
    };
    group
        .chunk_by(|a, b| a.runtime == b.runtime)
        .map(|points| Curve {
            colour: palette[&points[0].runtime],
            tail,
            points: points.iter().filter_map(of).collect(),
        })
        .collect()
}
