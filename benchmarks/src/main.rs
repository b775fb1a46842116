//! Every backend beside its raw driver.

fn main() {}
