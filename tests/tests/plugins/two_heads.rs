//! The plugin of README and guide: it computes what a trainer in Python computes, and both are shown as they are.

use host::network::Parameters;
use host::plugin::{self, LoadedTrainer};
use host::train::{deep_supervision_weights, total};
use plugin_api::task::Target as Spec;
use plugin_api::{Batch, IndexMap, Kind, Outputs, Phase, Step, Target, Task, Weight};
use serde::Deserialize;
use tch::{Device, Kind as Dtype, Tensor};
use tests::artifact;
use tests::golden::{Golden, distance, largest};

const CLASSES: i64 = 3;

/// Logits and targets, and what `tests/golden/two_heads.py` makes of them.
#[derive(Deserialize)]
struct Case {
    patch_size: Vec<i64>,
    strides: Vec<Vec<i64>>,
    batch_dice: bool,
    weights: Vec<f64>,
    w1: f64,
    w2: f64,
}

impl Case {
    fn task(&self) -> Task {
        Task {
            dims: self.patch_size.len(),
            patch_size: self.patch_size.clone(),
            spacing: vec![1.0; self.patch_size.len()],
            features: vec![2; self.strides.len()],
            strides: self.strides.clone(),
            targets: IndexMap::from([("segmentation".to_owned(), Spec::new(Kind::Labels, CLASSES))]),
            batch_size: 2,
            batch_dice: self.batch_dice,
            epochs: 1,
            iterations: 1,
            device: "cpu".to_owned(),
            seed: 0,
        }
    }

    fn trainer(&self) -> LoadedTrainer {
        let library = plugin::load(&artifact::fixture("two-heads"), &artifact::this_host()).expect("it loads");
        let options = serde_json::json!({"weight": self.w2});
        LoadedTrainer::create(&library, &self.task(), &options, &mut Parameters::new(Device::Cpu, 0)).expect("valid options")
    }
}

fn number(scalar: &Tensor) -> f64 {
    scalar.double_value(&[])
}

#[test]
fn both_losses_their_sum_and_its_gradients_are_those_of_the_trainer_in_python() {
    let golden = Golden::read("two_heads");
    let cases: IndexMap<String, Case> = golden.metadata("cases");
    assert_eq!(cases.len(), 4);
    for (name, case) in &cases {
        let mut outputs = Outputs::new();
        for head in ["parts", "sharp"] {
            let levels = golden.levels(&format!("{name}.{head}.logits"));
            levels.into_iter().for_each(|logits| outputs.push(head, logits.set_requires_grad(true)));
        }
        let levels = golden.levels(&format!("{name}.target"));
        let weights = deep_supervision_weights(levels.len());
        assert_eq!(weights, case.weights, "{name}");
        let target = Target { levels, valid: Vec::new(), presence: Tensor::from_slice(&[true; 2]) };
        let batch = Batch {
            image: Tensor::zeros([2, 1], (Dtype::Float, Device::Cpu)),
            cases: vec!["a".to_owned(), "b".to_owned()],
            targets: IndexMap::from([("segmentation".to_owned(), target)]),
        };
        let step = Step { epoch: 0, iteration: 0, micro_step: 0, seed: 0, phase: Phase::Train, deep_supervision_weights: weights };
        let terms = case.trainer().loss(&outputs, &batch, &step).expect("has a loss");

        for (term, (head, weight)) in terms.iter().zip([("parts", case.w1), ("sharp", case.w2)]) {
            assert_eq!(term.name, head);
            assert!(matches!(term.weight, Weight::Number(found) if found == weight), "{name}: {term:?}");
            let (found, expected) = (number(&term.value), number(&golden.tensor(&format!("{name}.{head}"))));
            assert!((found - expected).abs() <= 1e-6, "{name}: {head} is {found} instead of {expected}");
        }
        let sum = total(&terms).expect("sums").expect("two terms");
        let (found, expected) = (number(&sum), number(&golden.tensor(&format!("{name}.loss"))));
        assert!((found - expected).abs() <= 1e-6, "{name}: the loss is {found} instead of {expected}");

        sum.backward();
        for (head, levels) in outputs.iter() {
            for (level, logits) in levels.iter().enumerate().filter(|(level, _)| case.weights[*level] > 0.0) {
                let expected = golden.tensor(&format!("{name}.{head}.grad.{level}"));
                let off = distance(&logits.grad(), &expected) / largest(&expected);
                assert!(off <= 1e-6, "{name}: the gradient of {head}, level {level}, is off by {off:e} of its largest value");
            }
        }
    }
}

#[test]
fn readme_and_guide_show_the_files_that_are_tested() {
    const PLUGIN: &str = "tests/fixtures/two-heads/src/lib.rs";
    let read = |path: &str| std::fs::read_to_string(artifact::root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let lines = read(PLUGIN).lines().filter(|line| !line.is_empty() && !line.starts_with("use ")).count();
    assert!(lines < 40, "{lines} lines are too many for an example");

    const CHAPTER: &str = "plugin-api/guide/from_nnunet.md";
    for (page, file) in [("README.md", PLUGIN), (CHAPTER, PLUGIN), (CHAPTER, "tests/golden/two_heads.py")] {
        let (text, mark) = (read(page), format!("<!-- {file} -->\n```"));
        let (_, block) = text.split_once(&mark).unwrap_or_else(|| panic!("{page} has no block after {mark:?}"));
        let (_, block) = block.split_once('\n').expect("a language");
        let (block, _) = block.split_once("\n```").expect("the block ends");
        assert_eq!(format!("{block}\n"), read(file), "{page} and {file} differ");
    }
}
