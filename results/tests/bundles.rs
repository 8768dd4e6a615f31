//! Bundles and campaigns on disk: what is written comes back, what is damaged is named.

mod fixture;

use fixture::{Plan, campaign, run};
use std::fs;
use std::path::{Path, PathBuf};
use triptych_results::bundle::{DETERMINISTIC, DIGESTS, ENVIRONMENT};
use triptych_results::model::{Outcome, Status, Verdict};
use triptych_results::{
    BundleError, Campaign, RunBundle, RunState, Saturation, Tried, VerifyReport, summarise, verify,
};

fn short() -> Plan {
    Plan {
        rate: 60.0,
        seconds: 4,
        faults: true,
        ..Plan::default()
    }
}

fn bundle(dir: &Path) -> PathBuf {
    RunBundle::write(dir, &run(&short()).data()).unwrap()
}

fn files() -> Vec<&'static str> {
    DETERMINISTIC
        .into_iter()
        .chain([DIGESTS, ENVIRONMENT])
        .collect()
}

/// Whether the report names exactly this file.
fn names(report: &VerifyReport, file: &Path) -> bool {
    !report.problems.is_empty()
        && report
            .problems
            .iter()
            .all(|problem| problem.file() == Some(file))
}

#[test]
fn every_part_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(&short());
    let dir = RunBundle::write(folder.path(), &run.data()).unwrap();
    let bundle = RunBundle::open(&dir).unwrap();
    assert_eq!(bundle.manifest().unwrap(), run.manifest);
    assert_eq!(bundle.work().unwrap(), run.work);
    assert_eq!(bundle.state().unwrap(), run.state);
    assert_eq!(bundle.verdict().unwrap(), run.verdict);
    assert_eq!(bundle.environment().unwrap(), run.environment);
    assert_eq!(bundle.read_ops().unwrap(), run.ops);
    let again = summarise(&run.manifest, &run.ops, &run.work, &run.verdict).unwrap();
    assert_eq!(bundle.summary().unwrap(), again);
    let logged: u64 = bundle
        .latency_log()
        .unwrap()
        .iter()
        .map(|e| e.histogram.len())
        .sum();
    assert_eq!(logged, run.ops.len() as u64);
}

#[test]
fn two_equal_runs_have_equal_files() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (bundle(a.path()).join("x"), bundle(b.path()).join("x"));
    for file in DETERMINISTIC.into_iter().chain([DIGESTS]) {
        let read = |dir: &Path| fs::read(dir.with_file_name(file)).unwrap();
        assert_eq!(read(&a), read(&b), "{file}");
    }
}

#[test]
fn a_sound_bundle_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let dir = bundle(folder.path());
    let verdict = fixture::verdict(Status::Valid);
    let report = verify(&dir, Some(&|_, _, _, _| verdict.clone())).unwrap();
    assert!(report.is_ok(), "{report}");
    assert!(
        report
            .checked
            .iter()
            .any(|what| what.contains("values recomputed")),
        "{report}"
    );
    assert!(
        report
            .checked
            .iter()
            .any(|what| what.contains("verdict.json")),
        "{report}"
    );
}

#[test]
fn a_flipped_byte_is_found_in_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let dir = bundle(folder.path());
    for name in files() {
        let file = dir.join(name);
        let sound = fs::read(&file).unwrap();
        for position in [0, sound.len() / 3, sound.len() / 2, sound.len() - 1] {
            let mut bytes = sound.clone();
            bytes[position] ^= 0x01;
            fs::write(&file, &bytes).unwrap();
            let report = verify(&dir, None).unwrap();
            assert!(names(&report, &file), "{name} at {position}: {report}");
        }
        fs::write(&file, &sound).unwrap();
    }
    assert!(verify(&dir, None).unwrap().is_ok());
}

#[test]
fn a_cut_or_absent_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let dir = bundle(folder.path());
    for name in files() {
        let file = dir.join(name);
        let sound = fs::read(&file).unwrap();
        fs::write(&file, &sound[..sound.len() - 5]).unwrap();
        assert!(names(&verify(&dir, None).unwrap(), &file), "{name} cut");
        fs::remove_file(&file).unwrap();
        let report = verify(&dir, None).unwrap();
        assert!(names(&report, &file), "{name} absent: {report}");
        assert!(
            matches!(report.problems[0], BundleError::Missing { .. }),
            "{name}: {report}"
        );
        fs::write(&file, &sound).unwrap();
    }
    fs::write(dir.join("notes.txt"), "hello").unwrap();
    assert!(names(&verify(&dir, None).unwrap(), &dir.join("notes.txt")));
    assert!(matches!(
        verify(dir.join("none"), None),
        Err(BundleError::Missing { .. })
    ));
}

/// Replaces a text in a file and makes the digests fit again, as a forger would.
fn forge(dir: &Path, name: &str, from: &str, to: &str) {
    let file = dir.join(name);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{name} has no `{from}`");
    fs::write(&file, text.replacen(from, to, 1)).unwrap();
    let digests = dir.join(DIGESTS);
    let mut list: serde_json::Value = serde_json::from_slice(&fs::read(&digests).unwrap()).unwrap();
    list["content"]["files"][name] = sha256(&fs::read(&file).unwrap()).into();
    list["check"] = sha256(&serde_json::to_vec(&list["content"]).unwrap()).into();
    // The order of fields as the bundle writes them.
    let (check, content) = (&list["check"], &list["content"]);
    let mut text = String::from("{\n  \"check\": ");
    text.push_str(&check.to_string());
    text.push_str(",\n  \"content\": {\n    \"schema\": 1,\n    \"files\": ");
    let files = serde_json::to_string_pretty(&content["files"]).unwrap();
    text.push_str(&files.replace('\n', "\n    "));
    text.push_str("\n  }\n}\n");
    let compact = format!(
        "{{\"schema\":1,\"files\":{}}}",
        serde_json::to_string(&content["files"]).unwrap()
    );
    let text = text.replacen(check.as_str().unwrap(), &sha256(compact.as_bytes()), 1);
    fs::write(digests, text).unwrap();
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn a_summary_edited_together_with_its_digest_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let dir = bundle(folder.path());
    let summary = RunBundle::open(&dir).unwrap().summary().unwrap();
    let p50 = summary.overall.response.p50.unwrap().value_ns;
    forge(
        &dir,
        "summary.json",
        &p50.to_string(),
        &(p50 / 2).to_string(),
    );
    // The forgery is good: the bundle opens and reads.
    RunBundle::open(&dir).unwrap().summary().unwrap();
    let report = verify(&dir, None).unwrap();
    assert!(names(&report, &dir.join("summary.json")), "{report}");
    assert!(
        report.to_string().contains("overall.response.p50.value_ns"),
        "{report}"
    );
}

#[test]
fn work_and_manifest_edited_with_their_digests_contradict_the_summary() {
    let folder = tempfile::tempdir().unwrap();
    let dir = bundle(folder.path());
    let work = RunBundle::open(&dir).unwrap().work().unwrap();
    let more = format!("\"write_units\": {}", work.write_units);
    forge(&dir, "work.json", &more, "\"write_units\": 1");
    assert!(verify(&dir, None).unwrap().to_string().contains("cost"));

    let folder = tempfile::tempdir().unwrap();
    let dir = bundle(folder.path());
    forge(
        &dir,
        "manifest.json",
        "\"warmup_ns\": 2000000000",
        "\"warmup_ns\": 1000000000",
    );
    let report = verify(&dir, None).unwrap();
    assert!(names(&report, &dir.join("summary.json")), "{report}");
}

#[test]
fn a_verdict_is_judged_again() {
    let folder = tempfile::tempdir().unwrap();
    let dir = bundle(folder.path());
    let report = verify(&dir, Some(&|_, _, _, _| Verdict::default())).unwrap();
    assert!(names(&report, &dir.join("verdict.json")), "{report}");
}

#[test]
fn another_schema_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let dir = bundle(folder.path());
    forge(&dir, "manifest.json", "\"schema\": 1", "\"schema\": 2");
    let error = RunBundle::open(&dir).unwrap().manifest().unwrap_err();
    assert!(
        matches!(error, BundleError::Schema { found: 2, .. }),
        "{error}"
    );
}

#[test]
fn contradictions_are_refused_before_anything_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let mut lossy = run(&short());
    lossy.ops.pop();
    let error = RunBundle::write(folder.path(), &lossy.data()).unwrap_err();
    assert!(error.to_string().contains("accounts for"), "{error}");
    let mut backwards = run(&short());
    backwards.ops[3].sent_ns = 0;
    let error = RunBundle::write(folder.path(), &backwards.data()).unwrap_err();
    assert!(error.to_string().contains("request 3"), "{error}");
    let mut escape = run(&short());
    escape.manifest.run_id = "../../x".into();
    assert!(RunBundle::write(folder.path(), &escape.data()).is_err());
    // What the failed attempts left is in the way of nobody.
    let dir = bundle(folder.path());
    assert!(verify(&dir, None).unwrap().is_ok());
    let again = RunBundle::write(folder.path(), &run(&short()).data()).unwrap_err();
    assert!(matches!(again, BundleError::Exists { .. }), "{again}");
}

#[test]
fn requests_without_an_answer_are_accounted_for() {
    let mut run = run(&Plan {
        faults: false,
        ..short()
    });
    let last = run.ops.len() - 1;
    run.ops[last].outcome = Outcome::InFlight;
    run.ops[last - 1].outcome = Outcome::Shed;
    run.ops[last - 1].sent_ns = 0;
    let summary = summarise(&run.manifest, &run.ops, &run.work, &run.verdict).unwrap();
    let counts = summary.overall.all;
    assert_eq!(counts.intended, run.ops.len() as u64);
    assert_eq!((counts.in_flight, counts.shed), (1, 1));
    assert!(
        summary.flags.iter().any(|flag| flag.contains("shed")),
        "{:?}",
        summary.flags
    );
}

#[test]
fn a_campaign_knows_what_is_missing_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let plans: Vec<Plan> = (0..3)
        .map(|repetition| Plan {
            repetition,
            ..short()
        })
        .collect();
    let written = campaign(folder.path(), &plans, &[1]);
    let opened = Campaign::open(folder.path()).unwrap();
    assert_eq!(opened.manifest(), written.manifest());
    assert_eq!(opened.complete().count(), 2);
    let missing: Vec<_> = opened.missing().map(|run| run.id.clone()).collect();
    assert_eq!(missing, [fixture::id(&plans[1])]);
    assert_eq!(opened.state(&missing[0]), RunState::Missing);
    fs::create_dir(opened.runs_dir().join(format!("{}.partial", missing[0]))).unwrap();
    assert_eq!(opened.state(&missing[0]), RunState::Partial);
    opened.write_run(&run(&plans[1]).data()).unwrap();
    assert_eq!(opened.missing().count(), 0);
    assert!(opened.run(&missing[0]).unwrap().summary().is_ok());
    assert!(matches!(
        opened.run("other"),
        Err(BundleError::UnknownRun { .. })
    ));

    let mut other = written.manifest().clone();
    other.config.push('#');
    assert!(matches!(
        Campaign::create(folder.path(), &other),
        Err(BundleError::Exists { .. })
    ));
    assert!(Campaign::create(folder.path(), written.manifest()).is_ok());
}

#[test]
fn a_saturation_search_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let campaign = campaign(folder.path(), &[], &[]);
    assert_eq!(campaign.saturation().unwrap(), []);
    let found = [Saturation {
        runtime: "beldi".into(),
        profile: "full-movie".into(),
        bound_ms: 500.0,
        highest_rate: Some(800.0),
        tried: vec![Tried {
            rate: 900.0,
            p99_ms: Some(1_900.5),
            ok: false,
        }],
    }];
    campaign.write_saturation(&found).unwrap();
    assert_eq!(campaign.saturation().unwrap(), found);
    let file = folder.path().join("saturation.json");
    let text = fs::read_to_string(&file).unwrap().replace("800.0", "880.0");
    fs::write(&file, text).unwrap();
    assert!(matches!(
        campaign.saturation(),
        Err(BundleError::Damaged { .. })
    ));
}
