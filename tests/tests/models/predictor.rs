//! A predictor that stays: cases from memory as from files, and runs that are stopped.

use data::plan::Plans;
use host::artifact::{ModelFolder, TrainedModel};
use host::environment::Stop;
use host::network::Precision;
use host::predict::{CaseFiles, Extras, Prediction, Predictor, Preprocessed, Window, find_cases};
use imaging::Volume;
use std::sync::Mutex;
use tch::Device;
use tests::artifact;
use tests::models::folder;

/// A model of nnU-Net's, and its images.
struct Trained {
    model: TrainedModel,
    plans: Plans,
    cases: Vec<CaseFiles>,
}

impl Trained {
    fn read() -> Self {
        let path = folder().join("plain_3d");
        let folder = ModelFolder::open(&path).expect("a model");
        let checkpoints = folder.checkpoints(&[], "final").expect("there");
        let paths: Vec<_> = checkpoints.into_iter().map(|(_, path)| path).collect();
        let model = folder.load(&paths, (None, &artifact::this_host()), Device::Cpu, Precision::Fp32).expect("it loads");
        let (cases, bad) = find_cases(&[path.join("images")], folder.description.channel_names.len(), &folder.description.file_ending);
        assert!(bad.is_empty() && !cases.is_empty());
        // The same case under several names.
        let renamed = (0..4).map(|i| CaseFiles { id: format!("case_{i}").parse().expect("a name"), images: cases[0].images.clone() });
        Self { model, plans: folder.plans, cases: renamed.collect() }
    }

    fn predictor(&self) -> Predictor<'_> {
        let TrainedModel { folds, configuration, patch, mirror, targets } = &self.model;
        let window = Window::new(configuration, *patch, mirror, targets);
        Predictor::new(folds, &self.plans, configuration, targets, window, Extras::default())
    }

    /// Predicts all cases, and asks for the end when the network is done with `last`; whether the run was stopped, and the label maps.
    fn run(&self, last: Option<usize>) -> (bool, Vec<Volume<i16>>) {
        let stop = Stop::new(|_| Ok(()));
        let maps = Mutex::new(Vec::new());
        let (plans, configuration, cases) = (&self.plans, &self.model.configuration, &self.cases);
        let read = |case: &CaseFiles| Preprocessed::from_files(&case.images, plans, configuration).map(Some);
        let finish = |case: &CaseFiles, mut predicted: host::predict::Predicted| {
            let Some(Prediction::Labels(map)) = predicted.outputs.swap_remove("segmentation").map(|exported| exported.prediction) else {
                panic!("no label map");
            };
            maps.lock().expect("no panic").push(map);
            if last.is_some_and(|last| case.id == cases[last].id) {
                stop.ask();
            }
            Ok(())
        };
        let run = self.predictor().run(cases, read, finish, |_, error| Err(error), &stop).expect("nothing fails");
        (run.stopped, maps.into_inner().expect("no panic"))
    }
}

#[test]
fn one_case_from_memory_is_predicted_as_all_of_a_run_are() {
    let trained = Trained::read();
    let (stopped, maps) = trained.run(None);
    assert_eq!((stopped, maps.len()), (false, trained.cases.len()));
    let images = &trained.cases[0].images;
    let image = trained.plans.reader().expect("a reader").read_image(&images[0]).expect("a good image");
    let case = Preprocessed::from_image(image, &images[0], &trained.plans, &trained.model.configuration).expect("it fits the plans");
    let mut outputs = trained.predictor().predict(&case).expect("nothing fails");
    let Some(Prediction::Labels(alone)) = outputs.swap_remove("segmentation").map(|exported| exported.prediction) else {
        panic!("no label map");
    };
    assert!(alone.data().iter().any(|label| *label > 0), "nothing is predicted");
    assert!(maps.iter().all(|map| *map == alone));
}

#[test]
fn a_run_that_is_stopped_keeps_what_it_has_and_says_so() {
    let trained = Trained::read();
    let (stopped, maps) = trained.run(Some(0));
    assert!(stopped);
    assert!((1..trained.cases.len()).contains(&maps.len()), "{} cases are finished", maps.len());
}

#[test]
fn a_stop_after_the_last_case_leaves_nothing_out() {
    let trained = Trained::read();
    let (stopped, maps) = trained.run(Some(trained.cases.len() - 1));
    assert_eq!((stopped, maps.len()), (false, trained.cases.len()));
}
