//! The requests of a run, each a pure function of the seed and its position.

use super::{capacity, dataset, demand, mix, uniform};
use crate::generator::{share, stream};
use crate::zipf::Popularity;
use crate::{Load, Planned, Profile, SettingError};
use triptych_model::{Random, Value};

/// How skewed popularity is, where it is.
const ZIPF_EXPONENT: f64 = 0.9;

/// Request kinds: name and entry point of `Gateway`.
pub(super) const KINDS: [(&str, &str); 4] = [
    ("search", "Search"),
    ("recommend", "Recommend"),
    ("user", "User"),
    ("reserve", "Reserve"),
];
/// The workflow that a reservation is, where the platform runs it.
const WORKFLOW: &str = "Reservation";

/// Makes the requests of one run.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    mix: [u64; 4],
    /// Of hotels and of flights.
    popularity: [Popularity; 2],
    /// How many places each hotel and each flight has.
    places: [Vec<i64>; 2],
    users: u64,
    listed: u64,
    sessions: u64,
    rejects: f64,
    with_flight: f64,
    steps: bool,
    dates: bool,
    published: bool,
}

impl Generator {
    /// The requests of the profile with this seed.
    ///
    /// # Errors
    /// A setting that no request can be made from, in words.
    pub fn new(profile: &Profile, seed: u64) -> Result<Self, String> {
        let told = |error: SettingError| error.to_string();
        let count = |key| profile.count(key).map(|count| count as u64).map_err(told);
        let uniform = uniform(profile).map_err(told)?;
        let exponent = if uniform { 0.0 } else { ZIPF_EXPONENT };
        let numbers = [count("hotels")?, count("flights")?];
        let popularity = numbers.map(|n| Popularity::zipf(n as usize, exponent));
        let capacity = capacity(profile).map_err(told)?;
        let wanted = count("expected")? as f64 / demand(profile).map_err(told)?;
        let mut places = [0, 1].map(|leg| {
            let each = 0..numbers[leg] as usize;
            let places = each.map(|n| match capacity {
                Some(capacity) => capacity as i64,
                None => (wanted * popularity[leg].share(n)).round().max(1.0) as i64,
            });
            places.collect::<Vec<_>>()
        });
        let dates = profile.setting("mode") == "dates";
        let listed = count("listed")?;
        if let (true, Some(least)) = (dates, places[0].iter().min().copied()) {
            // What is found is asked for its rooms, whether or not anybody reserves them.
            let all = places[0].len().max(listed as usize);
            places[0].resize(all, least);
        }
        Ok(Generator {
            seed,
            mix: mix(profile).map_err(told)?,
            popularity,
            places,
            users: count("users")?,
            listed,
            sessions: count("sessions")?,
            rejects: profile.share("rejects").map_err(told)?,
            with_flight: profile.share("with_flight").map_err(told)?,
            steps: profile.setting("formulation") == "steps",
            dates,
            published: profile.setting("compat") == "beldi",
        })
    }

    /// The requests that fill the app with the data set.
    pub fn loads(&self) -> Vec<Load> {
        let mut loads = dataset::hotels(self.listed, self.published);
        for (places, function) in self.places.iter().zip(["Hotel", "Flight"]) {
            loads.extend((0..).zip(places).map(|(n, capacity)| {
                let add = [("id", self.id(n)), ("capacity", Value::Int(*capacity))];
                Load::new(function, "Add", Value::map(add))
            }));
        }
        loads.extend((0..self.users).map(|number| {
            let (username, password) = dataset::user(number);
            let user = [("username", username.into()), ("password", password.into())];
            Load::new("User", "Register", Value::map::<&str>(user))
        }));
        loads
    }

    /// The names of the request kinds, as [`Planned::kind`] counts them.
    pub fn kinds(&self) -> Vec<String> {
        KINDS.map(|(name, _)| name.to_owned()).to_vec()
    }

    /// The request at this position.
    pub fn request(&self, index: u64) -> Planned {
        let position = share(&mut self.stream("kind", index), self.mix);
        let (kind, op) = KINDS[position];
        let random = &mut self.stream(kind, index);
        let (function, op) = match kind {
            "reserve" if self.steps => (WORKFLOW, ""),
            _ => ("Gateway", op),
        };
        Planned {
            kind: position as u16,
            function: function.to_owned(),
            op: op.to_owned(),
            input: match kind {
                "search" => self.search(random),
                "recommend" => self.recommend(random),
                "user" => self.user(index, random),
                _ => self.reserve(index, random),
            },
            session: self.stream("session", index).below(self.sessions) as u32,
        }
    }

    /// The id of a hotel or flight. The published port counts from 0.
    fn id(&self, number: u64) -> Value {
        let first = u64::from(!self.published);
        Value::from((number + first).to_string())
    }

    /// Somewhere around the bay; at half of these places there is no hotel within reach.
    fn place(random: &mut Random) -> [(&'static str, Value); 2] {
        let (lat, lon) = (random.below(482) as f64, random.below(326) as f64);
        [
            ("lat", Value::Float(38.0235 + (lat - 240.5) / 1_000.0)),
            ("lon", Value::Float(-122.095 + (lon - 157.0) / 1_000.0)),
        ]
    }

    fn search(&self, random: &mut Random) -> Value {
        let arrival = 9 + random.below(15);
        let departure = arrival + 1 + random.below(24 - arrival);
        let dates = [("inDate", day(arrival)), ("outDate", day(departure))];
        Value::map(Self::place(random).into_iter().chain(dates))
    }

    fn recommend(&self, random: &mut Random) -> Value {
        let require = match random.below(100) {
            0..33 => "dis",
            33..66 => "rate",
            _ => "price",
        };
        let require = [("require", Value::from(require))];
        Value::map(Self::place(random).into_iter().chain(require))
    }

    fn user(&self, index: u64, random: &mut Random) -> Value {
        let (username, mut password) = dataset::user(random.below(self.users));
        if self.stream("reject", index).chance(self.rejects) {
            password.push('x');
        }
        Value::map([
            ("username", Value::from(username)),
            ("password", password.into()),
        ])
    }

    fn reserve(&self, index: u64, random: &mut Random) -> Value {
        let [hotel, flight] = [0, 1].map(|leg| self.popularity[leg].draw(random) as u64);
        let (user, mut password) = dataset::user(random.below(self.users));
        let mut luck = self.stream("reject", index);
        let refused = luck.chance(self.rejects);
        let mut hotel = self.id(hotel);
        if refused && self.dates && luck.chance(0.5) {
            password.push('x');
        } else if refused {
            hotel = format!("nowhere-{index}").into();
        }
        let user = if self.published {
            "user1".to_owned()
        } else {
            user
        };
        let mut input = vec![
            // The client's name for the request: the order carries it, so that the oracle knows what
            // became of requests that were never answered.
            ("reqId", Value::from(format!("r{index}"))),
            ("userId", user.into()),
            ("hotelId", hotel),
        ];
        if self.dates {
            let arrival = 9 + random.below(15);
            let departure = arrival + 1 + random.below(5);
            let stay = [
                ("inDate", day(arrival)),
                ("outDate", day(departure)),
                ("rooms", Value::Int(1)),
                ("password", password.into()),
            ];
            input.push(("stay", Value::map(stay)));
        }
        if !self.dates || random.chance(self.with_flight) {
            input.push(("flightId", self.id(flight)));
        }
        Value::map(input)
    }

    fn stream(&self, purpose: &str, index: u64) -> Random {
        stream(self.seed, purpose, index)
    }
}

/// A day of April 2015.
fn day(of_april: u64) -> Value {
    Value::from(format!("2015-04-{of_april:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn generator(profile: &str, seed: u64) -> Generator {
        let profile = crate::find(profile).expect("exists");
        Generator::new(&profile, seed).expect("fits")
    }

    fn text<'a>(planned: &'a Planned, field: &str) -> &'a str {
        let text = planned.input.get(field).and_then(Value::as_str);
        text.unwrap_or_default()
    }

    #[test]
    fn the_mixes_are_as_declared() {
        for (profile, reserves, searches) in [
            ("full-travel", 150, 550),
            ("hot-travel-1", 200, 480),
            ("compat-beldi-travel", 5, 600),
        ] {
            let generator = generator(profile, 1);
            let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
            for index in 0..40_000 {
                *counts.entry(generator.request(index).kind).or_default() += 1;
            }
            assert!(
                counts[&3].abs_diff(reserves * 40) < 40 + reserves,
                "{counts:?}"
            );
            assert!(counts[&0].abs_diff(searches * 40) < 500, "{counts:?}");
        }
    }

    #[test]
    fn a_request_depends_on_seed_and_position_alone_and_formulations_share_requests() {
        let (one, other) = (generator("full-travel", 1), generator("full-travel", 2));
        let (saga, steps) = (
            generator("full-travel-saga", 1),
            generator("full-travel-steps", 1),
        );
        assert!((0..300).any(|index| one.request(index) != other.request(index)));
        for index in (0..300).rev() {
            let planned = one.request(index);
            assert_eq!(planned, one.request(index));
            assert_eq!(planned, saga.request(index));
            assert_eq!(planned.input, steps.request(index).input);
        }
    }

    #[test]
    fn stays_and_searches_are_in_april() {
        let generator = generator("full-travel-dates", 4);
        let (mut nights, mut flights, mut reserves, mut refused) = (BTreeSet::new(), 0, 0, 0);
        for index in 0..20_000 {
            let planned = generator.request(index);
            let dates = |value: &Value| {
                let day = |field: &str| {
                    let text = value.get(field).and_then(Value::as_str).expect("a date");
                    let day = text.strip_prefix("2015-04-").expect("in April");
                    day.parse::<u64>().expect("a day")
                };
                (day("inDate"), day("outDate"))
            };
            if let Some(stay) = planned.input.get("stay") {
                let (arrival, departure) = dates(stay);
                assert!((9..=23).contains(&arrival) && departure > arrival);
                nights.insert(departure - arrival);
                reserves += 1;
                flights += u64::from(planned.input.get("flightId").is_some());
                refused += u64::from(text(&planned, "hotelId").starts_with("nowhere"));
            } else if planned.kind == 0 {
                let (arrival, departure) = dates(&planned.input);
                assert!((9..=23).contains(&arrival) && (arrival + 1..=24).contains(&departure));
            }
        }
        assert_eq!(nights, (1..=5).collect());
        assert!(flights * 2 > reserves - 200 && flights * 2 < reserves + 200);
        assert!((1..30).contains(&refused), "{refused} of {reserves}");
    }

    #[test]
    fn scaled_places_are_what_the_demand_asks_for() {
        for (profile, places) in [
            ("hot-travel-0.5", 2_000),
            ("hot-travel-1", 1_000),
            ("hot-travel-2", 500),
        ] {
            for places_of in generator(profile, 1).places {
                let sum: i64 = places_of.iter().sum();
                // Rounding, and at least one each.
                assert!(sum.abs_diff(places) < 40, "{profile}: {sum}");
                assert!(places_of.is_sorted_by(|a, b| a >= b));
            }
        }
    }

    #[test]
    fn the_published_requests_are_one_users() {
        let generator = generator("compat-beldi-travel", 3);
        let mut hotels = BTreeSet::new();
        for index in 0..200_000 {
            let planned = generator.request(index);
            if planned.kind == 3 {
                assert_eq!(text(&planned, "userId"), "user1");
                hotels.insert(text(&planned, "hotelId").to_owned());
            }
        }
        assert_eq!(hotels, (0..100).map(|n| n.to_string()).collect());
    }

    #[test]
    fn settings_are_checked() {
        let profile = crate::find("hot-travel-1").expect("exists");
        for (key, value, allowed) in [
            ("capacity", "many", "scaled"),
            ("demand", "0", "0.001"),
            ("mix", "cold", "mixed, hot, published"),
            ("popularity", "pareto", "zipf, uniform"),
            ("with_flight", "2", "0 to 1"),
            ("hotels", "0", "from 1"),
        ] {
            let settings = [(key.to_owned(), value.to_owned())].into();
            let error = profile.clone().with_settings(settings).expect_err(key);
            assert!(error.to_string().contains(allowed), "{error}");
        }
    }

    #[test]
    fn the_first_requests_never_change() {
        let digest = |seed| {
            let generator = generator("full-travel", seed);
            (0..50).fold(0, |digest, index| {
                triptych_model::mix_str(digest, &format!("{:?}", generator.request(index)))
            })
        };
        // If this changes, runs of before and after cannot be compared: say so where it is changed.
        assert_eq!(digest(42), 17_821_691_290_201_179_661);
        assert_ne!(digest(42), digest(43));
    }
}
