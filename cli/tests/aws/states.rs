//! Tests of stack states in which nothing can be deployed.

use serde_json::json;

use crate::Aws;

const STACK: &str = "AWS::CloudFormation::Stack";
/// The events of a failed creation: an earlier operation, the creation, the first failure, cancelled resources, and the
/// rollback.
const FAILED_CREATION: [[&str; 4]; 7] = [
    ["xfiles", STACK, "ROLLBACK_FAILED", "The following resource(s) failed to delete: [Table]."],
    ["Table", "AWS::DynamoDB::Table", "DELETE_FAILED", "Resource cannot be deleted, protection is on"],
    ["xfiles", STACK, "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create"],
    ["Worker", "AWS::Lambda::Function", "CREATE_FAILED", "Resource creation cancelled"],
    [
        "Distribution",
        "AWS::CloudFront::Distribution",
        "CREATE_FAILED",
        "Your account must be verified before you can add new CloudFront resources.",
    ],
    ["xfiles", STACK, "CREATE_IN_PROGRESS", "User Initiated"],
    ["Old", "AWS::S3::Bucket", "CREATE_FAILED", "of another operation"],
];

fn with_table(aws: &Aws) {
    let table = json!({
        "LogicalResourceId": "Table", "ResourceType": "AWS::DynamoDB::Table",
        "PhysicalResourceId": "xfiles-Table-1", "ResourceStatus": "DELETE_SKIPPED",
    });
    aws.says("cloudformation list-stack-resources", &json!({"StackResourceSummaries": [table]}));
}

#[test]
fn a_stack_that_was_only_reviewed_is_deployed_as_a_new_one() {
    let aws = Aws::new();
    aws.has_stack("CREATE_COMPLETE", &json!({}));
    aws.stack("cloudformation describe-stacks.1", "REVIEW_IN_PROGRESS", &json!({}));
    aws.deploy(&[]).ok();
    let deployed = aws.call_of("cloudformation deploy");
    assert!(
        deployed.contains("SigningKeySecretArn=arn:aws:secretsmanager") && deployed.contains("PublicKeyA="),
        "{deployed}"
    );
}

#[test]
fn a_failed_creation_is_reported_before_the_build_with_the_commands_that_clear_it() {
    for status in ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"] {
        let aws = Aws::new();
        aws.has_stack(status, &json!({}));
        aws.events(&FAILED_CREATION);
        with_table(&aws);
        // A build would fail with another message.
        aws.program("cargo", "#!/bin/sh\necho built >&2\nexit 1\n");
        let ran = aws.xf(&["deploy"]).failed(&[
            status,
            "Distribution (AWS::CloudFront::Distribution): Your account must be verified",
            "Table (AWS::DynamoDB::Table): Resource cannot be deleted",
            "support case",
            "\n  aws dynamodb update-table --table-name xfiles-Table-1 --no-deletion-protection-enabled\n  \
             aws cloudformation delete-stack --stack-name xfiles\n  \
             aws cloudformation wait stack-delete-complete --stack-name arn:aws:cloudformation:eu-central-1:123456789012:stack/xfiles/",
            "\n  aws dynamodb delete-table --table-name xfiles-Table-1\n",
        ]);
        assert!(!ran.err.contains("built") && !ran.err.contains("cancelled") && !ran.err.contains("another operation"));
        for later in ["s3", "secretsmanager", "cloudformation package", "cloudformation deploy", "dynamodb"] {
            assert!(aws.calls_of(later).is_empty(), "{later}: {:#?}", aws.calls());
        }
        aws.xf(&["status"]).failed(&[status, "Your account must be verified", "delete-stack"]);
    }
}

#[test]
fn a_table_with_records_is_never_deleted() {
    for (status, command) in [
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback --stack-name xfiles"),
        ("UPDATE_FAILED", "aws cloudformation rollback-stack --stack-name xfiles"),
        ("DELETE_FAILED", "aws cloudformation delete-stack --stack-name xfiles"),
    ] {
        let aws = Aws::new();
        aws.has_stack(status, &json!({}));
        with_table(&aws);
        let ran = aws.deploy(&[]).failed(&[status, command]);
        assert!(!ran.err.contains("dynamodb"), "{}", ran.err);
    }
}

#[test]
fn a_stack_in_progress_is_waited_for() {
    for status in
        ["CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "DELETE_IN_PROGRESS"]
    {
        let aws = Aws::new();
        aws.has_stack(status, &json!({}));
        let ran = aws.deploy(&[]).failed(&[status, "wait"]);
        assert!(!ran.err.contains("delete-stack"), "{}", ran.err);
        assert!(aws.calls_of("cloudformation package").is_empty());
    }
}

#[test]
fn a_state_without_events_is_explained_by_the_stack_status_reason() {
    let aws = Aws::new();
    aws.has_stack("ROLLBACK_COMPLETE", &json!({}));
    let mut described = json!({"Stacks": [{"StackId": crate::STACK_ID, "StackStatus": "ROLLBACK_COMPLETE"}]});
    described["Stacks"][0]["StackStatusReason"] = json!("The bucket is taken");
    aws.says("cloudformation describe-stacks", &described);
    aws.deploy(&[]).failed(&["ROLLBACK_COMPLETE", "The bucket is taken"]);
}

#[test]
fn a_failed_change_ends_with_the_resource_and_the_reason() {
    let aws = Aws::new();
    // Failures before this change are not its reason.
    aws.says("cloudformation describe-stack-events.1", &Aws::events_of(&FAILED_CREATION[6..]));
    aws.events(&FAILED_CREATION);
    aws.fails(
        "cloudformation deploy",
        "Failed to create/update the stack. Run the following command\nto fetch the list of events",
    );
    let ran = aws.deploy(&[]).failed(&[
        "`aws cloudformation deploy` failed: Failed to create/update the stack",
        "Distribution (AWS::CloudFront::Distribution): Your account must be verified before you can add",
        "hint: CloudFront is not enabled for this account yet. Open a support case",
    ]);
    assert!(!ran.err.contains("another operation"), "{}", ran.err);
}

#[test]
fn a_change_that_never_started_does_not_report_an_older_reason() {
    let aws = Aws::new();
    aws.has_stack("UPDATE_ROLLBACK_COMPLETE", &json!({}));
    aws.events(&FAILED_CREATION);
    aws.fails(
        "cloudformation deploy",
        "An error occurred (ValidationError): Unable to get mapping for OriginShield::eu-south-2::Region",
    );
    let ran = aws.deploy(&[]).failed(&["Unable to get mapping", "does not support this region"]);
    assert!(!ran.err.contains("Your account must be verified"), "{}", ran.err);
}
