//! Distances on the earth, with `libm`, so that every machine finds the same hotels.

/// The mean radius of the earth, in kilometres.
const EARTH_KM: f64 = 6_371.0;

/// A place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

impl Point {
    /// The great-circle distance to another place, in kilometres (haversine formula).
    pub fn distance_km(self, other: Point) -> f64 {
        let half_sine = |degrees: f64| {
            let sine = libm::sin(degrees.to_radians() / 2.0);
            sine * sine
        };
        let (a, b) = (self.lat.to_radians(), other.lat.to_radians());
        let chord = half_sine(other.lat - self.lat)
            + libm::cos(a) * libm::cos(b) * half_sine(other.lon - self.lon);
        2.0 * EARTH_KM * libm::asin(libm::sqrt(chord.min(1.0)))
    }
}

/// How many hotels a search looks at.
pub const NEAREST: usize = 5;
/// How far away they may be, in kilometres.
pub const WITHIN_KM: f64 = 10.0;

/// The nearest `count` of some places that are at most [`WITHIN_KM`] away, nearest first, those of
/// equal distance in the order of their names.
pub fn nearest<'a>(
    from: Point,
    places: impl IntoIterator<Item = (&'a str, Point)>,
    count: usize,
) -> Vec<&'a str> {
    let mut near: Vec<(f64, &str)> = places
        .into_iter()
        .map(|(name, place)| (from.distance_km(place), name))
        .filter(|(km, _)| *km <= WITHIN_KM)
        .collect();
    near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
    near.truncate(count);
    near.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_an_atlas() {
        let at = |lat, lon| Point { lat, lon };
        // A degree of latitude, and London to Paris.
        assert!((at(0.0, 7.0).distance_km(at(1.0, 7.0)) - 111.19).abs() < 0.01);
        let flight = at(51.5074, -0.1278).distance_km(at(48.8566, 2.3522));
        assert!((flight - 343.6).abs() < 0.5, "{flight}");
        assert!((at(0.0, 0.0).distance_km(at(0.0, 180.0)) - 20_015.1).abs() < 0.1);
    }

    #[test]
    fn only_near_places_are_found_and_ties_go_by_name() {
        let at = |lat| Point { lat, lon: 0.0 };
        let places = [
            ("b", at(0.01)),
            ("a", at(-0.01)),
            ("far", at(0.1)),
            ("c", at(0.02)),
        ];
        assert_eq!(nearest(at(0.0), places, 5), ["a", "b", "c"]);
        assert_eq!(nearest(at(0.0), places, 2), ["a", "b"]);
    }
}
