"""The subset of JavaScript that CloudFront Functions support.

CloudFront accepts any code. If its runtime cannot run a function, every request gets 503. According to AWS's
documentation `cloudfront-js-2.0` has ECMAScript 5.1, `const` and `let`, and some methods of later versions
(https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/functions-javascript-runtime-20.html). Arrow
functions, rest parameters and template literals are also documented, but not allowed here, because deployments have been
reported in which functions with them did not run.
"""

import esprima

#: Nodes of ECMAScript 5.1's grammar, as ESTree names them. `New` is not among them: `new RegExp` hides a pattern.
SYNTAX = set(
    "Program FunctionDeclaration FunctionExpression VariableDeclaration VariableDeclarator BlockStatement ExpressionStatement "
    "IfStatement ForStatement ForInStatement WhileStatement DoWhileStatement BreakStatement ContinueStatement ReturnStatement "
    "SwitchStatement SwitchCase ThrowStatement TryStatement CatchClause EmptyStatement Identifier Literal ThisExpression "
    "ArrayExpression ObjectExpression Property UnaryExpression UpdateExpression BinaryExpression AssignmentExpression "
    "LogicalExpression MemberExpression ConditionalExpression CallExpression SequenceExpression".split()
)

#: Methods and properties that the page above lists, of the objects that the functions use.
MEMBERS = set(
    # String
    "charAt charCodeAt codePointAt concat endsWith fromCharCode fromCodePoint includes indexOf lastIndexOf length match "
    "replace search slice split startsWith substring toLowerCase toUpperCase toString trim "
    # Array
    "every filter find findIndex forEach isArray join map pop push reduce reverse shift some sort splice "
    # Object, Math, RegExp
    "hasOwnProperty keys max min floor exec test "
    # The event, as CloudFront's event structure names it, and its headers that are read or written by name
    "request response headers method uri querystring statusCode statusDescription value multiValue "
    "accept vary location download".split()
)

#: Objects and functions that the page lists and the functions use.
GLOBALS = {"String", "Array", "Object", "Math", "Number", "NaN", "undefined", "encodeURIComponent", "decodeURIComponent"}


def refused(code):
    """Returns a description of each unsupported construct in a function."""
    try:
        tree = esprima.parseScript(code, {"loc": True})
    except esprima.Error as error:
        return [f"syntax: {error}"]
    found, names = [], declared(tree)
    for node, parent in walk(tree):
        at = f"line {node.loc.start.line}"
        if node.type not in SYNTAX:
            found.append(f"{at}: {node.type}")
        if any(getattr(node, flag, None) for flag in ("isAsync", "generator")):
            found.append(f"{at}: async or generator")
        if node.type == "Property" and (node.computed or node.shorthand or node.method):
            found.append(f"{at}: a property in the short form of ES 6")
        if node.type == "MemberExpression" and not node.computed and node.property.name not in MEMBERS:
            found.append(f"{at}: .{node.property.name} is not documented")
        if node.type == "Identifier" and is_a_value(node, parent) and node.name not in names | GLOBALS:
            found.append(f"{at}: {node.name} is not documented")
        if node.type == "Literal" and node.regex is not None:
            found += [f"{at}: {fault}" for fault in of_pattern(node.regex.pattern, node.regex.flags)]
    return found


def of_pattern(pattern, flags):
    """Yields the faults of a pattern: CloudFront uses Perl's syntax, in which `$` also matches before a final line feed."""
    bare = pattern.replace("\\\\", "").replace("\\$", "")
    if "$" in bare:
        yield "a pattern that ends in $ matches before a final line feed; compare the length of the match"
    if set(flags) - set("gim"):
        yield f"the flags {flags}"
    if any(text in bare for text in ("(?<", "\\p{", "\\P{", "\\u{", "\\k<")):
        yield "a pattern of ES 9"


def is_a_value(node, parent):
    """Returns true if an identifier is a value, not the name of a member or property."""
    if parent is None or parent.type not in ("MemberExpression", "Property"):
        return True
    member = parent.property if parent.type == "MemberExpression" else parent.key
    return member is not node or parent.computed


def declared(tree):
    names = set()
    for node, _ in walk(tree):
        if node.type == "VariableDeclarator" and node.id.type == "Identifier":
            names.add(node.id.name)
        if node.type in ("FunctionDeclaration", "FunctionExpression"):
            names |= {p.name for p in [node.id, *node.params] if p is not None and p.type == "Identifier"}
        if node.type == "CatchClause" and node.param.type == "Identifier":
            names.add(node.param.name)
    return names


def walk(node, parent=None):
    yield node, parent
    for field in vars(node).values():
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, esprima.nodes.Node):
                yield from walk(child, node)
