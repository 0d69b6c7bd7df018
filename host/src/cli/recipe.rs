//! Arguments that say how weights are moved. A plugin may give some of them in its manifest; those of the command line win.

use crate::config::{OptimiserName, Recipe, Schedule, Weighting, WeightingArg};
use clap::{Args, Parser, ValueEnum};

/// How weights are moved; nnU-Net's way unless told otherwise.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Optimiser")]
// What is optional on the command line stands in brackets.
#[allow(rustdoc::broken_intra_doc_links)]
pub struct RecipeArgs {
    /// Default: sgd
    #[arg(long, value_enum, value_name = "NAME")]
    pub optimiser: Option<OptimiserName>,

    /// Initial learning rate; default: 0.01 for sgd, 0.0003 for the others
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,

    /// Factor of the learning rate for what the plugin created; default: 1
    #[arg(long, value_name = "FACTOR")]
    pub heads_rate: Option<f64>,

    /// Factor of the learning rate for learned loss weights; default: 1
    #[arg(long, value_name = "FACTOR")]
    pub loss_weights_rate: Option<f64>,

    /// Default: 0.00003, for adamw 0.05
    #[arg(long, value_name = "DECAY")]
    pub weight_decay: Option<f64>,

    /// Momentum of sgd; default: 0.99
    #[arg(long, value_name = "MOMENTUM")]
    pub momentum: Option<f64>,

    /// Decays of the means of adam and adamw; default: 0.9,0.999
    #[arg(long, value_parser = pair, value_name = "BETA,BETA")]
    pub betas: Option<[f64; 2]>,

    /// adam and adamw divide by the largest mean square so far
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub amsgrad: Option<bool>,

    /// Learning rate over the epochs; default: poly
    #[arg(long, value_enum, value_name = "NAME")]
    pub schedule: Option<ScheduleName>,

    /// Epochs of the linear part of warmup-poly; default: 50
    #[arg(long, value_name = "N")]
    pub warmup: Option<u64>,

    /// Bound on the norm of all gradients together; default: 12
    #[arg(long, value_name = "NORM")]
    pub clip_norm: Option<f64>,

    /// Batches a step, whose gradients are averaged; default: 1
    #[arg(long, value_name = "N")]
    pub accumulate: Option<u64>,

    /// Decay of a moving average of the weights, which is then validated and predicted with, e.g. 0.999; default: none
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<f64>,

    /// How loss terms are weighted beyond what the plugin says: given, dwa[:TEMPERATURE], gradnorm[:ALPHA[:RATE]]; or a factor of one term's weight
    /// over the epochs: TERM=constant:VALUE, linear:FROM:TO[:EPOCHS], cosine:FROM:TO[:EPOCHS], step:VALUE[:EPOCH:VALUE…],
    /// warmup:EPOCHS[:VALUE]; may be repeated
    #[arg(long, value_name = "STRATEGY|TERM=FACTOR")]
    pub weighting: Vec<WeightingArg>,
}

/// Learning rate over the epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScheduleName {
    /// nnU-Net's polynomial decay.
    Poly,
    /// Half a cosine, to zero.
    Cosine,
    /// Linear at first, then polynomial.
    WarmupPoly,
    /// The initial learning rate.
    Constant,
}

/// The arguments alone, as a manifest has them.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Alone {
    #[command(flatten)]
    recipe: RecipeArgs,
}

impl RecipeArgs {
    /// Reads what a plugin's manifest asks for, such as `--optimiser adamw --schedule cosine`.
    ///
    /// # Errors
    /// Words that are none of these arguments, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let first_line = |e: clap::Error| e.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Alone::try_parse_from(text.split_whitespace()).map(|alone| alone.recipe).map_err(first_line)
    }

    /// These, and where they say nothing, those of `others`.
    pub fn or(self, others: Self) -> Self {
        Self {
            optimiser: self.optimiser.or(others.optimiser),
            learning_rate: self.learning_rate.or(others.learning_rate),
            heads_rate: self.heads_rate.or(others.heads_rate),
            loss_weights_rate: self.loss_weights_rate.or(others.loss_weights_rate),
            weight_decay: self.weight_decay.or(others.weight_decay),
            momentum: self.momentum.or(others.momentum),
            betas: self.betas.or(others.betas),
            amsgrad: self.amsgrad.or(others.amsgrad),
            schedule: self.schedule.or(others.schedule),
            warmup: self.warmup.or(others.warmup),
            clip_norm: self.clip_norm.or(others.clip_norm),
            accumulate: self.accumulate.or(others.accumulate),
            ema: self.ema.or(others.ema),
            weighting: if self.weighting.is_empty() { others.weighting } else { self.weighting },
        }
    }

    /// What a user asks for with these, beside what the manifest of the plugin asks for, for a run of `epochs`.
    ///
    /// # Errors
    /// Names a value that cannot be, and one of the user's that nothing would use.
    pub fn resolve(&self, of_plugin: Self, epochs: u64) -> Result<Recipe, String> {
        let recipe = self.clone().or(of_plugin).decide(epochs)?;
        let sgd = recipe.optimiser == OptimiserName::Sgd;
        let warmup = matches!(recipe.schedule, Schedule::WarmupPoly { .. });
        let unused = [
            (self.momentum.is_some() && !sgd, "--momentum", "--optimiser sgd"),
            (self.betas.is_some() && sgd, "--betas", "--optimiser adam or adamw"),
            (self.amsgrad == Some(true) && sgd, "--amsgrad", "--optimiser adam or adamw"),
            (self.warmup.is_some() && !warmup, "--warmup", "--schedule warmup-poly"),
        ];
        match unused.iter().find(|(unused, ..)| *unused) {
            Some((_, flag, with)) => Err(format!("{flag} is for {with} only; leave {flag} out, or add {with}")),
            None => Ok(recipe),
        }
    }

    /// Decides what is left open.
    fn decide(&self, epochs: u64) -> Result<Recipe, String> {
        let default = Recipe::default();
        let optimiser = self.optimiser.unwrap_or(default.optimiser);
        let (learning_rate, weight_decay) = optimiser.default_rates();
        let warmup = self.warmup.unwrap_or(50);
        let schedule = match self.schedule {
            Some(ScheduleName::WarmupPoly) if !(1..epochs).contains(&warmup) => {
                return Err(format!("--warmup is {warmup}; expected at least 1 and less than the {epochs} epochs"));
            }
            Some(ScheduleName::WarmupPoly) => Schedule::WarmupPoly { epochs: warmup },
            Some(ScheduleName::Cosine) => Schedule::Cosine,
            Some(ScheduleName::Constant) => Schedule::Constant,
            Some(ScheduleName::Poly) | None => Schedule::Poly,
        };
        let recipe = Recipe {
            optimiser,
            learning_rate: self.learning_rate.unwrap_or(learning_rate),
            heads_rate: self.heads_rate.unwrap_or(default.heads_rate),
            loss_weights_rate: self.loss_weights_rate.unwrap_or(default.loss_weights_rate),
            weight_decay: self.weight_decay.unwrap_or(weight_decay),
            momentum: self.momentum.unwrap_or(default.momentum),
            betas: self.betas.unwrap_or(default.betas),
            eps: default.eps,
            amsgrad: self.amsgrad.unwrap_or(default.amsgrad),
            schedule,
            clip_norm: self.clip_norm.unwrap_or(default.clip_norm),
            accumulate: self.accumulate.unwrap_or(default.accumulate),
            ema: self.ema,
            weighting: Weighting::new(&self.weighting),
        };
        let at_least_zero = [
            ("--learning-rate", recipe.learning_rate),
            ("--heads-rate", recipe.heads_rate),
            ("--loss-weights-rate", recipe.loss_weights_rate),
            ("--weight-decay", recipe.weight_decay),
        ];
        if let Some((name, value)) = at_least_zero.iter().find(|(_, value)| !value.is_finite() || *value < 0.0) {
            return Err(format!("{name} is {value}; expected a number of at least 0"));
        }
        let [beta1, beta2] = recipe.betas;
        let shares = [("--momentum", recipe.momentum), ("--betas", beta1), ("--betas", beta2), ("--ema", recipe.ema.unwrap_or(0.0))];
        if let Some((name, value)) = shares.iter().find(|(_, value)| !(0.0..1.0).contains(value)) {
            return Err(format!("{name} is {value}; expected at least 0 and less than 1"));
        }
        if !recipe.clip_norm.is_finite() || recipe.clip_norm <= 0.0 {
            return Err(format!("--clip-norm is {}; expected a number above 0", recipe.clip_norm));
        }
        if recipe.accumulate == 0 {
            return Err("--accumulate is 0; expected at least 1 batch a step".to_owned());
        }
        Ok(recipe)
    }
}

fn pair(text: &str) -> Result<[f64; 2], String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    numbers.and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| "expected two numbers, such as 0.9,0.999".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_what_a_plugin_asks_for() {
        let plugin = RecipeArgs::parse("--optimiser adamw --schedule warmup-poly --warmup 3").expect("words it knows");
        let user = RecipeArgs { warmup: Some(5), weight_decay: Some(0.0), ..RecipeArgs::default() };
        let recipe = user.resolve(plugin, 10).expect("possible");
        assert_eq!((recipe.optimiser, recipe.learning_rate, recipe.weight_decay), (OptimiserName::Adamw, 3e-4, 0.0));
        assert_eq!(recipe.schedule, Schedule::WarmupPoly { epochs: 5 });
        assert_eq!(RecipeArgs::default().resolve(RecipeArgs::default(), 1).expect("nnU-Net's"), Recipe::default());
        // What a plugin asks for with its optimiser does not come with another.
        let plugin = RecipeArgs::parse("--optimiser adamw --betas 0.9,0.99 --warmup 3").expect("words it knows");
        let user = RecipeArgs { optimiser: Some(OptimiserName::Sgd), ..RecipeArgs::default() };
        assert_eq!(user.resolve(plugin, 10).expect("possible").optimiser, OptimiserName::Sgd);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let refused = |text: &str| match RecipeArgs::parse(text) {
            Ok(recipe) => recipe.resolve(RecipeArgs::default(), 10).expect_err("must be refused"),
            Err(message) => message,
        };
        for (text, word) in [
            ("--optimiser lion", "lion"),
            ("--lerning-rate 1", "--lerning-rate"),
            ("--learning-rate nan", "--learning-rate is NaN"),
            ("--schedule warmup-poly --warmup 10", "less than the 10 epochs"),
            ("--ema 1", "--ema is 1"),
            ("--accumulate 0", "--accumulate is 0"),
            ("--momentum 0.9 --optimiser adam", "--momentum is for --optimiser sgd"),
            ("--betas 0.9,0.99", "--betas is for --optimiser adam"),
            ("--amsgrad", "--amsgrad is for --optimiser adam"),
            ("--warmup 5", "--warmup is for --schedule warmup-poly"),
        ] {
            let message = refused(text);
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
