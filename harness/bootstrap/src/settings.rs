//! What the environment says: which function of which app on which runtime, and where its store and
//! its platform are.
//!
//! | variable | meaning |
//! |---|---|
//! | `TRIPTYCH_APP` | the app |
//! | `TRIPTYCH_RUNTIME` | the runtime |
//! | `TRIPTYCH_PROFILE` | the profile, one of this app's; the app's settings come from it |
//! | `TRIPTYCH_FUNCTION` | the function to serve |
//! | `TRIPTYCH_FUNCTION_PREFIX` | what the platform puts before functions' names; nothing if unset |
//! | `TRIPTYCH_DYNAMODB_ENDPOINT` | the store's URL; AWS's own if unset |
//! | `TRIPTYCH_LAMBDA_ENDPOINT` | the platform's URL; AWS's own if unset |
//!
//! Credentials are where every AWS program looks for them; for an endpoint of one's own they do not
//! matter. Lambda sets the rest.

use std::rc::Rc;
use thiserror::Error;
use triptych_api::{App, Retries};
use triptych_registry::RuntimeEntry;

/// Which function to serve.
pub(crate) const FUNCTION: &str = "TRIPTYCH_FUNCTION";

/// What Lambda tells each process; without most of it `lambda_runtime` would panic.
const LAMBDA: [&str; 5] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    LAMBDA_MEMORY,
    LAMBDA_REGION,
];
const LAMBDA_MEMORY: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";
const LAMBDA_REGION: &str = "AWS_REGION";

/// Why the environment cannot be followed.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    /// A variable that names one of several things names none of them.
    #[error("{variable} must be one of {}, but is {}", .allowed.join(", "), found(.value.as_deref()))]
    Choice {
        /// The variable.
        variable: &'static str,
        /// What it may be.
        allowed: Vec<String>,
        /// What it is.
        value: Option<String>,
    },
    /// The app refuses the profile's settings.
    #[error("the app cannot be built as the profile says: {0}")]
    App(String),
    /// The process was started by something else than Lambda.
    #[error("{0} must be set, as Lambda does; this program serves Lambda alone")]
    NotLambda(&'static str),
    /// Lambda's memory size is no number.
    #[error("{LAMBDA_MEMORY} must be a number, but is {0:?}")]
    Memory(String),
}

fn found(value: Option<&str>) -> String {
    value.map_or("not set".to_owned(), |value| format!("{value:?}"))
}

/// See the module documentation.
pub(crate) struct Settings {
    pub(crate) app: Rc<App>,
    pub(crate) runtime: RuntimeEntry,
    pub(crate) retries: Retries,
    /// Only the deployed runtime knows its functions, so this may still name none.
    pub(crate) function: Option<String>,
    pub(crate) region: String,
    pub(crate) function_prefix: String,
    pub(crate) dynamodb_endpoint: Option<String>,
    pub(crate) lambda_endpoint: Option<String>,
}

impl Settings {
    /// Reads the environment through `get`.
    pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let apps = triptych_registry::apps().into_iter();
        let app = choose(
            "TRIPTYCH_APP",
            get("TRIPTYCH_APP"),
            apps.map(|it| (it.name, it)),
        )?;
        let runtimes = triptych_registry::runtimes().into_iter();
        let runtimes = runtimes.map(|it| (it.name, it));
        let runtime = choose("TRIPTYCH_RUNTIME", get("TRIPTYCH_RUNTIME"), runtimes)?;
        let profiles = triptych_workloads::profiles().into_iter();
        let profiles = profiles
            .filter(|it| it.app == app.name)
            .map(|it| (it.name.clone(), it));
        let profile = choose("TRIPTYCH_PROFILE", get("TRIPTYCH_PROFILE"), profiles)?;
        for variable in LAMBDA {
            let value = get(variable).ok_or(SettingsError::NotLambda(variable))?;
            if variable == LAMBDA_MEMORY && value.parse::<i32>().is_err() {
                return Err(SettingsError::Memory(value));
            }
        }
        Ok(Settings {
            app: Rc::new((app.build)(&profile).map_err(SettingsError::App)?),
            runtime,
            retries: Retries(profile.retries),
            function: get(FUNCTION),
            region: get(LAMBDA_REGION).unwrap_or_default(),
            function_prefix: get("TRIPTYCH_FUNCTION_PREFIX").unwrap_or_default(),
            dynamodb_endpoint: get("TRIPTYCH_DYNAMODB_ENDPOINT"),
            lambda_endpoint: get("TRIPTYCH_LAMBDA_ENDPOINT"),
        })
    }
}

/// The entry that a variable's value names.
pub(crate) fn choose<N: AsRef<str>, T>(
    variable: &'static str,
    value: Option<String>,
    entries: impl IntoIterator<Item = (N, T)>,
) -> Result<T, SettingsError> {
    let mut allowed = Vec::new();
    for (name, entry) in entries {
        if value.as_deref() == Some(name.as_ref()) {
            return Ok(entry);
        }
        allowed.push(name.as_ref().to_owned());
    }
    Err(SettingsError::Choice {
        variable,
        allowed,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: [(&str, &str); 9] = [
        ("TRIPTYCH_APP", "movie"),
        ("TRIPTYCH_RUNTIME", "beldi"),
        ("TRIPTYCH_PROFILE", "full-movie"),
        ("TRIPTYCH_FUNCTION", "User"),
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("AWS_LAMBDA_FUNCTION_NAME", "User"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_REGION", "eu-central-1"),
    ];

    /// Reads the right settings with one variable set to something else.
    fn read(changed: &str, to: Option<&str>) -> Result<Settings, SettingsError> {
        Settings::read(|variable| {
            if variable == changed {
                return to.map(str::to_owned);
            }
            let right = RIGHT.iter().find(|(name, _)| *name == variable);
            right.map(|(_, value)| (*value).to_owned())
        })
    }

    fn refusal(changed: &str, to: Option<&str>) -> String {
        read(changed, to).err().expect("it is refused").to_string()
    }

    #[test]
    fn the_environment_names_app_runtime_and_profile() {
        let settings = read("TRIPTYCH_LAMBDA_ENDPOINT", Some("http://127.0.0.1:9001"));
        let settings = settings.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(settings.runtime.name, "beldi");
        assert_eq!(settings.app.name, "movie");
        assert_eq!(
            settings.lambda_endpoint.as_deref(),
            Some("http://127.0.0.1:9001")
        );
        assert_eq!(settings.dynamodb_endpoint, None);
    }

    #[test]
    fn a_wrong_or_missing_name_is_answered_with_the_allowed_ones() {
        let wrong = refusal("TRIPTYCH_RUNTIME", Some("bokki"));
        assert!(
            wrong.starts_with("TRIPTYCH_RUNTIME must be one of baseline, beldi"),
            "{wrong}"
        );
        assert!(wrong.ends_with(r#"but is "bokki""#), "{wrong}");
        let missing = refusal("TRIPTYCH_APP", None);
        let apps: Vec<&str> = triptych_registry::apps().iter().map(|it| it.name).collect();
        let told = format!("one of {}, but is not set", apps.join(", "));
        assert!(missing.ends_with(&told), "{missing}");
        let wrong = refusal("TRIPTYCH_PROFILE", Some("full-travel"));
        assert!(wrong.contains("full-movie, "), "{wrong}");
    }

    #[test]
    fn a_process_that_lambda_did_not_start_says_so() {
        for variable in LAMBDA {
            assert!(refusal(variable, None).starts_with(variable));
        }
        assert!(refusal(LAMBDA_MEMORY, Some("much")).contains("number"));
    }
}
