//! Search strategies over an evaluator; knows no engine and no HTTP.
