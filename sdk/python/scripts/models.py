"""Writes src/xfiles/models.py from the schemas of openapi.json; with --check compares instead."""

import json
import keyword
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
SCHEMAS = json.loads((HERE / "../../../openapi.json").read_text())["components"]["schemas"]
TARGET = HERE / "../src/xfiles/models.py"
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def hint(schema):
    if "$ref" in schema:
        return f'"{schema["$ref"].rsplit("/", 1)[1]}"'
    for union in ("oneOf", "anyOf"):
        if union in schema:
            parts = list(dict.fromkeys(hint(part) for part in schema[union]))
            return parts[0] if len(parts) == 1 else f"Union[{', '.join(parts)}]"
    if "enum" in schema:
        return f"Literal[{', '.join(json.dumps(value) for value in schema['enum'])}]"
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    parts = []
    for one in types:
        if one == "array":
            parts.append(f"list[{hint(schema['items'])}]")
        elif one == "object":
            values = schema.get("additionalProperties")
            parts.append(f"dict[str, {hint(values)}]" if isinstance(values, dict) else "dict[str, Any]")
        else:
            parts.append(SCALARS[one])
    return parts[0] if len(parts) == 1 else f"Union[{', '.join(parts)}]"


def typed_dict(name, schema):
    required = schema.get("required", [])
    fields = []
    for field, one in schema["properties"].items():
        assert not keyword.iskeyword(field), field
        fields.append(f"    {field}: {hint(one) if field in required else f'NotRequired[{hint(one)}]'}\n")
    doc = f'    """{schema["description"].strip()}"""\n\n' if schema.get("description") else ""
    return f"class {name}(TypedDict):\n{doc}{''.join(fields) or '    pass' + chr(10)}"


def definition(name, schema):
    if "allOf" in schema:
        bases = [part["$ref"].rsplit("/", 1)[1] for part in schema["allOf"] if "$ref" in part]
        own = [part for part in schema["allOf"] if "$ref" not in part]
        body = typed_dict(name, own[0]) if own else f"class {name}(TypedDict):\n    pass\n"
        return body.replace("(TypedDict)", f"({', '.join(bases)})", 1), bases
    if "oneOf" in schema and any("properties" in part for part in schema["oneOf"]):
        parts = [part if "$ref" in part else None for part in schema["oneOf"]]
        inner = [typed_dict(f"{name}{index}", part) for index, part in enumerate(schema["oneOf"]) if "properties" in part]
        names = [hint(part) if part else f"{name}{index}" for index, part in enumerate(parts)]
        return "\n\n".join(inner) + f"\n\n{name} = Union[{', '.join(names)}]\n", []
    if "properties" in schema:
        return typed_dict(name, schema), []
    return f"{name} = {hint(schema)}\n", []


def main():
    definitions = {name: definition(name, schema) for name, schema in SCHEMAS.items()}
    out = ['"""Generated from openapi.json by scripts/models.py. Do not edit."""\n\n'
           "from typing import Any, Literal, NotRequired, TypedDict, Union\n"]
    written = set()

    def write(name):
        if name in written:
            return
        written.add(name)
        text, bases = definitions[name]
        for base in bases:
            write(base)
        out.append(text)

    # Aliases of names come last: a forward reference in quotes is no type there.
    for name in sorted(definitions, key=lambda name: definitions[name][0].startswith(f"{name} = ")):
        write(name)
    text = "\n\n".join(out)
    if "--check" in sys.argv:
        if TARGET.read_text() != text:
            sys.exit("src/xfiles/models.py differs from openapi.json; run scripts/models.py and commit the result")
    else:
        TARGET.write_text(text)


main()
