//! The page of `report`. How it looks in a browser is checked by `cli/page/check.sh`.

use crate::support::Files;
use serde_json::{Value, json};

fn measured(files: &Files, name: &str, options: &str) -> Value {
    files.run(&format!("bench --quick --shapes 7,33,19;1,70,65 --json {name} {options}")).ok();
    serde_json::from_slice(&std::fs::read(files.path(name)).unwrap()).unwrap()
}

/// The runs in a page, and the page without them.
fn runs(files: &Files, page: &str) -> (Value, String) {
    let text = std::fs::read_to_string(files.path(page)).unwrap();
    let (before, rest) = text.split_once("<script type=\"application/json\" id=\"runs\">").unwrap();
    let (runs, after) = rest.split_once("</script>").unwrap();
    (serde_json::from_str(runs).unwrap(), format!("{before}{after}"))
}

#[test]
fn the_page_holds_all_runs_and_needs_nothing_else() {
    let files = Files::new();
    let one = measured(&files, "one.json", "--variants u8s8s32");
    let two = measured(&files, "two.json", "--variants u8s8s32,w4g32,pack --threads 2");
    let out = files.run("report one.json two.json").ok();
    assert!(out.contains("report.html: 8 measurements of 2 run(s)"), "{out}");
    let (found, page) = runs(&files, "report.html");
    assert_eq!(found, json!([one, two]));
    for outside in [" src=", "<link", "@import", "url(http", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for mark in ["{{style}}", "{{plot}}", "{{charts}}", "{{licences}}", "{{runs}}"] {
        assert!(!page.contains(mark), "{mark}");
    }
    // The licences are a comment, which ends where it must.
    assert!(page.contains("Observable, Inc.") && page.matches("-->").count() == 1);
    files.run("report one.json --out again.html").ok();
    assert_eq!(runs(&files, "again.html").0, json!([one]));
}

#[test]
fn text_of_files_stays_text() {
    let files = Files::new();
    let mut one = measured(&files, "one.json", "--variants u8s8s32");
    let brand = "</script><script>alert(1)</script>{{plot}}<!--";
    one["machine"]["cpu"]["brand"] = json!(brand);
    files.write_bytes("hostile.json", one.to_string().as_bytes());
    files.run("report hostile.json").ok();
    let (found, page) = runs(&files, "report.html");
    assert_eq!(found[0]["machine"]["cpu"]["brand"], brand);
    assert!(!page.contains("alert(1)"));
}

#[test]
fn wrong_files_are_refused() {
    let files = Files::new();
    let one = measured(&files, "one.json", "--variants u8s8s32");
    let with = |field: &str, value: Value| {
        let mut wrong = one.clone();
        wrong[field] = value;
        wrong.to_string()
    };
    for (name, text) in [
        ("empty.json", String::new()),
        ("list.json", "[]".into()),
        ("other.json", with("format", json!("qgemm-bench-999\n"))),
        ("cases.json", with("cases", json!([]))),
        ("limits.json", with("limits", json!("none"))),
        ("number.json", with("run", json!({"threads": -1}))),
        ("cut.json", one.to_string()[..200].into()),
    ] {
        files.write_bytes(name, text.as_bytes());
        let line = files.run(&format!("report one.json {name}")).refused("FILE: was '");
        assert!(line.contains(name), "{line}");
    }
    files.run("report missing.json").refused("FILE: was 'missing.json'");
    files.run("report one.json --out nowhere/report.html").refused("--out: was 'nowhere/report.html'");
    files.run("report").refused("FILE");
    files.run("report one.json --picture nowhere/speed.svg").refused("--picture: was 'nowhere/speed.svg'");
    files.run("report one.json --picture report.html").refused("--picture: was 'report.html'");
    // Nothing was compared.
    files.run("report one.json --picture speed.svg").refused("--picture: was 'given'");
    assert!(!files.exists("speed.svg"));
    assert!(!files.exists("report.html"));
}
