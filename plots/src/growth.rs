//! What runtimes keep over time, and what it does to latency: the length of the longest list above,
//! the median response time per interval below.

use crate::PlotError;
use crate::axis::Axis;
use crate::frame::{Dash, Frame, Panel, Sample, axes, stroke};
use crate::palette::{INK, colours, faded};
use crate::pen::{Pen, Spot};
use crate::throughput::subtitle;
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;
use triptych_results::model::Status;
use triptych_results::{Loaded, LoadedRun, Point};

/// The amounts that are drawn, in solid and in dotted lines.
const LINKED: &str = "longest_list_linked";
const PHYSICAL: &str = "longest_list_physical";

/// The figure's description.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    frame: Frame,
    series: Vec<Series>,
    time: Axis,
    rows: Axis,
    latency: Axis,
}

/// One runtime; all by minutes from the start of the load.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    colour: RGBColor,
    linked: Vec<Spot>,
    physical: Vec<Spot>,
    medians: Vec<Spot>,
}

fn minutes(ns: u64) -> f64 {
    ns as f64 / 60e9
}

impl Series {
    fn new(run: &LoadedRun, colour: RGBColor) -> Self {
        let amounts = |name: &str| {
            let amount = |gauge: &triptych_results::Gauge| {
                let amount = gauge.amounts.get(name)?;
                Some((minutes(gauge.at_ns), *amount as f64))
            };
            run.gauges.iter().filter_map(amount).collect()
        };
        let median =
            |(from, to, median): &(u64, u64, u64)| (minutes(from + to) / 2.0, *median as f64 / 1e6);
        Series {
            colour,
            linked: amounts(LINKED),
            physical: amounts(PHYSICAL),
            medians: run.medians.iter().map(median).collect(),
        }
    }
}

impl Growth {
    /// One run per runtime of a group, if some of them noted the lengths of their lists.
    pub fn new(loaded: &Loaded, group: &[Point]) -> Option<Growth> {
        let palette = colours(group.iter().map(|point| point.runtime.as_str()));
        let mut legend = vec![(Sample::Head, "runtime".to_string())];
        let mut series = Vec::new();
        let mut shown: Option<(&Point, &LoadedRun)> = None;
        let mut all_valid = true;
        for points in group.chunk_by(|a, b| a.runtime == b.runtime) {
            let run = loaded.runs.iter().find_map(|run| {
                let of = |point: &&Point| point.runs.contains(&run.manifest.run_id);
                let point = points.iter().find(of)?;
                run.gauges
                    .iter()
                    .any(|gauge| gauge.amounts.contains_key(LINKED))
                    .then_some((point, run))
            });
            let Some((point, run)) = run else { continue };
            shown = Some((point, run));
            let colour = palette[&point.runtime];
            let (colour, text) = match run.summary.verdict.standing {
                Status::Valid => (colour, point.runtime.clone()),
                standing => {
                    all_valid = false;
                    (faded(colour), format!("{} ({standing})", point.runtime))
                }
            };
            legend.push((Sample::Line(colour, Dash::Solid), text));
            series.push(Series::new(run, colour));
        }
        let (point, run) = shown?;
        legend.extend([
            (Sample::Head, "longest list".to_string()),
            (Sample::Line(INK, Dash::Solid), "linked rows".to_string()),
            (
                Sample::Line(INK, Dash::Dotted),
                "rows in the table".to_string(),
            ),
            (Sample::Head, "latency".to_string()),
            (Sample::Line(INK, Dash::Solid), "median".to_string()),
        ]);
        let t = run.manifest.timing.get("t_ns").copied().unwrap_or(0);
        let mut notes = vec![format!(
            "One run per runtime at {} requests/s; T = {} s. Lengths are noted without cost at the \
             ends of the intervals whose medians are shown.",
            triptych_results::format::plain(point.rate),
            t / 1_000_000_000,
        )];
        if !all_valid {
            notes.push("Runtimes in faded colours: the verdict is not valid.".to_string());
        }
        let largest = |values: &dyn Fn(&Series) -> &Vec<Spot>| {
            let values = series.iter().flat_map(values);
            values.map(|(_, value)| *value).fold(0.0, f64::max)
        };
        let (rows, slowest) = (largest(&|s| &s.physical), largest(&|s| &s.medians));
        let end = minutes(run.manifest.duration_ns);
        Some(Growth {
            frame: Frame {
                title: format!("List length and latency over time: {}", point.profile),
                subtitle: subtitle(point),
                legend,
                notes,
            },
            time: Axis::linear("time since the start of the load, minutes", 0.0, end),
            rows: Axis::from_zero("rows of the longest list", rows),
            latency: Axis::from_zero("median response, ms", slowest),
            series,
        })
    }

    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<(), PlotError> {
        let room = self.frame.draw(pen)?;
        let split = (room.top + room.bottom) / 2.0;
        let upper = Panel {
            bottom: split - 12.0,
            ..room
        };
        let lower = Panel {
            top: split + 12.0,
            ..room
        };
        axes(pen, upper, None, &self.rows)?;
        axes(pen, lower, Some(&self.time), &self.latency)?;
        for series in &self.series {
            let curve = |panel: Panel, y: &Axis, points: &[Spot]| -> Vec<Spot> {
                let spot = |point: &Spot| panel.spot(&self.time, y, *point);
                points.iter().map(spot).collect()
            };
            let physical = curve(upper, &self.rows, &series.physical);
            stroke(pen, &physical, series.colour, Dash::Dotted)?;
            let linked = curve(upper, &self.rows, &series.linked);
            stroke(pen, &linked, series.colour, Dash::Solid)?;
            let medians = curve(lower, &self.latency, &series.medians);
            stroke(pen, &medians, series.colour, Dash::Solid)?;
        }
        Ok(())
    }
}
