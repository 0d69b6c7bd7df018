//! `host plugin list | inspect` read manifests and run no plugin code; `schema` asks the plugin, in a child process.

use crate::cli::PluginCommand;
use crate::plugin::{self, Library, LibraryFile, LoadedTrainer, trust};
use anyhow::{Result, anyhow, ensure};
use std::io::{Write, stdout};
use std::process::Command;

/// Lists plugins, or shows one.
pub fn execute(command: &PluginCommand) -> Result<()> {
    match command {
        PluginCommand::List => list(),
        PluginCommand::Inspect { plugin } => inspect(plugin),
        PluginCommand::Trust(command) => super::trust::execute(command),
        PluginCommand::Schema { plugin, in_process: true } => schema(plugin),
        PluginCommand::Schema { plugin, in_process: false } => schema_in_child(plugin),
    }
}

fn list() -> Result<()> {
    let found = plugin::list();
    if found.is_empty() {
        writeln!(stdout(), "No plugins found. Build those that ship with the host: cargo build --package base --package multi-output")?;
        return Ok(());
    }
    writeln!(stdout(), "{:<20} {:<10} {:<8} {:<10} PATH", "ID", "VERSION", "API", "LIBTORCH")?;
    for found in found {
        match found.manifest {
            Ok(m) => writeln!(stdout(), "{:<20} {:<10} {:<8} {:<10} {}", m.id, m.version, m.api, m.libtorch, found.path.display())?,
            Err(error) => writeln!(stdout(), "{:<20} {} {error}", "?", found.path.display())?,
        }
    }
    Ok(())
}

fn inspect(spec: &str) -> Result<()> {
    let file = LibraryFile::read(&plugin::resolve(spec)?)?;
    writeln!(stdout(), "path         {}", file.path.display())?;
    writeln!(stdout(), "sha256       {}", file.sha256)?;
    writeln!(stdout(), "trust        {}", trust::standing(&file)?)?;
    let fields = serde_json::to_value(&file.manifest)?;
    for (key, value) in fields.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(stdout(), "{key:<12} {value}")?;
    }
    match file.check() {
        Ok(()) => writeln!(stdout(), "loadable     yes, as far as can be told without running it")?,
        Err(error) => writeln!(stdout(), "loadable     no: {error}")?,
    }
    Ok(())
}

fn schema(spec: &str) -> Result<()> {
    let library = Library::load(&plugin::resolve(spec)?)?;
    writeln!(stdout(), "{}", serde_json::to_string_pretty(&LoadedTrainer::describe(&library)?.schema)?)?;
    Ok(())
}

/// A plugin that crashes takes only the child with it.
fn schema_in_child(spec: &str) -> Result<()> {
    let host = std::env::current_exe().map_err(|e| anyhow!("cannot find this program: {e}"))?;
    let status = Command::new(host)
        .args(["plugin", "schema", "--in-process", spec])
        .status()
        .map_err(|e| anyhow!("cannot start a child process: {e}"))?;
    ensure!(status.success(), "plugin {spec}: its schema cannot be had ({status})");
    Ok(())
}
