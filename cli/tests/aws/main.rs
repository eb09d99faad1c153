//! Tests of `xf deploy`, `xf status` and `xf destroy` with a stand-in for the AWS CLI that plays AWS's responses to
//! failures. The successful case runs on an emulator (`localstack/`).

// Tells Clippy that the helpers beside the tests are tests too, where `unwrap` is allowed.
#![cfg(test)]

mod deploy;
mod destroy;
mod states;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

const ACCOUNT: &str = "123456789012";
const STACK_ID: &str =
    "arn:aws:cloudformation:eu-central-1:123456789012:stack/xfiles/51af3dc0-da77-11e4-872e-1234567db123";
const NO_STACK: &str = "An error occurred (ValidationError) when calling the DescribeStacks operation: Stack with id xfiles does not exist";

/// An AWS account. Initially nothing is deployed, and every request succeeds.
struct Aws(tempfile::TempDir);

/// The result of a run of `xf`.
struct Ran {
    exit: i32,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.exit, 0, "{}{}", self.out, self.err);
        self
    }

    /// Asserts that the run failed with each of these messages.
    #[track_caller]
    fn failed(self, said: &[&str]) -> Self {
        assert_ne!(self.exit, 0, "{}{}", self.out, self.err);
        for said in said {
            assert!(self.err.contains(said), "{said} is not in: {}", self.err);
        }
        assert!(!self.err.contains("see above") && !self.err.contains("has no answer"), "{}", self.err);
        self
    }
}

impl Aws {
    fn new() -> Self {
        let aws = Self(tempfile::tempdir().unwrap());
        for folder in ["bin", "answers"] {
            fs::create_dir(aws.path(folder)).unwrap();
        }
        aws.program("aws", include_str!("stand-in.sh"));
        aws.packages(&json!({"Resources": {}}));
        let arn = format!("arn:aws:iam::{ACCOUNT}:user/operator");
        aws.says("sts get-caller-identity", &json!({"Account": ACCOUNT, "Arn": arn}));
        aws.quota(1000, 1000);
        aws.fails("cloudformation describe-stacks.1", NO_STACK);
        aws.stack("cloudformation describe-stacks", "CREATE_COMPLETE", &json!({"WorkerConcurrency": "20"}));
        aws.events(&[]);
        aws.says("cloudformation list-stack-resources", &json!({"StackResourceSummaries": []}));
        aws.says("cloudformation list-stacks", &json!({"StackSummaries": []}));
        aws.says("ec2 describe-availability-zones", &json!("eu-central-1"));
        aws.buckets(&[]);
        aws.fails(
            "secretsmanager get-secret-value",
            "An error occurred (ResourceNotFoundException) when calling the GetSecretValue operation",
        );
        aws.says("secretsmanager create-secret", &json!({"ARN": "arn:aws:secretsmanager:eu-central-1:1:secret:x"}));
        aws.says("cloudfront create-function", &json!({"ETag": "CREATED"}));
        for operation in ["get-item", "put-item", "query", "transact-write-items", "update-table", "delete-table"] {
            aws.says(&format!("dynamodb {operation}"), &json!({}));
        }
        for silent in [
            "cloudformation package",
            "cloudformation deploy",
            "cloudformation delete-stack",
            "cloudformation wait stack-delete-complete",
            "cloudfront delete-function",
            "dynamodb wait table-exists",
            "s3 mb",
            "s3 rb",
            "s3api head-bucket",
        ] {
            aws.answer(&format!("{silent}.out"), "");
        }
        aws
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn answer(&self, name: &str, text: &str) {
        fs::write(self.path("answers").join(name), text).unwrap();
    }

    /// From now on this operation succeeds with this response. The suffix `.n` selects the nth call.
    fn says(&self, operation: &str, answer: &Value) {
        drop(fs::remove_file(self.path("answers").join(format!("{operation}.err"))));
        self.answer(&format!("{operation}.out"), &answer.to_string());
    }

    fn fails(&self, operation: &str, said: &str) {
        self.answer(&format!("{operation}.err"), said);
    }

    /// Sets the output of `aws cloudformation package`.
    fn packages(&self, template: &Value) {
        fs::write(self.path("packaged.json"), template.to_string()).unwrap();
    }

    fn quota(&self, quota: u64, unreserved: u64) {
        let limits = json!({"ConcurrentExecutions": quota, "UnreservedConcurrentExecutions": unreserved});
        self.says("lambda get-account-settings", &json!({"AccountLimit": limits}));
    }

    fn buckets(&self, names: &[&str]) {
        let buckets: Vec<_> = names.iter().map(|name| json!({"Name": name})).collect();
        self.says("s3api list-buckets", &json!({"Buckets": buckets}));
    }

    /// Sets the response of describe-stacks.
    fn stack(&self, operation: &str, status: &str, parameters: &Value) {
        let parameters: Vec<_> = parameters.as_object().unwrap().iter().collect();
        let parameters: Vec<_> =
            parameters.iter().map(|(k, v)| json!({"ParameterKey": k, "ParameterValue": v})).collect();
        let outputs = [("ApiUrl", "https://api"), ("TableName", "table"), ("DefaultQuotaBytes", "1000")];
        let outputs: Vec<_> = outputs.iter().map(|(k, v)| json!({"OutputKey": k, "OutputValue": v})).collect();
        self.says(
            operation,
            &json!({"Stacks": [{
                "StackId": STACK_ID, "StackStatus": status, "Parameters": parameters, "Outputs": outputs,
            }]}),
        );
    }

    /// A stack in this state exists from the start.
    fn has_stack(&self, status: &str, parameters: &Value) {
        drop(fs::remove_file(self.path("answers").join("cloudformation describe-stacks.1.err")));
        self.stack("cloudformation describe-stacks", status, parameters);
    }

    /// Sets the events of the stack, newest first: resource, type, state and reason.
    fn events(&self, events: &[[&str; 4]]) {
        self.says("cloudformation describe-stack-events", &Self::events_of(events));
    }

    fn events_of(events: &[[&str; 4]]) -> Value {
        let count = events.len();
        let events = events.iter().enumerate().map(|(i, [resource, kind, status, reason])| {
            json!({
                "EventId": format!("event-{}", count - i), "LogicalResourceId": resource, "ResourceType": kind,
                "ResourceStatus": status, "ResourceStatusReason": reason,
            })
        });
        json!({"StackEvents": events.collect::<Vec<_>>()})
    }

    fn xf(&self, arguments: &[&str]) -> Ran {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let ran = Command::new(Path::new(env!("CARGO_BIN_EXE_xf")))
            .args(arguments)
            .env("PATH", path)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { exit: ran.status.code().unwrap(), out: text(ran.stdout), err: text(ran.stderr) }
    }

    fn deploy(&self, more: &[&str]) -> Ran {
        self.xf(&[&["deploy", "--no-build"], more].concat())
    }

    /// Every call that was made, in order.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().map(ToOwned::to_owned).collect()
    }

    /// The calls that begin with this.
    fn calls_of(&self, operation: &str) -> Vec<String> {
        self.calls().into_iter().filter(|call| call.starts_with(operation)).collect()
    }

    /// The only call that begins with this.
    #[track_caller]
    fn call_of(&self, operation: &str) -> String {
        let calls = self.calls();
        let found: Vec<_> = calls.iter().filter(|call| call.starts_with(operation)).collect();
        assert_eq!(found.len(), 1, "{operation}: {calls:#?}");
        found[0].clone()
    }

    /// The contents of the files passed to calls, one line each.
    fn sent(&self) -> String {
        fs::read_to_string(self.path("sent")).unwrap_or_default()
    }
}
