//! Reasons why a stack cannot be deployed: states that CloudFormation does not update, failed resources, and known
//! causes.

use serde_json::Value;

use super::{Deployed, StackName, command::Command};
use crate::failure::{Exit, Failure};

/// Parts of AWS's messages, and the remedies.
const KNOWN: [(&str, &str); 11] = [
    (
        "must be verified before you can add",
        "CloudFront is not enabled for this account yet. Open a support case (\"Account and billing\", free of charge), \
         quote the message, and deploy again after AWS's reply; see docs/deploy.md, \"What is needed\"",
    ),
    (
        "UnreservedConcurrentExecution below its minimum",
        "the account's Lambda quota does not allow the reservation: deploy with --parameter WorkerConcurrency=0, or request an \
         increase of the quota \"Concurrent executions\"",
    ),
    (
        "CannotChangeImmutablePublicKeyFields",
        "CloudFront cannot change a public key in place: give the new one as the other parameter (docs/deploy.md, \"Rotating the \
         signing key\")",
    ),
    (
        "CNAMEAlreadyExists",
        "another distribution uses the name, possibly that of an earlier installation: remove the name or the distribution \
         with `xf destroy --everything`",
    ),
    (
        "CNAMEs you provided are already associated",
        "another distribution uses the name, possibly that of an earlier installation: remove the name or the distribution \
         with `xf destroy --everything`",
    ),
    (
        "Unable to get mapping for OriginShield",
        "the template does not support this region: choose one in its mapping OriginShield",
    ),
    (
        "PublicKeyAlreadyExists",
        "the key of the previous rotation still exists: delete it with `aws cloudfront delete-public-key` (docs/deploy.md, \
         \"Rotating the signing key\")",
    ),
    (
        "is not authorized to perform",
        "docs/deploy.md, \"What is needed\", lists the permissions that a deployment needs",
    ),
    // Of the build.
    ("no such command: `lambda`", "install cargo-lambda: pip install cargo-lambda ziglang"),
    ("target may not be installed", "rustup target add aarch64-unknown-linux-gnu"),
    ("Zig is not installed", "cargo-lambda links with zig for another processor: pip install ziglang"),
];

/// The remedy for a message of AWS, if its cause is known.
pub(super) fn advice(message: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(part, _)| message.contains(part)).map(|(_, advice)| *advice)
}

impl Deployed {
    /// The stack, if an update can start from it. `None` if nothing exists yet: there is no stack, or only a change
    /// set.
    pub(super) fn updatable(stack: &StackName) -> Result<Option<Self>, Failure> {
        let Some(deployed) = Self::read(stack)? else { return Ok(None) };
        match deployed.status() {
            "REVIEW_IN_PROGRESS" => Ok(None),
            _ => match deployed.trouble(stack) {
                Some(failure) => Err(failure),
                None => Ok(Some(deployed)),
            },
        }
    }

    /// The reason why the stack cannot be updated, with the failed resources and the commands that help.
    pub(super) fn trouble(&self, stack: &StackName) -> Option<Failure> {
        let status = self.status();
        let commands = match status {
            "CREATE_COMPLETE"
            | "UPDATE_COMPLETE"
            | "UPDATE_ROLLBACK_COMPLETE"
            | "IMPORT_COMPLETE"
            | "IMPORT_ROLLBACK_COMPLETE" => return None,
            "UPDATE_ROLLBACK_FAILED" => {
                vec![Command::aws(["cloudformation", "continue-update-rollback", "--stack-name", &stack.0])]
            }
            "UPDATE_FAILED" => vec![Command::aws(["cloudformation", "rollback-stack", "--stack-name", &stack.0])],
            // A stack whose creation failed can only be deleted.
            "CREATE_FAILED" | "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" => self.undoing(stack),
            "DELETE_FAILED" => self.deleting(stack).into(),
            _ => {
                let busy = Failure::new(Exit::Failed, format!("the stack {stack} is in the state {status}"));
                return Some(busy.or_hint("wait until `xf status` shows another state"));
            }
        };
        let mut detail = format!("the stack {stack} is in the state {status} and cannot be updated");
        let failed = failed_resources(stack, None);
        detail.push_str(&listed(&failed));
        if let (true, Some(reason)) = (failed.is_empty(), self.0["StackStatusReason"].as_str()) {
            detail.push_str(&format!(": {reason}"));
        }
        let mut hint = advice(&detail).map_or_else(String::new, |advice| format!("{advice}.\n"));
        hint.push_str("run this, and then `xf deploy` again:");
        for command in commands {
            hint.push_str(&format!("\n  {command}"));
        }
        Some(Failure::new(Exit::Failed, detail).or_hint(hint))
    }

    fn deleting(&self, stack: &StackName) -> [Command; 2] {
        [
            Command::aws(["cloudformation", "delete-stack", "--stack-name", &stack.0]),
            Command::aws(["cloudformation", "wait", "stack-delete-complete", "--stack-name", self.id()]),
        ]
    }

    /// The commands that delete the stack of a failed creation and its empty table.
    fn undoing(&self, stack: &StackName) -> Vec<Command> {
        let listed = Command::aws(["cloudformation", "list-stack-resources", "--stack-name", &stack.0]).json();
        let listed = listed.unwrap_or_default();
        let resources = listed["StackResourceSummaries"].as_array().map_or(&[][..], Vec::as_slice);
        let table = resources
            .iter()
            .filter(|r| r["ResourceType"] == "AWS::DynamoDB::Table" && r["ResourceStatus"] != "DELETE_COMPLETE")
            .find_map(|r| r["PhysicalResourceId"].as_str().filter(|name| !name.is_empty()));
        let unprotect = table.map(|table| {
            Command::aws(["dynamodb", "update-table", "--table-name", table, "--no-deletion-protection-enabled"])
        });
        let delete = table.map(|table| Command::aws(["dynamodb", "delete-table", "--table-name", table]));
        // The protection is removed first, because the rollback may have failed because of it.
        unprotect.into_iter().chain(self.deleting(stack)).chain(delete).collect()
    }
}

/// The id of the newest event of a stack, if there is one.
pub(super) fn newest_event(stack: &StackName) -> Option<String> {
    events(stack).first().and_then(|event| event["EventId"].as_str()).map(ToOwned::to_owned)
}

fn events(stack: &StackName) -> Vec<Value> {
    let described = Command::aws(["cloudformation", "describe-stack-events", "--stack-name", &stack.0]);
    // The events are only used for explanations, so an error is ignored.
    let answer = described.and(["--max-items", "500"]).json().unwrap_or_default();
    answer["StackEvents"].as_array().cloned().unwrap_or_default()
}

/// The resources that failed in the latest operation on a stack with their reasons, in order. `since` is the id of the
/// newest event before that operation.
pub(super) fn failed_resources(stack: &StackName, since: Option<&str>) -> Vec<String> {
    let mut failed = Vec::new();
    for event in events(stack) {
        let text = |field: &str| event[field].as_str().unwrap_or_default();
        if since.is_some_and(|since| since == text("EventId")) {
            break;
        }
        let (status, reason) = (text("ResourceStatus"), text("ResourceStatusReason"));
        if text("ResourceType") == "AWS::CloudFormation::Stack" {
            // Events are returned newest first. The stack's own events mark the start of an operation and contain no
            // reasons.
            if matches!(
                status,
                "CREATE_IN_PROGRESS" | "UPDATE_IN_PROGRESS" | "DELETE_IN_PROGRESS" | "IMPORT_IN_PROGRESS"
            ) {
                break;
            }
        } else if status.ends_with("_FAILED") && !reason.ends_with("cancelled") {
            failed.push(format!("{} ({}): {reason}", text("LogicalResourceId"), text("ResourceType")));
        }
    }
    failed.reverse();
    failed
}

/// A list for the end of a message, one item per line.
fn listed(failed: &[String]) -> String {
    failed.iter().fold(String::new(), |text, resource| format!("{text}\n  {resource}"))
}

/// Adds the resources that failed since an event to a failure.
pub(super) fn explained(failure: Failure, stack: &StackName, since: Option<&str>) -> Failure {
    let failed = failed_resources(stack, since);
    let mut detail = failure.detail().to_owned();
    detail.push_str(&listed(&failed));
    let explained = Failure::new(failure.exit(), detail);
    let hint = advice(explained.detail()).or(failure.hint()).map(ToOwned::to_owned);
    match hint {
        Some(hint) => explained.or_hint(hint),
        None => explained,
    }
}
