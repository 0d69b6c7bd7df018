//! Whether a host has what a plugin was built for, as its manifest says.

use super::{Host, Reason};
use plugin_api::Manifest;
use plugin_api::manifest::API_VERSION;

/// Whether `host` has what the plugin of this `manifest` was built for.
pub(super) fn check(manifest: &Manifest, host: &Host) -> Result<(), Reason> {
    if manifest.panic != "unwind" {
        return Err(Reason::Panic(manifest.panic.clone()));
    }
    if api_line(&manifest.api) != api_line(API_VERSION) {
        return Err(Reason::Api { found: manifest.api.clone() });
    }
    let minor = |version: &str| version.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    if minor(&manifest.libtorch) != minor(host.libtorch) {
        return Err(Reason::Libtorch { found: manifest.libtorch.clone(), expected: host.libtorch });
    }
    match manifest.requires.iter().find(|extension| !host.extensions.contains(&extension.as_str())) {
        Some(extension) => Err(Reason::Requires { needed: extension.clone(), known: host.extensions }),
        None => Ok(()),
    }
}

/// Versions of one line are compatible: the same major, and before 1.0 the same minor.
fn api_line(version: &str) -> Vec<&str> {
    let parts = if version.starts_with("0.") { 2 } else { 1 };
    version.split('.').take(parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBTORCH: &str = "2.13.0";

    /// What the gate says of a plugin whose manifest would pass but for this change.
    fn verdict(change: impl FnOnce(&mut Manifest)) -> String {
        let json = serde_json::json!({"id": "x", "version": "1.0.0", "api": API_VERSION, "libtorch": LIBTORCH, "panic": "unwind"});
        let mut manifest = serde_json::from_value(json).unwrap();
        change(&mut manifest);
        let host = Host { libtorch: LIBTORCH, extensions: &["trainer.target-transform/1"], folder: None };
        check(&manifest, &host).map_or_else(|reason| reason.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn lines_of_compatible_versions() {
        assert_eq!(api_line("0.1.7"), api_line("0.1.0"));
        assert_ne!(api_line("0.2.0"), api_line("0.1.0"));
        assert_eq!(api_line("1.4.0"), api_line("1.0.2"));
        assert_ne!(api_line("2.0.0"), api_line("1.0.0"));
    }

    #[test]
    fn a_plugin_for_another_patch_of_libtorch_passes_and_for_another_minor_is_refused() {
        let built_for = |version: &str| verdict(|manifest| manifest.libtorch = version.to_owned());
        for same in [LIBTORCH, "2.13.1", "2.13.17+cpu"] {
            assert_eq!(built_for(same), "fine", "{same}");
        }
        // 2.130 begins with the same letters as 2.13; "unknown" is what trainer_plugin.h writes without libtorch's headers.
        for other in ["2.14.0", "3.13.0", "2.130.0", "2", "unknown", ""] {
            let refused = built_for(other);
            assert!(refused.contains(&format!("is built for libtorch {other}, this host runs {LIBTORCH}")), "{other}: {refused}");
        }
    }

    #[test]
    fn any_compiler_and_any_minor_of_the_interface_pass() {
        for compiler in ["rustc 1.0.0 (a59de37e9 2015-05-13)", "4.8", "99.0", ""] {
            assert_eq!(verdict(|manifest| manifest.compiler = compiler.to_owned()), "fine", "{compiler}");
        }
        assert_eq!(verdict(|manifest| manifest.api = "1.99.0".to_owned()), "fine");
        let refused = verdict(|manifest| manifest.api = "2.0.0".to_owned());
        assert!(refused.contains(&format!("is built for plugin-api 2.0.0, this host has {API_VERSION}")), "{refused}");
    }

    #[test]
    fn what_a_plugin_requires_must_be_there_and_panics_must_unwind() {
        let refused = verdict(|manifest| manifest.requires = vec!["host.tracing/1".to_owned()]);
        assert!(refused.contains("needs the extension 'host.tracing/1'"), "{refused}");
        assert_eq!(verdict(|manifest| manifest.requires = vec!["trainer.target-transform/1".to_owned()]), "fine");
        let refused = verdict(|manifest| manifest.panic = "abort".to_owned());
        assert!(refused.contains("is built with panic = \"abort\", this host needs \"unwind\""), "{refused}");
    }
}
