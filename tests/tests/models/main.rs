//! Trained models, ours and nnU-Net's: prediction, evaluation, export, files of PyTorch.

mod evaluation;
mod export;
mod prediction;
mod prediction_refusals;
mod predictor;
mod pth;
mod pth_mutated;
