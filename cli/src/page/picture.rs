//! The picture of README.md: how many times as fast as the best other library each shape is, as SVG.

use crate::results::{OURS, Results};
use anyhow::{Error, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::collections::BTreeMap;

const WIDTH: i32 = 760;
const ROW: i32 = 64;
const TOP: i32 = 58;
const BOTTOM: i32 = 46;
/// The axis begins here, and ends as far from the right edge as `RIGHT` says.
const LEFT: i32 = 250;
const RIGHT: i32 = 30;
/// Ratios on the axis.
const TICKS: [f64; 6] = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0];

const INK: RGBColor = RGBColor(29, 33, 38);
const QUIET: RGBColor = RGBColor(90, 99, 110);
const LINE: RGBColor = RGBColor(217, 220, 214);
const AHEAD: RGBColor = RGBColor(11, 110, 79);
const BEHIND: RGBColor = RGBColor(180, 70, 44);

/// The ratios of one kind of work on one CPU.
#[derive(Debug, PartialEq)]
struct Row {
    cpu: String,
    work: &'static str,
    /// By shape, ascending.
    ratios: Vec<f64>,
}

/// The kinds of work that have a row, with their names in words.
const WORK: [(&str, &str); 4] = [
    ("u8s8s32", "u8 x i8, i32 sums"),
    ("s8s8s32", "i8 x i8, i32 sums"),
    ("u8s8u8_zp", "u8 x i8, u8 output"),
    ("s8s8s8_zp", "i8 x i8, i8 output"),
];

/// The picture of runs on one thread.
///
/// # Errors
/// No other library was measured in any of them.
pub fn picture(runs: &[Results]) -> Result<String> {
    let rows = rows(runs);
    if rows.is_empty() {
        return Err(Error::msg("no run on one thread has another library (`qgemm bench --compare`)"));
    }
    let mut svg = String::new();
    draw(&rows, &mut svg).map_err(|error| Error::msg(error.to_string()))?;
    Ok(svg)
}

/// One row for each CPU and kind of work for which another library was measured.
fn rows(runs: &[Results]) -> Vec<Row> {
    // The least times of qgemm and of all others, by CPU, work and shape.
    let mut least: BTreeMap<(String, usize, [usize; 3]), [f64; 2]> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.run.threads == 1) {
        for case in &run.cases {
            let Some(work) = WORK.iter().position(|(name, _)| *name == case.variant) else { continue };
            let shape = [case.m, case.k, case.n];
            let times = least.entry((cpu(run), work, shape)).or_insert([f64::INFINITY; 2]);
            let of = &mut times[usize::from(case.library != OURS)];
            *of = of.min(case.least);
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    for ((cpu, work, _), [ours, other]) in least {
        let (work, ratio) = (WORK[work].1, other / ours);
        if !ratio.is_finite() {
            continue;
        }
        match rows.last_mut() {
            Some(row) if row.cpu == cpu && row.work == work => row.ratios.push(ratio),
            _ => rows.push(Row { cpu, work, ratios: vec![ratio] }),
        }
    }
    rows.iter_mut().for_each(|row| row.ratios.sort_by(f64::total_cmp));
    rows
}

/// The CPU in few words.
fn cpu(run: &Results) -> String {
    let cpu = &run.machine.cpu;
    format!("{}{}", cpu.brand.replace("(R)", "").replace("Processor", "").trim(), cpu.number())
}

fn draw(rows: &[Row], svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let height = TOP + ROW * rows.len() as i32 + BOTTOM;
    let all = || rows.iter().flat_map(|row| row.ratios.iter().copied());
    let (from, to) = (all().fold(1.0, f64::min) / 1.1, all().fold(1.0, f64::max) * 1.1);
    // Whole pixels are the same on every machine.
    let x = |ratio: f64| {
        LEFT + ((WIDTH - LEFT - RIGHT) as f64 * (ratio / from).ln() / (to / from).ln()).round() as i32
    };
    let root = SVGBackend::with_string(svg, (WIDTH as u32, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let text = |size: i32, color: &RGBColor, h: HPos| {
        ("sans-serif", size).into_font().color(color).pos(Pos::new(h, VPos::Center))
    };
    root.draw(&Text::new(
        "qgemm beside the fastest other library, one thread",
        (20, 22),
        text(17, &INK, HPos::Left),
    ))?;
    root.draw(&Text::new(
        "a dot is a shape; the long line is the median",
        (20, 42),
        text(13, &QUIET, HPos::Left),
    ))?;
    let bottom = height - BOTTOM;
    for tick in TICKS.into_iter().filter(|tick| (from..=to).contains(tick)) {
        let at = x(tick);
        let (color, width) = if tick == 1.0 { (INK, 2) } else { (LINE, 1) };
        root.draw(&PathElement::new([(at, TOP), (at, bottom)], color.stroke_width(width)))?;
        root.draw(&Text::new(format!("{tick}"), (at, bottom + 12), text(13, &INK, HPos::Center)))?;
    }
    let label = "times as fast (log scale)";
    root.draw(&Text::new(label, (WIDTH - RIGHT, bottom + 32), text(13, &QUIET, HPos::Right)))?;
    for (i, row) in rows.iter().enumerate() {
        let middle = TOP + ROW * i as i32 + ROW / 2;
        root.draw(&Text::new(row.work, (20, middle - 8), text(14, &INK, HPos::Left)))?;
        root.draw(&Text::new(row.cpu.clone(), (20, middle + 10), text(12, &QUIET, HPos::Left)))?;
        for (j, ratio) in row.ratios.iter().enumerate() {
            // Equal ratios lie beside each other.
            let y = middle + [-12, 4, -4, 12][j % 4];
            let color = if *ratio >= 1.0 { AHEAD } else { BEHIND };
            root.draw(&Circle::new((x(*ratio), y), 4, color.mix(0.75).filled()))?;
        }
        let median = x(row.ratios[row.ratios.len() / 2]);
        root.draw(&PathElement::new([(median, middle - 22), (median, middle + 22)], AHEAD.stroke_width(3)))?;
    }
    root.present()?;
    drop(root);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A run with cases of a library, a variant, M and a time.
    fn run(threads: usize, cases: &[(&str, &str, usize, f64)]) -> Results {
        let case = |&(library, variant, m, least): &(&str, &str, usize, f64)| {
            json!({
                "library": library, "version": "1", "kernel": "", "variant": variant, "m": m, "k": 2, "n": 3,
                "least": least, "median": least, "ninth": least, "batches": 1, "calls": 1, "rate": 1.0, "bytes": 1.0,
                "exact": true, "error": null, "limit": null, "share": null,
            })
        };
        let cpu = json!({"vendor": "", "brand": "Some(R) Processor", "family": 6, "model": 1, "stepping": 1, "features": []});
        let run = json!({
            "format": "", "limits": [], "cases": cases.iter().map(case).collect::<Vec<Value>>(),
            "build": {"version": "", "commit": null, "compiler": "", "target": "", "optimized": true},
            "machine": {
                "arch": "", "system": "", "cpu": cpu, "caches": {"l1d": 1, "l2": 1, "l3": 1}, "cores": 1,
                "memory": null, "governor": null, "virtual_machine": null,
            },
            "run": {
                "date": "", "seconds": 1.0, "threads": threads, "caller": "plain", "quick": false,
                "load_before": null, "load_after": null, "disturbed": null,
            },
        });
        serde_json::from_value(run).unwrap()
    }

    #[test]
    fn the_least_times_count() {
        let one = run(
            1,
            &[
                ("qgemm", "s8s8s32", 1, 2.0),
                ("other", "s8s8s32", 1, 6.0),
                ("another", "s8s8s32", 1, 3.0),
                ("qgemm", "u8s8s32", 1, 1.0),
                ("other", "u8s8s32", 1, 0.5),
                // Nothing beside it, no row for it.
                ("qgemm", "u8s8s32", 2, 1.0),
                ("qgemm", "pack", 1, 1.0),
                ("other", "pack", 1, 1.0),
            ],
        );
        let again = run(
            1,
            &[("qgemm", "s8s8s32", 1, 1.0), ("qgemm", "s8s8s32", 9, 1.0), ("other", "s8s8s32", 9, 2.0)],
        );
        let two_threads = run(2, &[("qgemm", "s8s8s32", 1, 0.1), ("other", "s8s8s32", 1, 0.1)]);
        let row =
            |work, ratios: &[f64]| Row { cpu: "Some, family 6 model 1".into(), work, ratios: ratios.into() };
        let expected = [row("u8 x i8, i32 sums", &[0.5]), row("i8 x i8, i32 sums", &[2.0, 3.0])];
        assert_eq!(rows(&[one, again, two_threads]), expected);
    }

    #[test]
    fn a_dot_for_each_shape() {
        let one = run(1, &[("qgemm", "u8s8s32", 1, 1.0), ("other", "u8s8s32", 1, 2.0)]);
        let svg = picture(&[one]).unwrap();
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(svg.starts_with("<svg") && svg.contains("u8 x i8, i32 sums"));
        assert!(picture(&[run(1, &[("qgemm", "u8s8s32", 1, 1.0)])]).is_err());
        assert!(picture(&[]).is_err());
    }
}
