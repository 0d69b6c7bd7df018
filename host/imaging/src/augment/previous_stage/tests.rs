use std::collections::HashMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::{Operator, PreviousStage, StageOperation, StageScratch, apply, one_hot};

#[derive(Deserialize)]
struct Golden {
    labels: Vec<i16>,
    sources: HashMap<String, Source>,
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Source {
    shape: [usize; 3],
    segmentation: String,
    one_hot: String,
}

#[derive(Deserialize)]
struct Record {
    source: String,
    operations: Vec<StageOperation>,
    after: String,
}

/// Values from -1 on, as letters from a on, each after its count where that is not 1.
fn decode(text: &str) -> Vec<i16> {
    let (mut values, mut count) = (Vec::new(), 0);
    for byte in text.bytes() {
        if byte.is_ascii_digit() {
            count = count * 10 + usize::from(byte - b'0');
        } else {
            values.resize(values.len() + count.max(1), i16::from(byte) - i16::from(b'b'));
            count = 0;
        }
    }
    values
}

/// `STAGE_GOLDEN=FILE` compares with another file of `tests/golden/make_previous_stage.py`, which may hold more and larger patches.
#[test]
fn every_voxel_equals_that_of_batchgenerators() {
    let other = std::env::var("STAGE_GOLDEN").map(|path| std::fs::read_to_string(path).expect("readable"));
    let text = other.as_deref().unwrap_or(include_str!("../../../tests/golden/previous_stage.json"));
    let golden: Golden = serde_json::from_str(text).expect("golden file is valid");
    let channels = |text: &str| -> Vec<f32> {
        let values = decode(text);
        golden.labels.iter().flat_map(|label| values.iter().map(move |value| f32::from(u8::from(value == label)))).collect()
    };
    let before: HashMap<&str, Vec<f32>> = golden
        .sources
        .iter()
        .map(|(name, source)| {
            let segmentation = decode(&source.segmentation);
            let mut found = vec![f32::NAN; golden.labels.len() * segmentation.len()];
            one_hot(&segmentation, &golden.labels, &mut found);
            assert!(found == channels(&source.one_hot), "{name}");
            (name.as_str(), found)
        })
        .collect();
    // One memory for all, so that what was there before is seen not to matter.
    let mut memory = StageScratch::default();
    let (mut counts, mut changed, mut voxels) = (HashMap::<String, usize>::new(), 0, 0);
    for record in &golden.records {
        let (before, after) = (&before[record.source.as_str()], channels(&record.after));
        let mut found = before.clone();
        apply(&record.operations, &mut found, golden.sources[&record.source].shape, &mut memory);
        let different = found.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert_eq!(different, 0, "{}: {:?}", record.source, record.operations);
        changed += usize::from(*before != after);
        voxels += after.len();
        for operation in &record.operations {
            let name = match operation {
                StageOperation::Morphology { operator, .. } => format!("{operator:?} {}", record.source),
                StageOperation::Removal { .. } => format!("Remove {}", record.source),
            };
            *counts.entry(name).or_default() += 1;
        }
    }
    println!("{} records, {changed} of which change something; {voxels} voxels; {counts:?}", golden.records.len());
    for what in ["Grow", "Shrink", "Close", "Open", "Remove"] {
        assert!(counts[&format!("{what} volume")] > 3 && counts[&format!("{what} slice")] > 3, "{what}: {counts:?}");
    }
}

#[test]
fn labels_are_drawn_in_any_order_and_as_often_as_asked_for() {
    const DRAWS: usize = 20_000;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let share = |count: usize| count as f64 / DRAWS as f64;
    let stage = PreviousStage::standard();
    let (mut morphology, mut removal, mut operators) = ([0; 3], [0; 3], HashMap::new());
    let (mut ascending, mut descending) = (0, 0);
    for _ in 0..DRAWS {
        let operations = stage.draw(3, &mut rng);
        let order: Vec<usize> = operations
            .iter()
            .filter_map(|operation| match *operation {
                StageOperation::Morphology { channel, operator, radius } => {
                    assert!((1.0..8.0).contains(&radius));
                    *operators.entry(format!("{operator:?}")).or_insert(0) += 1;
                    morphology[channel] += 1;
                    Some(channel)
                }
                StageOperation::Removal { channel, pick, below } => {
                    assert!((0.0..1.0).contains(&pick) && below == 0.15);
                    removal[channel] += 1;
                    None
                }
            })
            .collect();
        if order.len() == 3 {
            ascending += usize::from(order == [0, 1, 2]);
            descending += usize::from(order == [2, 1, 0]);
        }
    }
    assert!(morphology.iter().all(|count| (0.19..0.21).contains(&share(*count))), "{morphology:?}");
    assert!(removal.iter().all(|count| (0.09..0.11).contains(&share(*count))), "{removal:?}");
    assert!(operators.len() == 4 && operators.values().all(|count| (0.14..0.16).contains(&share(*count))), "{operators:?}");
    // All three are drawn in a twentieth of the patches, a sixth of them in each order.
    assert!([ascending, descending].iter().all(|count| (0.006..0.011).contains(&share(*count))), "{ascending} {descending}");

    let always = PreviousStage { morphology_probability: 1.0, removal_probability: 1.0, ..PreviousStage::da5() };
    assert_eq!(always.draw(5, &mut rng).len(), 10);
    let never = PreviousStage { morphology_probability: 0.0, removal_probability: 0.0, ..PreviousStage::da5() };
    assert_eq!((never.draw(5, &mut rng).len(), always.draw(0, &mut rng).len()), (0, 0));
}

#[test]
fn a_gained_voxel_is_lost_by_other_labels_and_a_lost_one_by_none() {
    let grow = StageOperation::Morphology { channel: 0, operator: Operator::Grow, radius: 1.0 };
    let shrink = StageOperation::Morphology { channel: 0, operator: Operator::Shrink, radius: 1.0 };
    let mut channels = [vec![0.0, 1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0, 1.0]].concat();
    apply(&[grow], &mut channels, [1, 1, 4], &mut StageScratch::default());
    assert_eq!(channels, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    // Beyond the patch everything counts as the label: nothing is lost at its border.
    apply(&[shrink], &mut channels, [1, 1, 4], &mut StageScratch::default());
    assert_eq!(channels, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
}
