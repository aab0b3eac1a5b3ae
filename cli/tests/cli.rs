//! Tests of the command from outside: arguments and files in; text, files and exit codes out.

#[path = "cli/claims.rs"]
mod claims;
#[path = "cli/forward.rs"]
mod forward;
#[path = "cli/groupwise.rs"]
mod groupwise;
#[path = "cli/groupwise_wrong.rs"]
mod groupwise_wrong;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/matmul.rs"]
mod matmul;
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/pack.rs"]
mod pack;
#[path = "cli/product.rs"]
mod product;
#[path = "cli/quantize.rs"]
mod quantize;
#[path = "cli/report.rs"]
mod report;
#[path = "cli/reports.rs"]
mod reports;
#[path = "cli/support.rs"]
mod support;
#[path = "cli/wrong.rs"]
mod wrong;
