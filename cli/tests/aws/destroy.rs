//! Tests of what `xf destroy` removes, in which order, and what it keeps.

use serde_json::{Value, json};

use crate::{ACCOUNT, Aws, STACK_ID};

/// The resources that the template retains, and one that is deleted with the stack.
const RESOURCES: [(&str, &str, &str); 14] = [
    ("Bucket", "AWS::S3::Bucket", "the-bucket"),
    ("BucketPolicy", "AWS::S3::BucketPolicy", "the-bucket"),
    ("Table", "AWS::DynamoDB::Table", "the-table"),
    ("CachePolicy", "AWS::CloudFront::CachePolicy", "cache-1"),
    ("BucketAccess", "AWS::CloudFront::OriginAccessControl", "access-1"),
    ("WorkerAccess", "AWS::CloudFront::OriginAccessControl", "access-2"),
    ("ResponseHeadersPolicy", "AWS::CloudFront::ResponseHeadersPolicy", "headers-1"),
    ("SigningKeyA", "AWS::CloudFront::PublicKey", "key-a"),
    ("SigningKeyB", "AWS::CloudFront::PublicKey", "key-b"),
    ("SigningKeys", "AWS::CloudFront::KeyGroup", "group-1"),
    (
        "ViewerRequest",
        "AWS::CloudFront::Function",
        "arn:aws:cloudfront::123456789012:function/xfiles-viewer-request-51af3dc0",
    ),
    (
        "ViewerResponse",
        "AWS::CloudFront::Function",
        "arn:aws:cloudfront::123456789012:function/xfiles-viewer-response-51af3dc0",
    ),
    ("Distribution", "AWS::CloudFront::Distribution", "DIST"),
    ("ControlApi", "AWS::Lambda::Function", "xfiles-ControlApi-1"),
];

fn resources(status: &str) -> Value {
    let resources = RESOURCES.iter().map(|(name, kind, id)| {
        json!({"LogicalResourceId": name, "ResourceType": kind, "PhysicalResourceId": id, "ResourceStatus": status})
    });
    json!({"StackResourceSummaries": resources.collect::<Vec<_>>()})
}

fn installed() -> Aws {
    let aws = Aws::new();
    aws.has_stack("CREATE_COMPLETE", &json!({}));
    aws.says("cloudformation list-stack-resources", &resources("CREATE_COMPLETE"));
    let policies = RESOURCES.iter().filter(|(name, ..)| *name != "ControlApi");
    let policies = policies.map(|(name, ..)| {
        let policy = if *name == "Table" { "Retain" } else { "RetainExceptOnCreate" };
        ((*name).to_owned(), json!({"DeletionPolicy": policy}))
    });
    let resources: serde_json::Map<_, _> = policies.collect();
    aws.says("cloudformation get-template", &json!({"TemplateBody": {"Resources": resources}}));
    aws.says("secretsmanager describe-secret", &json!({"Name": "xfiles/xfiles/signing-key"}));
    aws.says("secretsmanager delete-secret", &json!({}));
    let config = |enabled: bool| json!({"ETag": format!("DIST-{enabled}"), "DistributionConfig": {"Enabled": enabled}});
    aws.says("cloudfront get-distribution-config.1", &config(true));
    aws.says("cloudfront get-distribution-config", &config(false));
    for operation in ["update-distribution", "wait distribution-deployed"] {
        aws.answer(&format!("cloudfront {operation}.out"), "");
    }
    for noun in ["key-group", "public-key", "cache-policy", "response-headers-policy", "origin-access-control"] {
        aws.says(&format!("cloudfront get-{noun}"), &json!({"ETag": "VERSION"}));
    }
    aws.says("cloudfront describe-function", &json!({"ETag": "VERSION"}));
    for noun in
        ["distribution", "key-group", "public-key", "cache-policy", "response-headers-policy", "origin-access-control"]
    {
        aws.answer(&format!("cloudfront delete-{noun}.out"), "");
    }
    aws
}

/// The calls that change anything.
fn changes(aws: &Aws) -> Vec<String> {
    let reads = ["describe", "get", "list", "head", "wait"];
    let calls = aws.calls().into_iter();
    calls.filter(|call| !reads.iter().any(|read| call.split(' ').nth(1).unwrap().starts_with(read))).collect()
}

/// The removal of everything except files and records, in the order that AWS requires.
const REMOVED: [&str; 13] = [
    "cloudformation delete-stack --stack-name xfiles",
    "cloudfront update-distribution --id DIST --if-match DIST-true",
    "cloudfront delete-distribution --id DIST --if-match DIST-false",
    "cloudfront delete-function --name xfiles-viewer-request-51af3dc0 --if-match VERSION",
    "cloudfront delete-function --name xfiles-viewer-response-51af3dc0 --if-match VERSION",
    "cloudfront delete-key-group --id group-1 --if-match VERSION",
    "cloudfront delete-public-key --id key-a --if-match VERSION",
    "cloudfront delete-public-key --id key-b --if-match VERSION",
    "cloudfront delete-cache-policy --id cache-1 --if-match VERSION",
    "cloudfront delete-response-headers-policy --id headers-1 --if-match VERSION",
    "cloudfront delete-origin-access-control --id access-1 --if-match VERSION",
    "cloudfront delete-origin-access-control --id access-2 --if-match VERSION",
    "secretsmanager delete-secret --secret-id xfiles/xfiles/signing-key --force-delete-without-recovery",
];
const DATA: [&str; 3] = [
    "s3 rb s3://the-bucket --force",
    "dynamodb update-table --table-name the-table --no-deletion-protection-enabled",
    "dynamodb delete-table --table-name the-table",
];

#[track_caller]
fn assert_changes(aws: &Aws, expected: &[&str]) {
    let changes = changes(aws);
    assert_eq!(changes.len(), expected.len(), "{changes:#?}");
    for (change, expected) in changes.iter().zip(expected) {
        assert!(change.starts_with(expected), "{expected}: {changes:#?}");
    }
}

#[test]
fn a_plan_lists_both_and_changes_nothing() {
    let aws = installed();
    let ran = aws.xf(&["destroy", "--plan"]).ok();
    let (goes, stays) = ran.out.split_once("would remain:").unwrap();
    assert!(goes.contains("xfiles-ControlApi-1") && !goes.contains("the-table"), "{goes}");
    for (_, kind, id) in &RESOURCES[..13] {
        assert!(stays.contains(&format!("{kind:44}{id}")), "{stays}");
    }
    assert!(stays.contains("xfiles/xfiles/signing-key"), "{stays}");
    let ran = aws.xf(&["destroy", "--plan", "--everything"]).ok();
    let (goes, stays) = ran.out.split_once("remains unless --and-data").unwrap();
    assert!(goes.contains("DIST") && goes.contains("ControlApi") && !goes.contains("the-bucket"), "{goes}");
    assert!(stays.contains("the-bucket") && stays.contains("the-table"), "{stays}");
    assert_changes(&aws, &[]);
}

#[test]
fn resources_are_removed_in_order_and_files_and_records_remain() {
    let aws = installed();
    let ran = aws.xf(&["destroy", "--everything", "--confirm", "xfiles"]).ok();
    assert_changes(&aws, &REMOVED);
    assert!(aws.sent().contains(r#"cloudfront update-distribution: {"Enabled":false}"#), "{}", aws.sent());
    let (_, left) = ran.out.split_once("remains unless --and-data").unwrap();
    assert!(left.contains("the-bucket") && left.contains("the-table"), "{left}");
    aws.call_of(&format!("cloudformation wait stack-delete-complete --stack-name {STACK_ID}"));
    // The ETag of the development stage is used to delete a published function.
    assert!(aws.calls_of("cloudfront describe-function").iter().all(|call| call.contains("--stage DEVELOPMENT")));
}

#[test]
fn files_and_records_are_removed_last_and_only_on_request() {
    let aws = installed();
    aws.xf(&["destroy", "--everything", "--and-data", "--confirm", "xfiles"]).ok();
    assert_changes(&aws, &[&REMOVED[..], &DATA].concat());
    aws.call_of(&format!("s3api head-bucket --bucket the-bucket --expected-bucket-owner {ACCOUNT}"));
}

#[test]
fn nothing_is_removed_until_the_stack_name_is_typed() {
    let aws = installed();
    aws.xf(&["destroy", "--everything"]).failed(&["no terminal", "--confirm xfiles"]);
    aws.xf(&["destroy", "--everything", "--and-data", "--confirm", "xfile"]).failed(&["not the stack's name"]);
    assert_changes(&aws, &[]);
}

#[test]
fn leftovers_of_deleted_stacks_are_removed_and_missing_ones_are_skipped() {
    let aws = installed();
    aws.fails("cloudformation describe-stacks", crate::NO_STACK);
    let stacks = [("xfiles", "id-1"), ("xfiles-test", "id-2")];
    let stacks: Vec<_> = stacks.iter().map(|(name, id)| json!({"StackName": name, "StackId": id})).collect();
    aws.says("cloudformation list-stacks", &json!({"StackSummaries": stacks}));
    let mut left = resources("DELETE_SKIPPED");
    left["StackResourceSummaries"][13]["ResourceStatus"] = json!("DELETE_COMPLETE");
    aws.says("cloudformation list-stack-resources", &left);
    let gone = |code: &str| format!("An error occurred ({code}) when calling the operation: it does not exist");
    aws.fails("cloudfront get-distribution-config.1", &gone("NoSuchDistribution"));
    aws.fails("cloudfront describe-function", &gone("NoSuchFunctionExists"));
    aws.fails("cloudfront get-key-group", &gone("NoSuchResource"));
    aws.fails("secretsmanager describe-secret", &gone("ResourceNotFoundException"));
    aws.fails("s3api head-bucket", &gone("404"));
    aws.xf(&["destroy", "--everything", "--and-data", "--confirm", "xfiles"]).ok();
    assert_changes(&aws, &[&REMOVED[6..12], &DATA[1..]].concat());
    assert_eq!(
        aws.calls_of("cloudformation list-stack-resources"),
        ["cloudformation list-stack-resources --stack-name id-1"]
    );
}

#[test]
fn a_second_run_reports_that_nothing_is_left_and_succeeds() {
    let aws = installed();
    aws.fails("cloudformation describe-stacks", crate::NO_STACK);
    aws.fails("secretsmanager describe-secret", "An error occurred (ResourceNotFoundException) when calling it");
    let ran = aws.xf(&["destroy", "--everything"]).ok();
    assert!(ran.err.contains("nothing of the stack xfiles is left"), "{}", ran.err);
}

#[test]
fn a_stack_that_cannot_be_deleted_is_explained_and_nothing_else_is_removed() {
    let aws = installed();
    aws.fails(
        "cloudformation wait stack-delete-complete",
        "Waiter StackDeleteComplete failed: Waiter encountered a terminal failure state",
    );
    aws.says("cloudformation describe-stack-events.1", &Aws::events_of(&[]));
    aws.events(&[
        ["Queue", "AWS::SQS::Queue", "DELETE_FAILED", "User is not authorized to perform: sqs:DeleteQueue"],
        ["xfiles", "AWS::CloudFormation::Stack", "DELETE_IN_PROGRESS", "User Initiated"],
    ]);
    aws.xf(&["destroy", "--everything", "--confirm", "xfiles"])
        .failed(&["Queue (AWS::SQS::Queue): User is not authorized", "What is needed"]);
    assert_changes(&aws, &REMOVED[..1]);
}

#[test]
fn a_bucket_of_another_account_is_left_alone() {
    let aws = installed();
    aws.fails("s3api head-bucket", "An error occurred (403) when calling the HeadBucket operation: Forbidden");
    aws.xf(&["destroy", "--everything", "--and-data", "--confirm", "xfiles"]).failed(&["(403)"]);
    assert_changes(&aws, &REMOVED);
}
