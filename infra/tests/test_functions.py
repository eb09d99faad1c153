"""Tests that the CloudFront functions use only supported syntax. functions.test.mjs tests their results."""

import unittest

import javascript
from test_template import of_type

FUNCTIONS = of_type("AWS::CloudFront::Function")

#: Code that CloudFront accepts when a function is created, and then answers with 503 or interprets differently.
UNSUPPORTED = {
    "for of": "for (const a of [1]) { a.push(1); }",
    "for of, one line below": "for (const a\n of [1]) {}",
    "spread in an array": "const a = [1]; const b = [...a];",
    "spread in a call": "const a = [1]; a.push(...a);",
    "spread in an object": "const a = {}; const b = { ...a };",
    "rest": "function f(...a) { return a; }",
    "destructured object": "const a = {}; const { b } = a;",
    "destructured array": "const a = [1]; const [b] = a;",
    "destructured parameter": "function f({ a }) { return a; }",
    "destructuring assignment": "let a; [a] = [1];",
    "default parameter": "function f(a = 1) { return a; }",
    "optional chaining": "const a = {}; a?.value;",
    "optional call": "const a = {}; a.test?.();",
    "nullish": "const a = null; a ?? 1;",
    "nullish assignment": "let a; a ??= 1;",
    "template": "const a = `${1}`;",
    "tagged template": "String.raw`a`;",
    "arrow": "const f = () => 1;",
    "class": "class A {}",
    "generator": "function* f() {}",
    "async": "async function f() {}",
    "catch without a binding": "try { NaN; } catch { NaN; }",
    "shorthand": "const a = 1; const b = { a };",
    "method": "const a = { f() { return 1; } };",
    "computed property": "const a = 'b'; const c = { [a]: 1 };",
    "Array.from": "Array.from('a');",
    "Object.entries": "Object.entries({});",
    "Object.fromEntries": "Object.fromEntries([]);",
    "flatMap": "[1].flatMap(function (a) { return a; });",
    "at": "'a'.at(-1);",
    "replaceAll": "'a'.replaceAll('a', 'b');",
    "matchAll": "'a'.matchAll(/a/g);",
    "Map": "new Map();",
    "Set": "const a = Set;",
    "URLSearchParams": "const a = URLSearchParams;",
    "new RegExp": "new RegExp('a$');",
    "RegExp without new": "RegExp('a$');",
    "$ in a pattern": "/a$/.test('a');",
    "$ in an alternative": "/a$|b/.test('a');",
    "$ after a backslash": r"/\\$/.test('a');",
    "unicode flag": "/a/u.test('a');",
    "sticky flag": "/a/y.test('a');",
    "lookbehind": "/(?<!a)b/.test('b');",
    "unicode property": r"/\p{L}/.test('b');",
    "exponent": "2 ** 3 ** 2 === 512 ? [...'a'] : 1;",
    "eval": "eval('1');",
    "timer": "setTimeout(function () {}, 1);",
    "module": "import a from 'b';",
}


class Javascript(unittest.TestCase):
    def test_the_functions_use_only_supported_syntax(self):
        self.assertEqual(set(FUNCTIONS), {"ViewerRequest", "ViewerResponse"})
        for name, function in FUNCTIONS.items():
            self.assertEqual(function["FunctionConfig"]["Runtime"], "cloudfront-js-2.0", name)
            self.assertEqual(javascript.refused(function["FunctionCode"]), [], name)

    def test_the_check_refuses_unsupported_syntax(self):
        for what, code in UNSUPPORTED.items():
            self.assertNotEqual(javascript.refused(code), [], what)

    def test_the_check_accepts_ecmascript_5_with_const_and_let(self):
        plain = r"""
            const a = /^\$[a-z]\\/gi; let b = 0; var c = { d: 1, 'e': [2] };
            function f(g) { for (let i = 0; i < g.length; i += 1) { b += g.charCodeAt(i); } return b; }
            try { f('h'); } catch (_) { b = c['d'] ? 1 : 2; }
            for (const k in c) { if (a.test(k)) { break; } }
        """
        self.assertEqual(javascript.refused(plain), [])


if __name__ == "__main__":
    unittest.main()
