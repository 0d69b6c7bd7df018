//! The guide for authors of trainer plugins. The first chapter is enough to be at work; the others say what it leaves out, each by itself.
//!
//! | chapter | what it answers |
//! | --- | --- |
//! | [Your first loss](first_loss) | how a loss of your own comes to train, in 15 minutes |
//! | [Concepts](concepts) | what the host does, what a plugin does, and what the words mean |
//! | [Lifecycle](lifecycle) | what is called when, with gradients or without; epochs, state, resuming |
//! | [Ownership](ownership) | whose tensors these are; how parameters come into being, and what becomes of them |
//! | [Threads](threads) | who calls, from where, and what of torch must be left alone |
//! | [Randomness](randomness) | how to draw, so that the same run gives the same bytes |
//! | [Errors](errors) | how to fail: messages, panics, numbers that are none |
//! | [Testing](testing) | how to know that it is right: your own tests, `plugin check`, `plugin bench` |
//! | [What the kit proves](what_the_kit_proves) | twenty ways to be silently wrong, what finds each of them, and what cannot be found |
//! | [Versions](versions) | what may change, and what you then have to do |
//! | [Publishing](publishing) | how others get it, and how they can trust it |
//! | [Security](security) | what is trusted; what holds for files of strangers, shared folders and patients' data, and what does not |
//! | [Extensions](extensions) | metrics of your own, gradients by hand |
//! | [C and C++](c_and_cpp) | the other door |
//! | [From nnU-Net](from_nnunet) | each command and each method of a Python trainer, and what it is here |
//! | [Differences](differences) | where this differs from nnU-Net, on purpose |

#[doc = include_str!("../guide/first_loss.md")]
pub mod first_loss {}

#[doc = include_str!("../guide/concepts.md")]
pub mod concepts {}

#[doc = include_str!("../guide/lifecycle.md")]
pub mod lifecycle {}

#[doc = include_str!("../guide/ownership.md")]
pub mod ownership {}

#[doc = include_str!("../guide/threads.md")]
pub mod threads {}

#[doc = include_str!("../guide/randomness.md")]
pub mod randomness {}

#[doc = include_str!("../guide/errors.md")]
pub mod errors {}

#[doc = include_str!("../guide/testing.md")]
pub mod testing {}

#[doc = include_str!("../guide/what_the_kit_proves.md")]
pub mod what_the_kit_proves {}

#[doc = include_str!("../guide/versions.md")]
pub mod versions {}

#[doc = include_str!("../guide/publishing.md")]
pub mod publishing {}

#[doc = include_str!("../guide/security.md")]
pub mod security {}

#[doc = include_str!("../guide/extensions.md")]
pub mod extensions {}

#[doc = include_str!("../guide/c_and_cpp.md")]
pub mod c_and_cpp {}

#[doc = include_str!("../guide/from_nnunet.md")]
pub mod from_nnunet {}

#[doc = include_str!("../guide/differences.md")]
pub mod differences {}
