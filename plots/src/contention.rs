//! What contention does to transactions: the latency of the requests that have effects, how many
//! attempts a conflict ended, and how often a transaction was tried again, level by level.
//!
//! Levels are profiles of one name that differ in a number at its end, such as `hot-travel-0.5` and
//! `hot-travel-2`; what the number means is the profiles' affair.

use crate::PlotError;
use crate::axis::Axis;
use crate::frame::{Dash, Frame, Mark, Panel, Sample, axes, stroke};
use crate::palette::{INK, colours, faded};
use crate::pen::{At, Pen};
use crate::throughput::{status_samples, subtitle};
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;
use std::collections::BTreeMap;
use triptych_results::format::plain;
use triptych_results::model::Status;
use triptych_results::{Loaded, LoadedRun, Point};

/// The figure's description.
#[derive(Clone, Debug, PartialEq)]
pub struct Contention {
    family: String,
    frame: Frame,
    levels: Vec<String>,
    /// What the levels are.
    label: String,
    latency: Axis,
    conflicts: Axis,
    retries: Axis,
    series: Vec<Series>,
}

/// One runtime, its levels in order.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    colour: RGBColor,
    spots: Vec<Level>,
}

/// What one runtime did at one level: the middle one of its repetitions, by the median latency.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Level {
    at: usize,
    standing: Status,
    p50: f64,
    p99: f64,
    /// Attempts that a conflict ended, percent.
    conflicts: f64,
    /// Attempts beyond the first, per transaction.
    retries: f64,
}

/// The name and the level of a profile that has one.
fn level(profile: &str) -> Option<(&str, f64)> {
    let (family, level) = profile.rsplit_once('-')?;
    let level = level.parse::<f64>().ok()?;
    level.is_finite().then_some((family, level))
}

/// Latency of the requests with effects, and what became of their transactions.
fn measured(run: &LoadedRun) -> Option<(f64, f64, f64, f64)> {
    let transactions = run.summary.transactions.filter(|all| all.begun > 0)?;
    let kind = run.manifest.effectful.first()?;
    let response = &run.summary.kinds.get(kind)?.response;
    let ms = |ns: u64| ns as f64 / 1e6;
    let begun = transactions.begun as f64;
    Some((
        ms(response.p50?.value_ns),
        ms(response.p99?.value_ns),
        100.0 * transactions.conflicts as f64 / transactions.attempts.max(1) as f64,
        (transactions.attempts as f64 - begun).max(0.0) / begun,
    ))
}

impl Contention {
    /// Every figure of this kind that the points allow: one per family of profiles with several
    /// levels, at the highest rate that all of them have.
    pub fn of(loaded: &Loaded, points: &[Point]) -> Vec<Contention> {
        let mut families: BTreeMap<&str, Vec<(f64, &Point)>> = BTreeMap::new();
        for point in points {
            if let Some((family, level)) = level(&point.profile) {
                families.entry(family).or_default().push((level, point));
            }
        }
        families
            .into_iter()
            .filter_map(|(family, points)| Contention::new(loaded, family, points))
            .collect()
    }

    fn new(loaded: &Loaded, family: &str, mut points: Vec<(f64, &Point)>) -> Option<Contention> {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut levels: Vec<f64> = points.iter().map(|(level, _)| *level).collect();
        levels.dedup();
        if levels.len() < 2 {
            return None;
        }
        let everywhere = |rate: f64| {
            levels.iter().all(|wanted| {
                let mut here = points.iter().filter(|(level, _)| level == wanted);
                here.any(|(_, point)| point.rate == rate)
            })
        };
        let rates = points.iter().map(|(_, point)| point.rate);
        let rate = rates
            .filter(|rate| everywhere(*rate))
            .max_by(f64::total_cmp)?;
        points.retain(|(_, point)| point.rate == rate);
        let palette = colours(points.iter().map(|(_, point)| point.runtime.as_str()));
        let mut series: Vec<(String, Series)> = Vec::new();
        let mut shown: Vec<Point> = Vec::new();
        for (level, point) in &points {
            let runs = loaded.runs.iter();
            let runs = runs.filter(|run| point.runs.contains(&run.manifest.run_id));
            let mut found: Vec<_> = runs.filter_map(measured).collect();
            found.sort_by(|a, b| a.0.total_cmp(&b.0));
            let Some((p50, p99, conflicts, retries)) = found.get(found.len() / 2).copied() else {
                continue;
            };
            let spot = Level {
                at: levels.iter().position(|other| other == level)?,
                standing: point.standing,
                p50,
                p99,
                conflicts,
                retries,
            };
            shown.push((*point).clone());
            match series.iter_mut().find(|(name, _)| *name == point.runtime) {
                Some((_, series)) => series.spots.push(spot),
                None => {
                    let colour = palette[&point.runtime];
                    let spots = vec![spot];
                    series.push((point.runtime.clone(), Series { colour, spots }));
                }
            }
        }
        let first = shown.first()?;
        let mut legend = vec![(Sample::Head, "runtime".to_string())];
        for (name, series) in &series {
            legend.push((Sample::Line(series.colour, Dash::Solid), name.clone()));
        }
        let (disc, triangle) = (Mark::Disc(Status::Valid), Mark::Triangle(Status::Valid));
        legend.extend([
            (Sample::Head, "response time".to_string()),
            (Sample::Curve(INK, Dash::Solid, disc), "median".to_string()),
            (
                Sample::Curve(INK, Dash::Dashed, triangle),
                "99th percentile".to_string(),
            ),
        ]);
        legend.extend(status_samples(&shown));
        let series: Vec<Series> = series.into_iter().map(|(_, series)| series).collect();
        let all = || series.iter().flat_map(|series| &series.spots);
        let most = |of: &dyn Fn(&Level) -> f64| all().map(of).fold(0.0, f64::max);
        let demand = loaded.runs.iter().any(|run| {
            let here = first.runs.contains(&run.manifest.run_id);
            here && run.manifest.settings.contains_key("profile.demand")
        });
        let label = match demand {
            true => "demand: reservations wanted for every place",
            false => "level",
        };
        let kind = loaded
            .runs
            .iter()
            .find(|run| first.runs.contains(&run.manifest.run_id));
        let kind = kind.and_then(|run| run.manifest.effectful.first());
        let notes = vec![
            format!(
                "Requests of kind {} at {} requests/s in all, of the run with the middle median; the \
                 counts are of the whole run. A conflict ends an attempt; the transaction is then \
                 tried again, until it gives up.",
                kind.map_or("?", String::as_str),
                plain(rate),
            ),
            "Runtimes without transactions meet no conflicts, and pay with their verdict."
                .to_string(),
        ];
        Some(Contention {
            family: family.to_string(),
            frame: Frame {
                title: format!("Transactions under contention: {family}"),
                subtitle: subtitle(first),
                legend,
                notes,
            },
            levels: levels.iter().map(|level| level.to_string()).collect(),
            label: label.to_string(),
            latency: Axis::logarithmic("response, ms", all().flat_map(|spot| [spot.p50, spot.p99])),
            conflicts: Axis::from_zero("conflicts, %", most(&|spot| spot.conflicts)),
            retries: Axis::from_zero("retries each", most(&|spot| spot.retries)),
            series,
        })
    }

    /// The profiles' common name.
    pub(crate) fn family(&self) -> &str {
        &self.family
    }

    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<(), PlotError> {
        let room = self.frame.draw(pen)?;
        let height = (room.bottom - room.top - 2.0 * GAP) / 4.0;
        let panel = |from: f64, parts: f64| {
            let top = room.top + from * height + if from > 0.0 { GAP * (from - 1.0) } else { 0.0 };
            Panel {
                top,
                bottom: top + parts * height,
                ..room
            }
        };
        let (latency, conflicts, retries) = (panel(0.0, 2.0), panel(2.0, 1.0), panel(3.0, 1.0));
        axes(pen, latency, None, &self.latency)?;
        axes(pen, conflicts, None, &self.conflicts)?;
        axes(pen, retries, None, &self.retries)?;
        for (at, level) in self.levels.iter().enumerate() {
            let x = self.x(room, at);
            pen.text(level, (x, retries.bottom + 8.0), 13.0, INK, At::Top)?;
        }
        let middle = (room.left + room.right) / 2.0;
        let below = retries.bottom + 30.0;
        pen.text(&self.label, (middle, below), 14.0, INK, At::Top)?;
        for series in &self.series {
            self.curve(pen, latency, &self.latency, series, false, &|spot| spot.p50)?;
            self.curve(pen, latency, &self.latency, series, true, &|spot| spot.p99)?;
            self.curve(pen, conflicts, &self.conflicts, series, false, &|spot| {
                spot.conflicts
            })?;
            self.curve(pen, retries, &self.retries, series, false, &|spot| {
                spot.retries
            })?;
        }
        Ok(())
    }

    /// Where a level stands: levels are names, so they are evenly apart.
    fn x(&self, room: Panel, at: usize) -> f64 {
        let count = self.levels.len() as f64;
        room.left + (at as f64 + 0.5) / count * (room.right - room.left)
    }

    fn curve<DB: DrawingBackend>(
        &self,
        pen: &Pen<'_, DB>,
        panel: Panel,
        y: &Axis,
        series: &Series,
        tail: bool,
        value: &dyn Fn(&Level) -> f64,
    ) -> Result<(), PlotError> {
        let spot = |level: &Level| {
            let height = y.place(value(level)) * (panel.bottom - panel.top);
            (self.x(panel, level.at), panel.bottom - height)
        };
        for pair in series.spots.windows(2) {
            let stands = pair.iter().all(|level| level.standing == Status::Valid);
            let (colour, dash) = match (stands, tail) {
                (false, _) => (faded(series.colour), Dash::Dotted),
                (true, true) => (series.colour, Dash::Dashed),
                (true, false) => (series.colour, Dash::Solid),
            };
            stroke(pen, &[spot(&pair[0]), spot(&pair[1])], colour, dash)?;
        }
        for level in &series.spots {
            let mark = match tail {
                true => Mark::Triangle(level.standing),
                false => Mark::Disc(level.standing),
            };
            mark.draw(pen, spot(level), series.colour)?;
        }
        Ok(())
    }
}

/// Between two panels.
const GAP: f64 = 22.0;
