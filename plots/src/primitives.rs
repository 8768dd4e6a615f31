//! What single primitives cost in time: per request kind and runtime, the median and the 99th
//! percentile of how long the function ran, less the median of a request that does nothing.

use crate::PlotError;
use crate::axis::Axis;
use crate::frame::{Frame, Panel, Sample, axes};
use crate::palette::{INK, SOFT, colours, faded};
use crate::pen::{At, Pen};
use crate::throughput::subtitle;
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;
use triptych_results::model::Status;
use triptych_results::{Loaded, LoadedRun, Point};

/// The kind of a request that does nothing.
const EMPTY: &str = "empty";
/// How much of its colour the bar of the 99th percentile has.
const PALE: f64 = 0.35;

/// The figure's description.
#[derive(Clone, Debug, PartialEq)]
pub struct Primitives {
    frame: Frame,
    y: Axis,
    /// By kind, the bars of the runtimes.
    groups: Vec<(String, Vec<Bar>)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bar {
    colour: RGBColor,
    p50: f64,
    p99: f64,
}

/// Median and 99th percentile of a kind, milliseconds.
fn entry(run: &LoadedRun, kind: &str) -> Option<(f64, f64)> {
    let entry = &run.summary.kinds.get(kind)?.entry;
    let ms = |ns: u64| ns as f64 / 1e6;
    Some((ms(entry.p50?.value_ns), ms(entry.p99?.value_ns)))
}

impl Primitives {
    /// One run per runtime of a group, if its profile has requests that do nothing.
    pub fn new(loaded: &Loaded, group: &[Point]) -> Option<Primitives> {
        let palette = colours(group.iter().map(|point| point.runtime.as_str()));
        let mut runs = Vec::new();
        for points in group.chunk_by(|a, b| a.runtime == b.runtime) {
            let point = points.first()?;
            let run = loaded.runs.iter();
            let mut run = run.filter(|run| point.runs.contains(&run.manifest.run_id));
            if let Some(run) = run.next()
                && let Some((nothing, _)) = entry(run, EMPTY)
            {
                runs.push((point, run, nothing));
            }
        }
        let (point, first, _) = *runs.first()?;
        let mut legend = vec![(Sample::Head, "runtime".to_string())];
        let mut colour_of = Vec::new();
        for (point, run, _) in &runs {
            let colour = palette[&point.runtime];
            let (colour, text) = match run.summary.verdict.standing {
                Status::Valid => (colour, point.runtime.clone()),
                standing => (faded(colour), format!("{} ({standing})", point.runtime)),
            };
            legend.push((Sample::Area(colour, 1.0), text));
            colour_of.push(colour);
        }
        legend.extend([
            (Sample::Head, "bars".to_string()),
            (Sample::Area(INK, 1.0), "median".to_string()),
            (Sample::Area(INK, PALE), "99th percentile".to_string()),
        ]);
        let kinds = first.manifest.kinds.iter().filter(|kind| *kind != EMPTY);
        let groups: Vec<(String, Vec<Bar>)> = kinds
            .map(|kind| {
                let bar = |((_, run, nothing), colour): (&(_, &LoadedRun, f64), &RGBColor)| {
                    let (p50, p99) = entry(run, kind)?;
                    let less = |value: f64| (value - nothing).max(0.0);
                    Some(Bar {
                        colour: *colour,
                        p50: less(p50),
                        p99: less(p99),
                    })
                };
                let bars = runs.iter().zip(&colour_of).filter_map(bar);
                (kind.clone(), bars.collect())
            })
            .collect();
        let bars = groups.iter().flat_map(|(_, bars)| bars);
        let largest = bars.map(|bar| bar.p99).fold(0.0, f64::max);
        let nothing: Vec<String> = runs
            .iter()
            .map(|(point, _, nothing)| format!("{} {nothing:.1}", point.runtime))
            .collect();
        let mut notes = vec![format!(
            "How long the entry function ran, less the median of a request that does nothing (ms): {}. \
             The numbers are medians. One run per runtime at {} requests/s.",
            nothing.join(", "),
            triptych_results::format::plain(point.rate),
        )];
        if runs
            .iter()
            .any(|(_, run, _)| run.summary.verdict.standing != Status::Valid)
        {
            notes.push("Runtimes in faded colours: the verdict is not valid.".to_string());
        }
        Some(Primitives {
            frame: Frame {
                title: format!("Latency of single primitives: {}", point.profile),
                subtitle: subtitle(point),
                legend,
                notes,
            },
            y: Axis::from_zero("time in the function, ms", largest),
            groups,
        })
    }

    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<(), PlotError> {
        let room = self.frame.draw(pen)?;
        let panel = Panel {
            bottom: room.bottom + 16.0,
            ..room
        };
        axes(pen, panel, None, &self.y)?;
        let width = (panel.right - panel.left) / self.groups.len().max(1) as f64;
        let height = |value: f64| panel.bottom - self.y.place(value) * (panel.bottom - panel.top);
        for (at, (kind, bars)) in self.groups.iter().enumerate() {
            let left = panel.left + at as f64 * width;
            let slot = 0.8 * width / bars.len().max(1) as f64;
            for (n, bar) in bars.iter().enumerate() {
                let from = left + 0.1 * width + n as f64 * slot;
                let to = from + 0.86 * slot;
                let (p50, p99) = (height(bar.p50), height(bar.p99));
                pen.area((from, p99), (to, panel.bottom), bar.colour, PALE)?;
                pen.area((from, p50), (to, panel.bottom), bar.colour, 1.0)?;
                let middle = (from + to) / 2.0;
                let text = format!("{:.0}", bar.p50);
                pen.text(&text, (middle, p99 - 16.0), 12.0, SOFT, At::Top)?;
            }
            let middle = left + width / 2.0;
            pen.text(kind, (middle, panel.bottom + 8.0), 14.0, INK, At::Top)?;
        }
        Ok(())
    }
}
