//! What holds for every loss: right gradients, finite values whatever the targets, and what weights mean.

use plugin_api::losses::LossList;
use plugin_api::{Kind, Level};
use serde_json::{Value, json};
use tch::{Device, Kind as Dtype, Tensor};

/// Every loss with every setting that changes its formula, and the kinds that it fits.
fn losses() -> Vec<(Value, &'static [Kind])> {
    use Kind::{Class, Labels, Regions, Regression};
    const BOTH: &[Kind] = &[Labels, Regions];
    vec![
        (json!("dice_ce"), &[Labels]),
        (json!("dice_bce"), &[Regions]),
        (json!("dice_topk"), &[Labels]),
        (json!("dice"), BOTH),
        (json!({"name": "dice", "background": true, "squared": true}), BOTH),
        (json!({"name": "dice", "log_cosh": true, "batch": true}), BOTH),
        (json!("generalised_dice"), BOTH),
        (json!("tversky"), BOTH),
        (json!("focal_tversky"), BOTH),
        (json!("jaccard"), BOTH),
        (json!("lovasz"), BOTH),
        (json!({"name": "lovasz", "batch": true}), BOTH),
        (json!("ce"), &[Labels]),
        (json!({"name": "ce", "smoothing": 0.1}), &[Labels]),
        (json!("topk"), &[Labels]),
        (json!("bce"), &[Regions]),
        (json!("focal"), BOTH),
        (json!({"name": "focal", "gamma": 0.5}), BOTH),
        (json!({"name": "focal", "alpha": 0.25}), &[Regions]),
        (json!("boundary"), BOTH),
        (json!("hausdorff"), BOTH),
        (json!({"name": "hausdorff", "alpha": 1}), BOTH),
        (json!("cldice"), BOTH),
        (json!("skeleton_recall"), BOTH),
        (json!("mse"), &[Regression]),
        (json!("l1"), &[Regression]),
        (json!("huber"), &[Regression]),
        (json!("cosine"), &[Regression]),
        (json!("class_ce"), &[Class]),
    ]
}

/// Where the voxels of a sample that a target shows lie.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Blob,
    Nothing,
    Everything,
    OneVoxel,
}

/// (B, 1, …): a shape that is the same for every sample but the second, which lacks it where it is a blob.
fn foreground(shape: &[i64], shown: Shown) -> Tensor {
    let mut all = vec![2, 1];
    all.extend(shape);
    let map = Tensor::zeros(&all, (Dtype::Int64, Device::Cpu));
    let (mut corner, mut size) = (map.select(0, 0), 1);
    match shown {
        Shown::Nothing => return map,
        Shown::Everything => return map.ones_like(),
        Shown::Blob => size = 2,
        Shown::OneVoxel => {}
    }
    for (axis, length) in shape.iter().enumerate() {
        corner = corner.narrow(axis as i64 + 1, length / 2 - 1, size);
    }
    let _ = corner.fill_(1);
    map
}

fn level(kind: Kind, shape: &[i64], shown: Shown, logits: impl Fn(&[i64]) -> Tensor) -> Level {
    const CHANNELS: i64 = 3;
    let of_shape = |channels: i64| -> Vec<i64> { [2, channels].into_iter().chain(shape.iter().copied()).collect() };
    let map = foreground(shape, shown);
    let (logits, target) = match kind {
        Kind::Labels => (logits(&of_shape(CHANNELS)), map.shallow_clone() * 2),
        Kind::Regions => (logits(&of_shape(CHANNELS)), map.gt(0).expand(of_shape(CHANNELS), false)),
        Kind::Class => (logits(&[2, CHANNELS]), Tensor::from_slice(&[0_i64, 2])),
        _ => {
            let logits = logits(&of_shape(CHANNELS));
            let target = map.expand(of_shape(CHANNELS), false).to_kind(logits.kind()) * 0.7;
            (logits, target)
        }
    };
    let mut level = Level::plain(kind, logits.set_requires_grad(true), target);
    level.skeleton = Some(map);
    level.spacing = if shape.len() == 3 { vec![2.0, 0.7, 0.8] } else { vec![0.7, 0.8] };
    level
}

/// Numbers from -3 to 3, always the same: tests run side by side, and torch's generator is everybody's.
fn noise(shape: &[i64], start: i64) -> Tensor {
    let places = Tensor::arange(shape.iter().product::<i64>(), (Dtype::Double, Device::Cpu)) + (start as f64 + 0.5) * 1e3;
    let places: Tensor = (places * 12.9898).sin() * 43_758.545_3;
    (places.frac() * 3.0).view(shape)
}

fn random(shape: &[i64]) -> Tensor {
    noise(shape, 0)
}

fn compute(loss: &Value, level: &Level) -> Tensor {
    let list: LossList = serde_json::from_value(loss.clone()).expect("valid");
    list.0[0].loss.criterion().compute(level).unwrap_or_else(|e| panic!("{loss}: {e}"))
}

/// Every loss with every kind, in 2D and 3D.
fn for_all(mut check: impl FnMut(&Value, Kind, &[i64])) {
    for (loss, kinds) in losses() {
        for kind in kinds {
            check(&loss, *kind, &[6, 5]);
            check(&loss, *kind, &[4, 6, 5]);
        }
    }
}

/// Finite differences in f64, along random directions.
#[test]
fn gradients_are_those_of_the_values() {
    for_all(|loss, kind, shape| {
        let with = |logits: Tensor| {
            let mut level = level(kind, shape, Shown::Blob, |_| logits.shallow_clone());
            level.mask = (kind != Kind::Class).then(|| random(&level.skeleton.as_ref().expect("set").size()).gt(-1.5));
            level
        };
        let start = level(kind, shape, Shown::Blob, random).logits.detach();
        let level = with(start.copy());
        compute(loss, &level).backward();
        for seed in 0..3 {
            let direction = noise(&start.size(), seed + 1);
            let moved = |by: f64| compute(loss, &with(&start + &direction * by)).double_value(&[]);
            let numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            let exact = (level.logits.grad() * &direction).sum(Dtype::Double).double_value(&[]);
            assert!((numeric - exact).abs() <= 1e-6 * (1.0 + exact.abs()), "{loss} {kind:?} {shape:?}: {exact} instead of {numeric}");
        }
    });
}

#[test]
fn values_and_gradients_are_finite_whatever_there_is() {
    let extreme = |shape: &[i64]| random(shape).sign() * 1e4;
    for_all(|loss, kind, shape| {
        for shown in [Shown::Nothing, Shown::Everything, Shown::OneVoxel] {
            for (size, logits) in [("usual", &random as &dyn Fn(&[i64]) -> Tensor), ("extreme", &extreme)] {
                for masked in [false, true] {
                    let single = |shape: &[i64]| logits(shape).to_kind(Dtype::Float);
                    let mut level = level(kind, shape, shown, single);
                    if masked && kind != Kind::Class {
                        level.mask = Some(foreground(shape, Shown::Nothing).gt(0));
                    }
                    let value = compute(loss, &level);
                    value.backward();
                    let gradient = level.logits.grad();
                    let finite = |x: &Tensor| x.isfinite().all().int64_value(&[]) == 1;
                    let what = format!("{loss} {kind:?} {shape:?} {shown:?}, {size} logits, all masked: {masked}");
                    assert!(finite(&value), "{what}: {value}");
                    assert!(gradient.defined() && finite(&gradient), "{what}: gradient {gradient}");
                    if masked && kind != Kind::Class {
                        assert_eq!(gradient.abs().max().double_value(&[]), 0.0, "{what}: learns from what is masked");
                    }
                }
            }
        }
    });
}

#[test]
fn classes_of_weight_zero_leave_something_finite() {
    for_all(|loss, kind, shape| {
        let list: LossList = serde_json::from_value(loss.clone()).expect("valid");
        if !list.0[0].loss.criterion().takes().class_weights {
            return;
        }
        let mut level = level(kind, shape, Shown::Everything, random);
        // All that the targets show has weight 0.
        level.class_weights = Some(Tensor::from_slice(&if kind == Kind::Class { [0.0, 1.0, 0.0] } else { [1.0, 1.0, 0.0] }));
        let value = compute(loss, &level);
        value.backward();
        let finite = |x: &Tensor| x.isfinite().all().int64_value(&[]) == 1;
        assert!(finite(&value) && finite(&level.logits.grad()), "{loss} {kind:?} {shape:?}: {value}");
    });
}

#[test]
fn a_weight_of_zero_is_a_mask_and_equal_weights_are_none() {
    for_all(|loss, kind, shape| {
        let list: LossList = serde_json::from_value(loss.clone()).expect("valid");
        if kind == Kind::Class || !list.0[0].loss.criterion().takes().weight_map {
            return;
        }
        let value = |change: &dyn Fn(&mut Level)| {
            let mut level = level(kind, shape, Shown::Blob, random);
            change(&mut level);
            compute(loss, &level).double_value(&[])
        };
        let half = |like: &Level| random(&like.skeleton.as_ref().expect("set").size()).gt(0.0);
        let masked = value(&|level| level.mask = Some(half(level)));
        let weighted = value(&|level| level.weight_map = Some(half(level).to_kind(Dtype::Float)));
        // The hardest per cent are of what a mask leaves, but of all that is weighted.
        if !loss.to_string().contains("topk") {
            assert!((masked - weighted).abs() < 1e-9, "{loss} {kind:?} {shape:?}: masked {masked}, weighted {weighted}");
        }
        // Binary cross-entropy divides as nnU-Net does as soon as there is a mask.
        let plain = match loss.to_string().contains("bce") {
            true => value(&|level| level.mask = Some(half(level).ones_like())),
            false => value(&|_| {}),
        };
        let ones = value(&|level| level.weight_map = Some(half(level).ones_like().to_kind(Dtype::Float)));
        assert!((plain - ones).abs() < 1e-9, "{loss} {kind:?} {shape:?}: plain {plain}, weights of 1 {ones}");
    });
}

#[test]
fn what_is_masked_does_not_matter() {
    for_all(|loss, kind, shape| {
        if kind == Kind::Class {
            return;
        }
        let value = |factor: f64| {
            let mut level = level(kind, shape, Shown::Blob, random);
            let mask = random(&level.skeleton.as_ref().expect("set").size()).gt(0.0);
            let logits = level.logits.detach();
            level.logits = (&logits * factor).where_self(&mask.logical_not(), &logits).set_requires_grad(true);
            level.mask = Some(mask);
            compute(loss, &level).double_value(&[])
        };
        // The border of a prediction, and its centre line, are found before anything is masked.
        if !loss.to_string().contains("hausdorff") && !loss.to_string().contains("cldice") {
            assert!((value(1.0) - value(3.0)).abs() < 1e-9, "{loss} {kind:?} {shape:?}");
        }
    });
}
