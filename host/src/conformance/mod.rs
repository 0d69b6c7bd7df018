//! Conformance: whether a plugin keeps the contract, case by case.
//!
//! A [`Case`] makes a trainer on a small made-up [`Problem`], calls it as a training would, and looks at what comes back; each runs in a
//! process of its own with a time limit, so that a crash, a hang or a leak is found and named instead of suffered. Nothing here depends on
//! data or on chance: the same plugin, options and seed give the same [`Report`]. `host plugin check` prints it; authors call it from their
//! own `cargo test`.
//!
//! `problem` makes up tasks and features in several worlds, `targets` batches, `rig` puts a trainer onto them, `given` is all that it
//! gives, to be compared. The cases are grouped by what they look at, `run` runs them. `bench` times a trainer on the same ground. Which
//! silent mistakes are found, and which cannot be, says the chapter `what_the_kit_proves` of plugin-api's guide.

mod belief;
mod bench;
mod given;
mod gradients;
mod ideal;
mod levels;
mod library;
mod made;
mod manners;
mod mirrored;
mod numbers;
mod options;
mod parameters;
mod prediction;
mod problem;
mod repetition;
mod report;
mod rig;
mod run;
mod samples;
mod shapes;
mod state;
mod targets;

use crate::plugin::CallError;
use crate::train::StepError;
use crate::{model, network};

pub use bench::{Timing, bench, table as bench_table};
pub use problem::{Content, Problem, World, every_kind_of_target};
pub use report::{Report, Status};
pub use rig::{Rig, Subject};
pub use run::{Plan, run};

/// Something that a case looks at.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Names it on the command line.
    pub name: &'static str,
    /// What holds where it passes.
    pub about: &'static str,
    run: fn(&Subject) -> Result<(), Finding>,
}

/// Why a case did not pass.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Finding {
    /// The contract is broken.
    Failed(String),
    /// Memory is not given back.
    Leaked(String),
    /// It holds, but is worth a word.
    Warning(String),
    /// It does not apply.
    Skipped(String),
}

impl Finding {
    fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// The same, said of this problem.
    fn in_words(self, problem: &str) -> Self {
        let of = |message: String| format!("{problem}: {message}");
        match self {
            Self::Failed(message) => Self::Failed(of(message)),
            Self::Leaked(message) => Self::Leaked(of(message)),
            Self::Warning(message) => Self::Warning(of(message)),
            Self::Skipped(message) => Self::Skipped(of(message)),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Failed(message) | Self::Leaked(message) | Self::Warning(message) | Self::Skipped(message)) = self;
        f.write_str(message)
    }
}

impl From<CallError> for Finding {
    fn from(error: CallError) -> Self {
        Self::Failed(format!("{} {}", error.call, error.message))
    }
}

impl From<network::Error> for Finding {
    fn from(error: network::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<model::Error> for Finding {
    fn from(error: model::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<StepError> for Finding {
    fn from(error: StepError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<tch::TchError> for Finding {
    fn from(error: tch::TchError) -> Self {
        Self::Failed(error.to_string().lines().next().unwrap_or_default().to_owned())
    }
}

/// Returns a [`Finding::Failed`] with a formatted message unless `condition`.
macro_rules! must {
    ($condition:expr, $($message:tt)*) => {{
        let holds: bool = $condition;
        if !holds {
            return Err($crate::conformance::Finding::failed(format!($($message)*)));
        }
    }};
}
use must;

/// All cases, in the order in which they run. Where one of the first, the [`FOUNDATION`], fails, the others are skipped.
pub const CASES: &[Case] = &[
    Case { name: "load", about: "the library passes every gate and loads", run: |_| Ok(()) },
    Case { name: "manifest", about: "the manifest says what users need to know, in the form that they expect", run: library::manifest },
    Case { name: "schema", about: "the options' schema is valid JSON Schema that names and describes every option", run: library::schema },
    Case { name: "create", about: "a trainer can be made with the options, and declares sensible outputs", run: library::create },
    Case { name: "inputs", about: "inputs are not written to", run: manners::inputs },
    Case {
        name: "unknown-extension",
        about: "an extension that nobody knows is null, and those that it has are found by the length of their ids",
        run: library::answers,
    },
    Case { name: "fuzzed-options", about: "options that make no sense are errors of one line, not crashes", run: options::fuzzed },
    Case { name: "unknown-option", about: "an option that does not exist is refused", run: options::unknown },
    Case { name: "defaults", about: "no options are the defaults that the schema says", run: options::defaults },
    Case { name: "dead-options", about: "every option changes something", run: options::every_one_counts },
    Case {
        name: "shapes",
        about: "outputs and terms have their declared shapes: 2D, 3D, 1 to 5 levels, batch 1 and 3",
        run: shapes::shapes,
    },
    Case { name: "fewer-levels", about: "as many levels as are asked for", run: shapes::fewer_levels },
    Case { name: "activate", about: "predictions are probabilities where the output's kind says so", run: shapes::activate },
    Case { name: "keeps", about: "what the manifest says is kept is what the host would do itself", run: shapes::keeps },
    Case {
        name: "terms",
        about: "terms have names of their own, finite weights, and are not below what they call their lowest",
        run: shapes::terms,
    },
    Case { name: "unbelieved", about: "what is not valid, ignored, or of weight 0 teaches nothing", run: belief::unbelieved },
    Case { name: "absent", about: "what targets of cases hold that lack them changes nothing", run: belief::absent },
    Case { name: "levels", about: "levels count as deep supervision says", run: levels::weights },
    Case { name: "samples", about: "every sample of a batch counts, and by itself", run: samples::each_counts },
    Case { name: "ideal", about: "right outputs have a smaller loss than others", run: ideal::is_better },
    Case { name: "gradients", about: "gradients reach every parameter, and the trunk", run: gradients::reach },
    Case { name: "derivatives", about: "every output is trained, and the loss moves as its gradient says", run: gradients::derivatives },
    Case { name: "moved-parameters", about: "every parameter is read in every call", run: parameters::move_something },
    Case { name: "frozen", about: "no random buffer stands where a parameter was meant", run: parameters::frozen },
    Case { name: "priced-weights", about: "learned weights of terms have a price", run: parameters::have_a_price },
    Case {
        name: "gradient-check",
        about: "gradients are those of the loss: compared with differences, in f64 where the loss can",
        run: gradients::check,
    },
    Case {
        name: "empty-target",
        about: "finite where there is only background",
        run: |subject| numbers::finite_on(subject, Content::Empty),
    },
    Case { name: "full-target", about: "finite where there is only foreground", run: |subject| numbers::finite_on(subject, Content::Full) },
    Case {
        name: "one-voxel-target",
        about: "finite where foreground is one voxel",
        run: |subject| numbers::finite_on(subject, Content::OneVoxel),
    },
    Case {
        name: "ignored-target",
        about: "finite where nothing may be believed",
        run: |subject| numbers::finite_on(subject, Content::Ignored),
    },
    Case {
        name: "some-targets-missing",
        about: "finite where some cases lack their targets",
        run: |subject| numbers::finite_on(subject, Content::SomeMissing),
    },
    Case {
        name: "all-targets-missing",
        about: "finite, or no terms, where all cases lack their targets",
        run: |subject| numbers::finite_on(subject, Content::AllMissing),
    },
    Case { name: "large-logits", about: "finite for logits of ±10,000", run: numbers::large_logits },
    Case { name: "bf16", about: "finite under autocast to bfloat16", run: |subject| numbers::half(subject, false) },
    Case { name: "fp16", about: "finite under autocast to float16", run: |subject| numbers::half(subject, true) },
    Case { name: "layouts", about: "the same for inputs that are not contiguous or channels-last", run: numbers::layouts },
    Case { name: "same-step", about: "the same step gives the same bits", run: repetition::same_step },
    Case { name: "fresh-draws", about: "what is random differs from step to step, and follows the seed", run: repetition::fresh_draws },
    Case { name: "threads", about: "the same on any thread and with any number of them", run: repetition::threads },
    Case { name: "two-trainers", about: "two trainers do not disturb each other", run: repetition::two_trainers },
    Case {
        name: "after-another",
        about: "a trainer is the same after one for another task and with other options",
        run: repetition::after_another,
    },
    Case {
        name: "modes",
        about: "gradient mode, autocast, threads and deterministic algorithms are left as they were",
        run: manners::modes,
    },
    Case { name: "stdout", about: "nothing is written to standard output, which belongs to the host", run: manners::whole_life },
    Case { name: "after-error", about: "a call that fails is an error, and the next one works", run: manners::after_error },
    Case {
        name: "evaluation",
        about: "validation and prediction draw nothing, see every sample by itself, and leave nothing behind",
        run: prediction::evaluation,
    },
    Case {
        name: "reproduced",
        about: "a new trainer with the same weights predicts what the trained one does",
        run: prediction::reproduced,
    },
    Case { name: "validation", about: "validation works without gradients", run: manners::validation },
    Case { name: "metrics", about: "metrics of its own belong to its outputs, and do not disturb training", run: manners::metrics },
    Case { name: "made-targets", about: "targets of its own are as declared, whatever the data set's are like", run: made::as_declared },
    Case { name: "made-mirrored", about: "targets of its own that point somewhere are declared as vectors", run: mirrored::directions },
    Case {
        name: "made-on-threads",
        about: "targets of its own are the same the second time, and on any thread",
        run: made::same_on_threads,
    },
    Case { name: "made-in-steady-memory", about: "making targets leaves no memory behind", run: made::steady_memory },
    Case { name: "state", about: "a trainer with a saved state goes on as the one that saved it", run: state::round_trip },
    Case { name: "foreign-state", about: "a state of something else is an error, not a crash", run: state::foreign },
    Case { name: "create-destroy", about: "a hundred trainers leave no memory behind", run: state::create_destroy },
    Case { name: "steady-memory", about: "steps leave no memory behind", run: state::steady_memory },
];

/// So many of the first cases are what the others stand on.
pub const FOUNDATION: usize = 5;
