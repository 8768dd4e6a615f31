//! A thin layer over plotters' primitives: logical pixels as `f64`, one place that scales them, one
//! font. Figures draw with it instead of plotters' charts, so that every tick and label is ours.

use crate::figure::PlotError;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::sync::Once;

/// The name under which our font is registered. SVG viewers without it take their own sans-serif.
const FONT: &str = "sans-serif";

/// Registers the font that comes along, once per process.
pub(crate) fn register_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let bytes = include_bytes!("../data/DejaVuSans.ttf");
        // The bytes are a constant; if they were no font, every text would fail and say so.
        let _ = plotters::style::register_font(FONT, FontStyle::Normal, bytes);
    });
}

/// Where a text's given point lies relative to it.
#[derive(Clone, Copy)]
pub(crate) enum At {
    /// Left edge, middle.
    Left,
    /// Centre, top edge.
    Top,
    /// Centre, middle, turned to read upwards.
    Turned,
    /// Right edge, middle.
    Right,
    /// Right edge turned to read upwards: the text ends at the point from below.
    TurnedEnd,
}

/// Draws in logical pixels.
pub(crate) struct Pen<'a, DB: DrawingBackend> {
    area: &'a DrawingArea<DB, Shift>,
    scale: f64,
    /// By how much of its size a text must sink to stand where its anchor says: the bitmap
    /// backend sets text a little high.
    sink: f64,
}

pub(crate) type Drawn = Result<(), PlotError>;
pub(crate) type Spot = (f64, f64);

impl<'a, DB: DrawingBackend> Pen<'a, DB> {
    pub(crate) fn new(area: &'a DrawingArea<DB, Shift>, scale: f64, sink: f64) -> Self {
        Pen { area, scale, sink }
    }

    fn spot(&self, (x, y): Spot) -> (i32, i32) {
        (
            libm::round(x * self.scale) as i32,
            libm::round(y * self.scale) as i32,
        )
    }

    fn width(&self, width: f64) -> u32 {
        (libm::round(width * self.scale) as u32).max(1)
    }

    pub(crate) fn fill(&self, colour: RGBColor) -> Drawn {
        self.area.fill(&colour).map_err(PlotError::drawing)
    }

    pub(crate) fn line(&self, spots: &[Spot], colour: RGBColor, width: f64) -> Drawn {
        let spots: Vec<_> = spots.iter().map(|spot| self.spot(*spot)).collect();
        let style = colour.stroke_width(self.width(width));
        self.area
            .draw(&PathElement::new(spots, style))
            .map_err(PlotError::drawing)
    }

    /// A line of dashes that go on around corners.
    pub(crate) fn dashes(
        &self,
        spots: &[Spot],
        colour: RGBColor,
        width: f64,
        (dash, gap): (f64, f64),
    ) -> Drawn {
        let mut left = dash;
        let mut on = true;
        let mut piece: Vec<Spot> = spots.first().copied().into_iter().collect();
        for pair in spots.windows(2) {
            let [mut from, to] = [pair[0], pair[1]];
            loop {
                let (dx, dy) = (to.0 - from.0, to.1 - from.1);
                let length = (dx * dx + dy * dy).sqrt();
                if length <= left {
                    left -= length;
                    piece.push(to);
                    break;
                }
                from = (from.0 + dx * left / length, from.1 + dy * left / length);
                piece.push(from);
                if on {
                    self.line(&piece, colour, width)?;
                }
                on = !on;
                left = if on { dash } else { gap };
                piece = vec![from];
            }
        }
        if on && piece.len() > 1 {
            self.line(&piece, colour, width)
        } else {
            Ok(())
        }
    }

    /// A filled rectangle, `share` opaque.
    pub(crate) fn area(&self, from: Spot, to: Spot, colour: RGBColor, share: f64) -> Drawn {
        let corners = [self.spot(from), self.spot(to)];
        let element = Rectangle::new(corners, colour.mix(share).filled());
        self.area.draw(&element).map_err(PlotError::drawing)
    }

    /// The edge of a rectangle.
    pub(crate) fn edge(&self, from: Spot, to: Spot, colour: RGBColor, width: f64) -> Drawn {
        let ((x0, y0), (x1, y1)) = (from, to);
        self.line(
            &[(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)],
            colour,
            width,
        )
    }

    /// Diagonal hatching of a rectangle: a mark that needs no colour.
    pub(crate) fn hatch(&self, from: Spot, to: Spot, colour: RGBColor) -> Drawn {
        let (x0, x1) = (from.0.min(to.0), from.0.max(to.0));
        let (y0, y1) = (from.1.min(to.1), from.1.max(to.1));
        // Lines x + y = c, cut off at the edges. The grid is common, so that stacked parts join.
        let mut c = libm::ceil((x0 + y0) / 7.0) * 7.0;
        while c < x1 + y1 {
            let (left, right) = (x0.max(c - y1), x1.min(c - y0));
            if left < right {
                self.line(&[(left, c - left), (right, c - right)], colour, 1.0)?;
            }
            c += 7.0;
        }
        Ok(())
    }

    /// A filled polygon.
    pub(crate) fn shape(&self, spots: &[Spot], colour: RGBColor) -> Drawn {
        let spots: Vec<_> = spots.iter().map(|spot| self.spot(*spot)).collect();
        self.area
            .draw(&Polygon::new(spots, colour.filled()))
            .map_err(PlotError::drawing)
    }

    /// A filled circle.
    pub(crate) fn disc(&self, at: Spot, radius: f64, colour: RGBColor) -> Drawn {
        let radius = libm::round(radius * self.scale) as i32;
        let element = Circle::new(self.spot(at), radius, colour.filled());
        self.area.draw(&element).map_err(PlotError::drawing)
    }

    pub(crate) fn text(
        &self,
        text: &str,
        at: Spot,
        size: f64,
        colour: RGBColor,
        anchor: At,
    ) -> Drawn {
        let font = FontDesc::new(FontFamily::SansSerif, size * self.scale, FontStyle::Normal);
        let (font, pos) = match anchor {
            At::Left => (font, Pos::new(HPos::Left, VPos::Center)),
            At::Top => (font, Pos::new(HPos::Center, VPos::Top)),
            At::Right => (font, Pos::new(HPos::Right, VPos::Center)),
            At::Turned => (
                font.transform(FontTransform::Rotate270),
                Pos::new(HPos::Center, VPos::Center),
            ),
            At::TurnedEnd => (
                font.transform(FontTransform::Rotate270),
                Pos::new(HPos::Right, VPos::Center),
            ),
        };
        let style = TextStyle::from(font).color(&colour).pos(pos);
        let sunk = match anchor {
            At::Turned | At::TurnedEnd => (at.0 + self.sink * size, at.1),
            At::Left | At::Top | At::Right => (at.0, at.1 + self.sink * size),
        };
        let element = Text::new(text.to_string(), self.spot(sunk), style);
        self.area.draw(&element).map_err(PlotError::drawing)
    }

    /// `text`, or as much of its start as fits into `width`.
    pub(crate) fn clipped(&self, text: &str, size: f64, width: f64) -> String {
        if self.text_width(text, size) <= width {
            return text.to_string();
        }
        let mut kept = text.to_string();
        while kept.pop().is_some() && self.text_width(&kept, size) > width - size {}
        kept + "…"
    }

    /// How wide a text is, in logical pixels.
    pub(crate) fn text_width(&self, text: &str, size: f64) -> f64 {
        let font = FontDesc::new(FontFamily::SansSerif, size * self.scale, FontStyle::Normal);
        // A text that cannot be measured cannot be drawn either, and that is reported.
        font.box_size(text)
            .map_or(0.0, |(width, _)| f64::from(width) / self.scale)
    }
}
