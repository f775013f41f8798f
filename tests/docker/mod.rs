//! Against a real Docker daemon: what it does, and what the engine layer makes of it.

mod host;
