//! Trunk and heads against nnU-Net's PlainConvUNet and ResidualEncoderUNet: same weights, same input, same output.

use host::network::Model;
use tch::Tensor;
use tests::golden::{Golden, distance, largest};
use tests::network::Network;

fn compare(model: &Model, golden: &Golden, input: &Tensor, key: &str, training: bool) {
    let expected = golden.levels(key);
    let outputs = model.forward(input, expected.len(), training, 0).expect("the model runs");
    let levels = outputs.get("segmentation").expect("base has this output");
    assert_eq!(levels.len(), expected.len());
    for (i, (level, expected)) in levels.iter().zip(&expected).enumerate() {
        assert!(largest(expected) > 0.1, "{key} {i} says nothing");
        let off = distance(level, expected);
        assert!(off <= 1e-5, "{key} {i} is off by {off:e}");
    }
}

fn compare_file(file: &str) {
    let golden = Golden::read(file);
    let model = golden.metadata::<Network>("network").model(&golden);
    compare(&model, &golden, &golden.tensor("input"), "output", false);
}

#[test]
fn the_plain_networks_are_nnunets() {
    ["network_2d", "network_3d"].into_iter().for_each(compare_file);
}

#[test]
fn the_residual_networks_are_nnunets() {
    ["network_residual_2d", "network_residual_3d"].into_iter().for_each(compare_file);
}

#[test]
fn batch_norm_slope_and_missing_bias_are_nnunets() {
    let golden = Golden::read("network_variants_2d");
    let network = golden.metadata::<Network>("network");
    let (model, input) = (network.model(&golden), golden.tensor("input"));
    compare(&model, &golden, &input, "output", false);
    compare(&model, &golden, &input, "train_output", true);
    let running: Vec<&String> = network.parameters.iter().filter(|name| name.contains(".running_")).collect();
    assert!(!running.is_empty());
    for name in running {
        let off = distance(&model.parameters.get(name).expect("there").tensor, &golden.tensor(&format!("after.{name}")));
        assert!(off <= 1e-6, "{name} is off by {off:e}");
    }
}

#[test]
fn fresh_weights_are_drawn_as_nnunet_draws_them() {
    let golden = Golden::read("network_residual_3d");
    let model = golden.metadata::<Network>("network").fresh_model();
    for (name, parameter) in model.parameters.iter() {
        let tensor = &parameter.tensor;
        let (mean, deviation) = (tensor.mean(tch::Kind::Double).double_value(&[]), tensor.std(false).double_value(&[]));
        let shape = tensor.size();
        if shape.len() > 1 {
            // Kaiming: fan-in is the second size times the kernel, for transposed convolutions, too, as in torch.
            let fan_in: i64 = shape[1..].iter().product();
            let expected = (2.0 / ((1.0 + 1e-4) * fan_in as f64)).sqrt();
            let error = 4.0 / (2.0 * tensor.numel() as f64).sqrt();
            assert!((deviation / expected - 1.0).abs() < error.max(0.05), "{name}: {deviation} instead of {expected}");
        } else {
            let expected = if name.ends_with("norm.weight") && !name.ends_with("conv2.norm.weight") { 1.0 } else { 0.0 };
            assert_eq!((mean, deviation), (expected, 0.0), "{name}");
        }
    }
}
