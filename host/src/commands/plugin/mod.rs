//! `host plugin …`: `list` and `inspect` read manifests and run no plugin code; whatever runs a plugin does so in a process of its own.

mod args;
mod trust;

use super::Outcome;
use super::place::raw_root;
use super::run::options;
use crate::conformance::{self, CASES, Finding, Plan, Report, Subject, Timing, every_kind_of_target};
use crate::console::say;
use crate::environment::Environment;
use crate::network::all_told;
use crate::plugin::{self, Child, Ended, Language};
use anyhow::{Result, anyhow, bail, ensure};
use data::dataset::Dataset;
use gate::search::resolve;
use gate::{LibraryFile, PluginIdentity};
use indexmap::IndexMap;
use plugin_api::options::suggestion;
use plugin_api::task::Target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use args::PluginCommand;
use args::{BenchArgs, CheckArgs, NewArgs, SubjectArgs};

/// How long the steps of a plugin may take. Like the next limit, it is there for a plugin that hangs, not for a slow one, and waiting for a
/// processor does not count.
const TIME_TO_BENCH: Duration = Duration::from_secs(1200);
/// How long a plugin may take to describe itself.
const TIME_TO_DESCRIBE: Duration = Duration::from_secs(200);

/// Lists plugins, shows one, or tries one.
pub fn execute(command: &PluginCommand, env: &Environment) -> Result<Outcome> {
    match command {
        PluginCommand::List => list(env),
        PluginCommand::Inspect { plugin } => inspect(plugin, env),
        PluginCommand::Schema { plugin } => {
            let schema = schema(&resolve(plugin, &env.plugins)?, env)?;
            Ok(env.output.json(&schema)?)
        }
        PluginCommand::New(args) => new(args, env),
        PluginCommand::Env => Ok(env.output.text(&plugin::build_variables(program(env)?)?)?),
        PluginCommand::Check(args) => check(args, env),
        PluginCommand::Bench(args) => bench(args, env),
        PluginCommand::Trust(command) => trust::execute(command, env),
    }?;
    Ok(Outcome::Done)
}

fn list(env: &Environment) -> Result<()> {
    let found = gate::search::list(&env.plugins);
    if found.is_empty() {
        say!(env, "No plugins found. Build those that ship with the host: cargo build --package base --package multi-output")?;
        return Ok(());
    }
    say!(env, "{:<20} {:<10} {:<8} {:<10} PATH", "ID", "VERSION", "API", "LIBTORCH")?;
    for found in found {
        match found.manifest {
            Ok(m) => say!(env, "{:<20} {:<10} {:<8} {:<10} {}", m.id, m.version, m.api, m.libtorch, found.path.display())?,
            Err(error) => say!(env, "{:<20} {} {error}", "?", found.path.display())?,
        }
    }
    Ok(())
}

/// The program, which authors of plugins call.
fn program(env: &Environment) -> Result<&Path> {
    env.program.as_deref().ok_or_else(|| anyhow!("cannot tell where this program is: the system does not say (/proc/self/exe)"))
}

fn inspect(spec: &str, env: &Environment) -> Result<()> {
    let file = LibraryFile::read(&resolve(spec, &env.plugins)?)?;
    say!(env, "path         {}", file.identity.path.display())?;
    say!(env, "sha256       {}", file.identity.sha256)?;
    say!(env, "trust        {}", gate::trust::standing(&file.identity, &env.plugins)?)?;
    let fields = serde_json::to_value(&file.identity.manifest)?;
    for (key, value) in fields.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        say!(env, "{key:<12} {value}")?;
    }
    match file.admit(&env.plugins) {
        Ok(_) => say!(env, "loadable     yes, as far as can be told without running it")?,
        Err(error) => say!(env, "loadable     no: {error}")?,
    }
    Ok(())
}

/// What `work` returns, done in a process of its own.
fn apart<T: Serialize + DeserializeOwned>(path: &Path, limit: Duration, work: impl FnOnce() -> Result<T, String>) -> Result<T> {
    let done = Child::start(limit, work)?.wait()?;
    // What the plugin said meanwhile.
    eprint!("{}", imaging::plain::plain_lines(&done.stderr));
    match done.ended {
        Ended::Answered(answer) => answer.map_err(|message| anyhow!(message)),
        other => bail!("plugin {}: it {other}", path.display()),
    }
}

/// The schema of the options of the plugin at `path`.
fn schema(path: &Path, env: &Environment) -> Result<Value> {
    apart(path, TIME_TO_DESCRIBE, || {
        let plugin = plugin::load(path, &env.plugins).map_err(|e| e.to_string())?;
        Ok(plugin::describe(&*plugin).map_err(|e| e.to_string())?.schema)
    })
}

/// The extensions of the plugin at `path`, as far as this host calls them; none of one that cannot be loaded.
fn extensions(path: &Path, env: &Environment) -> Vec<String> {
    let found = apart(path, TIME_TO_DESCRIBE, || {
        let plugin = plugin::load(path, &env.plugins).map_err(|e| e.to_string())?;
        Ok(plugin.extensions().into_iter().map(str::to_owned).collect())
    });
    found.unwrap_or_default()
}

/// A plugin as the command line has it, and what it is to be tried with.
struct Tried {
    path: PathBuf,
    options: Value,
    targets: IndexMap<String, Target>,
    made_up: bool,
    seed: u64,
}

impl Tried {
    fn of(args: &SubjectArgs, dataset: Option<&str>, env: &Environment) -> Result<Self> {
        let path = resolve(&args.plugin, &env.plugins)?;
        let options = if args.options.is_none() && args.set.is_empty() {
            schema(&path, env).ok().and_then(|schema| schema["examples"].get(0).cloned()).unwrap_or_else(|| json!({}))
        } else {
            options(args.options.as_deref(), &args.set)?
        };
        let targets = match dataset {
            None => every_kind_of_target(),
            Some(dataset) => all_told(&Dataset::open(dataset, raw_root().as_deref())?.description.targets),
        };
        Ok(Self { path, options, targets, made_up: dataset.is_none(), seed: args.seed })
    }

    /// Loads it, in a process of its own.
    fn load(&self, env: &Environment) -> Result<Subject, Finding> {
        let plugin = plugin::load(&self.path, &env.plugins).map_err(|e| Finding::Failed(e.reason.to_string()))?;
        Ok(Subject { plugin, options: self.options.clone(), targets: self.targets.clone(), made_up: self.made_up, seed: self.seed })
    }
}

fn new(args: &NewArgs, env: &Environment) -> Result<()> {
    let NewArgs { name, lang, plugin_api, output } = args;
    // From the new folder a relative path would lead elsewhere.
    let plugin_api = match plugin_api {
        Some(path) if path.contains('/') || Path::new(path).is_dir() => std::path::absolute(path)?.display().to_string(),
        Some(version) => version.clone(),
        None => plugin::plugin_api(),
    };
    let folder = plugin::create_from_template(name, *lang, &plugin_api, output)?;
    let (build, plugin) = match lang {
        Language::Rust => ("cargo build --release", format!("target/release/{}", gate::search::library_file(name))),
        Language::Cpp => ("./build.sh", format!("./{}", gate::search::library_file(name))),
    };
    let host = program(env)?;
    say!(env, "{} is written. Next:", folder.display())?;
    say!(env, "  eval \"$({} plugin env)\"", host.display())?;
    say!(env, "  cd {} && {build}", folder.display())?;
    say!(env, "  \"$TRAINER_HOST\" plugin check {plugin}")?;
    Ok(())
}

fn check(args: &CheckArgs, env: &Environment) -> Result<()> {
    if let Some(unknown) = args.only.iter().find(|name| !CASES.iter().any(|case| case.name == **name)) {
        bail!("--only: there is no case '{unknown}'{}", suggestion(unknown, CASES.iter().map(|case| case.name)));
    }
    let tried = Tried::of(&args.subject, args.dataset.as_deref(), env)?;
    let PluginIdentity { manifest, sha256, .. } = LibraryFile::read(&tried.path)?.identity;
    let head = Report {
        plugin: format!("{} {}", manifest.id, manifest.version),
        sha256,
        extensions: extensions(&tried.path, env),
        options: tried.options.clone(),
        seed: tried.seed,
        outcomes: Vec::new(),
        seconds: 0.0,
    };
    let plan = Plan { only: args.only.clone(), time_limit: Duration::from_secs(args.time_limit) };
    let report = conformance::run(&plan, head, &|| {
        // Several cases run at a time.
        tch::set_num_threads(1);
        tried.load(env)
    })?;
    match args.json {
        true => env.output.json(&report)?,
        false => env.output.text(&format!("{report}\n"))?,
    }
    ensure!(report.bad() == 0, "plugin {}: {} of {} cases failed", tried.path.display(), report.bad(), report.outcomes.len());
    Ok(())
}

fn bench(args: &BenchArgs, env: &Environment) -> Result<()> {
    let tried = Tried::of(&args.subject, None, env)?;
    let time = |tried: &Tried, fixture: Option<&Path>| {
        apart(&tried.path, TIME_TO_BENCH, || {
            tried.load(env).and_then(|subject| conformance::bench(&subject, fixture)).map_err(|finding| finding.to_string())
        })
    };
    let mut timings: Vec<Timing> = vec![time(&tried, args.fixture.as_deref())?];
    // Recorded outputs have the names of one plugin.
    if let (None, Ok(base)) = (&args.fixture, resolve("base", &env.plugins)) {
        timings.push(time(&Tried { path: base, options: json!({}), ..tried }, None)?);
    }
    match args.json {
        true => env.output.json(&timings)?,
        false => env.output.text(&conformance::bench_table(&timings))?,
    }
    Ok(())
}
