//! The course of one run: latency, throughput and errors per interval, with warm-up and faults.

use crate::PlotError;
use crate::axis::Axis;
use crate::frame::{Dash, Frame, Panel, Sample, axes, stroke};
use crate::palette::{ALARM, GREY, INK, SOFT, colours, faded};
use crate::pen::{At, Pen, Spot};
use crate::throughput::subtitle;
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;
use triptych_results::format::{ms, plain};
use triptych_results::model::Status;
use triptych_results::summary::Interval;
use triptych_results::{FaultMark, Loaded, LoadedRun, Point, Quantile};

/// The figure's description.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    run: String,
    frame: Frame,
    colour: RGBColor,
    warmup_s: f64,
    marks: Vec<FaultMark>,
    intervals: Vec<Interval>,
    time: Axis,
    latency: Axis,
    rate: Axis,
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn per_second(interval: &Interval, count: u64) -> f64 {
    // The last interval may be shorter; its counts are scaled, not shown as a dip.
    count as f64 / seconds(interval.to_ns - interval.from_ns).max(1e-9)
}

impl Timeline {
    /// One run per runtime of a group: the first with faults, or else the first at the highest
    /// rate.
    pub fn of_group(loaded: &Loaded, group: &[Point]) -> Vec<Timeline> {
        let colours = colours(group.iter().map(|point| point.runtime.as_str()));
        let mut timelines = Vec::new();
        for points in group.chunk_by(|a, b| a.runtime == b.runtime) {
            let of_runtime = || {
                loaded.runs.iter().filter_map(|run| {
                    let point = points
                        .iter()
                        .find(|p| p.runs.contains(&run.manifest.run_id))?;
                    Some((run, point))
                })
            };
            let marked = of_runtime().find(|(run, _)| !run.manifest.faults.marks.is_empty());
            let highest = points
                .last()
                .and_then(|last| of_runtime().find(|(_, point)| point.rate == last.rate));
            if let Some((run, point)) = marked.or(highest) {
                timelines.push(Timeline::new(run, point, colours[&point.runtime]));
            }
        }
        timelines
    }

    /// Describes the course of a run.
    pub fn new(run: &LoadedRun, point: &Point, colour: RGBColor) -> Self {
        let LoadedRun {
            manifest, summary, ..
        } = run;
        let standing = summary.verdict.standing;
        let colour = if standing == Status::Valid {
            colour
        } else {
            faded(colour)
        };
        let intervals = summary.timeline.clone();
        let quantiles = || intervals.iter().flat_map(|i| [i.p50, i.p99]).flatten();
        let latency = Axis::logarithmic("response time, ms", quantiles().map(|q| ms(q.value_ns)));
        let rates = intervals
            .iter()
            .flat_map(|i| [i.offered, i.answered, i.errors].map(|count| per_second(i, count)));
        let rate = Axis::from_zero("requests/s", rates.fold(0.0, f64::max));
        let time = Axis::linear(
            "time since the start of the load, s",
            0.0,
            seconds(manifest.duration_ns),
        );
        let mut legend = vec![
            (Sample::Head, "latency".to_string()),
            (Sample::Line(colour, Dash::Solid), "p50".to_string()),
            (Sample::Line(colour, Dash::Dashed), "p99".to_string()),
            (Sample::Head, "throughput".to_string()),
            (Sample::Line(INK, Dash::Dotted), "offered".to_string()),
            (Sample::Line(colour, Dash::Solid), "answered".to_string()),
            (Sample::Area(ALARM, 0.85), "not answered".to_string()),
            (Sample::Head, "marks".to_string()),
        ];
        if manifest.warmup_ns > 0 {
            legend.push((
                Sample::Area(GREY, 0.25),
                "warm-up, not measured".to_string(),
            ));
        }
        if !manifest.faults.marks.is_empty() {
            legend.push((Sample::Area(ALARM, 0.15), "fault".to_string()));
        }
        let mut notes = vec![format!(
            "One run: {}. Verdict: {standing}. Latency belongs to the interval in which a request \
             was intended, answers to the one in which they arrived.",
            manifest.run_id
        )];
        if standing != Status::Valid {
            notes.push("The verdict is not valid: these numbers are not a result.".to_string());
        }
        if quantiles().any(|q| !q.supported) {
            notes.push("Quantiles of one interval rest on few requests: read their course.".into());
        }
        if quantiles().any(|q| q.at_least) {
            notes.push("≥: lower bounds, because too many requests were never answered.".into());
        }
        let title = format!(
            "{} over time at {} requests/s: {}",
            manifest.runtime,
            plain(manifest.rate),
            manifest.profile
        );
        let frame = Frame {
            title,
            subtitle: subtitle(point),
            legend,
            notes,
        };
        Timeline {
            run: manifest.run_id.clone(),
            frame,
            colour,
            warmup_s: seconds(manifest.warmup_ns),
            marks: manifest.faults.marks.clone(),
            intervals,
            time,
            latency,
            rate,
        }
    }

    /// The run's id.
    pub fn run(&self) -> &str {
        &self.run
    }

    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<(), PlotError> {
        let room = self.frame.draw(pen)?;
        let split = room.top + (room.bottom - room.top) * 0.58;
        // Room for the names of faults above the data.
        let top = if self.marks.is_empty() {
            room.top
        } else {
            room.top + 14.0
        };
        let upper = Panel {
            bottom: split - 12.0,
            top,
            ..room
        };
        let lower = Panel {
            top: split + 12.0,
            ..room
        };
        axes(pen, upper, None, &self.latency)?;
        axes(pen, lower, Some(&self.time), &self.rate)?;
        for panel in [upper, lower] {
            self.draw_marks(pen, panel)?;
        }
        self.draw_names(pen, upper)?;
        self.draw_quantile(pen, upper, |interval| interval.p50, Dash::Solid)?;
        self.draw_quantile(pen, upper, |interval| interval.p99, Dash::Dashed)?;
        self.draw_rates(pen, lower)
    }

    fn x(&self, panel: Panel, at_s: f64) -> f64 {
        panel.left + self.time.place(at_s) * (panel.right - panel.left)
    }

    fn draw_marks<DB: DrawingBackend>(
        &self,
        pen: &Pen<'_, DB>,
        panel: Panel,
    ) -> Result<(), PlotError> {
        if self.warmup_s > 0.0 {
            let to = (self.x(panel, self.warmup_s), panel.bottom);
            pen.area((panel.left, panel.top), to, GREY, 0.25)?;
        }
        for mark in &self.marks {
            let from = self.x(panel, seconds(mark.from_ns));
            let to = self.x(panel, seconds(mark.to_ns));
            pen.area(
                (from, panel.top),
                (to.max(from + 1.0), panel.bottom),
                ALARM,
                0.15,
            )?;
            pen.line(&[(from, panel.top), (from, panel.bottom)], ALARM, 1.0)?;
        }
        Ok(())
    }

    /// Writes the names of faults in the room above the data, each where it fits.
    fn draw_names<DB: DrawingBackend>(
        &self,
        pen: &Pen<'_, DB>,
        panel: Panel,
    ) -> Result<(), PlotError> {
        let mut free = panel.left;
        for mark in &self.marks {
            let width = pen.text_width(&mark.label, 12.5);
            let from = self
                .x(panel, seconds(mark.from_ns))
                .min(panel.right - width);
            if from >= free {
                pen.text(&mark.label, (from, panel.top - 9.0), 12.5, ALARM, At::Left)?;
                free = from + width + 10.0;
            }
        }
        Ok(())
    }

    fn draw_quantile<DB: DrawingBackend>(
        &self,
        pen: &Pen<'_, DB>,
        panel: Panel,
        quantile: impl Fn(&Interval) -> Option<Quantile>,
        dash: Dash,
    ) -> Result<(), PlotError> {
        // Intervals without an answer are gaps in the line, not zeros.
        let spots: Vec<Option<(Spot, bool)>> = self
            .intervals
            .iter()
            .map(|interval| {
                let quantile = quantile(interval)?;
                let at = seconds(interval.from_ns + interval.to_ns) / 2.0;
                let spot = panel.spot(&self.time, &self.latency, (at, ms(quantile.value_ns)));
                Some((spot, quantile.at_least))
            })
            .collect();
        for piece in spots.split(Option::is_none) {
            let line: Vec<Spot> = piece.iter().flatten().map(|(spot, _)| *spot).collect();
            stroke(pen, &line, self.colour, dash)?;
        }
        for ((x, y), _) in spots.iter().flatten().filter(|(_, at_least)| *at_least) {
            pen.text("≥", (*x + 6.0, *y - 7.0), 13.0, SOFT, At::Left)?;
        }
        Ok(())
    }

    fn draw_rates<DB: DrawingBackend>(
        &self,
        pen: &Pen<'_, DB>,
        panel: Panel,
    ) -> Result<(), PlotError> {
        let spot = |at: f64, value: f64| panel.spot(&self.time, &self.rate, (at, value));
        let stairs = |count: &dyn Fn(&Interval) -> u64| -> Vec<Spot> {
            let step = |interval: &Interval| {
                let value = per_second(interval, count(interval));
                [interval.from_ns, interval.to_ns].map(|at| spot(seconds(at), value))
            };
            self.intervals.iter().flat_map(step).collect()
        };
        for interval in self.intervals.iter().filter(|interval| interval.errors > 0) {
            let value = per_second(interval, interval.errors);
            let from = spot(seconds(interval.from_ns), value);
            pen.area(from, spot(seconds(interval.to_ns), 0.0), ALARM, 0.85)?;
        }
        stroke(
            pen,
            &stairs(&|interval| interval.answered),
            self.colour,
            Dash::Solid,
        )?;
        stroke(
            pen,
            &stairs(&|interval| interval.offered),
            INK,
            Dash::Dotted,
        )
    }
}
