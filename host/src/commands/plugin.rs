//! `host plugin list | inspect`: reads manifests; runs no plugin code.

use crate::cli::PluginCommand;
use crate::plugin;
use anyhow::Result;

/// Lists or shows plugins.
pub fn execute(command: &PluginCommand) -> Result<()> {
    match command {
        PluginCommand::List => list(),
        PluginCommand::Inspect { plugin } => inspect(plugin),
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
