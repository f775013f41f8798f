//! What others can do to the process: answers without end, words that are commands to a terminal, secrets that are to stay where they are.

mod answers;
mod diagnostics;
mod doctor;
mod fleet;
mod hostile;
mod planted;
mod stand_in;
