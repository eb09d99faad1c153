//! One operation of the API: its route and its description, registered together. What it takes and answers follows from
//! the signature of its handler, so the description cannot say anything else.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use axum::{
    extract::State,
    handler::Handler,
    middleware,
    routing::{MethodFilter, MethodRouter, on},
};
use serde_json::{Map, Value, json};
use xfiles_api_types::{
    problem::Code,
    wire::{Object, ObjectSchema, Schemas, Side, Wire},
};
use xfiles_core::api_key::Scope;

use crate::{Api, error::Problem, extract};

/// The operations on one kind of thing.
pub(crate) struct Resource {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) operations: Vec<Operation>,
}

/// An operation of the API.
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) scope: Option<Scope>,
    handler: MethodRouter<Api>,
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    parameters: Vec<Value>,
    query: Option<fn(&mut Schemas) -> ObjectSchema>,
    body: Option<Body>,
    answer: Option<Answered>,
    refusals: Vec<Code>,
}

struct Body {
    required: bool,
    schema: fn(&mut Schemas) -> Value,
    examples: Vec<(&'static str, Value)>,
}

struct Answered {
    status: u16,
    has_etag: bool,
    schema: fn(&mut Schemas) -> Value,
    examples: Vec<(&'static str, Value)>,
}

/// A parameter of a handler.
pub(crate) trait Part {
    /// Adds to the description what it takes from the request.
    fn describe(operation: &mut Operation);
}

impl Part for State<Api> {
    fn describe(_: &mut Operation) {}
}

/// What a handler returns.
pub(crate) trait Answers {
    type Body: Wire;
    const STATUS: u16;
    const HAS_ETAG: bool = false;
}

impl<T: Answers> Answers for Result<T, Problem> {
    type Body = T::Body;
    const STATUS: u16 = T::STATUS;
    const HAS_ETAG: bool = T::HAS_ETAG;
}

/// A handler whose parameters and answer are described.
pub(crate) trait Signature<Parts> {
    fn describe(operation: &mut Operation);
}

macro_rules! signatures {
    ($(($($part:ident)*))*) => {$(
        impl<H, F, R, $($part),*> Signature<($($part,)*)> for H
        where
            H: Fn($($part),*) -> F,
            F: Future<Output = R>,
            R: Answers,
            $($part: Part,)*
        {
            fn describe(operation: &mut Operation) {
                $($part::describe(operation);)*
                operation.answer = Some(Answered {
                    status: R::STATUS,
                    has_etag: R::HAS_ETAG,
                    schema: <R::Body as Wire>::schema,
                    examples: <R::Body as Wire>::example().map(|example| ("usual", example)).into_iter().collect(),
                });
            }
        }
    )*};
}

signatures! { () (A) (A B) (A B C) (A B C D) (A B C D E) }

macro_rules! methods {
    ($($name:ident $filter:ident),*) => {$(
        pub(crate) fn $name<H, T: 'static, Parts>(path: &'static str, id: &'static str, handler: H) -> Operation
        where
            H: Handler<T, Api> + Signature<Parts>,
        {
            Operation::new::<H, Parts>(stringify!($name), path, id, on(MethodFilter::$filter, handler))
        }
    )*};
}

methods! { get GET, post POST, put PUT, patch PATCH, delete DELETE }

impl Operation {
    fn new<H: Signature<Parts>, Parts>(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        let mut operation = Self {
            method,
            path,
            scope: None,
            handler,
            id,
            summary: "",
            description: "",
            parameters: Vec::new(),
            query: None,
            body: None,
            answer: None,
            refusals: Vec::new(),
        };
        H::describe(&mut operation);
        operation
    }

    pub(crate) fn says(self, summary: &'static str, description: &'static str) -> Self {
        Self { summary, description, ..self }
    }

    /// Refuses for these reasons besides those of every operation of its kind.
    pub(crate) fn refuses(self, refusals: impl Into<Vec<Code>>) -> Self {
        Self { refusals: refusals.into(), ..self }
    }

    /// Adds an example of a body.
    pub(crate) fn or_reads(mut self, name: &'static str, example: Value) -> Self {
        self.body.as_mut().expect("the handler reads a body").examples.push((name, example));
        self
    }

    /// Adds an example of an answer.
    pub(crate) fn or_answers(mut self, name: &'static str, example: Value) -> Self {
        self.answer.as_mut().expect("every handler answers").examples.push((name, example));
        self
    }

    pub(crate) fn takes(&mut self, parameter: Value) {
        self.parameters.push(parameter);
    }

    pub(crate) fn reads_query<T: Object>(&mut self) {
        self.query = Some(|schemas| {
            let mut object = ObjectSchema::default();
            schemas.side = Side::Query;
            T::describe_fields(&mut object, schemas);
            object
        });
    }

    pub(crate) fn reads_body<T: Object>(&mut self) {
        let mut object = ObjectSchema::default();
        T::describe_fields(&mut object, &mut Schemas::default());
        let examples = T::example().map(|example| ("usual", example)).into_iter().collect();
        self.body = Some(Body { required: !object.required.is_empty(), schema: T::schema, examples });
    }

    /// The route. One that needs a key refuses the query parameters that it does not have.
    pub(crate) fn into_route(self) -> (&'static str, MethodRouter<Api>) {
        if self.scope.is_none() {
            return (self.path, self.handler);
        }
        let query = self.query.map(|describe| describe(&mut Schemas::default()).properties);
        let known: Arc<[&str]> = query.into_iter().flatten().map(|(name, _)| name).collect();
        (self.path, self.handler.route_layer(middleware::from_fn_with_state(known, extract::refuse_unknown)))
    }

    /// The operation object of OpenAPI.
    pub(crate) fn describe(&self, tag: &str, schemas: &mut Schemas, responses: &mut Map<String, Value>) -> Value {
        let (needs, security) = match self.scope {
            Some(scope) => (format!("Needs a key with the scope `{scope}`."), json!([{"apiKey": [scope.as_str()]}])),
            None => ("Needs no key.".to_owned(), json!([])),
        };
        let mut operation = json!({
            "operationId": self.id,
            "tags": [tag],
            "summary": self.summary,
            "description": format!("{}\n\n{needs}", self.description),
            "security": security,
            "responses": self.responses(schemas, responses),
        });
        let parameters = self.all_parameters(schemas);
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(body) = &self.body {
            schemas.side = Side::Request;
            let content = json!({"schema": (body.schema)(schemas), "examples": named(&body.examples)});
            operation["requestBody"] = json!({"required": body.required, "content": {"application/json": content}});
        }
        operation
    }

    fn all_parameters(&self, schemas: &mut Schemas) -> Vec<Value> {
        let mut parameters = self.parameters.clone();
        let query = self.query.map(|describe| describe(schemas).properties).into_iter().flatten();
        parameters.extend(query.map(|(name, mut schema)| {
            let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            json!({"name": name, "in": "query", "description": description, "schema": schema})
        }));
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

    fn responses(&self, schemas: &mut Schemas, refusals: &mut Map<String, Value>) -> Value {
        let answer = self.answer.as_ref().expect("every handler answers");
        let mut headers = json!({"Request-Id": header("RequestId")});
        if answer.has_etag {
            headers["ETag"] = header("ETag");
        }
        if self.is_replayable() {
            headers["Idempotency-Replayed"] = header("IdempotencyReplayed");
        }
        let description = match answer.status {
            201 => "Made.",
            202 => "Accepted; the cleanup does it.",
            _ => "Done.",
        };
        schemas.side = Side::Answer;
        let content = json!({"schema": (answer.schema)(schemas), "examples": named(&answer.examples)});
        let done = json!({"description": description, "headers": headers, "content": {"application/json": content}});
        let mut responses = Map::from_iter([(answer.status.to_string(), done)]);
        for (status, codes) in self.all_refusals() {
            let name = codes.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(".");
            responses.insert(status.to_string(), json!({"$ref": format!("#/components/responses/{name}")}));
            refusals.insert(name, refusal(status, &codes));
        }
        responses.into()
    }

    /// Why it may refuse, by status: for reasons of its own, and for those that follow from its kind.
    fn all_refusals(&self) -> BTreeMap<u16, Vec<Code>> {
        let mut codes = self.refusals.clone();
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
            // An unknown query parameter is refused by every operation that needs a key.
            codes.extend([
                Code::InvalidRequest,
                Code::Unauthorized,
                Code::MissingScope,
                Code::RateLimited,
                Code::Unavailable,
            ]);
            if !matches!(self.method, "get" | "delete") {
                codes.push(Code::StorageFull);
            }
        }
        codes.push(Code::Internal);
        let mut by_status = BTreeMap::<u16, Vec<Code>>::new();
        for code in Code::ALL.iter().filter(|code| codes.contains(code)) {
            by_status.entry(code.status()).or_default().push(*code);
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
    let example = |code: &Code| json!({"$ref": format!("#/components/examples/{}", code.as_str())});
    let examples: Map<_, _> = codes.iter().map(|code| (code.as_str().to_owned(), example(code))).collect();
    let content = json!({"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples});
    json!({"description": reasons.join(" "), "headers": headers, "content": {"application/problem+json": content}})
}

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

fn named(examples: &[(&'static str, Value)]) -> Value {
    examples.iter().map(|(name, value)| ((*name).to_owned(), json!({"value": value}))).collect::<Map<_, _>>().into()
}
