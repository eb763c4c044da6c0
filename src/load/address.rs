//! The address of a server as users write it.

use crate::error::{Error, Result};
use url::Url;

/// Scheme, host, port and path of a server, as every request is built on it.
///
/// A missing scheme is `http`, and a `/v1` at the end, which the documentation of many tools asks for, is part of the
/// routes and taken off. Errors: no address of a server, or another scheme than http and https.
pub fn base_url(given: &str) -> Result<String> {
    let text = given.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let wrong = |why: String| {
        Error::usage(format!("`{given}` is not the address of a server: {why}"))
            .hint("such as http://127.0.0.1:8000")
    };
    let url = Url::parse(&with_scheme).map_err(|e| wrong(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!("only http and https can be measured, not {}", url.scheme())));
    }
    if url.scheme() == "https" && !cfg!(feature = "tls") {
        return Err(Error::usage(format!("`{given}` needs TLS, and this dyno was built without it"))
            .hint("install the released program, or build with `--features tls`"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("it names no host".into()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it holds a query or a fragment".into()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            Error::usage("the address of the server holds a user name or a password").hint("--api-key KEY")
        );
    }
    let mut base = url.as_str().trim_end_matches('/');
    base = base.strip_suffix("/v1").unwrap_or(base);
    Ok(base.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::base_url;

    #[test]
    fn addresses_as_users_write_them() {
        for (given, base) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
            ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
            ("http://gpu:80/llm/v1/", "http://gpu/llm"),
            ("localhost:8000", "http://localhost:8000"),
            ("127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
            ("[::1]:8000", "http://[::1]:8000"),
        ] {
            assert_eq!(base_url(given).unwrap(), base, "{given}");
        }
        let https = base_url("https://api.example.com/v1");
        assert_eq!(https.is_ok(), cfg!(feature = "tls"), "{https:?}");
        for bad in ["", "http://", "ftp://x", "http://a b", "http://x/?a=1", "http://me:secret@x"] {
            let e = base_url(bad).unwrap_err();
            assert_eq!(e.kind.exit_code(), 2, "{bad}");
            assert!(!e.to_string().contains("secret"));
        }
    }
}
