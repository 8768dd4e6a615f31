//! What every figure has: a title, the line that says what was measured and how, a legend beside
//! the data and never on it, axes with units, and notes that explain every mark.

use crate::axis::Axis;
use crate::palette::{GRID, INK, SOFT, WHITE, faded};
use crate::pen::{At, Drawn, Pen, Spot};
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;
use triptych_results::model::Status;

/// The size of every figure, in logical pixels.
pub(crate) const WIDTH: f64 = 900.0;
pub(crate) const HEIGHT: f64 = 540.0;
/// How much of the right side the legend takes.
const LEGEND: f64 = 178.0;
const NOTE: f64 = 15.0;

/// A sample in the legend.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sample {
    Line(RGBColor, Dash),
    /// A line with its points.
    Curve(RGBColor, Dash, Mark),
    Point(Mark, RGBColor),
    Area(RGBColor, f64),
    Hatched,
    Head,
    /// Text alone, where the others have theirs.
    Text,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dash {
    Solid,
    Dashed,
    Dotted,
}

/// What a point looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A disc.
    Disc(Status),
    /// A triangle.
    Triangle(Status),
    /// A published point, large enough to be seen around one of ours: an empty diamond, or a square
    /// if it is in-sample.
    Published { in_sample: bool },
}

/// The texts of a figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Frame {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) legend: Vec<(Sample, String)>,
    pub(crate) notes: Vec<String>,
}

/// A rectangle for data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panel {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Panel {
    /// The spot of a value.
    pub(crate) fn spot(&self, x: &Axis, y: &Axis, (vx, vy): Spot) -> Spot {
        (
            self.left + x.place(vx) * (self.right - self.left),
            self.bottom - y.place(vy) * (self.bottom - self.top),
        )
    }
}

impl Frame {
    /// Draws the texts, and returns the room that is left for axes and data.
    pub(crate) fn draw<DB: DrawingBackend>(
        &self,
        pen: &Pen<'_, DB>,
    ) -> Result<Panel, crate::PlotError> {
        pen.fill(WHITE)?;
        pen.text(&self.title, (18.0, 22.0), 20.0, INK, At::Left)?;
        pen.text(&self.subtitle, (18.0, 46.0), 14.0, SOFT, At::Left)?;
        let notes: Vec<String> = self
            .notes
            .iter()
            .flat_map(|note| wrapped(pen, note, 13.0, WIDTH - 36.0))
            .collect();
        let below = HEIGHT - 12.0 - NOTE * notes.len() as f64;
        for (position, note) in notes.iter().enumerate() {
            let y = below + NOTE * (position as f64 + 0.5);
            pen.text(note, (18.0, y), 13.0, SOFT, At::Left)?;
        }
        let left = WIDTH - LEGEND;
        let mut y = 76.0;
        for (sample, text) in &self.legend {
            if *sample == Sample::Head {
                y += 5.0;
                pen.text(text, (left, y), 13.0, SOFT, At::Left)?;
                y += 19.0;
                continue;
            }
            draw_sample(pen, sample, (left, y))?;
            for line in wrapped(pen, text, 13.5, LEGEND - 48.0) {
                pen.text(&line, (left + 36.0, y), 13.5, INK, At::Left)?;
                y += 17.0;
            }
            y += 4.0;
        }
        Ok(Panel {
            left: 80.0,
            top: 74.0,
            right: left - 20.0,
            bottom: below - 54.0,
        })
    }
}

fn draw_sample<DB: DrawingBackend>(pen: &Pen<'_, DB>, sample: &Sample, (x, y): Spot) -> Drawn {
    match sample {
        Sample::Line(colour, dash) => stroke(pen, &[(x, y), (x + 28.0, y)], *colour, *dash),
        Sample::Curve(colour, dash, mark) => {
            stroke(pen, &[(x, y), (x + 28.0, y)], *colour, *dash)?;
            mark.draw(pen, (x + 14.0, y), *colour)
        }
        Sample::Point(mark, colour) => mark.draw(pen, (x + 14.0, y), *colour),
        Sample::Area(colour, share) => {
            pen.area((x + 4.0, y - 6.0), (x + 24.0, y + 6.0), *colour, *share)
        }
        Sample::Hatched => {
            let (from, to) = ((x + 4.0, y - 6.0), (x + 24.0, y + 6.0));
            pen.hatch(from, to, INK)?;
            pen.edge(from, to, INK, 1.0)
        }
        Sample::Head | Sample::Text => Ok(()),
    }
}

/// A line in one of the three styles.
pub(crate) fn stroke<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    spots: &[Spot],
    colour: RGBColor,
    dash: Dash,
) -> Drawn {
    match dash {
        Dash::Solid => pen.line(spots, colour, 2.0),
        Dash::Dashed => pen.dashes(spots, colour, 2.0, (7.0, 4.0)),
        Dash::Dotted => pen.dashes(spots, colour, 1.5, (2.0, 3.0)),
    }
}

impl Mark {
    /// Filled if its verdict is valid, hollow if unknown, faded and crossed out if invalid.
    pub(crate) fn draw<DB: DrawingBackend>(
        self,
        pen: &Pen<'_, DB>,
        at: Spot,
        colour: RGBColor,
    ) -> Drawn {
        let status = match self {
            Mark::Disc(status) | Mark::Triangle(status) => status,
            Mark::Published { in_sample } => return published(pen, at, colour, in_sample),
        };
        let outer = if status == Status::Invalid {
            faded(colour)
        } else {
            colour
        };
        let whole = |size: f64, colour| match self {
            Mark::Disc(_) | Mark::Published { .. } => pen.disc(at, size, colour),
            Mark::Triangle(_) => {
                let (x, y) = at;
                let spots = [
                    (x, y - size * 1.35),
                    (x + size * 1.25, y + size * 0.85),
                    (x - size * 1.25, y + size * 0.85),
                ];
                pen.shape(&spots, colour)
            }
        };
        whole(5.0, outer)?;
        if status != Status::Valid {
            whole(3.0, WHITE)?;
        }
        if status == Status::Invalid {
            let (x, y) = at;
            pen.line(&[(x - 5.0, y - 5.0), (x + 5.0, y + 5.0)], INK, 1.5)?;
            pen.line(&[(x - 5.0, y + 5.0), (x + 5.0, y - 5.0)], INK, 1.5)?;
        }
        Ok(())
    }
}

fn published<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    (x, y): Spot,
    colour: RGBColor,
    in_sample: bool,
) -> Drawn {
    if in_sample {
        return pen.edge((x - 7.0, y - 7.0), (x + 7.0, y + 7.0), colour, 1.5);
    }
    let (left, right) = ((x - 9.0, y), (x + 9.0, y));
    let (top, bottom) = ((x, y - 9.0), (x, y + 9.0));
    pen.line(&[left, top, right, bottom, left], colour, 1.5)
}

/// Draws grid, ticks, texts and edges of a panel.
pub(crate) fn axes<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    panel: Panel,
    x: Option<&Axis>,
    y: &Axis,
) -> Drawn {
    let Panel {
        left,
        top,
        right,
        bottom,
    } = panel;
    let mut widest = 0.0f64;
    for (value, text) in y.ticks() {
        let at = bottom - y.place(value) * (bottom - top);
        pen.line(&[(left, at), (right, at)], GRID, 1.0)?;
        pen.text(&text, (left - 7.0, at), 13.0, INK, At::Right)?;
        widest = widest.max(pen.text_width(&text, 13.0));
    }
    pen.text(
        &y.label,
        (left - widest - 22.0, (top + bottom) / 2.0),
        14.0,
        INK,
        At::Turned,
    )?;
    if let Some(x) = x {
        let mut free = f64::NEG_INFINITY;
        for (value, text) in x.ticks() {
            let at = left + x.place(value) * (right - left);
            pen.line(&[(at, top), (at, bottom)], GRID, 1.0)?;
            let half = pen.text_width(&text, 13.0) / 2.0;
            // A text that would touch its neighbour is left out; its grid line stays.
            if !text.is_empty() && at - half > free {
                pen.line(&[(at, bottom), (at, bottom + 4.0)], INK, 1.0)?;
                pen.text(&text, (at, bottom + 8.0), 13.0, INK, At::Top)?;
                free = at + half + 8.0;
            }
        }
        pen.text(
            &x.label,
            ((left + right) / 2.0, bottom + 30.0),
            14.0,
            INK,
            At::Top,
        )?;
    }
    pen.line(&[(left, top), (left, bottom), (right, bottom)], INK, 1.0)
}

/// Breaks a text between words so that each line fits.
fn wrapped<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    text: &str,
    size: f64,
    width: f64,
) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else {
            break;
        };
        let longer = if line.is_empty() {
            word.to_string()
        } else {
            format!("{line} {word}")
        };
        if line.is_empty() || pen.text_width(&longer, size) <= width {
            // A single word that is too long has nowhere to go.
            *line = pen.clipped(&longer, size, width);
        } else {
            lines.push(word.to_string());
        }
    }
    lines
}
