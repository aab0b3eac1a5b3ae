//! The data that drivers, kernels and entry points share.

pub mod args;
pub mod column_stats;
pub mod kernel;
pub mod limits;
pub mod panel;
pub mod ready;
pub mod row_params;
pub mod stage;
pub mod sweep_operands;
pub mod with_const;
