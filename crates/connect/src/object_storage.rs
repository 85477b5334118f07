//! Object storage that speaks S3's protocol: where `s3://bucket/folder` leads to.
//!
//! Settings have the names that Amazon's own tools have given them. Reading no environment, this module is told them; keys
//! never come into a message.

mod calls;

use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;

pub use self::calls::ObjectCalls;
use crate::error::ConnectError;

/// How an S3-compatible storage is reached. Without keys, requests are not signed.
#[derive(Clone, Default)]
pub struct ObjectStorageOptions {
    /// Its address, as `http://127.0.0.1:9000`; Amazon's own where nothing is said.
    pub endpoint: Option<String>,
    /// The region; `us-east-1` where nothing is said.
    pub region: Option<String>,
    /// The access key's name.
    pub access_key_id: Option<String>,
    /// The access key.
    pub secret_access_key: Option<String>,
    /// The token that belongs to a key that is valid for a while only.
    pub session_token: Option<String>,
}

impl fmt::Debug for ObjectStorageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStorageOptions")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// A folder in object storage.
#[derive(Clone)]
pub struct ObjectFolder {
    /// The bucket.
    pub store: Arc<dyn ObjectStore>,
    /// The folder's path in it.
    pub prefix: Path,
    /// `s3://bucket/folder`, for people.
    pub url: String,
}

impl fmt::Debug for ObjectFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl ObjectFolder {
    /// Whether a place is in object storage, rather than a local path.
    pub fn is_url(place: &str) -> bool {
        place.starts_with("s3://")
    }

    /// The folder that a URL names. Connects to nothing.
    ///
    /// # Errors
    /// The URL is none of object storage, or names no bucket.
    pub fn open(url: &str, options: &ObjectStorageOptions) -> Result<Self, ConnectError> {
        let refused = |reason: &str| ConnectError::Storage { url: url.to_owned(), reason: reason.to_owned() };
        let wanted = "write s3://bucket/folder";
        let rest = url.strip_prefix("s3://").ok_or_else(|| refused(wanted))?;
        let (bucket, folder) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(refused(wanted));
        }
        let prefix = Path::parse(folder.trim_end_matches('/')).map_err(|_| refused(wanted))?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(options.region.as_deref().unwrap_or("us-east-1"))
            // Two processes that believe that the same pipeline is theirs: only one can write a name for the first time.
            .with_conditional_put(S3ConditionalPut::ETagMatch);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        builder = match (&options.access_key_id, &options.secret_access_key) {
            (Some(id), Some(key)) => builder.with_access_key_id(id).with_secret_access_key(key),
            _ => builder.with_skip_signature(true),
        };
        if let Some(token) = &options.session_token {
            builder = builder.with_token(token);
        }
        let store = builder.build().map_err(|error| refused(&error.to_string()))?;
        Ok(Self { store: Arc::new(store), prefix, url: url.trim_end_matches('/').to_owned() })
    }

    /// A folder in this one.
    pub fn join(&self, name: &str) -> Self {
        let prefix = self.prefix.clone().join(name);
        Self { store: Arc::clone(&self.store), prefix, url: format!("{}/{name}", self.url) }
    }
}
