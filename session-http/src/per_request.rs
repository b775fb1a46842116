//! Attributes of the cookie that depend on the request.

use std::fmt;
use std::sync::Arc;

/// The headers of the request for which a cookie is set.
///
/// ```
/// use session_http::RequestHead;
///
/// /// For [`CookieConfig::secure_for`](crate::CookieConfig::secure_for).
/// fn is_encrypted(request: &RequestHead<'_>) -> bool {
///     request.header("x-forwarded-proto") == Some("https")
/// }
/// ```
pub struct RequestHead<'a>(&'a dyn Fn(&str) -> Option<&'a [u8]>);

impl<'a> RequestHead<'a> {
    pub(crate) fn new(header: &'a dyn Fn(&str) -> Option<&'a [u8]>) -> Self {
        Self(header)
    }

    /// The first value of this header, whose name is in lower case; `None` if there is none, or one that is not
    /// UTF-8.
    ///
    /// Every client can send any header. Trust one only if a proxy in front of the application always sets it.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        str::from_utf8((self.0)(name)?).ok()
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead").finish_non_exhaustive()
    }
}

type DomainFor = Arc<dyn Fn(&RequestHead<'_>) -> Option<String> + Send + Sync>;
type SecureFor = Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>;

/// The functions of the application that choose attributes.
#[derive(Clone, Default)]
pub(crate) struct PerRequest {
    pub(crate) domain: Option<DomainFor>,
    pub(crate) secure: Option<SecureFor>,
}

impl fmt::Debug for PerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerRequest")
            .field("domain", &self.domain.is_some())
            .field("secure", &self.secure.is_some())
            .finish()
    }
}
