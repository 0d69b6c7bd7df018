//! `host plugin list | inspect` read manifests and run no plugin code; `schema` asks the plugin, in a child process.

use crate::cli::PluginCommand;
use crate::plugin::{self, Library, LoadedTrainer};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Lists plugins, or shows one.
pub fn execute(command: &PluginCommand) -> Result<()> {
    match command {
        PluginCommand::List => list(),
        PluginCommand::Inspect { plugin } => inspect(plugin),
        PluginCommand::Schema { plugin, in_process: true } => schema(plugin),
        PluginCommand::Schema { plugin, in_process: false } => schema_in_child(plugin),
    }
}

fn list() -> Result<()> {
    let found = plugin::list();
    if found.is_empty() {
        println!("No plugins found. Build those that ship with the host: cargo build --package base --package multi-output");
        return Ok(());
    }
    println!("{:<20} {:<10} {:<8} {:<10} PATH", "ID", "VERSION", "API", "LIBTORCH");
    for found in found {
        match found.manifest {
            Ok(m) => println!("{:<20} {:<10} {:<8} {:<10} {}", m.id, m.version, m.api, m.libtorch, found.path.display()),
            Err(error) => println!("{:<20} {} {error}", "?", found.path.display()),
        }
    }
    Ok(())
}

fn inspect(spec: &str) -> Result<()> {
    let path = plugin::resolve(spec)?;
    let (manifest, sha256, verdict) = plugin::inspect(&path)?;
    println!("path         {}", path.display());
    println!("sha256       {sha256}");
    let fields = serde_json::to_value(&manifest)?;
    for (key, value) in fields.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        println!("{key:<12} {value}");
    }
    match verdict {
        Ok(()) => println!("loadable     yes, as far as can be told without running it"),
        Err(error) => println!("loadable     no: {error}"),
    }
    Ok(())
}

fn schema(spec: &str) -> Result<()> {
    let library = Library::load(&plugin::resolve(spec)?)?;
    println!("{}", serde_json::to_string_pretty(&LoadedTrainer::describe(&library)?.schema)?);
    Ok(())
}

/// A plugin that crashes takes only the child with it.
fn schema_in_child(spec: &str) -> Result<()> {
    let host = std::env::current_exe().context("cannot find this program")?;
    let status = Command::new(host).args(["plugin", "schema", "--in-process", spec]).status().context("cannot start a child process")?;
    ensure!(status.success(), "plugin {spec}: its schema cannot be had ({status})");
    Ok(())
}
