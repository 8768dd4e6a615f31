//! Published figures that are not latency against the rate: series of points with axes of their own.

use super::{PublishedError, Source};
use serde::Deserialize;
use std::sync::LazyLock;
use toml::Spanned;

/// The files that ship.
const FIGURES: [(&str, &str); 1] = [(
    "results/published/causalmesh-figures.toml",
    include_str!("../../published/causalmesh-figures.toml"),
)];

/// Figures from one source.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedFigures {
    schema: Spanned<u32>,
    /// What captions call the source.
    pub title: String,
    /// Where the figures are from, so that somebody else finds them.
    pub source: String,
    /// The latency profile that stands for the platform they were measured on: only runs on it may
    /// stand beside them.
    pub latency_profile: String,
    /// What a reader must know of all of them, a sentence each.
    #[serde(default)]
    pub caveats: Vec<String>,
    #[serde(rename = "figure")]
    figures: Vec<Spanned<PublishedFigure>>,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedFigure {
    /// What our figures ask for it by.
    pub id: String,
    /// What it shows.
    pub about: String,
    /// What stands on the horizontal axis, with its unit.
    pub x: String,
    /// What stands on the vertical axis, with its unit.
    pub y: String,
    /// How sure the values are.
    pub sureness: String,
    /// What a reader must know of this figure alone, a sentence each.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// The series.
    pub series: Vec<FigureSeries>,
}

/// One series of a figure.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureSeries {
    /// What the source calls the system.
    pub system: String,
    /// Our runtimes that it may stand beside; none for a system that we have not.
    pub beside: Vec<String>,
    /// What was taken of the samples, such as `median`.
    pub statistic: String,
    /// The points, from left to right.
    pub points: Vec<[f64; 2]>,
}

impl PublishedFigures {
    /// The ones that ship.
    pub fn shipped() -> &'static [PublishedFigures] {
        static SHIPPED: LazyLock<Vec<PublishedFigures>> = LazyLock::new(|| {
            let read = FIGURES.map(|(file, text)| PublishedFigures::parse(file, text));
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
    pub fn parse(file: &str, text: &str) -> Result<PublishedFigures, PublishedError> {
        let source = Source { file, text };
        let read: PublishedFigures = source.read()?;
        source.schema(&read.schema)?;
        for (at, spanned) in read.figures.iter().enumerate() {
            let figure = spanned.get_ref();
            let wrong = |problem: String| Err(source.wrong(spanned.span(), problem));
            let earlier = read.figures[..at].iter();
            if earlier
                .map(Spanned::get_ref)
                .any(|other| other.id == figure.id)
            {
                return wrong(format!("there is a figure `{}` already", figure.id));
            }
            for series in &figure.series {
                let numbers = series.points.iter().flatten();
                if !numbers
                    .clone()
                    .all(|number| number.is_finite() && *number >= 0.0)
                {
                    return wrong(format!("a point of {} is no number from 0", series.system));
                }
                if series
                    .points
                    .windows(2)
                    .any(|pair| pair[0][0] >= pair[1][0])
                {
                    let system = &series.system;
                    return wrong(format!(
                        "the points of {system} do not go from left to right"
                    ));
                }
            }
        }
        Ok(read)
    }

    /// The figure of this id.
    pub fn figure(&self, id: &str) -> Option<&PublishedFigure> {
        let mut figures = self.figures.iter().map(Spanned::get_ref);
        figures.find(|figure| figure.id == id)
    }

    /// Every figure.
    pub fn figures(&self) -> impl Iterator<Item = &PublishedFigure> {
        self.figures.iter().map(Spanned::get_ref)
    }

    /// The published figure that may stand beside simulated runs on a latency profile, with its
    /// source; only one of which some series is of one of these runtimes.
    pub fn beside(
        id: &str,
        latency_profile: &str,
        runtimes: &[&str],
    ) -> Option<(&'static PublishedFigures, &'static PublishedFigure)> {
        let sources = PublishedFigures::shipped().iter();
        let mut sources = sources.filter(|source| source.latency_profile == latency_profile);
        sources.find_map(|source| {
            let figure = source.figure(id)?;
            let mut names = figure.series.iter().flat_map(|series| &series.beside);
            names
                .any(|name| runtimes.contains(&&**name))
                .then_some((source, figure))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_can_be_read() {
        let mesh = &PublishedFigures::shipped()[0];
        let ids: Vec<&str> = mesh.figures().map(|figure| &*figure.id).collect();
        for id in ["length", "servers", "cpu", "memory", "dax-anomalies"] {
            assert!(ids.contains(&id), "{ids:?}");
        }
        let last = |id: &str, at: usize| {
            let series = &mesh.figure(id).expect("is there").series[at];
            (&*series.system, series.points[series.points.len() - 1])
        };
        assert_eq!(last("servers", 0), ("CausalMesh", [16.0, 14_950.0]));
        assert_eq!(last("length", 3), ("CausalMesh-TCC", [10.0, 6.41]));
        assert_eq!(last("cpu", 2), ("HydroCache-Con", [3_500.0, 153.1]));
        assert_eq!(last("dax-anomalies", 0), ("DAX", [8.0, 14.2]));
        let beside = |runtime| PublishedFigures::beside("length", "ec2-2021", &[runtime]);
        assert!(beside("causalmesh-tcc").is_some());
        assert!(beside("boki").is_none());
        assert!(PublishedFigures::beside("length", "aws-2020", &["causalmesh"]).is_none());
    }

    #[test]
    fn mistakes_are_told_with_file_and_line() {
        let (_, good) = FIGURES[0];
        let told = |from: &str, to: &str| {
            assert!(good.contains(from), "{from}");
            let text = good.replacen(from, to, 1);
            let error = PublishedFigures::parse("mine.toml", &text);
            error.expect_err("is wrong").to_string()
        };
        let line = |part: &str| 1 + good[..good.find(part).unwrap()].matches('\n').count();
        let schema = told("schema = 1", "schema = 9");
        let at = line("schema = 1");
        assert!(schema.starts_with(&format!("mine.toml:{at}: ")), "{schema}");
        assert!(told("id = \"servers\"", "id = \"length\"").contains("already"));
        assert!(told("[3, 2.85]", "[5, 2.85]").contains("left to right"));
        assert!(told("[3, 2.85]", "[3, nan]").contains("no number"));
        assert!(told("sureness", "surely").contains("surely"));
    }
}
