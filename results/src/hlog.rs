//! `latency.hlog`: response times per interval, in the standard HdrHistogram interval log (v1.3),
//! readable by every tool for that format.
//!
//! One line per interval, request kind and outcome class, tagged `kind/class`. Values are
//! nanoseconds; the column of maxima is in milliseconds, as the format's own tools write it. Time 0
//! is the start of the load. An interval holds the requests that were *intended* in it, and one
//! begins exactly where the warm-up ends; the last may be shorter, and its line says so.

use crate::latency;
use crate::manifest::Manifest;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};
use std::collections::BTreeMap;
use std::time::Duration;
use triptych_model::OutcomeClass;

/// Why a histogram log cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HlogError(String);

/// What stands before the lines of intervals.
const HEADER: &str = "\
#[Histogram log format version 1.3]
#[Response times in nanoseconds from the intended start, by request kind and outcome class]
#[StartTime: 0.000 (seconds since the start of the load)]
#[MaxValueDivisor: 1000000.000]
\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"
";

/// How a run is cut into intervals: from the start, with a cut where the warm-up ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    warmup_ns: u64,
    duration_ns: u64,
    interval_ns: u64,
    warm: u64,
    count: u64,
}

impl Grid {
    /// The intervals of a run whose manifest passed [`Manifest::check`].
    pub fn new(manifest: &Manifest) -> Self {
        let interval_ns = manifest.interval_ns.max(1);
        let warm = manifest.warmup_ns.div_ceil(interval_ns);
        let count = warm + manifest.measured_ns().div_ceil(interval_ns);
        let Manifest {
            warmup_ns,
            duration_ns,
            ..
        } = *manifest;
        Grid {
            warmup_ns,
            duration_ns,
            interval_ns,
            warm,
            count,
        }
    }

    /// How many intervals there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The interval that holds `at_ns`; nothing after the end of the schedule.
    pub fn index(&self, at_ns: u64) -> Option<u64> {
        if at_ns >= self.duration_ns {
            None
        } else if at_ns < self.warmup_ns {
            Some(at_ns / self.interval_ns)
        } else {
            Some(self.warm + (at_ns - self.warmup_ns) / self.interval_ns)
        }
    }

    /// Where interval `index` begins and ends.
    pub fn bounds(&self, index: u64) -> (u64, u64) {
        let (from, limit) = if index < self.warm {
            (index * self.interval_ns, self.warmup_ns)
        } else {
            (
                self.warmup_ns + (index - self.warm) * self.interval_ns,
                self.duration_ns,
            )
        };
        (from, (from + self.interval_ns).min(limit))
    }

    /// Whether interval `index` belongs to the warm-up.
    pub fn is_warmup(&self, index: u64) -> bool {
        index < self.warm
    }
}

/// Writes a histogram log from requests in the order of their intended times.
pub struct HlogWriter {
    text: Vec<u8>,
    kinds: Vec<String>,
    grid: Grid,
    current: u64,
    histograms: BTreeMap<(u16, OutcomeClass), Histogram<u32>>,
    serializer: V2DeflateSerializer,
}

/// The tag of a line.
pub fn tag(kind: &str, class: OutcomeClass) -> String {
    format!("{kind}/{}", class.name().replace(' ', "-"))
}

impl HlogWriter {
    /// Begins the log of a run.
    pub fn new(manifest: &Manifest) -> Self {
        HlogWriter {
            text: HEADER.as_bytes().to_vec(),
            kinds: manifest.kinds.clone(),
            grid: Grid::new(manifest),
            current: 0,
            histograms: BTreeMap::new(),
            serializer: V2DeflateSerializer::new(),
        }
    }

    /// Adds a response time. `kind` is a position in the manifest's list.
    pub fn push(
        &mut self,
        intended_ns: u64,
        kind: u16,
        class: OutcomeClass,
        response_ns: u64,
    ) -> Result<(), HlogError> {
        let last = self.grid.count().saturating_sub(1);
        let index = self.grid.index(intended_ns).unwrap_or(last);
        if index != self.current {
            self.flush()?;
            self.current = index;
        }
        let histogram = self
            .histograms
            .entry((kind, class))
            .or_insert_with(latency::histogram);
        latency::record(histogram, response_ns);
        Ok(())
    }

    /// The bytes of the log.
    pub fn finish(mut self) -> Result<Vec<u8>, HlogError> {
        self.flush()?;
        Ok(self.text)
    }

    fn flush(&mut self) -> Result<(), HlogError> {
        let (from_ns, to_ns) = self.grid.bounds(self.current);
        for ((kind, class), histogram) in &mut self.histograms {
            if histogram.is_empty() {
                continue;
            }
            let Some(kind) = self.kinds.get(usize::from(*kind)) else {
                return Err(HlogError(format!("there is no request kind {kind}")));
            };
            let tag = tag(kind, *class);
            let tag = Tag::new(&tag).ok_or_else(|| HlogError(format!("`{tag}` is not a tag")))?;
            let mut line = Vec::new();
            IntervalLogWriterBuilder::new()
                .with_max_value_divisor(1e6)
                .begin_log_with(&mut line, &mut self.serializer)
                .map_err(|e| HlogError(e.to_string()))?
                .write_histogram(
                    histogram,
                    Duration::from_nanos(from_ns),
                    Duration::from_nanos(to_ns - from_ns),
                    Some(tag),
                )
                .map_err(|e| HlogError(e.to_string()))?;
            // The writer repeats the divisor's comment, which the header has already.
            let data = line
                .split_inclusive(|byte| *byte == b'\n')
                .filter(|l| !l.starts_with(b"#"));
            self.text.extend(data.flatten());
            histogram.reset();
        }
        Ok(())
    }
}

/// One line of a histogram log.
#[derive(Clone, Debug, PartialEq)]
pub struct HlogEntry {
    /// The request kind.
    pub kind: String,
    /// The outcome class, as in [`OutcomeClass::name`] with `-` for a space.
    pub class: String,
    /// Where the interval begins, from the start of the load.
    pub from_ns: u64,
    /// The interval's length.
    pub length_ns: u64,
    /// The response times.
    pub histogram: Histogram<u32>,
}

/// Reads a histogram log. Bytes that are none give an error.
pub fn read(bytes: &[u8]) -> Result<Vec<HlogEntry>, HlogError> {
    let mut entries = Vec::new();
    let mut deserializer = Deserializer::new();
    for line in IntervalLogIterator::new(bytes) {
        let line = line.map_err(|e| HlogError(format!("{e:?}")))?;
        let LogEntry::Interval(interval) = line else {
            continue;
        };
        let at = || format!("the interval at {:?}", interval.start_timestamp());
        let tag = interval.tag().map(|tag| tag.as_str()).unwrap_or_default();
        let (kind, class) = tag
            .split_once('/')
            .ok_or_else(|| HlogError(format!("{}: no tag", at())))?;
        let packed = from_base64(interval.encoded_histogram())
            .ok_or_else(|| HlogError(format!("{}: not base64", at())))?;
        let histogram: Histogram<u32> = deserializer
            .deserialize(&mut packed.as_slice())
            .map_err(|e| HlogError(format!("{}: {e}", at())))?;
        entries.push(HlogEntry {
            kind: kind.to_string(),
            class: class.to_string(),
            from_ns: interval.start_timestamp().as_nanos() as u64,
            length_ns: interval.duration().as_nanos() as u64,
            histogram,
        });
    }
    Ok(entries)
}

/// All answered requests (ok or rejected) that were intended at `from_ns` or later, in one
/// histogram.
pub fn answered(entries: &[HlogEntry], from_ns: u64) -> Histogram<u32> {
    let mut sum = latency::histogram();
    let answers = [OutcomeClass::Ok.name(), OutcomeClass::Rejected.name()];
    for entry in entries {
        // Timestamps of the log are milliseconds, so the boundary may be off by less than one.
        let measured = entry.from_ns + 1_000_000 > from_ns;
        if measured && answers.contains(&entry.class.as_str()) {
            // Cannot fail: every histogram of ours has the same shape; one that has not is left
            // to `verify`, which compares each with its recomputation.
            let _ = sum.add(&entry.histogram);
        }
    }
    sum
}

/// Decodes standard base64. Two dozen lines here are less than another dependency.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let mut buffer = 0u32;
    let mut bits = 0;
    for character in text.bytes() {
        let six = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = buffer << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            run_id: "r".into(),
            duration_ns: 3_700_000_000,
            warmup_ns: 1_500_000_000,
            kinds: vec!["compose".into(), "read".into()],
            ..Manifest::default()
        }
    }

    #[test]
    fn intervals_are_cut_where_the_warm_up_ends() {
        let grid = Grid::new(&manifest());
        let bounds: Vec<_> = (0..grid.count()).map(|i| grid.bounds(i)).collect();
        let ms = 1_000_000;
        let expected = [
            (0, 1_000),
            (1_000, 1_500),
            (1_500, 2_500),
            (2_500, 3_500),
            (3_500, 3_700),
        ];
        assert_eq!(bounds, expected.map(|(from, to)| (from * ms, to * ms)));
        for (index, (from, to)) in bounds.into_iter().enumerate() {
            assert_eq!(grid.index(from), Some(index as u64));
            assert_eq!(grid.index(to - 1), Some(index as u64));
        }
        assert_eq!(grid.index(3_700 * ms), None);
        assert!(grid.is_warmup(1) && !grid.is_warmup(2));
    }

    #[test]
    fn the_log_reads_back_and_merges_to_the_whole() {
        let mut writer = HlogWriter::new(&manifest());
        let mut whole = latency::histogram();
        for i in 0..370u64 {
            let (at, response) = (i * 10_000_000, 1_000_000 + i * 12_345);
            let class = if i % 10 == 0 {
                OutcomeClass::InFlight
            } else {
                OutcomeClass::Ok
            };
            writer.push(at, (i % 2) as u16, class, response).unwrap();
            if class == OutcomeClass::Ok && at >= 1_500_000_000 {
                latency::record(&mut whole, response);
            }
        }
        let bytes = writer.finish().unwrap();
        let entries = read(&bytes).unwrap();
        assert_eq!(entries.iter().map(|e| e.histogram.len()).sum::<u64>(), 370);
        assert!(
            entries
                .iter()
                .any(|e| e.kind == "compose" && e.class == "in-flight")
        );
        assert_eq!(answered(&entries, 1_500_000_000), whole);
        assert_eq!(entries.last().unwrap().length_ns, 200_000_000);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches("MaxValueDivisor").count(), 1);
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(read(b"Tag=a/ok,0.0,1.0,2.0,!!!\n").is_err());
        assert!(read(b"Tag=a/ok,0.0,1.0,2.0,AAAA\n").is_err());
        assert!(read(b"0.0,1.0,2.0,AAAA\n").is_err());
        assert_eq!(from_base64("aGVsbG8=").unwrap(), b"hello");
    }
}
