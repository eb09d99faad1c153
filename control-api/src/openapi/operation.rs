//! One operation of the document: what its table line says, and what follows from that for every operation alike.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema, schema::AdditionalProperties},
};
use xfiles_core::api_key::Scope;

use crate::error::Code;

/// What the operations refer to.
#[derive(Default)]
pub(super) struct Components {
    schemas: BTreeMap<String, RefOr<Schema>>,
    responses: Map<String, Value>,
}

impl Components {
    /// Adds a schema and those that it refers to. Gives the reference to it.
    pub(super) fn add<T: ToSchema>(&mut self) -> Value {
        self.add_each::<T>(|_| {})
    }

    /// The same for the body of a request, whose objects have no fields but those that are listed.
    fn add_request<T: ToSchema>(&mut self) -> Value {
        self.add_each::<T>(|schema| {
            if let RefOr::T(Schema::Object(object)) = schema
                && !object.properties.is_empty()
            {
                object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            }
        })
    }

    fn add_each<T: ToSchema>(&mut self, adapt: impl Fn(&mut RefOr<Schema>)) -> Value {
        let mut named = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut named);
        named.iter_mut().for_each(|(_, schema)| adapt(schema));
        self.schemas.extend(named);
        json!({"$ref": format!("#/components/schemas/{}", T::name())})
    }

    /// Adds the refusal with this status and for one of these reasons. Gives the reference to it.
    fn add_refusal(&mut self, status: u16, codes: &[Code]) -> Value {
        let name = codes.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(".");
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        self.responses.insert(name, refusal(status, codes));
        reference
    }

    /// The schemas and the responses, by name.
    pub(super) fn into_values(self) -> (Value, Value) {
        (serde_json::to_value(self.schemas).expect("a schema is texts and numbers"), self.responses.into())
    }
}

/// Adds a type's schema and gives the reference.
type Shape = fn(&mut Components) -> Value;

/// An operation of the API.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: &'static str,
    scope: Option<Scope>,
    parameters: Vec<Value>,
    body: Option<Body>,
    status: u16,
    answer: Shape,
    answer_examples: Vec<(&'static str, Value)>,
    etag: bool,
    refusals: Vec<Code>,
}

struct Body {
    required: bool,
    shape: Shape,
    examples: Vec<(&'static str, Value)>,
}

impl Operation {
    /// An operation that answers 200 with a `T`.
    pub(super) fn new<T: ToSchema>(method: &'static str, path: &'static str, id: &'static str) -> Self {
        Self {
            method,
            path,
            id,
            tag: "",
            summary: "",
            description: "",
            scope: None,
            parameters: Vec::new(),
            body: None,
            status: 200,
            answer: Components::add::<T>,
            answer_examples: Vec::new(),
            etag: false,
            refusals: Vec::new(),
        }
    }

    pub(super) fn says(self, tag: &'static str, summary: &'static str, description: &'static str) -> Self {
        Self { tag, summary, description, ..self }
    }

    /// Needs a key with this scope.
    pub(super) fn needs(self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    pub(super) fn takes(mut self, parameters: impl IntoIterator<Item = Value>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    pub(super) fn reads<T: ToSchema>(self, example: Value) -> Self {
        let examples = vec![("usual", example)];
        Self { body: Some(Body { required: true, shape: Components::add_request::<T>, examples }), ..self }
    }

    /// Reads a body that may be left out.
    pub(super) fn may_read<T: ToSchema>(self, example: Value) -> Self {
        let read = self.reads::<T>(example);
        Self { body: read.body.map(|body| Body { required: false, ..body }), ..read }
    }

    pub(super) fn or_reads(mut self, name: &'static str, example: Value) -> Self {
        if let Some(body) = &mut self.body {
            body.examples.push((name, example));
        }
        self
    }

    pub(super) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(super) fn with_etag(self) -> Self {
        Self { etag: true, ..self }
    }

    pub(super) fn answers(self, example: Value) -> Self {
        self.or_answers("usual", example)
    }

    pub(super) fn or_answers(mut self, name: &'static str, example: Value) -> Self {
        self.answer_examples.push((name, example));
        self
    }

    /// Refuses for these reasons besides those of every operation of its kind.
    pub(super) fn refuses(self, refusals: impl Into<Vec<Code>>) -> Self {
        Self { refusals: refusals.into(), ..self }
    }

    /// The names of its query parameters.
    pub(super) fn query_names(&self) -> Vec<String> {
        let named = self.parameters.iter().filter(|parameter| parameter["in"] == "query");
        named.filter_map(|parameter| parameter["name"].as_str().map(str::to_owned)).collect()
    }

    /// The operation object.
    pub(super) fn describe(&self, components: &mut Components) -> Value {
        let mut operation = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "description": self.full_description(),
            "security": match self.scope {
                Some(scope) => json!([{"apiKey": [scope.as_str()]}]),
                None => json!([]),
            },
            "responses": self.responses(components),
        });
        let parameters = self.all_parameters();
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(body) = &self.body {
            let schema = (body.shape)(components);
            let content = json!({"schema": schema, "examples": named(&body.examples)});
            operation["requestBody"] = json!({"required": body.required, "content": {"application/json": content}});
        }
        operation
    }

    fn full_description(&self) -> String {
        match self.scope {
            Some(scope) => format!("{}\n\nNeeds a key with the scope `{scope}`.", self.description),
            None => format!("{}\n\nNeeds no key.", self.description),
        }
    }

    fn all_parameters(&self) -> Vec<Value> {
        let mut parameters = self.parameters.clone();
        if self.is_replayable() {
            parameters.push(json!({
                "name": "Idempotency-Key",
                "in": "header",
                "description": "One of the caller's own for this request: tried again under it, the request is done once.",
                "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
                "example": "6f1d2c0a-order-1187",
            }));
        }
        parameters
    }

    /// Every POST can carry an idempotency key.
    fn is_replayable(&self) -> bool {
        self.method == "post"
    }

    fn responses(&self, components: &mut Components) -> Value {
        let mut headers = json!({"Request-Id": header("RequestId")});
        if self.etag {
            headers["ETag"] = header("ETag");
        }
        if self.is_replayable() {
            headers["Idempotency-Replayed"] = header("IdempotencyReplayed");
        }
        let schema = (self.answer)(components);
        let description = match self.status {
            201 => "Made.",
            202 => "Accepted; the cleanup does it.",
            _ => "Done.",
        };
        let mut responses = Map::new();
        responses.insert(
            self.status.to_string(),
            json!({
                "description": description,
                "headers": headers,
                "content": {"application/json": {"schema": schema, "examples": named(&self.answer_examples)}},
            }),
        );
        for (status, codes) in self.all_refusals() {
            responses.insert(status.to_string(), components.add_refusal(status, &codes));
        }
        responses.into()
    }

    /// Why it may refuse, by status: for reasons of its own, and for those that follow from its kind.
    fn all_refusals(&self) -> BTreeMap<u16, Vec<Code>> {
        let mut codes = self.refusals.clone();
        // An unknown query parameter is refused by every operation that needs a key.
        if self.scope.is_some() {
            codes.push(Code::InvalidRequest);
        }
        if self.body.is_some() {
            codes.extend([Code::MalformedJson, Code::UnsupportedMediaType]);
        }
        if self.body.is_some() || self.is_replayable() {
            codes.push(Code::BodyTooLarge);
        }
        if self.is_replayable() {
            codes.extend([Code::RequestInFlight, Code::IdempotencyKeyReused]);
        }
        if self.scope.is_some() {
            codes.extend([Code::Unauthorized, Code::MissingScope, Code::RateLimited, Code::Unavailable]);
            if !matches!(self.method, "get" | "delete") {
                codes.push(Code::StorageFull);
            }
        }
        codes.push(Code::Internal);
        let mut by_status = BTreeMap::<u16, Vec<Code>>::new();
        for code in Code::ALL.into_iter().filter(|code| codes.contains(code)) {
            by_status.entry(code.status().as_u16()).or_default().push(code);
        }
        by_status
    }
}

fn refusal(status: u16, codes: &[Code]) -> Value {
    let mut headers = json!({"Request-Id": header("RequestId")});
    match status {
        401 => headers["WWW-Authenticate"] = header("WwwAuthenticate"),
        429 | 503 => headers["Retry-After"] = header("RetryAfter"),
        _ => {}
    }
    let reasons: Vec<String> = codes.iter().map(|code| format!("`{}`: {}.", code.as_str(), code.title())).collect();
    let examples: Map<String, Value> = codes
        .iter()
        .map(|code| (code.as_str().to_owned(), json!({"$ref": format!("#/components/examples/{}", code.as_str())})))
        .collect();
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    json!({
        "description": reasons.join(" "),
        "headers": headers,
        "content": {"application/problem+json": {"schema": schema, "examples": examples}},
    })
}

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

fn named(examples: &[(&'static str, Value)]) -> Value {
    examples.iter().map(|(name, value)| ((*name).to_owned(), json!({"value": value}))).collect::<Map<_, _>>().into()
}
