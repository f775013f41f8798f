//! The planner: builder, act, literal; then the plan is executed and planning again gives nothing.

mod addresses;
mod adoption;
mod basics;
mod cluster;
mod coolify;
mod cut;
mod deletion;
mod endpoints;
mod facts;
mod immutable;
mod impossible;
mod json;
mod leaving;
mod lifecycle;
mod membership;
mod nodes;
mod own_addresses;
mod ownership;
mod pools;
mod properties;
mod refresh;
mod routes;
mod services;
mod status;
mod swarm;
mod workloads;
