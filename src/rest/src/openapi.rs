//! The OpenAPI 3.1 document, made from the table and the types of bodies.

use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ComponentsBuilder, ObjectBuilder, OneOfBuilder, Schema};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required,
    ResponseBuilder, Type,
};
use utoipa_swagger_ui::SwaggerUi;

use crate::table::commands;

/// The document.
#[must_use]
pub fn document() -> OpenApi {
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
