//! `qgemm report`: a page of charts from the results of `qgemm bench --json`.

mod picture;

use crate::errors::{invalid, invalid_because};
use crate::files::outfile::OutFile;
use crate::page::picture::picture;
use crate::results::{FORMAT, Results};
use anyhow::Result;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Makes a page of charts from results of `qgemm bench --json`.
///
/// The page is one file that needs no network. Runs on the same CPU are shown together.
#[derive(clap::Args)]
pub struct Args {
    /// Results of `qgemm bench --json`
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The page to write
    #[arg(long, value_name = "PAGE", default_value = "report.html")]
    out: PathBuf,
    /// Write an SVG picture too: qgemm beside the best other library on one thread [default: none]
    #[arg(long, value_name = "SVG")]
    picture: Option<PathBuf>,
}

const PAGE: &str = include_str!("../../page/page.html");

/// The page's marks and the texts that replace them; the runs come last.
const PARTS: [(&str, &str); 4] = [
    ("{{style}}", include_str!("../../page/style.css")),
    ("{{plot}}", include_str!("../../page/plot.js")),
    ("{{charts}}", include_str!("../../page/charts.js")),
    ("{{licences}}", include_str!("../../page/plot-licences.txt")),
];

/// Bytes that are read of a file: a device such as /dev/zero has no end.
const MAX_BYTES: u64 = 1 << 28;

pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let page = OutFile::new("--out", &args.out)?;
    let svg = args.picture.as_deref().map(|path| OutFile::new("--picture", path)).transpose()?;
    OutFile::check_distinct(&[Some(&page), svg.as_ref()].into_iter().flatten().collect::<Vec<_>>())?;
    let runs = args.files.iter().map(|path| results(path)).collect::<Result<Vec<_>>>()?;
    let text = page_of(&runs)?;
    let picture = svg.as_ref().map(|_| picture(&runs)).transpose();
    let picture =
        picture.map_err(|why| invalid_because("--picture", "given", why, "left out for these files"))?;
    page.write_with(&|file| Ok(file.write_all(text.as_bytes())?))?;
    if let (Some(file), Some(picture)) = (svg, picture) {
        file.write_with(&|file| Ok(file.write_all(picture.as_bytes())?))?;
    }
    let cases: usize = runs.iter().map(|run| run.cases.len()).sum();
    writeln!(out, "{}: {cases} measurements of {} run(s)", args.out.display(), runs.len())?;
    Ok(())
}

/// The results in a file.
fn results(path: &Path) -> Result<Results> {
    const MUST: &str = "a file that `qgemm bench --json` wrote";
    let refuse = |why: &dyn std::fmt::Display| invalid_because("FILE", path.display(), why, MUST);
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    file.map_err(|e| refuse(&e))?;
    let results: Results = serde_json::from_str(&text).map_err(|e| refuse(&e))?;
    if results.format != FORMAT {
        let why = format!("its format is '{}'", crate::text::one_line(&results.format));
        return Err(refuse(&why));
    }
    if results.cases.is_empty() {
        return Err(invalid("FILE", path.display(), "results of at least one case"));
    }
    Ok(results)
}

/// The page that shows runs.
fn page_of(runs: &[Results]) -> Result<String> {
    let mut page = PAGE.to_string();
    for (mark, part) in PARTS {
        page = page.replace(mark, part);
    }
    // Within the element of a script only `<` could end it. A mark in a file's text is not replaced: runs come last.
    Ok(page.replace("{{runs}}", &serde_json::to_string(runs)?.replace('<', "\\u003c")))
}
