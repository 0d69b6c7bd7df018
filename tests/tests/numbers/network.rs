//! Trunk and heads against nnU-Net's PlainConvUNet and ResidualEncoderUNet: same weights, same input, same output.

use host::model::Model;
use host::network::Parameter;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tch::{Device, Tensor};
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

/// Models whose weights are drawn with different seeds: the smallest layer alone has 12 weights, which say nothing of their distribution.
const DRAWN: u64 = 100;

#[test]
fn fresh_weights_are_drawn_as_nnunet_draws_them() {
    let network = Golden::read("network_residual_3d").metadata::<Network>("network");
    let models: Vec<Model> = (0..DRAWN).map(|seed| network.fresh_model(seed)).collect();
    for (name, parameter) in models[0].parameters.iter() {
        let drawn: Vec<Tensor> = models.iter().map(|model| model.parameters.get(name).expect("the same network").tensor.detach()).collect();
        let all = Tensor::stack(&drawn, 0).to_kind(tch::Kind::Double);
        let mean = |tensor: &Tensor| tensor.mean(tch::Kind::Double).double_value(&[]);
        let shape = parameter.tensor.size();
        if shape.len() > 1 {
            // Kaiming: fan-in is the second size times the kernel, for transposed convolutions, too, as in torch.
            let fan_in: i64 = shape[1..].iter().product();
            let scaled = &all / (2.0 / ((1.0 + 1e-4) * fan_in as f64)).sqrt();
            let [first, second, fourth] = [1, 2, 4].map(|power| mean(&scaled.pow_tensor_scalar(power)));
            let kurtosis = fourth / (second * second);
            // Six standard errors of a sample of a normal distribution. A uniform one has a kurtosis of 1.8.
            let error = |variance: f64| 6.0 * (variance / all.numel() as f64).sqrt();
            assert!(error(24.0) < 0.9, "{name}: a sample of {} is too small", all.numel());
            assert!(first.abs() < error(1.0), "{name}: a mean of {first} standard deviations instead of 0");
            assert!((second - 1.0).abs() < error(2.0), "{name}: {second} times the variance of Kaiming's draw");
            assert!((kurtosis - 3.0).abs() < error(24.0), "{name}: a kurtosis of {kurtosis} instead of 3");
        } else {
            let expected = if name.ends_with("norm.weight") && !name.ends_with("conv2.norm.weight") { 1.0 } else { 0.0 };
            let (least, largest) = (all.min().double_value(&[]), all.max().double_value(&[]));
            assert_eq!((least, largest), (expected, expected), "{name}");
        }
    }
}

#[test]
fn fresh_weights_do_not_depend_on_what_other_threads_draw() {
    let network = Golden::read("network_residual_3d").metadata::<Network>("network");
    let alone = network.fresh_model(1);
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Relaxed) {
                let _drawn = Tensor::randn([64], (tch::Kind::Float, Device::Cpu));
            }
        });
        let differ = |other: &Model| {
            let same = |(name, parameter): (&str, &Parameter)| {
                other.parameters.get(name).is_some_and(|found| found.tensor.equal(&parameter.tensor))
            };
            !alone.parameters.iter().all(same)
        };
        let differing = (0..20).filter(|_| differ(&network.fresh_model(1))).count();
        done.store(true, Relaxed);
        assert_eq!(differing, 0, "of 20 models");
    });
}
