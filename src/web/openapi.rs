//! `/api/v1/openapi.json`: what can be asked, for programs and for whoever writes them.
//!
//! Written by hand beside the handlers; the test here holds it against the routes of every part of the API, in both directions.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::access::Viewer;
use super::shared::Shared;

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/openapi.json", get(document))
}

async fn document(_: Viewer) -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    /// Files whose routes are no part of the API: the server's own pages, health and metrics.
    const BESIDE: [&str; 2] = ["pages.rs", "router.rs"];

    /// `GET /assets` for every route that the sources under `folder` name.
    fn routes_of(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                routes_of(&path, found);
            } else if name.ends_with(".rs") && !BESIDE.contains(&name) {
                let source = fs::read_to_string(&path).unwrap();
                // The tests at the end name routes of their own.
                let source = source.split("#[cfg(test)]").next().unwrap();
                for route in source.split(".route(").skip(1) {
                    let path = route.split('"').nth(1).unwrap();
                    let handlers = call(route.split_once('"').unwrap().1);
                    for method in ["get", "post", "put", "patch", "delete"] {
                        let is_word = |before: Option<char>| {
                            !before.is_some_and(|one| {
                                one.is_alphanumeric() || one == '_' || one == ':'
                            })
                        };
                        let asks = handlers
                            .match_indices(&format!("{method}("))
                            .any(|(at, _)| is_word(handlers[..at].chars().next_back()));
                        if asks {
                            found.insert(format!("{} {path}", method.to_uppercase()));
                        }
                    }
                }
            }
        }
    }

    /// The rest of a call, up to the parenthesis that closes it.
    fn call(source: &str) -> &str {
        let mut depth = 1;
        for (at, one) in source.char_indices() {
            match one {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return &source[..at];
            }
        }
        source
    }

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    #[test]
    fn every_route_is_documented_and_every_documented_route_is_there() {
        let mut routes = BTreeSet::new();
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web");
        routes_of(Path::new(sources), &mut routes);
        assert!(routes.contains("GET /assets") && routes.contains("PATCH /assets/{id}"));
        let document = document();
        let mut documented = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                documented.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let missing: Vec<_> = routes.difference(&documented).collect();
        assert!(missing.is_empty(), "not in openapi.json: {missing:?}");
        let gone: Vec<_> = documented.difference(&routes).collect();
        assert!(gone.is_empty(), "in openapi.json alone: {gone:?}");
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_says_how_it_is_refused() {
        fn walk(value: &Value, document: &Value) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(reference)) = fields.get("$ref") {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                    }
                    fields.values().for_each(|value| walk(value, document));
                }
                Value::Array(items) => items.iter().for_each(|value| walk(value, document)),
                _ => {}
            }
        }
        let document = document();
        walk(&document, &document);
        let mut names = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name.to_owned()), "{name} is there twice");
                for answer in ["4XX", "5XX"] {
                    assert!(
                        operation["responses"][answer].is_object(),
                        "{method} {path}"
                    );
                }
                for place in path.split('{').skip(1) {
                    let place = place.split('}').next().unwrap();
                    let has = operation["parameters"]
                        .as_array()
                        .is_some_and(|parameters| {
                            parameters
                                .iter()
                                .any(|one| one["name"] == place && one["in"] == "path")
                        });
                    assert!(has, "{method} {path}: {place}");
                }
            }
        }
    }
}
