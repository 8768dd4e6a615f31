//! Names: an unknown one lists those that exist, and a runtime from outside joins them.

use triptych_registry::{RuntimeEntry, Taken, add, app, runtime, runtimes};

/// One test, because what is added stays for the whole process.
#[test]
fn names_are_known_unknown_or_added() {
    let known: Vec<&str> = runtimes().iter().map(|entry| entry.name).collect();
    let error = runtime("beldy").err().unwrap().to_string();
    let wanted = format!(
        "there is no runtime \"beldy\"; there are {}",
        known.join(", ")
    );
    assert_eq!(error, wanted);
    let error = app("movies").err().unwrap().to_string();
    assert!(
        error.starts_with("there is no app \"movies\"; there are movie"),
        "{error}"
    );

    let mine = RuntimeEntry {
        name: "mine",
        about: "from outside",
        declares: triptych_template::DECLARES,
        workflows: false,
        deploy: triptych_template::deploy,
    };
    assert_eq!(add(mine), Ok(()));
    assert_eq!(runtime("mine").unwrap().about, "from outside");
    assert_eq!(runtimes().len(), known.len() + 1);
    assert_eq!(add(mine), Err(Taken("mine")));
    assert_eq!(
        add(RuntimeEntry {
            name: "beldi",
            ..mine
        }),
        Err(Taken("beldi"))
    );
}
