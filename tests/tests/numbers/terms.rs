//! Terms of several outputs and losses: sums, weights, what is missing, what is learned.

use host::config::Recipe;
use host::model::Model;
use host::train::{Optimiser, deep_supervision_weights, total};
use plugin_api::task::Target as Spec;
use plugin_api::{Batch, IndexMap, Kind, Phase, Step, Target, Term, Weight};
use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Kind as Dtype, Tensor};
use tests::golden::{Golden, distance, largest};
use tests::network::Network;

/// A small 3D network, its batches, and what a data set could have beside its segmentation.
struct Lab {
    golden: Golden,
    network: Network,
}

#[derive(Deserialize)]
struct Training {
    #[serde(flatten)]
    network: Network,
}

impl Lab {
    fn new() -> Self {
        let golden = Golden::read("training_3d");
        let Training { network } = golden.metadata("training");
        Self { golden, network }
    }

    fn targets(&self) -> IndexMap<String, Spec> {
        let classes = (1..self.network.num_classes).map(|class| format!("class_{class}")).collect();
        let of = Some("segmentation".to_owned());
        IndexMap::from([
            ("segmentation".to_owned(), Spec { classes, ..Spec::new(Kind::Labels, self.network.num_classes) }),
            ("distance".to_owned(), Spec { optional: true, ..Spec::new(Kind::Regression, 1) }),
            ("importance".to_owned(), Spec { optional: true, weighs: of, ..Spec::new(Kind::Regression, 1) }),
        ])
    }

    /// `multi-output` with these outputs, none of which the weight map weighs unless it says so.
    fn model(&self, mut options: Value) -> Result<Model, String> {
        for output in options["outputs"].as_object_mut().expect("outputs").values_mut() {
            if output.get("target").is_none_or(|target| target == "segmentation") && output.get("weight_map").is_none() {
                output["weight_map"] = "none".into();
            }
        }
        self.network.model_of("multi-output", &options, self.targets()).map_err(|e| e.to_string())
    }

    /// The first batch, of which these cases have a distance; the second case has a weight map, of 1 in one half and 0 in the other.
    fn batch(&self, has_distance: [bool; 2]) -> Batch {
        let labels: Vec<Tensor> = self.golden.levels("target.0").iter().map(|level| level.to_kind(Dtype::Int64)).collect();
        let presence = |present: [bool; 2]| Tensor::from_slice(&present);
        let made = |of: &dyn Fn(&Tensor) -> Tensor, present| Target {
            levels: labels.iter().map(of).collect(),
            valid: Vec::new(),
            presence: presence(present),
        };
        let half = |level: &Tensor| {
            let map = level.zeros_like().to_kind(Dtype::Float);
            let _ = map.narrow(2, 0, 1).fill_(1.0);
            map
        };
        let targets = IndexMap::from([
            ("distance".to_owned(), made(&|level| level.to_kind(Dtype::Float) * 0.3, has_distance)),
            ("importance".to_owned(), made(&half, [false, true])),
            ("segmentation".to_owned(), Target { levels: labels.iter().map(Tensor::shallow_clone).collect(), ..made(&half, [true; 2]) }),
        ]);
        Batch { image: self.golden.tensor("image.0"), cases: vec!["a".to_owned(), "b".to_owned()], targets }
    }

    fn terms(&self, model: &mut Model, batch: &Batch) -> Vec<Term> {
        let weights = deep_supervision_weights(batch.targets["segmentation"].levels.len());
        let levels = weights.iter().filter(|weight| **weight > 0.0).count();
        let step = Step { epoch: 0, iteration: 0, micro_step: 0, seed: 0, phase: Phase::Train, deep_supervision_weights: weights };
        let outputs = model.forward(&batch.image, levels, true, 0).expect("runs");
        model.trainer.loss(&outputs, batch, &step).expect("has a loss")
    }

    /// Gradients of everything that `batch` trains, by name.
    fn gradients(&self, model: &mut Model, batch: &Batch) -> IndexMap<String, Tensor> {
        let terms = self.terms(model, batch);
        total(&terms).expect("sums").expect("something to learn").backward();
        let trained = model.parameters.trained().map(|(name, parameter)| (name.to_owned(), parameter.tensor.grad()));
        trained.filter(|(_, gradient)| gradient.defined()).collect()
    }
}

fn value(term: &Term) -> f64 {
    term.value.double_value(&[])
}

#[test]
fn a_second_output_of_weight_0_changes_not_one_bit() {
    let lab = Lab::new();
    let trained = |options: Value| {
        let mut model = lab.model(options).expect("valid");
        let mut optimiser = Optimiser::new(&model.parameters, &Recipe::default());
        for _ in 0..4 {
            optimiser.clear_gradients().expect("clears");
            lab.gradients(&mut model, &lab.batch([true; 2]));
            optimiser.clip_gradients(1.0).expect("clips");
            optimiser.step(0.01).expect("steps");
        }
        model
    };
    let segmentation = json!({"target": "segmentation"});
    let single = trained(json!({"outputs": {"one": segmentation}}));
    let double = trained(json!({"outputs": {"one": segmentation, "two": {"target": "segmentation", "weight": 0}}}));
    for (name, parameter) in single.parameters.iter() {
        let other = &double.parameters.get(name).expect("the same trunk and head").tensor;
        assert!(parameter.tensor.equal(other), "{name} differs");
    }
}

#[test]
fn outputs_and_losses_of_weight_1_are_summed() {
    let lab = Lab::new();
    let batch = lab.batch([true; 2]);
    let gradients = |weights: [f64; 2]| {
        let output = |loss: &str, weight| json!({"target": "segmentation", "loss": loss, "weight": weight});
        let options = json!({"outputs": {"one": output("dice_ce", weights[0]), "two": output("focal", weights[1])}});
        lab.gradients(&mut lab.model(options).expect("valid"), &batch)
    };
    let (both, first, second) = (gradients([1.0, 1.0]), gradients([1.0, 0.0]), gradients([0.0, 1.0]));
    for (name, sum) in &both {
        let parts: Vec<&Tensor> = [&first, &second].iter().filter_map(|part| part.get(name)).collect();
        let expected = parts.iter().map(|part| part.shallow_clone()).reduce(|a, b| a + b).expect("one of them trains it");
        // Biases before a normalisation have gradients of rounding alone.
        let off = distance(sum, &expected);
        assert!(off <= 1e-5 * largest(&expected).max(1.0), "{name}: off by {off:e} of {:e}", largest(&expected));
    }

    // The same of two losses of one output.
    let terms = |loss: Value| {
        lab.terms(&mut lab.model(json!({"outputs": {"one": {"target": "segmentation", "loss": loss}}})).expect("valid"), &batch)
    };
    let (single, several) = (terms(json!("dice_ce")), terms(json!(["dice", {"name": "ce", "weight": 0.5}, "dice"])));
    let names: Vec<&str> = several.iter().map(|term| term.name.as_str()).collect();
    assert_eq!(names, ["one.dice", "one.ce", "one.dice_2"]);
    assert!((value(&single[0]) - value(&several[0]) - value(&several[1])).abs() < 1e-6);
    assert!(matches!(several[1].weight, Weight::Number(0.5)));
    assert_eq!([single[0].lowest, several[0].lowest, several[1].lowest], [-1.0, -1.0, 0.0]);
}

#[test]
fn what_no_case_has_changes_nothing_and_what_some_have_is_their_mean() {
    let lab = Lab::new();
    let parts = json!({"target": "segmentation"});
    let model = || lab.model(json!({"outputs": {"parts": parts, "distance": {}}})).expect("valid");
    let alone = lab.gradients(&mut lab.model(json!({"outputs": {"parts": parts}})).expect("valid"), &lab.batch([true; 2]));
    let without = lab.gradients(&mut model(), &lab.batch([false; 2]));
    assert_eq!(without.keys().collect::<Vec<_>>(), alone.keys().collect::<Vec<_>>(), "the distance's head has no gradient");
    alone.iter().for_each(|(name, gradient)| assert!(gradient.equal(&without[name]), "{name}"));

    let distance_of = |present: [bool; 2]| {
        let terms = lab.terms(&mut model(), &lab.batch(present));
        assert_eq!(terms[0].samples, Some(2));
        (value(&terms[1]), terms[1].samples)
    };
    let (first, second, both) = (distance_of([true, false]), distance_of([false, true]), distance_of([true; 2]));
    assert_eq!([first.1, second.1, both.1], [Some(1), Some(1), Some(2)]);
    assert!((both.0 - (first.0 + second.0) / 2.0).abs() < 1e-5, "divided by what is present");
    assert_eq!(lab.terms(&mut model(), &lab.batch([false; 2])).len(), 1);
}

#[test]
fn learned_weights_have_the_gradient_of_the_paper() {
    let lab = Lab::new();
    let batch = lab.batch([true; 2]);
    let options = json!({"outputs": {"parts": {"target": "segmentation"}, "distance": {}}, "learned_weights": true});
    let mut model = lab.model(options).expect("valid");
    let log_variance = |model: &Model, output: &str| {
        let name = format!("plugin.{output}.log_variance");
        model.parameters.get(&name).expect("learned").tensor.shallow_clone()
    };
    for (output, s) in [("parts", 0.4), ("distance", -0.3)] {
        let _ = tch::no_grad(|| log_variance(&model, output).fill_(s));
    }
    let terms = lab.terms(&mut model, &batch);
    let names: Vec<(&str, Option<u64>)> = terms.iter().map(|term| (term.name.as_str(), term.samples)).collect();
    let expected = [("parts", Some(2)), ("parts.log_variance", Some(0)), ("distance", Some(2)), ("distance.log_variance", Some(0))];
    assert_eq!(names, expected);
    total(&terms).expect("sums").expect("something to learn").backward();
    // exp(−s) L + s / 2, L from the least that it can be; half of the first for regression.
    for (output, term, s, lowest, share) in [("parts", 0, 0.4_f64, -1.0, 1.0), ("distance", 2, -0.3, 0.0, 0.5)] {
        let weight = share * (-s).exp();
        let expected = 0.5 - weight * (value(&terms[term]) - lowest);
        let found = log_variance(&model, output).grad().double_value(&[]);
        assert!((found - expected).abs() < 1e-5, "{output}: {found} instead of {expected}");
        let Weight::Learned(found) = &terms[term].weight else { panic!("{output} has a fixed weight") };
        assert!((found.double_value(&[]) - weight).abs() < 1e-6);
    }
}

#[test]
fn a_weight_map_leaves_out_what_it_says_and_classes_weigh() {
    let lab = Lab::new();
    let batch = lab.batch([true; 2]);
    let ce = |further: Value| {
        let mut output = json!({"target": "segmentation", "loss": "ce"});
        output.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
        value(&lab.terms(&mut lab.model(json!({"outputs": {"parts": output}})).expect("valid"), &batch)[0])
    };
    let (plain, weighted) = (ce(json!({})), ce(json!({"weight_map": "importance"})));
    assert!((plain - weighted).abs() > 1e-4, "half of a case is left out");
    let even = ce(json!({"class_weights": {"background": 2, "class_1": 2, "class_2": 2}}));
    assert!((even - plain).abs() < 1e-5, "{even} instead of {plain}");
    assert!((ce(json!({"class_weights": {"class_1": 0}})) - plain).abs() > 1e-4);
}

#[test]
fn options_that_cannot_be_are_named() {
    let lab = Lab::new();
    let refused = |output: Value, further: Value| {
        let mut options = json!({"outputs": {"parts": output}});
        options.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
        lab.model(options).expect_err("must be refused")
    };
    let output = |key: &str, value: Value| json!({"target": "segmentation", key: value});
    for (output, part) in [
        (output("loss", json!("dise")), "there is no loss 'dise': did you mean 'dice'?"),
        (output("loss", json!("bce")), "output 'parts': loss bce does not fit a target of kind labels; there are: dice_ce"),
        (output("loss", json!([])), "it has no loss"),
        (output("loss", json!({"name": "focal", "alpha": 0.2})), "loss focal does not fit a target of kind labels"),
        (output("class_weights", json!({"class_9": 1})), "has no class 'class_9': did you mean 'class_1'?"),
        (output("class_weights", json!({"class_1": -1})), "expected numbers of at least 0"),
        (output("weight_map", json!("distance")), "'segmentation' has no weight target 'distance'"),
        (output("loss", json!("skeleton_recall")), "\"from\": \"segmentation\", \"op\": \"skeleton\""),
        (json!({"target": "segmentation", "weight_map": "importance", "loss": "lovasz"}), "set weight_map to none"),
        (json!({"target": "segmentation", "class_weights": {"class_1": 2}, "loss": "generalised_dice"}), "leave them out"),
        (json!({"target": "segmentation", "loss": {"name": "dice", "sqared": true}}), "did you mean 'squared'?"),
    ] {
        let message = refused(output.clone(), json!({}));
        assert!(message.contains(part), "{output}: {message}");
    }
    let message = refused(output("loss", json!("boundary")), json!({"learned_weights": true}));
    assert!(message.contains("loss boundary has no lower bound"), "{message}");
}
