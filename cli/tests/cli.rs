//! Tests of the command from outside: arguments and files in; text, files and exit codes out.

#[path = "cli/forward.rs"]
mod forward;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/matmul.rs"]
mod matmul;
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/product.rs"]
mod product;
#[path = "cli/reports.rs"]
mod reports;
#[path = "cli/support.rs"]
mod support;
#[path = "cli/wrong.rs"]
mod wrong;
