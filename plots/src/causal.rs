//! Figures for runtimes that keep causal order with caches beside the functions: how long a function
//! of a chain takes, what more servers bring, what travels with a call and how often a workflow
//! starts again, and how long a write takes until others see it.
//!
//! Each is there where runs have what it shows: several lengths or numbers of servers, counters by
//! the names below, or requests that publish and look.

use crate::PlotError;
use crate::axis::Axis;
use crate::frame::{Dash, Mark, Sample};
use crate::lines::{Lines, Plot, point};
use crate::palette::{INK, colours};
use crate::pen::Pen;
use crate::throughput::{Curve, CurvePoint, repetitions, status_samples, subtitle};
use plotters::prelude::DrawingBackend;
use plotters::style::RGBColor;
use std::collections::{BTreeMap, BTreeSet};
use triptych_results::format::plain;
use triptych_results::model::Status;
use triptych_results::{
    Latencies, Loaded, LoadedRun, Point, PublishedFigure, PublishedFigures, Visibility,
};

/// Counters of a runtime: the bytes of all contexts that travelled with calls, replies and events, how
/// many did, and how often a workflow had to start again.
const CONTEXT_BYTES: &str = "context bytes";
const CONTEXTS: &str = "contexts";
const ABORTS: &str = "attempts aborted";

/// A figure of this kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Causal {
    name: String,
    caption: String,
    lines: Lines,
}

impl Causal {
    /// Every figure that compares several profiles: by the length of chains, and by servers.
    pub fn across(loaded: &Loaded, points: &[Point]) -> Vec<Causal> {
        let lengths = families(points, |point| setting(loaded, point, "profile.length"));
        let servers = families(points, |point| setting(loaded, point, "platform.servers"));
        let lengths = lengths.into_iter().filter_map(|family| length(&family));
        let servers = servers.into_iter();
        let servers = servers.filter_map(|family| scaling(loaded, &family));
        lengths.chain(servers).collect()
    }

    /// Every figure of some points of one profile.
    pub fn within(loaded: &Loaded, group: &[Point]) -> Vec<Causal> {
        let figures = [context(loaded, group), visibility(loaded, group)];
        figures.into_iter().flatten().collect()
    }

    /// What its file is called, without an ending.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What a reader who cannot see the figure is told.
    pub(crate) fn caption(&self) -> &str {
        &self.caption
    }

    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<(), PlotError> {
        self.lines.draw(pen)
    }
}

/// Points of profiles whose names differ in a number at their end, each with what that number sets.
struct Family<'a> {
    name: String,
    points: Vec<(f64, &'a Point)>,
}

impl Family<'_> {
    fn runtimes(&self) -> BTreeSet<&str> {
        self.points
            .iter()
            .map(|(_, point)| &*point.runtime)
            .collect()
    }

    fn colours(&self) -> BTreeMap<String, RGBColor> {
        colours(self.points.iter().map(|(_, point)| &*point.runtime))
    }

    /// The points of each runtime, in the campaign's order of runtimes.
    fn by_runtime(&self) -> Vec<(&str, Vec<(f64, &Point)>)> {
        let mut all: Vec<(&str, Vec<(f64, &Point)>)> = Vec::new();
        for (x, point) in &self.points {
            match all.iter_mut().find(|(name, _)| *name == point.runtime) {
                Some((_, points)) => points.push((*x, point)),
                None => all.push((&point.runtime, vec![(*x, point)])),
            }
        }
        for (_, points) in &mut all {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        all
    }

    fn shown(&self) -> Vec<Point> {
        self.points
            .iter()
            .map(|(_, point)| (*point).clone())
            .collect()
    }
}

fn families(points: &[Point], of: impl Fn(&Point) -> Option<f64>) -> Vec<Family<'_>> {
    let mut families: BTreeMap<(&str, &str), Vec<(f64, &Point)>> = BTreeMap::new();
    for point in points {
        let Some((name, level)) = point.profile.rsplit_once('-') else {
            continue;
        };
        // The number at the end is the one that is set, and not another one.
        let level = level.parse::<f64>().ok();
        if let Some(x) = of(point).filter(|x| Some(*x) == level) {
            let family = families.entry((name, &point.latency_profile));
            family.or_default().push((x, point));
        }
    }
    let mut found = Vec::new();
    for ((name, _), points) in families {
        // One number alone is nothing to compare.
        if points.windows(2).any(|pair| pair[0].0 != pair[1].0) {
            let name = name.to_owned();
            found.push(Family { name, points });
        }
    }
    found
}

/// A number among the settings of a point's runs.
fn setting(loaded: &Loaded, point: &Point, key: &str) -> Option<f64> {
    let run = runs(loaded, point).next()?;
    let value = run.manifest.settings.get(key)?;
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn runs<'a>(loaded: &'a Loaded, point: &'a Point) -> impl Iterator<Item = &'a LoadedRun> {
    let all = loaded.runs.iter();
    all.filter(|run| point.runs.contains(&run.manifest.run_id))
}

fn lines_of(names: &[&str], palette: &BTreeMap<String, RGBColor>) -> Vec<(Sample, String)> {
    let line = |name: &&str| {
        (
            Sample::Line(palette[*name], Dash::Solid),
            (*name).to_owned(),
        )
    };
    names.iter().map(line).collect()
}

/// Which mark is the median and which the tail.
fn quantile_samples() -> [(Sample, String); 2] {
    let (disc, triangle) = (Mark::Disc(Status::Valid), Mark::Triangle(Status::Valid));
    [
        (Sample::Curve(INK, Dash::Solid, disc), "median".to_owned()),
        (
            Sample::Curve(INK, Dash::Dashed, triangle),
            "99th percentile".to_owned(),
        ),
    ]
}

fn published_samples(
    published: Option<(&PublishedFigures, &PublishedFigure)>,
    palette: &BTreeMap<String, RGBColor>,
) -> Vec<(Sample, String)> {
    let Some((_, figure)) = published else {
        return Vec::new();
    };
    let mut samples = vec![(Sample::Head, "published".to_owned())];
    let mut seen = BTreeSet::new();
    for series in &figure.series {
        let colour = series.beside.iter().find_map(|name| palette.get(name));
        if let Some(colour) = colour.filter(|_| seen.insert(&series.system)) {
            let mark = Mark::Published { in_sample: false };
            samples.push((Sample::Point(mark, *colour), series.system.clone()));
        }
    }
    samples
}

/// The published points of a statistic, in the colours of the runtimes that they stand beside.
fn published_points(
    published: Option<(&PublishedFigures, &PublishedFigure)>,
    palette: &BTreeMap<String, RGBColor>,
    statistic: &str,
) -> Vec<(RGBColor, [f64; 2])> {
    let series = published.iter().flat_map(|(_, figure)| &figure.series);
    let series = series.filter(|series| series.statistic == statistic);
    let points = series.flat_map(|series| {
        let colour = series.beside.iter().find_map(|name| palette.get(name));
        let points = series.points.iter().copied();
        colour
            .into_iter()
            .flat_map(move |colour| points.clone().map(move |point| (*colour, point)))
    });
    points.collect()
}

fn published_notes(published: Option<(&PublishedFigures, &PublishedFigure)>) -> Vec<String> {
    let Some((source, figure)) = published else {
        return Vec::new();
    };
    let mut notes = vec![format!("{}: {}.", source.title, figure.sureness)];
    notes.extend(figure.caveats.iter().cloned());
    notes.extend(source.caveats.iter().cloned());
    notes
}

/// The title of the published points, as subtitles have it.
fn beside(first: &Point, published: Option<(&PublishedFigures, &PublishedFigure)>) -> String {
    let own = subtitle(first);
    match published {
        Some((source, _)) => format!("{own} · published points: {}", source.title),
        None => own,
    }
}

/// The highest rate that every level of a family has.
fn common_rate(family: &Family<'_>) -> Option<f64> {
    let everywhere = |rate: &f64| {
        family.points.iter().all(|(x, _)| {
            let mut here = family.points.iter().filter(|(other, _)| other == x);
            here.any(|(_, point)| point.rate == *rate)
        })
    };
    let rates = family.points.iter().map(|(_, point)| point.rate);
    rates.filter(everywhere).max_by(f64::total_cmp)
}

/// Response time per function against the length of a chain.
fn length(family: &Family<'_>) -> Option<Causal> {
    let rate = common_rate(family)?;
    let family = Family {
        name: family.name.clone(),
        points: family
            .points
            .iter()
            .filter(|(_, point)| point.rate == rate)
            .copied()
            .collect(),
    };
    let (_, first) = *family.points.first()?;
    let palette = family.colours();
    let names: Vec<&str> = family.runtimes().into_iter().collect();
    let published = PublishedFigures::beside("length", &first.latency_profile, &names)
        .filter(|_| first.simulated);
    let by_runtime = family.by_runtime();
    let panel = |tail: bool| {
        let (head, statistic) = match tail {
            false => ("median", "median"),
            true => ("99th percentile", "99th percentile"),
        };
        let curve = |(runtime, points): &(&str, Vec<(f64, &Point)>)| Curve {
            colour: palette[*runtime],
            tail,
            points: points
                .iter()
                .filter_map(|(length, one)| {
                    let of = if tail { one.p99? } else { one.p50? };
                    let values = [of.ms.min, of.ms.median, of.ms.max].map(|ms| ms / length);
                    let values = values.into_iter().take(if of.ms.n > 1 { 3 } else { 1 });
                    point(*length, values, one.standing)
                })
                .collect(),
        };
        let curves: Vec<Curve> = by_runtime.iter().map(curve).collect();
        let published = published_points(published, &palette, statistic);
        let places = || Plot::places(&curves, &published);
        let (from, to) = places().fold((f64::MAX, 0.0), |(a, b), x| (x.min(a), x.max(b)));
        Plot {
            head: head.to_owned(),
            x: Axis::linear("functions of a chain", from - 0.5, to + 0.5),
            y: Axis::from_zero(
                "response time per function, ms",
                Plot::values(&curves, &published).fold(0.0, f64::max),
            ),
            curves,
            published,
        }
    };
    let panels = same_height([panel(false), panel(true)]);
    let mut legend = lines_of(&ordered(&by_runtime), &palette);
    legend.extend(status_samples(&family.shown()));
    legend.extend(published_samples(published, &palette));
    let mut notes = vec![
        format!(
            "Response time of whole chains by the number of their functions, at {} requests/s.",
            plain(rate)
        ),
        repetitions(&family.shown()),
    ];
    notes.extend(published_notes(published));
    Some(Causal {
        name: format!("length-{}", family.name),
        caption: "Median and 99th percentile of the response time per function against the length \
                  of a chain."
            .to_owned(),
        lines: Lines {
            frame: crate::frame::Frame {
                title: format!("Longer chains of functions: {}", family.name),
                subtitle: beside(first, published),
                legend,
                notes,
            },
            panels,
        },
    })
}

fn ordered<'a>(by_runtime: &[(&'a str, Vec<(f64, &Point)>)]) -> Vec<&'a str> {
    by_runtime.iter().map(|(name, _)| *name).collect()
}

/// Two panels with one scale, so that they can be compared.
fn same_height([mut a, mut b]: [Plot; 2]) -> Vec<Plot> {
    let to = a.y.to.max(b.y.to);
    (a.y.to, b.y.to) = (to, to);
    b.y = b.y.unnamed();
    vec![a, b]
}

/// The highest throughput against the number of servers: what was searched for, or the most that a run
/// has answered.
fn scaling(loaded: &Loaded, family: &Family<'_>) -> Option<Causal> {
    let (_, first) = *family.points.first()?;
    let palette = family.colours();
    let names: Vec<&str> = family.runtimes().into_iter().collect();
    let published = PublishedFigures::beside("servers", &first.latency_profile, &names)
        .filter(|_| first.simulated);
    let found = |point: &Point| {
        let mut all = loaded.saturation.iter();
        let found = all.find(|one| one.runtime == point.runtime && one.profile == point.profile)?;
        Some((found.highest_rate?, found.bound_ms))
    };
    let bound = family.points.iter().find_map(|(_, point)| found(point));
    let by_runtime = family.by_runtime();
    let most = |points: &[(f64, &Point)], servers: f64| -> Option<(f64, Status)> {
        let here = || {
            points
                .iter()
                .filter(|(x, _)| *x == servers)
                .map(|(_, one)| *one)
        };
        let standing = here().map(|one| one.standing).max()?;
        let searched = here().find_map(&found).map(|(rate, _)| rate);
        let answered = here().filter_map(|one| one.achieved);
        let answered = answered.map(|one| one.median).max_by(f64::total_cmp);
        Some((searched.or(answered)?, standing))
    };
    let curves = |each: bool| -> Vec<Curve> {
        let curve = |(runtime, points): &(&str, Vec<(f64, &Point)>)| {
            let mut places: Vec<f64> = points.iter().map(|(x, _)| *x).collect();
            places.dedup();
            let points = places.into_iter().filter_map(|servers| {
                let (rate, standing) = most(points, servers)?;
                let rate = if each { rate / servers } else { rate };
                point(servers, [rate], standing)
            });
            Curve {
                colour: palette[*runtime],
                tail: false,
                points: points.collect(),
            }
        };
        by_runtime.iter().map(curve).collect()
    };
    let panel = |each: bool| {
        let curves = curves(each);
        let mut published = published_points(published, &palette, "highest");
        if each {
            let per_server = published.iter_mut();
            per_server.for_each(|(_, [servers, rate])| *rate /= servers.max(1.0));
        }
        let label = match each {
            false => "highest throughput, requests/s",
            true => "requests/s per server",
        };
        Plot {
            head: if each { "per server" } else { "in all" }.to_owned(),
            x: Axis::logarithmic("servers", Plot::places(&curves, &published)),
            y: Axis::from_zero(label, Plot::values(&curves, &published).fold(0.0, f64::max)),
            curves,
            published,
        }
    };
    let panels = vec![panel(false), panel(true)];
    let mut legend = lines_of(&ordered(&by_runtime), &palette);
    legend.extend(status_samples(&family.shown()));
    legend.extend(published_samples(published, &palette));
    let mut notes = vec![match bound {
        Some((_, bound)) => format!(
            "Ours: the highest rate whose 99th percentile stays within {} ms.",
            plain(bound)
        ),
        None => "Ours: the most requests/s that any run answered; nothing was searched for.".into(),
    }];
    notes.extend(published_notes(published));
    Some(Causal {
        name: format!("scaling-{}", family.name),
        caption: "Highest throughput against the number of servers, in all and per server.".into(),
        lines: Lines {
            frame: crate::frame::Frame {
                title: format!("More servers: {}", family.name),
                subtitle: beside(first, published),
                legend,
                notes,
            },
            panels,
        },
    })
}

/// A curve per runtime of a profile, against the offered rate.
fn by_rate(
    group: &[Point],
    palette: &BTreeMap<String, RGBColor>,
    tail: bool,
    of: impl Fn(&Point) -> Option<CurvePoint>,
) -> Vec<Curve> {
    let runtimes = group.chunk_by(|a, b| a.runtime == b.runtime);
    let curves = runtimes.map(|points| Curve {
        colour: palette[&points[0].runtime],
        tail,
        points: points.iter().filter_map(&of).collect(),
    });
    curves.collect()
}

fn rates(group: &[Point]) -> Axis {
    let rates = group.iter().map(|point| point.rate);
    Axis::logarithmic("offered rate, requests/s", rates)
}

fn names(group: &[Point]) -> Vec<&str> {
    let runtimes = group.chunk_by(|a, b| a.runtime == b.runtime);
    runtimes.map(|points| &*points[0].runtime).collect()
}

/// What travels with a call, and how often a workflow starts again.
fn context(loaded: &Loaded, group: &[Point]) -> Option<Causal> {
    let first = group.first()?;
    let palette = colours(group.iter().map(|point| &*point.runtime));
    let counted = |point: &Point, of: &dyn Fn(&BTreeMap<String, f64>) -> Option<f64>| {
        let values = runs(loaded, point).filter_map(|run| of(&run.summary.work_per_request));
        crate::lines::point(point.rate, values, point.standing)
    };
    let bytes = by_rate(group, &palette, false, |point| {
        counted(point, &|work| {
            let contexts = work.get(CONTEXTS).filter(|contexts| **contexts > 0.0)?;
            Some(work.get(CONTEXT_BYTES)? / contexts)
        })
    });
    let aborts = by_rate(group, &palette, false, |point| {
        counted(point, &|work| Some(100.0 * work.get(ABORTS)?))
    });
    let panel = |head: &str, y: Axis, curves: Vec<Curve>| {
        let there = curves.iter().any(|curve| !curve.points.is_empty());
        there.then(|| Plot {
            head: head.to_owned(),
            x: rates(group),
            y,
            curves,
            published: Vec::new(),
        })
    };
    // Bytes differ by orders of magnitude, and who counts them carries some.
    let size = Axis::logarithmic("bytes per message", Plot::values(&bytes, &[]));
    let most = Plot::values(&aborts, &[]).fold(0.0, f64::max);
    let share = Axis::from_zero("per 100 answered requests", most);
    let panels = [
        panel("context of calls, replies, events", size, bytes),
        panel("workflows started again", share, aborts),
    ];
    let panels: Vec<Plot> = panels.into_iter().flatten().collect();
    if panels.is_empty() {
        return None;
    }
    let mut legend = lines_of(&names(group), &palette);
    legend.extend(status_samples(group));
    Some(Causal {
        name: format!("context-{}", first.profile),
        caption:
            "Bytes of causal context per call, reply or event, and workflows that had to start again, against \
                  the offered rate."
                .to_owned(),
        lines: Lines {
            frame: crate::frame::Frame {
                title: format!("What causal order costs on the way: {}", first.profile),
                subtitle: subtitle(first),
                legend,
                notes: vec![
                    "Context: what travels with a call, a reply or an event to say what was seen and \
                     written, without their own input and answer. Runtimes that count none \
                     are not shown."
                        .to_owned(),
                    repetitions(group),
                ],
            },
            panels,
        },
    })
}

/// How long a write takes until others see it.
fn visibility(loaded: &Loaded, group: &[Point]) -> Option<Causal> {
    let first = group.first()?;
    let palette = colours(group.iter().map(|point| &*point.runtime));
    let lag = |of: fn(&Visibility) -> &Latencies| -> Vec<Curve> {
        let at = |tail: bool| {
            by_rate(group, &palette, tail, move |point| {
                let values = runs(loaded, point).filter_map(|run| {
                    let latencies = of(run.summary.visibility.as_ref()?);
                    let quantile = if tail { latencies.p99? } else { latencies.p50? };
                    Some(quantile.value_ns as f64 / 1e6)
                });
                crate::lines::point(point.rate, values, point.standing)
            })
        };
        let mut curves = at(false);
        curves.extend(at(true));
        curves
    };
    let kinds: [(&str, Vec<Curve>); 2] = [
        ("until somebody sees it", lag(|seen| &seen.first)),
        ("until nobody misses it", lag(|seen| &seen.everywhere)),
    ];
    let all = kinds.iter().flat_map(|(_, curves)| curves);
    if all.clone().all(|curve| curve.points.is_empty()) {
        return None;
    }
    let values = all.flat_map(|curve| &curve.points);
    let values = values.flat_map(|point| [point.latency.ms.min, point.latency.ms.max]);
    let y = Axis::logarithmic("time since the acknowledgement, ms", values);
    let panels = kinds
        .into_iter()
        .enumerate()
        .map(|(at, (head, curves))| Plot {
            head: head.to_owned(),
            x: rates(group),
            y: if at == 0 {
                y.clone()
            } else {
                y.clone().unnamed()
            },
            curves,
            published: Vec::new(),
        });
    let panels = panels.collect();
    let mut legend = lines_of(&names(group), &palette);
    legend.push((Sample::Head, "of all writes".to_owned()));
    legend.extend(quantile_samples());
    legend.extend(status_samples(group));
    Some(Causal {
        name: format!("visibility-{}", first.profile),
        caption: "How long an acknowledged write takes until somebody sees it, and until nobody \
                  misses it any more."
            .to_owned(),
        lines: Lines {
            frame: crate::frame::Frame {
                title: format!("When a write is seen: {}", first.profile),
                subtitle: subtitle(first),
                legend,
                notes: vec![
                    "Seen by requests of clients that depend on nothing, on whichever host they run. \
                     Measured at the clients: the way of an answer is in it, and looks follow each \
                     other at the offered rate. What was seen before it was acknowledged counts as 0 \
                     and stands at the bottom."
                        .to_owned(),
                    repetitions(group),
                ],
            },
            panels,
        },
    })
}
