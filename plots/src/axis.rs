//! Axes: where a value lies between two edges, and which values deserve a tick.

use triptych_results::format;

/// A linear or logarithmic axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) from: f64,
    pub(crate) to: f64,
    logarithmic: bool,
    /// What it shows, with its unit.
    pub(crate) label: String,
}

impl Axis {
    /// From zero to a little above the largest value.
    pub(crate) fn from_zero(label: &str, largest: f64) -> Self {
        let largest = if largest.is_finite() && largest > 0.0 {
            largest
        } else {
            1.0
        };
        Axis {
            from: 0.0,
            to: largest * 1.06,
            logarithmic: false,
            label: label.to_string(),
        }
    }

    /// From edge to edge.
    pub(crate) fn linear(label: &str, from: f64, to: f64) -> Self {
        let to = if to > from { to } else { from + 1.0 };
        Axis {
            from,
            to,
            logarithmic: false,
            label: label.to_string(),
        }
    }

    /// Logarithmic around some values, widened to edges that can have a tick.
    pub(crate) fn logarithmic(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let positive = |value: &f64| value.is_finite() && *value > 0.0;
        let (from, to) = values
            .into_iter()
            .filter(positive)
            .fold((f64::INFINITY, 0.0f64), |(from, to), v| {
                (from.min(v), to.max(v))
            });
        let (from, to) = if from <= to { (from, to) } else { (1.0, 10.0) };
        let below = steps(from).take_while(|step| *step <= from * 0.97).last();
        let above = steps(to).find(|step| *step >= to * 1.03);
        let (from, to) = (below.unwrap_or(from / 2.0), above.unwrap_or(to * 2.0));
        Axis {
            from,
            to,
            logarithmic: true,
            label: label.to_string(),
        }
    }

    /// The same axis without a label, for a panel beside one that has it.
    pub(crate) fn unnamed(mut self) -> Self {
        self.label.clear();
        self
    }

    /// Where `value` lies, 0 at the start of the axis and 1 at its end, kept between them.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let place = if self.logarithmic {
            let log = |v: f64| libm::log10(v.max(f64::MIN_POSITIVE));
            (log(value) - log(self.from)) / (log(self.to) - log(self.from))
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }

    /// The ticks with their texts; a tick without a text is a grid line only.
    pub(crate) fn ticks(&self) -> Vec<(f64, String)> {
        if self.logarithmic {
            self.log_ticks()
        } else {
            self.linear_ticks()
        }
    }

    fn linear_ticks(&self) -> Vec<(f64, String)> {
        // The smallest of 1, 2, 5 times a power of ten that gives at most seven ticks.
        let span = self.to - self.from;
        let step = steps(span / 1e4)
            .find(|step| span / step <= 7.0)
            .unwrap_or(span);
        let first = libm::ceil(self.from / step - 1e-9);
        let count = libm::floor(self.to / step + 1e-9) - first;
        let digits = if step >= 1.0 {
            0
        } else {
            libm::ceil(-libm::log10(step) - 1e-9) as usize
        };
        (0..=count.clamp(0.0, 20.0) as u32)
            .map(|i| (first + f64::from(i)) * step)
            .map(|value| (value, decimal(value, digits)))
            .collect()
    }

    fn log_ticks(&self) -> Vec<(f64, String)> {
        let inside: Vec<f64> = steps(self.from * 0.99)
            .skip_while(|step| *step < self.from * 0.999)
            .take_while(|step| *step <= self.to * 1.001)
            .collect();
        // Beyond three decades and a half, only the powers of ten have room for a text.
        let wide = self.to / self.from > 3_200.0;
        let power = |value: f64| {
            let log = libm::log10(value);
            (log - libm::round(log)).abs() < 1e-6
        };
        inside
            .into_iter()
            .map(|value| {
                let named = !wide || power(value);
                (
                    value,
                    if named {
                        magnitude(value)
                    } else {
                        String::new()
                    },
                )
            })
            .collect()
    }
}

/// 1, 2 and 5 times every power of ten, from below `from` upwards.
fn steps(from: f64) -> impl Iterator<Item = f64> {
    let start = libm::floor(libm::log10(from.max(1e-12))) as i32 - 1;
    (start..start + 20).flat_map(|power| {
        // By parsing, which rounds correctly, so that 0.3 is never 0.30000000000000004.
        [1, 2, 5].map(|digit| format!("{digit}e{power}").parse().unwrap_or(f64::NAN))
    })
}

fn decimal(value: f64, digits: usize) -> String {
    if digits == 0 {
        format::plain(libm::round(value))
    } else {
        format!("{value:.digits$}")
    }
}

fn magnitude(value: f64) -> String {
    if value >= 1.0 {
        format::plain(libm::round(value))
    } else {
        format!("{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<String> {
        axis.ticks()
            .into_iter()
            .map(|(_, text)| text)
            .filter(|text| !text.is_empty())
            .collect()
    }

    #[test]
    fn linear_ticks_are_round() {
        assert_eq!(
            texts(&Axis::from_zero("", 800.0)),
            ["0", "200", "400", "600", "800"]
        );
        assert_eq!(
            texts(&Axis::linear("", 0.0, 1.0)),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            texts(&Axis::from_zero("", 12_000.0)).last().unwrap(),
            "12,000"
        );
    }

    #[test]
    fn logarithmic_axes_end_at_ticks() {
        let axis = Axis::logarithmic("", [38.0, 692.0]);
        assert_eq!((axis.from, axis.to), (20.0, 1_000.0));
        assert_eq!(texts(&axis), ["20", "50", "100", "200", "500", "1,000"]);
        let axis = Axis::logarithmic("", [0.0001, 1.0]);
        assert_eq!(texts(&axis), ["0.0001", "0.001", "0.01", "0.1", "1"]);
        assert!(!Axis::logarithmic("", []).ticks().is_empty());
        assert!((axis.place(axis.to) - 1.0).abs() < 1e-12 && axis.place(0.0) == 0.0);
    }
}
