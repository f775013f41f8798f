//! The planner: builder, act, literal; then the plan is executed and planning again gives nothing.

mod basics;
mod facts;
mod json;
