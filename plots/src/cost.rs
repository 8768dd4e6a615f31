//! What a million requests cost, stacked by what is paid for, per rate and runtime.

use crate::PlotError;
use crate::axis::Axis;
use crate::frame::{Frame, Panel, Sample, axes};
use crate::palette::{COSTS, INK, SOFT};
use crate::pen::{At, Pen};
use crate::throughput::subtitle;
use plotters::prelude::DrawingBackend;
use triptych_results::format::plain;
use triptych_results::model::Status;
use triptych_results::{Cost, Point, Spread};

/// The longest name under a bar, in logical pixels; a longer one would eat the bars.
const NAME: f64 = 90.0;

/// The figure's description.
#[derive(Clone, Debug, PartialEq)]
pub struct CostBars {
    frame: Frame,
    y: Axis,
    /// By rate, the bars of the runtimes.
    groups: Vec<(f64, Vec<Bar>)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Bar {
    runtime: String,
    parts: [f64; 5],
    total: Spread,
    standing: Status,
}

impl CostBars {
    /// Describes the figure of some points of one profile.
    pub fn new(points: &[Point]) -> Self {
        let mut rates: Vec<f64> = points.iter().map(|point| point.rate).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        let bar = |point: &Point| {
            Some(Bar {
                runtime: point.runtime.clone(),
                parts: point.cost_parts?.parts(),
                total: point.cost?,
                standing: point.standing,
            })
        };
        let groups: Vec<(f64, Vec<Bar>)> = rates
            .into_iter()
            .map(|rate| {
                let bars = points
                    .iter()
                    .filter(|point| point.rate == rate)
                    .filter_map(bar);
                (rate, bars.collect())
            })
            .collect();
        let bars = || groups.iter().flat_map(|(_, bars)| bars);
        let largest = bars().map(|bar| bar.total.max).fold(0.0, f64::max);
        // From the top of the stack down, as the bars show them.
        let mut legend: Vec<(Sample, String)> = Cost::PARTS
            .iter()
            .zip(COSTS)
            .map(|(name, colour)| (Sample::Area(colour, 1.0), name.to_string()))
            .rev()
            .collect();
        if bars().any(|bar| bar.standing != Status::Valid) {
            legend.push((Sample::Head, "verdict".to_string()));
            legend.push((
                Sample::Hatched,
                "unknown or invalid: not a result".to_string(),
            ));
        }
        let first = points.first();
        let sheet = first.map_or("", |point| &point.price_sheet);
        let runs = points
            .iter()
            .map(|point| point.runs.len())
            .max()
            .unwrap_or(0);
        let mut notes = vec![format!(
            "List prices {sheet}, no free tier. Only answered requests share the bill, which holds \
             the warm-up too; storage is its share for the run's time."
        )];
        notes.push(if runs > 1 {
            "Bars: the run with the median total. Whiskers: smallest and largest total of the \
             repetitions."
                .to_string()
        } else {
            "One run per bar: no interval.".to_string()
        });
        let frame = Frame {
            title: format!(
                "Cost per million requests: {}",
                first.map_or("no runs", |point| &point.profile)
            ),
            subtitle: first.map(subtitle).unwrap_or_default(),
            legend,
            notes,
        };
        let y = Axis::from_zero("US dollars per million answered requests", largest);
        CostBars { frame, y, groups }
    }

    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<(), PlotError> {
        let room = self.frame.draw(pen)?;
        let count: usize = self.groups.iter().map(|(_, bars)| bars.len()).sum();
        // Bars and half a bar of air per group.
        let slots = count as f64 + 0.5 * self.groups.len() as f64;
        let slot = (room.right - room.left) / slots.max(1.0);
        let names = self.groups.iter().flat_map(|(_, bars)| bars);
        let widest = names
            .map(|bar| pen.text_width(&bar.runtime, 12.5))
            .fold(0.0, f64::max);
        let turned = widest > slot - 4.0;
        let widest = widest.min(NAME);
        let below = if turned { widest + 10.0 } else { 18.0 };
        let panel = Panel {
            bottom: room.bottom + 6.0 - below,
            ..room
        };
        axes(pen, panel, None, &self.y)?;
        let mut left = panel.left + 0.25 * slot;
        for (rate, bars) in &self.groups {
            let from = left;
            for bar in bars {
                self.draw_bar(pen, panel, bar, left, slot)?;
                let middle = left + slot / 2.0;
                let (at, anchor) = if turned {
                    ((middle, panel.bottom + 6.0), At::TurnedEnd)
                } else {
                    ((middle, panel.bottom + 6.0), At::Top)
                };
                pen.text(
                    &pen.clipped(&bar.runtime, 12.5, NAME),
                    at,
                    12.5,
                    INK,
                    anchor,
                )?;
                left += slot;
            }
            let y = panel.bottom + below + 6.0;
            pen.line(&[(from + 4.0, y - 2.0), (left - 4.0, y - 2.0)], SOFT, 1.0)?;
            pen.text(
                &plain(*rate),
                ((from + left) / 2.0, y + 2.0),
                13.0,
                INK,
                At::Top,
            )?;
            left += 0.5 * slot;
        }
        let y = panel.bottom + below + 25.0;
        let middle = (panel.left + panel.right) / 2.0;
        pen.text("offered rate, requests/s", (middle, y), 14.0, INK, At::Top)
    }

    fn draw_bar<DB: DrawingBackend>(
        &self,
        pen: &Pen<'_, DB>,
        panel: Panel,
        bar: &Bar,
        left: f64,
        slot: f64,
    ) -> Result<(), PlotError> {
        let width = (slot * 0.72).min(60.0);
        let (from, to) = (left + (slot - width) / 2.0, left + (slot + width) / 2.0);
        let height = |value: f64| panel.bottom - self.y.place(value) * (panel.bottom - panel.top);
        let mut sum = 0.0;
        for (part, colour) in bar.parts.iter().zip(COSTS) {
            let (low, high) = (height(sum), height(sum + part));
            if low - high >= 0.5 {
                pen.area((from, high), (to, low), colour, 1.0)?;
            }
            sum += part;
        }
        if bar.standing != Status::Valid {
            pen.hatch((from, height(sum)), (to, panel.bottom), INK)?;
        }
        pen.edge((from, height(sum)), (to, panel.bottom), INK, 1.0)?;
        if bar.total.n > 1 {
            let middle = (from + to) / 2.0;
            let ends = [bar.total.min, bar.total.max].map(|value| (middle, height(value)));
            pen.line(&ends, INK, 1.5)?;
            for (x, y) in ends {
                pen.line(&[(x - 5.0, y), (x + 5.0, y)], INK, 1.5)?;
            }
        }
        Ok(())
    }
}
