//! Plugins from outside the workspace, through either door: they load, train, log, and compute what they say.

use host::plugin;
use plugin_api::abi;
use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};
use tests::artifact;
use tests::program::Bench;

/// Unweighted training terms of every epoch, by name.
fn terms(bench: &Bench) -> Vec<BTreeMap<String, f64>> {
    let value = |record: &serde_json::Value| {
        let terms = record["train"].as_object().expect("terms by name").iter();
        terms.map(|(name, term)| (name.clone(), term["value"].as_f64().expect("a finite number"))).collect()
    };
    bench.records().iter().map(value).collect()
}

#[test]
fn a_crate_outside_the_workspace_trains() {
    let bench = Bench::new();
    let arguments = ["--epochs", "2", "--iterations", "3", "--set", "weight=0.5"];
    let ended = bench.train(&artifact::fixture("two-heads"), &arguments).expect_success();
    let records = bench.records();
    assert_eq!(records.len(), 2);
    for record in &records {
        let term = |name: &str, what: &str| record["train"][name][what].as_f64().expect("a finite number");
        for name in ["parts", "sharp"] {
            assert!(term(name, "value") > 0.0 && record["metrics"][name]["dice"].is_number(), "{record}");
        }
        assert!((term("sharp", "weighted") - 0.5 * term("sharp", "value")).abs() < 1e-9, "the option reaches the plugin: {record}");
    }
    assert!(bench.fold().join("checkpoint_final.safetensors").is_file());
    for summary in ["validation/summary.json", "validation/sharp/summary.json"] {
        assert!(bench.fold().join(summary).is_file(), "no {summary}; {}", ended.stdout);
    }
}

#[test]
fn both_doors_compute_the_same() {
    let arguments = ["--epochs", "2", "--iterations", "3"];
    let [rust, cpp] = [artifact::fixture("brier"), artifact::cpp_plugin()].map(|library| {
        let bench = Bench::new();
        let ended = bench.train(&library, &arguments).expect_success();
        assert!(bench.fold().join("checkpoint_final.safetensors").is_file());
        assert!(bench.fold().join("validation/summary.json").is_file());
        // Records of a plugin arrive under its name, whatever language it is written in.
        let name = if library.to_string_lossy().contains("cpp") { "brier-cpp" } else { "brier" };
        let logged = |epoch: &str| ended.stderr.lines().any(|line| line.contains(&format!("{name}]")) && line.ends_with(epoch));
        assert!(logged("epoch 0 of 2") && logged("epoch 1 of 2"), "{}", ended.stderr);
        terms(&bench)
    });
    assert!(rust[0]["brier"] > 0.0);
    for (rust, cpp) in rust.iter().zip(&cpp) {
        assert!((rust["brier"] - cpp["brier"]).abs() < 1e-6, "Rust {rust:?}, C++ {cpp:?}");
    }
}

#[test]
fn what_a_plugin_changes_behind_the_hosts_back_is_put_back() {
    let faulty = artifact::fixture("faulty");
    let train = |fault: &str| {
        let bench = Bench::new();
        let fault = format!("fault={fault}");
        bench.train(&faulty, &["--epochs", "2", "--set", &fault]).expect_success();
        (terms(&bench), bench.final_tensors())
    };
    let untouched = train("none");
    assert!(train("gradients_off") == untouched, "weights or losses differ");
    assert!(train("reseed") == untouched, "weights or losses differ");
}

#[test]
fn the_manifest_says_what_was_built_with_what() {
    let rust = plugin::load(&artifact::fixture("two-heads"), &artifact::this_host()).expect("loads").identity().manifest.clone();
    let cpp = plugin::load(&artifact::cpp_plugin(), &artifact::this_host()).expect("loads").identity().manifest.clone();
    assert_eq!((rust.id.as_str(), rust.version.as_str()), ("two-heads", "1.0.0"));
    assert_eq!((cpp.id.as_str(), cpp.version.as_str()), ("brier-cpp", "0.1.0"));
    for manifest in [rust, cpp] {
        assert_eq!(manifest.api, plugin_api::manifest::API_VERSION);
        assert_eq!(manifest.libtorch, plugin_api::manifest::LIBTORCH);
        assert_eq!(manifest.panic, "unwind");
        assert!(!manifest.compiler.is_empty() && !manifest.description.is_empty(), "{manifest:?}");
    }
}

/// The types of `trainer_plugin.h`.
mod c_types {
    pub use plugin_api::abi::*;
    pub use plugin_api::extensions::loss_with_grad::{GradientSink, Table as LossWithGrad};
    pub use plugin_api::extensions::metrics::{MetricSink, Table as Metrics};
    pub use plugin_api::extensions::target_transform::{MadeView, SampleView, Table as TargetTransform, TargetView};
}

/// Size and offsets of `struct`s on both sides of `trainer_plugin.h`: pushes C's printing of them and Rust's own.
macro_rules! layout {
    ($c:ident, $rust:ident, $($c_type:ident = $rust_type:ident { $($field:ident),* })*) => {
        $(
            $c.push_str(&format!("printf(\"{0} %zu\\n\", sizeof({0}));\n", stringify!($c_type)));
            $rust.push_str(&format!("{} {}\n", stringify!($c_type), size_of::<c_types::$rust_type>()));
            $(
                let name = format!("{}.{}", stringify!($c_type), stringify!($field));
                $c.push_str(&format!("printf(\"{name} %zu\\n\", offsetof({}, {}));\n", stringify!($c_type), stringify!($field)));
                $rust.push_str(&format!("{name} {}\n", offset_of!(c_types::$rust_type, $field)));
            )*
        )*
    };
}

#[test]
fn the_c_header_is_the_rust_table() {
    let (mut c, mut rust) = (String::new(), String::new());
    layout! { c, rust,
        tp_str = Str { ptr, len }
        tp_tensors = Tensors { ptr, len }
        tp_named = Named { name, levels }
        tp_named_list = NamedList { ptr, len }
        tp_sink = Sink { ctx, write }
        tp_output_sink = OutputSink { ctx, push }
        tp_term = Term { name, value, weight_tensor, weight, lowest, samples }
        tp_loss_sink = LossSink { ctx, push }
        tp_features = Features { decoder, bottleneck, skips }
        tp_pass = Pass { levels, training, amp }
        tp_target = Target { name, levels, valid, presence }
        tp_batch = Batch { image, cases, n_cases, targets, n_targets }
        tp_step = Step { epoch, iteration, micro_step, seed, phase, level_weights, n_levels }
        tp_param_request = ParamRequest { name, kind, shape, dims, init, init_value, decay }
        tp_host_services = HostServices { ctx, log_level, log, param, extension }
        tp_entry = Entry {
            describe, create, destroy, outputs, forward, loss, activate, epoch_start, epoch_end, save_state, load_state, extension
        }
        tp_metric_sink = MetricSink { ctx, push }
        tp_metrics = Metrics { compute }
        tp_gradient_sink = GradientSink { ctx, term, gradient }
        tp_loss_with_grad = LossWithGrad { compute }
        tp_target_view = TargetView { name, kind, channels, values, valid }
        tp_made_view = MadeView { name, kind, channels, values, valid, present }
        tp_sample_view = SampleView {
            case_id, seed, phase, channels, size, spacing, image, inside, targets, n_targets, made, n_made
        }
        tp_target_transform = TargetTransform { create, destroy, apply }
    }
    let printed = artifact::run_c(&format!(
        "#include \"trainer_plugin.h\"\n#include <stdio.h>\nint main(void) {{\n{c}printf(\"%d %d %d %s\\n\", TP_OK, TP_ERROR, TP_PANIC, TP_API);\nreturn 0;\n}}\n"
    ));
    rust.push_str(&format!("{} {} {} {}\n", abi::OK, abi::ERROR, abi::PANIC, plugin_api::manifest::API_VERSION));
    assert_eq!(printed, rust, "trainer_plugin.h and plugin-api's abi module differ");
}
