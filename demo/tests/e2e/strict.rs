//! Trials whose server or browser is missing.

use libtest_mimic::Trial;

/// A trial that is shown as ignored, with the reason; in strict mode it fails.
pub(crate) fn missing(name: &str, why: String) -> Trial {
    let strict = ["CI", "CONFORMANCE_STRICT"].iter().any(|name| {
        std::env::var(name).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
    });
    if strict {
        Trial::test(name, move || Err(why.into()))
    } else {
        Trial::test(format!("{name} (skipped: {why})"), || Ok(())).with_ignored_flag(true)
    }
}
