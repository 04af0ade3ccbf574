//! The OpenAPI 3.1 document, made from the table and the types of bodies.

use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ComponentsBuilder, ObjectBuilder, OneOfBuilder, Schema};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required,
    ResponseBuilder, Type,
};
use utoipa_swagger_ui::SwaggerUi;

use crate::table::{Schemas, commands};

/// The document.
#[must_use]
pub fn document() -> OpenApi {
    let (paths, schemas) = described();
    let mut components = ComponentsBuilder::new();
    for (name, schema) in schemas {
        components = components.schema(name, schema);
    }
    OpenApiBuilder::new()
        .info(InfoBuilder::new().title("Nearport REST v4").version(env!("CARGO_PKG_VERSION")).build())
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}

/// All commands, and the schemas that they refer to, by names. Of two that share a name the document has the later one: a test
/// looks that they are the same.
fn described() -> (PathsBuilder, Schemas) {
    let mut schemas = vec![
        ("Done".to_owned(), envelope(&["OK", "SomeError"], (0, 0))),
        ("Refused".to_owned(), envelope(&["FAIL"], (1, u32::MAX))),
    ];
    let mut paths = PathsBuilder::new();
    for command in commands() {
        let request = (command.request)(&mut schemas);
        let response = (command.response)(&mut schemas);
        let done = AllOfBuilder::new().item(Ref::from_schema_name("Done")).item(response);
        let answer = OneOfBuilder::new().item(done).item(Ref::from_schema_name("Refused"));
        let operation = OperationBuilder::new()
            .tag(command.service.name)
            .operation_id(Some(format!("{}_{}", command.service.name, command.name)))
            .summary(Some(command.summary))
            .parameter(query("sdkappid", Type::Integer, Required::True))
            .parameter(query("identifier", Type::String, Required::True))
            .parameter(query("usersig", Type::String, Required::True))
            .parameter(query("random", Type::Integer, Required::False))
            .parameter(query("contenttype", Type::String, Required::False))
            .request_body(Some(
                RequestBodyBuilder::new()
                    .content("application/json", ContentBuilder::new().schema(Some(request)).build())
                    .required(Some(Required::True))
                    .build(),
            ))
            .response(
                "200",
                ResponseBuilder::new()
                    .description("How it went: ErrorCode 0 is done")
                    .content(
                        "application/json",
                        ContentBuilder::new().schema(Some(Schema::from(answer.build()))).build(),
                    )
                    .build(),
            );
        let path = format!("/v4/{}/{}", command.service.name, command.name);
        paths = paths.path(path, PathItem::new(HttpMethod::Post, operation.build()));
    }
    (paths, schemas)
}

/// The page about the commands, to try them, with all its files, and the document: `/docs` and `/openapi.json`.
pub fn docs() -> axum::Router {
    SwaggerUi::new("/docs").url("/openapi.json", document()).into()
}

/// What all answers have.
fn envelope(status: &[&str], code: (u32, u32)) -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    ObjectBuilder::new()
        .property("ActionStatus", text().enum_values(Some(status.to_vec())))
        .required("ActionStatus")
        .property(
            "ErrorCode",
            ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(code.0)).maximum(Some(code.1)),
        )
        .required("ErrorCode")
        .property("ErrorInfo", text())
        .required("ErrorInfo")
        .property("ErrorDisplay", text())
        .into()
}

fn query(name: &str, kind: Type, required: Required) -> utoipa::openapi::path::Parameter {
    let schema: RefOr<Schema> = ObjectBuilder::new().schema_type(kind).into();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(required)
        .schema(Some(schema))
        .build()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;

    /// Names that stand for different schemas.
    fn clashes(schemas: &Schemas) -> BTreeSet<&str> {
        let mut first = BTreeMap::new();
        let differs = |(name, schema): &&(String, RefOr<Schema>)| {
            first.entry(name.clone()).or_insert_with(|| schema.clone()) != schema
        };
        schemas.iter().filter(differs).map(|(name, _)| name.as_str()).collect()
    }

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn each_name_in_the_document_stands_for_one_schema() {
        let (_, mut schemas) = described();
        assert_eq!(clashes(&schemas), BTreeSet::new(), "give one of the structs another name");
        schemas.push(("Done".to_owned(), envelope(&["FAIL"], (0, 0))));
        assert_eq!(clashes(&schemas), BTreeSet::from(["Done"]));

        let document = serde_json::to_value(document()).unwrap();
        let mut named = BTreeSet::new();
        references(&document, &mut named);
        assert!(named.len() > 10, "{named:?}");
        for name in named {
            assert!(document.pointer(name.trim_start_matches('#')).is_some(), "{name} is nowhere");
        }
    }
}
