//! Dropout draws from libtorch's one generator a process: it has a process of its own.

use tests::golden::Golden;
use tests::network::Network;

#[test]
fn dropout_drops_whole_channels_in_training_alone_and_by_its_seed() {
    let golden = Golden::read("network_variants_2d");
    let mut network = golden.metadata::<Network>("network");
    network.architecture.arch_kwargs["dropout_op_kwargs"]["p"] = 0.5.into();
    let (model, input) = (network.model(&golden), golden.tensor("input"));
    let features = |training, seed| tch::no_grad(|| model.forward_with_features(&input, 1, training, seed)).expect("runs").1;
    assert!(features(false, 1).decoder[0].equal(&features(false, 2).decoder[0]), "nothing is dropped in validation");
    let [first, same, other] = [1, 1, 2].map(|seed| features(true, seed).decoder.swap_remove(0));
    assert!(first.equal(&same) && !first.equal(&other));
    // Before the last norm and nonlinearity a dropped channel is one value everywhere, and so it is after them.
    let spread = first.amax([2, 3], false) - first.amin([2, 3], false);
    let flat = i64::try_from(spread.eq(0.0).sum(tch::Kind::Int64)).expect("a number");
    assert!((1..spread.numel() as i64).contains(&flat), "{flat} of {} channels are flat", spread.numel());
}
