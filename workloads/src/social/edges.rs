//! Reads a graph from a file with one edge a line.

use super::graph::Graph;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The first words of a file in the Matrix Market format, in which collections offer graphs too.
const MATRIX_MARKET: &str = "%%MatrixMarket";
/// How much of what was found is shown.
const SHOWN: usize = 40;

/// What a file of edges holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeList {
    /// Its graph.
    pub graph: Graph,
    /// What the file calls each user, ascending: user 0 is the smallest id in the file.
    pub ids: Vec<u64>,
    /// How many lines named an edge again, in either direction; they are left out.
    pub repeated: usize,
    /// How many lines named an edge from a user to itself; they are left out, the user is not.
    pub loops: usize,
}

/// Why a file is no graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The file cannot be read.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// A line of the file is no edge.
    #[error("{}:{line}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What was expected there.
        expected: &'static str,
        /// What was there.
        found: String,
    },
    /// The file says how many entries it has, and has another number of them.
    #[error("{}:{line}: expected {expected} entries as this line says, found {found}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Where it says so, counted from 1.
        line: usize,
        /// How many it says.
        expected: u64,
        /// How many there are.
        found: usize,
    },
    /// No line of the file is an edge between two users.
    #[error("{}: expected at least one edge between two users, found {found}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What was there.
        found: &'static str,
    },
}

impl EdgeList {
    /// The edges of a file, one a line: two ids, which are whole numbers from 0, with blanks, tabs
    /// or a comma between them. A weight and a time may follow and are ignored. Empty lines are
    /// skipped, and so are lines that begin with `#` or `%`; a carriage return at the end of a line is
    /// ignored. A file that begins as one of the Matrix Market format has a line of sizes first, and
    /// must have as many edges as that says.
    ///
    /// Ids may begin anywhere and leave gaps: users are numbered from 0 in the order of their ids.
    /// Edges count in both directions, so one that is there again, in either direction, is left out
    /// and counted, as is one from a user to itself.
    ///
    /// # Errors
    /// Why the file cannot be used, with the place in it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, GraphError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|problem| GraphError::Unreadable {
            path: path.to_owned(),
            problem,
        })?;
        // What is not text cannot be a number, and is refused at its line.
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_start_matches('\u{feff}');
        let mut edges = Vec::new();
        let mut sizes = text.starts_with(MATRIX_MARKET);
        let mut promised = None;
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.trim();
            if content.is_empty() || content.starts_with(['#', '%']) {
                continue;
            }
            let wrong = |Wrong { expected, found }| GraphError::Malformed {
                path: path.to_owned(),
                line,
                expected,
                found,
            };
            if std::mem::take(&mut sizes) {
                promised = Some((line, matrix_entries(content).map_err(wrong)?));
            } else {
                edges.push(edge(content).map_err(wrong)?);
            }
        }
        if let Some((line, expected)) = promised
            && expected != edges.len() as u64
        {
            return Err(GraphError::Truncated {
                path: path.to_owned(),
                line,
                expected,
                found: edges.len(),
            });
        }
        let list = EdgeList::of(&edges);
        if list.graph.edges() > 0 {
            return Ok(list);
        }
        let found = match (bytes.is_empty(), list.loops) {
            (true, _) => "an empty file",
            (false, 0) => "no edge at all",
            (false, _) => "only edges from a user to itself",
        };
        let path = path.to_owned();
        Err(GraphError::Empty { path, found })
    }

    fn of(edges: &[(u64, u64)]) -> Self {
        let ids: BTreeSet<u64> = edges.iter().flat_map(|&(a, b)| [a, b]).collect();
        let users: BTreeMap<u64, u32> = ids.iter().copied().zip(0..).collect();
        let loops = edges.iter().filter(|(a, b)| a == b).count();
        let edges_of_users = edges.iter().map(|(a, b)| (users[a], users[b]));
        let graph = Graph::from_edges(ids.len(), edges_of_users);
        EdgeList {
            repeated: edges.len() - loops - graph.edges(),
            loops,
            ids: ids.into_iter().collect(),
            graph,
        }
    }
}

/// What is wrong with a line.
struct Wrong {
    expected: &'static str,
    found: String,
}

fn edge(line: &str) -> Result<(u64, u64), Wrong> {
    let columns = columns(line);
    let counted = |expected| Wrong {
        expected,
        found: format!("{} column(s): {}", columns.len(), shown(line)),
    };
    let [from, to, others @ ..] = columns.as_slice() else {
        return Err(counted("two ids"));
    };
    if others.len() > 2 {
        return Err(counted("two ids, then at most a weight and a time"));
    }
    let edge = (whole(from)?, whole(to)?);
    let number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
    match others.iter().find(|other| !number(other)) {
        None => Ok(edge),
        Some(other) => Err(Wrong {
            expected: "a number as weight or time",
            found: shown(other),
        }),
    }
}

/// How many entries a matrix has, as the line says that has its rows, columns and entries.
fn matrix_entries(line: &str) -> Result<u64, Wrong> {
    let columns = columns(line);
    let [rows, across, entries] = columns.as_slice() else {
        return Err(Wrong {
            expected: "the rows, columns and entries of the matrix",
            found: shown(line),
        });
    };
    whole(rows)?;
    whole(across)?;
    whole(entries)
}

fn columns(line: &str) -> Vec<&str> {
    if line.contains(',') {
        line.split(',').map(str::trim).collect()
    } else {
        line.split_whitespace().collect()
    }
}

fn whole(text: &str) -> Result<u64, Wrong> {
    text.parse().map_err(|_| Wrong {
        expected: "an id, which is a whole number from 0",
        found: shown(text),
    })
}

/// A text as a message shows it: in quotes, without what a terminal would act on, not too long.
fn shown(text: &str) -> String {
    let mut start: String = text.chars().take(SHOWN).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("{start:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn load(content: &[u8]) -> Result<EdgeList, GraphError> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(content).expect("writes");
        EdgeList::load(file.path())
    }

    #[test]
    fn edges_may_be_written_in_many_ways() {
        let expected = load(b"0 1\n1 2\n").expect("is a graph");
        assert_eq!((expected.graph.users(), expected.graph.edges()), (3, 2));
        for text in [
            "1 0\n2 1",
            "0\t1\r\n1\t2\r\n",
            "  0   1  \n\n\n1 2\n",
            "0,1\n1, 2\n",
            "# from to\n% as well\n0 1\n   # and here\n1 2\n",
            "0 1 5\n1 2 -0.5 1082040961\n",
            "\u{feff}0 1\n1 2\n",
        ] {
            assert_eq!(load(text.as_bytes()).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn users_are_numbered_in_the_order_of_their_ids() {
        let list = load(b"900 7\n7 18446744073709551615\n").expect("is a graph");
        assert_eq!(list.ids, [7, 900, u64::MAX]);
        assert_eq!(list.graph.neighbours(0), [1, 2]);
        assert_eq!(load(b"1 2\n2 3\n").expect("counts from 1").ids, [1, 2, 3]);
    }

    #[test]
    fn what_is_there_again_is_left_out_and_counted() {
        let list = load(b"0 1\n0 1\n1 0\n2 2\n1 2\n3 3\n").expect("is a graph");
        assert_eq!((list.repeated, list.loops), (2, 2));
        assert_eq!((list.graph.users(), list.graph.edges()), (4, 2));
        assert!(list.graph.neighbours(3).is_empty());
    }

    #[test]
    fn a_matrix_has_a_line_of_sizes() {
        let head = "%%MatrixMarket matrix coordinate pattern symmetric\n";
        let list = load(format!("{head}% about\n3 3 2\n2 1\n3 2\n").as_bytes());
        let list = list.expect("is a graph");
        assert_eq!((list.ids.as_slice(), list.loops), ([1, 2, 3].as_slice(), 0));
        let error = load(format!("{head}2 1\n3 2\n").as_bytes()).expect_err("is cut");
        assert!(
            error.to_string().contains(":2: expected the rows"),
            "{error}"
        );
        for (edges, found) in [("2 1\n", 1), ("2 1\n3 2\n3 1\n", 3), ("", 0)] {
            let error = load(format!("{head}\n3 3 2\n{edges}").as_bytes());
            let error = error.expect_err("has another number of edges");
            let told = format!(":3: expected 2 entries as this line says, found {found}");
            assert!(error.to_string().ends_with(&told), "{error}");
        }
    }

    #[test]
    fn a_damaged_line_is_refused_with_its_place() {
        for (line, expected, found) in [
            ("7", "two ids", "1 column(s): \"7\""),
            ("1 2 3 4 5", "at most a weight and a time", "5 column(s)"),
            ("1 -2", "a whole number from 0", "\"-2\""),
            ("1.5 2", "a whole number from 0", "\"1.5\""),
            ("source,target", "a whole number from 0", "\"source\""),
            ("1 2 heavy", "a number as weight or time", "\"heavy\""),
            ("1 2 NaN", "a number as weight or time", "\"NaN\""),
            ("1,,2", "a whole number from 0", "\"\""),
            ("1;2", "two ids", "\"1;2\""),
            ("1 18446744073709551616", "a whole number from 0", "616"),
            ("\u{1b}[2J 1", "a whole number from 0", "\\u{1b}"),
        ] {
            let text = format!("# a comment\n0 1\n\n{line}\n3 nothing after the first mistake\n");
            let error = load(text.as_bytes()).expect_err(line);
            assert!(matches!(error, GraphError::Malformed { line: 4, .. }));
            let told = error.to_string();
            for part in [":4: expected", expected, found] {
                assert!(told.contains(part), "{line}: {told}");
            }
        }
        let told = load(&[b"0 1\n1 ".as_slice(), &[0xff; 90]].concat());
        let told = told.expect_err("is no text").to_string();
        assert!(told.contains(":2: expected an id") && told.contains('…') && told.len() < 400);
    }

    #[test]
    fn files_without_edges_are_refused() {
        for (content, found) in [
            ("", "an empty file"),
            ("# nothing\n\n", "no edge at all"),
            ("1 1\n2 2\n", "only edges from a user to itself"),
        ] {
            let error = load(content.as_bytes()).expect_err(content);
            assert!(matches!(error, GraphError::Empty { .. }));
            assert!(error.to_string().contains(found), "{error}");
        }
        for path in ["/no/such/file", "/"] {
            let error = EdgeList::load(path).expect_err("is no file");
            assert!(matches!(error, GraphError::Unreadable { .. }));
            assert!(error.to_string().starts_with(path), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read(
            edges in prop::collection::vec((0..30_u64, 0..30_u64, 0..4_usize), 1..60),
            first in 0..1_000_u64,
            step in 1..50_u64,
        ) {
            let separators = [" ", "\t", ",", "  "];
            let line = |(a, b, form): &(u64, u64, usize)| {
                let comment = if form % 2 == 0 { "" } else { "# more\r\n" };
                let (a, b) = (first + step * a, first + step * b);
                format!("{comment}{a}{}{b}\n", separators[*form])
            };
            let text: String = edges.iter().map(line).collect();
            let pairs: BTreeSet<(u64, u64)> = edges
                .iter()
                .filter(|(a, b, _)| a != b)
                .map(|(a, b, _)| (first + step * a.min(b), first + step * a.max(b)))
                .collect();
            match load(text.as_bytes()) {
                Err(error) => prop_assert!(pairs.is_empty(), "{error}"),
                Ok(list) => {
                    let ids = &list.ids;
                    let read: BTreeSet<(u64, u64)> = (0..ids.len() as u32)
                        .flat_map(|a| list.graph.neighbours(a).iter().map(move |b| (a, *b)))
                        .filter(|(a, b)| a < b)
                        .map(|(a, b)| (ids[a as usize], ids[b as usize]))
                        .collect();
                    prop_assert_eq!(list.repeated + list.loops + pairs.len(), edges.len());
                    prop_assert_eq!(read, pairs);
                }
            }
        }

        #[test]
        fn no_file_is_too_damaged_to_be_answered(
            content in prop::collection::vec(prop::sample::select(b"0129 \t\n\r,#%-.e\xff".to_vec()), 0..80),
        ) {
            match load(&content) {
                Ok(list) => prop_assert!(list.graph.edges() > 0 && list.ids.len() == list.graph.users()),
                Err(error) => prop_assert!(error.to_string().contains("expected"), "{error}"),
            }
        }
    }
}
