//! What campaign files may say, and how mistakes in them are shown.

use super::*;

const GOOD: &str = r#"
name = "mine"
runtimes = ["beldi"]
profiles = ["full-movie"]
rates = [10, 12.5]
duration = "10s"
warmup = "1s"
repetitions = 2
"#;

fn mistakes(text: &str) -> String {
    Campaign::parse("mine.toml", text)
        .expect_err("should not be taken")
        .to_string()
}

fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    mistakes(&GOOD.replace(from, to))
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn the_default_campaign_is_a_campaign() {
    let campaign = Campaign::parse("default.toml", DEFAULT).unwrap();
    assert!(campaign.cells().len() >= 12);
}

#[test]
fn the_matrix_has_names_and_common_seeds() {
    let campaign = Campaign::parse("mine.toml", GOOD).unwrap();
    let ids: Vec<String> = campaign.cells().into_iter().map(|cell| cell.id).collect();
    assert_eq!(
        ids,
        [
            "full-movie.beldi.r10.s1",
            "full-movie.beldi.r10.s2",
            "full-movie.beldi.r12.5.s1",
            "full-movie.beldi.r12.5.s2"
        ]
    );
}

#[test]
fn a_campaign_with_its_defaults_reads_back() {
    for text in [GOOD, DEFAULT] {
        let campaign = Campaign::parse("mine.toml", text).unwrap();
        let told = campaign.to_toml();
        assert_eq!(Campaign::parse("told.toml", &told), Ok(campaign), "{told}");
    }
}

#[test]
fn a_wrong_key_gives_the_nearest() {
    let shown = changed("rates =", "rate =");
    has(
        &shown,
        &[
            "mine.toml:5:1",
            "no key `rate`",
            "did you mean `rates`?",
            "^^^^",
            "arrivals",
        ],
    );
    // A key that belongs into a section, and one of a section that is wrong.
    let shown = changed("repetitions = 2", "crash_rate = 0.1");
    has(&shown, &["did you mean `crash_rate` in [faults]?"]);
    let shown = mistakes(&format!("{GOOD}[faults]\ncrash-rate = 0.1\n"));
    has(
        &shown,
        &[
            "mine.toml:10:1",
            "in [faults]",
            "did you mean `crash_rate`?",
        ],
    );
    let shown = mistakes(&format!("{GOOD}[fault]\ncrash_rate = 0.1\n"));
    has(&shown, &["did you mean `faults`?"]);
}

#[test]
fn a_wrong_type_says_what_was_expected() {
    let shown = changed("rates = [10, 12.5]", "rates = [10, \"fast\"]");
    has(
        &shown,
        &[
            "mine.toml:5:14",
            "should be a number",
            "this is a text",
            "^^^^^^",
        ],
    );
    has(
        &changed("\"10s\"", "10"),
        &["mine.toml:6:12", "a span of time such as \"60s\""],
    );
    has(
        &changed("repetitions = 2", "repetitions = 2.5"),
        &["a whole number"],
    );
    has(
        &changed("repetitions = 2", "repetitions = 0"),
        &["at least 1"],
    );
    has(&changed("[10, 12.5]", "[]"), &["`rates` is empty"]);
    has(&changed("[10, 12.5]", "[-1]"), &["at least 0.001"]);
    has(
        &changed("repetitions = 2", "arrivals = 2"),
        &["constant", "poisson"],
    );
    has(
        &changed("repetitions = 2", "memory_mb = nan"),
        &["a whole number"],
    );
    has(
        &mistakes(&format!("{GOOD}[faults]\ncrash_rate = nan\n")),
        &["not a finite number"],
    );
    has(
        &mistakes(&format!("{GOOD}[faults]\ncrash_rate = 2\n")),
        &["at most 1"],
    );
}

#[test]
fn a_wrong_name_lists_those_that_exist() {
    let shown = changed("[\"beldi\"]", "[\"bledi\"]");
    has(
        &shown,
        &["mine.toml:3:13", "did you mean `beldi`?", "baseline, beldi"],
    );
    let shown = changed("\"full-movie\"", "\"full-movies\"");
    has(
        &shown,
        &["did you mean `full-movie`?", "compat-beldi-movie"],
    );
    let shown = changed("repetitions = 2", "prices = \"aws-us-east-1-2020\"");
    has(&shown, &["aws-us-east-1-2020-11", "aws-us-east-1-2025-08"]);
    let shown = mistakes(&format!("{GOOD}[platform]\nlatency = \"aws-2021\"\n"));
    has(
        &shown,
        &["mine.toml:10:11", "did you mean `aws-2020`?", "aws-2025"],
    );
    assert!(!shown.contains("ec2-lan"), "it has no functions");
    let shown = changed("repetitions = 2", "arrivals = \"Poisson\"");
    has(&shown, &["did you mean `poisson`?"]);
    has(
        &changed("\"mine\"", "\"../mine\""),
        &["cannot name a folder"],
    );
}

#[test]
fn a_wrong_unit_lists_the_units() {
    has(
        &changed("\"10s\"", "\"10\""),
        &["mine.toml:6:12", "no unit", "ms, s, min, h"],
    );
    has(
        &changed("\"10s\"", "\"10sec\""),
        &["`sec` is not a unit", "did you mean `s`?"],
    );
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let text = GOOD
        .replace("beldi", "bledi")
        .replace("\"10s\"", "10")
        .replace("rates", "rate");
    let error = Campaign::parse("mine.toml", &text).unwrap_err();
    // And the key that is missing because its name is wrong.
    assert_eq!(error.mistakes.len(), 4, "{error}");
}

#[test]
fn contradictions_are_found() {
    has(
        &changed("\"1s\"", "\"10s\""),
        &["mine.toml:7:10", "nothing is left to measure"],
    );
    let shown = changed("repetitions = 2", "seeds = [1, 2]\nrepetitions = 3");
    has(&shown, &["2 seeds for 3 repetitions"]);
    has(
        &changed("[10, 12.5]", "[10, 10]"),
        &["mine.toml:5:14", "twice"],
    );
    has(
        &mistakes(&format!("{GOOD}[timing]\nt = \"60s\"\n")),
        &["mine.toml:10:5", "T must be"],
    );
    let shown = mistakes(&format!("{GOOD}[saturation]\nlowest = 9\nhighest = 3\n"));
    has(&shown, &["mine.toml:11:11", "below where it begins"]);
}

#[test]
fn settings_are_the_profiles() {
    let campaign = Campaign::parse("m", &format!("{GOOD}[settings]\nmovies = 20\n")).unwrap();
    assert_eq!(
        campaign.profile("full-movie").unwrap().settings["movies"],
        "20"
    );
    let shown = mistakes(&format!("{GOOD}[settings]\nmovie = 20\n"));
    has(
        &shown,
        &["mine.toml:10:9", "did you mean `movies`?", "popularity"],
    );
    let shown = mistakes(&format!("{GOOD}[settings]\nmovies = \"few\"\n"));
    has(&shown, &["a whole number from 1"]);
    has(
        &mistakes(&format!("{GOOD}[settings]\nformulation = \"orchestra\"\n")),
        &["formulation"],
    );
}

#[test]
fn a_setting_concerns_the_profiles_that_have_it_and_must_concern_one() {
    let both = GOOD.replace("\"full-movie\"", "\"full-movie\", \"full-social-causal\"");
    assert_ne!(both, GOOD);
    let text = format!("{both}[settings]\nmovies = 20\nkeep = 7\n");
    let campaign = Campaign::parse("m", &text).unwrap();
    let movie = campaign.profile("full-movie").unwrap();
    let social = campaign.profile("full-social-causal").unwrap();
    assert_eq!(movie.settings["movies"], "20");
    assert!(!social.settings.contains_key("movies"));
    assert_eq!(social.settings["keep"], "7");
    let shown = mistakes(&format!("{both}[settings]\nrooms = 20\n"));
    has(&shown, &["no setting \"rooms\""]);
}

#[test]
fn a_file_that_a_setting_names_is_read_before_the_first_run() {
    let text = GOOD.replace("full-movie", "full-social");
    let with = |path: &str| mistakes(&format!("{text}[settings]\ngraph = {path:?}\n"));
    let no_graph = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let place = format!("{no_graph}:1: expected two ids");
    has(&with(no_graph), &["mine.toml:10:9", &place, "[package]"]);
    has(&with("no/such/file"), &["mine.toml:10:9", "no/such/file: "]);
}

#[test]
fn workflows_need_a_runtime_that_runs_them() {
    let text = GOOD.replace("full-movie", "full-travel-steps");
    assert!(Campaign::parse("mine.toml", &text).is_ok());
    let text = text.replace("\"beldi\"", "\"beldi\", \"serial\"");
    let told = [
        "mine.toml:3:22",
        "`serial` runs no workflows",
        "baseline, beldi",
    ];
    has(&mistakes(&text), &told);
}

#[test]
fn what_is_not_toml_is_shown_where_it_stops() {
    has(
        &mistakes("name = \"x\"\nrates = [1, 2\nduration"),
        &["mine.toml:"],
    );
    has(&mistakes("name == 1\n"), &["mine.toml:1:"]);
    has(
        &mistakes(""),
        &["the key `name` is missing", "the key `rates` is missing"],
    );
}

#[test]
fn the_schema_knows_the_names() {
    let schema = schema().to_string();
    has(
        &schema,
        &[
            "beldi",
            "full-movie",
            "aws-2020",
            "aws-us-east-1-2025-08",
            "poisson",
        ],
    );
}

#[test]
fn the_period_of_the_garbage_collector_is_a_span_or_off() {
    let timing = |text: &str| format!("{GOOD}[timing]\n{text}\n");
    let campaign = |text: &str| Campaign::parse("mine.toml", &timing(text)).unwrap();
    let period = |text: &str| campaign(text).timing.timing().gc_period;
    assert_eq!(period("gc_period = \"10min\""), Some(600 * SECOND));
    assert_eq!(period("gc_period = \"off\""), None);
    assert_eq!(period(""), Some(60 * SECOND));
    for text in ["gc_period = \"off\"", "gc_period = \"90s\""] {
        let told = campaign(text).to_toml();
        assert_eq!(
            Campaign::parse("told.toml", &told),
            Ok(campaign(text)),
            "{told}"
        );
    }
    let error = mistakes(&timing("gc_period = \"never\""));
    has(&error, &["gc_period", "never", "60s", "\"off\""]);
    let error = mistakes(&timing("gc_period = 60"));
    has(&error, &["gc_period", "a span of time", "`off`"]);
    let error = mistakes(&timing("gc_period = \"1us\""));
    has(&error, &["gc_period", "too short"]);
}

#[test]
fn with_faults_the_collector_must_wait_for_late_messages() {
    let with = |gc: &str| {
        format!("{GOOD}[faults]\ncrash_rate = 0.1\n[timing]\nt = \"200s\"\ngc_period = \"{gc}\"\n")
    };
    has(&mistakes(&with("1min")), &["T must be more than", "late"]);
    assert!(Campaign::parse("mine.toml", &with("off")).is_ok());
}

#[test]
fn the_number_of_servers_is_asked_of_the_platform() {
    let platform = |text: &str| format!("{GOOD}[platform]\n{text}\n");
    let servers = |text: &str| {
        let campaign = Campaign::parse("mine.toml", &platform(text)).unwrap();
        let told = campaign.to_toml();
        assert_eq!(
            Campaign::parse("told.toml", &told),
            Ok(campaign.clone()),
            "{told}"
        );
        campaign.servers(&campaign.profile("full-movie").unwrap())
    };
    assert_eq!(servers(""), 3);
    assert_eq!(servers("servers = 8"), 8);
    let told = |text: &str| mistakes(&platform(text));
    has(&told("servers = 0"), &["mine.toml:10:11", "at least 1"]);
    has(&told("servers = 65"), &["at most 64"]);
    has(&told("servers = \"many\""), &["a whole number", "a text"]);
    has(
        &changed("repetitions = 2", "servers = 3"),
        &["did you mean `servers` in [platform]?"],
    );
}

/// Whatever runtimes there are: profiles, settings and bounds of these files fit together.
#[test]
fn the_campaigns_for_causal_caches_fit_together() {
    let files = [
        include_str!("../../../../workloads/campaigns/causal-micro.toml"),
        include_str!("../../../../workloads/campaigns/causal-movie.toml"),
        include_str!("../../../../workloads/campaigns/causal-length.toml"),
        include_str!("../../../../workloads/campaigns/causal-servers.toml"),
        include_str!("../../../../workloads/campaigns/causal-anomalies.toml"),
        include_str!("../../../../workloads/campaigns/causal-visibility.toml"),
    ];
    let servers = files.map(|text| {
        let lines = text
            .lines()
            .map(|line| match line.starts_with("runtimes =") {
                true => "runtimes = [\"serial\"]",
                false => line,
            });
        let text = lines.collect::<Vec<_>>().join("\n");
        let campaign = Campaign::parse("causal.toml", &text);
        let campaign = campaign.unwrap_or_else(|error| panic!("{error}"));
        let profiles = campaign.profiles.iter();
        let servers = profiles.map(|name| campaign.servers(&campaign.profile(name).unwrap()));
        servers.collect::<Vec<u16>>()
    });
    assert_eq!((&servers[0], &servers[5]), (&vec![3], &vec![3]));
    assert_eq!(servers[2], [3; 8]);
    assert_eq!(servers[3], [2, 4, 8, 16]);
    // Both say it, and not the same.
    let text = files[3].replace("[platform]", "[platform]\nservers = 4");
    let lines = text
        .lines()
        .map(|line| match line.starts_with("runtimes =") {
            true => "runtimes = [\"serial\"]",
            false => line,
        });
    let shown = mistakes(&lines.collect::<Vec<_>>().join("\n"));
    has(
        &shown,
        &["is about 2 servers, not 4", "is about 16 servers"],
    );
}
