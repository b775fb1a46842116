//! The headers of a request and of a response, whatever type a framework has for them.

/// The headers of a request. Names are in lower case.
pub trait RequestHeaders {
    /// Calls `see` with each value of this name, in the order in which the client sent them.
    fn each<'a>(&'a self, name: &str, see: impl FnMut(&'a [u8]));

    /// The first value of this name.
    fn first(&self, name: &str) -> Option<&[u8]> {
        let mut first = None;
        self.each(name, |value| _ = first.get_or_insert(value));
        first
    }
}

/// The headers of a response. Names are in lower case.
pub trait ResponseHeaders {
    /// Calls `see` with each value of this name.
    fn each(&self, name: &str, see: impl FnMut(&[u8]));

    /// Adds a value. That of `set-cookie` is secret: where the framework can, it marks the value as sensitive.
    fn append(&mut self, name: &'static str, value: &str);

    /// Replaces all values of the name by this one.
    fn set(&mut self, name: &'static str, value: &'static str);

    /// Replaces all values of a name that is not known before by a secret one. Where the framework can, it marks the
    /// value as sensitive.
    fn set_secret(&mut self, name: &str, value: &str);

    /// Removes all values of the name.
    fn remove(&mut self, name: &'static str);

    /// Removes all headers whose names meet the condition.
    fn remove_if(&mut self, is_removed: impl Fn(&str) -> bool);
}
