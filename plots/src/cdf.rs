//! The distribution of response times at one rate: the body on the left, the tail on the right,
//! with the place from which on it rests on too few requests.

use crate::PlotError;
use crate::axis::Axis;
use crate::frame::{Dash, Frame, Panel, Sample, axes, stroke};
use crate::palette::{SOFT, colours, faded};
use crate::pen::{At, Pen, Spot};
use crate::throughput::subtitle;
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;
use triptych_results::format::{ms, plain};
use triptych_results::latency::{SUPPORT, histogram};
use triptych_results::model::Status;
use triptych_results::{Loaded, LoadedRun, Point};

/// The figure's description.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    frame: Frame,
    time: Axis,
    tail: Axis,
    curves: Vec<Curve>,
}

#[derive(Clone, Debug, PartialEq)]
struct Curve {
    colour: RGBColor,
    standing: Status,
    /// All requests that were answered or given up.
    total: u64,
    /// A response time in milliseconds, and how many were answered within it.
    steps: Vec<(f64, u64)>,
}

impl Distribution {
    /// Describes the distribution at the highest rate that most runtimes of the group have.
    /// Nothing if no request was answered there.
    pub fn new(loaded: &Loaded, group: &[Point]) -> Option<Self> {
        let having = |rate: f64| group.iter().filter(|point| point.rate == rate).count();
        let rate = group
            .iter()
            .map(|point| point.rate)
            .max_by(|a, b| having(*a).cmp(&having(*b)).then(a.total_cmp(b)))?;
        Distribution::at(loaded, group, rate)
    }

    /// Describes the distribution at a rate.
    pub fn at(loaded: &Loaded, group: &[Point], rate: f64) -> Option<Self> {
        let colours = colours(group.iter().map(|point| point.runtime.as_str()));
        let mut legend = Vec::new();
        let mut curves = Vec::new();
        let mut most = 0;
        for point in group.iter().filter(|point| point.rate == rate) {
            let colour = colours[&point.runtime];
            let curve = curve(loaded, point, colour);
            if curve.steps.is_empty() {
                continue;
            }
            let (sample, word) = match point.standing {
                Status::Valid => (Sample::Line(colour, Dash::Solid), String::new()),
                status => (
                    Sample::Line(faded(colour), dash(status)),
                    format!(" ({status})"),
                ),
            };
            legend.push((sample, format!("{}{word}", point.runtime)));
            let count = plain(curve.total as f64);
            legend.push((Sample::Text, format!("{count} requests")));
            most = most.max(point.runs.len());
            curves.push(curve);
        }
        let first = group.first().filter(|_| !curves.is_empty())?;
        let ends = curves
            .iter()
            .flat_map(|curve| [curve.steps.first(), curve.steps.last()]);
        let time = Axis::logarithmic("response time, ms", ends.flatten().map(|step| step.0));
        let largest = curves.iter().map(|curve| curve.total).max().unwrap_or(1);
        let tail = Axis::logarithmic(
            "share of requests not yet answered",
            [1.0 / (0.97 * largest as f64), 0.97],
        );
        let mut notes = vec![
            "Response time counts from the intended start. A request that was never answered \
             keeps its curve below 1."
                .to_string(),
            format!(
                "Right: below the small cross bar, fewer than {SUPPORT} requests are left; \
                 the curve is dotted there."
            ),
        ];
        if most > 1 {
            notes.push(format!(
                "Requests of up to {most} repetitions are added up; no interval is shown."
            ));
        }
        if curves.iter().any(|curve| curve.standing != Status::Valid) {
            notes.push(
                "Faded and dashed: the verdict is not valid, and the curve not a result.".into(),
            );
        }
        let title = format!(
            "Response times at {} requests/s offered: {}",
            plain(rate),
            first.profile
        );
        let frame = Frame {
            title,
            subtitle: subtitle(first),
            legend,
            notes,
        };
        Some(Distribution {
            frame,
            time,
            tail,
            curves,
        })
    }

    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<(), PlotError> {
        let room = self.frame.draw(pen)?;
        let room = Panel {
            top: room.top + 14.0,
            ..room
        };
        let middle = (room.left + room.right) / 2.0;
        let body = Panel {
            right: middle - 24.0,
            ..room
        };
        let beyond = Panel {
            left: middle + 66.0,
            ..room
        };
        let shares = Axis::linear("share of requests answered", 0.0, 1.0);
        axes(pen, body, Some(&self.time), &shares)?;
        axes(pen, beyond, Some(&self.time), &self.tail)?;
        for curve in &self.curves {
            let colour = if curve.standing == Status::Valid {
                curve.colour
            } else {
                faded(curve.colour)
            };
            let total = curve.total as f64;
            let share = |count: u64| count as f64 / total;
            let body_spots = curve
                .steps
                .iter()
                .map(|(at, within)| body.spot(&self.time, &shares, (*at, share(*within))));
            stroke(pen, &thinned(body_spots), colour, dash(curve.standing))?;

            let tail_spot = |(at, within): &(f64, u64)| {
                beyond.spot(&self.time, &self.tail, (*at, 1.0 - share(*within)))
            };
            let left = |step: &&(f64, u64)| curve.total - step.1;
            let sure = curve
                .steps
                .iter()
                .filter(|step| left(step) >= SUPPORT)
                .map(tail_spot);
            let unsure: Vec<_> = curve
                .steps
                .iter()
                .filter(|step| (1..SUPPORT).contains(&left(step)))
                .map(tail_spot)
                .collect();
            let sure = thinned(sure);
            if let Some((x, y)) = sure.last() {
                pen.line(&[(x - 6.0, *y), (x + 6.0, *y)], colour, 2.0)?;
            }
            stroke(pen, &sure, colour, dash(curve.standing))?;
            let joined = sure.last().copied().into_iter().chain(unsure);
            stroke(pen, &thinned(joined), colour, Dash::Dotted)?;
        }
        let heads = [(body, "body"), (beyond, "tail (both axes logarithmic)")];
        for (panel, text) in heads {
            pen.text(
                text,
                (panel.left + 2.0, panel.top - 9.0),
                13.0,
                SOFT,
                At::Left,
            )?;
        }
        Ok(())
    }
}

fn dash(standing: Status) -> Dash {
    if standing == Status::Invalid {
        Dash::Dashed
    } else {
        Dash::Solid
    }
}

fn curve(loaded: &Loaded, point: &Point, colour: RGBColor) -> Curve {
    let mut sum = histogram();
    let mut total = 0;
    for run in loaded
        .runs
        .iter()
        .filter(|run| point.runs.contains(&run.manifest.run_id))
    {
        // Histograms of bundles have one shape, so adding cannot fail; see `hlog::answered`.
        let _ = sum.add(&run.response);
        total += censored(run);
    }
    total += sum.len();
    let mut within = 0;
    let steps = sum
        .iter_recorded()
        .map(|cell| {
            within += u64::from(cell.count_at_value());
            (ms(cell.value_iterated_to()), within)
        })
        .collect();
    Curve {
        colour,
        standing: point.standing,
        total,
        steps,
    }
}

fn censored(run: &LoadedRun) -> u64 {
    run.summary.overall.response.censored
}

/// Leaves out spots that are less than a pixel from the one before: thousands of histogram cells
/// would make an SVG of megabytes.
fn thinned(spots: impl IntoIterator<Item = Spot>) -> Vec<Spot> {
    let mut kept: Vec<Spot> = Vec::new();
    let mut last = None;
    for spot in spots {
        let near = |(x, y): &Spot| (spot.0 - x).abs() < 1.0 && (spot.1 - y).abs() < 1.0;
        if kept.last().is_some_and(near) {
            last = Some(spot);
        } else {
            kept.push(spot);
            last = None;
        }
    }
    kept.extend(last);
    kept
}
