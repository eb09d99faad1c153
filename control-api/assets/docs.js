// Shows /openapi.json as a page to read and try. All text goes in as text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const BODY = "application/json";

/** An element with properties and children; a child that is a string is text. */
function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Text with its `code` parts marked. */
function prose(text, tag = "p") {
  const parts = (text ?? "").split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
  return el(tag, { className: "text" }, ...parts);
}

const pretty = (value) => JSON.stringify(value, null, 2);

let api;

/** What a node of the description is, whether it stands there or is referred to. */
function at(node) {
  if (!node?.$ref) return node;
  return node.$ref.slice(2).split("/").reduce((found, step) => found[step], api);
}

/** A schema in a few words, with links to those that have names. */
function brief(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return el("a", { href: `#schema-${name}` }, name);
  }
  const several = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (several) {
    const between = schema.allOf ? " and " : " or ";
    return el("span", {}, ...several.flatMap((one, i) => (i ? [between, brief(one)] : [brief(one)])));
  }
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  const types = [schema.type ?? "anything"].flat().join(" or ");
  if (schema.items) return el("span", {}, `${types} of `, brief(schema.items), rules(schema));
  return types + rules(schema);
}

/** The bounds of a schema in words. */
function rules(schema) {
  const said = [];
  const range = (low, high, what) => {
    if (low === undefined && high === undefined) return;
    said.push(`${low ?? ""}…${high ?? ""}${what}`);
  };
  range(schema.minLength, schema.maxLength, " characters");
  range(schema.minItems, schema.maxItems, " items");
  range(schema.minimum, schema.maximum, "");
  if (schema.uniqueItems) said.push("each once");
  if (schema.pattern) said.push(schema.pattern);
  if (schema.format && !schema.format.startsWith("int")) said.push(schema.format);
  if (schema.default !== undefined) said.push(`default ${schema.default}`);
  return said.length ? ` (${said.join(", ")})` : "";
}

/** The fields of an object, or what else a schema is. */
function shape(schema) {
  const target = schema.$ref ? at(schema) : schema;
  if (!target.properties) return el("p", {}, brief(target));
  const rows = Object.entries(target.properties).map(([name, field]) =>
    el("tr", {},
      el("td", {}, el("code", {}, name), target.required?.includes(name) ? "" : el("small", {}, " optional")),
      el("td", {}, brief(field)),
      el("td", {}, prose(field.description ?? "", "span"))));
  return el("table", {}, el("tbody", {}, ...rows));
}

function examplesOf(content) {
  return Object.entries(content?.examples ?? {}).map(([name, example]) => [name, at(example).value]);
}

function response(status, answer) {
  const [type, content] = Object.entries(answer.content ?? {})[0] ?? [];
  return el("details", {},
    el("summary", {}, el("code", {}, status), " ", prose(answer.description, "span")),
    content ? el("p", {}, el("small", {}, `${type}: `), brief(content.schema)) : null,
    ...examplesOf(content).flatMap(([name, value]) => [el("small", {}, name), el("pre", {}, pretty(value))]));
}

/** The form that sends the request, and its answer below. */
function trial(method, path, operation) {
  const fields = (operation.parameters ?? []).map((parameter) => {
    const input = el("input", { placeholder: parameter.example ?? "", ariaLabel: parameter.name, spellcheck: false });
    return { parameter, input };
  });
  const rows = fields.map(({ parameter, input }) =>
    el("tr", {},
      el("td", {}, el("code", {}, parameter.name), el("small", {}, ` ${parameter.in}`)),
      el("td", {}, input),
      el("td", {}, brief(parameter.schema), " ", prose(parameter.description, "span"))));
  const content = operation.requestBody?.content[BODY];
  const examples = examplesOf(content);
  const body = content ? el("textarea", { value: pretty(examples[0]?.[1] ?? {}), spellcheck: false }) : null;
  const others = examples.slice(1).map(([name, value]) =>
    el("details", {}, el("summary", {}, `Another example: ${name}`), el("pre", {}, pretty(value))));
  const answer = el("div", { ariaLive: "polite" });
  const button = el("button", { type: "button", className: "send" }, "Send");
  button.addEventListener("click", () => send(method, path, fields, body?.value, answer));
  return [
    rows.length ? el("h4", {}, "Parameters") : null,
    rows.length ? el("table", {}, el("tbody", {}, ...rows)) : null,
    content ? el("h4", {}, "Body: ", brief(content.schema)) : null,
    content ? shape(content.schema) : null,
    body,
    ...others,
    button,
    answer,
  ];
}

async function send(method, path, fields, body, answer) {
  const headers = new Headers();
  const query = new URLSearchParams();
  let target = path;
  for (const { parameter, input } of fields) {
    const value = input.value;
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, () => encodeURIComponent(value));
    // An empty field is one that is left out; two quotation marks are an empty value, such as the first cursor.
    else if (parameter.in === "query" && value !== "") query.append(parameter.name, value === '""' ? "" : value);
    else if (parameter.in === "header" && value !== "") headers.set(parameter.name, value);
  }
  const key = document.getElementById("key").value.trim();
  if (key) headers.set("Authorization", `Bearer ${key}`);
  if (body?.trim()) headers.set("Content-Type", BODY);
  if (query.size) target += `?${query}`;
  answer.replaceChildren(el("p", { className: "quiet" }, "…"));
  try {
    const options = { method: method.toUpperCase(), headers, credentials: "omit", cache: "no-store" };
    const reply = await fetch(target, { ...options, body: body?.trim() ? body : undefined });
    const text = await reply.text();
    answer.replaceChildren(
      el("h4", {}, `${reply.status} ${reply.statusText}`),
      el("pre", {}, [...reply.headers].map(([name, value]) => `${name}: ${value}`).join("\n")),
      el("pre", {}, readable(text)));
  } catch (error) {
    answer.replaceChildren(el("p", {}, `No answer: ${error.message}`));
  }
}

function readable(text) {
  try {
    return pretty(JSON.parse(text));
  } catch {
    return text;
  }
}

/** One operation; what is inside is made when it is opened. */
function article(method, path, operation) {
  const inside = el("div", { className: "inside", hidden: true });
  const head = el("button", { type: "button", className: "head", ariaExpanded: "false" },
    el("span", { className: "method" }, method),
    el("code", {}, path),
    el("span", {}, operation.summary));
  const open = () => {
    if (!inside.childElementCount) {
      const answers = Object.entries(operation.responses).map(([status, answer]) => response(status, at(answer)));
      const parts = [prose(operation.description), ...trial(method, path, operation), el("h4", {}, "Answers"), ...answers];
      inside.append(...parts.filter((part) => part !== null));
    }
    inside.hidden = false;
    head.ariaExpanded = "true";
  };
  head.addEventListener("click", () => {
    if (inside.hidden) open();
    else {
      inside.hidden = true;
      head.ariaExpanded = "false";
    }
  });
  const whole = el("article", { id: operation.operationId }, head, inside);
  whole.addEventListener("open-it", open);
  return whole;
}

function show() {
  document.getElementById("version").textContent = api.info.version;
  const contents = document.getElementById("contents");
  const main = document.getElementById("operations");
  main.replaceChildren(prose(api.info.description));
  for (const tag of api.tags) {
    main.append(el("h2", {}, tag.name), prose(tag.description));
    contents.append(el("strong", {}, tag.name));
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS.filter((name) => item[name]?.tags.includes(tag.name))) {
        main.append(article(method, path, item[method]));
        contents.append(el("a", { href: `#${item[method].operationId}` }, item[method].summary));
      }
    }
  }
  main.append(el("h2", {}, "Schemas"));
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    const details = el("details", { className: "schema", id: `schema-${name}` },
      el("summary", {}, el("code", {}, name)), prose(schema.description), shape(schema));
    details.addEventListener("open-it", () => { details.open = true; });
    main.append(details);
  }
}

/** Opens what the address points to. */
function follow() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  target?.dispatchEvent(new Event("open-it"));
  target?.scrollIntoView();
}

async function start() {
  try {
    const reply = await fetch("/openapi.json", { credentials: "omit" });
    api = await reply.json();
    show();
    follow();
    addEventListener("hashchange", follow);
  } catch (error) {
    document.getElementById("operations").replaceChildren(el("p", {}, `The description did not load: ${error.message}`));
  }
}

start();
