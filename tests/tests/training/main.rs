//! Whole runs of the program: preparation, training, interruptions, arms, weights of terms, reports.

mod arms;
mod augmentation;
mod configurations;
mod dataset;
mod demo;
mod folds;
mod memory;
mod precision;
mod preparation;
mod rates;
mod resume;
mod runs;
mod sampling;
mod settings;
mod silent;
mod soak;
mod threads;
mod validation;
mod variables;
mod watchdogs;
mod weighting;
mod words;
