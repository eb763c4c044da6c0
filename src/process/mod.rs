//! Start, watch and stop a process tree: the only room that spawns.
