//! A traced request, for people: as an indented timeline, and summed up by where its time went.
//!
//! The sum follows the path that the client waited for: from its answer back, always to what ended
//! last. Each nanosecond on that path belongs to exactly one entry, so they add up to the time to
//! the answer.

use std::collections::BTreeMap;
use triptych_world::trace::{Span, What};
use triptych_world::{MS, Nanos};

/// Pauses shorter than this are not worth a line.
const SHORTEST_PAUSE: Nanos = MS / 10;

/// The spans that lie in each span, in the order in which they began; those that lie in none last.
pub(crate) fn children(spans: &[Span]) -> Vec<Vec<usize>> {
    let mut children = vec![Vec::new(); spans.len() + 1];
    for (at, span) in spans.iter().enumerate() {
        let parent = span.parent.unwrap_or(spans.len());
        children[parent].push(at);
    }
    children
}

/// One line per step: when it began, how long it took (both in milliseconds), and what it was.
pub fn text(spans: &[Span], origin: Nanos) -> String {
    let children = children(spans);
    let mut lines = Lines {
        spans,
        children: &children,
        origin,
        text: String::from("     begin       took\n"),
    };
    for &root in &children[spans.len()] {
        lines.span(root, 0);
    }
    lines.text
}

struct Lines<'a> {
    spans: &'a [Span],
    children: &'a [Vec<usize>],
    origin: Nanos,
    text: String,
}

impl Lines<'_> {
    fn line(&mut self, start: Nanos, took: Option<Nanos>, depth: usize, told: &str) {
        let begin = start.saturating_sub(self.origin) as f64 / MS as f64;
        let took = took.map_or("never ends".to_owned(), |took| {
            format!("{:10.3}", took as f64 / MS as f64)
        });
        let indent = "  ".repeat(depth);
        self.text
            .push_str(&format!("{begin:10.3} {took:>10}  {indent}{told}\n"));
    }

    fn span(&mut self, at: usize, depth: usize) {
        let span = &self.spans[at];
        let mut inner = self.children[at].as_slice();
        let mut told = match span.what {
            What::Call => format!("call {}", span.name),
            What::Event => format!("event for {}", span.name),
            What::Cold => format!("{} starts cold", span.name),
            What::Execution => span.name.clone(),
            What::Compute => "computes".to_owned(),
            What::Effect | What::Store => span.name.clone(),
        };
        let mut notes: Vec<&str> = span.notes.iter().map(String::as_str).collect();
        // An effect is mostly one call of the store: then that needs no line of its own.
        if let (What::Effect, [only]) = (span.what, inner)
            && self.spans[*only].what == What::Store
        {
            told.push_str(&format!(" [{}]", self.spans[*only].name));
            notes.extend(self.spans[*only].notes.iter().map(String::as_str));
            inner = &[];
        }
        if !notes.is_empty() {
            told.push_str(&format!(" ({})", notes.join("; ")));
        }
        let took = span.end.map(|end| end - span.start);
        self.line(span.start, took, depth, &told);
        let mut covered = span.start;
        for &child in inner {
            let Span { start, end, .. } = self.spans[child];
            if span.what == What::Execution && start > covered + SHORTEST_PAUSE {
                self.line(covered, Some(start - covered), depth + 1, "waits");
            }
            self.span(child, depth + 1);
            covered = covered.max(end.unwrap_or(start));
        }
    }
}

/// Where the time to the answer went, the largest part first, and the whole.
pub fn breakdown(spans: &[Span]) -> Option<(Vec<(String, Nanos)>, Nanos)> {
    let root = spans
        .iter()
        .position(|span| span.parent.is_none() && span.what == What::Call)?;
    let total = spans[root].end? - spans[root].start;
    let children = children(spans);
    let mut parts = BTreeMap::new();
    attribute(spans, &children, root, spans[root].end?, &mut parts);
    let mut parts: Vec<(String, Nanos)> = parts.into_iter().filter(|(_, time)| *time > 0).collect();
    parts.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    Some((parts, total))
}

/// Shares the time of a span from its start until `until` out.
fn attribute(
    spans: &[Span],
    children: &[Vec<usize>],
    at: usize,
    until: Nanos,
    parts: &mut BTreeMap<String, Nanos>,
) {
    let span = &spans[at];
    let mut inner: Vec<(Nanos, usize)> = children[at]
        .iter()
        .filter_map(|&child| spans[child].end.map(|end| (end, child)))
        .collect();
    inner.sort_unstable();
    let mut cursor = until;
    let mut own = 0;
    while let Some((end, child)) = inner.pop() {
        // What ended later was not waited for.
        if end > cursor {
            continue;
        }
        own += cursor - end;
        attribute(spans, children, child, end, parts);
        cursor = spans[child].start;
    }
    own += cursor - span.start;
    let name = match span.what {
        What::Call => "on the way to functions and back".to_owned(),
        What::Event => "handing events to the queue".to_owned(),
        What::Cold => "cold starts".to_owned(),
        What::Execution => "waiting inside functions".to_owned(),
        What::Compute => "computing".to_owned(),
        What::Effect => "waiting inside effects".to_owned(),
        What::Store => {
            let effect = span.parent.map(|parent| &spans[parent]);
            let effect = effect.filter(|parent| parent.what == What::Effect);
            effect.map_or("store".to_owned(), |effect| {
                format!("store: {}", effect.name)
            })
        }
    };
    *parts.entry(name).or_default() += own;
}

/// The breakdown as lines of text.
pub fn breakdown_text(spans: &[Span]) -> String {
    let Some((parts, total)) = breakdown(spans) else {
        return String::new();
    };
    let ms = |time: Nanos| time as f64 / MS as f64;
    let mut text = String::from("where the time to the answer went (ms):\n");
    for (name, time) in &parts {
        let share = 100.0 * *time as f64 / total.max(1) as f64;
        text.push_str(&format!("{:10.3}  {share:5.1} %  {name}\n", ms(*time)));
    }
    text.push_str(&format!("{:10.3}  100.0 %  in all\n", ms(total)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(parent: Option<usize>, what: What, name: &str, start: Nanos, end: Nanos) -> Span {
        Span {
            parent,
            what,
            name: name.to_owned(),
            start,
            end: Some(end),
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_parts_add_up_and_follow_what_ended_last() {
        let spans = [
            span(None, What::Call, "F", 0, 100),
            span(Some(0), What::Cold, "F", 10, 20),
            span(Some(0), What::Execution, "F", 20, 90),
            span(Some(2), What::Compute, "", 20, 25),
            // Two branches: the shorter one was not waited for.
            span(Some(2), What::Effect, "short", 25, 40),
            span(Some(2), What::Effect, "long", 25, 80),
            span(Some(5), What::Store, "get T", 30, 70),
            // Nobody waits for what an event starts.
            span(Some(2), What::Execution, "late", 85, 500),
        ];
        let (parts, total) = breakdown(&spans).unwrap();
        assert_eq!(total, 100);
        assert_eq!(parts.iter().map(|(_, time)| time).sum::<Nanos>(), total);
        let of = |name: &str| parts.iter().find(|(part, _)| part == name).unwrap().1;
        assert_eq!(of("store: long"), 40);
        assert_eq!(of("waiting inside effects"), 15);
        assert_eq!(of("waiting inside functions"), 10);
        assert_eq!(of("on the way to functions and back"), 20);
        assert!(!parts.iter().any(|(name, _)| name == "store: short"));
    }

    #[test]
    fn a_timeline_shows_pauses_and_what_never_ends() {
        let mut spans = vec![
            span(None, What::Call, "F", MS, 9 * MS),
            span(Some(0), What::Execution, "F", 2 * MS, 8 * MS),
            span(Some(1), What::Effect, "p", 5 * MS, 6 * MS),
        ];
        spans[2].end = None;
        spans[2].notes.push("crashes".to_owned());
        let text = text(&spans, MS);
        assert!(
            text.contains("     1.000      3.000      waits\n"),
            "{text}"
        );
        assert!(text.contains("never ends      p (crashes)\n"), "{text}");
    }
}
