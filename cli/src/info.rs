//! `qgemm info`: the CPU, its caches, and the kernels that run on it.

use crate::errors::invalid_because;
use crate::files::saved::saved_bytes;
use crate::machine::Machine;
use anyhow::Result;
use qgemm::{Dispatch, Isa, SavedKind, ScaleBits, saved_info};
use qgemm_kernels::{Features, GROUP_TABLE, MAX_VECTOR_GROUP};
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Shows the CPU, the kernels that run on it and the one that is chosen; or what a file of packed weights holds.
#[derive(clap::Args)]
pub struct Args {
    /// A file of `qgemm pack` [default: the CPU and its kernels]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print JSON [default: text]
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    if let Some(path) = &args.file {
        return weights(path, args.json, out);
    }
    let info = collect()?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&info)?)?;
        Ok(())
    } else {
        print(&info, out)
    }
}

/// Shows what a file of packed weights holds.
fn weights(path: &Path, json: bool, out: &mut dyn Write) -> Result<()> {
    let refuse = |why: &dyn Display| invalid_because("FILE", path.display(), why, "a file of `qgemm pack`");
    let bytes = saved_bytes("FILE", path)?.ok_or_else(|| refuse(&"it holds no packed weights"))?;
    let info = saved_info(&bytes).map_err(|e| refuse(&e))?;
    let mut fields = vec![
        ("k", json!(info.k)),
        ("n", json!(info.n)),
        ("type", json!(info.element.to_string())),
        ("bytes", json!(bytes.len())),
    ];
    match info.kind {
        SavedKind::Columns { activations, kernel } => {
            fields.insert(0, ("weights", json!("per column")));
            fields.push(("activations", json!(activations.to_string())));
            fields.push(("kernel", json!(kernel)));
        }
        SavedKind::Groupwise { bits, group, scales, minimums, zeros } => {
            fields.insert(0, ("weights", json!("group-wise")));
            fields.push(("bits", json!(bits.bits())));
            fields.push(("group", json!(group)));
            fields.push(("scales", json!(scale_type(scales))));
            fields.push(("minimums", json!(minimums.map(scale_type))));
            fields.push(("zeros", json!(if zeros { "one per scale" } else { "one" })));
        }
        _ => (),
    }
    if json {
        let object: serde_json::Map<_, _> =
            fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&object)?)?;
        return Ok(());
    }
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        writeln!(out, "{name:<12} {}", text(value))?;
    }
    Ok(())
}

fn scale_type(bits: ScaleBits) -> &'static str {
    match bits {
        ScaleBits::F32 => "f32",
        ScaleBits::F16 => "f16",
        ScaleBits::Bf16 => "bf16",
    }
}

fn print(info: &Value, out: &mut dyn Write) -> Result<()> {
    let cpu = &info["cpu"];
    writeln!(out, "qgemm     {}", text(&info["version"]))?;
    writeln!(out, "cpu       {} ({}, {})", text(&cpu["brand"]), text(&cpu["vendor"]), text(&info["arch"]))?;
    writeln!(out, "cores     {}", info["cores"])?;
    writeln!(out, "features  {}", list(&cpu["features"]))?;
    writeln!(out, "isas      {}", list(&info["isas"]))?;
    if cfg!(target_arch = "x86_64") {
        writeln!(out, "amx       {}", text(&info["amx"]))?;
    }
    let kib = |level: &str| info["caches"][level].as_u64().unwrap_or(0) >> 10;
    writeln!(
        out,
        "caches    L1d {} KiB, L2 {} KiB per core (blocks are cut for it), L3 {} KiB",
        kib("l1d"),
        kib("l2"),
        kib("l3")
    )?;
    writeln!(out, "\n{:<22} {:<12} {:>3} {:>3} {:>3}", "kernel", "isa", "mr", "nr", "kr")?;
    for kernel in info["kernels"].as_array().into_iter().flatten() {
        let chosen = if kernel["chosen"] == true { "  chosen" } else { "" };
        let [name, isa, mr, nr, kr] = ["name", "isa", "mr", "nr", "kr"].map(|field| text(&kernel[field]));
        writeln!(out, "{name:<22} {isa:<12} {mr:>3} {nr:>3} {kr:>3}{chosen}")?;
    }
    writeln!(out, "\nOf the chosen kernels each product takes the one that suits its N best.")?;
    writeln!(out, "\n{:<22} {:<12} {:>3}", "group-wise kernel", "isa", "mr")?;
    for kernel in info["groupwise_kernels"].as_array().into_iter().flatten() {
        let chosen = if kernel["chosen"] == true { "  chosen" } else { "" };
        let [name, isa, mr] = ["name", "isa", "mr"].map(|field| text(&kernel[field]));
        writeln!(out, "{name:<22} {isa:<12} {mr:>3}{chosen}")?;
    }
    writeln!(
        out,
        "\nThe chosen one multiplies weights with a scale per group. The scalar one takes groups of more than \
         {MAX_VECTOR_GROUP} rows."
    )?;
    Ok(())
}

/// A JSON value as text, a string without its quotes.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// The elements of a JSON array with spaces between them.
fn list(value: &Value) -> String {
    value.as_array().map_or(String::new(), |all| all.iter().map(text).collect::<Vec<_>>().join(" "))
}

/// All that `--json` prints, and the text is made from.
fn collect() -> Result<Value> {
    let dispatch = Dispatch::auto()?;
    let chosen: Vec<_> = dispatch.kernels().map(|kernel| kernel.name).collect();
    let kernels: Vec<_> = Dispatch::available()
        .into_iter()
        .map(|kernel| {
            json!({
                "name": kernel.name,
                "isa": kernel.isa.name(),
                "mr": kernel.mr,
                "nr": kernel.nr,
                "kr": kernel.kr,
                "steps": kernel.i16_groups,
                "chosen": chosen.contains(&kernel.name),
            })
        })
        .collect();
    let found = Features::detect();
    let groupwise_kernels: Vec<_> = GROUP_TABLE
        .iter()
        .filter(|kernel| kernel.ready(&found).is_some())
        .map(|kernel| {
            json!({
                "name": kernel.name,
                "isa": kernel.isa.name(),
                "mr": kernel.mr,
                "chosen": kernel.name == dispatch.groupwise_kernel(),
            })
        })
        .collect();
    let isas: Vec<_> = Isa::ALL.iter().filter(|isa| found.has(**isa)).map(|isa| isa.name()).collect();
    let Machine { arch, cpu, cores, caches, .. } = Machine::this()?;
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "arch": arch,
        "cpu": cpu,
        "cores": cores,
        "caches": caches,
        "isas": isas,
        "amx": Dispatch::amx().to_string(),
        "kernels": kernels,
        "chosen": chosen,
        "groupwise_kernels": groupwise_kernels,
        "chosen_groupwise": dispatch.groupwise_kernel(),
    }))
}
