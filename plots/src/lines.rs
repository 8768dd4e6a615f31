//! Panels of lines side by side: a runtime per line, something measured against something that was
//! varied, and published points around ours.

use crate::PlotError;
use crate::axis::Axis;
use crate::frame::{Frame, Mark, Panel, axes};
use crate::palette::INK;
use crate::pen::{At, Pen};
use crate::throughput::{Curve, CurvePoint};
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;
use triptych_results::Spread;
use triptych_results::aggregate::LatencyPoint;
use triptych_results::model::Status;

/// How far apart two panels are: room for the ticks and the name of the second one's axis.
const BETWEEN: f64 = 78.0;

/// The figure's description.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lines {
    pub(crate) frame: Frame,
    pub(crate) panels: Vec<Plot>,
}

/// One panel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plot {
    /// What stands above it.
    pub(crate) head: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) curves: Vec<Curve>,
    /// Published points, of no curve.
    pub(crate) published: Vec<(RGBColor, [f64; 2])>,
}

/// A point of a curve: where it stands, the values of its runs, and what they are worth.
pub(crate) fn point(
    x: f64,
    values: impl IntoIterator<Item = f64>,
    standing: Status,
) -> Option<CurvePoint> {
    Some(CurvePoint {
        rate: Spread::of([x])?,
        latency: LatencyPoint {
            ms: Spread::of(values)?,
            supported: true,
            at_least: false,
        },
        standing,
    })
}

impl Plot {
    /// Every value on the vertical axis.
    pub(crate) fn values<'a>(
        curves: &'a [Curve],
        published: &'a [(RGBColor, [f64; 2])],
    ) -> impl Iterator<Item = f64> + 'a {
        let points = curves.iter().flat_map(|curve| &curve.points);
        let ours = points.flat_map(|point| [point.latency.ms.min, point.latency.ms.max]);
        ours.chain(published.iter().map(|(_, [_, y])| *y))
    }

    /// Every place on the horizontal axis.
    pub(crate) fn places<'a>(
        curves: &'a [Curve],
        published: &'a [(RGBColor, [f64; 2])],
    ) -> impl Iterator<Item = f64> + 'a {
        let points = curves.iter().flat_map(|curve| &curve.points);
        let ours = points.map(|point| point.rate.median);
        ours.chain(published.iter().map(|(_, [x, _])| *x))
    }
}

impl Lines {
    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<(), PlotError> {
        let room = self.frame.draw(pen)?;
        let count = self.panels.len().max(1) as f64;
        let width = (room.right - room.left - BETWEEN * (count - 1.0)) / count;
        for (position, plot) in self.panels.iter().enumerate() {
            let left = room.left + position as f64 * (width + BETWEEN);
            let panel = Panel {
                left,
                right: left + width,
                top: room.top + 16.0,
                ..room
            };
            axes(pen, panel, Some(&plot.x), &plot.y)?;
            let middle = (panel.left + panel.right) / 2.0;
            pen.text(&plot.head, (middle, room.top - 8.0), 14.0, INK, At::Top)?;
            for curve in &plot.curves {
                curve.draw(pen, panel, &plot.x, &plot.y)?;
            }
            for (colour, [x, y]) in &plot.published {
                let at = panel.spot(&plot.x, &plot.y, (*x, *y));
                Mark::Published { in_sample: false }.draw(pen, at, *colour)?;
            }
        }
        Ok(())
    }
}
