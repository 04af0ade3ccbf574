//! The OpenAPI 3.1 document, made from the table and the types of bodies.

use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ComponentsBuilder, ObjectBuilder, Schema};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required,
    ResponseBuilder, Type,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::answer::{Empty, Envelope};
use crate::table::commands;

/// The document.
#[must_use]
pub fn document() -> OpenApi {
    let mut schemas = Vec::new();
    Envelope::<Empty>::schemas(&mut schemas);
    schemas.push(("Envelope".to_owned(), Envelope::<Empty>::schema()));
    let mut paths = PathsBuilder::new();
    for command in commands() {
        let request = (command.request)(&mut schemas);
        let response = (command.response)(&mut schemas);
        let answer = AllOfBuilder::new().item(Ref::from_schema_name("Envelope")).item(response);
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

fn query(name: &str, kind: Type, required: Required) -> utoipa::openapi::path::Parameter {
    let schema: RefOr<Schema> = ObjectBuilder::new().schema_type(kind).into();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(required)
        .schema(Some(schema))
        .build()
}
