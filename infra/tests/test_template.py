"""Tests of the template after the serverless transform, as AWS receives it."""

import json
import pathlib
import re
import unittest

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

HERE = pathlib.Path(__file__).parent
DOCS = HERE.parent.parent / "docs"
BASELINE = json.loads((HERE / "retained.json").read_text())
PARAMETERS = {"PublicKeyA": "a key"}


def transformed():
    template = yaml_parse((HERE.parent / "template.yaml").read_text())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/code"
    defaults = {name: str(p.get("Default", "")) for name, p in template["Parameters"].items()}
    return Translator({}, Parser()).translate(template, {**defaults, **PARAMETERS})


TEMPLATE = transformed()
RESOURCES = TEMPLATE["Resources"]


def of_type(kind):
    return {name: r["Properties"] for name, r in RESOURCES.items() if r["Type"] == kind}


def as_list(value):
    return value if isinstance(value, list) else [value]


def branches(value):
    """Yields every value that a part of the template can have under any condition."""
    if isinstance(value, dict) and "Fn::If" in value:
        return [b for choice in value["Fn::If"][1:] for b in branches(choice)]
    return [] if value == {"Ref": "AWS::NoValue"} else [value]


def statements(document):
    return [s for statement in document["Statement"] for s in branches(statement)]


def role_of(function):
    return RESOURCES[function]["Properties"]["Role"]["Fn::GetAtt"][0]


def granted(role):
    """Yields every (action, resource, condition) that a role is granted."""
    documents = [p["PolicyDocument"] for p in RESOURCES[role]["Properties"].get("Policies", [])]
    for policy in of_type("AWS::IAM::Policy").values():
        if {"Ref": role} in policy["Roles"]:
            documents.append(policy["PolicyDocument"])
    grants = set()
    for statement in [s for d in documents for s in statements(d)]:
        assert statement["Effect"] == "Allow", statement
        for action in as_list(statement["Action"]):
            for resource in as_list(statement["Resource"]):
                grants.add((action, json.dumps(resource, sort_keys=True)))
    return grants


def sub(text):
    return json.dumps({"Fn::Sub": text})


STAGING, FILES = sub("${Bucket.Arn}/staging/*"), sub("${Bucket.Arn}/files/*")
ORIGINALS, VARIANTS = sub("${Bucket.Arn}/files/originals/*"), sub("${Bucket.Arn}/files/variants/*")
DISTRIBUTION = "arn:${AWS::Partition}:cloudfront::${AWS::AccountId}:distribution/${Distribution}"
CONFIG = RESOURCES["Distribution"]["Properties"]["DistributionConfig"]
BEHAVIOURS = [CONFIG["DefaultCacheBehavior"], *CONFIG["CacheBehaviors"]]


def permissions_on_the_worker(principal=None):
    permissions = of_type("AWS::Lambda::Permission").values()
    of_worker = [p for p in permissions if p["FunctionName"] == {"Ref": "EdgeVariants"}]
    return [p for p in of_worker if principal in (None, p["Principal"])]


class LeastPrivilege(unittest.TestCase):
    def test_each_function_has_its_own_role(self):
        roles = [role_of(name) for name in of_type("AWS::Lambda::Function")]
        self.assertEqual(len(roles), 3)
        self.assertEqual(len(set(roles)), len(roles))

    def test_no_role_has_a_managed_policy_or_a_wildcard_action(self):
        for role, properties in of_type("AWS::IAM::Role").items():
            self.assertNotIn("ManagedPolicyArns", properties, role)
            for action, _ in granted(role):
                self.assertNotIn("*", action, role)

    def test_only_traces_are_granted_on_all_resources(self):
        for role in of_type("AWS::IAM::Role"):
            for action, resource in granted(role):
                if resource == '"*"':
                    self.assertTrue(action.startswith("xray:"), f"{role} has {action} on all resources")

    def test_the_presign_role_may_put_to_staging_and_do_nothing_else(self):
        self.assertEqual(granted("PresignRole"), {("s3:PutObject", STAGING)})

    def test_only_the_api_assumes_the_presign_role(self):
        trust = statements(RESOURCES["PresignRole"]["Properties"]["AssumeRolePolicyDocument"])
        self.assertEqual([s["Principal"] for s in trust], [{"AWS": {"Fn::GetAtt": [role_of("ControlApi"), "Arn"]}}])
        holders = [r for r in of_type("AWS::IAM::Role") if "sts:AssumeRole" in {a for a, _ in granted(r)}]
        self.assertEqual(holders, [role_of("ControlApi")])

    def test_only_the_api_reads_the_signing_key(self):
        holders = [r for r in of_type("AWS::IAM::Role") if any(a.startswith("secretsmanager:") for a, _ in granted(r))]
        self.assertEqual(holders, [role_of("ControlApi")])
        secret = json.dumps({"Ref": "SigningKeySecretArn"})
        self.assertIn(("secretsmanager:GetSecretValue", secret), granted(role_of("ControlApi")))

    def test_no_function_may_put_to_staging(self):
        for function in of_type("AWS::Lambda::Function"):
            self.assertNotIn(("s3:PutObject", STAGING), granted(role_of(function)))

    def test_the_worker_reads_originals_and_one_record_at_a_time_and_writes_variants(self):
        records = json.dumps({"Fn::GetAtt": ["Table", "Arn"]})
        stores = {g for g in granted(role_of("EdgeVariants")) if not g[0].startswith(("logs:", "xray:"))}
        self.assertEqual(
            {g for g in stores if g[0].startswith("s3:")},
            {("s3:GetObject", ORIGINALS), ("s3:PutObject", VARIANTS), ("s3:DeleteObject", VARIANTS)},
        )
        self.assertIn(("dynamodb:GetItem", records), stores)
        self.assertFalse({a for a, _ in stores} & {"dynamodb:PutItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:DeleteItem"})

    def test_the_worker_writes_no_attribute_but_the_placeholder(self):
        [policy] = RESOURCES[role_of("EdgeVariants")]["Properties"]["Policies"]
        [write] = [s for s in statements(policy["PolicyDocument"]) if s.get("Action") == "dynamodb:UpdateItem"]
        self.assertEqual(
            write["Condition"], {"ForAllValues:StringEquals": {"dynamodb:Attributes": ["PK", "SK", "thumbhash"]}}
        )

    def test_only_the_reconciliation_lists_the_bucket(self):
        holders = {r for r in of_type("AWS::IAM::Role") if "s3:ListBucket" in {a for a, _ in granted(r)}}
        self.assertEqual(holders, {role_of("ControlApi"), role_of("CleanupCron")})
        self.assertNotIn("s3:ListBucket", json.dumps(RESOURCES["BucketPolicy"]))

    def test_no_role_may_scan_the_table(self):
        text = json.dumps(RESOURCES)
        for action in ["dynamodb:Scan", "s3:Get*", "dynamodb:*"]:
            self.assertNotIn(action, text)

    def test_the_cdn_gets_published_objects_of_this_distribution_and_nothing_else(self):
        allowed = [s for s in statements(RESOURCES["BucketPolicy"]["Properties"]["PolicyDocument"]) if s["Effect"] == "Allow"]
        self.assertEqual(len(allowed), 1)
        self.assertEqual(allowed[0]["Principal"], {"Service": "cloudfront.amazonaws.com"})
        self.assertEqual(allowed[0]["Action"], "s3:GetObject")
        self.assertEqual(json.dumps(allowed[0]["Resource"]), FILES)
        self.assertEqual(allowed[0]["Condition"], {"StringEquals": {"AWS:SourceArn": {"Fn::Sub": DISTRIBUTION}}})

    def test_only_the_cdn_has_both_permissions_on_the_worker(self):
        worker = permissions_on_the_worker("cloudfront.amazonaws.com")
        for permission in worker:
            self.assertEqual(permission["SourceArn"], {"Fn::Sub": DISTRIBUTION})
        by_action = {p["Action"]: p for p in worker}
        self.assertEqual(set(by_action), {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"})
        self.assertEqual(by_action["lambda:InvokeFunctionUrl"]["FunctionUrlAuthType"], "AWS_IAM")
        self.assertIs(by_action["lambda:InvokeFunction"]["InvokedViaFunctionUrl"], True)
        self.assertEqual([u["AuthType"] for u in of_type("AWS::Lambda::Url").values()], ["AWS_IAM"])


    def test_apart_from_the_cdn_only_the_rule_for_published_images_invokes_the_worker(self):
        everybody = permissions_on_the_worker()
        [permission] = permissions_on_the_worker("events.amazonaws.com")
        self.assertEqual(len(everybody), 3)
        self.assertEqual(permission["Action"], "lambda:InvokeFunction")
        self.assertEqual(permission["SourceArn"], {"Fn::GetAtt": ["ImagePublished", "Arn"]})
        for name in ["ImagePublished", "RuleInvokesTheWorker"]:
            self.assertEqual(RESOURCES[name]["Condition"], "MakesPlaceholders")
        rule = RESOURCES["ImagePublished"]["Properties"]
        self.assertEqual(rule["EventBusName"], {"Ref": "EventBusName"})
        [target] = rule["Targets"]
        self.assertEqual(target["Arn"], {"Fn::GetAtt": ["EdgeVariants", "Arn"]})
        # Neither the bus nor the function retries without end.
        [invoked] = [c for c in of_type("AWS::Lambda::EventInvokeConfig").values() if c["FunctionName"] == {"Ref": "EdgeVariants"}]
        for bounds in [target["RetryPolicy"], invoked]:
            self.assertLessEqual(bounds["MaximumRetryAttempts"], 10)
            self.assertLessEqual(bounds["MaximumEventAgeInSeconds"], 3600)

    def test_only_buckets_of_this_account_send_upload_events_and_only_the_cleanup_receives_them(self):
        arrivals = {"Fn::GetAtt": ["UploadEvents", "Arn"]}
        [policy] = of_type("AWS::SQS::QueuePolicy").values()
        [statement] = statements(policy["PolicyDocument"])
        self.assertEqual(statement["Principal"], {"Service": "s3.amazonaws.com"})
        self.assertEqual((statement["Action"], statement["Resource"]), ("sqs:SendMessage", arrivals))
        self.assertEqual(statement["Condition"], {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}})
        hearing = {r for r in of_type("AWS::IAM::Role") if any(a.startswith("sqs:") for a, _ in granted(r))}
        self.assertEqual(hearing, {role_of("CleanupCron")})


class UploadEvents(unittest.TestCase):
    def test_failed_messages_are_retried_singly_and_kept_in_a_dead_letter_queue_with_an_alarm(self):
        [mapping] = of_type("AWS::Lambda::EventSourceMapping").values()
        self.assertEqual(mapping["FunctionResponseTypes"], ["ReportBatchItemFailures"])
        queue = RESOURCES["UploadEvents"]["Properties"]
        timeout = RESOURCES["CleanupCron"]["Properties"]["Timeout"]
        self.assertGreaterEqual(queue["VisibilityTimeout"], 6 * timeout)
        self.assertEqual(queue["RedrivePolicy"]["deadLetterTargetArn"], {"Fn::GetAtt": ["DeadLetteredUploadEvents", "Arn"]})
        [alarm] = [a for a in of_type("AWS::CloudWatch::Alarm").values() if a["Namespace"] == "AWS/SQS"]
        self.assertEqual(alarm["Dimensions"], [{"Name": "QueueName", "Value": {"Fn::GetAtt": ["DeadLetteredUploadEvents", "QueueName"]}}])

    def test_only_staged_objects_are_notified_and_only_with_auto_confirm(self):
        condition, enabled, disabled = RESOURCES["Bucket"]["Properties"]["NotificationConfiguration"]["Fn::If"]
        self.assertEqual((condition, disabled), ("AutoConfirms", {"Ref": "AWS::NoValue"}))
        [queue] = enabled["QueueConfigurations"]
        self.assertEqual(queue["Filter"], {"S3Key": {"Rules": [{"Name": "prefix", "Value": "staging/"}]}})
        [mapping] = of_type("AWS::Lambda::EventSourceMapping").values()
        self.assertEqual(mapping["Enabled"], {"Fn::If": ["AutoConfirms", True, False]})


class Bucket(unittest.TestCase):
    def denied(self, sid):
        policy = statements(RESOURCES["BucketPolicy"]["Properties"]["PolicyDocument"])
        [statement] = [s for s in policy if s["Sid"] == sid]
        self.assertEqual((statement["Effect"], statement["Principal"], statement["Action"]), ("Deny", "*", "s3:*"))
        return statement["Condition"]

    def test_it_is_not_public(self):
        block = RESOURCES["Bucket"]["Properties"]["PublicAccessBlockConfiguration"]
        self.assertEqual(set(block.values()), {True})
        self.assertEqual(len(block), 4)

    def test_it_requires_tls(self):
        self.assertEqual(self.denied("TlsOnly"), {"Bool": {"aws:SecureTransport": "false"}})

    def test_signatures_older_than_an_upload_url_are_denied(self):
        self.assertEqual(self.denied("NoOldSignatures"), {"NumericGreaterThan": {"s3:signatureAge": 15 * 60 * 1000}})


class Delivery(unittest.TestCase):
    def test_no_query_cookie_or_header_reaches_an_origin(self):
        [policy] = of_type("AWS::CloudFront::CachePolicy").values()
        forwarded = policy["CachePolicyConfig"]["ParametersInCacheKeyAndForwardedToOrigin"]
        self.assertEqual(forwarded["QueryStringsConfig"], {"QueryStringBehavior": "none"})
        self.assertEqual(forwarded["CookiesConfig"], {"CookieBehavior": "none"})
        self.assertEqual(forwarded["HeadersConfig"], {"HeaderBehavior": "none"})
        for behaviour in BEHAVIOURS:
            self.assertEqual(behaviour["CachePolicyId"], {"Ref": "CachePolicy"})
            self.assertNotIn("OriginRequestPolicyId", behaviour)
            self.assertNotIn("ForwardedValues", behaviour)

    def test_private_behaviours_require_a_signature_and_public_ones_do_not(self):
        for behaviour in CONFIG["CacheBehaviors"]:
            expected = [{"Ref": "SigningKeys"}] if "/private/" in behaviour["PathPattern"] else None
            self.assertEqual(behaviour.get("TrustedKeyGroups"), expected, behaviour["PathPattern"])

    def test_every_behaviour_checks_paths_and_sets_headers_and_the_default_has_no_worker(self):
        for behaviour in BEHAVIOURS:
            functions = {f["EventType"]: f["FunctionARN"]["Fn::GetAtt"][0] for f in behaviour["FunctionAssociations"]}
            self.assertEqual(functions, {"viewer-request": "ViewerRequest", "viewer-response": "ViewerResponse"})
            self.assertEqual(behaviour["ResponseHeadersPolicyId"], {"Ref": "ResponseHeadersPolicy"})
            self.assertEqual(set(behaviour["AllowedMethods"]), {"GET", "HEAD", "OPTIONS"})
            self.assertEqual(behaviour["ViewerProtocolPolicy"], "https-only")
        self.assertEqual(CONFIG["DefaultCacheBehavior"]["TargetOriginId"], "bucket")

    def test_the_bucket_is_the_first_origin_and_the_worker_the_fallback_on_403_and_404(self):
        [group] = CONFIG["OriginGroups"]["Items"]
        self.assertEqual([m["OriginId"] for m in group["Members"]["Items"]], ["bucket", "worker"])
        self.assertEqual(group["FailoverCriteria"]["StatusCodes"]["Items"], [403, 404])

    def test_every_origin_is_reached_by_signed_requests_through_origin_shield(self):
        controls = of_type("AWS::CloudFront::OriginAccessControl")
        kinds = {}
        for origin in CONFIG["Origins"]:
            control = controls[origin["OriginAccessControlId"]["Fn::GetAtt"][0]]["OriginAccessControlConfig"]
            self.assertEqual((control["SigningBehavior"], control["SigningProtocol"]), ("always", "sigv4"))
            self.assertIs(origin["OriginShield"]["Enabled"], True)
            kinds[origin["Id"]] = control["OriginAccessControlOriginType"]
        self.assertEqual(kinds, {"bucket": "s3", "worker": "lambda"})

    def test_the_worker_times_out_before_the_cdn(self):
        [worker] = [o for o in CONFIG["Origins"] if o["Id"] == "worker"]
        timeout = RESOURCES["EdgeVariants"]["Properties"]["Timeout"]
        self.assertLess(timeout, worker["CustomOriginConfig"]["OriginReadTimeout"])


class RetainedResources(unittest.TestCase):
    def test_files_records_and_links_outlive_the_stack(self):
        for name in BASELINE:
            resource = RESOURCES[name]
            # test_deployment.py checks which of the two allows a rollback.
            self.assertIn(resource["DeletionPolicy"], ["Retain", "RetainExceptOnCreate"], name)
            self.assertEqual(resource["UpdateReplacePolicy"], "Retain", name)
        self.assertTrue({"Bucket", "Table", "Distribution"} <= set(BASELINE))
        table = RESOURCES["Table"]["Properties"]
        self.assertIs(table["DeletionProtectionEnabled"], True)
        self.assertIs(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], True)

    def test_no_update_replaces_or_removes_them(self):
        """A changed create-only property or a new logical id would replace the resource. retained.json has the values of
        existing deployments."""
        for name, had in BASELINE.items():
            self.assertIn(name, RESOURCES, f"{name} is deployed, and an update without it would abandon it")
            self.assertEqual(fixed_at_creation(RESOURCES[name]), had, f"an update would replace {name}")

    def test_every_retained_resource_is_in_the_baseline(self):
        retained = {n for n, r in RESOURCES.items() if r.get("DeletionPolicy", "").startswith("Retain")}
        self.assertEqual(retained, set(BASELINE))


class Documentation(unittest.TestCase):
    def test_every_alarm_has_a_row_and_an_existing_section_in_the_guide(self):
        guide = (DOCS / "operate.md").read_text()
        headings = set(re.findall(r"^## (.+)$", guide, re.MULTILINE))
        for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
            self.assertRegex(guide, rf"(?m)^\| .*\b{name}\b.* \|", name)
            [section] = re.findall(r'See docs/operate\.md, "(.+)"\.', alarm["AlarmDescription"])
            self.assertIn(section, headings, name)

    def test_every_alarm_notifies_when_it_starts_and_when_it_ends(self):
        topic = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
        for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
            self.assertEqual((alarm["AlarmActions"], alarm["OKActions"]), (topic, topic), name)

    def test_every_parameter_has_its_row(self):
        table = re.findall(r"^\| (`.+?) \|", (DOCS / "deploy.md").read_text(), re.MULTILINE)
        documented = {name for row in table for name in re.findall(r"`(\w+)`", row)}
        self.assertEqual(documented, set(TEMPLATE["Parameters"]))


class Functions(unittest.TestCase):
    def test_they_run_on_arm64_with_the_configured_log_retention(self):
        for name, function in of_type("AWS::Lambda::Function").items():
            self.assertEqual((function["Runtime"], function["Architectures"]), ("provided.al2023", ["arm64"]), name)
            logs = RESOURCES[function["LoggingConfig"]["LogGroup"]["Ref"]]
            self.assertEqual(logs["Properties"]["RetentionInDays"], {"Ref": "LogDays"}, name)

    def test_the_worker_has_the_configured_reserved_concurrency(self):
        reserved = RESOURCES["EdgeVariants"]["Properties"]["ReservedConcurrentExecutions"]
        self.assertEqual(reserved["Fn::If"][:2], ["ReservesConcurrency", {"Ref": "WorkerConcurrency"}])

    def test_the_signing_key_is_that_of_the_active_public_key(self):
        variables = RESOURCES["ControlApi"]["Properties"]["Environment"]["Variables"]
        for variable, resource in [("XFILES_SIGNING_KEY_ID", "SigningKey"), ("XFILES_SIGNING_PUBLIC_KEY", "PublicKey")]:
            self.assertEqual(variables[variable], {"Fn::If": ["SignsWithA", {"Ref": f"{resource}A"}, {"Ref": f"{resource}B"}]})


def fixed_at_creation(resource):
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource["Type"]).schema
    fixed = {"Type": resource["Type"]}
    for pointer in schema.get("createOnlyProperties", []):
        value = resource["Properties"]
        for part in pointer.removeprefix("/properties/").split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        fixed[pointer.removeprefix("/properties/")] = value
    if resource["Type"] == "AWS::DynamoDB::Table":
        # The schema does not list the key as create-only, because tables can be imported; CloudFormation replaces the
        # table.
        fixed["KeySchema"] = resource["Properties"]["KeySchema"]
    return fixed


if __name__ == "__main__":
    unittest.main()
