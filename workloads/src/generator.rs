//! The requests of a run, whatever its app.

use crate::{Load, Planned, Profile, ledger, micro, movie, social, travel};
use triptych_model::{Random, mix, mix_str};

/// Makes the data set and the requests of one run.
#[derive(Clone, Debug)]
pub enum Generator {
    /// Of the app of single primitives.
    Micro(micro::Generator),
    /// Of the movie app.
    Movie(movie::Generator),
    /// Of the travel app.
    Travel(travel::Generator),
    /// Of the ledger.
    Ledger(ledger::Generator),
    /// Of the social network.
    Social(social::Generator),
}

impl Generator {
    /// The requests of the profile with this seed, on the data set that its settings ask for.
    ///
    /// # Errors
    /// A setting that no request can be made from, in words.
    pub fn new(profile: &Profile, seed: u64) -> Result<Self, String> {
        match profile.app.as_str() {
            "movie" => {
                let dataset = movie::Dataset::of(profile).map_err(|error| error.to_string())?;
                movie::Generator::new(profile, &dataset, seed).map(Generator::Movie)
            }
            "travel" => travel::Generator::new(profile, seed).map(Generator::Travel),
            "social" => {
                let dataset = social::Dataset::of(profile).map_err(|error| error.to_string())?;
                social::Generator::new(profile, dataset, seed).map(Generator::Social)
            }
            "micro" => micro::Generator::new(profile, seed).map(Generator::Micro),
            "ledger" => ledger::Generator::new(profile, seed).map(Generator::Ledger),
            other => Err(format!("no requests are known for the app {other:?}")),
        }
    }

    /// The requests that fill the app with the data set, to be sent before the measured load.
    /// Requests for one entry point depend on each other's order, others do not.
    pub fn loads(&self) -> Vec<Load> {
        match self {
            Generator::Micro(micro) => micro.loads(),
            Generator::Movie(movie) => movie.loads(),
            Generator::Travel(travel) => travel.loads(),
            Generator::Ledger(ledger) => ledger.loads(),
            Generator::Social(social) => social.loads(),
        }
    }

    /// The names of the request kinds, as [`Planned::kind`] counts them.
    pub fn kinds(&self) -> Vec<String> {
        match self {
            Generator::Micro(micro) => micro.kinds(),
            Generator::Movie(movie) => movie.kinds(),
            Generator::Travel(travel) => travel.kinds(),
            Generator::Ledger(ledger) => ledger.kinds(),
            Generator::Social(social) => social.kinds(),
        }
    }

    /// The request at this position.
    pub fn request(&self, index: u64) -> Planned {
        match self {
            Generator::Micro(micro) => micro.request(index),
            Generator::Movie(movie) => movie.request(index),
            Generator::Travel(travel) => travel.request(index),
            Generator::Ledger(ledger) => ledger.request(index),
            Generator::Social(social) => social.request(index),
        }
    }
}

/// A stream for one purpose of one request: a draw added to one purpose shifts no other.
pub(crate) fn stream(seed: u64, purpose: &str, index: u64) -> Random {
    Random::new(mix(mix_str(seed, purpose), index))
}

/// Which of some shares (of their sum, such as 100 or 1,000) a request falls into.
pub(crate) fn share(
    random: &mut Random,
    shares: impl IntoIterator<Item = u64, IntoIter: Clone>,
) -> usize {
    let mut shares = shares.into_iter();
    let mut point = random.below(shares.clone().sum());
    let at = shares.position(|share| match point.checked_sub(share) {
        None => true,
        Some(rest) => {
            point = rest;
            false
        }
    });
    at.unwrap_or_default()
}
