//! The host's own check of everything that a trainer promises.

#[test]
fn it_keeps_the_contract() {
    plugin_api::conformance::check(&[]);
}
