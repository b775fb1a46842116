//! The settings as they are in a configuration file.

use session_core::{Error, Result};

use super::{CookieConfig, SameSite};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    name: Option<String>,
    secure: Option<bool>,
    http_only: Option<bool>,
    same_site: Option<SameSite>,
    path: Option<String>,
    domain: Option<String>,
    partitioned: Option<bool>,
    expire_on_close: Option<bool>,
}

impl TryFrom<File> for CookieConfig {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        let default = Self::new();
        let config = Self {
            name: file.name.map(Into::into),
            secure: file.secure.unwrap_or(default.secure),
            http_only: file.http_only.unwrap_or(default.http_only),
            same_site: file.same_site.unwrap_or(default.same_site),
            path: file.path.map_or(default.path, Into::into),
            domain: file.domain.map(Into::into),
            partitioned: file.partitioned.unwrap_or(default.partitioned),
            expire_on_close: file.expire_on_close.unwrap_or(default.expire_on_close),
            per_request: default.per_request,
        };
        config.check_values()?;
        Ok(config)
    }
}
