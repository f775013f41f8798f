//! The planner: builder, act, literal; then the plan is executed and planning again gives nothing.

mod basics;
mod cut;
mod deletion;
mod endpoints;
mod facts;
mod immutable;
mod json;
mod lifecycle;
mod membership;
mod nodes;
mod ownership;
mod properties;
mod services;
mod status;
mod swarm;
