//! The requests of a run, each a pure function of the seed and its position.

use super::dataset::{Dataset, media_id, user_id, username};
use super::{Mix, Window};
use crate::draw::text;
use crate::generator::{share, stream};
use crate::{Load, Planned, Profile, SettingError};
use triptych_model::{Random, Value};

/// How many posts a reader asks for.
const WINDOW: i64 = 10;
/// The last position from which a reader asks for them, if it does not begin at the newest.
const LAST_START: u64 = 100;
/// The fewest requests of a session that ends, and the most.
const SESSION_LENGTH: (u64, u64) = (20, 50);

#[derive(Clone, Copy, Debug)]
enum Kind {
    ReadHome,
    ReadUser,
    ReadThread,
    Compose,
    Reply,
    Follow,
    Unfollow,
}

impl Kind {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Kind::ReadHome => ("read-home", "ReadHomeTimeline"),
            Kind::ReadUser => ("read-user", "ReadUserTimeline"),
            Kind::ReadThread => ("read-thread", "ReadThread"),
            Kind::Compose => ("compose", "Compose"),
            Kind::Reply => ("reply", "Reply"),
            Kind::Follow => ("follow", "Follow"),
            Kind::Unfollow => ("unfollow", "Unfollow"),
        }
    }
}

/// The published mixed load, in percent.
const MIXED: [(Kind, u64); 3] = [
    (Kind::ReadHome, 60),
    (Kind::ReadUser, 30),
    (Kind::Compose, 10),
];
/// The mix of users who also talk to each other, in percent.
const INTERACTIVE: [(Kind, u64); 7] = [
    (Kind::ReadHome, 50),
    (Kind::ReadUser, 20),
    (Kind::ReadThread, 10),
    (Kind::Compose, 8),
    (Kind::Reply, 7),
    (Kind::Follow, 3),
    (Kind::Unfollow, 2),
];
/// The mix of the measurement published with Beldi.
const COMPOSE_ONLY: [(Kind, u64); 1] = [(Kind::Compose, 100)];

/// What a post is made of.
#[derive(Clone, Copy, Debug)]
struct Arguments {
    /// Letters and digits before the mentions.
    text: usize,
    /// The most mentions; there is at least one, and the same user may be mentioned twice.
    mentions: u64,
    /// The most addresses; there is at least one.
    urls: u64,
    /// Letters and digits of an address.
    url: usize,
    /// The most pictures; there is at least one.
    media: u64,
    /// Digits of a picture's id.
    media_digits: u32,
    /// Who the users are.
    people: People,
}

/// How requests call the users of the data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum People {
    /// As they are registered, from 0.
    Registered,
    /// Counted from 1, and authors by a name that is not registered (D17).
    Shifted,
}

impl People {
    fn id(self, user: u32) -> u32 {
        match self {
            People::Registered => user,
            People::Shifted => user + 1,
        }
    }

    fn author(self, user: u32) -> Value {
        match self {
            People::Registered => username(user),
            People::Shifted => format!("username{}", self.id(user)).into(),
        }
    }
}

/// As DeathStarBench makes them.
const LONG: Arguments = Arguments {
    text: 256,
    mentions: 6,
    urls: 6,
    url: 64,
    media: 5,
    media_digits: 18,
    people: People::Registered,
};
/// As the load script published with Beldi makes them.
const SHORT: Arguments = Arguments {
    text: 20,
    mentions: 3,
    urls: 3,
    url: 20,
    media: 3,
    media_digits: 10,
    people: People::Shifted,
};

/// Makes the requests of one run.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    mix: Mix,
    window: Window,
    arguments: Arguments,
    rejects: f64,
    sessions: u64,
    dataset: Dataset,
}

/// Who sends a request.
#[derive(Clone, Copy, Debug)]
struct Client {
    session: u64,
    user: u32,
    /// The user whose timeline it looks at beside its own, and whom it may follow and unfollow
    /// several times.
    friend: u32,
}

impl Generator {
    /// The requests of the profile on this data set, with this seed.
    ///
    /// # Errors
    /// A setting or a data set that no request can be made from, in words.
    pub fn new(profile: &Profile, dataset: Dataset, seed: u64) -> Result<Self, String> {
        if dataset.graph.users() < 2 {
            return Err("the data set must have at least two users".to_owned());
        }
        let told = |error: SettingError| error.to_string();
        Ok(Generator {
            seed,
            mix: Mix::of(profile).map_err(told)?,
            window: Window::of(profile).map_err(told)?,
            arguments: match profile.setting("compat") {
                "beldi" => SHORT,
                _ => LONG,
            },
            rejects: profile.share("rejects").map_err(told)?,
            sessions: profile.count("sessions").map_err(told)? as u64,
            dataset,
        })
    }

    /// The requests that fill the app with the data set.
    pub fn loads(&self) -> Vec<Load> {
        self.dataset.loads()
    }

    /// The data set on which the requests are made.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    fn mix(&self) -> &'static [(Kind, u64)] {
        match self.mix {
            Mix::Mixed => &MIXED,
            Mix::Interactive => &INTERACTIVE,
            Mix::Compose => &COMPOSE_ONLY,
        }
    }

    /// The names of the request kinds, as [`Planned::kind`] counts them.
    pub fn kinds(&self) -> Vec<String> {
        let names = self.mix().iter().map(|(kind, _)| kind.names().0.to_owned());
        names.collect()
    }

    /// The request at this position.
    pub fn request(&self, index: u64) -> Planned {
        let mix = self.mix();
        let shares = mix.iter().map(|(_, share)| *share);
        let position = share(&mut self.stream("kind", index), shares);
        let kind = mix[position].0;
        let client = self.client(index);
        Planned {
            kind: position as u16,
            function: "Frontend".to_owned(),
            op: kind.names().1.to_owned(),
            input: self.input(kind, index, client),
            session: client.session as u32,
        }
    }

    /// Who sends the request at this position.
    ///
    /// Interactive sessions take turns in as many places as there are clients at a time. When a
    /// session has sent all its requests, a new one takes its place. All sessions in one place are
    /// equally long, so that the session of any position can be computed.
    fn client(&self, index: u64) -> Client {
        let anyone = |random: &mut Random| random.below(self.dataset.graph.users() as u64) as u32;
        if self.mix != Mix::Interactive {
            let user = anyone(&mut self.stream("user", index));
            return Client {
                session: u64::from(user) % self.sessions,
                user,
                friend: user,
            };
        }
        let (place, turn) = (index % self.sessions, index / self.sessions);
        let (least, most) = SESSION_LENGTH;
        let length = least + self.stream("length", place).below(most - least + 1);
        let session = turn / length * self.sessions + place;
        let user = anyone(&mut self.stream("session user", session));
        Client {
            session,
            user,
            friend: self.friend_of(user, &mut self.stream("friend", session)),
        }
    }

    /// A user whom this one follows before the load; any other if there is none.
    fn friend_of(&self, user: u32, random: &mut Random) -> u32 {
        let friends = self.dataset.graph.neighbours(user);
        match friends.get(random.below(friends.len() as u64) as usize) {
            Some(friend) => *friend,
            None => self.other_than(user, random),
        }
    }

    fn other_than(&self, user: u32, random: &mut Random) -> u32 {
        let drawn = random.below(self.dataset.graph.users() as u64 - 1) as u32;
        drawn + u32::from(drawn >= user)
    }

    fn input(&self, kind: Kind, index: u64, client: Client) -> Value {
        let random = &mut self.stream(kind.names().0, index);
        let user = ("userId", user_id(client.user));
        match kind {
            Kind::ReadHome => self.read(client.user, random),
            Kind::ReadUser => {
                let own = self.mix != Mix::Interactive || random.chance(0.5);
                let whose = if own { client.user } else { client.friend };
                self.read(whose, random)
            }
            Kind::ReadThread => Value::map([user, ("pick", pick(random))]),
            Kind::Compose => {
                let unknown = self.refused(index).is_some();
                let mut compose = self.compose(index, client.user, unknown, random);
                compose.push(("postType", "POST".into()));
                Value::map(compose)
            }
            Kind::Reply => {
                // Never of an unknown user, who has nothing to read and so nothing to reply to.
                let mut reply = self.compose(index, client.user, false, random);
                reply.push(("pick", pick(random)));
                Value::map(reply)
            }
            Kind::Follow | Kind::Unfollow => {
                let whom = self.whom(matches!(kind, Kind::Follow), client, random);
                let whom = match self.refused(index) {
                    None => user_id(whom),
                    Some(true) => format!("nobody_{index}").into(),
                    Some(false) => user_id(client.user),
                };
                Value::map([req_id(index), user, ("followee", whom)])
            }
        }
    }

    fn read(&self, user: u32, random: &mut Random) -> Value {
        let start = match self.window {
            Window::Head => 0,
            Window::Uniform => random.below(LAST_START + 1) as i64,
        };
        Value::map([
            ("userId", user_id(user)),
            ("start", start.into()),
            ("stop", (start + WINDOW).into()),
        ])
    }

    /// Whom a client follows or unfollows: half of the time the one friend of its session, so that
    /// the same pair is changed again; otherwise another friend, or, to follow, sometimes a stranger.
    fn whom(&self, follow: bool, client: Client, random: &mut Random) -> u32 {
        match random.below(4) {
            0 | 1 => client.friend,
            2 if follow => self.other_than(client.user, random),
            _ => self.friend_of(client.user, random),
        }
    }

    /// Whether the request is to be refused, and if so, whether for an unknown user.
    fn refused(&self, index: u64) -> Option<bool> {
        let luck = &mut self.stream("reject", index);
        luck.chance(self.rejects).then(|| luck.chance(0.5))
    }

    /// What composes and replies have in common.
    fn compose(
        &self,
        index: u64,
        author: u32,
        unknown: bool,
        random: &mut Random,
    ) -> Vec<(&'static str, Value)> {
        let with = &self.arguments;
        let mut body = text(random, with.text);
        for _ in 0..1 + random.below(with.mentions) {
            let mentioned = with.people.id(self.other_than(author, random));
            body.push_str(&format!(" @username_{mentioned}"));
        }
        for _ in 0..1 + random.below(with.urls) {
            body.push_str(" http://");
            body.push_str(&text(random, with.url));
        }
        let media = 1 + random.below(with.media);
        let ids: Vec<Value> = (0..media)
            .map(|_| media_id(random, with.media_digits))
            .collect();
        let nobody = || Value::from(format!("nobody_{index}"));
        let (user, name) = if unknown {
            (nobody(), nobody())
        } else {
            let people = with.people;
            (user_id(people.id(author)), people.author(author))
        };
        vec![
            req_id(index),
            ("userId", user),
            ("username", name),
            ("text", body.into()),
            ("mediaTypes", Value::list(ids.iter().map(|_| "png".into()))),
            ("mediaIds", Value::list(ids)),
        ]
    }

    fn stream(&self, purpose: &str, index: u64) -> Random {
        stream(self.seed, purpose, index)
    }
}

/// The client's name for the request: what is stored carries it, so that the oracle knows what
/// became of requests that were never answered.
fn req_id(index: u64) -> (&'static str, Value) {
    ("reqId", format!("r{index}").into())
}

/// Which of the posts that are read is meant.
fn pick(random: &mut Random) -> Value {
    Value::Int(random.below(WINDOW as u64) as i64)
}

#[cfg(test)]
mod tests;
