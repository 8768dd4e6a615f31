//! Who may know whom (design §2): the arrows between the workspace's crates, checked on what cargo
//! itself says about them. It stands with the command because that is the top of the house.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who may know whom, as normal dependencies. Nothing that is not in here is allowed.
///
/// A crate's layer is its folder's last name; the folders in `apps` are all `app`, and those in
/// `runtimes` that have no row of their own are all `runtime`, so that a new runtime or app needs
/// no line here.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("world", &["model"]),
    ("store", &["world", "model"]),
    ("faas", &["world", "model"]),
    ("api", &["model"]),
    ("store-dynamodb", &["store", "world", "model"]),
    ("faas-lambda", &["faas", "world", "model"]),
    ("nodes", &["world", "model"]),
    ("log", &["nodes", "world", "model"]),
    ("mesh", &["nodes", "api", "store", "world", "model"]),
    ("site", &["api", "faas", "store", "world"]),
    (
        "cached",
        &["mesh", "site", "api", "faas", "store", "world", "model"],
    ),
    // What caches in front of a database have in common.
    (
        "refreshed",
        &[
            "cached", "mesh", "nodes", "site", "api", "faas", "store", "world", "model",
        ],
    ),
    (
        "runtime",
        &[
            "refreshed",
            "cached",
            "mesh",
            "log",
            "nodes",
            "site",
            "api",
            "faas",
            "store",
            "world",
            "model",
        ],
    ),
    ("app", &["api"]),
    ("workloads", &["api", "model"]),
    (
        "registry",
        &[
            "runtime",
            "refreshed",
            "cached",
            "app",
            "workloads",
            "log",
            "site",
            "api",
            "faas",
            "store",
            "world",
            "model",
        ],
    ),
    ("results", &["model"]),
    ("plots", &["results"]),
    ("oracle", &["api", "results", "model"]),
    (
        "conformance",
        &["site", "api", "faas", "store", "world", "model"],
    ),
    (
        "load",
        &[
            "registry",
            "oracle",
            "results",
            "workloads",
            "api",
            "faas",
            "store",
            "world",
            "model",
        ],
    ),
    (
        "cluster",
        &["load", "mesh", "log", "nodes", "api", "world", "model"],
    ),
    (
        "cli",
        &[
            "cluster",
            "load",
            "conformance",
            "registry",
            "oracle",
            "results",
            "plots",
            "workloads",
            "api",
            "faas",
            "store",
            "world",
            "model",
        ],
    ),
    (
        "bootstrap",
        &[
            "registry",
            "store-dynamodb",
            "faas-lambda",
            "workloads",
            "api",
            "faas",
            "store",
            "world",
            "model",
        ],
    ),
];

/// Layers that bring the AWS crates along: not even a test may know them, except these layers'.
const ADAPTERS: &[&str] = &["store-dynamodb", "faas-lambda"];
const KNOWS_ADAPTERS: &[&str] = &["bootstrap"];

/// Crates from outside that stay where they are: by the beginning of their names, who may know them
/// at all, and who in tests alone. Most take minutes to build or would bloat the function binary.
struct Kept {
    crates: &'static [&'static str],
    by: &'static [&'static str],
    by_tests_of: &'static [&'static str],
}

const KEPT: &[Kept] = &[
    Kept {
        crates: &["aws-"],
        by: ADAPTERS,
        by_tests_of: &["bootstrap"],
    },
    Kept {
        crates: &["lambda_runtime"],
        by: &["bootstrap"],
        by_tests_of: &[],
    },
    Kept {
        crates: &["goose"],
        by: &[],
        by_tests_of: &["bootstrap"],
    },
    Kept {
        crates: &["dynoxide"],
        by: &[],
        by_tests_of: &["store", "store-dynamodb", "bootstrap"],
    },
    Kept {
        crates: &["fjall"],
        by: &["nodes"],
        by_tests_of: &[],
    },
    Kept {
        crates: &["plotters"],
        by: &["plots"],
        by_tests_of: &[],
    },
];

const LICENCE: &str = "MIT OR Apache-2.0";

/// What may lie at the top of the repository, besides files whose name begins with a dot.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "runtimes",
    "apps",
    "workloads",
    "harness",
    "results",
    "plots",
];
/// What builds and runs leave there, outside version control.
const LEFT_BEHIND: &[&str] = &["target", "triptych-out"];

/// A crate of the workspace.
struct Package {
    name: String,
    layer: String,
    licence: String,
    /// Name, and whether only tests and benches need it.
    dependencies: Vec<(String, bool)>,
}

/// The text at a path of member names.
fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

fn packages(metadata: &Value) -> Vec<Package> {
    let root = Path::new(text(metadata, "workspace_root"));
    let packages = metadata["packages"].as_array();
    let package = |package: &Value| Package {
        name: text(package, "name").to_owned(),
        layer: layer(root, Path::new(text(package, "manifest_path"))),
        licence: text(package, "license").to_owned(),
        dependencies: package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|needs| (text(needs, "name").to_owned(), text(needs, "kind") == "dev"))
            .collect(),
    };
    packages.into_iter().flatten().map(package).collect()
}

fn layer(root: &Path, manifest: &Path) -> String {
    let folder = manifest
        .parent()
        .and_then(|folder| folder.strip_prefix(root).ok());
    let mut parts = folder
        .into_iter()
        .flatten()
        .map(|part| part.to_string_lossy());
    match (parts.next().as_deref(), parts.next()) {
        (Some("apps"), Some(_)) => "app".to_owned(),
        (Some("runtimes"), Some(name)) if allowed(&name).is_none() => "runtime".to_owned(),
        (_, Some(name)) => name.into_owned(),
        (top, None) => top.unwrap_or_default().to_owned(),
    }
}

fn allowed(layer: &str) -> Option<&'static [&'static str]> {
    let row = ARROWS.iter().find(|(from, _)| *from == layer);
    row.map(|(_, to)| *to)
}

/// Everything that is wrong with the crates, one sentence each.
fn faults(packages: &[Package]) -> Vec<String> {
    let layers: BTreeMap<&str, &str> = packages
        .iter()
        .map(|package| (&*package.name, &*package.layer))
        .collect();
    let mut faults = Vec::new();
    for package in packages {
        let (name, layer) = (&package.name, &*package.layer);
        if !name.starts_with("triptych-") {
            faults.push(format!("the crate {name} must be named triptych-…"));
        }
        if package.licence != LICENCE {
            faults.push(format!("the crate {name} must be licensed {LICENCE}"));
        }
        let Some(allowed) = allowed(layer) else {
            faults.push(format!(
                "the crate {name}: no row of ARROWS is about the layer {layer}"
            ));
            continue;
        };
        for (needed, in_tests) in &package.dependencies {
            let fault = match layers.get(&**needed) {
                Some(to) if *in_tests => hidden_adapter(layer, to),
                Some(to) => (!allowed.contains(to))
                    .then(|| format!("{layer} may know [{}], never {to}", allowed.join(", "))),
                None => kept_elsewhere(layer, needed, *in_tests),
            };
            let arrow = if *in_tests {
                "─(tests)─▶"
            } else {
                "──▶"
            };
            faults.extend(fault.map(|fault| format!("{name} {arrow} {needed}: {fault}")));
        }
    }
    faults
}

fn hidden_adapter(layer: &str, to: &str) -> Option<String> {
    (ADAPTERS.contains(&to) && !KNOWS_ADAPTERS.contains(&layer)).then(|| {
        format!(
            "even in tests, only [{}] may know {to}",
            KNOWS_ADAPTERS.join(", ")
        )
    })
}

fn kept_elsewhere(layer: &str, needed: &str, in_tests: bool) -> Option<String> {
    let kept = KEPT
        .iter()
        .find(|kept| kept.crates.iter().any(|start| needed.starts_with(start)))?;
    let fine = kept.by.contains(&layer) || in_tests && kept.by_tests_of.contains(&layer);
    (!fine).then(|| {
        let (by, tests) = (kept.by.join(", "), kept.by_tests_of.join(", "));
        format!("only [{by}] may know it, and the tests of [{tests}]")
    })
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed: {errors}");
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

#[test]
fn no_arrow_points_the_wrong_way() {
    let packages = packages(&metadata());
    assert!(
        packages.len() >= 10,
        "cargo metadata names only {} crates",
        packages.len()
    );
    let faults = faults(&packages);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_top_of_the_repository_holds_what_the_design_says_and_no_more() {
    let metadata = metadata();
    let root = PathBuf::from(text(&metadata, "workspace_root"));
    let target = PathBuf::from(text(&metadata, "target_directory"));
    let mut strangers = Vec::new();
    for entry in root.read_dir().expect("the workspace has a root") {
        let entry = entry.expect("it can be listed");
        let name = entry.file_name().to_string_lossy().into_owned();
        let known = TOP.contains(&&*name) || LEFT_BEHIND.contains(&&*name);
        if !known && !name.starts_with('.') && entry.path() != target {
            strangers.push(name);
        }
    }
    assert!(
        strangers.is_empty(),
        "{strangers:?} should not lie at the top of the repository"
    );
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(root.join(licence).is_file(), "{licence} is missing");
    }
}

/// The README calls the template short enough to be read in one sitting: all lines of it, comments
/// and blank ones included.
const TEMPLATE_LINES: usize = 300;

#[test]
fn the_template_stays_short_enough_to_be_read_and_copied() {
    let metadata = metadata();
    let sources = Path::new(text(&metadata, "workspace_root")).join("runtimes/template/src");
    let mut lines = 0;
    for entry in sources.read_dir().expect("the template has sources") {
        let path = entry.expect("they can be listed").path();
        assert!(path.is_file(), "{path:?}: its lines would not be counted");
        let source = std::fs::read_to_string(&path).expect("a source is text");
        lines += source.lines().count();
    }
    assert!(
        (1..TEMPLATE_LINES).contains(&lines),
        "the template has {lines} lines; it should have less than {TEMPLATE_LINES}"
    );
}

/// A needed crate, and the kind of the dependency as cargo says it.
type Need<'a> = (&'a str, Option<&'a str>);
/// A crate's folder and what it needs.
type Plan<'a> = (&'a str, &'a [Need<'a>]);

/// Crates in a house of their own.
fn house(crates: &[Plan<'_>]) -> Vec<Package> {
    let package = |(folder, needs): &Plan<'_>| {
        let needs = needs
            .iter()
            .map(|(name, kind)| json!({"name": name, "kind": kind}));
        let name = folder.rsplit('/').next().unwrap_or_default();
        json!({
            "name": format!("triptych-{name}"),
            "license": LICENCE,
            "manifest_path": format!("/house/{folder}/Cargo.toml"),
            "dependencies": needs.collect::<Vec<_>>(),
        })
    };
    packages(&json!({
        "workspace_root": "/house",
        "packages": crates.iter().map(package).collect::<Vec<_>>(),
    }))
}

/// The crates that the planted arrows of the tests below point at.
const GROUND: &[Plan<'_>] = &[
    ("runtimes/model", &[("serde", None)]),
    ("runtimes/world", &[("triptych-model", None)]),
    (
        "runtimes/store",
        &[("triptych-world", None), ("dynoxide-rs", Some("dev"))],
    ),
    ("runtimes/faas", &[("triptych-model", None)]),
    (
        "runtimes/store-dynamodb",
        &[("triptych-store", None), ("aws-sdk-dynamodb", None)],
    ),
    ("runtimes/api", &[("triptych-model", None)]),
    (
        "runtimes/boki",
        &[("triptych-api", None), ("triptych-faas", None)],
    ),
    (
        "apps/travel",
        &[("triptych-api", None), ("triptych-boki", Some("dev"))],
    ),
    (
        "harness/registry",
        &[("triptych-boki", None), ("triptych-travel", None)],
    ),
    ("results", &[("triptych-model", None)]),
    ("plots", &[("triptych-results", None), ("plotters", None)]),
    (
        "harness/bootstrap",
        &[("lambda_runtime", None), ("goose", Some("dev"))],
    ),
];

#[test]
fn the_checker_accepts_a_runtime_and_an_app_that_it_has_never_heard_of() {
    assert_eq!(faults(&house(GROUND)), [""; 0]);
}

#[test]
fn the_checker_rejects_planted_arrows_and_says_which() {
    let planted: &[(&str, &str, Option<&str>, &str)] = &[
        (
            "runtimes/store",
            "triptych-faas",
            None,
            "store may know [world, model], never faas",
        ),
        (
            "runtimes/world",
            "triptych-store",
            None,
            "world may know [model], never store",
        ),
        ("runtimes/log-less", "triptych-travel", None, "never app"),
        ("runtimes/log-less", "triptych-boki", None, "never runtime"),
        (
            "apps/social",
            "triptych-store",
            None,
            "app may know [api], never store",
        ),
        (
            "apps/social",
            "triptych-model",
            None,
            "app may know [api], never model",
        ),
        ("harness/cli", "triptych-boki", None, "never runtime"),
        (
            "plots",
            "triptych-registry",
            None,
            "plots may know [results], never registry",
        ),
        (
            "results",
            "triptych-plots",
            Some("build"),
            "results may know [model], never plots",
        ),
        (
            "harness/load",
            "triptych-store-dynamodb",
            Some("dev"),
            "even in tests",
        ),
        (
            "harness/load",
            "aws-config",
            Some("dev"),
            "only [store-dynamodb, faas-lambda]",
        ),
        (
            "harness/bootstrap",
            "goose",
            None,
            "only [] may know it, and the tests of [bootstrap]",
        ),
        ("harness/load", "dynoxide-rs", None, "only []"),
        ("harness/cli", "plotters", None, "only [plots] may know it"),
        (
            "harness/shed",
            "serde",
            None,
            "no row of ARROWS is about the layer shed",
        ),
    ];
    for (folder, needed, kind, sentence) in planted {
        let needs: &[Need<'_>] = &[(*needed, *kind)];
        let others = GROUND.iter().filter(|(other, _)| other != folder).copied();
        let crates: Vec<_> = others.chain([(*folder, needs)]).collect();
        let found = faults(&house(&crates));
        assert_eq!(found.len(), 1, "{folder} on {needed}: {found:?}");
        assert!(
            found[0].contains(sentence),
            "{} does not say {sentence:?}",
            found[0]
        );
    }
}

#[test]
fn the_checker_rejects_foreign_names_and_licences() {
    let mut packages = house(GROUND);
    packages[0].name = "model".to_owned();
    packages[1].licence = "MIT".to_owned();
    let found = faults(&packages);
    assert!(
        found.contains(&"the crate model must be named triptych-…".to_owned()),
        "{found:?}"
    );
    let licence = "the crate triptych-world must be licensed MIT OR Apache-2.0".to_owned();
    assert!(found.contains(&licence), "{found:?}");
}
