//! Prints the binary interface as text: every structure with its size, alignment and fields, functions with their types. What two versions print is
//! compared by `tests/abi-diff`.

use abi_stable::StableAbi;
use abi_stable::type_layout::{TLField, TypeLayout};
use plugin_api::abi;
use plugin_api::extensions::{loss_with_grad, metrics, target_transform};
use std::collections::BTreeMap;

fn main() {
    let mut types = BTreeMap::new();
    let tables = [
        ("", <abi::PluginRef as StableAbi>::LAYOUT),
        ("", <abi::Entry as StableAbi>::LAYOUT),
        ("", <abi::HostServices as StableAbi>::LAYOUT),
        (metrics::ID, <metrics::Table as StableAbi>::LAYOUT),
        (loss_with_grad::ID, <loss_with_grad::Table as StableAbi>::LAYOUT),
        (target_transform::ID, <target_transform::Table as StableAbi>::LAYOUT),
    ];
    tables.into_iter().for_each(|(prefix, layout)| collect(prefix, layout, &mut types));
    for (name, text) in types {
        println!("{name}\n{text}");
    }
}

/// Adds `layout`, a table with `prefix` as its name, and whatever types of this crate its fields and functions mention.
fn collect(prefix: &str, layout: &'static TypeLayout, types: &mut BTreeMap<String, String>) {
    let name = match layout.name() {
        "Table" => format!("{prefix} Table"),
        _ => layout.full_type().to_string(),
    };
    if types.contains_key(&name) {
        return;
    }
    if layout.package().as_str() == "plugin-api" {
        let mut text = format!("    size {}, alignment {}\n", layout.size(), layout.alignment());
        layout.get_fields().into_iter().flat_map(|fields| fields.to_vec()).for_each(|field| text.push_str(&describe(&field)));
        types.insert(name, text);
    }
    layout.shared_vars().type_layouts().iter().for_each(|mentioned| collect(prefix, mentioned(), types));
}

fn describe(field: &TLField) -> String {
    let functions: Vec<String> = field.function_range().iter().map(|function| function.to_string()).collect();
    match functions.as_slice() {
        [] => format!("    {}: {}\n", field.name(), field.full_type()),
        functions => format!("    {}: {}\n", field.name(), functions.join(" ")),
    }
}
