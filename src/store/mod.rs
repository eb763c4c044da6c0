//! The append-only run record: schema version, locking, resume.
