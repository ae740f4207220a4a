//! A request's parameters as Rails would see them, from JSON or multipart.

use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::refusal::Refusal;

/// Files of one request; Chatwoot's nominal limit is 15 a message.
const FILES_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Params {
    pub(super) values: Map<String, Value>,
    /// Files with the name of the form field they came in.
    pub(super) files: Vec<(String, FilePart)>,
}

pub(super) struct FilePart {
    pub(super) name: String,
    pub(super) content_type: String,
    pub(super) bytes: Bytes,
}

impl Params {
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.as_str()
    }

    /// An id, as a number or as digits in a string: Rails does not mind.
    pub(super) fn id(&self, key: &str) -> Option<u64> {
        let value = self.values.get(key)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let value = self.values.get(key)?;
        value.as_bool().or_else(|| match value.as_str()? {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })
    }

    pub(super) fn object(&self, key: &str) -> Option<Map<String, Value>> {
        self.values.get(key)?.as_object().cloned()
    }

    pub(super) fn nested(&self, key: &str) -> Option<Self> {
        Some(Self { values: self.object(key)?, files: Vec::new() })
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
        if content_type.starts_with("multipart/form-data") {
            let form = Multipart::from_request(request, state).await.map_err(|_| Refusal::BadRequest)?;
            return read_form(form).await;
        }
        // Without the JSON content type Rails does not look into the body: the parameters are simply not there.
        if !content_type.starts_with("application/json") {
            return Ok(Self::default());
        }
        let body = Bytes::from_request(request, state).await.map_err(|_| Refusal::BadRequest)?;
        if body.is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(&body) {
            Ok(Value::Object(values)) => Ok(Self { values, files: Vec::new() }),
            Ok(_) => Ok(Self::default()),
            Err(_) => Err(Refusal::BadRequest),
        }
    }
}

async fn read_form(mut form: Multipart) -> Result<Params, Refusal> {
    let mut params = Params::default();
    while let Some(field) = form.next_field().await.map_err(|_| Refusal::BadRequest)? {
        let key = field.name().unwrap_or_default().to_owned();
        let name = field.file_name().map(ToOwned::to_owned);
        let content_type = field.content_type().unwrap_or("application/octet-stream").to_owned();
        let bytes = field.bytes().await.map_err(|_| Refusal::BadRequest)?;
        if let Some(name) = name {
            if params.files.len() == FILES_MAX {
                return Err(Refusal::BadRequest);
            }
            params.files.push((key, FilePart { name, content_type, bytes }));
            continue;
        }
        let text = Value::from(String::from_utf8(bytes.into()).map_err(|_| Refusal::BadRequest)?);
        if let Some(list) = key.strip_suffix("[]") {
            let entry = params.values.entry(list).or_insert_with(|| Value::Array(Vec::new()));
            if let Some(list) = entry.as_array_mut() {
                list.push(text);
            }
        } else if let Some((outer, inner)) = key.strip_suffix(']').and_then(|key| key.split_once('[')) {
            let entry = params.values.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            if let Some(object) = entry.as_object_mut() {
                object.insert(inner.to_owned(), text);
            }
        } else {
            params.values.insert(key, text);
        }
    }
    Ok(params)
}
