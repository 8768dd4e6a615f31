//! The figures of a campaign: which there are, and how a description becomes SVG or PNG.

use crate::anomalies::Anomalies;
use crate::causal::Causal;
use crate::cdf::Distribution;
use crate::contention::Contention;
use crate::cost::CostBars;
use crate::frame::{HEIGHT, WIDTH};
use crate::growth::Growth;
use crate::pen::{Pen, register_font};
use crate::primitives::Primitives;
use crate::published::Beside;
use crate::report::report;
use crate::throughput::Throughput;
use crate::timeline::Timeline;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use triptych_results::{Grid, Loaded, Point, beside};

/// Why a figure cannot be drawn or stored.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The drawing library refused.
    #[error("a figure cannot be drawn: {0}")]
    Draw(String),
    /// The disk refused.
    #[error("{}: cannot be written: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The refusal.
        source: io::Error,
    },
}

impl PlotError {
    pub(crate) fn drawing(why: impl ToString) -> Self {
        PlotError::Draw(why.to_string())
    }

    fn io(file: &Path, source: io::Error) -> Self {
        PlotError::Io {
            file: file.to_path_buf(),
            source,
        }
    }
}

/// Physical pixels per logical one: sharp text in PNG, and half-pixel steps in SVG.
const SCALE: f64 = 2.0;

/// A figure, ready to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its file's name without an ending.
    pub name: String,
    /// What a reader who cannot see it is told.
    pub caption: String,
    content: Content,
}

#[derive(Clone, Debug, PartialEq)]
enum Content {
    Throughput(Throughput),
    Distribution(Distribution),
    Timeline(Timeline),
    Cost(CostBars),
    Growth(Growth),
    Primitives(Primitives),
    Contention(Contention),
    Beside(Beside),
    Causal(Causal),
    Anomalies(Anomalies),
}

impl Figure {
    fn new(name: String, caption: &str, content: Content) -> Self {
        Figure {
            name: file_name(&name),
            caption: caption.to_string(),
            content,
        }
    }

    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        sink: f64,
    ) -> Result<(), PlotError> {
        let pen = Pen::new(area, SCALE, sink);
        match &self.content {
            Content::Throughput(figure) => figure.draw(&pen)?,
            Content::Distribution(figure) => figure.draw(&pen)?,
            Content::Timeline(figure) => figure.draw(&pen)?,
            Content::Cost(figure) => figure.draw(&pen)?,
            Content::Growth(figure) => figure.draw(&pen)?,
            Content::Primitives(figure) => figure.draw(&pen)?,
            Content::Contention(figure) => figure.draw(&pen)?,
            Content::Beside(figure) => figure.draw(&pen)?,
            Content::Causal(figure) => figure.draw(&pen)?,
            Content::Anomalies(figure) => figure.draw(&pen)?,
        }
        area.present().map_err(PlotError::drawing)
    }

    /// The figure as SVG.
    ///
    /// # Errors
    /// If the drawing library refuses.
    pub fn svg(&self) -> Result<String, PlotError> {
        register_font();
        let (width, height) = (physical(WIDTH), physical(HEIGHT));
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        self.draw(&area, 0.0)?;
        drop(area);
        // The drawing has twice the resolution; shown at its logical size it is as sharp as that.
        let drawn = format!("width=\"{width}\" height=\"{height}\" viewBox");
        let shown = format!("width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox");
        Ok(text.replacen(&drawn, &shown, 1))
    }

    /// Writes the figure as PNG.
    ///
    /// # Errors
    /// If the drawing library or the disk refuses.
    pub fn write_png(&self, file: &Path) -> Result<(), PlotError> {
        register_font();
        let size = (physical(WIDTH), physical(HEIGHT));
        let area = BitMapBackend::new(file, size).into_drawing_area();
        self.draw(&area, 0.16)
    }
}

fn physical(logical: f64) -> u32 {
    (logical * SCALE) as u32
}

/// A name that is safe in a path and in a link.
fn file_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        }
    };
    name.chars().map(plain).collect()
}

/// Points of one profile, latency profile and price sheet: what may stand in one figure.
pub(crate) fn groups(points: &[Point]) -> impl Iterator<Item = &[Point]> {
    points.chunk_by(|a, b| {
        (&a.profile, &a.latency_profile, &a.price_sheet, a.simulated)
            == (&b.profile, &b.latency_profile, &b.price_sheet, b.simulated)
    })
}

/// Every figure of a campaign: per profile, latency against throughput, cost, and the distribution
/// at a rate that all runtimes have; and the course of one run per runtime. Where the runs have
/// noted what the runtimes keep, or measured single primitives, figures of that too; one of several
/// levels of contention; where causal order was recorded, how often it was broken ([`Anomalies`]); of
/// causal caches what [`Causal`] has; and one beside published points where there are any.
pub fn figures(loaded: &Loaded) -> Vec<Figure> {
    let points = loaded.points();
    let mut figures = Vec::new();
    for (number, group) in groups(&points).enumerate() {
        // Profiles that differ in nothing but prices or latencies need names that differ too.
        let suffix = if number == 0 {
            String::new()
        } else {
            format!("-{}", number + 1)
        };
        let name = |kind: &str| format!("{kind}-{}{suffix}", group[0].profile);
        figures.push(Figure::new(
            name("latency-throughput"),
            "Median and 99th percentile of the response time against achieved throughput.",
            Content::Throughput(Throughput::new(group)),
        ));
        if let Some(figure) = Beside::new(group) {
            figures.push(Figure::new(
                name("published"),
                &figure.caption(),
                Content::Beside(figure),
            ));
        }
        if let Some(distribution) = Distribution::new(loaded, group) {
            figures.push(Figure::new(
                name("distribution"),
                "Share of requests answered within a time, and the tail on logarithmic axes.",
                Content::Distribution(distribution),
            ));
        }
        figures.push(Figure::new(
            name("cost"),
            "Cost per million answered requests by what is paid for.",
            Content::Cost(CostBars::new(group)),
        ));
        if let Some(growth) = Growth::new(loaded, group) {
            figures.push(Figure::new(
                name("growth"),
                "Rows of the longest list, and the median response time, over the course of a run.",
                Content::Growth(growth),
            ));
        }
        if let Some(primitives) = Primitives::new(loaded, group) {
            figures.push(Figure::new(
                name("primitives"),
                "Median and 99th percentile of single primitives by runtime.",
                Content::Primitives(primitives),
            ));
        }
        if let Some(anomalies) = Anomalies::new(loaded, group) {
            figures.push(Figure::new(
                name("anomalies"),
                "How many of a million reads broke causal order, by kind and runtime.",
                Content::Anomalies(anomalies),
            ));
        }
        for causal in Causal::within(loaded, group) {
            figures.push(Figure::new(
                format!("{}{suffix}", causal.name()),
                causal.caption(),
                Content::Causal(causal.clone()),
            ));
        }
        for timeline in Timeline::of_group(loaded, group) {
            figures.push(Figure::new(
                format!("timeline-{}", timeline.run()),
                "Response time, throughput and errors over the course of one run.",
                Content::Timeline(timeline),
            ));
        }
    }
    for contention in Contention::of(loaded, &points) {
        figures.push(Figure::new(
            format!("contention-{}", contention.family()),
            "Response time, conflicts and retries of transactions against contention.",
            Content::Contention(contention),
        ));
    }
    for causal in Causal::across(loaded, &points) {
        figures.push(Figure::new(
            causal.name().to_owned(),
            causal.caption(),
            Content::Causal(causal.clone()),
        ));
    }
    figures
}

/// Where published numbers stand beside those of a campaign.
pub const PUBLISHED: &str = "published.md";

/// Writes every figure as SVG and PNG, and `report.html`, into `dir`; and where there are published
/// numbers to stand beside, `published.md`. Returns the files.
///
/// # Errors
/// If the drawing library or the disk refuses.
pub fn write_all(loaded: &Loaded, dir: &Path) -> Result<Vec<PathBuf>, PlotError> {
    let folder = dir.join("figures");
    fs::create_dir_all(&folder).map_err(|e| PlotError::io(&folder, e))?;
    let figures = figures(loaded);
    let mut files = Vec::new();
    let mut write = |file: PathBuf, text: String| {
        fs::write(&file, text).map_err(|e| PlotError::io(&file, e))?;
        files.push(file);
        Ok(())
    };
    write(dir.join("report.html"), report(loaded, &figures)?)?;
    let tables = beside::tables(loaded);
    if !tables.is_empty() {
        let tables: Vec<String> = tables.iter().map(Grid::markdown).collect();
        write(dir.join(PUBLISHED), tables.join("\n"))?;
    }
    for figure in &figures {
        write(folder.join(format!("{}.svg", figure.name)), figure.svg()?)?;
    }
    for figure in &figures {
        let file = folder.join(format!("{}.png", figure.name));
        figure.write_png(&file)?;
        files.push(file);
    }
    Ok(files)
}
