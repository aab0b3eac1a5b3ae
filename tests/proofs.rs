//! The files and tests that PROOFS.md names exist.

use std::fs;
use std::path::Path;

#[test]
fn what_the_table_names_is_there() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(repository.join("PROOFS.md")).expect("PROOFS.md is readable");
    let mut tests = 0;
    for row in document.lines().filter(|line| line.starts_with("| ") && line.contains("`")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [_, place, shown] = cells[..] else { panic!("a row of other columns: {row}") };
        let mut file = String::new();
        for word in [place, shown].into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            if word.contains('/') {
                file = fs::read_to_string(repository.join(word))
                    .unwrap_or_else(|_| panic!("no file {word}: {row}"));
            } else {
                assert!(
                    file.contains(&format!("fn {word}()")),
                    "no test {word} in the file before it: {row}"
                );
                tests += 1;
            }
        }
    }
    assert!(tests > 20, "{tests} tests");
}
