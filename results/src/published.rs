//! Published reference numbers: what others measured, and what their code does per request, so that
//! our own numbers can stand beside them.
//!
//! The files under `results/published` hold facts and where they are from. A number that our
//! latencies were fitted on is marked *in-sample*: that we come near it says little. A published run
//! that did less work than ours says so in a caveat, which is shown wherever the number is.

mod figures;

pub use figures::{FigureSeries, PublishedFigure, PublishedFigures};

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::LazyLock;
use toml::Spanned;

/// The files of published latencies that ship.
const LATENCIES: [(&str, &str); 4] = [
    (
        "results/published/boki-artifact.toml",
        include_str!("../published/boki-artifact.toml"),
    ),
    (
        "results/published/boki-paper.toml",
        include_str!("../published/boki-paper.toml"),
    ),
    (
        "results/published/causalmesh-micro.toml",
        include_str!("../published/causalmesh-micro.toml"),
    ),
    (
        "results/published/causalmesh-movie.toml",
        include_str!("../published/causalmesh-movie.toml"),
    ),
];

/// The files of published work that ship.
const WORK: [(&str, &str); 1] = [(
    "results/published/boki-work.toml",
    include_str!("../published/boki-work.toml"),
)];

/// The schema of these files that this version reads.
const SCHEMA: u32 = 1;

/// Why a file of published numbers cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct PublishedError {
    /// What the file is called.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

/// Latencies from one source.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    schema: Spanned<u32>,
    /// What captions call the source.
    pub title: String,
    /// Where the figures are from, so that somebody else finds them.
    pub source: String,
    /// The latency profile that stands for the platform they were measured on: only runs on it may
    /// stand beside them.
    pub latency_profile: String,
    /// The runtime that the others are compared with.
    pub reference: String,
    /// How sure the figures are, where that needs saying.
    pub sureness: Option<String>,
    /// Whether only runs of the very workload of a series may stand beside it, and not those of other
    /// requests to the same app.
    #[serde(default)]
    pub same_requests: bool,
    /// What a reader must know of all of them, a sentence each.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// The series.
    pub series: Vec<Series>,
}

/// The latencies of one system on one app.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// What the source calls the system.
    pub system: String,
    /// Our runtimes that it may stand beside; of several in one campaign, the first of these.
    beside: Spanned<Vec<String>>,
    /// The app.
    pub app: String,
    /// The profile whose requests do the same work.
    pub workload: String,
    /// What a reader must know of this series alone.
    pub caveat: Option<String>,
    /// The points, by rising rate.
    #[serde(rename = "point")]
    points: Vec<Spanned<PublishedPoint>>,
}

/// One published point.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedPoint {
    /// The offered rate, requests per second.
    pub rate: f64,
    /// The median, milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile, milliseconds, if it was published.
    pub p99_ms: Option<f64>,
    /// Whether latencies that the simulation uses were fitted on this very point.
    #[serde(default)]
    pub in_sample: bool,
    /// Which ones.
    pub fitted: Option<String>,
}

/// What requests do in published code.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedWork {
    schema: Spanned<u32>,
    /// What captions call the source.
    pub title: String,
    /// By the name of an amount, the counters of [`crate::Summary::work_per_request`] whose sum it is.
    pub counters: BTreeMap<String, Vec<String>>,
    /// The requests.
    #[serde(rename = "request")]
    requests: Vec<Spanned<RequestWork>>,
}

/// What one request of a kind does on one system.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestWork {
    /// What the source calls the system.
    pub system: String,
    /// Our runtimes that it may stand beside, as in [`Series`].
    pub beside: Vec<String>,
    /// The profile whose requests do the same work.
    pub workload: String,
    /// The request kind.
    pub kind: String,
    /// Whether only what happens until the reply is counted.
    #[serde(default)]
    pub until_reply: bool,
    /// Amounts by name; one that is not there is not known.
    pub counts: BTreeMap<String, f64>,
}

/// Tells where in a file something is wrong.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn wrong(&self, at: Range<usize>, problem: impl Into<String>) -> PublishedError {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        PublishedError {
            file: self.file.to_string(),
            line: 1 + before.matches('\n').count(),
            problem: problem.into(),
        }
    }

    fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, PublishedError> {
        toml::from_str(self.text)
            .map_err(|e| self.wrong(e.span().unwrap_or(0..0), e.message().to_string()))
    }

    fn schema(&self, schema: &Spanned<u32>) -> Result<(), PublishedError> {
        if *schema.get_ref() == SCHEMA {
            return Ok(());
        }
        let problem = format!(
            "schema {} is not known; this version reads schema {SCHEMA}",
            schema.get_ref()
        );
        Err(self.wrong(schema.span(), problem))
    }
}

impl Published {
    /// The ones that ship.
    pub fn shipped() -> &'static [Published] {
        static SHIPPED: LazyLock<Vec<Published>> = LazyLock::new(|| {
            let read = LATENCIES.map(|(file, text)| Published::parse(file, text));
            read.into_iter()
                .collect::<Result<_, _>>()
                .expect("the files are part of the program, and a test reads them")
        });
        &SHIPPED
    }

    /// Reads a file. `file` is what messages call it.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(file: &str, text: &str) -> Result<Published, PublishedError> {
        let source = Source { file, text };
        let published: Published = source.read()?;
        source.schema(&published.schema)?;
        for series in &published.series {
            let beside = &series.beside;
            if beside.get_ref().is_empty() {
                return Err(source.wrong(beside.span(), "it stands beside no runtime"));
            }
            let mut last = 0.0;
            for spanned in &series.points {
                let point = spanned.get_ref();
                let wrong = |problem: &str| source.wrong(spanned.span(), problem);
                let positive = |value: f64| value.is_finite() && value > 0.0;
                if !positive(point.rate) || !positive(point.p50_ms) {
                    return Err(wrong("rate and p50_ms must be more than 0"));
                }
                if point.rate <= last {
                    return Err(wrong("rates must rise"));
                }
                last = point.rate;
                let tail = point.p99_ms.unwrap_or(point.p50_ms);
                if !tail.is_finite() || tail < point.p50_ms {
                    return Err(wrong("p99_ms is less than p50_ms, or no number"));
                }
                if point.in_sample != point.fitted.is_some() {
                    return Err(wrong(
                        "`in_sample` and `fitted` belong together: say what was fitted on it",
                    ));
                }
            }
        }
        Ok(published)
    }

    /// The series that may stand beside runs of a profile of an app.
    pub fn fitting<'a>(
        &'a self,
        app: &'a str,
        profile: &'a str,
    ) -> impl Iterator<Item = &'a Series> {
        let same = move |series: &&Series| !self.same_requests || series.workload == profile;
        self.of_app(app).filter(same)
    }

    /// The series of an app.
    pub fn of_app<'a>(&'a self, app: &'a str) -> impl Iterator<Item = &'a Series> {
        self.series.iter().filter(move |series| series.app == app)
    }
}

impl Series {
    /// The points, by rising rate.
    pub fn points(&self) -> impl Iterator<Item = &PublishedPoint> {
        self.points.iter().map(Spanned::get_ref)
    }

    /// The point at a rate.
    pub fn at(&self, rate: f64) -> Option<&PublishedPoint> {
        self.points().find(|point| point.rate == rate)
    }

    /// Of some runtimes, the one that it stands beside; if there is none, the one that it would.
    pub fn beside<'a>(&'a self, runtimes: &BTreeSet<&str>) -> &'a str {
        let known = self.beside.get_ref();
        let there = known.iter().find(|name| runtimes.contains(name.as_str()));
        // `parse` lets no empty list through.
        there.or(known.first()).map_or("", String::as_str)
    }

    /// Whether it may stand beside a runtime.
    pub fn belongs_to(&self, runtime: &str) -> bool {
        self.beside.get_ref().iter().any(|name| name == runtime)
    }
}

impl PublishedWork {
    /// The ones that ship.
    pub fn shipped() -> &'static [PublishedWork] {
        static SHIPPED: LazyLock<Vec<PublishedWork>> = LazyLock::new(|| {
            let read = WORK.map(|(file, text)| PublishedWork::parse(file, text));
            read.into_iter()
                .collect::<Result<_, _>>()
                .expect("the files are part of the program, and a test reads them")
        });
        &SHIPPED
    }

    /// Reads a file. `file` is what messages call it.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(file: &str, text: &str) -> Result<PublishedWork, PublishedError> {
        let source = Source { file, text };
        let work: PublishedWork = source.read()?;
        source.schema(&work.schema)?;
        for spanned in &work.requests {
            let request = spanned.get_ref();
            let wrong = |problem: String| source.wrong(spanned.span(), problem);
            if request.beside.is_empty() {
                return Err(wrong("it stands beside no runtime".into()));
            }
            for (name, amount) in &request.counts {
                if !work.counters.contains_key(name) {
                    return Err(wrong(format!("`{name}` is not one of the counters")));
                }
                if !amount.is_finite() || *amount < 0.0 {
                    return Err(wrong(format!("`{name}` is {amount}")));
                }
            }
        }
        Ok(work)
    }

    /// The requests of a workload.
    pub fn of_workload<'a>(&'a self, workload: &'a str) -> impl Iterator<Item = &'a RequestWork> {
        let all = self.requests.iter().map(Spanned::get_ref);
        all.filter(move |request| request.workload == workload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_can_be_read() {
        let artifact = &Published::shipped()[0];
        let movie: Vec<&Series> = artifact.of_app("movie").collect();
        let [beldi, boki] = movie[..] else {
            panic!("{movie:?}");
        };
        let (one, other) = (beldi.at(150.0).unwrap(), boki.at(150.0).unwrap());
        assert_eq!((one.p50_ms, one.p99_ms), (104.75, Some(1760.33)));
        assert_eq!((other.p50_ms, other.p99_ms), (25.59, Some(37.69)));
        assert!(!one.in_sample && beldi.at(100.0).unwrap().in_sample);
        assert_eq!(beldi.at(200.0), None);
        // Only the published run whose scans failed has a caveat of its own.
        let caveats = artifact.series.iter().filter(|one| one.caveat.is_some());
        let caveats: Vec<_> = caveats.map(|one| (&*one.system, &*one.app)).collect();
        assert_eq!(caveats, [("Boki", "travel")]);
        let work = &PublishedWork::shipped()[0];
        let compose: Vec<_> = work.of_workload("compat-beldi-movie").collect();
        assert_eq!(compose[0].counts["store writes"], 97.0);
        assert_eq!(compose[1].counts["log appends"], 85.0);
        // The parts of what is known in parts add up.
        for request in compose {
            let sum: f64 = ["store writes", "store reads", "store scans"]
                .iter()
                .map(|part| request.counts[*part])
                .sum();
            assert_eq!(sum, request.counts["store calls"], "{}", request.system);
        }
    }

    #[test]
    fn a_series_stands_beside_the_first_runtime_that_is_there() {
        let beldi = &Published::shipped()[0].series[0];
        let of = |names: &[&'static str]| beldi.beside(&names.iter().copied().collect());
        assert_eq!(of(&["baseline", "beldi", "beldi-direct"]), "beldi-direct");
        assert_eq!(of(&["beldi", "baseline"]), "beldi");
        assert_eq!(of(&["baseline"]), "beldi-direct");
        assert!(beldi.belongs_to("beldi") && !beldi.belongs_to("boki"));
    }

    #[test]
    fn mistakes_are_told_with_file_and_line() {
        let (_, good) = LATENCIES[0];
        let line = |part: &str| 1 + good[..good.find(part).unwrap()].matches('\n').count();
        let told = |from: &str, to: &str| {
            let text = good.replacen(from, to, 1);
            Published::parse("mine.toml", &text)
                .unwrap_err()
                .to_string()
        };
        let schema = told("schema = 1", "schema = 9");
        assert!(
            schema.starts_with(&format!("mine.toml:{}: schema 9", line("schema = 1"))),
            "{schema}"
        );
        let unknown = told("p50_ms = 98.62", "p50 = 98.62");
        assert!(
            unknown.contains(&format!(":{}: ", line("p50_ms = 98.62"))),
            "{unknown}"
        );
        assert!(unknown.contains("p50_ms"), "{unknown}");
        let point = 1 + line("fitted = ");
        for (from, to, problem) in [
            ("rate = 100", "rate = 50", "rates must rise"),
            ("p99_ms = 198.95", "p99_ms = 1.0", "p99_ms is less"),
            ("p99_ms = 198.95", "p99_ms = nan", "p99_ms is less"),
            ("p50_ms = 98.62", "p50_ms = 0", "more than 0"),
        ] {
            let told = told(from, to);
            assert!(told.contains(problem), "{told}");
            assert!(told.starts_with(&format!("mine.toml:{point}: ")), "{told}");
        }
        assert!(told("in_sample = true\n", "").contains("belong together"));
        let nobody = told("beside = [\"beldi-direct\", \"beldi\"]", "beside = []");
        assert!(nobody.contains("no runtime"), "{nobody}");

        let (_, good) = WORK[0];
        let told = |from: &str, to: &str| {
            let text = good.replacen(from, to, 1);
            PublishedWork::parse("mine.toml", &text)
                .unwrap_err()
                .to_string()
        };
        assert!(
            told("{ \"store calls\" = 124", "{ \"calls\" = 124").contains("`calls` is not one")
        );
        assert!(told("= 124", "= -1").contains("is -1"));
        assert!(told("schema = 1", "schema = 2").starts_with("mine.toml:4: schema 2"));
    }
}
