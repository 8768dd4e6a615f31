//! Colours: Okabe and Ito's palette, which the colour-blind can tell apart, one colour per runtime
//! in every figure and document.

use plotters::style::RGBColor;
use std::collections::BTreeMap;

/// The colours of known runtimes.
const FIXED: [(&str, RGBColor); 4] = [
    ("baseline", RGBColor(0xE6, 0x9F, 0x00)),
    ("beldi", RGBColor(0x00, 0x72, 0xB2)),
    ("boki", RGBColor(0x00, 0x9E, 0x73)),
    ("causalmesh", RGBColor(0xCC, 0x79, 0xA7)),
];

/// The colours of the others; the palette's yellow is too light for lines on white.
const OTHERS: [RGBColor; 3] = [
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0x00, 0x00, 0x00),
];

/// The kinds of cost: a palette of its own (Paul Tol's *light*), because these are not runtimes.
pub(crate) const COSTS: [RGBColor; 5] = [
    RGBColor(0xEE, 0xDD, 0x88),
    RGBColor(0xEE, 0x88, 0x66),
    RGBColor(0x99, 0xDD, 0xFF),
    RGBColor(0x77, 0xAA, 0xDD),
    RGBColor(0xFF, 0xAA, 0xBB),
];

/// Text and axes.
pub(crate) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Lesser text; still 7:1 against white.
pub(crate) const SOFT: RGBColor = RGBColor(0x55, 0x55, 0x55);
/// Grid lines.
pub(crate) const GRID: RGBColor = RGBColor(0xE4, 0xE4, 0xE4);
/// Points that stand beside no others.
pub(crate) const GREY: RGBColor = RGBColor(0x9A, 0x9A, 0x9A);
/// Faults and errors.
pub(crate) const ALARM: RGBColor = RGBColor(0xB0, 0x20, 0x20);
/// The ground.
pub(crate) const WHITE: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);

/// The colour of a runtime that is alone with its name.
pub fn colour(runtime: &str) -> RGBColor {
    match FIXED.iter().find(|(name, _)| *name == runtime) {
        Some((_, colour)) => *colour,
        None => OTHERS[place(runtime)],
    }
}

/// A runtime's colour half way to grey: for what stands beside no others, and still is somebody's.
pub(crate) fn faded(colour: RGBColor) -> RGBColor {
    let half = |a: u8, b: u8| ((u16::from(a) + u16::from(b)) / 2) as u8;
    RGBColor(
        half(colour.0, GREY.0),
        half(colour.1, GREY.1),
        half(colour.2, GREY.2),
    )
}

fn place(runtime: &str) -> usize {
    // FNV-1a: any fixed mixing will do, it only must never change.
    let hash = runtime
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (hash % OTHERS.len() as u64) as usize
}

/// The colours of runtimes that are shown together: each its own, except that two unknown names
/// that fall on one colour are told apart by moving the later one on.
pub fn colours<'a>(runtimes: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, RGBColor> {
    let mut taken = BTreeMap::new();
    let names: Vec<&str> = runtimes.into_iter().collect();
    for runtime in names.iter().copied() {
        if taken.contains_key(runtime) {
            continue;
        }
        let mut choice = colour(runtime);
        if !FIXED.iter().any(|(name, _)| *name == runtime) {
            let from = place(runtime);
            let rest = (0..OTHERS.len()).map(|i| OTHERS[(from + i) % OTHERS.len()]);
            // With many of them, those of known runtimes that are not among them.
            let spare = FIXED.iter().filter(|(name, _)| !names.contains(name));
            choice = rest
                .chain(spare.rev().map(|(_, colour)| *colour))
                .find(|c| !taken.values().any(|t| t == c))
                .unwrap_or(choice);
        }
        taken.insert(runtime.to_string(), choice);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_keeps_its_colour() {
        assert_eq!(colour("baseline"), FIXED[0].1);
        assert_eq!(
            colours(["beldi", "baseline"])["beldi"],
            colours(["beldi"])["beldi"]
        );
        let all = colours(["a", "b", "c"]);
        assert!(all["a"] != all["b"] && all["b"] != all["c"] && all["a"] != all["c"]);
        let many: std::collections::BTreeSet<_> = colours(["a", "b", "c", "d", "beldi"])
            .into_values()
            .map(|RGBColor(r, g, b)| (r, g, b))
            .collect();
        assert_eq!(many.len(), 5);
    }
}
