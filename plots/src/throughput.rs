//! Latency against throughput: where a runtime's median and tail go as the offered rate grows.

use crate::PlotError;
use crate::axis::Axis;
use crate::frame::{Dash, Frame, Mark, Panel, Sample, axes, stroke};
use crate::palette::{GREY, INK, SOFT, colours, faded};
use crate::pen::{At, Pen};
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;
use triptych_results::aggregate::LatencyPoint;
use triptych_results::format::plain;
use triptych_results::model::Status;
use triptych_results::{Point, Spread};

/// The figure's description.
#[derive(Clone, Debug, PartialEq)]
pub struct Throughput {
    frame: Frame,
    x: Axis,
    y: Axis,
    curves: Vec<Curve>,
}

/// One quantile of one runtime.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Curve {
    pub(crate) colour: RGBColor,
    pub(crate) tail: bool,
    pub(crate) points: Vec<CurvePoint>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CurvePoint {
    /// Where it stands on the horizontal axis.
    pub(crate) rate: Spread,
    pub(crate) latency: LatencyPoint,
    pub(crate) standing: Status,
}

/// The line under the title of every figure: what was run, on which figures it rests, and that
/// time was virtual.
pub(crate) fn subtitle(point: &Point) -> String {
    format!(
        "{} · latency profile {}",
        point.time_label, point.latency_profile
    )
}

/// The legend's explanation of marks, only those that appear.
pub(crate) fn status_samples(points: &[Point]) -> Vec<(Sample, String)> {
    let mut samples = Vec::new();
    let has = |status| points.iter().any(|point| point.standing == status);
    if has(Status::Unknown) || has(Status::Invalid) {
        samples.push((Sample::Head, "verdict".to_string()));
        if has(Status::Valid) {
            let mark = Mark::Disc(Status::Valid);
            samples.push((Sample::Point(mark, INK), "valid".to_string()));
        }
    }
    if has(Status::Unknown) {
        let mark = Mark::Disc(Status::Unknown);
        samples.push((
            Sample::Point(mark, INK),
            "unknown: not a result".to_string(),
        ));
    }
    if has(Status::Invalid) {
        let mark = Mark::Disc(Status::Invalid);
        samples.push((
            Sample::Point(mark, GREY),
            "invalid: a guarantee was violated".to_string(),
        ));
    }
    samples
}

/// Says what the bars between the repetitions are, or that there are none.
pub(crate) fn repetitions(points: &[Point]) -> String {
    let counts = points.iter().map(|point| point.runs.len());
    let (fewest, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
    match (fewest, most) {
        (_, 0 | 1) => "One run per point: no interval.".to_string(),
        (a, b) if a == b => format!("Points: median of {b} runs. Bars: smallest and largest run."),
        (a, b) => format!("Points: median of {a} to {b} runs. Bars: smallest and largest run."),
    }
}

impl Throughput {
    /// Describes the figure of some points of one profile.
    pub fn new(points: &[Point]) -> Self {
        let colours = colours(points.iter().map(|point| point.runtime.as_str()));
        let mut curves = Vec::new();
        let mut legend = Vec::new();
        for group in points.chunk_by(|a, b| a.runtime == b.runtime) {
            let colour = colours[&group[0].runtime];
            legend.push((Sample::Line(colour, Dash::Solid), group[0].runtime.clone()));
            for tail in [false, true] {
                let of = |point: &Point| {
                    Some(CurvePoint {
                        rate: point.achieved?,
                        latency: if tail { point.p99? } else { point.p50? },
                        standing: point.standing,
                    })
                };
                let points = group.iter().filter_map(of).collect();
                curves.push(Curve {
                    colour,
                    tail,
                    points,
                });
            }
        }
        legend.push((Sample::Head, "response time".to_string()));
        let (disc, triangle) = (Mark::Disc(Status::Valid), Mark::Triangle(Status::Valid));
        legend.push((Sample::Curve(INK, Dash::Solid, disc), "median".to_string()));
        legend.push((
            Sample::Curve(INK, Dash::Dashed, triangle),
            "99th percentile".to_string(),
        ));
        legend.extend(status_samples(points));
        let all = || curves.iter().flat_map(|curve| &curve.points);
        let x = Axis::from_zero(
            "achieved throughput, requests/s",
            all().map(|point| point.rate.max).fold(0.0, f64::max),
        );
        let y = Axis::logarithmic(
            "response time, ms",
            all().flat_map(|point| [point.latency.ms.min, point.latency.ms.max]),
        );
        let first = points.first();
        let frame = Frame {
            title: format!(
                "Latency against throughput: {}",
                first.map_or("no runs", |point| &point.profile)
            ),
            subtitle: first.map(subtitle).unwrap_or_default(),
            legend,
            notes: notes(points),
        };
        Throughput {
            frame,
            x,
            y,
            curves,
        }
    }

    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<(), PlotError> {
        let panel = self.frame.draw(pen)?;
        axes(pen, panel, Some(&self.x), &self.y)?;
        for curve in &self.curves {
            curve.draw(pen, panel, &self.x, &self.y)?;
        }
        Ok(())
    }
}

impl Curve {
    pub(crate) fn draw<DB: DrawingBackend>(
        &self,
        pen: &Pen<'_, DB>,
        panel: Panel,
        x_axis: &Axis,
        y_axis: &Axis,
    ) -> Result<(), PlotError> {
        let spot = |x: f64, y: f64| panel.spot(x_axis, y_axis, (x, y));
        // A stretch to a point that stands beside no others is dotted and faded.
        for pair in self.points.windows(2) {
            let ends = [&pair[0], &pair[1]].map(|p| spot(p.rate.median, p.latency.ms.median));
            let stands = pair.iter().all(|point| point.standing == Status::Valid);
            let dash = if self.tail { Dash::Dashed } else { Dash::Solid };
            let (colour, dash) = if stands {
                (self.colour, dash)
            } else {
                (faded(self.colour), Dash::Dotted)
            };
            stroke(pen, &ends, colour, dash)?;
        }
        for point in &self.points {
            let (x, y) = (point.rate, point.latency.ms);
            let invalid = point.standing == Status::Invalid;
            let colour = if invalid {
                faded(self.colour)
            } else {
                self.colour
            };
            if y.n > 1 {
                let (low, high) = (spot(x.median, y.min), spot(x.median, y.max));
                pen.line(&[low, high], colour, 1.5)?;
                for end in [low, high] {
                    pen.line(&[(end.0 - 5.0, end.1), (end.0 + 5.0, end.1)], colour, 1.5)?;
                }
                let (low, high) = (spot(x.min, y.median), spot(x.max, y.median));
                pen.line(&[low, high], colour, 1.5)?;
            }
            let at = spot(x.median, y.median);
            let status = point.standing;
            let mark = if self.tail {
                Mark::Triangle(status)
            } else {
                Mark::Disc(status)
            };
            mark.draw(pen, at, self.colour)?;
            if point.latency.at_least {
                pen.text("≥", (at.0 + 9.0, at.1 - 9.0), 14.0, SOFT, At::Left)?;
            }
        }
        Ok(())
    }
}

pub(crate) fn notes(points: &[Point]) -> Vec<String> {
    let mut notes = vec![repetitions(points)];
    let weak: Vec<&Point> = points
        .iter()
        .filter(|point| point.p99.is_some_and(|p99| !p99.supported))
        .collect();
    if !weak.is_empty() && weak.len() == points.len() {
        notes.push("Every p99 here has fewer than 100 requests beyond it: an anecdote.".into());
    } else if !weak.is_empty() {
        let mut told = String::from("p99 with fewer than 100 requests beyond it:");
        for group in weak.chunk_by(|a, b| a.runtime == b.runtime) {
            let rates: Vec<String> = group.iter().map(|point| plain(point.rate)).collect();
            told.push_str(&format!(
                " {} at {} offered;",
                group[0].runtime,
                rates.join(", ")
            ));
        }
        notes.push(told.trim_end_matches(';').to_string() + ".");
    }
    let latencies = points
        .iter()
        .flat_map(|point| [point.p50, point.p99])
        .flatten();
    if latencies.into_iter().any(|latency| latency.at_least) {
        notes.push("≥: so many requests were never answered that this is a lower bound.".into());
    }
    notes
}
