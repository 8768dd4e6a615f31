//! What the app is loaded with: hotels of San Francisco and south-east of it, their prices, and
//! users. All of it follows from formulas that the published ports share, so that answers can be
//! compared with theirs; the slips of one port are kept where its work is done (`compat = beldi`).

use crate::Load;
use triptych_model::Value;

/// Beldi's port has plans, profiles and recommendations of one hotel less than places.
const PUBLISHED_HOTELS: u64 = 79;

/// The first six hotels: degrees north and east, the rate, and the price.
const FIRST: [(f64, f64, f64, f64); 6] = [
    (37.7867, -122.4112, 109.0, 150.0),
    (37.7854, -122.4005, 139.0, 120.0),
    (37.7867, -122.4071, 109.0, 190.0),
    (37.7936, -122.3930, 129.0, 160.0),
    (37.7831, -122.4181, 119.0, 140.0),
    (37.7863, -122.4015, 149.0, 200.0),
];

/// The plans of the first three hotels: bookable, total, with taxes, and the sort of room.
const FIRST_PLANS: [(f64, f64, f64, &str); 3] = [
    (190.0, 109.0, 123.17, "KNG"),
    (139.0, 139.0, 153.09, "QN"),
    (109.0, 109.0, 123.17, "KNG"),
];

/// What a hotel divisible by three costs, by its number modulo 5: total, and with taxes.
const BY_FIVE: [(f64, f64); 5] = [
    (109.0, 123.17),
    (120.0, 140.0),
    (124.0, 144.0),
    (132.0, 158.0),
    (232.0, 258.0),
];

const DESCRIPTION: &str = "Rooms of three sizes on six quiet floors around a planted court, ten \
    minutes on foot from the station and the ferry; breakfast until eleven, bicycles for guests, and \
    a roof from which both bridges are seen on clear days.";

/// The requests that make so many hotels known, and what they cost.
pub(super) fn hotels(listed: u64, published: bool) -> Vec<Load> {
    let most = if published { PUBLISHED_HOTELS } else { listed };
    let mut loads = Vec::new();
    for hotel in 1..=listed {
        loads.push(load("Geo", point(hotel, published)));
        if hotel <= most {
            loads.push(load("Profile", profile(hotel)));
            loads.push(load("Recommendation", recommendation(hotel)));
            loads.extend(plan(hotel).map(|plan| load("Rate", plan)));
        }
    }
    loads
}

fn load(function: &str, input: Value) -> Load {
    Load::new(function, "Add", input)
}

fn place(hotel: u64) -> (f64, f64) {
    match FIRST.get(hotel as usize - 1) {
        Some((lat, lon, _, _)) => (*lat, *lon),
        None => {
            let n = hotel as f64;
            (37.7835 + 0.006 * n, -122.41 + 0.008 * n)
        }
    }
}

fn id(hotel: u64) -> Value {
    Value::from(hotel.to_string())
}

fn point(hotel: u64, published: bool) -> Value {
    let (lat, lon) = place(hotel);
    // The published port has its first hotel off the coast of Africa.
    let lon = if published && hotel == 1 { 0.0 } else { lon };
    Value::map([
        ("hotelId", id(hotel)),
        ("lat", Value::Float(lat)),
        ("lon", Value::Float(lon)),
    ])
}

/// Where those who describe or recommend a hotel take it to be: the third is elsewhere for them.
fn described_place(hotel: u64) -> (f64, f64) {
    let (lat, lon) = place(hotel);
    (if hotel == 3 { 37.7834 } else { lat }, lon)
}

fn recommendation(hotel: u64) -> Value {
    let (lat, lon) = described_place(hotel);
    let (rate, price) = match FIRST.get(hotel as usize - 1) {
        Some((_, _, rate, price)) => (*rate, *price),
        None if hotel.is_multiple_of(3) => BY_FIVE[(hotel % 5) as usize],
        None => (135.0, 179.0),
    };
    Value::map([
        ("hotelId", id(hotel)),
        ("lat", Value::Float(lat)),
        ("lon", Value::Float(lon)),
        ("rate", Value::Float(rate)),
        ("price", Value::Float(price)),
    ])
}

fn profile(hotel: u64) -> Value {
    let (lat, lon) = described_place(hotel);
    let address = Value::map([
        ("streetNumber", Value::from((100 + hotel).to_string())),
        ("streetName", "Harbour Street".into()),
        ("city", "San Francisco".into()),
        ("state", "CA".into()),
        ("country", "United States".into()),
        ("postalCode", Value::from((94_100 + hotel).to_string())),
        ("lat", Value::Float(lat)),
        ("lon", Value::Float(lon)),
    ]);
    Value::map([
        ("hotelId", id(hotel)),
        ("name", Value::from(format!("The Lodge {hotel}"))),
        (
            "phoneNumber",
            Value::from(format!("(415) 284-40{hotel:02}")),
        ),
        ("description", DESCRIPTION.into()),
        ("address", address),
    ])
}

/// The rate plan of a hotel, if it has one.
fn plan(hotel: u64) -> Option<Value> {
    let first = FIRST_PLANS.get(hotel as usize - 1);
    let (bookable, total, inclusive, code, last) = match first {
        Some((bookable, total, inclusive, code)) => (*bookable, *total, *inclusive, *code, "10"),
        None if hotel.is_multiple_of(3) => {
            let (total, inclusive) = BY_FIVE[(hotel % 5) as usize];
            let last = if hotel.is_multiple_of(2) { "17" } else { "24" };
            (total, total, inclusive, "RACK", last)
        }
        None => return None,
    };
    let room = Value::map([
        ("bookableRate", Value::Float(bookable)),
        ("code", code.into()),
        ("description", "a room for two".into()),
        ("totalRate", Value::Float(total)),
        ("totalRateInclusive", Value::Float(inclusive)),
    ]);
    Some(Value::map([
        ("hotelId", id(hotel)),
        ("code", code.into()),
        ("inDate", "2015-04-09".into()),
        ("outDate", Value::from(format!("2015-04-{last}"))),
        ("roomType", room),
    ]))
}

/// A user's name and password.
pub(super) fn user(number: u64) -> (String, String) {
    let password = number.to_string().repeat(10);
    (format!("Cornell_{number}"), password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(loads: &'a [Load], function: &str) -> Vec<&'a Value> {
        let these = loads.iter().filter(|load| load.function == function);
        these.map(|load| &load.input).collect()
    }

    #[test]
    fn there_is_as_much_as_was_published() {
        let full = hotels(80, false);
        let counts = ["Geo", "Profile", "Recommendation", "Rate"].map(|f| of(&full, f).len());
        // DeathStarBench has plans of the first three and of 24 from the seventh on; the sixth comes
        // to them.
        assert_eq!(counts, [80, 80, 80, 28]);
        let published = hotels(80, true);
        let counts = ["Geo", "Profile", "Recommendation", "Rate"].map(|f| of(&published, f).len());
        assert_eq!(counts, [80, 79, 79, 28]);
        assert_eq!(
            of(&published, "Geo")[0].get("lon"),
            Some(&Value::Float(0.0))
        );
        for profile in of(&full, "Profile") {
            let text = profile.get("description").and_then(Value::as_str);
            assert!((116..=251).contains(&text.map_or(0, str::len)));
        }
    }

    #[test]
    fn recommendations_are_those_that_can_be_computed_offline() {
        let loads = hotels(80, false);
        let number = |row: &Value, field| match row.get(field) {
            Some(Value::Float(number)) => *number,
            other => panic!("{field} is {other:?}"),
        };
        let rows = of(&loads, "Recommendation");
        let ids = |wanted: &dyn Fn(&Value) -> bool| -> Vec<String> {
            let these = rows.iter().filter(|row| wanted(row));
            let id = |row: &&&Value| {
                row.get("hotelId")
                    .and_then(Value::as_str)
                    .map(str::to_owned)
            };
            these.filter_map(|row| id(&row)).collect()
        };
        assert_eq!(
            ids(&|row| number(row, "rate") == 232.0),
            ["9", "24", "39", "54", "69"]
        );
        assert!(rows.iter().all(|row| number(row, "rate") <= 232.0));
        assert_eq!(ids(&|row| number(row, "price") <= 120.0), ["2"]);
    }
}
