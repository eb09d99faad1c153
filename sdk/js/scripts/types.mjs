// Writes src/generated.ts from the schemas of openapi.json. `--check` compares instead and fails on a difference.
import { readFileSync, writeFileSync } from "node:fs";

const source = new URL("../../../openapi.json", import.meta.url);
const target = new URL("../src/generated.ts", import.meta.url);
const { components, paths } = JSON.parse(readFileSync(source, "utf8"));

// These names belong to the platform, or would mislead in an import list.
const RENAMED = { File: "StoredFile", Key: "ApiKey", Method: "UploadMethod" };
const named = (name) => RENAMED[name] ?? name;
const refName = (ref) => named(ref.slice(ref.lastIndexOf("/") + 1));

function comment(text, indent) {
  if (!text) return "";
  const lines = text.replaceAll("*/", "*\\/").split("\n");
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}`.trimEnd()).join("\n")}\n${indent} */\n`;
}

function scalar(type, schema, indent) {
  switch (type) {
    case "string":
      return "string";
    case "integer":
    case "number":
      return "number";
    case "boolean":
      return "boolean";
    case "null":
      return "null";
    case "array": {
      const item = print(schema.items, indent);
      return item.includes("|") ? `(${item})[]` : `${item}[]`;
    }
    case "object": {
      if (!schema.properties) return `Record<string, ${print(schema.additionalProperties, indent)}>`;
      const required = new Set(schema.required);
      const inner = `${indent}  `;
      const fields = Object.entries(schema.properties).map(
        ([name, property]) =>
          comment(property.description, inner) +
          // A caller may pass `undefined` for what may be left out, also under `exactOptionalPropertyTypes`.
          `${inner}${name}${required.has(name) ? "" : "?"}: ${print(property, inner)}${required.has(name) ? "" : " | undefined"};\n`,
      );
      return `{\n${fields.join("")}${indent}}`;
    }
    default:
      throw new Error(`openapi.json: the type ${JSON.stringify(type)} is not supported`);
  }
}

function print(schema, indent) {
  if (schema === undefined || schema === true) return "unknown";
  if (schema.$ref) return refName(schema.$ref);
  const all = (schemas, glue) => [...new Set(schemas.map((part) => print(part, indent)))].join(glue);
  if (schema.allOf) return all(schema.allOf, " & ");
  if (schema.oneOf) return all(schema.oneOf, " | ");
  if (schema.anyOf) {
    // Known values beside a pattern: keep the completion of the known ones.
    const open = schema.anyOf.some((part) => part.type === "string" && !part.enum);
    const closed = schema.anyOf.filter((part) => part.enum);
    return open && closed.length ? `${all(closed, " | ")} | (string & {})` : all(schema.anyOf, " | ");
  }
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const types = Array.isArray(schema.type) ? schema.type : [schema.type];
  return types.map((type) => scalar(type, schema, indent)).join(" | ");
}

const codes = Object.values(components.examples)
  .map((example) => example.value?.code)
  .filter((code) => typeof code === "string");
const itemCodes = Object.keys(components.examples);
const problemCodes = [...new Set([...codes, ...itemCodes.filter((name) => codes.includes(name))])].sort();

const listParameters = paths["/api/v1/files"].get.parameters.filter(
  (parameter) => !["page", "limit", "cursor", "include"].includes(parameter.name),
);

let out = "// Generated from openapi.json by scripts/types.mjs. Do not edit.\n\n";
for (const [name, schema] of Object.entries(components.schemas)) {
  out += comment(schema.description, "");
  const body = print(schema, "");
  out += body.startsWith("{") && !schema.oneOf && !schema.allOf
    ? `export interface ${named(name)} ${body}\n\n`
    : `export type ${named(name)} = ${body};\n\n`;
}
out += "/** The codes of the refusals that docs/errors.md lists. */\n";
out += `export type ProblemCode =\n${problemCodes.map((code) => `  | "${code}"`).join("\n")};\n\n`;
out += "/** The filters of a list of files. */\nexport interface FileFilter {\n";
for (const parameter of listParameters) {
  out += comment(parameter.description, "  ");
  out += `  ${parameter.name}?: ${print(parameter.schema, "  ")} | undefined;\n`;
}
out += "}\n";

if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== out) {
    console.error("src/generated.ts differs from openapi.json; run `npm run types` and commit the result");
    process.exit(1);
  }
} else {
  writeFileSync(target, out);
}
