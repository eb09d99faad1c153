"""Tests that a first deployment works in a new account, that a failed one is rolled back, and that it can be repeated."""

import json
import re
import unittest

from samcli.cli.types import CfnParameterOverridesType
from test_template import BASELINE, DOCS, RESOURCES, TEMPLATE, of_type

#: CloudFront's limit on the names of functions and of origin access controls, by type.
NAME_CHARACTERS = {"AWS::CloudFront::Function": 64, "AWS::CloudFront::OriginAccessControl": 64}
STACK_ID = "arn:aws:cloudformation:ap-southeast-2:123456789012:stack/{}/51af3dc0-da77-11e4-872e-1234567db123"
PEM = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKth7Ln7eB+ZzCIXyVZCNGpWfLUJ0
vIVKPYD5TFSzYOH6mtNeUKfz5nJYcMnYPTzUKHgS9RAhbp2eEY0FyqJg4g==
-----END PUBLIC KEY-----
"""


def values(value, *keys):
    """Yields every value below one of these keys."""
    if isinstance(value, list):
        for item in value:
            yield from values(item, *keys)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in keys:
                yield item
            yield from values(item, *keys)


def resolved(value, stack, parameters=()):
    """Evaluates intrinsic functions as CloudFormation does in a stack of this name."""
    names = {"AWS::StackName": stack, "AWS::StackId": STACK_ID.format(stack), "AWS::Region": "ap-southeast-2", **dict(parameters)}
    if isinstance(value, list):
        return [resolved(item, stack, parameters) for item in value]
    if not isinstance(value, dict):
        return value
    [(function, argument)] = value.items()
    if function == "Ref":
        return names[argument]
    if function == "Fn::Select":
        index, items = resolved(argument, stack, parameters)
        return items[int(index)]
    if function == "Fn::Split":
        separator, text = resolved(argument, stack, parameters)
        return text.split(separator)
    if function == "Fn::Sub":
        text, more = argument if isinstance(argument, list) else (argument, {})
        names |= {name: resolved(item, stack, parameters) for name, item in more.items()}
        return re.sub(r"\$\{([^}]+)\}", lambda match: names[match[1]], text)
    raise AssertionError(function)


def of_service(service):
    return [(n, r["Properties"]) for n, r in RESOURCES.items() if r["Type"].startswith(f"AWS::{service}::")]


def protections(value):
    """Returns true if a property protects a resource from deletion."""
    if isinstance(value, list):
        return any(protections(item) for item in value)
    if not isinstance(value, dict):
        return False
    return any(
        (re.search(r"(?i)(deletion|termination).?protection", key) and item not in (False, "false")) or protections(item)
        for key, item in value.items()
    )


class Rollback(unittest.TestCase):
    def test_a_rollback_does_not_delete_protected_resources(self):
        protected = [name for name, r in RESOURCES.items() if protections(r["Properties"])]
        self.assertEqual(protected, ["Table"])
        for name in protected:
            self.assertEqual(RESOURCES[name]["DeletionPolicy"], "Retain", name)

    def test_a_rollback_deletes_unprotected_resources(self):
        for name in BASELINE:
            if not protections(RESOURCES[name]["Properties"]):
                self.assertEqual(RESOURCES[name]["DeletionPolicy"], "RetainExceptOnCreate", name)

    def test_the_guide_says_what_remains_of_a_failed_first_deployment(self):
        [left] = re.findall(r"^After a failed \*first\* deployment, ((?:.+\n)+)", (DOCS / "deploy.md").read_text(), re.MULTILINE)
        self.assertIn("table also remains", left)


class Names(unittest.TestCase):
    def test_retained_cloudfront_names_contain_the_installation(self):
        named = []
        for resource, properties in of_service("CloudFront"):
            for name in values(properties, "CallerReference", *([] if resource == "Distribution" else ["Name"])):
                named.append(resource)
                self.assertTrue(resolved(name, "xfiles").endswith("51af3dc0"), f"{resource}: {name}")
        # Two access controls, two functions, a key group, two policies, and two keys with a reference each.
        self.assertEqual(len(named), 11)

    def test_no_other_name_conflicts_with_a_second_stack(self):
        for service, key in [
            ("S3", "BucketName"),
            ("DynamoDB", "TableName"),
            ("SQS", "QueueName"),
            ("IAM", "RoleName"),
            ("Logs", "LogGroupName"),
            ("CloudWatch", "AlarmName"),
            ("Events", "Name"),
            ("ApiGatewayV2", "Name"),
        ]:
            found = of_service(service)
            self.assertTrue(found, service)
            for name, properties in found:
                self.assertNotIn(key, properties, name)
        for name, properties in of_type("AWS::Lambda::Function").items():
            self.assertNotIn("FunctionName", properties, name)

    def test_names_are_unique(self):
        for kind in {r["Type"] for r in RESOURCES.values() if r["Type"].startswith("AWS::CloudFront::")}:
            names = [resolved(n, "xfiles") for p in of_type(kind).values() for n in values(p, "Name") if isinstance(n, dict)]
            self.assertEqual(len(names), len(set(names)), kind)

    def test_the_longest_stack_name_that_xf_accepts_fits_and_one_more_character_does_not(self):
        deploy = (DOCS.parent / "cli" / "src" / "aws" / "mod.rs").read_text()
        [longest] = map(int, re.findall(r"const LONGEST: usize = (\d+);", deploy))
        fits = lambda stack: all(
            len(resolved(name, stack)) <= limit
            for kind, limit in NAME_CHARACTERS.items()
            for properties in of_type(kind).values()
            for name in values(properties, "Name")
        )
        self.assertTrue(fits("s" * longest))
        self.assertFalse(fits("s" * (longest + 1)))


class NewAccount(unittest.TestCase):
    def test_no_default_exceeds_the_quota_of_a_new_account(self):
        self.assertEqual(TEMPLATE["Parameters"]["WorkerConcurrency"]["Default"], 0)
        for name, function in of_type("AWS::Lambda::Function").items():
            reserved = function.get("ReservedConcurrentExecutions")
            if reserved is not None:
                condition, _, otherwise = reserved["Fn::If"]
                self.assertEqual(otherwise, {"Ref": "AWS::NoValue"}, name)
                depends = {"Fn::Not": [{"Fn::Equals": [{"Ref": "WorkerConcurrency"}, 0]}]}
                self.assertEqual(TEMPLATE["Conditions"][condition], depends)
        for mapping in of_type("AWS::Lambda::EventSourceMapping").values():
            self.assertNotIn("ProvisionedPollerConfig", mapping)
        self.assertNotIn("ProvisionedConcurrencyConfig", json.dumps(RESOURCES))

    def test_partitions_without_origin_access_control_are_refused_before_creation(self):
        secret = TEMPLATE["Parameters"]["SigningKeySecretArn"]
        self.assertNotIn("Default", secret)
        for partition, allowed in [("aws", True), ("aws-cn", False), ("aws-us-gov", False), ("aws-iso", False)]:
            arn = f"arn:{partition}:secretsmanager:us-east-1:123456789012:secret:xfiles/xfiles/signing-key-AbCdEf"
            self.assertEqual(bool(re.fullmatch(secret["AllowedPattern"], arn)), allowed, partition)
        self.assertIn("China", secret["ConstraintDescription"])


class PublicKeys(unittest.TestCase):
    def test_every_form_of_a_key_yields_the_same_value_for_cloudfront(self):
        as_shells_give_it = PEM.rstrip("\n")
        for key in "AB":
            pattern = TEMPLATE["Parameters"][f"PublicKey{key}"]["AllowedPattern"]
            encoded = RESOURCES[f"SigningKey{key}"]["Properties"]["PublicKeyConfig"]["EncodedKey"]
            for given in [PEM, as_shells_give_it, PEM + "\n", as_shells_give_it + " \r\n"]:
                self.assertTrue(re.fullmatch(pattern, given), repr(given))
                self.assertEqual(resolved(encoded, "xfiles", [(f"PublicKey{key}", given)]), PEM)
            self.assertTrue(re.fullmatch(pattern, ""))
            for given in ["a key", PEM.replace("PUBLIC", "PRIVATE"), PEM.replace("\n", "\r\n"), PEM.replace("\n", " "), PEM + PEM]:
                self.assertFalse(re.fullmatch(pattern, given), repr(given))

    def test_the_sam_command_of_the_guide_passes_the_complete_key(self):
        [given] = re.findall(r'"(PublicKeyA=.+)"$', (DOCS / "deploy.md").read_text(), re.MULTILINE)
        # The argument after the shell's expansion.
        argument = given.replace('\\"', '"').replace("$(cat public.pem)", PEM.rstrip("\n"))
        parsed = CfnParameterOverridesType().convert((argument,), None, None)
        self.assertEqual(parsed["PublicKeyA"], PEM.rstrip("\n"))


if __name__ == "__main__":
    unittest.main()
