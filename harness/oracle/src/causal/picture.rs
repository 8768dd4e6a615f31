//! A witness as a picture: a column for each client, time downwards, and arrows from each thing that
//! happened to what came after it. Written by hand as SVG, so that the same witness is the same
//! bytes.

use super::{Found, words};
use crate::history::drawing::{self, WIDTH};
use std::fmt::Write;
use triptych_model::causes::Causes;

/// From one hop down to the next.
const ROW: f64 = 64.0;
/// Where the columns begin.
const TOP: f64 = 96.0;
const DOT: f64 = 7.0;
/// Characters of a label beside a dot.
const LABEL: usize = 34;

/// The witness of a violation as an SVG document.
pub fn picture(causes: &Causes, found: &Found) -> String {
    let hops = &found.witness.hops;
    let mut clients: Vec<String> = Vec::new();
    for hop in hops {
        let client = words::client(causes, hop.event);
        if !clients.contains(&client) {
            clients.push(client);
        }
    }
    let told = drawing::wrapped(&found.witness.told);
    let rows = hops.len().max(1) as f64;
    let bottom = TOP + ROW * rows;
    let height = bottom + 18.0 * told.len() as f64 + 40.0;
    let column = |client: &str| {
        let at = clients.iter().position(|known| known == client);
        let share = (WIDTH - 40.0) / clients.len().max(1) as f64;
        40.0 + share * at.unwrap_or_default() as f64
    };
    let place = |at: usize| {
        let x = column(&words::client(causes, hops[at].event));
        (x, TOP + ROW * at as f64 + ROW / 2.0)
    };
    let mut svg = drawing::begin(height, found.anomaly.name());
    // Writing to a string cannot fail.
    for client in &clients {
        let x = column(client);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"66\" font-weight=\"bold\">{}</text>\
             <path d=\"M{x:.1},{:.1}V{bottom:.1}\" stroke=\"#bbb\" stroke-dasharray=\"3 4\"/>",
            x - DOT,
            drawing::escaped(client),
            TOP - 16.0,
        );
    }
    for at in 1..hops.len() {
        let (from, to) = (place(at - 1), place(at));
        drawing::straight(&mut svg, from, to, DOT + 2.0, "#333");
    }
    for (at, hop) in hops.iter().enumerate() {
        let (x, y) = place(at);
        let wrong = at + 1 == hops.len();
        let (fill, ink) = if wrong {
            ("#d33", "#a00")
        } else {
            ("#4a7fb5", "#222")
        };
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{DOT}\" fill=\"{fill}\" stroke=\"#333\"/>"
        );
        let label = words::did(causes, *hop, wrong);
        let lines = drawing::folded(&label, LABEL);
        for (line, text) in lines.iter().enumerate() {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{ink}\">{}</text>",
                x + DOT + 8.0,
                y - 4.0 + 16.0 * line as f64,
                drawing::escaped(text)
            );
        }
    }
    drawing::lines(&mut svg, bottom + 24.0, &told);
    svg.push_str("</svg>\n");
    svg
}
