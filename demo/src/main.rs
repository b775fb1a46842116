//! A small web application on any session store.

fn main() {}
