//! The help of all commands.

use crate::support::Files;

/// The options in a help text, each with all that is said about it.
fn options(help: &str) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    for line in help.lines() {
        let text = line.trim_start();
        if text.starts_with("--") || text.starts_with("-h") || text.starts_with("-V") {
            options.push(text.to_string());
        } else if let (Some(option), true) = (options.last_mut(), line.starts_with("  ") || text.is_empty()) {
            option.push_str(text);
        }
    }
    options
}

/// Each option that may be left out says what holds then, or when it is needed.
#[test]
fn options_tell_their_defaults() {
    let files = Files::new();
    for command in [
        "forward",
        "matmul",
        "groupwise",
        "quantize",
        "pack",
        "info",
        "verify",
        "tune",
        "bench",
        "report",
        "digits",
    ] {
        let help = files.run(&format!("{command} --help")).ok();
        let usage = help.lines().find(|line| line.starts_with("Usage:")).unwrap();
        let options = options(&help);
        assert!(options.len() >= 2, "{help}");
        for option in options {
            let name = option.split_whitespace().next().unwrap();
            let required = usage.split_whitespace().any(|word| word == name) || name == "-h,";
            assert!(
                required || option.contains("[default: ") || option.contains("Needed "),
                "{command}: {option}"
            );
        }
    }
}

#[test]
fn all_variants_are_explained() {
    let help = Files::new().run("bench --help").ok();
    for variant in
        ["u8s8s32 ", "s8s8s32_dynb ", "s8s8s8_far ", "pack ", "f32_dynamic_acol ", "w4g32 ", "w8g128_row "]
    {
        let line = help.lines().find(|line| line.trim_start().starts_with(variant)).expect("a line for each");
        assert!(line.split_whitespace().count() > 4, "{line}");
    }
}
