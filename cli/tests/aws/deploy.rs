//! Tests of the checks that `xf deploy` makes before it deploys.

use serde_json::{Value, json};

use crate::{ACCOUNT, Aws};

/// A packaged template with the two functions.
fn template() -> Value {
    let function = |code: &str| {
        json!({"Type": "AWS::CloudFront::Function", "Properties": {
            "FunctionConfig": {"Runtime": "cloudfront-js-2.0"}, "FunctionCode": code}})
    };
    let associated =
        |event: &str, name: &str| json!({"EventType": event, "FunctionARN": {"Fn::GetAtt": [name, "FunctionARN"]}});
    json!({"Resources": {
        "ViewerRequest": function("code of the request"),
        "ViewerResponse": function("code of the response"),
        "Distribution": {"Type": "AWS::CloudFront::Distribution", "Properties": {"DistributionConfig": {
            "DefaultCacheBehavior": {"FunctionAssociations": [
                associated("viewer-request", "ViewerRequest"), associated("viewer-response", "ViewerResponse")]}}}},
    }})
}

/// Every test of a function has the right result, in the order in which they run.
fn functions_work(aws: &Aws) {
    let vectors: Value = serde_json::from_str(include_str!("../../../tests/vectors/cdn.json")).unwrap();
    let served = vectors["served"].as_array().unwrap();
    let auto = served.iter().find(|path| path.as_str().unwrap().ends_with(".auto")).unwrap();
    let avif = auto.as_str().unwrap().replace(".auto", ".avif");
    let mut outputs = vec![
        json!({"request": {"uri": served[0]}}),
        json!({"response": {"statusCode": 404}}),
        json!({"request": {"uri": avif}}),
        json!({"response": {"statusCode": 200}}),
    ];
    for vector in vectors["downloads"].as_array().unwrap().iter().step_by(3) {
        let headers = match &vector["disposition"] {
            Value::Null => json!({}),
            value => json!({"content-disposition": {"value": value}}),
        };
        outputs.push(json!({"response": {"statusCode": 200, "headers": headers}}));
    }
    for (i, output) in outputs.iter().enumerate() {
        aws.says(&format!("cloudfront test-function.{}", i + 1), &result(output, "", "30"));
    }
}

fn result(output: &Value, error: &str, used: &str) -> Value {
    let output = output.to_string();
    json!({"TestResult": {"ComputeUtilization": used, "FunctionErrorMessage": error, "FunctionOutput": output}})
}

#[test]
fn a_first_deployment_checks_before_it_builds_and_prints_the_key() {
    let aws = Aws::new();
    aws.packages(&template());
    functions_work(&aws);
    aws.program("cargo", "#!/bin/sh\necho cargo \"$@\" >> \"$(dirname \"$0\")/../calls\"\n");
    let ran = aws.xf(&["deploy"]).ok();
    assert!(ran.out.contains("The first API key") && ran.out.contains("xf_"), "{}", ran.out);
    let order: Vec<_> = aws.calls();
    let at = |begins: &str| {
        order.iter().position(|call| call.starts_with(begins)).unwrap_or_else(|| panic!("{begins}: {order:#?}"))
    };
    let steps = [
        "sts get-caller-identity",
        "cloudformation describe-stacks",
        "lambda get-account-settings",
        "cargo lambda build",
        "s3 mb",
        "cloudformation package",
        "cloudfront create-function --name xfiles-xf-test-viewer-request",
        "cloudfront test-function --name xfiles-xf-test-viewer-response",
        "cloudfront delete-function --name xfiles-xf-test-viewer-response --if-match CREATED",
        "cloudformation deploy",
        "dynamodb",
    ];
    assert!(steps.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{order:#?}");
    let deployed = aws.call_of("cloudformation deploy");
    assert!(deployed.contains("WorkerConcurrency=20"), "{deployed}");
    assert!(aws.sent().contains("cloudfront create-function: code of the request"));
    assert!(
        aws.sent().contains("PRIVATE KEY") && !deployed.contains("PRIVATE KEY") && !ran.err.contains("PRIVATE KEY")
    );
}

#[test]
fn a_later_deployment_passes_only_the_given_parameters() {
    let aws = Aws::new();
    aws.has_stack("UPDATE_ROLLBACK_COMPLETE", &json!({"WorkerConcurrency": "20"}));
    aws.deploy(&["--parameter", "LogDays=7"]).ok();
    assert!(aws.call_of("cloudformation deploy").ends_with("--parameter-overrides LogDays=7"));
    assert!(aws.calls_of("secretsmanager").is_empty() && aws.calls_of("lambda").is_empty());
}

#[test]
fn an_account_without_free_concurrency_reserves_none_and_reports_it() {
    for (quota, unreserved, passed) in [(10, 10, 0), (50, 50, 0), (1000, 119, 0), (1000, 120, 20), (120, 120, 20)] {
        let aws = Aws::new();
        aws.quota(quota, unreserved);
        let ran = aws.deploy(&[]).ok();
        assert!(aws.call_of("cloudformation deploy").contains(&format!("WorkerConcurrency={passed}")), "{quota}");
        let said = ran.err.contains(&format!("quota of {quota} does not allow 20: WorkerConcurrency=0"));
        assert_eq!(said, passed == 0, "{}", ran.err);
    }
    let aws = Aws::new();
    aws.fails("lambda get-account-settings", "An error occurred (AccessDeniedException)");
    let ran = aws.deploy(&[]).ok();
    assert!(ran.err.contains("quota cannot be read: WorkerConcurrency=0"), "{}", ran.err);
}

#[test]
fn a_given_concurrency_is_reserved_if_the_quota_allows_it_and_refused_otherwise() {
    let aws = Aws::new();
    aws.quota(1000, 150);
    aws.deploy(&["--parameter", "WorkerConcurrency=51"]).failed(&["quota of 1000", "which leaves 50"]);
    assert!(aws.calls_of("cloudformation package").is_empty() && aws.calls_of("s3").is_empty());
    aws.fails("cloudformation describe-stacks.2", crate::NO_STACK);
    aws.deploy(&["--parameter", "WorkerConcurrency=50"]).ok();
    assert!(aws.call_of("cloudformation deploy").ends_with(" WorkerConcurrency=50"));

    // The stack's own reservation is available to it.
    let aws = Aws::new();
    aws.has_stack("CREATE_COMPLETE", &json!({"WorkerConcurrency": "20"}));
    aws.quota(1000, 110);
    aws.deploy(&["--parameter", "WorkerConcurrency=31"]).failed(&["which leaves 30"]);
    aws.deploy(&["--parameter", "WorkerConcurrency=30"]).ok();
}

#[test]
fn a_function_that_fails_in_cloudfront_stops_the_deployment() {
    let aws = Aws::new();
    aws.packages(&template());
    let error = "SyntaxError: Token \"of\" not supported in this version in 15";
    aws.says("cloudfront test-function", &result(&json!({}), error, "0"));
    aws.deploy(&[]).failed(&["ViewerRequest fails, and nothing was deployed", error, "infra/check"]);
    assert!(aws.calls_of("cloudformation deploy").is_empty());
    aws.call_of("cloudfront delete-function --name xfiles-xf-test-viewer-request");
}

#[test]
fn a_function_with_a_wrong_result_stops_the_deployment() {
    let aws = Aws::new();
    aws.packages(&template());
    functions_work(&aws);
    aws.says("cloudfront test-function.6", &result(&json!({"response": {"statusCode": 200}}), "", "30"));
    aws.deploy(&[]).failed(&["ViewerResponse fails", "it returns null instead of \"attachment;"]);
    assert!(aws.calls_of("cloudformation deploy").is_empty());
}

#[test]
fn a_test_function_left_by_a_killed_deployment_is_reused() {
    let aws = Aws::new();
    aws.packages(&template());
    functions_work(&aws);
    aws.fails("cloudfront create-function", "An error occurred (FunctionAlreadyExists) when calling CreateFunction");
    aws.says("cloudfront describe-function", &json!({"ETag": "LEFT"}));
    aws.says("cloudfront update-function", &json!({"ETag": "UPDATED"}));
    aws.deploy(&[]).ok();
    assert!(aws.calls_of("cloudfront update-function").iter().all(|call| call.ends_with("--if-match LEFT")));
    assert!(aws.calls_of("cloudfront delete-function").iter().all(|call| call.ends_with("--if-match UPDATED")));
}

#[test]
fn a_slow_function_is_reported_and_the_test_can_be_skipped() {
    let aws = Aws::new();
    aws.packages(&template());
    functions_work(&aws);
    let vectors: Value = serde_json::from_str(include_str!("../../../tests/vectors/cdn.json")).unwrap();
    aws.says("cloudfront test-function.1", &result(&json!({"request": {"uri": vectors["served"][0]}}), "", "71"));
    let ran = aws.deploy(&[]).ok();
    assert!(ran.err.contains("ViewerRequest takes 71 % of the time"), "{}", ran.err);

    let aws = Aws::new();
    aws.packages(&template());
    aws.deploy(&["--no-function-test"]).ok();
    assert!(aws.calls_of("cloudfront").is_empty());
}

#[test]
fn an_unverified_cloudfront_account_is_told_to_open_a_support_case() {
    let aws = Aws::new();
    aws.packages(&template());
    let said = "An error occurred (AccessDenied) when calling the CreateFunction operation: Your account must be verified \
                before you can add new CloudFront resources. To verify your account, please contact AWS Support";
    aws.fails("cloudfront create-function", said);
    aws.deploy(&[]).failed(&["must be verified", "hint: CloudFront is not enabled", "support case"]);
}

#[test]
fn code_is_uploaded_to_a_bucket_of_this_account_with_an_unguessable_name() {
    let prefix = format!("xfiles-deploy-{ACCOUNT}-eu-central-1");
    // A bucket of another region, and one of another program.
    let (other, strange) = (format!("xfiles-deploy-{ACCOUNT}-eu-central-10-abc"), format!("{prefix}x"));
    let made = |aws: &Aws| {
        aws.deploy(&[]).ok();
        let head = aws.call_of("s3api head-bucket");
        assert!(head.ends_with(&format!("--expected-bucket-owner {ACCOUNT}")), "{head}");
        let bucket = head.split(' ').nth(3).unwrap().to_owned();
        assert!(aws.call_of("cloudformation package").contains(&format!("--s3-bucket {bucket} ")));
        bucket
    };
    let (first, second) = (Aws::new(), Aws::new());
    first.buckets(&[&other, &strange]);
    let (one, two) = (made(&first), made(&second));
    assert_ne!(one, two);
    for (aws, bucket) in [(first, &one), (second, &two)] {
        let random = bucket.strip_prefix(&format!("{prefix}-")).unwrap();
        assert_eq!((random.len(), aws.call_of("s3 mb")), (12, format!("s3 mb s3://{bucket}")));
    }
    // Found again, as is one of an earlier version.
    for own in [&one, &prefix] {
        let aws = Aws::new();
        aws.buckets(&[&other, own]);
        assert_eq!(&made(&aws), own);
        assert!(aws.calls_of("s3 mb").is_empty());
    }
}

#[test]
fn nothing_is_uploaded_to_a_bucket_of_another_account() {
    let aws = Aws::new();
    aws.fails("s3api head-bucket", "An error occurred (403) when calling the HeadBucket operation: Forbidden");
    aws.deploy(&[]).failed(&["(403)", "must belong to this account"]);
    assert!(aws.calls_of("cloudformation package").is_empty());
}

#[test]
fn a_stack_name_that_is_too_long_is_refused_before_any_request() {
    let aws = Aws::new();
    let (fits, long) = ("s".repeat(39), "s".repeat(40));
    aws.deploy(&["--stack", &long]).failed(&["has 40 characters and may have at most 39"]);
    aws.deploy(&["--stack", &long, "--dry-run"]).failed(&["39"]);
    assert!(aws.calls().is_empty());
    aws.packages(&template());
    functions_work(&aws);
    aws.deploy(&["--stack", &fits]).ok();
    for call in aws.calls_of("cloudfront create-function") {
        assert!(call.split(' ').nth(3).unwrap().len() <= 64, "{call}");
    }
}

#[test]
fn partitions_without_origin_access_control_are_refused_before_any_other_request() {
    for partition in ["aws-cn", "aws-us-gov", "aws-iso"] {
        let aws = Aws::new();
        let arn = format!("arn:{partition}:iam::{ACCOUNT}:user/operator");
        aws.says("sts get-caller-identity", &json!({"Account": ACCOUNT, "Arn": arn}));
        aws.deploy(&[]).failed(&[partition, "no origin access control"]);
        assert_eq!(aws.calls(), ["sts get-caller-identity"]);
    }
}

const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n";

#[test]
fn a_final_line_feed_does_not_change_a_deployed_public_key() {
    for (deployed, given) in [(KEY, KEY.trim_end()), (KEY.trim_end(), KEY), (KEY, KEY)] {
        let aws = Aws::new();
        aws.has_stack("CREATE_COMPLETE", &json!({"PublicKeyA": deployed, "PublicKeyB": ""}));
        aws.deploy(&["--parameter", &format!("PublicKeyA={given}"), "--parameter", "ActivePublicKey=A"]).ok();
        let deployed = aws.call_of("cloudformation deploy");
        assert!(deployed.ends_with("--parameter-overrides ActivePublicKey=A"), "{deployed}");
    }
}

#[test]
fn replacing_a_public_key_in_place_is_refused_and_a_rotation_is_not() {
    let aws = Aws::new();
    aws.has_stack("CREATE_COMPLETE", &json!({"PublicKeyA": KEY, "PublicKeyB": ""}));
    let other = KEY.replace("MFkw", "MFkx");
    aws.deploy(&["--parameter", &format!("PublicKeyA={other}")])
        .failed(&["cannot change a key in place", "the other parameter"]);
    assert!(aws.calls_of("cloudformation deploy").is_empty());
    aws.deploy(&["--parameter", &format!("PublicKeyB={other}"), "--parameter", "PublicKeyA="]).ok();
    assert_eq!(aws.calls_of("cloudformation deploy").len(), 1);
}

#[test]
fn a_secret_scheduled_for_deletion_is_restored() {
    let aws = Aws::new();
    let marked = "An error occurred (InvalidRequestException) when calling the GetSecretValue operation: You can't perform \
                  this operation on the secret because it was marked for deletion.";
    aws.fails("secretsmanager get-secret-value.1", marked);
    aws.says("secretsmanager restore-secret", &json!({}));
    aws.deploy(&[]).ok();
    aws.call_of("secretsmanager restore-secret --secret-id xfiles/xfiles/signing-key");
}

#[test]
fn a_build_that_fails_ends_with_its_last_lines() {
    let aws = Aws::new();
    aws.program("cargo", "#!/bin/sh\necho 'error: no zig' >&2\nexit 1\n");
    aws.xf(&["deploy"]).failed(&["`cargo lambda build` failed: error: no zig"]);
    assert!(aws.calls_of("s3").is_empty());
}
