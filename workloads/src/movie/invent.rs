//! Invented movies: the shape and size of a real collection, without any of its data.
//!
//! The real collection (1,000 films) was measured once: the quantiles of its title lengths, of its
//! rating counts and of its ratings are what the tables below hold, and titles are nonsense words
//! of that length. Five titles in a thousand are shared by two movies, as there.

use super::dataset::Movie;
use crate::draw::{alphanumeric, quantile};
use std::collections::BTreeSet;
use triptych_model::{Random, mix, mix_str};

/// The data set is the same for every run: seeds vary the requests, not what they meet.
const SEED: u64 = 0x0074_7269_7074_7963;
/// One of this many movies has a title that another one has too.
const MOVIES_PER_SHARED_TITLE: usize = 200;

/// Quantiles of title lengths: (share of movies, length).
const TITLE_LENGTH: [(f64, f64); 9] = [
    (0.0, 2.0),
    (0.05, 5.0),
    (0.1, 7.0),
    (0.25, 10.0),
    (0.5, 13.0),
    (0.75, 19.0),
    (0.9, 29.0),
    (0.99, 45.0),
    (1.0, 63.0),
];
/// Quantiles of how many ratings a movie has.
const NUM_RATING: [(f64, f64); 10] = [
    (0.0, 0.0),
    (0.05, 22.0),
    (0.1, 190.0),
    (0.25, 318.0),
    (0.5, 460.0),
    (0.75, 1_218.0),
    (0.9, 7_597.0),
    (0.95, 11_238.0),
    (0.99, 14_523.0),
    (1.0, 21_844.0),
];
/// Quantiles of the average rating, times ten.
const AVG_RATING: [(f64, f64); 8] = [
    (0.0, 20.0),
    (0.05, 45.0),
    (0.1, 52.0),
    (0.25, 59.0),
    (0.5, 66.0),
    (0.75, 73.0),
    (0.9, 77.0),
    (1.0, 95.0),
];
/// Quantiles of the number of digits of an id.
const ID_DIGITS: [(f64, u32); 4] = [(0.1, 3), (0.28, 4), (0.6, 5), (1.0, 6)];

/// `count` movies. The first ones do not depend on `count`, except for the shared titles.
pub(crate) fn movies(count: usize) -> Vec<Movie> {
    let mut ids = BTreeSet::new();
    let mut titles = BTreeSet::new();
    let mut movies: Vec<Movie> = (0..count)
        .map(|index| movie(index, &mut ids, &mut titles))
        .collect();
    // The shared titles: a late movie takes the title of an early one.
    for pair in 0..count / MOVIES_PER_SHARED_TITLE {
        let title = movies[pair * MOVIES_PER_SHARED_TITLE].title.clone();
        movies[pair * MOVIES_PER_SHARED_TITLE + MOVIES_PER_SHARED_TITLE / 2].title = title;
    }
    movies
}

fn movie(index: usize, ids: &mut BTreeSet<String>, titles: &mut BTreeSet<String>) -> Movie {
    let mut random = Random::new(mix(mix_str(SEED, "movie"), index as u64));
    let movie_id = distinct(ids, || id(&mut random));
    let title = distinct(titles, || title(&mut random));
    let num_rating = quantile(&NUM_RATING, random.unit()) as i64;
    let tenths = quantile(&AVG_RATING, random.unit()).round();
    let picture: String = (0..27).map(|_| alphanumeric(&mut random)).collect();
    Movie {
        plot_id: movie_id.clone(),
        movie_id,
        title,
        casts: Vec::new(),
        thumbnail_ids: vec![format!("/{picture}.jpg")],
        photo_ids: Vec::new(),
        video_ids: Vec::new(),
        avg_rating: if num_rating == 0 { 0.0 } else { tenths / 10.0 },
        num_rating,
    }
}

/// Draws until something new comes, and lengthens what keeps colliding, so that it always ends.
fn distinct(known: &mut BTreeSet<String>, mut draw: impl FnMut() -> String) -> String {
    let mut suffix = 0;
    loop {
        let mut drawn = draw();
        if suffix > 8 {
            drawn.push_str(&suffix.to_string());
        }
        if known.insert(drawn.clone()) {
            return drawn;
        }
        suffix += 1;
    }
}

fn id(random: &mut Random) -> String {
    let unit = random.unit();
    let digits = ID_DIGITS
        .iter()
        .find(|(share, _)| unit < *share)
        .map_or(6, |(_, digits)| *digits);
    let low = 10_u64.pow(digits - 1);
    (low + random.below(9 * low)).to_string()
}

fn title(random: &mut Random) -> String {
    const ONSETS: [&str; 20] = [
        "b", "br", "d", "dr", "f", "g", "gl", "h", "k", "l", "m", "n", "p", "qu", "r", "s", "t",
        "v", "w", "z",
    ];
    const VOWELS: [&str; 8] = ["a", "e", "i", "o", "u", "ae", "ou", "ia"];
    const CODAS: [&str; 6] = ["", "", "n", "r", "l", "th"];
    let wanted = quantile(&TITLE_LENGTH, random.unit()).round() as usize;
    let pick =
        |random: &mut Random, of: &[&'static str]| of[random.below(of.len() as u64) as usize];
    let mut text = String::new();
    let mut word = String::new();
    let mut length = 3 + random.below(6) as usize;
    while text.len() + word.len() < wanted {
        word.push_str(pick(random, &ONSETS));
        word.push_str(pick(random, &VOWELS));
        word.push_str(pick(random, &CODAS));
        if word.len() >= length {
            text.push_str(&capital(&std::mem::take(&mut word)));
            text.push(' ');
            length = 3 + random.below(6) as usize;
        }
    }
    text.push_str(&capital(&word));
    // Every byte is ASCII, so this cuts at a character.
    text.truncate(wanted.max(2));
    text.trim_end().to_owned()
}

fn capital(word: &str) -> String {
    word.chars()
        .enumerate()
        .map(|(at, c)| if at == 0 { c.to_ascii_uppercase() } else { c })
        .collect()
}
