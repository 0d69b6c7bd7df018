//! Numbers against nnU-Net's, in this process: networks, losses, optimisers, training steps.

mod border;
mod loss_laws;
mod losses;
mod network;
mod optimiser;
mod steps;
mod terms;
