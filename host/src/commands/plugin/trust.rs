//! `host plugin trust add | list | remove`: which plugins `--locked` runs. Runs none.

use crate::console::say;
use crate::environment::Environment;
use crate::report::table;
use anyhow::{Result, anyhow, bail};
use clap::Subcommand;
use gate::LibraryFile;
use gate::search::resolve;
use gate::trust::{self, Pin};
use std::path::Path;

/// Digits of a sha256 that are shown in tables, and that are enough to name one if no other begins with them.
const DIGITS: usize = 16;

/// `host plugin trust …`.
#[derive(Debug, Subcommand)]
pub enum TrustCommand {
    /// Pin plugins by the sha256 that they have now: --locked then runs them, and others under their ids are warned of
    Add {
        /// Ids or paths of libraries
        #[arg(required = true, value_name = "ID|PATH")]
        plugins: Vec<String>,
    },
    /// List what is pinned, and whether it is still what was pinned
    List,
    /// Take back what was pinned
    Remove {
        /// Ids (everything that is pinned under them), paths of libraries, or sha256s or the first digits of one
        #[arg(required = true, value_name = "ID|PATH|SHA256")]
        plugins: Vec<String>,
    },
}

/// Adds, lists or removes.
pub fn execute(command: &TrustCommand, env: &Environment) -> Result<()> {
    match command {
        TrustCommand::Add { plugins } => add(plugins, env),
        TrustCommand::List => list(env),
        TrustCommand::Remove { plugins } => remove(plugins, env),
    }
}

/// All of them or none.
fn add(specs: &[String], env: &Environment) -> Result<()> {
    let mut new = Vec::new();
    for spec in specs {
        let file = LibraryFile::read(&resolve(spec, &env.plugins)?)?;
        file.check(&env.plugins)?;
        new.push(Pin::of(&file.identity));
    }
    let others = trust::change(|pins| {
        pins.retain(|old| new.iter().all(|new| new.sha256 != old.sha256));
        let others: Vec<Pin> = pins.iter().filter(|old| new.iter().any(|new| new.id == old.id)).cloned().collect();
        pins.extend(new.iter().cloned());
        anyhow::Ok(others)
    })?;
    for Pin { id, version, sha256, path, .. } in &new {
        say!(env, "pinned {id} {version}, sha256 {sha256}, {}", path.display())?;
    }
    for Pin { id, version, sha256, added, .. } in others {
        say!(env, "{id} {version} of {added} stays pinned, too; to take it back: host plugin trust remove {}", &sha256[..DIGITS])?;
    }
    Ok(())
}

fn list(env: &Environment) -> Result<()> {
    let pins = trust::pins()?;
    if pins.is_empty() {
        return Ok(say!(env, "No plugin is pinned. Pin one: host plugin trust add ID|PATH")?);
    }
    let mut rows = vec![["ID", "VERSION", "SHA256", "ADDED", "FILE", "PATH"].map(str::to_owned).to_vec()];
    rows.extend(pins.iter().map(|pin| {
        let Pin { sha256, id, version, path, added } = pin;
        let path = path.display().to_string();
        vec![id.clone(), version.clone(), sha256[..DIGITS].to_owned(), added.clone(), state(pin), path]
    }));
    Ok(env.output.text(&table::lines(&rows))?)
}

/// What has become of the file that was pinned.
fn state(pin: &Pin) -> String {
    if !pin.path.exists() {
        return "gone".to_owned();
    }
    match LibraryFile::read(&pin.path) {
        Ok(file) if file.identity.sha256 == pin.sha256 => "unchanged".to_owned(),
        Ok(_) => "changed".to_owned(),
        Err(_) => "no plugin".to_owned(),
    }
}

/// All of them or none.
fn remove(specs: &[String], env: &Environment) -> Result<()> {
    let removed = trust::change(|pins| {
        let mut removed = Vec::new();
        for spec in specs {
            let meant = meant(spec, pins)?;
            removed.extend(pins.extract_if(.., |pin| meant.contains(pin)));
        }
        anyhow::Ok(removed)
    })?;
    for Pin { id, version, sha256, .. } in removed {
        say!(env, "{id} {version}, sha256 {sha256}, is not pinned any more")?;
    }
    Ok(())
}

/// The pins that `spec` names, at least one: by path (of the file as it was pinned, or as it is now), id, or digits of one sha256.
fn meant(spec: &str, pins: &[Pin]) -> Result<Vec<Pin>> {
    let of = |is_meant: &dyn Fn(&Pin) -> bool| pins.iter().filter(|pin| is_meant(pin)).cloned().collect::<Vec<_>>();
    let found = if gate::search::is_path(spec) {
        let path = std::path::absolute(spec).map_err(|e| anyhow!("{spec}: {e}"))?;
        let now = LibraryFile::read(Path::new(spec)).ok().map(|file| file.identity.sha256);
        of(&|pin| pin.path == path || Some(&pin.sha256) == now.as_ref())
    } else {
        let with_id = of(&|pin| pin.id == spec);
        if with_id.is_empty() && spec.len() >= DIGITS / 2 { of(&|pin| pin.sha256.starts_with(spec)) } else { with_id }
    };
    if found.is_empty() {
        let known: Vec<String> = pins.iter().map(|pin| format!("{} ({})", pin.id, &pin.sha256[..DIGITS])).collect();
        bail!("{spec}: nothing of that name is pinned; there are: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") });
    }
    Ok(found)
}
