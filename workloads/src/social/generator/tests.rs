use super::*;
use std::collections::{BTreeMap, BTreeSet};

fn generator(profile: &str, overrides: &[(&str, &str)], seed: u64) -> Generator {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let overrides = overrides.iter().map(owned).collect();
    let profile = crate::find(profile).expect("exists");
    let profile = profile.with_settings(overrides).expect("are settings");
    let dataset = Dataset::of(&profile).expect("has a size");
    Generator::new(&profile, dataset, seed).expect("fits")
}

fn small(profile: &str, seed: u64) -> Generator {
    let small = crate::find(profile).expect("exists").small();
    let small: Vec<_> = small
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    generator(profile, &small, seed)
}

fn text<'a>(planned: &'a Planned, name: &str) -> &'a str {
    let text = planned.input.get(name).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("{name} of {planned:?}"))
}

fn number(planned: &Planned, name: &str) -> i64 {
    let number = planned.input.get(name).and_then(Value::as_int);
    number.unwrap_or_else(|| panic!("{name} of {planned:?}"))
}

fn texts(planned: &Planned, name: &str) -> Vec<String> {
    let list = planned.input.get(name).and_then(Value::as_list);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    list.expect("a list").iter().map(text).collect()
}

fn user(text: &str) -> u32 {
    text.parse().expect("a user")
}

#[test]
fn the_mixes_are_as_declared() {
    for (profile, expected) in [
        (
            "full-social",
            [("read-home", 60), ("read-user", 30), ("compose", 10)].as_slice(),
        ),
        (
            "full-social-interactive",
            &[
                ("read-home", 50),
                ("read-user", 20),
                ("read-thread", 10),
                ("compose", 8),
                ("reply", 7),
                ("follow", 3),
                ("unfollow", 2),
            ],
        ),
        (
            "compat-dsb-social",
            &[("read-home", 60), ("read-user", 30), ("compose", 10)],
        ),
        ("compat-beldi-social", &[("compose", 100)]),
    ] {
        let generator = generator(profile, &[], 1);
        let kinds = generator.kinds();
        assert!(kinds.iter().eq(expected.iter().map(|(kind, _)| kind)));
        let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
        for index in 0..20_000 {
            let planned = generator.request(index);
            assert_eq!(planned.function, "Frontend");
            *counts.entry(planned.kind).or_default() += 1;
        }
        for (kind, (name, share)) in (0..).zip(expected) {
            // Five standard deviations of a binomial count.
            let mean = 200.0 * *share as f64;
            let tolerance = 5.0 * libm::sqrt(mean * (1.0 - *share as f64 / 100.0));
            let difference = (counts[&kind] as f64 - mean).abs();
            assert!(difference <= tolerance, "{name}: {counts:?}");
        }
    }
}

#[test]
fn a_request_depends_on_seed_and_position_alone() {
    for profile in ["full-social", "full-social-interactive"] {
        let (one, two) = (generator(profile, &[], 1), generator(profile, &[], 1));
        let other = generator(profile, &[], 2);
        let forwards: Vec<Planned> = (0..300).map(|index| one.request(index)).collect();
        let backwards: Vec<Planned> = (0..300).rev().map(|index| two.request(index)).collect();
        assert!(forwards.iter().eq(backwards.iter().rev()));
        assert!((0..300).any(|index| one.request(index) != other.request(index)));
        // The data set is the same for all of a campaign's seeds.
        assert_eq!(one.dataset.graph, other.dataset.graph);
        assert_eq!(one.dataset.authors, other.dataset.authors);
        // All formulations get the same requests, so that they can be compared.
        let sync = generator(profile, &[("formulation", "sync"), ("chunk", "8")], 1);
        assert!((0..300).all(|index| one.request(index) == sync.request(index)));
    }
}

#[test]
fn the_first_requests_never_change() {
    let digest = |profile, seed| {
        let generator = generator(profile, &[], seed);
        (0..50).fold(0, |digest, index| {
            triptych_model::mix_str(digest, &format!("{:?}", generator.request(index)))
        })
    };
    // If these change, runs of before and after cannot be compared: say so where they are changed.
    assert_eq!(digest("full-social", 42), 6_290_938_782_568_224_267);
    assert_eq!(
        digest("full-social-interactive", 42),
        18_130_298_267_723_678_648
    );
    assert_eq!(digest("compat-dsb-social", 42), 14_687_195_330_135_251_156);
    assert_eq!(
        digest("compat-beldi-social", 42),
        12_054_651_603_154_086_310
    );
    assert_ne!(digest("full-social", 42), digest("full-social", 43));
}

/// Checks one compose or reply, and says how many mentions, addresses and pictures it has.
fn parts(planned: &Planned, with: &Arguments) -> [u64; 3] {
    let alphanumeric = |text: &str, length: usize| {
        text.len() == length && text.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let mut words = text(planned, "text").split(' ');
    assert!(alphanumeric(words.next().expect("a text"), with.text));
    let (mut mentions, mut urls) = (0, 0);
    for word in words {
        if let Some(name) = word.strip_prefix('@') {
            assert_eq!(urls, 0, "mentions come first");
            let mentioned = user(name.strip_prefix("username_").expect("a username"));
            let first = with.people.id(0);
            assert!((first..first + 962).contains(&mentioned));
            assert_ne!(mentioned.to_string(), text(planned, "userId"));
            mentions += 1;
        } else {
            let url = word.strip_prefix("http://").expect("an address");
            assert!(alphanumeric(url, with.url));
            urls += 1;
        }
    }
    let (ids, types) = (texts(planned, "mediaIds"), texts(planned, "mediaTypes"));
    assert!(types.iter().all(|kind| kind == "png") && types.len() == ids.len());
    for id in &ids {
        let digits = id.chars().all(|c| c.is_ascii_digit());
        assert!(digits && id.len() == with.media_digits as usize, "{id}");
    }
    [mentions, urls, ids.len() as u64]
}

#[test]
fn composes_are_made_as_published() {
    for (profile, with, most, name, first) in [
        ("compat-dsb-social", LONG, [6, 6, 5], "username_", 0),
        // D17: from 1, and by another name than the registered one.
        ("compat-beldi-social", SHORT, [3, 3, 3], "username", 1),
    ] {
        let generator = generator(profile, &[], 5);
        let mut seen = [0, 1, 2].map(|_| BTreeSet::new());
        let mut authors = BTreeSet::new();
        for index in 0..20_000 {
            let planned = generator.request(index);
            if planned.op != "Compose" {
                continue;
            }
            assert_eq!(text(&planned, "reqId"), format!("r{index}"));
            assert_eq!(text(&planned, "postType"), "POST");
            let author = user(text(&planned, "userId"));
            assert_eq!(text(&planned, "username"), format!("{name}{author}"));
            authors.insert(author);
            for (seen, count) in seen.iter_mut().zip(parts(&planned, &with)) {
                seen.insert(count);
            }
        }
        for (seen, most) in seen.into_iter().zip(most) {
            assert!(seen.into_iter().eq(1..=most), "{profile}");
        }
        assert!(authors.len() > 750);
        assert!(authors.first() >= Some(&first) && authors.last() < Some(&(first + 962)));
    }
}

#[test]
fn windows_are_the_newest_posts_or_drawn_as_published() {
    let starts = |profile| {
        let generator = generator(profile, &[], 1);
        let mut starts: BTreeMap<i64, u64> = BTreeMap::new();
        for index in 0..30_000 {
            let planned = generator.request(index);
            if planned.op.starts_with("Read") {
                let start = number(&planned, "start");
                assert_eq!(number(&planned, "stop"), start + 10);
                *starts.entry(start).or_default() += 1;
            }
        }
        starts
    };
    assert!(starts("full-social").into_keys().eq([0]));
    let uniform = starts("compat-dsb-social");
    assert!(uniform.keys().copied().eq(0..=100));
    assert!(
        uniform.values().all(|count| (185..350).contains(count)),
        "{uniform:?}"
    );
}

#[test]
fn a_user_has_one_client_who_reads_what_it_wrote() {
    let generator = generator("full-social", &[], 1);
    let mut session_of: BTreeMap<u32, u32> = BTreeMap::new();
    let (mut wrote, mut own_reads, mut unknown) = (BTreeSet::new(), 0, 0);
    for index in 0..20_000 {
        let planned = generator.request(index);
        let id = text(&planned, "userId");
        if id.starts_with("nobody") {
            assert_eq!(planned.op, "Compose");
            assert_eq!(
                (id, id),
                (
                    text(&planned, "username"),
                    format!("nobody_{index}").as_str()
                )
            );
            unknown += 1;
            continue;
        }
        let user = user(id);
        assert_eq!(
            *session_of.entry(user).or_insert(planned.session),
            planned.session
        );
        match planned.op.as_str() {
            "Compose" => {
                wrote.insert(planned.session);
            }
            "ReadUserTimeline" => own_reads += u64::from(wrote.contains(&planned.session)),
            _ => {}
        }
    }
    assert_eq!(session_of.len(), 962);
    assert_eq!(session_of.values().collect::<BTreeSet<_>>().len(), 962);
    assert!(own_reads > 2_000, "{own_reads}");
    assert!((1..30).contains(&unknown), "{unknown} of about 2,000");
    // With fewer clients, users share them.
    let few = super::tests::generator("full-social", &[("sessions", "7")], 1);
    let sessions: BTreeSet<u32> = (0..500).map(|index| few.request(index).session).collect();
    assert!(sessions.into_iter().eq(0..7));
}

#[test]
fn interactive_sessions_have_one_user_and_twenty_to_fifty_requests() {
    let generator = generator("full-social-interactive", &[("rejects", "0")], 1);
    let requests = 100 * 200;
    let mut sessions: BTreeMap<u32, Vec<(u64, Planned)>> = BTreeMap::new();
    for index in 0..requests {
        let planned = generator.request(index);
        let session = sessions.entry(planned.session).or_default();
        session.push((index, planned));
    }
    let (mut whole, mut lengths, mut users) = (0, BTreeSet::new(), BTreeSet::new());
    let (mut own, mut others) = (0, 0);
    for (session, requests_of) in &sessions {
        // Its requests come one from each turn, without a gap.
        assert!(requests_of.is_sorted_by(|a, b| a.0 + 100 == b.0));
        let whose = requests_of
            .iter()
            .find(|(_, planned)| planned.op != "ReadUserTimeline");
        let user = user(text(&whose.expect("reads at home").1, "userId"));
        let mut seen = BTreeSet::new();
        for (_, planned) in requests_of {
            let id = super::tests::user(text(planned, "userId"));
            match planned.op.as_str() {
                "ReadUserTimeline" if id != user => {
                    assert!(generator.dataset.graph.are_friends(user, id));
                    seen.insert(id);
                    others += 1;
                }
                op => {
                    assert_eq!(id, user);
                    own += u64::from(op == "ReadUserTimeline");
                }
            }
        }
        // Always the same friend, so that its timeline is read again.
        assert!(seen.len() <= 1);
        users.insert(user);
        let (last, _) = requests_of.last().expect("has one");
        if last + 100 < requests {
            lengths.insert(requests_of.len());
            whole += 1;
        }
        assert!(u64::from(*session) % 100 == last % 100 && requests_of.len() <= 50);
    }
    assert!(whole > 400 && users.len() > 300, "{whole} {}", users.len());
    assert!(
        lengths.first() == Some(&20) && lengths.last() == Some(&50),
        "{lengths:?}"
    );
    assert!(own > 1_700 && others > 1_700, "{own} {others}");
    let fresh = sessions.keys().filter(|session| **session >= 100).count();
    assert!(fresh > 300, "new sessions follow those that end");
}

#[test]
fn follows_and_unfollows_are_of_friends_and_of_strangers() {
    let generator = generator("full-social-interactive", &[], 3);
    let graph = &generator.dataset.graph;
    let (mut known, mut strangers, mut unfollowed) = (0, 0, 0);
    let (mut nobody, mut oneself) = (0, 0);
    for index in 0..40_000 {
        let planned = generator.request(index);
        if !planned.op.ends_with("ollow") {
            continue;
        }
        assert_eq!(text(&planned, "reqId"), format!("r{index}"));
        let (own, whom) = (text(&planned, "userId"), text(&planned, "followee"));
        if whom.starts_with("nobody") {
            nobody += 1;
        } else if own == whom {
            oneself += 1;
        } else {
            let friends = graph.are_friends(user(own), user(whom));
            match planned.op.as_str() {
                "Unfollow" => {
                    assert!(friends);
                    unfollowed += 1;
                }
                _ if friends => known += 1,
                _ => strangers += 1,
            }
        }
    }
    assert!(
        known > 700 && strangers > 200 && unfollowed > 650,
        "{known} {strangers} {unfollowed}"
    );
    assert!(
        nobody + oneself > 0 && nobody + oneself < 40,
        "{nobody} {oneself}"
    );
}

#[test]
fn requests_meet_where_everything_is_small() {
    let generator = small("full-social-interactive", 1);
    assert_eq!(generator.dataset.graph.users(), 12);
    let mut pairs: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let mut clients: BTreeMap<(String, String), BTreeSet<u32>> = BTreeMap::new();
    for index in 0..1_000 {
        let planned = generator.request(index);
        if planned.op.ends_with("ollow") {
            let pair = (
                text(&planned, "userId").to_owned(),
                text(&planned, "followee").to_owned(),
            );
            clients
                .entry(pair.clone())
                .or_default()
                .insert(planned.session);
            pairs.entry(pair).or_default().insert(planned.op.clone());
        }
    }
    let both = pairs.values().filter(|ops| ops.len() == 2).count();
    let contended = clients.values().filter(|clients| clients.len() > 1).count();
    assert!(both >= 5 && contended >= 3, "{both} {contended}");
    // Threads are read and answered among the ten newest.
    let picks: BTreeSet<i64> = (0..1_000)
        .map(|index| generator.request(index))
        .filter(|planned| planned.op == "Reply" || planned.op == "ReadThread")
        .map(|planned| number(&planned, "pick"))
        .collect();
    assert!(picks.into_iter().eq(0..10));
}

#[test]
fn a_reply_is_a_compose_to_something_read() {
    let generator = generator("full-social-interactive", &[("rejects", "1")], 1);
    let mut replies = 0;
    for index in 0..2_000 {
        let planned = generator.request(index);
        match planned.op.as_str() {
            "Reply" => {
                parts(&planned, &LONG);
                assert_eq!(text(&planned, "reqId"), format!("r{index}"));
                assert!(planned.input.get("postType").is_none());
                assert!((0..10).contains(&number(&planned, "pick")));
                replies += 1;
            }
            // Everything that can name an unknown user does.
            "Compose" => assert_eq!(text(&planned, "userId"), format!("nobody_{index}")),
            "Follow" | "Unfollow" => {
                let whom = text(&planned, "followee");
                assert!(whom == text(&planned, "userId") || whom.starts_with("nobody_"));
            }
            _ => {}
        }
    }
    assert!(replies > 90, "{replies}");
}

#[test]
fn users_without_friends_follow_strangers() {
    let graph = crate::social::Graph::from_edges(3, [(0, 1)]);
    let profile = crate::find("full-social-interactive").expect("exists");
    let generator = Generator::new(&profile, Dataset::new(graph, 1), 1).expect("fits");
    let mut lonely = 0;
    for index in 0..5_000 {
        let planned = generator.request(index);
        if planned.op.ends_with("ollow") && text(&planned, "userId") == "2" {
            lonely += 1;
        }
    }
    assert!(lonely > 20, "{lonely}");
    let nobody = crate::social::Graph::from_edges(1, []);
    let error = Generator::new(&profile, Dataset::new(nobody, 1), 1);
    assert!(error.is_err_and(|error| error.contains("at least two users")));
}
