"""Prints infra/template.yaml in a form that an emulator can deploy.

Each change is a function below, whose docstring names the changed resources and the reason. It fails if a resource does
not exist, so that obsolete changes are noticed. The docstrings are printed on standard error.
"""

import argparse
import json
import pathlib
import platform
import re
import sys

import yaml

TEMPLATE = pathlib.Path(__file__).parent.parent / "infra" / "template.yaml"


class CloudFormation(yaml.SafeLoader):
    """Loads YAML and expands CloudFormation's short forms to the long ones."""


def short_form(loader, name, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if name == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


CloudFormation.add_multi_constructor("!", short_form)


def variables(template, function):
    return template["Resources"][function]["Properties"]["Environment"]["Variables"]


def without(template, *names):
    for name in names:
        del template["Resources"][name]


def without_statement(document, sid):
    kept = [s for s in document["Statement"] if s.get("Sid") != sid]
    assert len(kept) < len(document["Statement"]), sid
    document["Statement"] = kept


def local_functions(template, options):
    """Globals: the functions are built for this machine, in the directory of `localstack/up`."""
    machine = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
    template["Globals"]["Function"]["Architectures"] = [machine]
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            name = resource["Properties"]["CodeUri"].rsplit("/", 1)[1]
            resource["Properties"]["CodeUri"] = str(options.functions.resolve() / name)


def stand_in_for_the_cdn(template, options):
    """XFILES_CDN_URL and CloudFront's endpoint: xf-edge serves viewers and invalidations, because no emulator of
    CloudFront reads buckets, checks signatures and fails over to a second origin."""
    for function in ["ControlApi", "CleanupCron"]:
        assert "XFILES_CDN_URL" in variables(template, function)
        variables(template, function)["XFILES_CDN_URL"] = options.cdn_url
        variables(template, function)["AWS_ENDPOINT_URL_CLOUDFRONT"] = options.cdn_url


def endpoints_in_containers(template, options):
    """AWS_ENDPOINT_URL_CLOUDFRONT, AWS_ENDPOINT_URL_S3: LocalStack's functions run in containers, which reach this
    machine by another name; upload URLs must contain the name of the object store that clients can resolve."""
    for function in ["ControlApi", "CleanupCron"]:
        environment = variables(template, function)
        port = options.cdn_url.rsplit(":", 1)[1]
        environment["AWS_ENDPOINT_URL_CLOUDFRONT"] = f"http://host.docker.internal:{port}"
    for function in ["ControlApi", "CleanupCron", "EdgeVariants"]:
        # Inside the containers' network the port is always 4566; another port applies to this machine only.
        variables(template, function)["AWS_ENDPOINT_URL_S3"] = "http://s3.localhost.localstack.cloud:4566"


def plain_http(template, options):
    """BucketPolicy's TlsOnly: the emulator is accessed by plain HTTP and would enforce the policy."""
    without_statement(template["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"], "TlsOnly")


def no_key_group(template, options):
    """SigningKeyA, SigningKeyB, SigningKeys: the emulator's CloudFormation has neither AWS::CloudFront::PublicKey nor
    AWS::CloudFront::KeyGroup. xf-edge gets the public key from its command line."""
    without(template, "SigningKeyA", "SigningKeyB", "SigningKeys")
    variables(template, "ControlApi")["XFILES_SIGNING_KEY_ID"] = options.key_id
    trusting = [
        behaviour
        for behaviour in template["Resources"]["Distribution"]["Properties"]["DistributionConfig"]["CacheBehaviors"]
        if behaviour.pop("TrustedKeyGroups", None)
    ]
    assert trusting


def routes_apart(template, options):
    """HttpApi: the emulator's CloudFormation ignores routes in an API's body, where the serverless transform puts them.
    The same routes are added as separate resources."""
    resources = template["Resources"]
    throttling = resources["HttpApi"]["Properties"]["DefaultRouteSettings"]
    event = resources["ControlApi"]["Properties"].pop("Events")["Everything"]["Properties"]
    api = {"Ref": "HttpApi"}
    resources["HttpApi"] = {
        "Type": "AWS::ApiGatewayV2::Api",
        "Properties": {"Name": "xfiles", "ProtocolType": "HTTP"},
    }
    resources["HttpApiStage"] = {
        "Type": "AWS::ApiGatewayV2::Stage",
        "Properties": {
            "ApiId": api,
            "StageName": "$default",
            "AutoDeploy": True,
            "DefaultRouteSettings": throttling,
        },
    }
    resources["HttpApiIntegration"] = {
        "Type": "AWS::ApiGatewayV2::Integration",
        "Properties": {
            "ApiId": api,
            "IntegrationType": "AWS_PROXY",
            "IntegrationUri": {"Fn::GetAtt": ["ControlApi", "Arn"]},
            "PayloadFormatVersion": event["PayloadFormatVersion"],
        },
    }
    resources["HttpApiRoute"] = {
        "Type": "AWS::ApiGatewayV2::Route",
        "Properties": {
            "ApiId": api,
            "RouteKey": "$default",
            "Target": {"Fn::Sub": "integrations/${HttpApiIntegration}"},
        },
    }
    resources["HttpApiInvokesTheApi"] = {
        "Type": "AWS::Lambda::Permission",
        "Properties": {
            "FunctionName": {"Ref": "ControlApi"},
            "Action": "lambda:InvokeFunction",
            "Principal": "apigateway.amazonaws.com",
            "SourceArn": {
                "Fn::Sub": "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${HttpApi}/*"
            },
        },
    }


def no_cloudfront(template, options):
    """Distribution and its resources: LocalStack's community edition has no CloudFront."""
    without(template, "Distribution", "BucketAccess", "WorkerAccess", "SigningKeyA", "SigningKeyB", "SigningKeys")
    without(template, "CachePolicy", "ResponseHeadersPolicy", "ViewerRequest", "ViewerResponse")
    without(template, "CdnUsesTheWorkersUrl", "CdnInvokesTheWorker", "CdnServerErrors")
    resources = template["Resources"]
    without_statement(resources["BucketPolicy"]["Properties"]["PolicyDocument"], "CdnReadsPublishedObjects")
    without_statement(resources["ControlApiPolicy"]["Properties"]["PolicyDocument"], "Purge")
    [cleanup] = resources["CleanupCronRole"]["Properties"]["Policies"]
    without_statement(cleanup["PolicyDocument"], "Purge")
    variables(template, "ControlApi")["XFILES_SIGNING_KEY_ID"] = options.key_id
    for function in ["ControlApi", "CleanupCron"]:
        variables(template, function)["XFILES_DISTRIBUTION_ID"] = "LOCAL"
    del template["Outputs"]["DistributionDomainName"]
    template["Outputs"]["DistributionId"]["Value"] = "LOCAL"
    template["Outputs"]["CdnUrl"]["Value"] = options.cdn_url


def no_http_api(template, options):
    """HttpApi: LocalStack's community edition has no HTTP APIs. The function gets a function URL instead, whose events
    have the same format."""
    without(template, "HttpApi", "ApiServerErrors")
    properties = template["Resources"]["ControlApi"]["Properties"]
    del properties["Events"]["Everything"]
    properties["FunctionUrlConfig"] = {"AuthType": "NONE"}
    template["Outputs"]["ApiUrl"]["Value"] = {"Fn::GetAtt": ["ControlApiUrl", "FunctionUrl"]}


def referenced_names(value):
    """Returns every resource and parameter that a part of the template refers to."""
    if isinstance(value, list):
        return {name for item in value for name in referenced_names(item)}
    if not isinstance(value, dict):
        return set()
    names = {name for item in value.values() for name in referenced_names(item)}
    if isinstance(value.get("Ref"), str):
        names.add(value["Ref"])
    if isinstance(value.get("Fn::GetAtt"), list):
        names.add(value["Fn::GetAtt"][0])
    if isinstance(value.get("Fn::Sub"), str):
        names |= {name.split(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", value["Fn::Sub"])}
    if "DependsOn" in value:
        names |= set(value["DependsOn"] if isinstance(value["DependsOn"], list) else [value["DependsOn"]])
    return names


ADAPTATIONS = {
    "ministack": [local_functions, plain_http, stand_in_for_the_cdn, no_key_group, routes_apart],
    "localstack": [
        local_functions,
        plain_http,
        stand_in_for_the_cdn,
        endpoints_in_containers,
        no_cloudfront,
        no_http_api,
    ],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emulator", choices=ADAPTATIONS, required=True)
    parser.add_argument("--functions", type=pathlib.Path, required=True, help="where the functions are built")
    parser.add_argument("--cdn-url", required=True, help="where xf-edge listens")
    parser.add_argument("--key-id", required=True, help="the id under which xf-edge knows the public key")
    options = parser.parse_args()
    template = yaml.load(TEMPLATE.read_text(), Loader=CloudFormation)
    for adaptation in ADAPTATIONS[options.emulator]:
        adaptation(template, options)
        print("template:", " ".join(adaptation.__doc__.split()), file=sys.stderr)
    generated = {f"{name}Url" for name in template["Resources"]}
    known = {*template["Resources"], *template["Parameters"], *generated}
    dangling = {n for n in referenced_names(template) if n not in known and not n.startswith("AWS::")}
    assert not dangling, f"removed resources are still referenced: {dangling}"
    json.dump(template, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
